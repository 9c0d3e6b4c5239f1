"""What people see: every state, every limit, every outside word disarmed."""

import json
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import cards, errors
from bot.cards.words import mode_words
from bot.errors import BotError, NotAttempted
from bot.models import (
    RULES,
    Decided,
    Message,
    Mode,
    Remediation,
    Shown,
    State,
    Verb,
    read_button_value,
)
from tests.manual_clock import START
from tests.samples import BY_STATE, ERRORS, REF, remediation, request, reviewed
from tests.simulator.render import confirmation, render
from tests.simulator.slack.limits import check_message

SNAPSHOTS = Path(__file__).parent / "snapshots"


def drawn(message: Message) -> str:
    """The message, its dialogs and its text for a screen reader."""
    buttons = [element for block in message.blocks if block["type"] == "actions" for element in block["elements"]]
    dialogs = [confirmation(button) for button in buttons if "confirm" in button]
    return "\n\n".join([render(message.text, message.blocks), *dialogs, f"Read aloud: {message.text}"]) + "\n"


def compare(name: str, actual: str) -> None:
    """Compare with the snapshot. To accept a change, delete the file and run the tests again: that run fails once."""
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.write_text(actual, encoding="utf-8")
        pytest.fail(f"{path.name} did not exist; it is written now: read it, then commit it")
    assert actual == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("state", State)
def test_the_card_of_every_state(state: State) -> None:
    compare(f"card-{state.lower()}", drawn(cards.card(BY_STATE[state])))


def test_the_card_of_a_decision_with_a_notice() -> None:
    decided = Decided(Verb.APPROVE, "U0ALICE", START, "the job has checkpointed")
    notice = "Approved, but the mode is now “Replace VM”; you saw “Reboot VM”."
    approved = reviewed(State.PENDING, mode=Mode.VM_ONLY)
    compare("card-decided", drawn(cards.card(approved, decided=decided, notice=notice)))


@pytest.mark.parametrize("state", State)
def test_buttons_are_those_that_the_state_allows(state: State) -> None:
    blocks = cards.card(BY_STATE[state]).blocks
    shown = [element["action_id"] for block in blocks if block["type"] == "actions" for element in block["elements"]]
    assert shown == [f"remediation:{verb}" for verb, rule in RULES.items() if rule.on_card and state in rule.allowed]
    assert bool(shown) == (state in {State.PENDING_APPROVAL, State.PENDING})


def test_the_readme_says_of_each_mode_what_the_card_says() -> None:
    readme = Path(__file__).parent.with_name("README.md").read_text("utf-8")
    for mode in Mode:
        words = mode_words(mode)
        assert f"| `{mode.removeprefix('REMEDIATION_MODE_')}` | {words.name} | {words.consequence} |" in readme


def test_a_button_says_what_was_shown() -> None:
    (actions,) = [block for block in cards.card(remediation()).blocks if block["type"] == "actions"]
    for button in actions["elements"]:
        assert read_button_value(button["value"]) == (REF, Shown(Mode.REBOOT_VM, State.PENDING_APPROVAL))


def test_unknown_values_are_shown() -> None:
    card = cards.card(remediation(state="FROZEN", mode="REMEDIATION_MODE_TELEPORT", trigger="REMEDIATION_TRIGGER_MOON"))
    assert "State FROZEN: TELEPORT for node gpu-node-07" in card.text
    assert "REMEDIATION_TRIGGER_MOON" in json.dumps(card.blocks)
    assert "look it up before you approve" in card.text
    assert not any(block["type"] == "actions" for block in card.blocks)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_none_is_not_shown(moment: str) -> None:
    card = cards.card(remediation(create_time=moment, linked_alerts=[{"started_at": moment, "resolved_at": moment}]))
    assert "Created" not in json.dumps(card.blocks)
    assert "<!date" not in json.dumps(card.blocks)


def leaves(kind: type[BotError]) -> set[str]:
    below = kind.__subclasses__()
    return {kind.__name__} if not below else set().union(*(leaves(each) for each in below))


def test_every_error_has_a_sentence_a_next_step_and_a_place_in_the_tree() -> None:
    assert leaves(BotError) == {name.partition("-")[0] for name in ERRORS}
    for name in leaves(BotError):
        assert name in (errors.__doc__ or "")
    for error in ERRORS.values():
        assert error.sentence.endswith(".")
        assert error.next_step.endswith(".")
        assert str(error) == f"{error.sentence} {error.next_step}"


