"""Remediations that vanish, come back or end out of sight."""

from pathlib import Path

import pytest
from sqlalchemy import delete

from bot.store.tables import alerts, messages
from tests.deaths import kill_the_watch
from tests.rows import execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import REVIEW, XID, began, choose, digest, storm
from tests.watch import HOLD, LOOKING, card, pass_time, poll, thread, until, watching
from tests.watcher.test_verification import moment, running
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World

pytestmark = pytest.mark.bot(watching=True)


async def test_vanished_remediation_is_withdrawn_and_shown_again_when_it_returns(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    assert alert.buttons == {}
    assert "instance-1: Together no longer lists this remediation. 💨" in await until(bot, lambda: thread(bot, alert))
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve reboot?")
    assert bot.slack.cards(IDS[2]) == [alert]
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD, LOOKING]
    await until(bot, lambda: "instance-1: Together lists this remediation again." in thread(bot, alert))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")


async def test_what_was_cancelled_before_it_vanished_is_still_called_that(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve", "by hand")
    await card(bot, words="Approved")
    await bot.slack.command("/".join(IDS))
    await card(bot, words="Cancelled: reboot")
    kept = bot.together.remediations.pop(IDS)
    await pass_time(bot, 120)
    assert "Cancelled: reboot" in alert.text
    assert "Let the approver know it's cancelled." in alert.text
    assert "instance-1: Reboot cancelled by <@U0ALICE>" in thread(bot, alert)[1]
    bot.together.remediations[IDS] = kept | {"state": "PENDING_APPROVAL", "create_time": bot.together._time()}
    await card(bot, words="Approve reboot?")


async def test_card_that_returns_says_how_much_of_its_cluster_is_in_repair_now(bot: World) -> None:
    bot.together.add()
    await card(bot, words="0 of 1 node in repair")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
    await poll(bot)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve reboot?")
    await card(bot, words="1 of 1 node in repair", seconds=300)


async def test_ended_remediation_is_not_read_again_while_its_card_waits_for_slack(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=3))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")
    assert [call.verb for call in bot.together.calls].count("get") == 1


async def test_deleted_cluster_withdraws_its_remediations(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    del bot.together.remediations[IDS], bot.together.clusters["cluster-1"]
    await card(bot, words="No longer listed: reboot")
    assert alert.buttons == {}


async def test_404_of_a_proxy_does_not_withdraw_a_remediation(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued")
    bot.together.faults += [
        Fault("html", verb="list", status=404, times=3),
        Fault("html", verb="get", status=404, times=3),
    ]
    await pass_time(bot, 60)
    assert "No longer listed" not in alert.text + "".join(reply.text for reply in bot.slack.replies(alert))


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "QUARANTINED"])
async def test_repair_that_returns_midway_is_followed_again(bot: World, state: str) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept | {"state": state}
    await until(bot, lambda: "No longer listed" not in alert.text)
    bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host left"}
    await card(bot, words="Failed: reboot")
    assert "Together lists this remediation again." in bot.slack.replies(alert)[1].text


async def test_remediation_that_was_just_read_is_not_called_withdrawn(bot: World) -> None:
    bot.together.add()
    other = bot.alert()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    await pass_time(bot, 30)
    bot.together.remediations[IDS] = kept | {"state": "PENDING"}
    await bot.slack.press(other, REFRESH)
    await bot.edited(other)
    assert "No longer listed" not in other.text
    await card(bot, words="Queued: ")
    assert APPROVE not in alert.buttons
    await poll(bot)
    assert "Queued" in alert.text


async def test_returned_remediation_starts_waiting_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    await pass_time(bot, 3 * 3600)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve ")
    await pass_time(bot, 60)
    assert [reply.text for reply in bot.slack.replies(alert) if "has been waiting" in reply.text] == []
    await pass_time(bot, 15 * 60)
    (reminder,) = [reply.text for reply in bot.slack.replies(alert) if "has been waiting" in reply.text]
    assert "has been waiting 15 min" in reminder


