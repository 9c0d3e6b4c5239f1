"""Who looks into it, so that nobody is reminded for a while, and whom it is escalated to when nobody does."""

from typing import Any

import pytest
from sqlalchemy import select

from bot.store.tables import audit
from tests.deaths import free_the_lease, kill_the_watch
from tests.rows import execute_beside
from tests.simulator.receivers import PagerDuty
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.test_flow_home import opened as home_of
from tests.watch import HOLD, LOOKING, card, pass_time, thread, until, watching
from tests.watcher.test_verification import firing, moment
from tests.world import CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True)
LEADS = "<!subteam^S0LEADS>"


def reminders(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if "waiting" in line]


async def looked(bot: World, alert: Posted, user: str = "U0ALICE") -> None:
    await bot.slack.press(alert, LOOKING, user=user)
    await until(bot, lambda: f"Looking into it: <@{user}>" in alert.text or f", <@{user}> since" in alert.text)


async def test_who_looks_is_on_the_card_and_reminders_wait_for_them() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 600)
        await looked(bot, alert)
        await looked(bot, alert, "U0BOB")
        assert "Looking into it: <@U0ALICE> since <!date^" in alert.text
        await pass_time(bot, 600)
        assert reminders(bot, alert) == []
        await looked(bot, alert)
        await pass_time(bot, 600)
        assert reminders(bot, alert) == []
        assert "<@U0BOB>" not in alert.text, "15 minutes are over"
        await pass_time(bot, 400)
        assert len(reminders(bot, alert)) == 1
        assert "Looking into it" not in alert.text
        assert [(row["event"], row["user_id"]) for row in await audit_rows(bot)] == [
            ("looking", "U0ALICE"),
            ("looking", "U0BOB"),
            ("looking", "U0ALICE"),
        ]


async def audit_rows(bot: World) -> list[dict[str, object]]:
    return await execute_beside(bot, select(audit.c.event, audit.c.user_id).order_by(audit.c.seq))


async def test_digest_says_who_looks_until_it_is_decided(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    await bot.slack.press(message, LOOKING, user="U0BOB")
    await digest(bot, "Looking into it: <@U0BOB> since ")
    seen = message.controls[LOOKING]
    for ids in list(bot.together.remediations):
        bot.together.review(ids, "cancel")
    await digest(bot, "Nothing left to decide")
    assert "Looking" not in message.everything
    await bot.slack.press(message, LOOKING, user="U0BOB", button=seen)
    assert "Nothing here needs a decision any more." in (await bot.reply_privately("U0BOB", 2)).text


async def test_it_can_be_said_at_home(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.open_home()
    await bot.slack.until(lambda: LOOKING in str(bot.slack.homes.get("U0ALICE")))
    await bot.slack.press_home(LOOKING)
    await until(bot, lambda: "Looking into it: <@U0ALICE>" in alert.text)


async def test_person_who_may_not_decide_cannot_say_that_they_look(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, LOOKING, user="U0CAROL")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert "Looking" not in alert.everything
    assert [row["event"] for row in await audit_rows(bot)] == ["refused"]


async def test_acked_press_is_done_by_the_next_process(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2) as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            assert (await bot.slack.press(alert, LOOKING)).status == 200
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        async with bot.another():
            await until(bot, lambda: "Looking into it: <@U0ALICE>" in alert.text)


async def test_press_acknowledges_the_incident() -> None:
    async with PagerDuty() as pagerduty:
        paging: Any = pagerduty.settings
        async with watching(**paging) as bot:
            bot.together.add()
            alert = await card(bot)
            await until(bot, lambda: "triggered" in pagerduty.incidents.values(), 1200)
            await looked(bot, alert)
            await until(bot, lambda: "acknowledged" in pagerduty.incidents.values())


async def test_what_nobody_takes_is_escalated_once_then_reminded_of_each_hour() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/40") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 39 * 60, longest=60.0)
        assert [LEADS in line for line in reminders(bot, alert)] == [False, False]
        await pass_time(bot, 120)
        assert [LEADS in line for line in reminders(bot, alert)] == [False, False, True]
        assert reminders(bot, alert)[-1].endswith(f"<!subteam^S0ONCALL> {LEADS}")
        for count in (4, 5, 6):
            before = bot.time.seconds
            await until(bot, lambda: len(reminders(bot, alert)) == count, 3700)  # noqa: B023 - it is awaited here
            assert bot.time.seconds - before > 3400
        assert [LEADS in line for line in reminders(bot, alert)] == [False, False, True, False, False, False]


@pytest.mark.parametrize("by", ["looking", "hold", "cancel"])
async def test_what_somebody_takes_is_not_escalated(by: str) -> None:
    async with watching(BOT_ESCALATE="S0LEADS/40", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 30 * 60)
        if by == "looking":
            await looked(bot, alert)
        elif by == "hold":
            await bot.slack.press(alert, HOLD, user="U0BOB")
            await card(bot, words="On hold")
        else:
            await bot.slack.press(alert, CANCEL)
            await card(bot, words="Cancelled")
        await pass_time(bot, 39 * 60)
        assert reminders(bot, alert) == []
        await pass_time(bot, 3600)
        assert sum(LEADS in line for line in reminders(bot, alert)) == (by != "cancel")


async def test_warning_is_not_escalated_in_quiet_hours() -> None:
    quiet: Any = {"BOT_QUIET_HOURS": "00:00-05:00 UTC", "BOT_REMIND_MINUTES": "0"}
    async with watching(BOT_ESCALATE="S0LEADS/40", **quiet) as bot:  # it is three o'clock
        bot.together.add(linked_alerts=[{"alert_name": "X", "severity": "PHC_SEVERITY_WARNING"}])
        alert = await card(bot)
        await pass_time(bot, 100 * 60)
        assert reminders(bot, alert) == []
        await pass_time(bot, 30 * 60)
        assert sum(LEADS in line for line in reminders(bot, alert)) == 1


async def test_call_that_quiet_hours_owe_waits_for_who_looks() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="22:00-03:30 UTC", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=[{"alert_name": "X", "severity": "PHC_SEVERITY_WARNING"}])
        alert = await card(bot)
        await pass_time(bot, 25 * 60)
        await looked(bot, alert)
        await until(bot, lambda: any("Nobody is reminded for 15 min" in message.text for message in bot.slack.messages))
        await pass_time(bot, 14 * 60)
        assert thread(bot, alert) == []
        await pass_time(bot, 120)
        assert thread(bot, alert) == ["instance-1 (cluster-1 (H100)) is waiting for a decision: X. <!subteam^S0ONCALL>"]


@pytest.mark.parametrize("escalate", ["", "S0LEADS/20"])
async def test_call_that_quiet_hours_owe_and_a_reminder_are_one_once_nobody_looks_any_more(escalate: str) -> None:
    quiet: Any = {"BOT_QUIET_HOURS": "22:00-03:30 UTC", **({"BOT_ESCALATE": escalate} if escalate else {})}
    async with watching(BOT_ONCALL="S0ONCALL", **quiet) as bot:
        bot.together.add(linked_alerts=[{"alert_name": "X", "severity": "PHC_SEVERITY_WARNING"}])
        alert = await card(bot)
        await pass_time(bot, 25 * 60)
        await looked(bot, alert)
        await pass_time(bot, 17 * 60)
        assert ["S0ONCALL" in line for line in thread(bot, alert)] == [False, True]


async def test_change_of_leader_escalates_nothing_twice(database_url: str) -> None:
    async with watching(database=database_url, BOT_ESCALATE="S0LEADS/40") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 41 * 60)
        await kill_the_watch(bot)
        async with bot.another():
            await pass_time(bot, 30 * 60)
            assert sum(LEADS in line for line in reminders(bot, alert)) == 1


