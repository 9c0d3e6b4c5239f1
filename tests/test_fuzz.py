"""Random cases of everything that reads what comes from outside: 1,000 of each in CI, 100,000 with `make fuzz`."""

import json
import os
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import cards
from bot.cards.chooser import Choice
from bot.errors import InvalidId, NotAttempted, TogetherError, UnreadableButton, UnreadableCommand
from bot.mention_parsing import parse_mention
from bot.models import Actor, Remediation, RemediationRef, read_button_value
from bot.parsing import parse
from bot.text_search import references
from bot.together import answers
from handlers.buttons import read as read_click
from handlers.commands import read as read_command
from handlers.payloads import find_references
from handlers.surface import click_of

pytestmark = pytest.mark.fuzz
CASES = int(os.environ.get("FUZZ") or (300 if os.environ.get("CI") else 100))
many = settings(max_examples=CASES, deadline=None)
WORDS = st.text(max_size=30) | st.sampled_from([
    "cluster_id", "instance_id", "remediation_id", "mode", "state", "value", "actions", "view", "message", "blocks",
    "remediation:approve", "remediation:hold", "c/i/r", "c i r", "--reason=x", "hold 1h", "<@U0BOT>", "“x”", "\ud800",
    "https://api.together.xyz/v1/compute/clusters/c/instances/i/remediations/r", "static_select", "selected_option",
    '{"cluster_id":"c","instance_id":"i","remediation_id":"r"}',
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=3)
ID = st.text(min_size=1, max_size=12, alphabet="ab/-_.%é💥 ")


@many
@given(st.lists(WORDS, max_size=6).map(" ".join))
def test_typed_words_are_a_request_or_a_sentence(text: str) -> None:
    for read in (parse, parse_mention):
        try:
            read(text)
        except UnreadableCommand as error:
            sentence = error.sentence
        else:
            continue
        assert sentence.endswith((".", "…"))
    for ref in references(text):
        assert isinstance(ref, RemediationRef)


@many
@given(JSON | WORDS | st.fixed_dictionaries(dict.fromkeys(("cluster_id", "instance_id", "remediation_id"), ID)))
def test_button_values_are_read_or_refused(value: Any) -> None:
    for each in (value, json.dumps(value)):
        with suppress(UnreadableButton):
            ref, _ = read_button_value(each)
            assert "/" not in ref.cluster_id


@many
@given(st.fixed_dictionaries({}, optional={
    "actions": st.lists(OBJECTS | st.fixed_dictionaries({
        "action_id": WORDS, "type": WORDS, "value": WORDS, "selected_option": OBJECTS | st.none(),
    }), max_size=2),
    "message": OBJECTS | st.none(), "view": OBJECTS | st.none(), "container": OBJECTS | st.none(),
    "user": OBJECTS | st.none(), "team": OBJECTS | st.none(), "response_url": JSON, "trigger_id": WORDS,
}))  # fmt: skip
def test_clicks_are_read_or_refused(body: dict[str, Any]) -> None:
    with suppress(NotAttempted):
        read_click(click_of(body))


@many
@given(st.fixed_dictionaries({"command": WORDS | st.just("/cancel-remediation"), "text": WORDS, "user_id": WORDS}))
def test_commands_are_read_or_refused(body: dict[str, Any]) -> None:
    with suppress(NotAttempted):
        read_command(body)


@many
@given(OBJECTS)
def test_messages_name_remediations_or_none(message: dict[str, Any]) -> None:
    for ref in find_references(message):
        assert isinstance(ref, RemediationRef)


@many
@given(WORDS | JSON.map(json.dumps))
def test_metadata_of_dialogs_is_read_or_refused(metadata: str) -> None:
    cards.home.Filter.load(metadata)
    with suppress(ValueError):
        Choice.load(metadata)
    with suppress(ValueError, KeyError, TypeError, UnreadableButton):
        cards.recall(metadata, Actor("U0ALICE", "alice", "T0HOME"))


@many
@given(JSON | st.fixed_dictionaries({
    "id": ID, "cluster_id": ID, "instance_id": ID, "mode": WORDS, "trigger": WORDS, "state": WORDS,
    "linked_alerts": JSON, "create_time": JSON, "reviewed_by": JSON,
}))  # fmt: skip
def test_answers_of_together_are_read_or_refused(answer: Any) -> None:
    with suppress(TogetherError):
        found = answers.parse(Remediation, answer)
        with suppress(InvalidId):
            cards.card(found)
    if isinstance(answer, dict):
        with suppress(TogetherError):
            answers.items(answer, "remediations")
