"""Reminders: when nobody decides, and only then."""

import pytest

from tests.deaths import free_the_lease
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import LOOKING, card, pass_time, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True)


def reminders(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if "has been waiting" in line]


async def test_reminders_come_at_one_two_and_four_times_the_interval() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        counts = []
        for minutes in (14, 2, 13, 2, 28, 3, 70):
            await pass_time(bot, minutes * 60)
            counts.append(len(reminders(bot, alert)))
        assert counts == [0, 1, 1, 2, 2, 3, 3]
        assert reminders(bot, alert)[0].startswith(
            "instance-1 (cluster-1 (H100)) has been waiting 15 min for a decision"
        )
        assert reminders(bot, alert)[0].endswith("<!subteam^S0ONCALL>")


@pytest.mark.parametrize("looks", [False, True])
async def test_clock_that_was_hours_ahead_delays_no_reminder_or_call(*, looks: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/40") as bot:
        await began(bot)
        bot.time.set_back = -5 * 3600.0
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 16 * 60)
        assert len(reminders(bot, alert)) == 1
        if looks:
            await bot.slack.press(alert, LOOKING)
            await until(bot, lambda: "Looking into it" in alert.text)
        bot.time.set_back = 0.0
        await pass_time(bot, 40 * 60)
        assert len(reminders(bot, alert)) == 2
        await pass_time(bot, 40 * 60)
        assert "<!subteam^S0LEADS>" in thread(bot, alert)[-1]
        bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        assert "<!subteam^S0ONCALL>" in (await card(bot, ("cluster-1", "instance-2", "remediation-2"))).text


async def test_reminder_asks_nobody_to_approve_while_approvals_are_paused() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        paused = {"type": "button", "text": "", "value": "*"}
        await bot.slack.press(alert, "approvals:pause", user="U0BOB", button=paused)
        await until(bot, lambda: "Approvals are paused" in alert.text)
        await pass_time(bot, 16 * 60)
        (told,) = reminders(bot, alert)
        assert "Approvals are paused: hold or cancel on the card." in told
        assert "Approve, hold" not in told


async def test_reminder_asks_nobody_to_approve_on_a_card_what_together_does_not_name(bot: World) -> None:
    bot.together.add(mode=None)
    alert = await card(bot)
    await pass_time(bot, 16 * 60)
    (told,) = reminders(bot, alert)
    assert APPROVE not in alert.buttons
    assert "Together asks to approve: unknown repair." in alert.text
    assert told.endswith("Hold or cancel on the card, or approve in Together.")


async def test_no_reminders_where_they_are_turned_off() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 3 * 3600)
        assert thread(bot, alert) == []


@pytest.mark.parametrize("by", ["click", "web", "resolved"])
async def test_no_reminder_after_a_decision(bot: World, by: str) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60 + 50)
    if by == "click":
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
    elif by == "web":
        bot.together.review(IDS, "approve")
    else:
        bot.together.resolve(IDS)
    await pass_time(bot, 3600)
    assert reminders(bot, alert) == []


async def test_no_reminder_for_what_was_decided_since_the_last_poll(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 200)
    assert reminders(bot, alert) == []


async def test_overdue_reminders_become_one_and_rarely_ask_together(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=5, times=-1))
    await pass_time(bot, 16 * 60)
    before = len([call for call in bot.together.calls if call.verb == "get"])
    await pass_time(bot, 60, longest=0)
    assert len([call for call in bot.together.calls if call.verb == "get"]) - before <= 4
    await pass_time(bot, 65 * 60)
    bot.together.faults.clear()
    await until(bot, lambda: bot.slack.replies(alert), 400)
    await pass_time(bot, 60)
    assert len(bot.slack.replies(alert)) == 1


async def test_overdue_digest_reminders_become_one() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 7)
        message = await digest(bot)
        await bot.settle()
        await bot.time.advance(65 * 60)
        async with bot.another():
            await until(bot, lambda: bot.slack.replies(message))
            await pass_time(bot, 60)
        assert len(bot.slack.replies(message)) == 1


async def test_late_reminder_is_not_followed_by_the_next_one_at_once() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.settle()
        await bot.time.advance(29 * 60)
        async with bot.another():
            await until(bot, lambda: bot.slack.replies(alert))
            await pass_time(bot, 7 * 60)
            assert len(reminders(bot, alert)) == 1, "that of half an hour was due a minute later"
            await pass_time(bot, 2 * 60)
            assert len(reminders(bot, alert)) == 2


async def test_no_digest_reminder_while_the_list_cannot_be_read(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    for each in ids:
        bot.together.review(each, "cancel")
    await pass_time(bot, 200)
    assert bot.slack.replies(message) == []


async def test_reminder_that_cannot_be_checked_delays_no_card(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=5, times=-1))
    await pass_time(bot, 20 * 60)
    bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"
    began_at = bot.time.seconds
    await card(bot, words="Approve quick reprovision?")
    assert bot.time.seconds - began_at < 20


async def test_thread_line_does_not_wait_for_an_unchecked_reminder(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    await pass_time(bot, 12 * 60)
    bot.together.faults.clear()
    bot.together.review(IDS, "approve")
    await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if "pproved" in reply.text], 30)


async def test_reminder_that_could_not_be_checked_is_not_counted() -> None:
    async with watching() as bot:
        storm(bot, 1)
        storm(bot, 6, start=4, cluster="cluster-2")
        message = await digest(bot)
        await pass_time(bot, 14 * 60)
        bot.together.faults += [
            Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"),
            Fault("rpc", verb="get", code=14, times=-1),
        ]
        bot.together.review(("cluster-1", "instance-0", "cluster-1-r0000-"), "cancel")
        await pass_time(bot, 3 * 60)
        bot.together.faults.clear()
        await until(bot, lambda: [reply for reply in bot.slack.replies(message) if "waited" in reply.text], 600)


