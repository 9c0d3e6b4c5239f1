"""Calls that must reach somebody, or nobody: after quiet hours, in a locked thread, and of another incident."""

import signal
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, poll, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
CALL = "<!subteam^S0ONCALL>"
WARNING = [{"alert_name": "X", "severity": "PHC_SEVERITY_WARNING"}]
CRITICAL = [{"alert_name": "X", "severity": "PHC_SEVERITY_CRITICAL"}]


def moment(bot: World, seconds: float = 0.0) -> str:
    return datetime.fromtimestamp(bot.time.now() + seconds, UTC).isoformat()


async def test_failure_of_the_next_incident_does_not_call_who_approved_the_one_before(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await until(bot, lambda: "Rebooted" in alert.text)
    await pass_time(bot, 3600)
    one = bot.together.remediations[IDS]
    for name in ("review_time", "reviewed_by", "review_comment", "end_time", "start_time"):
        one.pop(name, None)
    one |= {"state": "PENDING_APPROVAL", "create_time": moment(bot), "update_time": moment(bot)}
    await card(bot, words="Approve reboot")
    await pass_time(bot, 60)
    one |= {
        "state": "RUNNING",
        "reviewed_by": "Auto-Approved",
        "review_comment": "auto-approved: approved",
        "start_time": moment(bot),
        "update_time": moment(bot),
    }
    await pass_time(bot, 60)
    one |= {"state": "FAILED", "end_time": moment(bot), "update_time": moment(bot)}
    (told,) = await until(bot, lambda: [line for line in thread(bot, alert) if "failed on" in line])
    assert "U0ALICE" not in told, told


@pytest.mark.bot(BOT_REMIND_MINUTES="240", BOT_QUIET_HOURS="22:00-07:00 UTC")
async def test_call_that_is_owed_after_quiet_hours_is_made_although_one_list_lacked_what_waits(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    for each in ids:
        bot.together.remediations[each]["linked_alerts"] = [{"severity": "PHC_SEVERITY_WARNING", "alert_name": "x"}]
    message = await digest(bot)
    assert CALL not in message.text

    def calling() -> list[str]:
        posted = [str(body["text"]) for method, body in bot.slack.calls if method == "chat.postMessage"]
        return [message for message in posted if CALL in message]

    end = 1_795_489_200.0 + 4 * 3600
    await pass_time(bot, end - 5 - bot.time.now())
    bot.together.lists_as.update(dict.fromkeys(ids, "AUTO_RESOLVED"))  # a replica that lags, for half a minute
    await pass_time(bot, 45)
    bot.together.lists_as.clear()
    await pass_time(bot, 1800)
    assert "6 nodes" in message.text
    assert calling(), thread(bot, message)


@pytest.mark.bot(BOT_REMIND_MINUTES="0", BOT_QUIET_HOURS="03:05-07:00 UTC")
@pytest.mark.parametrize("is_away", [False, True])
async def test_call_after_quiet_hours_says_as_of_when_it_is_true_where_together_cannot_be_read(
    bot: World, *, is_away: bool
) -> None:
    await pass_time(bot, 400)
    bot.together.add(linked_alerts=WARNING)
    alert = await card(bot)
    bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("list", "get")]
    bot.together.resolve(IDS)
    if is_away:
        await bot.settle()
        await bot.time.advance(4 * 3600)
    async with bot.another() if is_away else nullcontext():
        (told,) = await until(bot, lambda: thread(bot, alert), 5 * 3600)
    assert told.startswith("instance-1 (cluster-1 (H100)) was waiting for a decision: X. Last confirmed <!date^")
    assert told.endswith(f"Can't read it from Together now. {CALL}")


async def test_what_waits_again_is_called_for_though_its_cluster_was_not_read_for_the_reminder_just_after(
    bot: World,
) -> None:
    storm(bot, 4)
    again, *_ = storm(bot, 4, start=4, cluster="cluster-2")
    message = await digest(bot)
    bot.together.resolve(again)
    await pass_time(bot, 3600 - 75)  # before the last reminder
    bot.together.remediations[again] |= {"state": "PENDING_APPROVAL", "create_time": moment(bot)}
    await digest(bot, "8 nodes ")
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    told = len(thread(bot, message))
    await pass_time(bot, 300)
    reminder, call = thread(bot, message)[told:]
    assert "4 nodes in cluster-1 (H100) have waited" in reminder
    assert "waiting for a decision" in call
    assert CALL in call


class Locked(SlackFault):
    """Nobody may reply in a thread."""

    def strikes(self, method: str, body: dict[str, Any]) -> bool:
        return method == "chat.postMessage" and "thread_ts" in body


# The errors of docs.slack.dev, chat.postMessage, that say so of a thread.
@pytest.mark.parametrize(
    "code",
    ["cannot_reply_to_message", "restricted_action_thread_locked", "restricted_action_non_threadable_channel"],
)
async def test_failure_and_reminder_are_told_in_the_channel_where_the_thread_is_locked(bot: World, code: str) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(Locked("chat.postMessage", code, times=-1))
    reminders = await until(
        bot, lambda: [message for message in bot.slack.visible() if "has been waiting" in message.text], 1800
    )
    assert str(alert.ts).replace(".", "") in str(reminders[0].blocks), "it links to the card"
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.together.fail(IDS, "no host left")
    await until(
        bot, lambda: [message for message in bot.slack.visible() if "<@U0ALICE>, Reboot failed" in message.text]
    )


async def test_who_cancelled_what_runs_all_the_same_is_told_in_the_channel_where_the_thread_is_locked(
    bot: World,
) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(Locked("chat.postMessage", "restricted_action_thread_locked", times=-1))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await pass_time(bot, 60)
    assert bot.slack.visible() == [alert]
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
    went_on = "Together went on with this although <@U0ALICE> cancelled it."
    await until(bot, lambda: [message for message in bot.slack.visible() if went_on in message.text])


async def test_deleted_card_of_a_repair_under_way_stays_out_of_the_next_storm(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": start}
    await card(bot, words="Rebooting")

    def stuck() -> list[str]:
        posted = [str(body["text"]) for method, body in bot.slack.calls if method == "chat.postMessage"]
        return [message for message in posted if "may be stuck" in message]

    await until(bot, stuck, 4 * 3600)
    bot.slack.messages.remove(alert)
    await pass_time(bot, 2 * 3600)
    assert len(stuck()) == 1
    storm(bot, 6, start=10)
    message = await digest(bot)
    await pass_time(bot, 1500)
    assert len(stuck()) == 1, (stuck(), message.text)


class Busy(BaseException):
    """The loop is kept busy; no net for ordinary errors hides it."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """End a test whose loop is kept busy: nothing inside it could."""

    def ring(*_: object) -> None:
        raise Busy

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
async def test_escalation_that_is_due_when_nothing_waits_any_more_calls_nobody_and_keeps_nothing_busy() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/32", BOT_POLL_SECONDS="300") as bot:
        await began(bot)
        await pass_time(bot, 300)
        ids = storm(bot, 7)
        message = await until(bot, lambda: next(iter(bot.slack.digests()), None), 400)
        await pass_time(bot, 31 * 60 + 20)
        for each in ids:
            bot.together.review(each, "cancel")
        await pass_time(bot, 400)
        assert not any("S0LEADS" in reply.text for reply in bot.slack.replies(message))


async def test_failure_in_a_backlog_calls_only_who_is_on_call_for_its_cluster() -> None:
    async with watching(BOT_ROUTES="cluster-1=C0OPS/S0TRAIN,cluster-2=C0OPS/S0INFER") as bot:
        ids = storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        message = await digest(bot)
        await pass_time(bot, 60)
        bot.together.review(ids[0], "approve")
        await poll(bot)
        failed = {"state": "FAILED", "end_time": moment(bot), "error_message": "no host"}
        bot.together.remediations[ids[0]] |= failed
        (told, *_) = await until(bot, lambda: [line for line in thread(bot, message) if "failed" in line])
        assert "S0TRAIN" in told
        assert "S0INFER" not in told


async def test_reminder_in_a_backlog_calls_only_who_is_on_call_for_what_certainly_waits() -> None:
    async with watching(BOT_ROUTES="cluster-1=C0OPS/S0TRAIN,cluster-2=C0OPS/S0INFER") as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        message = await digest(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        (told,) = await until(bot, lambda: thread(bot, message), 1200)
        waited = "4 nodes in cluster-1 (H100) have waited 15 min or more for a decision."
        assert told == f"{waited} Xid 79, on 4 of 4. <!subteam^S0TRAIN>"


@pytest.mark.parametrize("minutes", ["0", "15"])
async def test_warnings_of_the_night_are_owed_though_another_node_turned_critical(minutes: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-07:00 UTC", BOT_REMIND_MINUTES=minutes) as bot:
        await began(bot)
        ids = storm(bot, 7)
        for each in ids:
            bot.together.remediations[each]["linked_alerts"] = WARNING
        message = await digest(bot)
        assert CALL not in message.everything
        await pass_time(bot, 70 * 60)
        bot.together.remediations[ids[0]]["linked_alerts"] = CRITICAL
        await until(bot, lambda: [line for line in thread(bot, message) if CALL in line])
        await pass_time(bot, 1200)
        assert sum(CALL in line for line in thread(bot, message)) == 1, "the others are quiet until the morning"
        bot.together.review(ids[0], "cancel")
        await poll(bot)
        await pass_time(bot, 3600)
        assert sum(CALL in line for line in thread(bot, message)) == 1
        await pass_time(bot, 3 * 3600)
        assert sum(CALL in line for line in thread(bot, message)) == 2


async def test_critical_node_that_was_called_for_at_night_is_not_called_for_again_in_the_morning() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-07:00 UTC", BOT_REMIND_MINUTES="0") as bot:
        await began(bot)
        ids = storm(bot, 7)
        for each in ids:
            bot.together.remediations[each]["linked_alerts"] = WARNING
        message = await digest(bot)
        bot.together.remediations[ids[0]]["linked_alerts"] = CRITICAL
        await until(bot, lambda: [line for line in thread(bot, message) if CALL in line])
        for each in ids[1:]:
            bot.together.review(each, "cancel")
        await pass_time(bot, 5 * 3600)
        assert sum(CALL in line for line in thread(bot, message)) == 1


@pytest.mark.parametrize("minutes", ["0", "5"])
async def test_first_of_two_approvals_of_a_warning_in_quiet_hours_calls_in_the_morning(minutes: str) -> None:
    async with watching(
        BOT_ONCALL="S0ONCALL",
        BOT_QUIET_HOURS="03:30-07:00 UTC",
        BOT_TWO_PEOPLE_MODES="REBOOT_VM",
        BOT_REMIND_MINUTES=minutes,
    ) as bot:
        bot.together.add(linked_alerts=WARNING)
        alert = await card(bot)
        assert CALL in alert.everything
        await pass_time(bot, 40 * 60)
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: [line for line in thread(bot, alert) if "U0ALICE" in line])
        before = len(thread(bot, alert))
        assert CALL not in thread(bot, alert)[-1]
        await pass_time(bot, 4 * 3600)
        assert [CALL in line for line in thread(bot, alert)[before:]] == [True]


@pytest.mark.parametrize("refusal", ["no_permission", "html"])
async def test_thread_waits_for_no_edit_that_slack_does_not_take(bot: World, refusal: str) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", refusal, times=-1))
    (told,) = await until(bot, lambda: thread(bot, alert), 1200)
    assert "for a decision" in told
    bot.together.review(IDS, "approve")
    bot.together.advance(IDS, "RUNNING")
    bot.together.fail(IDS, "The VM didn't start")
    (told,) = await until(bot, lambda: [line for line in thread(bot, alert) if "failed on" in line], 300)
    assert told.startswith(CALL)
    bot.slack.faults.clear()
    await until(bot, lambda: "The VM didn't start" in alert.text)


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_nobody_is_called_for_the_second_approval_of_what_was_just_cancelled(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await pass_time(bot, 60)
    await bot.slack.submit(await choose(bot, message, "gpu-node-0000"))
    await quiet(bot)
    await bot.slack.command("/".join(ids[0]), user="U0BOB")
    await quiet(bot)
    assert thread(bot, message) == [], "both came before a turn to post"
    await poll(bot)
    assert "<@U0ALICE>, results: 0 of 1 approved · 1 first approval." in thread(bot, message)
    assert CALL not in " ".join(thread(bot, message))
