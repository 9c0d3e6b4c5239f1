"""Any sequence of observations, answers, holds, deaths and clock steps ends in what the last truth asks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import alerts
from bot.alerts import AlertView, answered, held
from bot.cards import card
from bot.cards.labels import STATES
from bot.models import (
    IN_REPAIR,
    OPEN,
    RULES,
    Actor,
    Alert,
    Answer,
    CardNote,
    DecidedBy,
    FirstApproval,
    Hold,
    Message,
    Mode,
    Remediation,
    ReplyKind,
    ReplyTarget,
    Request,
    Snapshot,
    State,
    TrackedMessage,
    Verb,
)
from bot.models.states import FINAL
from bot.watcher import calls, schedule, threads
from bot.watcher.config import Route
from bot.watcher.schedule import Step
from tests.manual_clock import START
from tests.samples import WATCH, remediation

MODES = st.sampled_from([*Mode])
WAITING = st.builds(lambda mode: remediation(state=State.PENDING_APPROVAL, mode=mode), MODES)
TRUTHS = WAITING | st.builds(lambda state, mode: remediation(state=state, mode=mode), st.sampled_from([*State]), MODES)
EVENTS = st.one_of(
    st.tuples(st.just("truth"), st.none() | TRUTHS),
    st.tuples(st.just("poll"), st.just(False)),
    st.tuples(st.just("poll"), st.booleans()),
    st.tuples(st.just("reconcile"), st.just("taken")),
    st.tuples(st.just("reconcile"), st.sampled_from(["taken", "lost", "unclear", "refused", "dies"])),
    st.tuples(st.just("hold"), st.sampled_from(["U0ALICE", "U0BOB"])),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("clock"), st.sampled_from([1.0, 20.0, 1900.0, -3600.0])),
    st.tuples(st.just("delete"), st.none()),
)


class Model:
    """A channel and a row: what the reconciler does with the pure functions, without Slack and without a database."""

    def __init__(self, first: Remediation) -> None:
        self.now, self.sequence = START, 0
        self.truth: Remediation | None = first
        self.alert = Alert(first, "", "m", START)
        self.message = TrackedMessage("m", is_digest=False, cluster_id="c-7f2", channel_id="C0OPS", opened_at=START)
        self.channel: dict[str, Message] = {}
        self.thread: list[Message] = []
        self.forgotten = False
        self.failures = 0
        self.is_over = False  # by the last reading or answer

    def snapshot(self) -> Snapshot:
        return Snapshot(self.message, [self.alert.at(self.now)], {}, [], is_being_decided=False, now=self.now)

    def look(self) -> AlertView:
        return AlertView(self.alert.at(self.now), self.message, None, self.now, asked_at=self.now)

    def poll(self, *, is_old: bool = False) -> None:
        look, sequence = self.look(), -1 if is_old else self.sequence
        if self.truth is None:
            changed = alerts.gone(look, sequence)
        else:
            changed = alerts.seen(look, self.truth, "", None, sequence, read_alone=False)
            changed = changed or alerts.seen(look, self.truth, "", None, sequence, read_alone=True)
            self.is_over = self.truth.state in FINAL if changed else self.is_over
        if changed:
            self.alert, self.message = changed

    def hold(self, user: str) -> None:
        self.alert, self.message = held(self.look(), Hold(user, self.now + 1800))

    def answer(self, *, on_the_card: bool) -> None:
        """Somebody approves, and is answered on the card or elsewhere."""
        self.sequence += 1
        self.is_over = False
        self.truth = remediation(state=State.PENDING)
        decided = DecidedBy(Verb.APPROVE, "U0ALICE", self.now)
        remark = CardNote("", True, decided, self.truth.state, self.truth.mode, self.now)
        place = ReplyTarget("C0OPS", "U0ALICE", message_ts=self.message.ts if on_the_card else None)
        told = Message("answer", [{"type": "divider"}])
        request = Request(Verb.APPROVE, self.alert.remediation.ref, Actor("U0ALICE", "a", "T"), place)
        answer = Answer(ReplyKind.CARD, told, remark)
        self.alert, self.message = answered(self.look(), request, answer, self.sequence)
        if on_the_card and self.message.ts in self.channel:
            self.channel[self.message.ts] = told

    def reconcile(self, fate: str = "taken") -> Step:
        snapshot = self.snapshot()
        step, message = schedule.next_step(snapshot, WATCH), snapshot.message
        match step:
            case Step.POST:
                left = schedule.about_to_post(snapshot, WATCH)
                assert left
                self.message = left
                self._post(schedule.content(snapshot, WATCH), fate)
            case Step.EDIT:
                self._edit(schedule.content(snapshot, WATCH), fate)
            case Step.REPLY if fate == "taken":
                part = next(threads.thread_parts(snapshot, WATCH))
                self.thread.append(part.message)
                self._settle(threads.replied(message, part, self.now))
            case Step.REMIND if fate == "taken":
                self._settle(calls.reminded(snapshot, snapshot.unheld, WATCH))
            case Step.FIND:
                found = next((ts for ts in self.channel if ts.startswith("m")), None)
                self.message = replace(
                    message, ts=found, posted_at=message.posted_at if found else 0.0, content_hash=""
                )
            case Step.DROP:
                self.forgotten = True
            case Step.WAIT if self.alert.is_stale:
                self.poll()
            case Step.IDLE:
                self._settle(message)
        return step

    def compare(self) -> None:
        """The hourly look at the channel, and the one after a takeover."""
        shown = self.channel.get(str(self.message.ts))
        if self.message.ts and not self.message.done and (not shown or shown.fingerprint != self.message.content_hash):
            self.message = replace(self.message, content_hash="", next_at=0.0)

    def _post(self, content: Message, fate: str) -> None:
        ts = f"m{len(self.channel)}-{self.now}"
        if fate in {"taken", "unclear", "dies"}:
            self.channel[ts] = content
        if fate == "taken":
            self._settle(replace(self.message, ts=ts, content_hash=content.fingerprint, edited_at=self.now))
        if fate == "refused":
            self.message = replace(self.message, posted_at=0.0)

    def _edit(self, content: Message, fate: str) -> None:
        ts = str(self.message.ts)
        if ts not in self.channel:  # somebody has deleted it
            self.message = alerts.deleted(self.snapshot())
            return
        if fate in {"taken", "unclear", "dies"}:
            self.channel[ts] = content
        if fate == "taken":
            self._settle(replace(self.message, content_hash=content.fingerprint, edited_at=self.now))
        if fate == "unclear":
            self.message = replace(self.message, content_hash="")

    def _settle(self, message: TrackedMessage) -> None:
        self.message = schedule.settled(replace(self.snapshot(), message=message), WATCH)


@given(WAITING, st.lists(EVENTS, min_size=12, max_size=40))
def test_every_history_ends_in_the_message_that_the_last_truth_asks_for(
    first: Remediation, events: list[tuple[str, object]]
) -> None:
    model = Model(first)
    for kind, value in events:
        match kind:
            case "truth":
                model.failures += isinstance(value, Remediation) and value.state == State.FAILED
                model.truth = value  # type: ignore[assignment] # what the strategy gives
            case "poll":
                model.poll(is_old=bool(value))
            case "reconcile":
                model.reconcile(str(value))
            case "hold":
                model.hold(str(value))
            case "answer":
                model.answer(on_the_card=bool(value))
            case "clock":
                model.now += float(str(value))
            case "delete":
                model.channel.pop(str(model.message.ts), None)
        if model.forgotten:
            return
    model.poll()
    model.now += 20
    model.poll()
    model.compare()
    for _ in range(30):
        model.now += 20
        if model.reconcile() is Step.IDLE or model.forgotten:
            break
    snapshot = model.snapshot()
    assert schedule.next_step(snapshot, WATCH) in {Step.IDLE, Step.DROP}
    if model.truth and model.truth.state == State.PENDING_APPROVAL:
        assert model.message.ts is not None
        assert model.message.ts in model.channel
    if shown := model.channel.get(str(model.message.ts)):
        assert shown.fingerprint == schedule.content(snapshot, WATCH).fingerprint
        assert not model.message.pending_lines
        assert shown.blocks[0]["text"]["text"].startswith(title(model))
        assert sum("failed on" in message.text for message in model.thread) <= model.failures
    if model.truth is None or model.truth.state in FINAL:
        assert model.message.done or model.forgotten


def title(model: Model) -> str:
    """Return how the header must begin, by what Together last said and by a hold: what has ended stays so."""
    if model.truth is None and not model.is_over:
        return "No longer listed: "
    said: str = card(model.truth or model.alert.remediation).blocks[0]["text"]["text"]
    return said.replace("Approval needed: ", "On hold: ") if model.alert.at(model.now).hold else said


def test_states_are_open_or_final_and_every_open_one_waits_or_is_in_repair() -> None:
    assert {*OPEN} | FINAL == {*State}
    assert not {*OPEN} & FINAL
    assert {State.PENDING_APPROVAL} | IN_REPAIR == {*OPEN}
    assert State.PENDING_APPROVAL not in IN_REPAIR
    assert RULES[Verb.APPROVE].effect == {*State} - {State.PENDING_APPROVAL, State.CANCELLED, State.AUTO_RESOLVED}
    assert {*STATES} == {*State}


def read_after(known: Remediation, read: Remediation, *, read_alone: bool = False) -> bool:
    """Whether a reading counts, after another one."""
    alert = Alert(known, "", "m", START)
    message = TrackedMessage("m", is_digest=False, cluster_id="c-7f2", channel_id="C0OPS", opened_at=START)
    return bool(alerts.seen(AlertView(alert, message, None, START), read, "", None, 0, read_alone=read_alone))


OLD, NEW = "2026-11-24T03:00:00Z", "2026-11-24T03:01:00Z"


@pytest.mark.parametrize("field", ["update_time", "create_time"])
def test_reading_that_is_older_by_togethers_own_times_never_counts(field: str) -> None:
    known = remediation(state=State.RUNNING, **{field: NEW})
    older = remediation(state=State.PENDING, **{field: OLD})
    assert not read_after(known, older)
    assert not read_after(known, older, read_alone=True)


@pytest.mark.parametrize("field", ["update_time", "create_time"])
def test_repair_that_begins_once_more_is_believed_where_its_times_say_so(field: str) -> None:
    ended = remediation(state=State.AUTO_RESOLVED, **{field: OLD})
    assert read_after(ended, remediation(**{field: NEW}))
    assert not read_after(ended, remediation(**{field: OLD}))
    assert read_after(ended, remediation(**{field: OLD}), read_alone=True)


def test_list_does_not_take_a_repair_back_to_an_earlier_state() -> None:
    order = [*OPEN, State.SUCCEEDED]
    for place, state in enumerate(order):
        for before in order[:place]:
            assert read_after(remediation(state=before), remediation(state=state))
            assert not read_after(remediation(state=state), remediation(state=before))
    assert read_after(remediation(state="A_STATE_OF_TOMORROW"), remediation(state=State.PENDING))
    assert read_after(remediation(state=State.RUNNING), remediation(state="A_STATE_OF_TOMORROW"))


def test_rejection_is_no_approval_of_what_runs_where_a_list_rounds_its_time() -> None:
    review = {"reviewed_by": "web-user", "review_comment": "false alarm"}
    exact, rounded = "2026-11-24T03:05:00.612Z", "2026-11-24T03:05:00Z"
    rejected = remediation(state=State.CANCELLED, review_time=exact, **review)
    alert, message = Alert(rejected, "", "m", START), TrackedMessage("m", False, "c-7f2", "C0OPS", START)
    for review_time in (rounded, exact, rounded):
        running = remediation(state=State.RUNNING, review_time=review_time, **review)
        now_seen = alerts.seen(AlertView(alert, message, None, START), running, "", None, 0, read_alone=True)
        assert now_seen
        alert, message = now_seen
        assert not alert.remediation.reviewer


@pytest.mark.parametrize("read", [State.PENDING_APPROVAL, State.AUTO_RESOLVED])
def test_hold_in_doubt_that_read_another_state_confirms_nothing_of_the_one_that_is_shown(read: State) -> None:
    one = remediation(state=State.PENDING_APPROVAL)
    alert = Alert(one, "", "m", START - 900, as_of=START - 600)
    message = TrackedMessage("m", False, "c-7f2", "C0OPS", START - 900, ts="1.1")
    request = Request(Verb.HOLD, one.ref, Actor("U0ALICE", "a", "T"), ReplyTarget("C0OPS", "U0ALICE", message_ts="1.1"))
    answer = Answer(ReplyKind.CARD, Message("told", []), CardNote("", False, None, read, one.mode, START))
    after, _ = answered(AlertView(alert, message, None, START), request, answer, 1)
    assert after.remediation.state == State.PENDING_APPROVAL
    assert after.as_of == (START if read == State.PENDING_APPROVAL else START - 600)


@pytest.mark.parametrize("is_digest", [False, True])
def test_failure_blames_nobody_who_has_approved_only_the_next_incident_under_its_id(*, is_digest: bool) -> None:
    by_alice = DecidedBy(Verb.APPROVE, "U0ALICE", START - 3000)
    failed = Alert(remediation(state=State.FAILED, create_time=OLD), "", "m", START - 4000, decided=by_alice)
    alert = Alert(remediation(create_time=NEW), "", "m", START - 4000, waiting_since=START - 50, earlier=(failed,))
    first = FirstApproval("U0BOB", alert.remediation.mode, START - 10, "job", alert.remediation.episode)
    message = TrackedMessage("m", is_digest=is_digest, cluster_id="c-7f2", channel_id="C0OPS", opened_at=START)
    snapshot = Snapshot(message, [alert], {alert.ref: first}, [], is_being_decided=False, now=START)
    told = next(threads.thread_parts(snapshot, WATCH)).message.text
    assert "<@U0ALICE>, " in told
    assert "U0BOB" not in told


def test_reminder_owes_no_call_for_what_was_just_decided_where_it_has_called_the_same_people() -> None:
    config = replace(WATCH, default=Route("C0OPS", "S0ONCALL"))
    waiting = [Alert(remediation(id=f"r-{number}"), "", "m", START - 4000) for number in range(2)]
    message = TrackedMessage("m", is_digest=True, cluster_id="c-7f2", channel_id="C0OPS", owes_call=True)
    snapshot = Snapshot(message, waiting, {}, [], is_being_decided=False, now=START)
    assert not calls.reminded(snapshot, waiting[:1], config).owes_call


@pytest.mark.parametrize(("sent", "due"), [(15, 30), (25, 32.5), (29, 36.5), (31, 60), (54, 61.5)])
@pytest.mark.parametrize("told", [1, 2])
def test_late_reminder_moves_the_next_one_away(sent: int, due: float, told: int) -> None:
    began = START - sent * 60
    waiting = [Alert(remediation(id=f"r-{number}", cluster_id=f"c-{number}"), "", "m", began) for number in range(2)]
    message = TrackedMessage("m", is_digest=True, cluster_id=None, channel_id="C0OPS", remind_from=began)
    snapshot = Snapshot(message, waiting, {}, [], is_being_decided=False, now=START)
    after = replace(snapshot, message=calls.reminded(snapshot, waiting[:told], WATCH))
    assert calls.remind_at(after, WATCH) == began + due * 60


def test_escalation_counts_once_where_there_are_no_reminders() -> None:
    config = replace(WATCH, remind_seconds=0, escalation=("S0LEADS", 1800))
    message = TrackedMessage("m", is_digest=False, cluster_id="c-7f2", channel_id="C0OPS", remind_from=START - 1800)
    waiting = [Alert(remediation(), "", "m", START - 1800)]
    snapshot = Snapshot(message, waiting, {}, [], is_being_decided=False, now=START)
    assert calls.reminded(snapshot, waiting, config).reminders == 1
