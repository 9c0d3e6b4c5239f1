"""What stays on a card after the next reading."""

import copy

import pytest

from bot.cards import home
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, digest, storm, unposted
from tests.test_flow_home import opened, said, shown
from tests.watch import card, pass_time, poll, thread, until, watching
from tests.watcher.test_faults import XID as FIRES
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World


async def test_who_approved_stays_on_a_card_in_a_state_of_tomorrow() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)

        def schedule() -> None:
            if bot.together.state(IDS) == "PENDING":
                bot.together.remediations[IDS]["state"] = "SCHEDULED"

        bot.together.on_call["get"] = schedule
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "SCHEDULED" in alert.text)
        assert "Approved by <@U0ALICE>" in alert.text
        await poll(bot)
        await poll(bot)
        assert "Approved by <@U0ALICE>" in alert.text


async def test_card_counts_a_node_in_a_state_of_tomorrow_as_in_repair(database_url: str) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
        bot.together.add()
        alert = await card(bot)
        await until(bot, lambda: "1 of 2 nodes in repair" in alert.text, 700)
        bot.together.remediations["cluster-1", "i-2", "r-2"]["state"] = "VERIFYING"
        await pass_time(bot, 300)
        assert "1 of 2 nodes in repair" in alert.text
        edits = alert.edits
        await bot.settle()
        async with bot.another():
            await pass_time(bot, 300)
        assert alert.edits == edits


async def test_home_of_a_cluster_shows_no_fault_of_another() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "cluster-2"
        await began(bot)
        storm(bot, 1)
        storm(bot, 1, cluster="cluster-2")
        bot.together.fire("a-1", "cluster-1", "gpu-1", **FIRES)
        await pass_time(bot, 1200)
        assert "gpu-1" in said(await opened(bot))
        version = bot.slack.homes["U0ALICE"]["version"]
        await bot.slack.press_home(home.CLUSTER, choice="cluster-2")
        there = said(await shown(bot, version=version + 1))
        assert "Remediations in cluster-2" in there
        assert "gpu-1" not in there


async def test_home_shows_no_report_of_faults_that_are_gone() -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1", **FIRES)
        await pass_time(bot, 1200)
        bot.together.alerts.clear()
        await pass_time(bot, 60)
        assert "without a repair" not in said(await opened(bot))


async def test_card_that_was_being_decided_on_says_later_that_it_is_not_confirmed() -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await pass_time(bot, 76)  # two polls and a minute are 82 s
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            for _ in range(40):
                await pass_time(bot, 1)
        bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
        await pass_time(bot, 1200)
        assert "Last confirmed" in alert.text, alert.text


async def test_digest_does_not_ask_for_what_was_cancelled_alone() -> None:
    async with watching() as bot:
        await began(bot)
        ids = storm(bot, 7)
        message = await digest(bot, "7 nodes")
        await pass_time(bot, 60)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.command(" ".join(ids[0]), user="U0ALICE")
        await bot.together.until(lambda: bot.together.state(ids[0]) == "CANCELLED")
        await until(bot, lambda: "6 nodes" in message.text, 60)


@pytest.mark.parametrize("says_when", [True, False])
async def test_repair_that_runs_although_it_was_cancelled_is_not_called_cancelled(*, says_when: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 60)
        at = {"update_time": moment(bot)} if says_when else {}
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None, **at}
        await card(bot, words="Rebooting")
        went_on = "instance-1: Together went on with this although <@U0ALICE> cancelled it."
        await until(bot, lambda: went_on in thread(bot, alert))
        bot.together.fail(IDS, "boom")
        await card(bot, words="Failed")
        (called,) = [line for line in thread(bot, alert) if "failed" in line]
        assert called.startswith("<!subteam^S0ONCALL>")


@pytest.mark.parametrize("waits_again", [True, False])
@pytest.mark.parametrize("trigger", ["MANUAL", "AUTOMATED"])
async def test_who_rejected_what_runs_all_the_same_is_not_said_to_have_approved_it(
    trigger: str, *, waits_again: bool
) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(trigger=f"REMEDIATION_TRIGGER_{trigger}")
        alert = await card(bot)
        bot.together.review(IDS, "reject", "false alarm")
        await card(bot, words="Cancelled")
        if waits_again:
            bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "update_time": moment(bot)}
            await card(bot, words="Approve reboot?")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
        await card(bot, words="Rebooting")
        bot.together.remediations[IDS] |= {"update_time": moment(bot)}
        await poll(bot)
        bot.together.fail(IDS, "boom")
        await card(bot, words="Failed")
        await poll(bot)
        told = [alert.everything, *thread(bot, alert)]
        assert not [each for each in told if "web-user" in each or "automatically" in each], told
        assert waits_again or not any("pproved" in each for each in told), told
        assert [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line and "failed" in line]


