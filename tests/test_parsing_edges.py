"""What is pasted behind the command, at the edges."""

import pytest

from bot.errors import UnreadableCommand
from bot.mention_parsing import parse_mention
from bot.models import RemediationRef
from bot.parsing import MAX_TEXT, Find, Order, parse
from bot.text_search import references
from tests.simulator.slack.workspace import BOT_USER
from tests.watch import card, quiet, watching
from tests.world import IDS, world
from tests.world import REF as WAITING

BOT = f"<@{BOT_USER}>"
LINK = f"https://api.together.xyz/v1/compute/clusters/{IDS[0]}/instances/{IDS[1]}/remediations/{IDS[2]}"
COPIED = f"Cluster: {IDS[0]}\nInstance: {IDS[1]}\nRemediation: {IDS[2]}"
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


@pytest.mark.parametrize("typed", [f"<{LINK}>.", f"“{WAITING}”.", f"({WAITING})", f"*{WAITING}*"])
async def test_pasted_ids_are_not_called_unknown_for_what_pasting_leaves_on_them(typed: str) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add())
        await bot.slack.command(typed)
        await quiet(bot)
        assert not [message.text for message in bot.slack.visible() if "no such remediation" in message.text]


@pytest.mark.parametrize("typed", [COPIED, f"/cancel-remediation {' '.join(IDS)}", f"pls cancel {' '.join(IDS)}"])
async def test_what_copy_ids_gives_is_taken_or_refused_but_not_sent_as_other_ids(typed: str) -> None:
    async with world() as bot:
        bot.together.add()
        await bot.slack.command(typed)
        await quiet(bot)
        assert not [post.ids for post in bot.together.posts if post.ids != IDS]


@pytest.mark.parametrize(
    "name",
    ["gpu\u2011node\u20117", "gpu–node–7", "*gpu-node-7*", "gpu-node-7:", "(gpu-node-7)", "gpu\uff0dnode-7"],
)
async def test_name_of_a_node_that_waits_is_not_said_to_match_nothing_for_what_pasting_leaves_on_it(name: str) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await bot.slack.say(f"{BOT} hold {name} 1h", user="U0ALICE")
        await quiet(bot)
        assert not [line.text for line in bot.slack.visible("U0ALICE") if "No open remediation matches" in line.text]


def test_link_whose_words_name_another_remediation_is_not_carried_out() -> None:
    with pytest.raises(UnreadableCommand):
        parse(f"<{URL}|cluster-1/instance-1/remediation-2>")