async def test_reminders_start_again_when_a_resolved_remediation_returns(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 65 * 60)
    bot.together.resolve(IDS)
    await card(bot, words="recovered")
    before = len(bot.slack.replies(alert))
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await until(bot, lambda: APPROVE in alert.buttons)
    await pass_time(bot, 65 * 60, longest=60)
    assert len([reply for reply in bot.slack.replies(alert)[before:] if "has been waiting" in reply.text]) == 3


async def test_digest_reminders_start_again_when_a_remediation_returns(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for each in ids:
        bot.together.resolve(each)
    await digest(bot, "Nothing left to decide")
    await pass_time(bot, 4 * 3600)
    bot.together.remediations[ids[0]]["state"] = "PENDING_APPROVAL"
    await digest(bot, "needs a decision")
    (again,) = await until(bot, lambda: bot.slack.replies(message))
    assert again.broadcast
    assert (
        again.text
        == "gpu-node-0000 (cluster-1 (H100)) is waiting for a decision again: Xid 79, GPU has fallen off the bus."
    )
    await pass_time(bot, 16 * 60)
    reminder = bot.slack.replies(message)[-1]
    assert "1 node in cluster-1 (H100) has waited 15 min or more for a decision." in reminder.text


async def test_repair_that_failed_out_of_sight_is_reported(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800, longest=60)
    assert [call.verb for call in bot.together.calls].count("get") - gets <= 12
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 400)
    await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if "<@U0ALICE>, Reboot failed" in reply.text])


async def test_remediation_that_vanished_during_a_decision_is_looked_for(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 60)


async def test_vanished_remediation_is_not_looked_for_after_an_hour(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    await pass_time(bot, 3700)
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800)
    assert [call.verb for call in bot.together.calls].count("get") == gets


async def test_vanished_remediation_is_looked_for_no_less_often_after_failures_of_the_database() -> None:
    async with watching(busy_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.remediations[IDS]["state"] = "RUNNING"
        await card(bot, words="Rebooting")
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed")
        for _ in range(8):
            async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
                await pass_time(bot, 12)
            await pass_time(bot, 1)
        bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
        await until(bot, lambda: "Failed" in alert.text, 60)


async def test_deselected_cluster_gets_no_new_cards_but_keeps_its_old_ones() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,cluster-2") as bot:
        bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
        known = bot.together.add(("cluster-2", "i-2", "r-2"))
        await card(bot, known)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
            bot.together.add(("cluster-2", "i-3", "r-3"))
            bot.together.review(known, "cancel")
            await card(bot, known, "Cancelled")
            assert bot.slack.cards("r-3") == []


async def test_repair_that_failed_out_of_sight_is_reported_after_a_restart() -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS]["state"] = "RUNNING"
        await card(bot, words="Rebooting")
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed")
        await bot.settle()
        async with bot.another():
            await pass_time(bot, 30)
            bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
            await until(bot, lambda: "Failed" in alert.text, 900)


async def test_second_failure_in_a_digest_is_told_too(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for number, state in enumerate(("FAILED", "PENDING_APPROVAL", "FAILED")):
        bot.together.remediations[ids[0]] |= {"state": state, "error_message": f"no host {number}"}
        await pass_time(bot, 60)
    assert len([reply for reply in bot.slack.replies(message) if "no host" in reply.text]) == 2


async def test_second_failure_is_told_though_the_watch_changes_before_it_is() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 6)
        message = await digest(bot)
        bot.together.remediations[ids[0]] |= {"state": "FAILED", "error_message": "no host 1"}
        await until(bot, lambda: bot.slack.replies(message))
        bot.together.remediations[ids[0]]["state"] = "PENDING_APPROVAL"
        await pass_time(bot, 60)
        bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=10_000))
        bot.together.remediations[ids[0]] |= {"state": "FAILED", "error_message": "no host 2"}
        await pass_time(bot, 60)
        await kill_the_watch(bot)
        bot.slack.faults.clear()
        async with bot.another():
            await until(bot, lambda: [reply for reply in bot.slack.replies(message) if "no host 2" in reply.text], 600)


