"""The next incident of a node, for which Together reuses the ID (docs/decisions/0008)."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import HOLD, LOOKING, card, pass_time, poll, thread, until, watching
from tests.watcher.test_verification import AGAIN, CALL, DAY, counted, firing, moment, repaired
from tests.world import APPROVE, CANCEL, IDS, World, as_alert

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
AUTOMATED = "REMEDIATION_TRIGGER_AUTOMATED"
AUTOMATIC: dict[str, Any] = {
    "reviewed_by": "Auto-Approved",
    "review_comment": "auto-approved: approved",
    "state": "PENDING",
}
once_a_day = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_MAX_REPAIRS_PER_NODE="1/24h")


async def opened_again(bot: World, seconds: float = 3600.0) -> Posted:
    """Let a repair succeed, and the node's next incident open under the same ID some time later."""
    alert = await repaired(bot)
    await pass_time(bot, seconds)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
    await card(bot, words="Approve reboot?")
    await poll(bot)
    return alert


async def asked(bot: World, command: str) -> str:
    count = len(bot.slack.visible("U0ALICE"))
    await bot.slack.command(command, user="U0ALICE")
    return (await bot.reply_privately("U0ALICE", count + 1)).text


async def test_card_of_the_next_incident_does_not_call_it_the_first_repair(bot: World) -> None:
    alert = await opened_again(bot)
    assert "First repair here" not in alert.text
    assert "2nd reboot within 24 h for Xid 79" in alert.text
    assert "Last repair: reboot, succeeded" in alert.text


@pytest.mark.parametrize("resolves", [True, False])
async def test_failure_told_after_the_next_incident_is_over_calls_nobody(bot: World, *, resolves: bool) -> None:
    await began(bot)
    bot.slack.faults.append(away := SlackFault("chat.postMessage", "ratelimited", retry_after=30, times=-1))
    bot.together.add(**AUTOMATIC, trigger=AUTOMATED, create_time=moment(bot))
    await poll(bot)
    becomes(bot, "FAILED", "end_time", error_message="no host left")
    await poll(bot)
    bot.together.add(create_time=moment(bot))
    await poll(bot)
    if resolves:
        bot.together.resolve(IDS)
        await poll(bot)
    bot.slack.faults.remove(away)
    alert = await card(bot, words="recovered on its own" if resolves else "Approve reboot?")
    await pass_time(bot, 60)
    (failed,) = [line for line in thread(bot, alert) if "failed on" in line]
    assert ("<!subteam^S0ONCALL>" in failed) is not resolves


@pytest.mark.parametrize("resolves", [True, False])
async def test_fault_that_came_back_and_cleared_before_it_could_be_told_calls_nobody(
    bot: World, *, resolves: bool
) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    bot.slack.faults.append(away := SlackFault("chat.postMessage", "ratelimited", retry_after=30, times=-1))
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
    await poll(bot)
    if resolves:
        bot.together.resolve(IDS)
        await poll(bot)
    bot.slack.faults.remove(away)
    await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
    await pass_time(bot, 300)
    assert any(CALL in line for line in thread(bot, alert)) is not resolves


@once_a_day
async def test_next_incident_of_a_node_that_was_repaired_takes_two_people(bot: World) -> None:
    alert = await opened_again(bot)
    assert "Needs two approvers. 1 repair of this node in 24 h" in alert.text
    before = len(bot.together.posts)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="1 of 2 approvals")
    assert len(bot.together.posts) == before


@once_a_day
async def test_repair_of_the_day_before_does_not_count_for_the_next_incident(bot: World) -> None:
    alert = await opened_again(bot, DAY + 600)
    assert "2nd repair in 7 days" in alert.text
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_MAX_REPAIRS_PER_NODE="2/999h")
async def test_repair_of_weeks_ago_counts_for_the_next_incident_as_long_as_the_limit_says(bot: World) -> None:
    alert = await opened_again(bot, 20 * DAY)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
    await pass_time(bot, 60)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await card(bot, words="Watched until")
    await pass_time(bot, 20 * DAY)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
    await card(bot, words="2 repairs of this node in")
    before = len(bot.together.posts)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="1 of 2 approvals")
    assert len(bot.together.posts) == before


