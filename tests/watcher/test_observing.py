"""Clusters in which the bot decides nothing: everything is told, nothing can be decided, nothing is sent."""

import pytest

from bot import cards
from bot.cards import home
from tests.rows import outcomes_by_user
from tests.simulator.together import Ids
from tests.storms import REVIEW, began, choose, digest, storm
from tests.test_flow_home import opened, shown
from tests.watch import CHANNEL, HOLD, LOOKING, card, pass_time, submit_pause, thread, until, watching
from tests.world import APPROVE, CANCEL, World, as_alert

pytestmark = pytest.mark.bot(watching=True, BOT_OBSERVE="cluster-1")
SAID = "The bot only observes this cluster, so nothing was sent."


async def test_card_says_so_and_has_no_buttons_that_decide(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    assert list(alert.buttons) == [HOLD, LOOKING]
    assert "Observing: reboot gpu-node-7" in alert.everything
    assert "The bot only observes this cluster: decide <https://api.together.ai/clusters|in Together>." in alert.text
    assert alert.text.startswith("gpu-node-7 (cluster-1 (H100)): Together asks to approve: reboot.")
    assert {option["value"] for option in alert.controls["remediation:more"]["options"]} == {
        "ids",
        "history",
        "timeline",
    }
    await pass_time(bot, 1000)
    assert "Decide in Together." in thread(bot, alert)[-1]


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_card_there_asks_for_no_two_people(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    assert "Needs two approvers" not in (await card(bot)).text


async def test_first_of_two_approvals_counts_nowhere_once_its_cluster_is_observed() -> None:
    async with watching(BOT_OBSERVE="", BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        await began(bot)
        nodes = storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message, "gpu-node-0003"))
        await digest(bot, "1 of 2 approvals (@U0ALICE)")
        alone = bot.together.add(("cluster-2", "i-2", "r-2"), mode=bot.together.remediations[nodes[3]]["mode"])
        alert = await card(bot, alone, seconds=700)
        await bot.slack.press(alert, APPROVE)
        await card(bot, alone, words="Someone else must approve too")
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_observe": ("*",)})):
            await until(bot, lambda: "1 of 2 approvals" not in message.text)
            await until(bot, lambda: "only observes" in alert.text)
            assert "Someone else must approve too" not in alert.text
            assert "1 of 2 approvals" not in str(await opened(bot))


async def test_hold_and_the_menu_work_there(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="3600")
    await card(bot, words="On hold until")
    await opened(bot)
    await bot.slack.press_home(cards.MORE, choice=cards.COPY_IDS)
    await bot.slack.until(lambda: [message for message in bot.slack.direct("U0ALICE") if "IDs to copy" in message.text])


async def test_hold_and_the_menu_work_in_home_for_a_node_of_a_storm(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    version = (await opened(bot))["version"]
    await bot.slack.press_home(home.OPEN)
    await shown(bot, version=version + 1)
    await bot.slack.press_home(cards.MORE, choice=cards.COPY_IDS)
    await bot.slack.until(lambda: [message for message in bot.slack.direct("U0ALICE") if "IDs to copy" in message.text])
    await bot.slack.press_home(HOLD, choice="3600")
    await until(bot, lambda: "on hold" in message.everything)


@pytest.mark.bot(BOT_STORM_BRAKE="2")
@pytest.mark.parametrize("count", [2, 8])
async def test_nothing_there_is_paused_or_said_to_be_cancelled_here(bot: World, count: int) -> None:
    await began(bot)
    storm(bot, count)
    await pass_time(bot, 300)
    await opened(bot)
    await bot.slack.press_home(cards.PAUSE_DIALOG)
    await submit_pause(bot)
    await pass_time(bot, 60)
    seen = [message for message in bot.slack.visible() if message.channel == CHANNEL]
    assert not [
        message.text for message in seen if "paused" in message.everything or cards.PAUSE_DIALOG in message.buttons
    ]


@pytest.mark.parametrize("action", [APPROVE, CANCEL])
async def test_click_on_another_tools_alert_is_refused(bot: World, action: str) -> None:
    ids: Ids = bot.together.add()
    tool = bot.slack.post_as_tool(as_alert(bot.together.remediations[ids]))
    await bot.slack.press(tool, action)
    told = (await bot.reply_privately()).text
    assert SAID in told
    assert "Decide in Together." in told
    assert bot.together.posts == []
    assert await outcomes_by_user(bot) == [("U0ALICE", "observing")]


async def test_typed_cancel_is_refused_there_and_sent_elsewhere(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "two"
    bot.together.add()
    bot.together.add(("cluster-2", "i-2", "r-2"))
    await bot.slack.command("cluster-1 instance-1 remediation-1")
    assert SAID in (await bot.reply_privately()).text
    await bot.slack.command("cluster-2 i-2 r-2")
    await bot.together.until(lambda: bot.together.state(("cluster-2", "i-2", "r-2")) == "CANCELLED")
    assert len(bot.together.posts) == 1


async def test_digest_offers_nothing_to_select(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    assert REVIEW not in message.buttons
    assert LOOKING in message.buttons
    assert "The bot only observes this cluster" in message.text


async def test_decision_that_a_dead_process_left_is_refused_once_its_cluster_is_observed(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2) as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            assert (await bot.slack.press(alert, APPROVE)).status == 200
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_observe": ("*",)})):
            assert SAID in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_home_offers_no_decision_on_what_is_observed(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.open_home()
    await bot.slack.until(lambda: "gpu-node-7" in str(bot.slack.homes.get("U0ALICE")))
    home = str(bot.slack.homes["U0ALICE"])
    assert "Observing: reboot gpu-node-7" in home
    assert LOOKING in home
    assert APPROVE not in home
    assert CANCEL not in home


async def test_id_typed_in_another_case_sends_nothing_there(bot: World) -> None:
    bot.together.add(("CLUSTER-1", "i-1", "r-1"))
    await bot.slack.command("CLUSTER-1 i-1 r-1")
    assert SAID in (await bot.reply_privately()).text
    assert bot.together.posts == []
