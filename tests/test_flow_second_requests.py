"""What follows IDs and names: a reason, or a second request, which cancels nothing."""

import json

import pytest

from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER
from tests.test_flow_chooser import shown_in
from tests.watch import card, pass_time, quiet, until, watching
from tests.world import IDS, REF, World, world

SECOND = ("cluster-1", "instance-8", "remediation-8")

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


COPIED = f"Cluster: {IDS[0]}\nInstance: {IDS[1]}\nRemediation: {IDS[2]}"


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


async def test_second_cancel_of_a_message_is_not_dropped() -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.say(f"{BOT} cancel gpu-node-1\ncancel gpu-node-2", user="U0ALICE")
        await pass_time(bot, 5)
        told = [message.text for message in bot.slack.messages if message.by == BOT_USER and "asked to" in message.text]
        assert not told or [line for line in told if "gpu-node-2" in line]


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


@pytest.mark.parametrize("rest", ["gpu-node-2", ", gpu-node-2", "remediation-2", "“gpu-node-2”"])
async def test_two_names_are_not_one_and_a_reason(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"gpu-node-1 {rest}")
        await quiet(bot)
        assert not bot.slack.views, shown_in(list(bot.slack.views)[-1])


@pytest.mark.parametrize("rest", ["please", "again", "now"])
async def test_status_of_a_node_offers_no_cancellation(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"status gpu-node-1 {rest}")
        await quiet(bot)
        assert not bot.slack.views, shown_in(list(bot.slack.views)[-1])


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING"])
async def test_ids_of_another_repair_in_a_thread_hold_not_the_thread_s_own(state: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        bot.together.add(("cluster-1", "instance-3", "remediation-3"), state, instance_name="gpu-node-3")
        await bot.slack.say(f"{BOT} hold 2h cluster-1 instance-3 remediation-3", user="U0ALICE", thread=first)
        await quiet(bot)
        assert "On hold until" not in first.text, first.text


async def test_own_ids_in_a_thread_are_not_the_reason_of_a_hold() -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold 2h {' '.join(IDS)}", user="U0ALICE", thread=first)
        await pass_time(bot, 5)
        assert "On hold until" in first.text
        assert "remediation-1”" not in first.text, first.text


@pytest.mark.parametrize(
    "reason",
    [
        "needed to release gpu-node-2 first",
        "the gpu-node-2 alert is the real one",
        "now gpu-node-2 runs the job",
        "rebooting won't help gpu-node-2 is the culprit",
        "see the status of gpu-node-2",
        "don't stop gpu-node-2 job",
    ],
)
@pytest.mark.parametrize("first", [REF, "gpu-node-1"])
async def test_reason_that_mentions_another_node_is_a_reason(first: str, reason: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"{first} {reason}")).body
        assert "is another node" not in told, told


@pytest.mark.parametrize(
    "rest",
    [
        "cancel it",
        "cancel this, job still running",
        "cancel: false alarm",
        "cancel, false alarm",
        "please release later",
        "now stop flapping",
    ],
)
async def test_cancel_with_its_own_verb_in_the_reason(rest: str) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add())
        await bot.slack.command(f"{REF} {rest}")
        await quiet(bot)
        assert bot.together.state(IDS) == "CANCELLED"


@pytest.mark.parametrize(
    "rest",
    [
        "and hold it, cancel gpu-node-2",
        "don't cancel it, and approve gpu-node-2",
        "please wait, then cancel gpu-node-2",
    ],
)
async def test_second_request_further_back_is_not_dropped(rest: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-1 2h {rest}", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in first.text


async def test_full_stop_behind_a_link_is_no_reason() -> None:

    async with watching() as bot:
        alert = await card(bot, bot.together.add())
        await bot.slack.command(f"<{URL}>.")
        await pass_time(bot, 5)
        assert "“.”" not in alert.text, alert.text


@pytest.mark.parametrize(
    "reason",
    ["is fine, no need to cancel gpu-node-1", "please, the gpu-node-1 alert is stale", "now gpu-node-1 is fine"],
)
async def test_node_itself_in_its_reason_is_not_called_another_node(reason: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"gpu-node-1 {reason}")).body
        await quiet(bot)
        assert "is another node" not in told, told
        assert bot.slack.views


async def test_ids_of_another_tracked_repair_in_a_thread_hold_that_one() -> None:
    async with watching() as bot:
        first, second = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold 2h cluster-1 instance-2 remediation-2", user="U0ALICE", thread=first)
        await pass_time(bot, 5)
        assert "On hold until" in second.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


async def test_first_word_that_the_bot_does_not_track_yet_is_a_node() -> None:
    """It opened a moment ago, in its cluster that the bot reads: Together knows it."""
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        bot.together.add(("cluster-1", "instance-3", "remediation-3"), instance_name="gpu-node-3")
        await bot.slack.say(f"{BOT} hold 2h gpu-node-3 shares its job", user="U0ALICE", thread=first)
        await quiet(bot)
        assert "On hold until" not in first.text, first.text


@pytest.mark.parametrize("rest", ["and gpu-node-08", "gpu-node-08 too", "and cancel gpu-node-08"])
async def test_second_node_by_the_beginning_of_its_name_is_not_left_out_without_a_word(rest: str) -> None:
    """By its whole name, it is refused: "is another node. Name one node at a time."."""
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07.train.example")
        await card(bot)
        bot.together.add(SECOND, instance_name="gpu-node-08.train.example")
        await card(bot, SECOND)
        ack = await bot.slack.command(f"{REF} {rest}")
        await pass_time(bot, 20)
        assert bot.together.posts == [], f"gpu-node-08 is left out, and the reason is “{rest}”"
        assert "another node" in ack.body


async def test_number_in_a_reason_is_no_node_that_is_named_by_its_address() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        await card(bot)
        bot.together.add(SECOND, instance_name="10.0.0.8")
        await card(bot, SECOND)
        await bot.slack.command(f"{REF} and 10 ranks hang")
        await until(bot, lambda: bot.together.posts)
        assert bot.together.state(IDS) == "CANCELLED"


async def test_beginning_of_a_name_and_a_reason_are_not_sent_to_together_as_ids() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07.train.example")
        await card(bot)
        await bot.slack.command("gpu-node-07 flaky nic")
        await pass_time(bot, 20)
        said = [message.text for message in bot.slack.visible()][-1]
        assert bot.together.posts == [], f"{bot.together.posts[0].ids}: {said}"
