"""Who is called: by the message that opens an alert, by a failed repair, and in quiet hours."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from bot.daily import QuietHours
from tests.fetch import get
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.storms import XID, began, choose, digest, storm
from tests.watch import CHANNEL, HOLD, card, enforce_slacks_limits, pass_time, thread, until, watching
from tests.world import APPROVE, IDS, World

IN_ITS_CLUSTER = "instance-1 (cluster-1 (H100))"
ONCALL = "<!subteam^S0ONCALL>"
WARNING = [{"severity": "PHC_SEVERITY_WARNING", "annotation": {"title": "Slurm node unavailable"}}]
CRITICAL = [{"severity": "PHC_SEVERITY_CRITICAL", "annotation": {"title": "GPU has fallen off the bus"}}]
NIGHT, DAY = "02:00-07:00 UTC", "09:00-17:00 UTC"  # the tests begin at 3:00


def calls(message: Posted) -> bool:
    """Whether a message notifies the group on call: the mention must be in a block, or nobody is called."""
    return "'usergroup_id': 'S0ONCALL'" in str(message.blocks)


async def test_somebody_on_call_whom_nobody_is_any_more_is_reported() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_ESCALATE="U0BOB/30") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await pass_time(bot, 7200)
        assert await get(bot.app, "/readyz") == (200, "ready\n")
        bot.slack.groups["S0ONCALL"] = []
        bot.slack.users["U0BOB"]["deleted"] = True
        await pass_time(bot, 7200)
        told = (await get(bot.app, "/readyz"))[1]
        assert "Alerts call S0ONCALL, but that group has no members. Check BOT_ONCALL" in told
        assert "Alerts call U0BOB, but that isn't a person with an active account." in told
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        bot.slack.users["U0BOB"] |= {"deleted": False, "is_restricted": True}  # a mention reaches a guest
        await pass_time(bot, 7200)
        assert await get(bot.app, "/readyz") == (200, "ready\n")


async def test_looking_up_many_groups_leaves_an_operator_able_to_decide() -> None:
    groups = {f"S0GROUP{number}": ["U0BOB"] for number in range(30)}
    routes = ",".join(f"cluster-{number}={CHANNEL}/{group}" for number, group in enumerate(groups, 2))
    async with watching(BOT_ROUTES=routes, BOT_OPERATORS="S0OPS", BOT_REMIND_MINUTES="0") as bot:
        enforce_slacks_limits(bot)
        bot.slack.groups |= {**groups, "S0OPS": ["U0ALICE"]}
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 3610)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved, queued")
        assert "usergroups.users.list" not in bot.slack.refused_for_limits


async def test_nothing_waits_while_slack_does_not_say_who_is_on_call() -> None:
    routes = ",".join(f"cluster-{number}={CHANNEL}/U0X{number}" for number in range(2, 12))
    async with watching(BOT_ROUTES=routes, BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 3570)
        bot.slack.faults.append(SlackFault("users.info", "hang", times=-1))
        bot.slack.messages.remove(alert)
        await until(bot, lambda: bot.slack.cards(IDS[2]), 45)


async def test_message_that_opens_an_alert_calls_once() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=CRITICAL)
        alert = await card(bot)
        assert calls(alert)
        posts = [body for method, body in bot.slack.calls if method == "chat.postMessage"]
        assert [ONCALL in str(post["text"]) for post in posts] == [True]
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved, queued")
        assert not calls(alert)


async def test_answer_that_takes_no_place_on_the_card_mentions_nobody_again_and_decides_nothing() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=CRITICAL)
        alert = await card(bot)
        bot.slack.faults += [SlackFault("chat.update", "fatal_error", times=9), SlackFault("response_url", "", times=9)]
        await bot.slack.press(alert, HOLD)
        copy = await until(bot, lambda: bot.slack.visible()[1:])
        assert not calls(copy[0])
        assert ONCALL not in copy[0].text
        assert "GPU has fallen off the bus" in copy[0].text
        assert "On hold until" in copy[0].text
        assert APPROVE not in copy[0].buttons


@pytest.mark.parametrize(
    ("quiet", "evidence", "is_called"),
    [
        (NIGHT, WARNING, False),
        (NIGHT, CRITICAL, True),
        (NIGHT, WARNING + CRITICAL, True),
        (NIGHT, [], True),
        (DAY, WARNING, True),
    ],
)
async def test_warning_calls_nobody_in_quiet_hours(
    quiet: str, evidence: list[dict[str, object]], *, is_called: bool
) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=quiet) as bot:
        bot.together.add(linked_alerts=evidence)
        alert = await card(bot)
        assert calls(alert) is is_called
        await pass_time(bot, 16 * 60)
        (reminder,) = bot.slack.replies(alert)
        assert calls(reminder) is is_called


async def test_digest_calls_unless_all_of_it_is_a_warning_in_quiet_hours() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        await began(bot)
        storm(bot, 6)
        assert calls(await digest(bot))


async def test_failed_repair_is_told_to_the_channel_and_calls_the_approver() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(state="PENDING_APPROVAL")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved, queued")
        bot.together.remediations[IDS]["state"] = "RUNNING"
        bot.together.fail(IDS, "no host left")
        await card(bot, words="Failed: reboot")
        told = await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if "failed on" in reply.text])
        assert [message.broadcast for message in told] == [True]
        assert told[0].text.startswith("<@U0ALICE>, Reboot failed on instance-1")
        assert not calls(told[0])


async def test_failed_repair_that_nobody_approved_through_slack_calls_on_call() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        bot.together.remediations[IDS]["state"] = "RUNNING"
        bot.together.fail(IDS, "no host left")
        told = await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if "failed on" in reply.text])
        assert told[0].broadcast
        assert told[0].text.startswith(
            f"{ONCALL}, Reboot failed on instance-1 (cluster-1 (H100)), 0 s after web-user@example.com approved it in"
        )


@pytest.mark.parametrize(
    ("begin", "end", "covered"),
    [("22:00", "07:00", True), ("00:00", "04:00", False), ("05:00", "22:00", False), ("04:00", "04:01", True)],
)
def test_quiet_hours_are_in_their_time_zone_and_may_pass_midnight(begin: str, end: str, *, covered: bool) -> None:
    hours = QuietHours(time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo("Europe/Berlin"))
    moment = datetime(2026, 11, 24, 3, 0, tzinfo=UTC).timestamp()  # 4:00 in Berlin
    assert hours.cover(moment) is covered


async def test_fault_that_turns_critical_in_quiet_hours_calls_once() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT, BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        bot.together.remediations[IDS]["linked_alerts"] = CRITICAL
        called = await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if calls(reply)])
        assert (
            called[0].text
            == f"{IN_ITS_CLUSTER} is critical now and waiting for a decision: GPU has fallen off the bus. {ONCALL}"
        )
        await pass_time(bot, 3600)
        assert sum(calls(reply) for reply in bot.slack.replies(alert)) == 1


async def test_digest_of_warnings_that_grows_critical_calls_once() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT, BOT_REMIND_MINUTES="0") as bot:
        await began(bot)
        for number in range(6):
            bot.together.add(("cluster-1", f"i{number}", f"r{number}"), linked_alerts=WARNING)
        message = await digest(bot)
        assert not calls(message)
        bot.together.add(("cluster-1", "i7", "r7"), linked_alerts=CRITICAL)
        await until(bot, lambda: [reply for reply in bot.slack.replies(message) if calls(reply)])


async def test_warning_of_the_night_calls_in_the_morning() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT, BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        await pass_time(bot, 3.9 * 3600)
        assert bot.slack.replies(alert) == []
        await pass_time(bot, 0.2 * 3600)
        assert [calls(reply) for reply in bot.slack.replies(alert)] == [True]


async def test_backlog_calls_who_is_on_call_for_its_clusters() -> None:
    async with watching(BOT_ONCALL="S0OTHER", BOT_ROUTES="cluster-1=C0OTHER/S0ONCALL") as bot:
        storm(bot, 8)
        message = await digest(bot)
        assert message.channel == "C0OTHER"
        assert calls(message)
        assert "S0OTHER" not in message.everything


async def test_warning_of_the_evening_whose_reminders_called_nobody_calls_in_the_morning() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="03:05-07:00 UTC") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        assert calls(alert)
        for _ in range(5):
            await pass_time(bot, 15 * 60)
        assert [calls(reply) for reply in bot.slack.replies(alert)] == [False, False, False]
        await pass_time(bot, 2.65 * 3600)
        assert [calls(reply) for reply in bot.slack.replies(alert)] == [False, False, False]
        await pass_time(bot, 0.2 * 3600)
        assert [calls(reply) for reply in bot.slack.replies(alert)] == [False, False, False, True]
        await pass_time(bot, 3600)
        assert len(bot.slack.replies(alert)) == 4


async def test_results_that_a_thread_is_told_at_night_are_no_call_for_what_is_left() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="03:05-07:00 UTC") as bot:
        await began(bot)
        for number in range(6):
            bot.together.add(("cluster-1", f"i{number}", f"r{number}"), linked_alerts=WARNING)
        message = await digest(bot)
        assert calls(message)
        await pass_time(bot, 2 * 3600)  # all reminders are sent
        view = await choose(bot, message, "i0", verb="cancel")
        await bot.slack.submit(view)
        await until(bot, lambda: [reply for reply in bot.slack.replies(message) if "1 of 1" in reply.text])
        await pass_time(bot, 1.9 * 3600)
        assert not any(calls(reply) for reply in bot.slack.replies(message))
        await pass_time(bot, 0.3 * 3600)
        assert sum(calls(reply) for reply in bot.slack.replies(message)) == 1


async def test_call_for_what_turns_critical_does_not_repeat_the_one_at_the_end_of_quiet_hours() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-03:10 UTC", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        await until(bot, lambda: thread(bot, alert), 900)
        bot.together.remediations[IDS]["linked_alerts"] = CRITICAL
        await until(bot, lambda: len(thread(bot, alert)) > 1, 30)
        assert thread(bot, alert) == [
            f"{IN_ITS_CLUSTER} is waiting for a decision: Slurm node unavailable. {ONCALL}",
            f"{IN_ITS_CLUSTER} is critical now and waiting for a decision: GPU has fallen off the bus. {ONCALL}",
        ]


@pytest.mark.parametrize("minutes", ["0", "15"])
async def test_warning_that_called_by_day_calls_again_when_it_turns_critical_at_night(minutes: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="03:05-07:00 UTC", BOT_REMIND_MINUTES=minutes) as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        assert calls(alert)
        await pass_time(bot, 2 * 3600)
        assert not any(calls(reply) for reply in bot.slack.replies(alert))
        bot.together.remediations[IDS]["linked_alerts"] = CRITICAL
        await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if calls(reply)], 30)
        await pass_time(bot, 3600)
        assert sum(calls(reply) for reply in bot.slack.replies(alert)) == 1


async def test_call_at_the_end_of_quiet_hours_and_a_reminder_are_one() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-03:15 UTC") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        await pass_time(bot, 17 * 60)
        assert [calls(reply) for reply in bot.slack.replies(alert)] == [True]


async def test_call_at_the_end_of_quiet_hours_and_an_escalation_are_one() -> None:
    quiet = "00:00-05:00 UTC"
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=quiet, BOT_ESCALATE="S0LEADS/40") as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        await pass_time(bot, 130 * 60, longest=15.0)
        (called,) = [line for line in thread(bot, alert) if "S0ONCALL" in line]
        assert called.endswith("<!subteam^S0ONCALL> <!subteam^S0LEADS>")


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "end", "over"),
    [
        ("2026-10-25T00:10+00:00", "02:30", "2026-10-25T00:30+00:00"),  # 2:10 in summer time
        ("2026-10-25T01:10+00:00", "02:30", "2026-10-25T01:30+00:00"),  # 2:10 once more, in winter time
        ("2026-03-29T00:10+00:00", "02:30", "2026-03-29T01:00+00:00"),  # there is no 2:30: 2:00 is 3:00
        ("2026-03-29T00:10+00:00", "07:00", "2026-03-29T05:00+00:00"),
        ("2026-11-24T22:00+00:00", "07:00", "2026-11-25T06:00+00:00"),
    ],
)
def test_quiet_hours_end_on_time_in_the_nights_when_the_clocks_change(at: str, end: str, over: str) -> None:
    hours = QuietHours(time(22), time.fromisoformat(end), BERLIN)
    moment = datetime.fromisoformat(at).timestamp()
    assert hours.cover(moment)
    assert hours.end_after(moment) == datetime.fromisoformat(over).timestamp()


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/30", BOT_QUIET_HOURS="22:00-07:00 UTC")
async def test_call_for_the_one_of_a_storm_that_turned_critical_says_what_is_broken(bot: World) -> None:
    await began(bot)
    for ids in (nodes := storm(bot, 8)):
        bot.together.remediations[ids]["linked_alerts"] = [
            {"severity": "PHC_SEVERITY_WARNING", "annotation": {"title": "GPU clock throttled"}}
        ]
    message = await digest(bot)
    await pass_time(bot, 3700)
    assert "8 nodes in cluster-1 (H100) have waited" in thread(bot, message)[-1]
    assert "GPU clock throttled, on 8 of 8." in thread(bot, message)[-1]
    bot.together.remediations[nodes[0]]["linked_alerts"] = XID
    await until(bot, lambda: [line for line in thread(bot, message) if "<!subteam^S0ONCALL>" in line], 3600)
    assert "for a decision. Xid 79, on 1 of 8. <!subteam^S0ONCALL>" in thread(bot, message)[-1]


async def test_on_call_that_is_set_at_a_restart_is_called_for_what_has_waited_for_two_hours() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 7300, longest=60)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_oncall": "S0ONCALL"})):
            await pass_time(bot, 6 * 3600, longest=60)
            assert len([line for line in thread(bot, alert) if "S0ONCALL" in line]) == 1
