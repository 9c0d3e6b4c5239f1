"""What is found by a name, and what is said where nothing is found."""

import json
from typing import Any

import pytest

from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault, Ids
from tests.test_flow_chooser import opened, shown_in
from tests.watch import card, pass_time, poll, quiet, watching
from tests.world import IDS, OTHER, REF, World, world

BOT = f"<@{BOT_USER}>"
MEANT: Ids = ("cluster-1", "instance-7", "r-7")
LONGER: Ids = ("cluster-1", "instance-70", "r-70")
NOTHING = "Nothing can be cancelled right now"


async def two_names(bot: World, **meant: Any) -> None:
    """gpu-node-70 has its card; gpu-node-7 opens a moment later, before the next poll."""
    await card(bot, bot.together.add(LONGER, instance_name="gpu-node-70"))
    bot.together.add(MEANT, instance_name="gpu-node-7", **meant)


async def two_nodes(bot: World) -> None:
    """gpu-node-1 and gpu-node-2 have their cards."""
    for number in (1, 2):
        ids = ("cluster-1", f"instance-{number}", f"remediation-{number}")
        await card(bot, bot.together.add(ids, instance_name=f"gpu-node-{number}"))


async def test_full_name_of_a_node_that_has_just_opened_cancels_no_node_with_a_longer_name() -> None:
    async with watching() as bot:
        await two_names(bot)
        view = await opened(bot, "gpu-node-7")
        if "submit" in view and "initial_option" in shown_in(view):
            await bot.slack.submit(view)
            await quiet(bot)
        assert bot.together.state(LONGER) == "PENDING_APPROVAL", "the wrong node's repair was cancelled"


async def test_full_name_of_a_node_that_is_already_running_offers_no_node_with_a_longer_name() -> None:
    async with watching() as bot:
        await card(bot, bot.together.add(LONGER, instance_name="gpu-node-70"))
        await card(bot, bot.together.add(MEANT, "RUNNING", instance_name="gpu-node-7"))
        assert "gpu-node-70" not in shown_in(await opened(bot, "gpu-node-7"))


async def test_running_repair_is_not_called_no_open_remediation() -> None:
    async with watching() as bot:
        await card(bot, bot.together.add())
        await card(bot, bot.together.add(MEANT, "RUNNING", instance_name="gpu-node-7"))
        assert "No open remediation matches" not in shown_in(await opened(bot, "gpu-node-7"))


async def test_mention_with_a_full_name_points_at_no_card_of_a_longer_name() -> None:
    async with watching() as bot:
        await two_names(bot)
        said = await bot.slack.say(f"{BOT} approve gpu-node-7", user="U0ALICE")
        await quiet(bot)
        assert not [reply.text for reply in bot.slack.replies(said) if "gpu-node-70" in reply.text]


async def test_hold_with_a_full_name_is_not_asked_for_the_full_name() -> None:
    async with watching() as bot:
        await two_names(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
        assert "Type the full node name" not in (await bot.reply_privately()).text


@pytest.mark.parametrize("first", ["gpu-node-1", REF])
async def test_second_node_that_is_typed_is_not_left_out_without_a_word(first: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"{first} and gpu-node-2.")).body
        assert "“gpu-node-2” is another node. Name one node at a time. Nothing was sent." in json.loads(told)["text"]
        await quiet(bot)
        assert (bot.together.posts, bot.slack.views) == ([], [])


@pytest.mark.parametrize("rest", ["gpu-node-2", "remediation-2"])
async def test_second_name_behind_three_ids_is_no_reason(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"{REF} {rest}")).body
        assert f"“{rest}” is another node. Name one node at a time. Nothing was sent." in json.loads(told)["text"]
        await quiet(bot)
        assert bot.together.posts == []
        await bot.slack.command(f"{REF} gpu-node-1")
        await card(bot, words="Cancelled by <@U0ALICE>")


async def test_second_reference_of_another_cluster_is_no_reason() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add())
        other = bot.together.add(("cluster-2", "instance-2", "remediation-2"), instance_name="gpu-node-2")
        await card(bot, other)
        told = (await bot.slack.command(f"{' '.join(IDS)} followed by {' '.join(other)}")).body
        assert "“gpu-node-2” is another node. Name one node at a time. Nothing was sent." in json.loads(told)["text"]
        await quiet(bot)
        assert bot.together.posts == []


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (REF, "as in https://grafana.example.com/d/gpu/gpu-node-2"),
        ("gpu-node-1", "NVLink errors in logs/gpu/gpu-node-1"),
    ],
)
async def test_path_in_a_reason_that_ends_with_a_node_names_no_other_one(typed: str, reason: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"{typed} {reason}")).body
        assert "is another node" not in told