@once_a_day
async def test_repair_counts_for_the_next_incident_though_its_end_was_not_seen(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    bot.together.add(create_time=moment(bot, 2), linked_alerts=firing("79"))
    await pass_time(bot, 60)
    alert = await card(bot, words="Needs two approvers. 1 repair of this node in 24 h")
    assert "Last repair" not in alert.text
    before = len(bot.together.posts)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="1 of 2 approvals")
    assert len(bot.together.posts) == before


@once_a_day
async def test_card_of_the_next_incident_that_is_posted_again_still_counts_the_repair(bot: World) -> None:
    alert = await opened_again(bot)
    bot.slack.messages.remove(alert)
    again = await until(bot, lambda: next(iter(bot.slack.cards(IDS[2])), None), seconds=2 * 3600)
    assert "Needs two approvers. 1 repair of this node in 24 h" in again.text


@once_a_day
async def test_repair_counts_before_a_poll_has_seen_that_the_next_incident_opened(bot: World) -> None:
    await repaired(bot)
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
    before, other = len(bot.together.posts), bot.alert()
    await bot.slack.press(other, APPROVE)
    await bot.edited(other)
    await pass_time(bot, 30)
    assert len(bot.together.posts) == before


async def test_fault_that_comes_back_under_the_same_id_is_among_what_did_not_help(bot: World) -> None:
    before = counted("REBOOT_VM", "came_back")
    alert = await opened_again(bot)
    assert [line for line in thread(bot, alert) if "U0ALICE" in line or CALL in line][1:] == [
        "<@U0ALICE>, Xid 79 came back on instance-1 (cluster-1), 1 h after its reboot. 🔁",
        f"instance-1 (cluster-1 (H100)) is waiting for a decision again: Xid 79, Xid. {CALL}",
    ]
    assert counted("REBOOT_VM", "came_back") - before == 1
    told = await asked(bot, "tonight")
    assert "Ended: 1 didn't help." in told
    assert "Xid 79 came back after 1 h" in told
    assert told.count("Waiting for approval: 1") == 1


async def test_other_tools_are_told_which_repair_did_not_help_under_the_same_id() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            await repaired(bot)
            await pass_time(bot, 3600)
            again: Any = {"mode": "REMEDIATION_MODE_VM_ONLY", "create_time": moment(bot)}
            bot.together.add(**again, linked_alerts=firing("79", moment(bot)))
            await pass_time(bot, 120)
            (told,) = [event["data"] for event in webhook.events if event["type"].endswith("came_back")]
            assert (told["mode"], told["decided_by"]) == ("REMEDIATION_MODE_REBOOT_VM", "U0ALICE")
            assert told["cluster_name"] == "cluster-1 (H100)"


@pytest.mark.parametrize("state", ["FAILED", "SUCCEEDED"])
async def test_next_incident_that_began_and_ended_between_two_polls_is_told_once(bot: World, state: str) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 7200)
    before, told = alert.text, len(thread(bot, alert))
    times = {"create_time": moment(bot, -60), "start_time": moment(bot, -30), "end_time": moment(bot)}
    bot.together.remediations[IDS] |= {**AUTOMATIC, **times, "state": state}
    await until(bot, lambda: alert.text != before, seconds=700)
    await pass_time(bot, 1300)
    failures = (
        [f"{CALL}, Reboot failed on instance-1 (cluster-1 (H100)), started automatically. ❌"]
        if state == "FAILED"
        else []
    )
    back = f"<@U0ALICE> {CALL}, Xid 79 came back on instance-1 (cluster-1), 1 h 59 min after its reboot. 🔁"
    assert sorted(thread(bot, alert)[told:]) == sorted([*failures, back])
    assert bot.slack.cards(IDS[2]) == [alert]


@pytest.mark.parametrize("state", ["FAILED", "SUCCEEDED"])
async def test_other_tools_are_told_of_the_next_incident_that_ended_like_the_one_before(state: str) -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            await began(bot)
            bot.together.add(linked_alerts=firing("79"))
            await bot.slack.press(await card(bot), APPROVE)
            await card(bot, words="Approved")
            bot.together.remediations[IDS] |= {"state": state, "end_time": moment(bot)}
            await pass_time(bot, 7200)
            times = {"create_time": moment(bot, -60), "start_time": moment(bot, -30), "end_time": moment(bot)}
            bot.together.remediations[IDS] |= {**AUTOMATIC, **times, "state": state}
            await pass_time(bot, 2000)
            told = [event["data"] for event in webhook.events if event["type"].endswith(f".{state.lower()}")]
            assert [each.get("decided_by") for each in told] == ["U0ALICE", None]