async def test_who_looks_is_soon_on_the_card_while_together_hangs_and_many_reminders_are_late(bot: World) -> None:
    await began(bot)
    for number in range(15):
        alert = await card(bot, bot.together.add(("cluster-1", f"i-{number}", f"r-{number}")))
        await pass_time(bot, 61)
    bot.together.faults.append(Fault("hang", times=-1))
    await pass_time(bot, 600, longest=15)
    pressed_at = bot.time.seconds
    await looked(bot, alert)
    assert bot.time.seconds - pressed_at < 20


async def test_looking_that_was_taken_over_promises_no_more_minutes_than_it_lasts(database_url: str) -> None:
    async with watching(
        database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="2"
    ) as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            await bot.slack.press(alert, LOOKING, user="U0BOB")
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(500)
        async with bot.another():
            await until(
                bot, lambda: [m for m in bot.slack.visible("U0BOB") if "Nobody is reminded for 6 minutes" in m.text]
            )
            calls = len([line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line])
            await pass_time(bot, 5 * 60)
            after = [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line]
            assert len(after) == calls, after


async def test_looking_that_a_dead_process_left_is_not_about_a_later_incident(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.05) as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            await bot.slack.press(alert, LOOKING, user="U0BOB")
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 60)
            assert "Xid 94" in alert.text
            assert "Looking into it: <@U0BOB>" not in alert.text


async def test_looking_in_a_home_of_an_earlier_incident_keeps_no_reminder_of_the_next_back() -> None:
    async with watching(BOT_REMIND_MINUTES="10") as bot:
        await began(bot)
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await home_of(bot, "U0ALICE")
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await card(bot, words="Cancelled")
        await pass_time(bot, 7200)
        bot.together.add(instance_name="gpu-node-7")
        await card(bot, words="Approve reboot?")
        before = len(reminders(bot, alert))
        await bot.slack.press_home(LOOKING, about=IDS[2])
        await until(bot, lambda: [each for each in bot.slack.messages if "it opened again since" in each.text])
        await pass_time(bot, 700)
        assert len(reminders(bot, alert)) > before


@pytest.mark.parametrize("choice", ["", "86400"])
async def test_old_card_that_takes_no_edits_keeps_no_reminder_of_the_next_incident_back(choice: str) -> None:
    async with watching(BOT_REMIND_MINUTES="10") as bot:
        await began(bot)
        bot.together.add()
        old = await card(bot)
        await pass_time(bot, 3600)
        bot.slack.too_old.add(old.ts)
        bot.together.resolve(IDS)
        await pass_time(bot, 3600)
        assert "Approve reboot?" in old.text
        bot.together.add()
        new = await until(bot, lambda: [each for each in bot.slack.cards(IDS[2]) if HOLD in each.controls][1:], 1200)
        await bot.slack.press(old, HOLD if choice else LOOKING, choice=choice)
        await pass_time(bot, 700)
        assert "On hold until" not in new[0].text
        assert "Looking into it" not in new[0].text
        assert reminders(bot, new[0])


async def test_looking_after_the_last_reminder_is_followed_by_one() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 7200)
        assert len(reminders(bot, alert)) == 3
        await looked(bot, alert)
        await pass_time(bot, 840)
        assert len(reminders(bot, alert)) == 3
        await pass_time(bot, 4 * 3600)
        assert len(reminders(bot, alert)) == 4