@pytest.mark.parametrize("asked", ["status instance-1", "check", "press"])
async def test_who_rejected_what_runs_all_the_same_did_not_approve_it_wherever_it_is_asked_for(asked: str) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        payload = bot.slack.click(alert, APPROVE)
        bot.together.review(IDS, "reject", "false alarm")
        await card(bot, words="Cancelled")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
        await card(bot, words="Rebooting")
        if asked.startswith("status"):
            await bot.slack.command(asked)
            told = (await bot.reply_privately()).everything
        else:
            edits = alert.edits
            payload["actions"][0]["action_id"] = APPROVE if asked == "press" else REFRESH
            await bot.slack.deliver("interactive", payload)
            await bot.edited(alert, edits + 1)
            told = alert.everything
        assert "web-user" not in told, told


async def test_who_approved_in_together_stays_on_a_card_that_was_in_a_state_of_tomorrow() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        for state, words in ("SCHEDULED", "SCHEDULED"), ("RUNNING", "Rebooting"):
            bot.together.remediations[IDS] |= {"state": state, "update_time": moment(bot)}
            await card(bot, words=words)
        assert "Approved by web-user@example.com in Together" in alert.text


@pytest.mark.parametrize("is_rejected", [True, False])
async def test_who_reviewed_what_ran_after_a_state_of_tomorrow_is_named_unless_they_rejected_it(
    *, is_rejected: bool
) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        if is_rejected:
            bot.together.review(IDS, "reject", "false alarm")
            await card(bot, words="Cancelled")
        review = {} if is_rejected else {"reviewed_by": "web-user", "review_time": moment(bot)}
        bot.together.remediations[IDS] |= {"state": "SCHEDULED", "end_time": None, "update_time": moment(bot)} | review
        await card(bot, words="SCHEDULED", seconds=900)
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "update_time": moment(bot)}
        await card(bot, words="Rebooting")
        assert ("web-user" in alert.everything) is not is_rejected, alert.everything


@pytest.mark.parametrize("says_when", [True, False])
async def test_who_cancelled_is_mentioned_where_the_repair_runs_before_the_next_reading(*, says_when: bool) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: "Cancelled" in alert.text)
        at = {"update_time": moment(bot)} if says_when else {}
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None, **at}
        went_on = "instance-1: Together went on with this although <@U0ALICE> cancelled it."
        await until(bot, lambda: went_on in thread(bot, alert))
        assert "Rebooting" in alert.text


@pytest.mark.parametrize("is_known", [True, False])
async def test_who_cancelled_is_mentioned_where_the_repair_runs_and_the_card_was_deleted(*, is_known: bool) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 60)
        bot.slack.messages.remove(alert)
        await pass_time(bot, 7200 if is_known else 0)
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
        again = await card(bot, words="Rebooting")
        went_on = "instance-1: Together went on with this although <@U0ALICE> cancelled it."
        await until(bot, lambda: went_on in thread(bot, again))
        bot.slack.messages.remove(again)
        await pass_time(bot, 900)
        assert bot.slack.cards(IDS[2]) == []


async def test_who_cancelled_is_mentioned_where_the_repair_runs_though_slack_had_taken_no_card_by_then() -> None:
    async with watching() as bot:
        refused = await unposted(bot)
        await bot.slack.command(REF)
        await until(bot, lambda: bot.together.state(IDS) == "CANCELLED")
        await pass_time(bot, 600)
        bot.slack.faults.remove(refused)
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
        alert = await until(
            bot, lambda: next((one for one in bot.slack.cards(IDS[2]) if "Rebooting" in one.text), None)
        )
        went_on = "instance-1: Together went on with this although <@U0ALICE> cancelled it."
        await until(bot, lambda: went_on in thread(bot, alert))
        assert "nobody was asked" not in alert.text


