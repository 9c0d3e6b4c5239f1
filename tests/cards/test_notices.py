"""Errors, progress and usage as messages."""

import json
from dataclasses import replace

from bot import cards, errors
from bot.cards import blocks
from bot.cards.chooser import not_read
from bot.errors import BotError, NotAttempted, TogetherError
from bot.models import (
    Message,
    Verb,
    reference_value,
)
from tests.card_text import compare, drawn
from tests.manual_clock import START
from tests.samples import ERRORS, REF, remediation, request
from tests.simulator.slack.limits import check_message


def leaves(kind: type[BotError]) -> set[str]:
    """The classes that are told; NotAllowed is too, though NotChecked is one of it."""
    below = kind.__subclasses__()
    return {kind.__name__} if not below else set().union(*(leaves(error) for error in below))


def test_every_error_has_a_sentence_a_next_step_and_a_place_in_the_tree() -> None:
    assert leaves(BotError) | {"NotAllowed"} == {name.partition("-")[0] for name in ERRORS}
    for name in leaves(BotError):
        assert name in (errors.__doc__ or "")
    for error in ERRORS.values():
        assert error.sentence.endswith(".")
        assert error.next_step.endswith(".")
        assert str(error) == f"{error.sentence} {error.next_step}"


def test_only_what_did_not_reach_together_was_not_sent_for_sure() -> None:
    tried = {name: str(error) for name, error in ERRORS.items() if isinstance(error, TogetherError)}
    says = {name for name, text in tried.items() if "Nothing was sent" in text}
    assert says == {"NotReached"}


def test_sentences_of_all_errors() -> None:
    told = []
    for name, error in ERRORS.items():
        is_public = not isinstance(error, NotAttempted)
        told.append(
            f"{name}\n{drawn(cards.failure(error, request(), 'gpu-node-07') if is_public else cards.private(error))}"
        )
    compare("errors", "\n".join(told))


def test_in_progress_of_a_command_and_of_a_click() -> None:
    compare("in-progress-command", drawn(cards.in_progress(request(), START)))
    compare("in-progress-click", drawn(cards.in_progress(request(Verb.APPROVE, cards.card(remediation())), START)))


def test_header_of_what_is_being_decided_fits_into_slack() -> None:
    asked = cards.card(remediation(state="PENDING", mode="M" * 60, instance_name="n" * 200))
    shown = cards.in_progress(request(original=asked), START)
    check_message({"text": shown.text, "blocks": shown.blocks}, is_update=True)


def test_title_of_what_is_being_decided_stays_a_link() -> None:
    asked = cards.card(remediation(), config=cards.CardConfig("https://x.example/{remediation_id}"))
    title = cards.in_progress(request(Verb.APPROVE, asked), START).blocks[0]["elements"][0]["elements"][0]
    assert (title["url"], title["text"]) == ("https://x.example/r-91ac", "Approving: reboot gpu-node-07 ⏳")


def test_error_links_to_the_console_that_it_names() -> None:
    shown = cards.failure(ERRORS["KeyRefused-403"], request(), "gpu-node-07", "https://x.example/r-91ac?a=1&b=2")
    check_message({"text": shown.text, "blocks": shown.blocks}, is_update=False)
    links = [element for element in shown.blocks[0]["elements"][0]["elements"] if element["type"] == "link"]
    assert links == [{"type": "link", "url": "https://x.example/r-91ac?a=1&b=2", "text": "the Together console"}]


def test_in_progress_removes_controls_from_attachments_too() -> None:
    card = cards.card(remediation())
    button = card.blocks[-3]["elements"][0]
    accessory = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, "accessory": button}
    original = Message("alert", [], [{"color": "danger", "blocks": [accessory, *card.blocks]}, {"text": "legacy"}])
    shown = cards.in_progress(request(Verb.APPROVE, original), START)
    assert "button" not in json.dumps([shown.blocks, shown.attachments])
    assert shown.attachments[1] == {"text": "legacy"}


def test_usage() -> None:
    compare("usage", drawn(cards.usage()))


def test_pushes_of_errors_begin_with_the_node_and_what_was_asked() -> None:
    for error in ERRORS.values():
        if not isinstance(error, NotAttempted):
            shown = cards.failure(error, request(Verb.APPROVE), "gpu-node-07")
            assert shown.text.startswith(f"gpu-node-07, approval: <@U0ALICE> {error.sentence}"[:80])
            first = json.dumps(shown.blocks[0]["elements"][0]["elements"][0], ensure_ascii=False)
            assert "gpu-node-07, approval: " in first
    assert cards.failure(ERRORS["NotReached"], request()).text.startswith("i-0042, cancellation: ")


def test_clusters_that_could_not_be_read_are_named_with_the_list_of_them() -> None:
    rest = "from Together, so some may be missing or out of date."
    assert not_read(["", "c-1"]) == f"Couldn't read c-1 or the list of clusters {rest}"
    assert not_read([""]) == f"Couldn't read the list of clusters {rest}"
    assert (
        not_read([f"c-{number}" for number in range(7)]) == f"Couldn't read c-0, c-1, c-2, c-3, c-4 and 2 more {rest}"
    )


def test_decision_that_release_0_1_drew_beneath_an_alert_is_drawn_once() -> None:
    alert, present = Message("alert", [blocks.paragraph("GPU has fallen off the bus")]), remediation()
    drawn_once = cards.decision_beneath(alert, cards.card(present, notice="Checked."), present.ref)
    assert cards.decision_beneath(alert, drawn_once, present.ref) == drawn_once


def test_progress_that_is_taken_back_keeps_what_another_tool_has_written_since() -> None:
    buttons = {"type": "actions", "block_id": "buttons", "elements": [blocks.check_again(reference_value(REF))]}
    words, more, gone = ({**blocks.paragraph(each), "block_id": each} for each in ("words", "more", "gone"))
    before = Message("alert", [words, gone, buttons], [{"text": "XID 79"}, {"blocks": [buttons]}])
    asked = request(original=before)
    shown = cards.in_progress(replace(asked, place=replace(asked.place, is_foreign=True)), START)
    assert cards.put_back(shown, before, REF) == before
    newer = {**words, "elements": []}
    now = Message(shown.text, [newer, *shown.blocks[2:], more], [{"text": "over"}])
    assert cards.put_back(now, before, REF) == Message("alert", [newer, buttons, more], [{"text": "over"}])
    assert cards.put_back(now, shown, REF).text == "alert"
