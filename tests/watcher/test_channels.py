"""Alert channels that are closed, changed, slow, or can't be read."""

from dataclasses import replace

import pytest

from bot.clock import WaitReason
from tests.manual_clock import ON_THE_WAY
from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.workspace import Channel, SlackFault
from tests.simulator.together import Fault, Ids
from tests.storms import began, digest, storm
from tests.watch import (
    CHANNEL,
    HOLD,
    card,
    enforce_slacks_limits,
    pass_time,
    poll,
    thread,
    until,
    updates,
    watching,
)
from tests.world import APPROVE, IDS, OTHER, World

pytestmark = pytest.mark.bot(watching=True)
NEW = "C0OTHER"
ROUTED = f"cluster-2={NEW}"
MANY = 30
MANY_ROUTES = ",".join(f"c-{number}={NEW}" for number in range(MANY))


async def test_backlog_is_posted_in_the_right_channel_once_that_is_set() -> None:
    async with watching(BOT_ALERT_CHANNEL="C0WRONG") as bot:
        storm(bot, 8)
        await until(bot, lambda: "chat.postMessage" in [method for method, _ in bot.slack.calls])
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": CHANNEL})):
            message = await digest(bot)
            assert message.channel == CHANNEL
            assert "8 nodes need a decision (open before monitoring started)" in message.text


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("is_archived", [True, False])
async def test_what_waits_is_posted_and_reminded_of_in_the_new_channel(
    bot: World, count: int, *, is_archived: bool
) -> None:
    await began(bot)
    ids = storm(bot, count)
    old = await until(bot, lambda: [*bot.slack.cards(ids[0][2]), *bot.slack.digests()])
    bot.slack.channels[CHANNEL].is_archived = is_archived
    await pass_time(bot, 16 * 60)
    await bot.settle()
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        new = await until(bot, lambda: [message for message in bot.slack.visible() if message.channel == NEW])
        await pass_time(bot, 20 * 60)
        assert (
            len([message for message in bot.slack.visible() if message.channel == NEW and not message.thread_ts]) == 1
        )
        assert new[0].buttons
        assert [line for line in thread(bot, new[0]) if "wait" in line]
        if not is_archived:
            assert f"moved to <#{NEW}>" in old[0].text
            assert old[0].buttons == {}
        bot.together.review(ids[0], "cancel")
        await until(bot, lambda: "Cancelled" in new[0].everything or "5 of 6 nodes" in new[0].text)


@pytest.mark.parametrize(
    ("control", "fault", "said"),
    [
        (APPROVE, None, "approved by <@U0ALICE>."),
        (HOLD, None, "put on hold until"),
        (APPROVE, Fault("hang", verb="get", times=-1), "moved to"),
    ],
)
async def test_press_on_a_card_as_it_was_before_it_moved_leaves_it_pointing_to_the_new_one(
    bot: World, control: str, fault: Fault | None, said: str
) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    press = bot.slack.click(old, control)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        new = await until(bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW])
        if fault:
            bot.together.faults.append(replace(fault))
        await bot.slack.deliver("interactive", press)
        await pass_time(bot, 60)
        assert said in old.text
        assert NEW in old.text
        assert old.buttons == {}
        assert not old.text.startswith("Approve")
        assert fault is None or "wasn't sent" in bot.slack.replies(old)[0].text
        assert new[0].buttons


@pytest.mark.parametrize(
    "code", ["missing_scope", "no_permission", "access_denied", "is_archived", "not_allowed_token_type"]
)
async def test_alert_is_posted_although_a_lost_post_cannot_be_looked_for(bot: World, code: str) -> None:
    bot.slack.faults += [
        SlackFault("chat.postMessage", "drop"),
        SlackFault("conversations.history", code, times=-1),
    ]
    bot.together.add()
    await card(bot)


async def test_channel_that_cannot_be_read_is_not_drawn_again_and_again(bot: World) -> None:
    bot.slack.may_read_history = False
    bot.together.add()
    await card(bot)
    for _ in range(4):
        await pass_time(bot, 3600, longest=60)  # an hour's leap would cost the bot its lease
    assert updates(bot) <= 3, "once before each reminder"


def routed(bot: World, count: int) -> list[Ids]:
    """Let a node of each of this many clusters break whose alerts go to the other channel."""
    return [bot.together.add((f"c-{number}", "instance", f"c-{number}-remediation")) for number in range(count)]


def in_new_channel(bot: World) -> list[Posted]:
    return [message for message in bot.slack.visible() if message.channel == NEW and not message.thread_ts]