async def answered_that_it_runs(bot: World) -> Posted:
    """Alice cancels, it runs all the same, and Bob, who comes too late, is answered so before the next reading."""
    bot.together.add()
    alert = await card(bot)
    seen = dict(alert.controls[CANCEL])
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await pass_time(bot, 60)
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
    await bot.slack.press(alert, CANCEL, user="U0BOB", button=seen)
    await until(bot, lambda: "Rebooting" in alert.text)
    return alert


async def test_who_cancelled_is_mentioned_where_somebody_was_answered_first_that_it_runs() -> None:
    async with watching() as bot:
        alert = await answered_that_it_runs(bot)
        went_on = "instance-1: Together went on with this although <@U0ALICE> cancelled it."
        await until(bot, lambda: went_on in thread(bot, alert))


async def test_repair_of_which_somebody_was_answered_first_that_it_runs_counts_once() -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="2/24h") as bot:
        alert = await answered_that_it_runs(bot)
        await poll(bot)
        bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
        await card(bot, words="Rebooted")
        bot.together.add(create_time=moment(bot))
        await card(bot, words="2nd repair in 7 days")
        assert "Needs two approvers" not in alert.text


async def test_who_is_only_known_to_have_cancelled_by_the_times_is_said_to_have_done_so_apparently() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="apparently")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), "end_time": None}
        went_on = "instance-1: Together went on with this although <@U0ALICE> apparently cancelled it."
        await until(bot, lambda: went_on in thread(bot, alert))


async def test_list_of_before_a_cancellation_does_not_say_that_together_went_on() -> None:
    async with watching() as bot:
        bot.together.add(update_time=moment(bot))
        alert = await card(bot)
        await pass_time(bot, 5)
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: "Cancelled" in alert.text)
        bot.together.lists_as[IDS] = "PENDING"
        await poll(bot)
        await poll(bot)
        assert "Cancelled" in alert.text
        assert not [line for line in thread(bot, alert) if "went on" in line or "approved" in line]


async def test_repair_that_fails_once_more_is_told_again() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for count in (1, 2):
            bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
            await card(bot, words="Rebooting")
            bot.together.fail(IDS, "boom")
            await card(bot, words="Failed")
            await pass_time(bot, 60)
            assert len([line for line in thread(bot, alert) if line.startswith("<@U0ALICE>")]) == count


async def test_repair_that_ran_and_failed_between_two_polls_although_it_was_cancelled_is_told() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 60)
        bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot), "error_message": "boom"}
        await card(bot, words="Failed", seconds=900)
        assert [line for line in thread(bot, alert) if line.startswith("<!subteam^S0ONCALL>") and "boom" in line]


@pytest.mark.parametrize("says_when", [True, False])
async def test_repair_that_ran_and_failed_again_between_two_polls_is_told_again(*, says_when: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
        await card(bot, words="Rebooting")
        bot.together.fail(IDS, "boom")
        await card(bot, words="boom")
        await pass_time(bot, 700)
        again = {"start_time": moment(bot), "end_time": moment(bot, 5), "error_message": "bang"}
        again |= {"update_time": moment(bot, 5)} if says_when else {}
        bot.together.remediations[IDS] |= again
        await card(bot, words="bang", seconds=900)
        await pass_time(bot, 1300)
        told = [line for line in thread(bot, alert) if "failed on" in line]
        assert ["bang" in each for each in told] == [False, True], told


async def test_repair_that_had_failed_is_followed_into_a_state_of_tomorrow_and_out_of_it() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for words in ("boom", "bang"):
            bot.together.remediations[IDS] |= {"state": "RETRYING", "start_time": moment(bot), "end_time": None}
            await card(bot, words="State RETRYING", seconds=900)
            bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot), "error_message": words}
            await card(bot, words=words)
        told = [line for line in thread(bot, alert) if "failed on" in line]
        assert ["bang" in each for each in told] == [False, True], told


async def test_list_of_clusters_that_lags_does_not_bring_back_what_has_failed() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot), "error_message": "boom"}
        await card(bot, words="boom")
        edits = alert.edits
        reads: list[int] = []

        def catch_up() -> None:
            bot.together.remediations[IDS]["state"] = "FAILED"
            reads.append(1)

        bot.together.on_call["get"] = catch_up
        bot.together.remediations[IDS]["state"] = "RETRYING"
        await pass_time(bot, 1300)
        assert (alert.edits, "Failed" in alert.text, len(reads)) == (edits, True, 1)


