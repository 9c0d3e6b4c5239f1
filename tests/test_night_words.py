"""What people write at night: their own words around names, IDs, and lengths."""

import json
from pathlib import Path

import pytest

from bot import cards
from bot.errors import UnreadableCommand
from bot.parsing import parse
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault
from tests.storms import began, storm
from tests.test_flow_chooser import shown_in
from tests.test_flow_home import opened as home_opened
from tests.test_flow_home import said as said_in
from tests.test_flow_shortcuts import used
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import IDS, REF, World, world

BOT = f"<@{BOT_USER}>"
URL = f"https://api.together.xyz/v1/compute/clusters/{IDS[0]}/instances/{IDS[1]}/remediations/{IDS[2]}"
NO_SUCH = "no such remediation"


async def two_nodes(bot: World) -> list[Posted]:
    """gpu-node-1 and gpu-node-2 have their cards."""
    ids = [("cluster-1", f"instance-{n}", f"remediation-{n}") for n in (1, 2)]
    return [await card(bot, bot.together.add(each, instance_name=f"gpu-node-{each[2][-1]}")) for each in ids]


def said(bot: World) -> list[str]:
    """What the channel was told beside the cards."""
    return [message.text for message in bot.slack.visible() if "atched" in message.text or NO_SUCH in message.text]


# 1. A request behind the IDs cancels.


@pytest.mark.parametrize(
    "rest",
    ["“approve”", "approve?", "*approve*", "(approve)", "please approve", "pls hold 2h", "status?", "status please",
     "help?", "??", "> approve"],
)  # fmt: skip
async def test_request_behind_ids_cancels_nothing_whatever_is_around_it(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"{REF} {rest}")
        await quiet(bot)
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


# 2. A hold in the thread of one node holds another.


async def test_reason_in_the_thread_of_one_node_holds_no_other() -> None:
    async with watching() as bot:
        first, second = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold 2h gpu-node-2 shares its job", user="U0ALICE", thread=first)
        await quiet(bot)
        assert "On hold until" not in second.text


@pytest.mark.parametrize("rest", ["2h job still running", "2h: job still running", "2h (job still running)"])
async def test_hold_in_a_thread_with_a_reason_is_not_told_that_there_is_no_such_remediation(rest: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold {rest}", user="U0ALICE", thread=first)
        await quiet(bot)
        assert not [reply.text for reply in bot.slack.replies(first) if NO_SUCH in reply.text]


# 3. The rest of a message is dropped as a reason.


@pytest.mark.parametrize(
    "rest",
    ["and cancel gpu-node-2", "\ncancel gpu-node-2", "and approve gpu-node-2", "; approve gpu-node-2",
     "and also gpu-node-2", ", gpu-node-2 too", "and “gpu-node-2”", "and *gpu-node-2*", "and `gpu-node-2`",
     "\n- gpu-node-2 4h", "- gpu-node-2", "und gpu-node-2"],
)  # fmt: skip
async def test_second_request_of_a_hold_is_not_dropped_without_a_word(rest: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-1 2h {rest}", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in first.text


@pytest.mark.parametrize(
    "rest",
    ["and cancel gpu-node-2", "and hold gpu-node-2", "\ncancel gpu-node-2", "gpu-node-2 too", "and “gpu-node-2”",
     "and *gpu-node-2*", "and the gpu-node-2"],
)  # fmt: skip
async def test_second_request_of_a_cancel_is_not_dropped_without_a_word(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"{REF} {rest}")
        await quiet(bot)
        assert bot.together.posts == []


async def test_second_reference_behind_then_is_no_reason_where_nothing_is_watched() -> None:
    async with world() as bot:
        bot.together.add()
        await bot.slack.command(f"{REF} then cluster-1/instance-2/remediation-2")
        await quiet(bot)
        assert bot.together.posts == []


# 4. The shortcut, on a digest and while a cluster can't be read.


async def test_shortcut_on_a_digest_is_not_about_one_of_its_nodes() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 8)
        digest = await until(bot, lambda: next(iter(bot.slack.digests()), None))
        view = await used(bot, digest)
        assert "Cancel remediation for gpu-node-0003?" not in shown_in(view)


async def test_shortcut_says_that_a_cluster_could_not_be_read_as_the_typed_name_does() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.add(("cluster-2", "instance-7", "r-7"), instance_name="gpu-node-7")
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        view = await used(bot, await bot.slack.say("gpu-node-7 is broken again", user="U0BOB"))
        assert "Couldn't read two from Together" in shown_in(view)


async def test_hold_of_a_name_says_that_a_cluster_could_not_be_read() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.add(("cluster-2", "instance-7", "r-7"), instance_name="gpu-node-7")
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
        await pass_time(bot, 20)
        told = [message.text for message in bot.slack.messages if message.by == BOT_USER]
        assert "On hold until" not in alert.text or [line for line in told if "Couldn't read two" in line]


# 5. "Together has no such remediation" about words that nobody meant as IDs, in the channel.


@pytest.mark.parametrize(
    "typed",
    [f"<{URL}>.", f"“{REF}”.", f"({REF})", f"*{REF}*"],
)  # fmt: skip
async def test_pasted_ids_are_not_called_unknown_for_what_pasting_leaves_on_them(typed: str) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add())
        await bot.slack.command(typed)
        await quiet(bot)
        assert not [message.text for message in bot.slack.visible() if NO_SUCH in message.text]


