"""What was waiting before the first start: one message rather than a flood."""

import pytest

from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import CHANNEL, card, pass_time, poll, until, watching
from tests.world import IDS, World

pytestmark = pytest.mark.bot(watching=True)


async def test_backlog_at_the_first_start_becomes_one_message() -> None:
    async with watching() as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        message = await digest(bot)
        assert "8 nodes need a decision (open before monitoring started)" in message.text
        await poll(bot)
        assert bot.slack.visible() == [message]
        storm(bot, 1, start=50)
        await card(bot, ("cluster-1", "instance-50", "cluster-1-r0050-"))


async def test_backlog_is_one_message_although_clusters_could_not_be_listed_at_first() -> None:
    async with watching() as bot:
        bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=6))
        for number in range(8):
            storm(bot, 1, start=number, cluster=f"cluster-{number}")
        message = await digest(bot)
        assert "8 nodes need a decision (open before monitoring started)" in message.text
        assert bot.slack.visible() == [message]


async def test_backlog_is_one_message_although_clusters_could_not_be_read_at_first() -> None:
    async with watching() as bot:
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=24))
        for number in range(8):
            storm(bot, 1, start=number, cluster=f"cluster-{number}")
        message = await digest(bot)
        await pass_time(bot, 60)
        assert "8 nodes need a decision (open before monitoring started)" in message.text
        assert bot.slack.visible() == [message]
        storm(bot, 2, start=20)
        await until(bot, lambda: len(bot.slack.visible()) == 3)


async def test_slow_first_listing_is_posted_once() -> None:
    async with watching(BOT_POLL_SECONDS="1") as bot:
        with bot.together.paused("list"):
            storm(bot, 8)
            await until(bot, lambda: bot.together.is_waiting("list"))
            await pass_time(bot, 1.3)
        await digest(bot, "8 nodes need a decision (open before monitoring started)")
        await pass_time(bot, 30)
        assert len(bot.slack.visible()) == 1


async def test_cards_adopted_late_make_no_empty_digest(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    storm(bot, 3, cluster="cluster-2")
    await until(bot, lambda: len(bot.slack.visible()) == 3)
    await bot.settle()
    storm(bot, 6)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, cluster="cluster-2", times=18))
    lost = bot.settings.model_copy(update={"database_url": f"{bot.settings.database_url}.new"})
    async with bot.another(lost):
        await digest(bot)
        await pass_time(bot, 200)
        assert len(bot.slack.digests()) == 1


async def test_card_from_a_lost_database_is_adopted() -> None:
    async with watching() as bot:
        ids = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in range(7)]
        payload = {"cluster_id": ids[0][0], "instance_id": ids[0][1], "remediation_id": ids[0][2]}
        metadata = {"event_type": "remediation_alert", "event_payload": payload}
        known = bot.slack.post_as_tool([], text="from before", metadata=metadata)
        forged = {"event_type": "remediation_alert", "event_payload": {**payload, "remediation_id": ids[1][2]}}
        somebodys = bot.slack.post_as_tool([], text="a forgery", metadata=forged, by="U0EVIL")
        await until(bot, bot.slack.digests)
        await card(bot, ids[0], "Approve ")
        assert known.edits == 1
        assert somebodys.edits == 0
        assert "6 nodes need a decision (open before monitoring started)" in bot.slack.digests()[0].text


async def test_card_from_a_lost_database_says_how_its_repair_ended_though_together_could_not_be_read(
    bot: World,
) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved")
    await bot.settle()
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    lost = bot.settings.model_copy(update={"database_url": f"{bot.settings.database_url}.new"})
    async with bot.another(lost):
        await pass_time(bot, 60)
        bot.together.advance(IDS, "SUCCEEDED")
        bot.together.faults.clear()
        await pass_time(bot, 900)
        assert bot.slack.cards(IDS[2]) == [alert]
        assert "Rebooted" in alert.text


@pytest.mark.bot(BOT_ONCALL="S0ONCALL")
async def test_what_opens_again_after_the_database_was_lost_calls_on_call(bot: World) -> None:
    bot.together.add()
    before = await card(bot)
    bot.together.resolve(IDS)
    await card(bot, words="recovered on its own")
    await bot.settle()
    lost = bot.settings.model_copy(update={"database_url": f"{bot.settings.database_url}.new"})
    async with bot.another(lost):
        await pass_time(bot, 1800)
        edits = before.edits
        bot.together.add()
        alert = await until(
            bot, lambda: next((message for message in bot.slack.cards(IDS[2]) if message is not before), None)
        )
        assert "On call: <!subteam^S0ONCALL>" in alert.text
        assert before.edits == edits


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING"])
async def test_backlog_does_not_say_of_the_next_incident_that_it_began_before_monitoring(state: str) -> None:
    async with watching(BOT_ALERT_CHANNEL="") as bot:
        await bot.settle()
        ids = [
            bot.together.add(("cluster-1", f"i-{n}", f"r-{n}-"), state=state, instance_name=f"busy-{n}")
            for n in range(6)
        ]
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": CHANNEL})):
            message = await digest(bot)
            assert "before monitoring started" in message.text
            for one in ids:
                bot.together.resolve(one) if state == "PENDING_APPROVAL" else bot.together.advance(one, "SUCCEEDED")
            await pass_time(bot, 3 * 86_400)
            assert "before monitoring started" in message.text
            bot.together.add(ids[0], state=state, start_time=bot.together._time(), instance_name="busy-0")
            await pass_time(bot, 600)
            assert "busy-0" in message.text
            assert "before monitoring started" not in message.text
