"""Clusters with their own channel and on-call."""

import pytest

from tests.fetch import get
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import CHANNEL, card, pass_time, poll, quiet, until, watching
from tests.world import OTHER

OTHER_CHANNEL = "C0OTHER"
ROUTES = f"cluster-2={OTHER_CHANNEL}/S0TRAIN"


async def test_routed_cluster_has_its_own_channel_and_oncall() -> None:
    async with watching(BOT_ROUTES=ROUTES, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        bot.together.add(OTHER)
        here, there = await card(bot), await card(bot, OTHER)
        assert (here.channel, there.channel) == ("C0OPS", OTHER_CHANNEL)
        await pass_time(bot, 16 * 60)
        reminders = {reply.channel: reply.text for alert in (here, there) for reply in bot.slack.replies(alert)}
        assert reminders["C0OPS"].endswith(" <!subteam^S0ONCALL>")
        assert reminders[OTHER_CHANNEL].endswith(" <!subteam^S0TRAIN>")
        bot.together.review(OTHER, "cancel")
        await card(bot, OTHER, "Cancelled: reboot")


async def test_storms_backlogs_and_outages_go_to_the_routed_channel() -> None:
    async with watching(BOT_ROUTES=ROUTES, BOT_ONCALL="S0ONCALL") as bot:
        storm(bot, 6)
        storm(bot, 6, cluster="cluster-2")
        messages = [await digest(bot), await digest(bot, number=1)]
        assert sorted(message.channel for message in messages) == ["C0OPS", OTHER_CHANNEL]
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        told = await until(
            bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 400
        )
        assert [message.channel for message in told] == [OTHER_CHANNEL]


async def test_message_of_several_clusters_moves_once_all_that_is_left_in_it_goes_elsewhere() -> None:
    async with watching(BOT_CHANNELS=f"C0OPS,{OTHER_CHANNEL}") as bot:
        over = storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        await digest(bot, "8 nodes")
        for ids in over:
            bot.together.resolve(ids)
        message = await digest(bot, "4 nodes")
        await bot.settle()
        routed = bot.settings.model_copy(update={"bot_routes": {"cluster-2": (OTHER_CHANNEL, "S0TRAIN")}})
        async with bot.another(routed):
            await until(bot, lambda: message.text == f"4 nodes: moved to <#{OTHER_CHANNEL}>.")
            moved = await until(
                bot, lambda: [message for message in bot.slack.digests() if message.channel == OTHER_CHANNEL]
            )
            assert "S0TRAIN" in moved[0].text


@pytest.mark.parametrize("channel", [CHANNEL, ""], ids=["it watches", "it doesn't watch"])
async def test_unknown_cluster_of_a_setting_is_named_while_the_bot_stays_ready_until_it_is_listed(channel: str) -> None:
    async with watching(BOT_OBSERVE="cluster-9", BOT_ALERT_CHANNEL=channel) as bot:
        await quiet(bot)
        told = "BOT_OBSERVE names clusters that Together doesn't list: cluster-9."
        assert await get(bot.app, "/readyz") == (200, f"ready\n{told}\n")
        bot.together.clusters["cluster-9"] = "cluster-9"
        await pass_time(bot, 700)
        assert await get(bot.app, "/readyz") == (200, "ready\n")


async def test_cluster_that_was_listed_is_looked_for_no_more_by_a_bot_that_does_not_watch() -> None:
    async with watching(BOT_OBSERVE="cluster-1", BOT_ALERT_CHANNEL="") as bot:
        await quiet(bot)
        bot.together.clusters.clear()  # a list that lags behind lacks some for a moment
        await pass_time(bot, 700)
        assert await get(bot.app, "/readyz") == (200, "ready\n")
        assert [call.verb for call in bot.together.calls] == ["clusters"]


async def test_channel_that_cannot_be_posted_to_is_named_while_the_bot_stays_ready() -> None:
    async with watching(BOT_ROUTES="cluster-2=C0GONE") as bot:
        bot.together.add(OTHER)
        await poll(bot)
        status, text = await get(bot.app, "/readyz")
        assert (status, text) == (200, "ready\nCan't post alerts in C0GONE: channel_not_found.\n")


async def test_channel_that_is_archived_while_nothing_waits_is_named_until_it_takes_messages_again() -> None:
    """Its next alert may come at night."""
    async with watching() as bot:
        await began(bot)
        bot.slack.channels[CHANNEL].is_archived = True
        await pass_time(bot, 3700)
        assert await get(bot.app, "/readyz") == (200, "ready\nCan't post alerts in C0OPS: is_archived.\n")
        bot.slack.channels[CHANNEL].is_archived = False
        await pass_time(bot, 3700)
        assert await get(bot.app, "/readyz") == (200, "ready\n")
