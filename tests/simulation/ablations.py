"""The product's safeguards, each switched off by a small patch: the simulation must notice."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from bot.clock import WaitReason
from bot.decisions import executor, preconditions
from bot.decisions.delivery import Answers
from bot.decisions.executor import Executor
from bot.decisions.guardrails import Guardrails
from bot.decisions.service import DecisionService, Unrecorded
from bot.decisions.storing import forever
from bot.decisions.verdict import Judge
from bot.errors import StorageUnavailable
from bot.models import Event, EventKind, FirstApproval, Found, Job, State
from bot.policy import Policy
from bot.store import DecisionStore, Lease, LeasedDatabase, OutboxEntry, approvals, outbox, rows
from bot.store import decisions as stored
from bot.store.connection import now, read_json
from bot.store.groups import Member
from bot.store.ownership import Ownership
from bot.store.tables import decisions
from bot.store.tables import outbox as events
from bot.watcher import calls, schedule
from bot.watcher.comparison import Comparer
from bot.watcher.config import WatchConfig
from handlers.alert_channels import SlackAlertChannels
from handlers.chooser import Chooser
from tests.simulation import faults, tools
from tests.simulation.run import play
from tests.simulation.world import World


@dataclass(frozen=True)
class Ablation:
    """A safeguard that is switched off.

    Attributes:
        parts: what is put in the place of what: owner, name, and replacement.
        needs: faults without which nobody could notice; the worlds that look for it have them.
        drop_index: of the database, which it takes too.
    """

    name: str
    parts: Sequence[tuple[Any, str, Any]]
    needs: Sequence[str] = ()
    drop_index: str = ""

    def found_by(self, seed: int) -> list[tuple[str, str]]:
        """Play a seed without the safeguard. Returns what is wrong then, and isn't with it."""
        without = () if self.needs else EXCUSES
        with self.switched_off():
            problems = play(seed, also=self.needs, without=without).problems
        return problems if problems and not play(seed, also=self.needs, without=without).problems else []

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Run worlds without it."""
        before = [(owner, name, owner.__dict__[name]) for owner, name, _ in self.parts]
        began = World.begin
        for owner, name, replacement in self.parts:
            setattr(owner, name, replacement)
        if self.drop_index:
            index = self.drop_index

            def begin(world: World) -> None:
                world.raw.execute(f"DROP INDEX {index}")
                began(world)

            World.begin = begin  # type: ignore[method-assign, assignment] # put back below
        try:
            yield
        finally:
            World.begin = began  # type: ignore[method-assign] # as it was
            for owner, name, value in before:
                setattr(owner, name, value)


def _answers(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _awaited(value: Any) -> Callable[..., Any]:
    async def answer(*_: Any, **__: Any) -> Any:
        return value

    return answer


def _unchecked(_: Any, connection: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(connection, *args, **kwargs)


def _without_fence(self: Ownership, connection: Any, statement: Any, job: Job, /, **values: object) -> Any:
    present = connection.execute(select(decisions).where(decisions.c.id == job.id)).first()
    held = {"b_owner": present.owner, "b_fence": present.fence} if present else {"b_fence": job.fence}
    return connection.execute(statement, self._holder | held, b_id=job.id, **values)


def _own_key(self: DecisionStore, request: Any, job_id: str, status: str, written: str | None) -> dict[str, Any]:
    return {**_insert(self, request, job_id, status, written), "dedup_key": job_id}


_insert = DecisionStore._insert


async def _note_whose(self: DecisionService, job: Job) -> Any:
    _is_taken_over.set(job.taken_over)
    return await _work(self, job)


async def _unless_taken_over(self: Policy, *args: Any) -> None:
    if not _is_taken_over.get():
        await _authorize(self, *args)


_is_taken_over: ContextVar[bool] = ContextVar("is_taken_over", default=False)
_work = DecisionService._work
_authorize = Policy.authorize


async def _one_is_two(self: Guardrails, job: Job, present: Any) -> FirstApproval | None:
    first, now = await self.database.read(rows.first_and_now, job.request.ref)
    if present.mode not in self.config.two_people.modes or (first and first.counts_for(present)):
        return None
    return FirstApproval(job.request.actor.user_id, present.mode, now, job.id, present.episode)


async def _blindly(self: Executor, _recorded_at: float) -> Any:
    self.sent_mono = self.clock.monotonic()
    return await self._send()


async def _tell_first(self: DecisionService, job: Job, answer: Any, outcome: Any) -> Any:
    await self._answers.tell(job, answer)
    return await _record_and_deliver(self, job, answer, outcome)


_record_and_deliver = DecisionService._record_and_deliver


async def _not_durable(self: DecisionService, request: Any) -> Any:
    async def later() -> None:
        await self._clock.sleep(1.0, WaitReason.RETRY)
        receipt = await _receive(self, request)
        if work := receipt.work if isinstance(receipt, Unrecorded) else receipt:
            await work

    return later()


_receive = DecisionService.receive


async def _told_once(self: Answers, job: Job, answer: Any) -> None:
    await self.tell(job, answer)
    await forever(self.clock, lambda: self.store.finish(job))


async def _never_finished(self: Answers, job: Job, answer: Any) -> None:
    await self.store.ensure_held(job)
    await self.tell(job, answer)
    await self.store.release(job)


def _whatever_became_of_the_commit(self: Member, error: BaseException | None = None) -> None:
    is_in_doubt = self.is_alone and isinstance(error, StorageUnavailable) and error.in_doubt
    _end(self, None if is_in_doubt else error)


_end = Member.end


def _dropped(connection: Any, entry: Any, _seconds: float) -> None:
    outbox.drop(connection, entry)


def _in_any_order(connection: Any, target: Any, limit: int) -> Any:
    """Return what is due, also what comes after something that waits."""
    columns = events.c
    due = select(*outbox._DUE.selected_columns).where(columns.target == target, columns.next_at <= now()).limit(limit)
    found = connection.execute(due.order_by(columns.id.desc()))
    read = [(row, read_json(Event, row.body)) for row in found]
    return [OutboxEntry(row.id, target, row.subject, event, 0.0, row.attempts) for row, event in read]


# The worlds that look for it tell other tools; few of the others do.
TOLD = (tools, "settings", tools.everybody)
FROZEN = ("process suspended", "database frozen", "line frozen")
EXCUSES = [name for name in faults.EVERY if name.startswith(("slack", "process", "transaction", "database", "line"))]
EVERY = (
    Ablation(
        "fence",
        [(Ownership, "_use", _without_fence)],
        needs=(*FROZEN, faults.SUSPENDS, "process killed", "slack hang"),
    ),
    Ablation("clock before a POST", [(Ownership, "may_send", _answers(True))], needs=(*FROZEN, faults.SUSPENDS)),
    Ablation("one claim per remediation", [], drop_index="one_active_decision_per_remediation"),
    Ablation(
        "look before a repeat",
        [(Executor, "_look_again", _awaited(None))],
        needs=("together refused", "together 429", faults.CHANGES),
    ),
    Ablation(
        "wait before a repeat",
        [(Executor, "_resume", _blindly)],
        needs=("process killed", "together late", "together slow"),
    ),
    Ablation(
        "void of a commit in doubt",
        [(DecisionStore, "void", _awaited(True))],
        needs=("transaction lost", "transaction undone"),
    ),
    Ablation(
        "doubt about a group",
        [(Member, "end", _whatever_became_of_the_commit)],
        needs=("transaction undone",),
    ),
    Ablation("dedup key", [(DecisionStore, "_insert", _own_key)]),
    Ablation("authority", [(Policy, "authorize", _awaited(None))]),
    Ablation(
        "authority at takeover",
        [(DecisionService, "_work", _note_whose), (Policy, "authorize", _unless_taken_over)],
        needs=("process killed", "transaction before"),
    ),
    Ablation("pause at the POST", [(stored, "_kept_by", _answers(None)), (Guardrails, "_check_pause", _awaited(None))]),
    Ablation("two people", [(Guardrails, "_check_people", _awaited(None))]),
    Ablation("who may approve alone", [(Guardrails, "_check_override", _awaited(None))]),
    Ablation("another person", [(Guardrails, "_check_people", _one_is_two)]),
    Ablation("limit", [(Guardrails, "_check_limit", _awaited(None))]),
    Ablation("limit counts what begins", [(approvals, "about_to_be_in_repair", _answers([]))]),
    Ablation(
        "limit reads what was just approved",
        [
            (approvals, "approved_lately", _answers([])),
            (approvals, "at_work", _answers([])),
        ],
        needs=("lists lag",),
    ),
    Ablation(
        "read-back",
        [(Judge, "read_back", _awaited(None))],
        needs=("together cut after", "together hang after", "together 503 after"),
    ),
    Ablation(
        "mode in the approval",
        [
            (executor, "mode_to_send", _answers(None)),
            (preconditions, "mode_to_send", _answers(None)),
            (Executor, "_look_again", _awaited(None)),
        ],
        needs=(faults.CHANGES,),
    ),
    Ablation("what was shown", [(executor, "precondition_failure", _answers(""))]),
    Ablation("which incident was shown", [(preconditions, "is_of_another_episode", _answers(False))]),
    Ablation("recorded before told", [(DecisionService, "_record_and_deliver", _tell_first)]),
    Ablation("recorded before acked", [(DecisionService, "receive", _not_durable)], needs=("process killed",)),
    Ablation("takeover", [(Ownership, "take_over", _awaited([]))], needs=("process killed",)),
    Ablation("delivery is retried", [(Answers, "deliver", _told_once)], needs=("slack cut before", "slack hang")),
    Ablation("one answer", [(Answers, "deliver", _never_finished)]),
    Ablation(
        "one watch",
        [
            (Lease, "ensure_held", _answers(None)),
            (Lease, "acquire", _awaited(True)),
            (LeasedDatabase, "_checked", _unchecked),
        ],
        needs=("clock drifts",),
    ),
    Ablation(
        "look in the channel before a post is repeated",
        [(SlackAlertChannels, "find", _awaited(Found()))],
        needs=("process killed", "slack cut after", "slack hang after"),
    ),
    Ablation(
        "card that an answer changed", [(schedule, "answers_on", _answers(0))], needs=("slack slow", "together slow")
    ),
    Ablation(
        # The second net catches within minutes what the first lets through, so each alone is invisible.
        "card drawn again after an answer, or when it differs from the channel",
        [(Answers, "_mark_stale", _awaited(None)), (Comparer, "_compare", _awaited(None))],
        needs=("slack cut before", "slack late", "slack hang"),
    ),
    Ablation(
        "an event waits for those before it",
        [(outbox, "due", _in_any_order), TOLD],
        needs=("tools 503 before", "tools 429"),
    ),
    Ablation("what ends is told", [(outbox, "_KINDS", {State.RUNNING: EventKind.RUNNING}), TOLD]),
    Ablation("an event is sent until it is taken", [(outbox, "postpone", _dropped), TOLD], needs=("tools 503 before",)),
    Ablation("reminders", [(calls, "remind_at", _answers(math.inf))]),
    Ablation("quiet hours of warnings", [(WatchConfig, "on_call_now", WatchConfig.on_call)]),
    Ablation("private answers", [(Chooser, "answer", _awaited(None))]),
)