@pytest.mark.parametrize("verb", ["approve", "cancel"])
async def test_reading_from_before_a_decision_by_its_update_time_does_not_ask_for_that_again(verb: str) -> None:
    async with watching() as bot:
        bot.together.add(update_time=moment(bot))
        alert = await card(bot)
        await pass_time(bot, 100)
        before = copy.deepcopy(bot.together.remediations[IDS])
        await bot.slack.press(alert, APPROVE if verb == "approve" else CANCEL)
        await until(bot, lambda: f"{'Approved' if verb == 'approve' else 'Cancelled'} by <@U0ALICE>" in alert.text)
        # A replica that is behind for a minute and a half answers from now on.
        bot.together.reads_as[IDS] = bot.together.lists_as[IDS] = before
        await pass_time(bot, 90)
        assert bot.together.remediations[IDS]["update_time"] > before["update_time"]  # which the bot was answered
        assert APPROVE not in alert.buttons, alert.text


async def test_failure_that_together_notes_by_another_clock_is_told_soon() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.decides_ahead = 40
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {
            "state": "RUNNING",
            "start_time": moment(bot, 5),
            "update_time": moment(bot, 5),
        }
        await pass_time(bot, 20, longest=5)
        bot.together.remediations[IDS] |= {
            "state": "FAILED", "end_time": moment(bot), "update_time": moment(bot), "error_message": "no host"
        }  # fmt: skip
        await pass_time(bot, 300, longest=15)
        told = thread(bot, alert)
        assert any("failed" in line for line in told), f"five minutes later: {told}, {alert.text}"


async def test_cancellation_that_together_ignored_by_another_clock_is_told_soon() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(state="PENDING_APPROVAL")
        alert = await card(bot)
        bot.together.decides_ahead = 40
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="ancelled")
        bot.together.remediations[IDS] |= {
            "state": "RUNNING",
            "start_time": moment(bot, 5),
            "update_time": moment(bot, 5),
        }
        bot.together.remediations[IDS].pop("end_time", None)
        await pass_time(bot, 300, longest=15)
        assert "unning" in alert.text or "ebooting" in alert.text, alert.text


async def test_failure_that_is_noted_before_the_approval_by_another_clock_is_told_soon() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.decides_ahead = 40
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {
            "state": "FAILED", "end_time": moment(bot), "update_time": moment(bot), "error_message": "no host"
        }  # fmt: skip
        failed_at = bot.time.seconds
        await until(bot, lambda: any("failed" in line for line in thread(bot, alert)), seconds=6 * 3600)
        assert bot.time.seconds - failed_at < 120, f"told after {bot.time.seconds - failed_at} s"


@pytest.mark.parametrize("ended", ["FAILED", "SUCCEEDED"])
async def test_end_that_another_clock_notes_before_the_last_change_of_the_same_run_is_told_soon(ended: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {
            "state": "RUNNING", "start_time": moment(bot), "update_time": moment(bot, 40)
        }  # fmt: skip
        await until(bot, lambda: "ebooting" in alert.text)
        bot.together.remediations[IDS] |= {"state": ended, "end_time": moment(bot), "update_time": moment(bot)}
        await pass_time(bot, 120, longest=15)
        assert "ebooting" not in alert.text, alert.text


@pytest.mark.parametrize("alone", [False, True])
async def test_lagging_list_with_the_failure_that_a_run_went_on_after_tells_no_second_failure(*, alone: bool) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="pproved")
        bot.together.advance(IDS)
        await pass_time(bot, 60)
        while bot.together.state(IDS) != "RUNNING":
            bot.together.advance(IDS)
            await pass_time(bot, 60)
        bot.together.fail(IDS, "host did not come back")
        failed = dict(bot.together.remediations[IDS])
        await card(bot, words="Failed")
        await pass_time(bot, 300)
        bot.together.remediations[IDS] |= {"state": "RUNNING", "update_time": moment(bot)}
        for gone in ("end_time", "error_message"):
            bot.together.remediations[IDS].pop(gone, None)
        await pass_time(bot, 90)
        await poll(bot)
        before = thread(bot, alert)
        bot.together.lists_as[IDS] = failed
        if alone:
            bot.together.reads_as[IDS] = failed
        await pass_time(bot, 60)
        assert "Failed" not in alert.text
        assert thread(bot, alert) == before