@pytest.mark.parametrize("how", ["approve", "cancel"])
@pytest.mark.parametrize("where", ["slack", "console"])
async def test_list_that_lags_behind_a_decision_does_not_bring_its_buttons_back(
    bot: World, how: str, where: str
) -> None:
    bot.together.add()
    alert = await card(bot)
    if where == "slack":
        await bot.slack.press(alert, APPROVE if how == "approve" else CANCEL)
    else:
        bot.together.review(IDS, how)
    await card(bot, words="Approved, queued" if how == "approve" else "Cancelled: reboot")
    bot.together.lists_as[IDS] = "PENDING_APPROVAL"
    for _ in range(4):
        await poll(bot)
        assert APPROVE not in alert.buttons
    bot.together.lists_as.clear()
    await poll(bot)
    assert ("Approved, queued" if how == "approve" else "Cancelled: reboot") in alert.text
    assert [line for line in thread(bot, alert) if "again" in line] == []
    assert len(thread(bot, alert)) == 1


async def test_digest_does_not_ask_again_because_of_a_list_that_lags(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    for each in ids:
        bot.together.lists_as[each] = "PENDING_APPROVAL"
    for _ in range(4):
        await poll(bot)
        assert "Nothing left to decide" in message.text
        assert REVIEW not in message.buttons


async def test_remediation_that_one_read_does_not_find_keeps_its_card_and_its_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="14400")
    await bot.edited(alert)
    kept = bot.together.remediations.pop(IDS)
    gets = [call.verb for call in bot.together.calls].count("get")
    await until(bot, lambda: [call.verb for call in bot.together.calls].count("get") > gets)
    bot.together.remediations[IDS] = kept
    await pass_time(bot, 3600)
    assert "On hold until" in alert.text
    assert len(thread(bot, alert)) == 1
    assert "put this on hold" in thread(bot, alert)[0]


async def test_hold_outlives_a_brief_withdrawal(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="14400")
    await bot.edited(alert)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept
    await card(bot, words="On hold until")
    await pass_time(bot, 3600)
    assert [line for line in thread(bot, alert) if "has been waiting" in line] == []


async def test_cluster_that_answers_404_and_is_still_listed_keeps_its_cards(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults += [Fault("rpc", verb="list", code=5, times=2), Fault("rpc", verb="get", code=5, times=2)]
    await pass_time(bot, 60)
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD, LOOKING]
    assert alert.edits == 0
    assert thread(bot, alert) == []


async def test_remediation_that_waits_again_is_called_in_the_channel() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.resolve(IDS)
        await card(bot, words="recovered")
        await pass_time(bot, 3 * 86_400)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        called = await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if reply.broadcast])
        assert called[0].text == "instance-1 (cluster-1 (H100)) is waiting for a decision again. <!subteam^S0ONCALL>"
        await pass_time(bot, 3600)
        assert [reply.broadcast for reply in bot.slack.replies(alert)].count(True) == 1


async def test_remediation_that_comes_and_goes_does_not_call_each_time() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        for _ in range(6):
            await pass_time(bot, 120)
            bot.together.resolve(IDS)
            await pass_time(bot, 120)
            bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        assert len([reply for reply in bot.slack.replies(alert) if "S0ONCALL" in reply.text]) <= 2


async def test_node_that_joins_a_decided_digest_calls_at_once() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0") as bot:
        await began(bot)
        for ids in storm(bot, 6):
            bot.together.remediations[ids]["linked_alerts"] = []
        message = await digest(bot)
        for ids in list(bot.together.remediations):
            bot.together.review(ids, "cancel")
        await digest(bot, "Nothing left to decide")
        storm(bot, 1, start=6)
        called = await until(bot, lambda: [reply for reply in bot.slack.replies(message) if reply.broadcast], 30)
        assert called[0].text == (
            "gpu-node-0006 (cluster-1 (H100)) is waiting for a decision: Xid 79, GPU has fallen off the bus. "
            "<!subteam^S0ONCALL>"
        )