async def test_reminder_that_slack_refused_comes_later(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=30))
    await pass_time(bot, 3 * 60)
    assert len(bot.slack.replies(alert)) == 1
    await pass_time(bot, 12 * 60)
    assert len(bot.slack.replies(alert)) == 1


async def test_digest_reminder_that_slack_refused_comes_later(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=30))
    await pass_time(bot, 3 * 60)
    assert len(bot.slack.replies(message)) == 1
    await pass_time(bot, 12 * 60)
    assert len(bot.slack.replies(message)) == 1


async def test_no_digest_reminder_while_somebody_is_deciding(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pass_time(bot, 14 * 60 + 30)
    with bot.together.paused("list answered"):
        lists = [call for call in bot.together.calls if call.verb == "list"]
        await until(bot, lambda: len([call for call in bot.together.calls if call.verb == "list"]) > len(lists) + 1)
        await bot.slack.submit(await choose(bot, message))
        await quiet(bot)
    await digest(bot, "6 of 6 approved")
    await pass_time(bot, 60)
    assert [reply.text for reply in bot.slack.replies(message) if "have waited" in reply.text] == []


async def test_unreadable_cluster_does_not_hold_up_a_digest() -> None:
    async with watching() as bot:
        storm(bot, 4)
        others = storm(bot, 4, start=4, cluster="cluster-2")
        message = await digest(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        bot.together.remediations["cluster-1", "odd", "odd"] = {
            "state": "PENDING_APPROVAL",
            "cluster_id": "cluster-1",
            "instance_id": "odd",
            "id": "odd",
        }
        await pass_time(bot, 16 * 60)
        (reminder,) = bot.slack.replies(message)
        assert "4 nodes in cluster-1 (H100) have waited" in reminder.text
        bot.together.faults[:] = [Fault("rpc", verb="list", code=14, times=-1)]
        await pass_time(bot, 16 * 60)
        bot.together.faults.clear()
        bot.together.review(others[0], "cancel")
        began_at = bot.time.seconds
        await digest(bot, "7 nodes ")
        assert bot.time.seconds - began_at < 30


async def test_digest_reminders_follow_the_databases_clock(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        follower = bot.time.follower
        assert follower is not None

        async def lag_behind(now: float) -> None:
            await follower(now - 7200)

        bot.time.follower = lag_behind
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await pass_time(bot, 14 * 60)
        assert bot.slack.replies(message) == []
        await pass_time(bot, 2 * 60)
        assert len(bot.slack.replies(message)) == 1


async def test_digest_reminder_says_how_many_wait(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    for each in ids[:2]:
        bot.together.review(each, "approve")
    await pass_time(bot, 16 * 60)
    told = [reply.text for reply in bot.slack.replies(message)]
    assert told == ["5 nodes in cluster-1 (H100) have waited 15 min or more for a decision. Xid 79, on 5 of 5."]
    for each in ids[2:]:
        bot.together.resolve(each)
    await pass_time(bot, 3600)
    assert len(bot.slack.replies(message)) == 1


async def test_digest_that_is_on_hold_is_reminded_of_once_the_hold_is_over(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    for number in range(6):
        await bot.slack.say(f"<@{BOT_USER}> hold 30m gpu-node-{number:04d}", user="U0ALICE")
        await until(bot, lambda count=number + 1: message.text.count("on hold by") == count)  # type: ignore[misc] # mypy infers no lambda with a default
    await pass_time(bot, 45 * 60 - 60)
    assert [reply.text for reply in bot.slack.replies(message) if "waited" in reply.text] == []
    await pass_time(bot, 3 * 60)
    assert len([reply for reply in bot.slack.replies(message) if "waited" in reply.text]) == 1
    for _ in range(4):
        await pass_time(bot, 15 * 60)
    assert len([reply for reply in bot.slack.replies(message) if "waited" in reply.text]) == 3
    await pass_time(bot, 3 * 3600)
    assert len([reply for reply in bot.slack.replies(message) if "waited" in reply.text]) == 3


async def test_node_that_comes_and_goes_keeps_nobody_from_being_reminded_of_the_others(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for _ in range(4):
        await pass_time(bot, 5 * 60)
        bot.together.resolve(ids[0])
        await pass_time(bot, 5 * 60)
        bot.together.remediations[ids[0]]["state"] = "PENDING_APPROVAL"
    assert len([reply for reply in bot.slack.replies(message) if "waited" in reply.text]) == 2


async def test_nodes_that_join_a_digest_after_its_last_reminder_are_reminded_of() -> None:
    async with watching(BOT_REMIND_MINUTES="2") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        for number in range(1, 11):
            await pass_time(bot, 50, longest=0)
            storm(bot, 6, start=6 * number)
        assert len([reply for reply in bot.slack.replies(message) if "for a decision" in reply.text]) == 3
        await digest(bot, "66 nodes in cluster-1 (H100) need a decision")
        await pass_time(bot, 130)
        assert len([reply for reply in bot.slack.replies(message) if "for a decision" in reply.text]) == 4


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


async def test_reminders_of_each_hour_end_with_the_escalation() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/30") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 3 * 3600, longest=240)
        await restarted(bot)
        before = len(thread(bot, alert))
        async with bot.another(bot.settings.model_copy(update={"bot_escalate": None})):
            await pass_time(bot, 6 * 3600, longest=240)
            assert len(thread(bot, alert)) - before <= 1
