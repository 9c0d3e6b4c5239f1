"""Messages that belong in a channel in which the bot may not post: they stay where they are, and are kept current."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.models import ARRIVED_SECONDS
from tests.fetch import get
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.storms import began
from tests.watch import CHANNEL, card, enforce_slacks_limits, pass_time, thread, until
from tests.watcher.test_faults import TOLD, XID, message, told
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
NEW = "C0OTHER"


def close(bot: World, *, is_archived: bool) -> None:
    new = bot.slack.channels[NEW]
    new.is_archived, new.is_private, new.bot_may_post = is_archived, not is_archived, False


@pytest.mark.parametrize("is_archived", [True, False])
async def test_card_keeps_its_buttons_until_the_bot_may_post_in_the_new_channel(
    bot: World, *, is_archived: bool
) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    close(bot, is_archived=is_archived)
    new = bot.slack.channels[NEW]
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 300)
        assert APPROVE in old.buttons
        new.is_archived, new.bot_may_post = False, True
        await until(bot, lambda: [message for message in bot.slack.visible() if message.channel == NEW], 1800)
        assert old.buttons == {}


async def test_card_moves_soon_while_many_groups_are_looked_up(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await bot.settle()
    close(bot, is_archived=False)
    routes = {f"cluster-{number}": (CHANNEL, f"S0GROUP{number}") for number in range(2, 52)}
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW, "bot_routes": routes})):
        enforce_slacks_limits(bot)
        bot.slack.groups |= {group: ["U0BOB"] for _, group in routes.values()}
        await pass_time(bot, ARRIVED_SECONDS + 20)
        bot.slack.channels[NEW].bot_may_post = True
        await until(bot, lambda: [message for message in bot.slack.visible() if message.channel == NEW], 90)


@pytest.mark.parametrize("is_archived", [True, False])
async def test_card_that_cannot_move_shows_a_new_mode(bot: World, *, is_archived: bool) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    close(bot, is_archived=is_archived)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 60)
        bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_HOST_POWER_CYCLE"
        await pass_time(bot, 300)
        assert APPROVE not in old.buttons or "reboot" not in old.text.lower(), old.text


@pytest.mark.parametrize("is_archived", [True, False])
async def test_card_that_cannot_move_is_reminded_of(bot: World, *, is_archived: bool) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    close(bot, is_archived=is_archived)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 3600)
        assert APPROVE not in old.buttons or [line for line in thread(bot, old) if "wait" in line]


@pytest.mark.parametrize("is_archived", [True, False])
async def test_readiness_names_the_channel_to_which_no_card_can_move(bot: World, *, is_archived: bool) -> None:
    bot.together.add()
    await card(bot)
    await bot.settle()
    close(bot, is_archived=is_archived)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})) as app:
        await pass_time(bot, 300)
        assert NEW in (await get(app, "/readyz"))[1]


async def test_slack_is_asked_about_a_closed_channel_no_more_than_it_allows(bot: World) -> None:
    await began(bot)
    for number in range(30):
        ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
        await card(bot, ids)
        await pass_time(bot, 61)
    await bot.settle()
    bot.slack.channels[NEW].is_archived = True
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 60)
        before = [method for method, _ in bot.slack.calls].count("conversations.info")
        await pass_time(bot, 60, longest=0)
        asked = [method for method, _ in bot.slack.calls].count("conversations.info") - before
        assert asked <= 50, asked


async def test_message_about_faults_stays_where_the_new_channel_is_closed(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    old = await message(bot)
    await bot.settle()
    bot.slack.channels[NEW].is_archived = True
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 600)
        assert NEW not in old.text


@asynccontextmanager
async def closed_as_it_moves(bot: World, old: Posted) -> AsyncIterator[None]:
    """Let the next process move a message, Slack leave open whether it took the pointer, and the new channel close."""
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", after=True))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await until(bot, lambda: NEW in old.text)
        bot.slack.channels[NEW].is_archived = True
        yield


async def test_card_is_drawn_again_where_the_new_channel_is_closed_as_it_moves(bot: World) -> None:
    bot.together.add()
    old = await card(bot)
    of = old.metadata
    async with closed_as_it_moves(bot, old):
        await until(bot, lambda: APPROVE in old.buttons, 300)
        assert old.metadata == of  # by which it's found where the database is lost


async def test_message_about_faults_is_drawn_again_where_the_new_channel_is_closed_as_it_moves(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    old = await message(bot)
    async with closed_as_it_moves(bot, old):
        await until(bot, lambda: NEW not in old.text, 300)
        assert TOLD in old.text


@pytest.mark.parametrize("is_tried_before", [True, False])
async def test_failure_of_a_repair_in_a_closed_former_channel_is_told_in_the_new_one(
    bot: World, *, is_tried_before: bool
) -> None:
    bot.together.add()
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    await pass_time(bot, 60)
    await bot.settle()
    bot.slack.channels[CHANNEL].is_archived = True
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        bot.together.advance(IDS, "RUNNING")
        if is_tried_before:
            await pass_time(bot, 60)
        bot.together.fail(IDS, "The VM didn't start")
        new = await until(bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW])
        lines = await until(bot, lambda: thread(bot, new[0]))
        assert lines[0].startswith("<@U0ALICE>, Reboot failed on instance-1"), lines


@pytest.mark.parametrize("refusal", ["no_permission", "html", "ratelimited"])
async def test_what_waits_moves_although_slack_takes_no_edit_in_the_former_channel(bot: World, refusal: str) -> None:
    bot.together.add()
    old = await card(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    fault = await message(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", refusal, times=-1, channel=CHANNEL))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await until(bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW], 180)
        await until(bot, lambda: [message for message in told(bot) if message.channel == NEW], 300)
        assert old.buttons
        bot.slack.faults.clear()
        await until(bot, lambda: not old.buttons, 300)
        assert old.text == f"instance-1: moved to <#{NEW}>."
        await until(bot, lambda: fault.text.endswith(f": its alerts moved to <#{NEW}>."), 300)


async def test_what_former_messages_say_stays_true_where_their_alerts_come_back(bot: World) -> None:
    bot.together.add()
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    await card(bot)
    await message(bot)
    await bot.settle()
    for channel in NEW, CHANNEL:
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": channel})):
            await pass_time(bot, 300)
    said = {message.text.split(": ", 1)[1] for message in bot.slack.visible() if "<#" in message.text}
    assert said == {f"{what} to <#{where}>." for where in (NEW, CHANNEL) for what in ("moved", "its alerts moved")}


async def test_card_that_is_decided_while_its_move_waits_for_its_turn_stays(bot: World) -> None:
    enforce_slacks_limits(bot)
    ids = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in (1, 2)]
    cards = [await card(bot, ids) for ids in ids]
    await bot.settle()
    limited = SlackFault("chat.update", "ratelimited", retry_after=120, channel=CHANNEL)
    bot.slack.faults.append(limited)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await until(bot, lambda: not limited.times)
        await pass_time(bot, 10)
        for message in cards:
            await bot.slack.press(message, APPROVE)
            await until(bot, lambda: "Approved, queued" in message.text)  # noqa: B023 - it is awaited here
        await pass_time(bot, 300, longest=15)
        assert ["moved to" in message.text for message in cards] == [False, False]


@pytest.mark.parametrize("verb", ["approve", "cancel"])
async def test_card_that_is_decided_before_the_new_channel_takes_it_is_posted_there(bot: World, verb: str) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    refused = SlackFault("chat.postMessage", "internal_error", times=-1, channel=NEW)
    bot.slack.faults.append(refused)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await until(bot, lambda: "moved to" in old.text)
        bot.together.review(IDS, verb)
        await pass_time(bot, 120)
        bot.slack.faults.remove(refused)
        (new,) = await until(
            bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW], 1800
        )
        assert ("Approved" if verb == "approve" else "Cancelled") in new.text
        bot.slack.messages.remove(new)
        await pass_time(bot, 3600)
        assert [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW] == []


async def test_card_that_is_over_is_not_tried_for_ever_in_a_new_channel_that_takes_none(bot: World) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.postMessage", "is_archived", times=-1, channel=NEW))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await until(bot, lambda: "moved to" in old.text)
        bot.together.review(IDS, "cancel")
        await pass_time(bot, 86_400)
        bot.slack.calls.clear()
        await pass_time(bot, 3600)
        assert "chat.postMessage" not in [method for method, _ in bot.slack.calls]


async def test_former_channel_learns_where_a_card_is_that_the_new_one_takes_late(bot: World) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", "no_permission", times=-1, channel=CHANNEL))
    bot.slack.faults.append(SlackFault("chat.postMessage", "no_permission", times=-1, channel=NEW))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 300, longest=15)
        bot.slack.faults.clear()
        await until(bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW])
        await until(bot, lambda: not old.buttons, 180)


async def test_former_channel_learns_where_a_card_is_although_the_process_that_moved_it_ends(bot: World) -> None:
    bot.together.add()
    old = await card(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", "html", times=-1, channel=CHANNEL))
    settings = bot.settings.model_copy(update={"bot_alert_channel": NEW})
    async with bot.another(settings):
        await until(bot, lambda: [message for message in bot.slack.cards(IDS[2]) if message.channel == NEW], 300)
        assert old.buttons
    bot.slack.faults.clear()
    async with bot.another(settings):
        await until(bot, lambda: not old.buttons, 300)
        assert old.text == f"instance-1: moved to <#{NEW}>."


async def test_message_about_faults_in_the_former_channel_says_that_they_are_over_once_slack_takes_it(
    bot: World,
) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    old = await message(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", "no_permission", times=-1, channel=CHANNEL))
    bot.together.alerts.clear()
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": NEW})):
        await pass_time(bot, 300)
        bot.slack.faults.clear()
        await until(bot, lambda: "lists no critical fault" in old.text, 300)


@pytest.mark.parametrize("is_over", [True, False])
async def test_former_channel_learns_where_faults_are_told_although_the_process_that_moved_them_ends(
    bot: World, *, is_over: bool
) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    old = await message(bot)
    await bot.settle()
    refused = SlackFault("chat.update", "ratelimited", times=-1, channel=CHANNEL, retry_after=1)
    bot.slack.faults.append(refused)
    settings = bot.settings.model_copy(update={"bot_alert_channel": NEW})
    async with bot.another(settings):
        await until(bot, lambda: [each for each in told(bot) if each.channel == NEW], 600)
        if is_over:
            bot.together.alerts.clear()
            await until(bot, lambda: [each for each in told(bot) if "lists no critical fault" in each.text], 600)
    assert TOLD in old.text
    bot.slack.faults.remove(refused)
    for _ in range(2):
        bot.slack.calls.clear()
        async with bot.another(settings):
            await pass_time(bot, 120)
            assert NEW in old.text
    assert "chat.update" not in [method for method, _ in bot.slack.calls], "it is left alone then"