async def test_failed_repair_of_a_deleted_digest_is_told(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    await poll(bot)
    bot.slack.messages.remove(message)
    bot.together.remediations[ids[2]]["state"] = "RUNNING"
    bot.together.fail(ids[2], "no host left")
    again = await digest(bot, "1 failed")
    told = await until(bot, lambda: [reply for reply in bot.slack.replies(again) if "no host left" in reply.text])
    assert told[0].broadcast
    await pass_time(bot, 600)
    assert len(bot.slack.digests()) == 1


async def test_results_of_a_selection_are_told_although_its_digest_was_deleted_first(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=100)
    bot.slack.faults.append(refused)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    await until(bot, lambda: refused.times < 100)
    bot.slack.messages.remove(message)
    await pass_time(bot, 60)
    refused.times = 0
    await pass_time(bot, 300)
    told = bot.slack.replies(await digest(bot, "Nothing left to decide"))
    assert "results: 6 of 6 approved" in told[0].text


async def test_chosen_cluster_that_is_gone_withdraws_its_remediations() -> None:
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        bot.together.add()
        await card(bot)
        del bot.together.remediations[IDS], bot.together.clusters["cluster-1"]
        await card(bot, words="No longer listed: reboot")


async def test_hold_in_a_digest_starts_its_reminders_over(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for each in ids[1:]:
        bot.together.review(each, "cancel")
    await digest(bot, "1 node ")
    await bot.slack.say("<@U0BOT> hold 4h gpu-node-0000", user="U0ALICE")
    await digest(bot, "on hold by")
    await pass_time(bot, 3600)
    assert [reply for reply in bot.slack.replies(message) if "wait" in reply.text] == []
    await bot.slack.say("<@U0BOT> hold 1m gpu-node-0000", user="U0ALICE")
    await pass_time(bot, 14 * 60)  # the first reminder comes 15 min after the hold, which ended a minute after this
    assert [reply for reply in bot.slack.replies(message) if "wait" in reply.text] == []
    await pass_time(bot, 5 * 60)
    assert len([reply for reply in bot.slack.replies(message) if "wait" in reply.text]) == 1


async def test_what_vanished_in_doubt_is_read_no_more(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="hadn't taken effect")
    bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("get", "list")]
    await pass_time(bot, 300)
    bot.together.faults.clear()
    del bot.together.remediations[IDS]
    await pass_time(bot, 300)
    read = len([call for call in bot.together.calls if call.verb == "get"])
    await pass_time(bot, 300)
    assert len([call for call in bot.together.calls if call.verb == "get"]) == read
    assert APPROVE not in alert.buttons


@pytest.mark.parametrize("away", [0, 60], ids=["between two polls", "during an outage"])
async def test_next_incident_under_the_same_id_calls_though_nobody_saw_the_first_one_end(away: int) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
        alert = await card(bot)
        await pass_time(bot, 3 * 3600)  # three reminders, and none after
        before = len(thread(bot, alert))
        bot.together.faults.append(Fault("rpc", code=14, times=-1))
        await pass_time(bot, away)
        bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
        bot.together.faults.clear()
        await pass_time(bot, 2 * 3600)
        told = thread(bot, alert)[before:]
        assert told[0] == "gpu-node-7: Reboot ended, and is waiting for approval again. ⏳"
        assert any("S0ONCALL" in line for line in told)


async def test_hold_and_words_of_an_incident_are_not_on_the_next_ones_card() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="86400")
        await bot.slack.press(alert, LOOKING)
        await card(bot, words="Looking into it")
        await bot.time.advance(3)
        bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
        await poll(bot)
        assert "On hold" not in alert.everything
        assert "Looking into it" not in alert.everything
        before = len(thread(bot, alert))
        await pass_time(bot, 3600)
        assert any("S0ONCALL" in line for line in thread(bot, alert)[before:])