COPIED = f"Cluster: {IDS[0]}\nInstance: {IDS[1]}\nRemediation: {IDS[2]}"


@pytest.mark.parametrize("typed", [COPIED, f"/cancel-remediation {' '.join(IDS)}", f"pls cancel {' '.join(IDS)}"])
async def test_what_copy_ids_gives_is_taken_or_refused_but_not_sent_as_other_ids(typed: str) -> None:
    async with world() as bot:
        bot.together.add()
        await bot.slack.command(typed)
        await quiet(bot)
        assert not [post.ids for post in bot.together.posts if post.ids != IDS]


@pytest.mark.parametrize(
    "rest", ['"job is still running"', "(job still running)", "3 jobs still running", ", job is still running",
             ": job is still running", "– job is still running"]
)  # fmt: skip
async def test_reason_behind_the_name_of_a_known_node_is_not_sent_to_together_as_ids(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"gpu-node-1 {rest}")
        await quiet(bot)
        assert bot.together.posts == []


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


# 6. A hold of another length.


@pytest.mark.parametrize(
    "length",
    ["for an hr", "four hrs", "for three hrs", "a few hrs", "to 5pm", "up to 5pm", "tomorrow morning", "10m, then 2h",
     "for “2h”", "bis 17 Uhr", "für 2 Stunden", "pendant 2 heures"],
)  # fmt: skip
async def test_hold_of_a_length_in_other_words_is_not_half_an_hour(length: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-1 {length}", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in first.text


# 7. Home and the docs.


async def test_home_shows_a_failure_without_the_optional_times_as_tonight_does() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        bot.together.advance(IDS)
        await poll(bot)
        bot.together.fail(IDS, "boom")
        for name in ("end_time", "update_time"):
            bot.together.remediations[IDS].pop(name, None)
        await poll(bot)
        await poll(bot)
        assert "Failed: reboot" in alert.text
        assert "1 failed" in said_in(await home_opened(bot))


@pytest.mark.parametrize("words", ["remediations are in this thread.", "has expired, or is someone else's."])
def test_troubleshooting_has_the_bots_own_words(words: str) -> None:
    code = " ".join(path.read_text() for path in Path("bot/errors").glob("*.py"))
    assert words in code
    assert words in Path("docs/troubleshooting.md").read_text()


# 8. People in a reason, and what the help says of a hold.


async def test_second_cancel_of_a_message_is_not_dropped() -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.say(f"{BOT} cancel gpu-node-1\ncancel gpu-node-2", user="U0ALICE")
        await pass_time(bot, 5)
        told = [message.text for message in bot.slack.messages if message.by == BOT_USER and "asked to" in message.text]
        assert not told or [line for line in told if "gpu-node-2" in line]


async def test_hold_of_a_name_is_not_decided_by_a_copy_of_a_moment_ago() -> None:
    """Somebody listed what waits; a node of the same name opens in another cluster; a hold by that name follows."""
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await pass_time(bot, 660)  # the list of clusters is read every ten minutes
        await bot.slack.command("status gpu-node-7", user="U0BOB")
        await pass_time(bot, 1)
        bot.together.add(("cluster-2", "instance-7", "r-7"), instance_name="gpu-node-7")
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in alert.text
        assert "2 open remediations match" in (await bot.reply_privately()).text


def test_help_does_not_say_that_a_hold_holds_the_approval() -> None:
    assert "A hold doesn't block approvals." in Path("docs/alerts.md").read_text()
    assert "puts its approval on hold" not in cards.mentions().text


def test_link_whose_words_name_another_remediation_is_not_carried_out() -> None:
    with pytest.raises(UnreadableCommand):
        parse(f"<{URL}|cluster-1/instance-1/remediation-2>")


@pytest.mark.parametrize(
    "reason", ["drained", "it's fine now", "see https://tickets.example.com/T-17", "100% false alarm", "再起動済み",
     "because " + "再起動しました" * 30]
)  # fmt: skip
async def test_name_and_reason_open_the_dialog_as_the_docs_say(reason: str) -> None:
    """`/cancel-remediation NAME [reason]`: “a reason only behind the name of a node that the bot knows”."""
    async with watching() as bot:
        await two_nodes(bot)
        ack = await bot.slack.command(f"gpu-node-1 {reason}")
        await quiet(bot)
        assert bot.slack.views, json.loads(ack.body)["text"]