async def test_channel_that_is_closed_delays_no_other() -> None:
    async with watching(BOT_ROUTES=MANY_ROUTES) as bot:
        bot.together.clusters.update({f"c-{number}": "H100" for number in range(MANY)})
        await began(bot)
        enforce_slacks_limits(bot)
        bot.slack.channels[NEW].bot_may_post = False
        routed(bot, MANY)
        await pass_time(bot, 120, longest=0)
        bot.together.add()
        await until(bot, lambda: bot.slack.cards(IDS[2]), 20)
        tried = [body for method, body in bot.slack.calls if method == "chat.postMessage" and body["channel"] == NEW]
        assert len(tried) < 120 / 5
        bot.slack.channels[NEW].bot_may_post = True
        await until(bot, lambda: len(in_new_channel(bot)) == MANY, 120)


async def test_cards_that_cannot_be_edited_delay_no_other_channel() -> None:
    async with watching(BOT_ROUTES=MANY_ROUTES) as bot:
        bot.together.clusters.update({f"c-{number}": "H100" for number in range(MANY)})
        await began(bot)
        ids = routed(bot, MANY)
        bot.together.add()
        alert = await card(bot)
        await until(bot, lambda: len(in_new_channel(bot)) == MANY)
        enforce_slacks_limits(bot)
        bot.slack.channels[NEW].is_archived = True
        for each in ids:
            bot.together.review(each, "cancel")
        await pass_time(bot, 60)
        bot.together.review(IDS, "cancel")
        await until(bot, lambda: "Cancelled" in alert.text, 20)


async def test_rate_limit_of_one_channel_delays_no_other_and_stops_no_tick() -> None:
    async with watching(BOT_ROUTES=ROUTED) as bot:
        bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
        bot.together.add(OTHER)
        alert = await card(bot, OTHER)
        bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=600, channel=NEW))
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await until(bot, lambda: not bot.slack.faults[0].times, 400)
        bot.together.add()
        await until(bot, lambda: bot.slack.cards(IDS[2]), 20)
        await until(bot, lambda: "Last confirmed" in alert.text, 20)


async def test_wait_that_slack_asks_for_is_bounded(bot: World) -> None:
    bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=86_400))
    bot.together.add()
    await until(bot, lambda: bot.slack.cards(IDS[2]), 1000)


async def test_what_changes_the_decision_is_drawn_before_what_merely_looks_different(bot: World) -> None:
    bot.together.clusters.update({f"c-{number}": "H100" for number in range(30)})
    await began(bot)
    ids = []
    for number in range(45):
        ids += storm(bot, 1, start=number, cluster=f"c-{number % 30}")
        if number % 15 == 14:
            await pass_time(bot, 40)
    await until(bot, lambda: all(bot.slack.cards(ids[2]) for ids in ids), 400)
    enforce_slacks_limits(bot)

    def count_up() -> None:
        for each in ids:
            bot.together.remediations[each]["reason"] = f"seen at {bot.time.seconds}"

    for _ in range(3):
        count_up()
        await poll(bot)
    bot.together.review(ids[44], "cancel")
    count_up()
    alert = bot.slack.cards(ids[44][2])[0]
    await until(bot, lambda: APPROVE not in alert.buttons, 40)


async def test_cards_of_a_lost_database_are_adopted_in_more_channels_than_slack_lets_read_a_minute(bot: World) -> None:
    await bot.settle()
    routes = {f"cluster-{number}": (f"C0ROUTE{number:02d}", "") for number in range(60)}
    for cluster, (channel_id, _) in routes.items():
        bot.slack.channels[channel_id] = Channel(channel_id)
        _, instance, remediation = bot.together.add((cluster, "instance-1", f"r-{cluster}"))
        payload = {"cluster_id": cluster, "instance_id": instance, "remediation_id": remediation}
        metadata = {"event_type": "remediation_alert", "event_payload": payload}
        bot.slack.post_as_tool([], text="from before", metadata=metadata, channel=channel_id)
    bot.slack.limits = Limits()
    bot.slack.calls.clear()
    lost = {"database_url": f"{bot.settings.database_url}.new", "bot_routes": routes, "bot_clusters": tuple(routes)}
    async with bot.another(bot.settings.model_copy(update=lost)):
        # No time passes but what the bot itself waits for.
        await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("conversations.history") > 60)
        await pass_time(bot, 300, longest=15)
    assert len([each for each in bot.slack.visible() if each.thread_ts is None]) == len(routes)


@pytest.mark.bot(BOT_REMIND_MINUTES="0")
async def test_channel_that_could_not_be_compared_is_compared_a_minute_later(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 1800, longest=60)
    bot.slack.messages.remove(alert)
    limited = SlackFault("conversations.history", "ratelimited", retry_after=30)
    bot.slack.faults.append(limited)
    await until(bot, lambda: limited.times == 0, 3600)
    assert bot.slack.cards(IDS[2]) == []
    await until(bot, lambda: bot.slack.cards(IDS[2]), 180)
