"""The card of a remediation, every error, and what else a single message says."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import cards, errors
from bot.cards import MORE, CardConfig, TwoPeople, labels, thread
from bot.cards.review import Review
from bot.models import (
    RULES,
    Alert,
    CardContext,
    Cluster,
    DecidedBy,
    FirstApproval,
    History,
    Hold,
    LinkedAlert,
    Message,
    Mode,
    Pause,
    Pauser,
    Remediation,
    RepairLoad,
    SeenState,
    State,
    Verb,
    read_button_value,
)
from bot.models.request import decision_part
from tests.card_text import MARKUP, NASTY, WORST, compare, drawn, texts
from tests.manual_clock import START
from tests.samples import (
    ABOUT,
    ALERTS,
    BY_STATE,
    CONFIG,
    DIGEST,
    REF,
    TWO_CONFIG,
    batch,
    decidable,
    digest,
    remediation,
    request,
    reviewed,
)
from tests.simulator.process import ROOT
from tests.simulator.render import block_text
from tests.simulator.slack.limits import check_message, check_view


@pytest.mark.parametrize("state", State)
def test_card_of_every_state(state: State) -> None:
    compare(f"card-{state.lower()}", drawn(cards.card(BY_STATE[state], config=CONFIG)))


def test_rejection_in_slack_is_no_approval_of_what_runs_all_the_same() -> None:
    review = {"review_comment": "[0123abcd] Rejected in Slack by alice (U0ALICE): false alarm"}
    cancelled, running = (reviewed(state).model_copy(update=review) for state in (State.CANCELLED, State.RUNNING))
    assert "Rejected in Slack by alice (U0ALICE): false alarm." in cards.card(cancelled).text
    text = cards.card(running).text
    assert "Rebooting" in text
    assert "pproved" not in text


def test_card_of_a_decision_with_a_notice() -> None:
    decided = DecidedBy(Verb.APPROVE, "U0ALICE", START, "the job has checkpointed")
    notice = "Approved, but the repair is now “Quick reprovision”. You approved “Reboot”."
    approved = reviewed(State.PENDING, mode=Mode.VM_ONLY)
    compare("card-decided", drawn(cards.card(approved, decided=decided, notice=notice)))


@pytest.mark.parametrize("state", State)
def test_buttons_are_those_that_the_state_allows(state: State) -> None:
    blocks = cards.card(BY_STATE[state]).blocks
    shown = [element["action_id"] for block in blocks if block["type"] == "actions" for element in block["elements"]]
    deciding = [f"remediation:{verb}" for verb, rule in RULES.items() if rule.on_card and state in rule.allowed]
    assert shown == [*deciding, MORE]
    assert bool(deciding) == (state in {State.PENDING_APPROVAL, State.PENDING})


def test_stuck_repair_points_at_the_menu_of_a_card_only_where_there_is_one() -> None:
    running, config = BY_STATE[State.RUNNING], replace(CONFIG, stuck_minutes=45)
    about = CardContext(now=START + 9 * 3600, channel_id="C0OPS", ts="1.0", followed=True)
    for shown in (cards.card(running, about=about, config=config), cards.unfollowed(running, about, config)):
        assert "“Copy for Together support” is in the card's menu." in shown.text
    no_card = replace(about, channel_id="", ts="", followed=False)
    in_doubt, untracked = (
        cards.card(running, about=about, config=config, buttons=False), cards.unfollowed(running, no_card, config),
    )  # fmt: skip
    for shown in (in_doubt, untracked):
        assert MORE not in controls(shown)
        assert "May be stuck" in shown.text
        assert "card's menu" not in shown.text


@pytest.mark.parametrize("state", State)
def test_menu_offers_to_decide_only_while_it_waits(state: State) -> None:
    offered = [option["value"] for option in controls(cards.card(BY_STATE[state]))[MORE]["options"]]
    deciding, support = {State.PENDING_APPROVAL: ["reject", "mode", "pause"]}, {State.FAILED: ["support"]}
    asking = ["ids", "history", "timeline"][: 5 - len(deciding.get(state, []))]
    assert offered == [*deciding.get(state, []), *asking, *support.get(state, [])]


def test_menu_offers_no_other_mode_where_all_take_two_people() -> None:
    config = CardConfig(two_people=TwoPeople(frozenset(Mode)))
    offered = [option["value"] for option in controls(cards.card(remediation(), config=config))[MORE]["options"]]
    assert offered == ["reject", "pause", "ids", "history", "timeline"]


def test_docs_and_card_describe_each_mode_alike() -> None:
    page = (ROOT / "docs/alerts.md").read_text("utf-8")
    for mode in Mode:
        words = labels.mode(mode)
        assert f"| `{mode.removeprefix('REMEDIATION_MODE_')}` | {words.name} | {words.effect} |" in page


def test_button_value_says_what_was_shown() -> None:
    (actions,) = [block for block in cards.card(remediation()).blocks if block["type"] == "actions"]
    *buttons, more = actions["elements"]
    assert more["action_id"] == MORE
    for button in buttons:
        assert read_button_value(button["value"]) == (
            REF,
            SeenState(Mode.REBOOT_VM, State.PENDING_APPROVAL, remediation().episode_key),
        )


def test_unknown_values_are_shown() -> None:
    card = cards.card(remediation(state="FROZEN", mode="REMEDIATION_MODE_TELEPORT", trigger="REMEDIATION_TRIGGER_MOON"))
    assert "State FROZEN: " in card.text
    assert "REMEDIATION_TRIGGER_MOON" in json.dumps(card.blocks)
    assert "Check Together's docs before approving" in card.text
    assert list(controls(card)) == [MORE]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_invalid_time_is_not_shown(moment: str) -> None:
    card = cards.card(remediation(create_time=moment, linked_alerts=[{"started_at": moment, "resolved_at": moment}]))
    assert "opened" not in json.dumps(card.blocks)
    assert "<!date" not in json.dumps(card.blocks)


def test_card_of_an_alert_with_all_that_the_bot_knows() -> None:
    compare("alert", drawn(cards.card(remediation(), about=ABOUT, config=TWO_CONFIG)))


def test_card_of_a_withdrawn_remediation() -> None:
    compare("alert-vanished", drawn(cards.card(remediation(), about=CardContext(followed=True, is_unlisted=True))))


def test_node_that_was_repaired_too_often_takes_two_people_and_says_why() -> None:
    config, history = CardConfig(two_people=TwoPeople(repairs=3, seconds=86_400)), History(4, lately=3)
    card = cards.card(remediation(), about=CardContext(history=history), config=config)
    why = "3 repairs of this node in 24 h: another one may not help."
    assert f"Needs two approvers. {why}" in card.text
    assert "First of 2 approvals" in json.dumps(card.blocks)
    assert "Approve another repair" not in json.dumps(card.blocks)
    first = FirstApproval("U0ALICE", remediation().mode, START, episode=remediation().episode)
    card = cards.card(remediation(), about=CardContext(history=history, first=first), config=config)
    assert f"Someone else must approve too. {why}" in card.text
    once = cards.card(remediation(), about=CardContext(history=History(4, lately=2)), config=config)
    assert "Needs two" not in once.text


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (History(0), "First repair here in 7 days"),
        (
            History(1, Mode.VM_ONLY, State.FAILED, START),
            "2nd repair in 7 days\nLast repair: quick reprovision, failed <!date^",
        ),
        (History(11), "12th repair in 7 days"),
        (History(20), "21st repair in 7 days"),
        (
            History(3, Mode.REBOOT_VM, State.SUCCEEDED, START, same=1, same_mode=Mode.REBOOT_VM, same_fault="Xid 79"),
            "2nd reboot within 24 h for Xid 79. Together's next step: quick reprovision",
        ),
        (History(3, same=1, same_mode=Mode.VM_ONLY), "4th repair in 7 days"),
    ],
)
def test_node_history_in_a_sentence(history: History, words: str) -> None:
    assert words in cards.card(remediation(), about=CardContext(history=history)).text


def test_menu_of_other_modes_begins_with_what_together_suggests_next() -> None:
    offered = CardConfig().other_modes
    assert offered(Mode.VM_ONLY) == [Mode.HOST_AWARE, Mode.REBOOT_VM, Mode.EVICT_WITHOUT_REPLACEMENT]
    assert offered(Mode.HOST_AWARE) == [Mode.REBOOT_VM, Mode.VM_ONLY, Mode.EVICT_WITHOUT_REPLACEMENT]
    assert offered("REMEDIATION_MODE_NEW")[0] == Mode.REBOOT_VM


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (RepairLoad(0, 32, START), "\n0 of 32 nodes in repair"),
        (RepairLoad(1, 1, START), "\n1 of 1 node in repair"),
        (RepairLoad(1, None, START), "\n1 node in repair"),
        (RepairLoad(32, 64, START, waiting=9), "\n32 of 64 nodes in repair, 8 more waiting"),
        (RepairLoad(1, 32, START, waiting=1), "\n1 of 32 nodes in repair\n"),
    ],
)
def test_cluster_load_in_a_sentence(share: RepairLoad, words: str) -> None:
    assert words in cards.card(remediation(), about=CardContext(share=share)).text
    assert words not in cards.card(reviewed(State.RUNNING), about=CardContext(share=share)).text


def test_load_that_is_old_says_of_when_it_is() -> None:
    old, fresh = (
        CardContext(share=RepairLoad(1, 32, START), now=START + seconds, as_of=START + 60) for seconds in (601, 599)
    )
    assert f"1 of 32 nodes in repair (as of <!date^{int(START)}^" in cards.card(remediation(), about=old).text
    assert "as of" not in cards.card(remediation(), about=fresh).text
    confirmed = replace(old, as_of=None)  # each list says that it's still so
    assert "as of" not in cards.card(remediation(), about=confirmed).text


def test_confirmation_says_of_when_an_old_load_is_as_its_card_does() -> None:
    old = CardContext(share=RepairLoad(1, 32, START), now=START + 601, as_of=START + 60)
    asked = json.dumps(cards.card(remediation(mode=Mode.REBOOT_VM), about=old).blocks)
    assert "Cluster: 1 of 32 nodes in repair (as of 2026-11-24 03:00:00 UTC)." in asked
    fresh = json.dumps(cards.card(remediation(mode=Mode.REBOOT_VM), about=replace(old, as_of=None)).blocks)
    assert "Cluster: 1 of 32 nodes in repair." in fresh


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("is_held", [True, False])
def test_dialog_says_the_load_where_the_effect_leaves_room(mode: Mode, *, is_held: bool) -> None:
    about = replace(ABOUT, share=RepairLoad(32, 64, START, waiting=9), hold=ABOUT.hold if is_held else None)
    config = CardConfig(two_people=TwoPeople(modes=frozenset(Mode)))
    shown = cards.card(remediation(mode=mode), about=about, config=config)
    (controls,) = [block for block in shown.blocks if block["type"] == "actions"]
    text = controls["elements"][0]["confirm"]["text"]["text"]
    has_load = text.endswith(" Cluster: 32 of 64 nodes in repair, 8 more waiting.")
    assert has_load or (text.endswith("since their last checkpoint.") and len(text) > 245)


NAMES = st.sampled_from(["U0ALICE"])


ABOUTS = st.builds(
    CardContext,
    history=st.none()
    | st.builds(History, st.integers(0, 10**6), st.text(max_size=300), st.text(max_size=300), st.just(START)),
    share=st.none() | st.builds(RepairLoad, st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.just(START)),
    hold=st.none() | st.builds(Hold, NAMES, st.just(START)),
    first=st.none() | st.builds(FirstApproval, NAMES, st.sampled_from([*Mode]), st.just(START)),
    followed=st.booleans(),
    is_unlisted=st.booleans(),
)


@given(WORST, ABOUTS)
def test_worst_alert_fits_into_slack_and_mentions_nobody(fields: dict[str, Any], about: CardContext) -> None:
    worst = Remediation.model_validate(fields)
    decided = DecidedBy(Verb.APPROVE, "U0ALICE", START, "&" * 5000)
    one = Alert(worst, "", "d", START, decided=decided)
    many = [one] * 60
    messages = [
        cards.card(worst, decided=decided, notice="*Notice*" * 20, about=about),
        cards.listing.message(["A line.", *thread.transition(remediation(), worst, decided, START) * 20]),
        cards.listing.message(["A line.", *thread.transition(worst, remediation(state="OTHER"), None, START)]),
        thread.reminder(worst, None, "U0ALICE", 900),
        digest(DIGEST, many, [batch(8)] * 4),
        cards.digest.failures(many, {}),
    ]
    for message in messages:
        check_message({"text": message.text, "blocks": message.blocks}, is_update=True)
        assert not MARKUP.search(message.text)
        for text in texts(message.blocks):
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                assert not MARKUP.search(text["text"])
    check_view(
        cards.review.confirmation(batch(8), decidable(many, {}, None), cards.listing.names(many), cards.CardConfig())
    )
    check_view(
        cards.review.dialog(Review(DIGEST.id, "C0OPS"), decidable(many, {}, None, len(many)), cards.CardConfig())
    )


@given(fields=WORST, words=NASTY, buttons=st.booleans())
def test_worst_remediation_fits_into_slack_and_mentions_nobody(
    fields: dict[str, Any], words: str, *, buttons: bool
) -> None:
    worst = Remediation.model_validate(fields)
    decided = DecidedBy(Verb.APPROVE, "U0ALICE", START, words)
    for message in (
        cards.card(worst, decided=decided, notice="*Notice*" * 20, buttons=buttons),
        cards.failure(errors.InvalidIds(quote=words), replace(request(), ref=worst.ref), words),
        cards.private(errors.UnreadableCommand(words)),
        cards.private(errors.UnknownControl(words)),
        cards.in_progress(request(original=cards.card(worst)), START),
        cards.in_progress(request(), START),
    ):
        check_message({"text": message.text, "blocks": message.blocks}, is_update=True)
        assert not MARKUP.search(message.text)
        for text in texts(message.blocks):
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                assert not MARKUP.search(text["text"])


def test_five_verbose_alerts_keep_the_buttons() -> None:
    events = [{"xid_code": "&" * 30, "mnemonic": "&" * 80, "count": 10**9}] * 5
    annotation = {"title": "&" * 300, "xid": {"events": events}, "slurm_node_unavailable": {"reason": "&" * 300}}
    verbose = {"severity": "&" * 60, "started_at": "2026-11-24T03:00:00Z", "annotation": annotation}
    message = cards.card(remediation(linked_alerts=[verbose] * 5, reason="&" * 2000, error_message="&" * 2000))
    check_message({"text": message.text, "blocks": message.blocks}, is_update=True)
    assert message.blocks[-3]["type"] == "actions"


@pytest.mark.parametrize("mode", Mode)
def test_question_before_an_approval_is_never_cut(mode: Mode) -> None:
    config, one = CardConfig(two_people=TwoPeople(frozenset(Mode)), waits={}), remediation(mode=mode)
    hold, first = Hold("U0ALICE", START + 60), FirstApproval("U0BOB", mode, START)
    for about in (CardContext(hold=hold), CardContext(hold=hold, first=first)):
        (actions,) = [
            block for block in cards.card(one, about=about, config=config).blocks if block["type"] == "actions"
        ]
        approve = next(element for element in actions["elements"] if element.get("style") == "primary")
        assert approve["confirm"]["text"]["text"].endswith("since their last checkpoint.")


@pytest.mark.parametrize(("waits", "asked", "approved"), [
    ({}, "or after the cluster's wait (30 min unless set)", "or after the cluster's wait (30 min unless"),
    ({"*": 120}, "or after 2 h: jobs", "or once the cluster's wait is over (<!date^1795496700^"),
    ({"c-7f2": 0, "*": 120}, "is drained at once", "The node is drained at once: running jobs lose work"),
])  # fmt: skip
def test_wait_after_an_approval_is_said(waits: dict[str, int], asked: str, approved: str) -> None:
    config = CardConfig(waits=waits)
    assert asked in cards.card(remediation(), config=config).text
    reviewed = remediation(state="PENDING", review_time="2026-11-24T03:05:00Z", reviewed_by="web-user@example.com")
    for state in ("PENDING", "QUARANTINING", "QUARANTINED"):
        assert approved in cards.card(reviewed.model_copy(update={"state": state}), config=config).text
    assert "drains" not in cards.card(reviewed.model_copy(update={"state": "RUNNING"}), config=config).text


LINKS = cards.CardConfig("https://console.example/{cluster_id}/{remediation_id}", "https://wiki.example/{xid}?m={mode}")


def controls(card: Message) -> dict[str, dict[str, Any]]:
    """The controls of a card, by `action_id`."""
    return {
        element["action_id"]: element
        for block in card.blocks
        if block["type"] == "actions"
        for element in block["elements"]
    }


def test_links_are_filled_in_and_quoted() -> None:
    card = cards.card(remediation(cluster_id="c&d;é"), config=LINKS)
    ((title, _),) = [element["elements"] for element in card.blocks[0]["elements"]]
    assert title["url"] == "https://console.example/c%26d%3B%C3%A9/r-91ac"
    assert (title["text"], title["style"]) == ("Approval needed: reboot gpu-node-07 ⏳", {"bold": True})
    assert controls(card)["link:runbook"]["url"] == "https://wiki.example/79?m=REBOOT_VM"
    assert list(controls(cards.card(reviewed(State.RUNNING), config=LINKS))) == ["link:runbook", MORE]
    without = cards.card(remediation()).blocks[0]
    assert (without["type"], without["text"]["text"]) == ("header", f"{title['text']} · c-7f2")


def test_decision_that_is_asked_for_is_part_of_the_fingerprint_with_a_link_too() -> None:
    first, second = (cards.card(remediation(instance_name=each), config=LINKS) for each in ("node-1", "node-2"))
    assert decision_part(first.fingerprint) != decision_part(second.fingerprint)


def test_what_is_observed_is_decided_behind_a_link() -> None:
    config = replace(LINKS, observed=frozenset({"*"}))
    card = cards.card(remediation(), config=config)
    assert "decide <https://console.example/c-7f2/r-91ac|in Together>." in card.text


def test_outside_words_are_drawn_literally() -> None:
    odd = "*bold* `code` :fire: <!here> _x_"
    alert = {"severity": "PHC_SEVERITY_CRITICAL", "annotation": {"title": odd}}
    failed = reviewed(State.FAILED, error_message=odd, reason=odd, linked_alerts=[alert], instance_name=odd)
    decided = DecidedBy(Verb.APPROVE, "U0ALICE", START, odd)
    shown = cards.card(failed, decided=decided)
    drawn_in = [block["type"] for block in shown.blocks if "*bold*" in json.dumps(block)]
    assert drawn_in == ["header", "rich_text", "rich_text"]
    assert shown.blocks[0]["text"]["emoji"] is False
    literal = [
        element
        for block in shown.blocks
        if block["type"] == "rich_text"
        for element in block["elements"][0]["elements"]
    ]
    assert sum(odd in each.get("text", "") for each in literal) >= 3
    told = cards.listing.message(thread.transition(remediation(instance_name=odd), failed, decided, START))
    assert [block["type"] for block in told.blocks] == ["rich_text"]


@pytest.mark.parametrize("mode", Mode)
def test_dialogs_that_delete_a_vm_or_evict_are_dangerous_and_say_what_they_do(mode: Mode) -> None:
    approve = controls(cards.card(remediation(mode=mode)))["remediation:approve"]
    destroys = mode in {Mode.VM_ONLY, Mode.HOST_AWARE, Mode.EVICT_WITHOUT_REPLACEMENT}
    assert (approve["confirm"].get("style") == "danger") is destroys
    assert approve["text"]["text"].startswith("Approve ")
    assert approve["confirm"]["confirm"]["text"] != "Approve"


def test_usual_card_has_at_most_twelve_lines_above_its_buttons_on_a_phone() -> None:
    about = replace(ABOUT, hold=None, first=None, impact=None, mentioned="S0ONCALL")
    usual = remediation(linked_alerts=ALERTS[:1])
    lines = drawn(cards.card(usual, about=about, config=LINKS)).splitlines()
    above = next(number for number, line in enumerate(lines) if "[ Approve reboot ]" in line)
    assert len([line for line in lines[:above] if line.strip("│┌┐─ ")]) <= 12


def test_nothing_is_said_twice() -> None:
    decided = DecidedBy(Verb.APPROVE, "U0ALICE", START, "the job has checkpointed")
    shown = drawn(cards.card(reviewed(State.RUNNING), decided=decided, about=ABOUT)).partition("Read aloud")[0]
    assert "ml-platform@example.com" not in shown  # Together names the API key's owner, which the decision makes clear
    assert shown.count("@U0ALICE") == 1
    assert "Xid 79 seen 3 times" not in shown  # the evidence says so
    assert "Reason: “node is slow”" in drawn(cards.card(remediation(reason="node is slow")))


def test_sections_are_not_folded() -> None:
    sections = [block for block in cards.usage().blocks if block["type"] == "section"]
    assert sections
    assert all(section["expand"] is True for section in sections)


@pytest.mark.parametrize(("resolved", "words"), [
    (("2026-11-24T03:01:00Z", "2026-11-24T03:02:00Z"), " off the bus, cleared <!date^1795489260^"),
    (("2026-11-24T03:01:00Z", None), " off the bus\n"),
])  # fmt: skip
def test_card_of_a_success_says_that_the_alert_cleared_where_that_is_known(
    resolved: tuple[str | None, ...], words: str
) -> None:
    linked = [{**ALERTS[0], "resolved_at": each} for each in resolved]
    assert words in cards.card(remediation(state="SUCCEEDED", linked_alerts=linked)).text


def test_card_shows_the_alert_that_fires_before_one_that_has_cleared() -> None:
    cleared = {**ALERTS[0], "resolved_at": "2026-11-24T03:01:00Z", "annotation": {"title": "Link down"}}
    fires = {"severity": "PHC_SEVERITY_WARNING", "annotation": {"title": "Fan slow"}}
    shown = cards.card(remediation(linked_alerts=[cleared, fires]))
    assert "Fan slow. Approve reboot?" in shown.text
    assert "Warning: Fan slow, still firing · 1 more alert" in shown.text


def test_card_says_when_the_alert_cleared_that_it_names() -> None:
    linked = [{**ALERTS[0], "resolved_at": f"2026-11-24T0{hour}:00:00Z"} for hour in (3, 5)]
    assert "cleared <!date^1795489200^" in cards.card(remediation(state="SUCCEEDED", linked_alerts=linked)).text


def test_card_counts_further_alerts_once() -> None:
    shown = cards.card(remediation(linked_alerts=[*ALERTS[:1]] * 8))
    assert "7 more alerts" in shown.text
    assert shown.blocks[-1]["title"]["text"] == "More alerts, IDs"


def test_card_names_its_cluster_also_where_no_load_is_known() -> None:
    assert cards.card(remediation(), config=CONFIG).blocks[0]["elements"][0]["elements"][-1]["text"] == " · c-7f2"


@pytest.mark.parametrize(("mode", "state", "words"), [
    (Mode.REBOOT_VM, State.SUCCEEDED, "Rebooted ✅"),
    (Mode.HOST_AWARE, State.RUNNING, "Migrating to a new host 🔧"),
    (Mode.HOST_POWER_CYCLE, State.RUNNING, "Power-cycling the host 🔧"),
    ("NEW", State.SUCCEEDED, "Ran NEW ✅"),
    (Mode.VM_ONLY, State.CANCELLED, "Cancelled: quick reprovision 🚫"),
])  # fmt: skip
def test_push_of_a_repair_is_a_whole_phrase(mode: str, state: State, words: str) -> None:
    push = cards.card(remediation(mode=mode, state=state)).text.splitlines()[0]
    assert push == f"gpu-node-07 (c-7f2): {words}"


def test_push_says_node_and_fault_first() -> None:
    push = cards.card(remediation(), about=ABOUT).text.split("\n")[0]
    assert push.startswith(
        "gpu-node-07 (llama-train): Xid 79, GPU has fallen off the bus. Approve reboot? 3rd repair in 7"
    )


def test_push_asks_for_nothing_that_is_paused() -> None:
    push = cards.card(remediation(), about=CardContext(pause=Pause((Pauser("U0ALICE", START),)))).text.split("\n")[0]
    assert push.endswith("Together asks to approve: reboot. Approvals are paused.")


@pytest.mark.parametrize("state", BY_STATE)
def test_both_pushes_of_a_card_say_node_and_cluster_in_eighty_characters(state: State) -> None:
    """A phone takes the text, a desktop the blocks (docs.slack.dev, changelog of 2026-07-13)."""
    for config in (CONFIG, cards.CardConfig()):
        shown = cards.card(BY_STATE[state], about=ABOUT, config=config)
        for push in (shown.text[:80], " ".join(map(block_text, shown.blocks))[:80]):
            assert "gpu-node-07" in push
            assert "llama-train" in push


@pytest.mark.parametrize(
    "name", [" ", "\u200b\u2060", "\u3164\uffa0", "\u2800", "\u200d", "\ufe0f", "..", "\u200b" * 300 + "7"]
)
def test_node_and_cluster_whose_names_cannot_be_seen_are_called_by_their_ids(name: str) -> None:
    """Without it, the card asks to delete a VM and doesn't say which node's."""
    named = remediation(instance_name=name, mode=Mode.VM_ONLY)
    shown = cards.card(named, about=ABOUT)
    assert shown.text.startswith("i-0042 (llama-train): ")
    assert "reprovision i-0042" in block_text(shown.blocks[0])
    assert Cluster.model_validate({"cluster_id": "c-7f2", "cluster_name": name}).cluster_name is None
    assert LinkedAlert.model_validate({"target_vm": name, "instance_id": "i-0042"}).node == "i-0042"


def sent(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.blocks}


def test_card_with_many_holds_fits() -> None:
    holds = [Hold(f"U{number}", START + 60, reason="r" * 500, name="x") for number in range(12)]
    about = CardContext(hold=replace(holds[0], others=tuple(holds[1:])), followed=True, now=START)
    check_message(sent(cards.card(remediation(), about=about)), is_update=True)


def test_reason_in_emoji_cuts_nothing_off_the_question() -> None:
    hold = Hold("U0BOB", START + 60, name="bob", reason="🔥" * 30)
    shown = cards.card(
        remediation(mode="REMEDIATION_MODE_VM_ONLY"), about=CardContext(hold=hold, followed=True, now=START)
    )
    (row,) = [block for block in shown.blocks if block["type"] == "actions"]
    (button,) = [element for element in row["elements"] if element["action_id"] == Verb.APPROVE.action_id]
    assert button["confirm"]["text"]["text"].endswith("last checkpoint.")


def test_question_says_on_which_day_a_hold_ends() -> None:
    """Until tomorrow at this time looks over in a minute where it says the time alone."""
    about = CardContext(followed=True, hold=Hold("U0BOB", START + 86_400, name="bob"))
    shown = json.dumps(cards.card(remediation(), about=about).blocks)
    assert "bob asked to wait until Nov 25, 03:00 UTC." in shown


def test_text_of_a_card_in_doubt_asks_nobody_to_approve() -> None:
    text = cards.card(remediation(), notice="it still might", buttons=False).text
    assert text.startswith("gpu-node-07 (c-7f2): Not confirmed: reboot ❔\nit still might")
    assert "Approve" not in text