@once_a_day
async def test_card_of_the_next_incident_counts_what_another_remediation_has_repaired_since(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot, words="First repair here in 7 days")
    bot.together.resolve(IDS)
    await card(bot, words="recovered on its own")
    times = {"create_time": moment(bot), "start_time": moment(bot), "end_time": moment(bot)}
    bot.together.add(AGAIN, "SUCCEEDED", **times, linked_alerts=firing("79"))
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
    await card(bot, words="Needs two approvers. 1 repair of this node in 24 h")
    assert "First repair here" not in alert.text


async def test_what_waits_again_in_a_digest_is_not_what_a_selection_decided_of_the_incident_before(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, verb="cancel"))
    await digest(bot, "In all: 6 cancelled.")
    await pass_time(bot, 3600)
    bot.together.add(ids[0], create_time=moment(bot))
    await digest(bot, "1 of 6 nodes of cluster-1 (H100) needs a decision")
    other = bot.slack.post_as_tool(as_alert(bot.together.remediations[ids[0]]))
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.together.escalate(ids[0], "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.press(other, APPROVE)
    await bot.edited(other)
    await pass_time(bot, 60)
    assert "1 of 6 nodes of cluster-1 (H100) needs a decision" in message.text


async def test_history_of_a_node_lists_each_repair_under_the_same_id(bot: World) -> None:
    await opened_again(bot)
    told = await asked(bot, "history instance-1")
    assert "2 remediations, latest first" in told
    assert "came back after 1 h" in told
    assert "<@U0ALICE>" in told


def opens_again(bot: World) -> None:
    """Let it end, and open again before the next poll."""
    bot.together.resolve(IDS)
    began = moment(bot)[:19] + "+00:00"  # in whole seconds
    bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "create_time": began, "end_time": None}


@pytest.mark.parametrize("end_is_seen", [False, True])
async def test_hold_of_an_incident_that_has_just_opened_again_is_kept(bot: World, *, end_is_seen: bool) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0ALICE", choice="14400")
    await pass_time(bot, 600)
    choice_of_bob = bot.slack.click(alert, HOLD, user="U0BOB", choice="3600")
    if end_is_seen:
        bot.together.resolve(IDS)
        await card(bot, words="recovered on its own")
        bot.together.add()
    opens_again(bot)
    await bot.slack.deliver("interactive", choice_of_bob)
    await until(bot, lambda: any("<@U0BOB> put this on hold" in line for line in thread(bot, alert)))
    await poll(bot)
    await until(bot, lambda: any("approval again" in line for line in thread(bot, alert)))
    held = [line for line in alert.text.splitlines() if "On hold" in line]
    assert len(held) == 1
    assert "<@U0BOB>" in held[0]


async def test_looking_of_an_incident_that_has_just_opened_again_is_kept(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, LOOKING, user="U0ALICE")
    await pass_time(bot, 600)
    opens_again(bot)
    await bot.slack.press(alert, LOOKING, user="U0BOB")
    await poll(bot)
    await until(bot, lambda: any("approval again" in line for line in thread(bot, alert)))
    (looking,) = [line for line in alert.text.splitlines() if "Looking into it" in line]
    assert "<@U0BOB>" in looking
    assert "<@U0ALICE>" not in looking


def becomes(bot: World, state: str, moment_of: str = "update_time", **fields: Any) -> None:
    bot.together.remediations[IDS] |= {"state": state, "update_time": moment(bot), moment_of: moment(bot), **fields}


async def repaired_days_ago(bot: World) -> Posted:
    """Let Together repair a node automatically, and two days pass. Returns its card."""
    await began(bot)
    bot.together.add(**AUTOMATIC, update_time=moment(bot))
    alert = await card(bot, words="Started automatically: reboot")
    becomes(bot, "SUCCEEDED", "end_time", start_time=moment(bot))
    await card(bot, words="Rebooted")
    await pass_time(bot, 2 * DAY)
    return alert