async def test_one_list_that_lags_behind_the_next_incident_makes_no_further_one(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
    alert = await card(bot)
    await pass_time(bot, 600)
    first = dict(bot.together.remediations[IDS])
    bot.together.resolve(IDS)
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"  # as Together does: the time of its creation stays
    second = bot.together.remediations[IDS]
    await until(bot, lambda: any("is waiting for approval again" in line for line in thread(bot, alert)))
    await bot.slack.press(alert, HOLD, choice="14400", user="U0BOB")
    await until(bot, lambda: "On hold" in alert.everything)
    before = [line for line in thread(bot, alert) if "waiting for approval again" in line]
    bot.together.remediations[IDS] = first
    await poll(bot)
    bot.together.remediations[IDS] = second
    await pass_time(bot, 1200)
    assert "On hold" in alert.everything
    assert [line for line in thread(bot, alert) if "waiting for approval again" in line] == before


async def test_what_waits_is_told_although_its_message_was_dropped_behind_the_watch(bot: World) -> None:
    """As when a process that lost the watch drops what it never posted, after the next one has read what is known."""
    await began(bot)
    fault = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(fault)
    bot.together.add()
    await poll(bot)
    await execute_beside(bot, delete(alerts), delete(messages))
    bot.slack.faults.remove(fault)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    assert (await card(bot)).title


@pytest.mark.parametrize(
    ("state", "says"), [("CANCELLED", "Cancelled: reboot"), ("AUTO_RESOLVED", "recovered on its own")]
)
async def test_what_vanished_and_had_ended_says_so_once_its_cluster_does(bot: World, state: str, says: str) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    bot.together.remediations[IDS] = kept | {"state": state, "end_time": moment(bot)}
    await until(bot, lambda: says in alert.text.splitlines()[0], 700)
    assert "instance-1: Together lists this remediation again." in thread(bot, alert)


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [("FAILED", "SUCCEEDED", "Rebooted"), ("CANCELLED", "FAILED", "Failed"), ("FAILED", "CANCELLED", "Cancelled")],
)
async def test_end_that_turns_out_to_be_another_is_followed(bot: World, first: str, then: str, says: str) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.remediations[IDS] |= {"state": first, "end_time": moment(bot)}
    await poll(bot)
    bot.together.remediations[IDS] |= {"state": then, "end_time": moment(bot)}
    await until(bot, lambda: says in alert.text.splitlines()[0], 700)


async def test_failure_that_was_answered_is_told_though_together_drops_the_record() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        alert = await running(bot)
        bot.together.fail(IDS, "host did not come back")
        await bot.slack.command(REF, user="U0BOB")  # "Too late to cancel: it's already “Failed”."
        await card(bot, words="Failed")
        del bot.together.remediations[IDS]  # before the next list: the node, or its cluster, is deleted
        await pass_time(bot, 600)
        assert [line for line in thread(bot, alert) if "<@U0ALICE>, Reboot failed" in line]
        assert "Failed: reboot" in alert.text


async def test_failure_that_was_answered_is_told_while_only_the_list_cannot_be_read() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        alert = await running(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await pass_time(bot, 30)
        bot.together.fail(IDS, "host did not come back")
        await bot.slack.command(REF, user="U0BOB")
        await card(bot, words="Failed")
        await pass_time(bot, 6 * 3600)
        assert "Failed: reboot" in alert.text
        assert [line for line in thread(bot, alert) if "<@U0ALICE>, Reboot failed" in line]
        assert "host did not come back" in alert.text


async def test_approved_repair_is_not_called_unlisted_while_its_whole_cluster_is_not_found() -> None:
    async with watching() as bot:
        await began(bot)
        await pass_time(bot, 700)
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.faults.clear()
        bot.together.unreadable["cluster-1"] = 5
        await pass_time(bot, 120)
        assert "no longer lists" not in " ".join([alert.text, *thread(bot, alert)])
        assert "No longer listed" not in alert.text