def test_only_where_no_connection_was_made_nothing_was_changed() -> None:
    says = {name for name, error in ERRORS.items() if "nothing was changed" in str(error).lower()}
    assert says == {"NotReached"}


def test_the_sentences_of_all_errors() -> None:
    told = []
    for name, error in ERRORS.items():
        is_public = not isinstance(error, NotAttempted)
        told.append(f"{name}\n{drawn(cards.failure(error, REF, 'U0ALICE') if is_public else cards.private(error))}")
    compare("errors", "\n".join(told))


def test_in_progress_of_a_command_and_of_a_click() -> None:
    compare("in-progress-command", drawn(cards.in_progress(request(), START)))
    compare("in-progress-click", drawn(cards.in_progress(request(Verb.APPROVE, cards.card(remediation())), START)))


def test_in_progress_takes_the_controls_out_of_attachments_too() -> None:
    card = cards.card(remediation())
    button = card.blocks[-1]["elements"][0]
    accessory = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, "accessory": button}
    original = Message("alert", [], [{"color": "danger", "blocks": [accessory, *card.blocks]}, {"text": "legacy"}])
    shown = cards.in_progress(request(Verb.APPROVE, original), START)
    assert "button" not in json.dumps([shown.blocks, shown.attachments])
    assert shown.attachments[1] == {"text": "legacy"}


def test_the_usage() -> None:
    compare("usage", drawn(cards.usage()))


# The worst that the outside may say: long, full of markup, invisible, astral.
NASTY = st.sampled_from([
    "<!channel> <@U1> <https://evil.example|click> & " * 400,
    "&" * 9000,
    "`" * 300 + "\n> fake quote\n*Error*\nnothing",
    "\U0001f4a5" * 9000,
    "\u202e\u2066reversed\x00\x07" * 50,
    "",
    " ",
    "x",
]) | st.text(max_size=50)  # fmt: skip
IDS = st.sampled_from(["x", "\U0001f4a5" * 200, "&" * 200, "ä" * 200])
MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC)) | st.just("nonsense")
EVENT = st.fixed_dictionaries({}, optional={"xid_code": NASTY, "mnemonic": NASTY, "count": st.integers() | NASTY})
ALERT = st.fixed_dictionaries({}, optional={
    "alert_name": NASTY,
    "severity": NASTY,
    "started_at": MOMENTS,
    "resolved_at": MOMENTS,
    "annotation": st.fixed_dictionaries({}, optional={
        "title": NASTY,
        "xid": st.fixed_dictionaries({"events": st.lists(EVENT, max_size=9)}),
        "slurm_node_unavailable": st.fixed_dictionaries({"reason": NASTY}),
    }),
})  # fmt: skip
WORDS = ("instance_name", "reason", "requested_by", "reviewed_by", "review_comment", "error_message")
OPTIONAL = dict.fromkeys(WORDS, NASTY)
TIMES = dict.fromkeys(("create_time", "review_time", "start_time", "end_time", "update_time"), MOMENTS)
WORST = st.fixed_dictionaries(
    {
        "id": IDS,
        "cluster_id": IDS,
        "instance_id": IDS,
        "mode": st.sampled_from([*Mode]) | NASTY,
        "trigger": NASTY,
        "state": st.sampled_from([*State]) | NASTY,
    },
    optional={**OPTIONAL, **TIMES, "linked_alerts": st.lists(ALERT, max_size=30)},
)
MARKUP = re.compile(r"<(?!!date\^\d+\^|@U0ALICE>)")


@settings(max_examples=200, deadline=None)
@given(WORST, NASTY, st.booleans())
def test_the_worst_input_fits_into_slack_and_mentions_nobody(fields: dict[str, Any], words: str, buttons: bool) -> None:  # noqa: FBT001 - hypothesis passes by position
    worst = Remediation.model_validate(fields)
    decided = Decided(Verb.APPROVE, "U0ALICE", START, words)
    for message in (
        cards.card(worst, decided=decided, notice="*Notice*" * 20, buttons=buttons),
        cards.failure(errors.InvalidIds(quote=words), worst.ref, "U0ALICE"),
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


def texts(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for each in node for found in texts(each)]
    if not isinstance(node, dict):
        return []
    here = [node] if node.get("type") in {"mrkdwn", "plain_text"} else []
    return here + [found for each in node.values() for found in texts(each)]