async def test_next_automatic_repair_of_a_node_under_the_same_id_is_told_and_calls(bot: World) -> None:
    alert = await repaired_days_ago(bot)
    mode = "REMEDIATION_MODE_VM_ONLY"
    bot.together.add(**AUTOMATIC, mode=mode, create_time=moment(bot), update_time=moment(bot))
    await poll(bot)
    begun = f"instance-1 (cluster-1 (H100)): Quick reprovision started automatically. Local data is deleted. {CALL}"
    assert await until(bot, lambda: [line for line in thread(bot, alert) if CALL in line]) == [begun]
    becomes(bot, "RUNNING", "start_time")
    await until(bot, lambda: any("Quick reprovision started. " in line for line in thread(bot, alert)))
    becomes(bot, "FAILED", "end_time", error_message="no host left")
    await until(bot, lambda: any("no host left" in line and CALL in line for line in thread(bot, alert)))
    assert not any("repair changed" in line for line in thread(bot, alert))
    assert len([line for line in thread(bot, alert) if line == begun]) == 1


async def test_automatic_repair_of_a_fault_that_came_back_under_the_same_id_calls_once(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    again = {**AUTOMATIC, "mode": "REMEDIATION_MODE_VM_ONLY", "linked_alerts": firing("79", moment(bot))}
    bot.together.add(**again, create_time=moment(bot), update_time=moment(bot))
    (told,) = await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
    assert told.startswith("<@U0ALICE>, ")
    assert sum(CALL in line for line in thread(bot, alert)) == 1


async def test_next_incident_that_was_approved_in_together_between_two_polls_calls_when_it_fails(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
    bot.together.review(IDS, "approve")
    becomes(bot, "RUNNING", "start_time")
    await card(bot, words="Rebooting")
    assert "U0ALICE" not in alert.text
    bot.together.fail(IDS, "no host left")
    await until(bot, lambda: any("no host left" in line and CALL in line for line in thread(bot, alert)))


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED"])
async def test_card_of_an_incident_that_opened_again_and_runs_does_not_say_that_it_is_over(
    bot: World, state: str
) -> None:
    await began(bot)
    bot.together.add()
    await card(bot)
    becomes(bot, state, "end_time")
    alert = await card(bot, words=state.capitalize())
    await pass_time(bot, 3600)
    becomes(bot, "PENDING_APPROVAL", "create_time", end_time=None)
    bot.together.review(IDS, "approve")
    becomes(bot, "RUNNING", "start_time")
    await card(bot, words="Rebooting")
    assert state.capitalize() not in alert.text


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_WAIT_MINUTES="*=30")
async def test_next_automatic_repair_is_not_said_to_be_approved_with_the_one_before(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    before = thread(bot, alert)
    becomes(bot, "PENDING", "create_time", end_time=None)  # Together keeps the review of the incident before
    await card(bot, words=f"the cluster's wait is over (<!date^{int(bot.time.now()) + 1800}^")
    becomes(bot, "RUNNING", "start_time")
    await card(bot, words="Rebooting")
    becomes(bot, "FAILED", "end_time", error_message="no host left")
    await until(
        bot,
        lambda: (
            thread(bot, alert)[len(before) :][-1:]
            == [f"{CALL}, Reboot failed on instance-1 (cluster-1 (H100)), started automatically: “no host left” ❌"]
        ),
    )
    assert "approv" not in " ".join(thread(bot, alert)[len(before) :])


async def test_what_waits_again_is_not_counted_as_decided_with_the_incident_before(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    becomes(bot, "PENDING_APPROVAL", "create_time", end_time=None)
    await until(bot, lambda: "Approve reboot?" in alert.text)
    assert "Decided by: <@U0ALICE> 1." in await asked(bot, "tonight")
    assert (await asked(bot, "history instance-1")).count("U0ALICE") == 1


async def test_failure_of_the_next_incident_that_was_seen_to_run_calls_nobody_for_the_one_before(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
    bot.together.review(IDS, "approve")
    becomes(bot, "RUNNING", "start_time")
    await card(bot, words="Rebooting")
    before = len(thread(bot, alert))
    bot.together.fail(IDS, "no host left")
    await until(bot, lambda: any("no host left" in line and CALL in line for line in thread(bot, alert)))
    assert "U0ALICE" not in " ".join([alert.text, *thread(bot, alert)[before:]])


@pytest.mark.parametrize("count", [1, 6])
async def test_failure_that_slack_did_not_take_is_told_though_the_next_incident_has_opened(
    bot: World, count: int
) -> None:
    await began(bot)
    ids = storm(bot, count)
    alert = await digest(bot) if count > 1 else await card(bot, ids[0])
    failed = bot.together.remediations[ids[0]]
    bot.together.review(ids[0], "approve")
    await poll(bot)
    bot.slack.faults += [SlackFault(f"chat.{each}", "internal_error", times=-1) for each in ("postMessage", "update")]
    times = {"start_time": moment(bot), "update_time": moment(bot), "end_time": moment(bot)}
    failed |= {"state": "FAILED", "error_message": "no host left", **times}
    await pass_time(bot, 2400)
    bot.together.add(ids[0], create_time=moment(bot), update_time=moment(bot))
    await pass_time(bot, 60)
    bot.slack.faults.clear()
    await pass_time(bot, 1200)
    (told,) = [reply.text for reply in bot.slack.replies(alert) if "no host left" in reply.text]
    assert CALL in told


async def test_list_that_lags_behind_opens_nothing_again(bot: World) -> None:
    alert = await repaired(bot)
    before = thread(bot, alert)
    bot.together.lists_as[IDS] = "RUNNING"
    for _ in range(3):
        await poll(bot)
    del bot.together.lists_as[IDS]
    await poll(bot)
    assert "Watched until" in alert.text
    assert thread(bot, alert) == before


async def test_list_that_lags_behind_withdraws_no_repair_that_ended_and_is_not_found_any_more(bot: World) -> None:
    alert = await repaired(bot)
    before = thread(bot, alert)
    bot.together.lists_as[IDS] = "RUNNING"
    bot.together.faults.append(Fault("rpc", verb="get", code=5, times=-1))
    for _ in range(4):
        await poll(bot)
    assert "Watched until" in alert.text
    assert thread(bot, alert) == before


async def test_fault_that_comes_back_after_an_automatic_repair_that_called_calls_too(bot: World) -> None:
    alert = await repaired_days_ago(bot)
    again = {**AUTOMATIC, "mode": "REMEDIATION_MODE_VM_ONLY", "linked_alerts": firing("79", moment(bot))}
    bot.together.add(**again, create_time=moment(bot), update_time=moment(bot))
    await until(bot, lambda: [line for line in thread(bot, alert) if CALL in line])
    becomes(bot, "SUCCEEDED", "end_time", start_time=moment(bot))
    await card(bot, words="Watched until")
    await pass_time(bot, 1800)
    bot.together.add(AGAIN, linked_alerts=firing("79", moment(bot)))
    (told,) = await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
    assert CALL in told


def said(bot: World) -> str:
    return "\n".join(message.text for message in bot.slack.messages)


@pytest.mark.parametrize("is_answer_lost", [False, True])
async def test_approval_whose_state_follows_later_does_not_ask_again(*, is_answer_lost: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.state_follows = True
        await pass_time(bot, 100)
        if is_answer_lost:
            bot.together.faults.append(Fault("cut", verb="approve", after=True))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "Not confirmed" in alert.text)
        await poll(bot)  # 18 s after Together took it
        assert "ended" not in said(bot), said(bot)
        assert APPROVE not in alert.buttons, alert.text


async def test_bob_is_not_led_to_cancel_what_together_took_from_alice() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.state_follows = True
        await pass_time(bot, 100)
        await bot.slack.press(alert, APPROVE)
        await poll(bot)
        await poll(bot)
        assert CANCEL not in alert.buttons, "the card asks again, with no word of Alice's approval 30 s ago"


async def test_review_time_of_what_still_waits_ends_no_hold_and_no_first_approval() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REMEDIATION_MODE_REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 100)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await card(bot, words="On hold until")
        bot.together.remediations[IDS] |= {
            "review_time": moment(bot), "review_comment": "looking at it", "update_time": moment(bot)
        }  # fmt: skip
        await poll(bot)
        await poll(bot)
        assert "ended" not in said(bot), said(bot)
        assert "On hold until" in alert.text
        assert "1 of 2 approvals" in alert.text


async def ended_before_its_end_time(bot: World, state: str) -> None:
    """The end of the node's last repair, 30 h ago, is in the record until the state of this one has changed."""
    await began(bot)
    before = datetime.fromtimestamp(bot.time.now() - 30 * 3600, UTC).isoformat()
    linked = {"alert_name": "DmesgXidError", "severity": "PHC_SEVERITY_CRITICAL", "started_at": moment(bot)}
    bot.together.add(end_time=before, linked_alerts=[{**linked, "instance_id": IDS[1]}])
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "RUNNING")
    await card(bot, words="Rebooting")
    bot.together.remediations[IDS] |= {"state": state, "update_time": moment(bot)}
    await card(bot, words="Rebooted" if state == "SUCCEEDED" else "Failed")
    await poll(bot)


async def test_repair_that_succeeded_seconds_ago_has_not_held_for_a_day() -> None:
    async with watching() as bot:
        await ended_before_its_end_time(bot, "SUCCEEDED")
        bot.together.remediations[IDS] |= {"end_time": moment(bot), "update_time": moment(bot)}
        await poll(bot)
        alert = bot.slack.cards(IDS[2])[0]
        assert "Lasted 24 h" not in "\n".join([alert.text, *thread(bot, alert)])


async def test_failure_whose_end_time_is_of_the_repair_before_is_told() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await ended_before_its_end_time(bot, "FAILED")
        await pass_time(bot, 3600, longest=60)
        alert = bot.slack.cards(IDS[2])[0]
        assert [line for line in thread(bot, alert) if "failed" in line], thread(bot, alert)


async def test_next_incident_that_began_while_together_could_not_be_read_asks_people_again() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.say("<@U0BOT> hold 24h", user="U0BOB", thread=alert)
        await card(bot, words="On hold until")
        await pass_time(bot, 600)
        bot.together.unreadable["cluster-1"] = 14
        await pass_time(bot, 900)
        bot.together.review(IDS, "reject", "not this one")
        await pass_time(bot, 2700)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "update_time": moment(bot)}
        bot.together.unreadable.clear()
        await pass_time(bot, 1800)
        assert "On hold until" not in alert.text, (
            f"Bob's hold was of the incident that was rejected: {thread(bot, alert)}"
        )


async def test_button_that_the_version_before_drew_is_of_the_incident_that_waits() -> None:
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 300)
        bot.together.review(IDS, "reject", "not this one")
        await card(bot, words="ancelled")
        await pass_time(bot, 1200)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "update_time": moment(bot)}
        alert = await card(bot, words="Approve reboot?")
        await poll(bot)
        button = dict(alert.controls[APPROVE])
        value = json.loads(button["value"])
        reviewed = datetime.fromisoformat(bot.together.remediations[IDS]["review_time"])
        button["value"] = json.dumps(value | {"episode": str(int(reviewed.timestamp()))})  # as 4d6ece7e has it
        await bot.slack.press(alert, APPROVE, button=button)
        await pass_time(bot, 10)
        assert [call.verb for call in bot.together.posts] == ["approve"], alert.text


