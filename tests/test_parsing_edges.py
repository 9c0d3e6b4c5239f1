"""What is pasted behind the command, at the edges."""

import pytest

from bot.errors import UnreadableCommand
from bot.mention_parsing import parse_mention
from bot.models import RemediationRef
from bot.parsing import MAX_TEXT, Find, Order, parse, references

REF = RemediationRef("c-1", "i-1", "r-1")
URL = "https://api.together.ai/v1/compute/clusters/c-1/instances/i-1/remediations/r-1"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x7f"])
def test_control_characters_separate_like_spaces(character: str) -> None:
    assert parse(f"c-1{character}i-1{character}r-1") == Order(REF)


def test_text_that_is_too_long_is_refused_whatever_it_says() -> None:
    for read, text in ((parse, "c-1 i-1 r-1"), (parse_mention, "hold node because")):
        with pytest.raises(UnreadableCommand, match="longer than 4,000 characters"):
            read(f"{text} {'x' * MAX_TEXT}")


def test_link_without_words_of_its_own_is_kept() -> None:
    for typed in ("<https://example.com/x>", "https://example.com/x"):
        with pytest.raises(UnreadableCommand, match=r"That URL names no remediation\."):
            parse(typed)


def test_last_word_of_a_short_message_is_searched_too() -> None:
    assert list(references(f"see {URL}")) == [REF]


@pytest.mark.parametrize("typed", ["`c-1` / `i-1` / `r-1`", "c-1 / i-1 / r-1", "c-1/i-1/r-1 please"])
def test_status_understands_three_ids_however_they_are_joined(typed: str) -> None:
    assert parse(f"status {typed}") == Find("c-1/i-1/r-1", only_shows=True)