async def test_name_that_two_clusters_have_is_not_guessed_at() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add(MEANT, instance_name="gpu-node-7"))
        bot.together.add(OTHER, instance_name="gpu-node-7")
        assert "2 remediations match" in shown_in(await opened(bot, "gpu-node-7"))


async def test_hold_of_a_name_that_two_clusters_have_holds_neither_unasked() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(MEANT, instance_name="gpu-node-7"))
        bot.together.add(OTHER, instance_name="gpu-node-7")
        await bot.slack.say(f"{BOT} hold gpu-node-7 2h", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in alert.text


@pytest.mark.parametrize("typed", ["list", ""])
async def test_automatic_repair_that_gets_no_card_can_still_be_cancelled(typed: str) -> None:
    async with watching(BOT_AUTOMATIC_REPAIRS="none") as bot:
        bot.together.add(MEANT, "PENDING", instance_name="gpu-node-7")
        await poll(bot)
        await poll(bot)
        if typed:
            await bot.slack.command(typed)
            text = (await bot.reply_privately()).text
        else:
            text = shown_in(await opened(bot))
        assert NOTHING not in text


async def test_nothing_is_called_certain_before_the_first_look() -> None:
    async with watching() as bot:
        bot.together.faults.append(Fault("hang", verb="list", times=-1))
        bot.together.add()
        await bot.slack.command("list")
        for _ in range(3):  # of what the search may take
            await quiet(bot)
            await bot.time.advance(4)
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


async def test_nothing_is_called_certain_between_two_polls() -> None:
    async with watching(BOT_POLL_SECONDS="3600") as bot:
        await quiet(bot)
        await bot.time.advance(1000)
        await quiet(bot)
        bot.together.add()
        await bot.slack.command("list")
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


@pytest.mark.parametrize("missing", ["mode", "cluster"])
async def test_what_cannot_be_read_is_not_called_nothing(missing: str) -> None:
    async with world() as bot:
        if missing == "mode":
            bot.together.clusters["cluster-1"] = "one"
            names = {"id": "r-7", "cluster_id": "cluster-1", "instance_id": "instance-7"}
            bot.together.lists_extra.append({**names, "state": "PENDING_APPROVAL", "trigger": "x"})
        else:
            bot.together.add()
            describe = bot.together.describe
            bot.together.describe = lambda cluster: {"id": describe(cluster)["cluster_id"]}  # type: ignore[method-assign] # the simulator's
        await bot.slack.command("list")
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


async def test_cluster_that_is_not_searched_is_not_said_to_list_nothing() -> None:
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        await quiet(bot)
        bot.together.add(OTHER, instance_name="gpu-node-9")
        assert "what Together lists" not in shown_in(await opened(bot, "gpu-node-9"))


async def test_remediation_on_two_pages_of_a_list_is_listed_once() -> None:
    async with world() as bot:
        bot.together.max_page, bot.together.repeated = 2, 1
        for number in (1, 2, 3):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        await bot.slack.command("list")
        assert (await bot.reply_privately()).text.startswith("3 remediations are waiting")


async def test_full_name_that_is_on_two_pages_is_not_called_ambiguous() -> None:
    async with world() as bot:
        bot.together.max_page, bot.together.repeated = 2, 1
        for number in (1, 2, 3):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        await bot.slack.say(f"{BOT} cancel gpu-2", user="U0ALICE")
        await quiet(bot)
        assert not [message.text for message in bot.slack.visible("U0ALICE") if "remediations match" in message.text]


async def test_matches_say_that_a_cluster_could_not_be_read() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        for number in (1, 2):
            ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
            await card(bot, ids)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        for _ in range(8):
            await poll(bot)
        await bot.slack.command("list")
        assert "Couldn't read two" in (await bot.reply_privately()).text
        await bot.slack.command("status gpu-node")
        assert "Couldn't read two" in (await bot.reply_privately(count=2)).text


async def test_name_of_the_node_itself_is_no_other_node_where_it_has_two_repairs() -> None:
    async with watching() as bot:
        ids = [bot.together.add(("cluster-1", "i-1", f"r-{number}"), instance_name="gpu-7") for number in (1, 2)]
        for each in ids:
            await card(bot, each)
        await bot.slack.command("cluster-1 i-1 r-1 gpu-7")
        await card(bot, ids[0], words="Cancelled")
        assert bot.together.state(ids[1]) == "PENDING_APPROVAL"


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


async def test_hold_typed_for_a_node_while_another_cluster_cannot_be_read_by_its_remediation_id() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        await bot.slack.say(f"{BOT} hold {IDS[2]} 1h", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" in alert.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


async def test_hold_of_the_threads_own_node_by_name_while_another_cluster_cannot_be_read() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" in alert.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]