@pytest.mark.parametrize("early", [0.7, 2.0])
async def test_repair_that_failed_at_once_by_another_clock_has_an_end(early: float) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        await pass_time(bot, 300)
        bot.together.remediations[IDS] |= {
            "state": "FAILED", "start_time": moment(bot), "end_time": moment(bot, -early), "error_message": "no host"
        }  # fmt: skip
        await card(bot, words="ailed")
        await pass_time(bot, 300)
        assert "ended" in alert.everything.lower(), alert.everything[-700:]
        told = await asked(bot, "tonight")
        assert "took" not in told or "5 min" in told, told


async def test_end_of_the_last_run_by_a_host_that_lags_is_no_end_of_the_one_that_was_just_approved() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=firing("79", moment(bot)))
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "update_time": moment(bot)}
        await until(bot, lambda: "ebooting" in alert.text)
        await pass_time(bot, 300)
        bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot), "update_time": moment(bot)}
        await until(bot, lambda: "Rebooted" in alert.text)
        old = copy.deepcopy(bot.together.remediations[IDS])
        await pass_time(bot, 3600)
        # Its times of the last run stay, as other fields do.
        bot.together.remediations[IDS] |= {
            "state": "PENDING_APPROVAL",
            "create_time": moment(bot),
            "update_time": moment(bot),
            "linked_alerts": firing("79", moment(bot)),
        }
        await until(bot, lambda: "Approve reboot?" in alert.text)
        await pass_time(bot, 60)
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "Approved" in alert.text)
        await pass_time(bot, 60)
        now = bot.together.remediations[IDS]
        assert now["state"] == "PENDING", now
        bot.together.remediations[IDS] = old
        await pass_time(bot, 90)
        shown = alert.text
        bot.together.remediations[IDS] = now
        await pass_time(bot, 90)
        assert "Rebooted" not in shown, shown
