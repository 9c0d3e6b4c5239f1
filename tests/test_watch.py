"""Alerts: found, posted once, followed to the end."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import HOLD, card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, CANCEL, IDS, REFRESH, World

OTHER = ("cluster-2", "instance-9", "remediation-9")
VM_ONLY = "REMEDIATION_MODE_VM_ONLY"


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with watching() as running:
        yield running


def thread(bot: World, alert: Posted) -> list[str]:
    """The lines of an alert's thread."""
    return [line for reply in bot.slack.replies(alert) for line in reply.text.splitlines()]


def updates(bot: World) -> int:
    return [method for method, _ in bot.slack.calls].count("chat.update")


async def test_what_waits_is_told_once_with_buttons_and_metadata(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert (alert.channel, alert.thread_ts) == ("C0OPS", None)
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD]
    ids = dict(zip(("cluster_id", "instance_id", "remediation_id"), IDS, strict=True))
    assert alert.metadata == {"event_type": "remediation_alert", "event_payload": ids}
    for _ in range(3):
        await poll(bot)
    assert bot.slack.visible() == [alert]
    assert alert.edits == 0


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "QUARANTINING", "SUCCEEDED", "CANCELLED"])
async def test_what_somebody_else_has_begun_or_ended_is_not_told(bot: World, state: str) -> None:
    bot.together.add(state=state)
    await poll(bot)
    await poll(bot)
    assert bot.slack.visible() == []


async def test_a_remediation_is_followed_through_every_state_wherever_it_was_approved(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 100)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued to start")
    assert list(alert.buttons) == [CANCEL]
    told = []
    for seconds, words in ((60, "Cordoning"), (30, "Host cordoned"), (90, "Running"), (660, "Succeeded")):
        await pass_time(bot, seconds)
        bot.together.advance(IDS)
        await card(bot, words=words)
        told.append(words)
    await until(bot, lambda: len(thread(bot, alert)) == 5)
    assert alert.buttons == {}
    lines = thread(bot, alert)
    assert lines[0].startswith("Approved by web-user@example.com outside this bot after ")
    assert lines[3].startswith("Running, 3 min after it was approved.")
    assert lines[4].startswith("Succeeded, 14 min after it was approved.")
    assert bot.slack.cards(IDS[2]) == [alert]


async def test_a_finished_card_gets_no_further_calls(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.review(IDS, "cancel")
    alert = await card(bot, words="Cancelled: Reboot VM")
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert)[0].startswith("Cancelled outside this bot after ")
    slack_calls, reads = len(bot.slack.calls), [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 7200)
    assert [method for method, _ in bot.slack.calls[slack_calls:] if method.startswith("chat.")] == []
    assert [call.verb for call in bot.together.calls].count("get") == reads


async def test_a_click_is_answered_on_the_card_and_needs_no_second_edit(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    await poll(bot)
    await poll(bot)
    assert updates(bot) == 1
    assert thread(bot, alert) == [line for line in thread(bot, alert) if line.startswith("Approved by <@U0ALICE>")]
    assert len(thread(bot, alert)) == 1
    bot.together.advance(IDS)
    await card(bot, words="Cordoning the host")
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    assert updates(bot) == 2


async def test_a_typed_cancel_is_shown_on_the_alert_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.command(f"{' '.join(IDS)} rebooted by hand")
    await card(bot, words="Cancelled: Reboot VM")
    assert "Cancelled in Slack by <@U0ALICE>" in alert.text
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert)[0].startswith("Cancelled by <@U0ALICE>")


async def test_a_mode_that_escalates_in_place_is_shown_and_told(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, VM_ONLY)
    await card(bot, words="Waiting for approval: Replace VM")
    assert VM_ONLY in alert.buttons[APPROVE]["value"]
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert) == [
        "The mode has changed: it was “Reboot VM” and is now “Replace VM”. Look again before you decide."
    ]


async def test_what_has_resolved_by_itself_is_never_called_denied(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 290)
    bot.together.resolve(IDS)
    await card(bot, words="Resolved by itself: Reboot VM")
    await until(bot, lambda: thread(bot, alert))
    assert alert.buttons == {}
    assert thread(bot, alert)[0].startswith("Resolved by itself after 5 min: the alert cleared.")
    everything = alert.everything + " ".join(thread(bot, alert))
    assert not [word for word in ("denied", "rejected", "cancelled") if word in everything.lower()]


async def test_what_has_vanished_is_shown_so_and_shown_again_when_it_is_back(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: Reboot VM")
    assert alert.buttons == {}
    assert "Withdrawn: Together lists it no longer. 💨" in await until(bot, lambda: thread(bot, alert))
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Waiting for approval: Reboot VM")
    assert bot.slack.cards(IDS[2]) == [alert]
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD]
    await until(bot, lambda: "Together lists it again." in thread(bot, alert))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")


async def test_what_has_ended_is_read_no_more_while_its_card_is_yet_to_be_drawn(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=3))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")
    assert [call.verb for call in bot.together.calls].count("get") == 1


async def test_a_cluster_that_is_gone_has_taken_its_remediations_with_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    del bot.together.remediations[IDS], bot.together.clusters["cluster-1"]
    await card(bot, words="Withdrawn: Reboot VM")
    assert alert.buttons == {}


async def test_a_card_of_a_lost_database_is_followed_again() -> None:
    async with watching() as bot:
        ids = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in range(7)]
        payload = {"cluster_id": ids[0][0], "instance_id": ids[0][1], "remediation_id": ids[0][2]}
        metadata = {"event_type": "remediation_alert", "event_payload": payload}
        known = bot.slack.post_as_tool([], text="from before", metadata=metadata)
        forged = {"event_type": "remediation_alert", "event_payload": {**payload, "remediation_id": ids[1][2]}}
        somebodys = bot.slack.post_as_tool([], text="a forgery", metadata=forged, by="U0EVIL")
        await until(bot, bot.slack.digests)
        await card(bot, ids[0], "Waiting for approval")
        assert known.edits == 1
        assert somebodys.edits == 0
        assert "6 remediations from before the bot began to watch" in bot.slack.digests()[0].text


async def test_fifty_changes_at_once_keep_slacks_limits(bot: World) -> None:
    bot.together.clusters.update({f"c-{number}": "H100" for number in range(10)})
    await poll(bot)
    bot.slack.limits = Limits()
    ids = [bot.together.add((f"c-{number % 10}", f"instance-{number}", f"r-{number:03d}")) for number in range(50)]
    await until(bot, lambda: all(bot.slack.cards(each[2]) for each in ids), 200)
    for each in ids:
        bot.together.review(each, "approve")
    alerts = [bot.slack.cards(each[2])[0] for each in ids]
    await until(bot, lambda: all("Approved, queued" in each.text for each in alerts), 300)
    await until(bot, lambda: all(bot.slack.replies(each) for each in alerts), 300)
    assert bot.slack.refused_for_limits == []
    assert {each.edits for each in alerts} == {1}


async def test_a_card_is_edited_at_most_once_in_three_seconds(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    edited: list[float] = []
    for number in range(12):
        bot.together.remediations[IDS]["reason"] = f"reason {number}"
        before = alert.edits
        await pass_time(bot, 2)
        edited += [bot.time.seconds] * (alert.edits - before)
    assert len(edited) >= 2
    assert all(later - earlier >= 3 for earlier, later in pairwise(edited))


async def test_a_failure_calls_whoever_approved_and_quotes_the_error(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Running: Reboot VM")
    await pass_time(bot, 600)
    bot.together.fail(IDS, "host <!channel> did not come back")
    await card(bot, words="Failed: Reboot VM")
    failed = await until(bot, lambda: [line for line in thread(bot, alert) if "failed" in line])
    assert failed[0].startswith("<@U0BOB>, the repair that you approved has failed, 1")
    assert "Together says: “host &lt;!channel&gt; did not come back”" in failed[0]


async def test_a_notice_stays_on_the_card_until_something_changes(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, VM_ONLY)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Not approved. The mode was “Reboot VM” and is now “Replace VM”." in alert.text
    await poll(bot)
    await poll(bot)
    assert "Not approved. The mode was" in alert.text
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued to start")
    assert "Not approved" not in alert.text


async def test_a_doubtful_answer_keeps_its_card_for_a_minute_and_then_gives_the_buttons_back(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert list(alert.buttons) == [REFRESH]
    await poll(bot)
    assert list(alert.buttons) == [REFRESH]
    await until(bot, lambda: APPROVE in alert.buttons)
    assert "not in effect" not in alert.text


async def test_a_reading_from_before_a_decision_does_not_take_the_decision_back(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.remediations[IDS]["reason"] = "something else"
    with bot.together.paused("list answered"):
        await until(bot, lambda: bot.together.is_waiting("list answered"))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
    await quiet(bot)
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    assert APPROVE not in alert.buttons


# Hold and reminders.


async def test_a_hold_is_shown_to_all_and_ends_by_itself(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "On hold until" in alert.text
    assert "<@U0ALICE> asks to wait" in alert.text
    assert bot.together.posts == []
    await pass_time(bot, 29 * 60)
    assert "On hold until" in alert.text
    assert [line for line in thread(bot, alert) if "has waited" in line] == []
    await pass_time(bot, 70)
    assert "On hold" not in alert.text
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD]


async def test_a_hold_ends_with_the_next_decision(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert, 2)
    assert "hold" not in alert.text.lower()
    await poll(bot)
    assert "hold" not in alert.text.lower()


async def test_only_operators_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0CAROL")
    assert "You may not hold remediations here." in (await bot.whisper("U0CAROL")).text
    assert alert.edits == 0


async def test_what_is_decided_cannot_be_held(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "Not held: it is “Approved, queued to start”." in alert.text or "Not held" in alert.text


async def test_what_the_bot_does_not_follow_cannot_be_held(bot: World) -> None:
    bot.together.add(OTHER, state="PENDING_APPROVAL")
    await card(bot, OTHER)
    bot.together.add()
    with bot.together.paused("list"):
        alert = bot.alert()
        alert.blocks[1]["elements"][0]["action_id"] = HOLD
        await bot.slack.press(alert, HOLD)
        assert "The bot does not follow this remediation" in (await bot.whisper()).text


def reminders(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if "has waited" in line]


async def test_reminders_come_after_the_time_twice_and_four_times_the_time_and_then_no_more() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        counts = []
        for minutes in (14, 2, 13, 2, 28, 3, 70):
            await pass_time(bot, minutes * 60)
            counts.append(len(reminders(bot, alert)))
        assert counts == [0, 1, 1, 2, 2, 3, 3]
        assert reminders(bot, alert)[0].startswith("<!subteam^S0ONCALL> Reboot VM for instance-1 has waited for 15 min")


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


async def test_no_reminder_of_what_was_decided_since_the_last_poll(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 200)
    assert reminders(bot, alert) == []


# What the engineer needs to decide.


async def test_the_card_tells_of_the_node_and_the_cluster(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 32
    ended = {"end_time": "2026-11-23T01:00:00Z", "mode": "REMEDIATION_MODE_REBOOT_VM"}
    old = {"end_time": "2026-11-10T01:00:00Z"}
    bot.together.add(("cluster-1", "instance-1", "r-a"), "SUCCEEDED", **ended)
    bot.together.add(("cluster-1", "instance-1", "r-b"), "FAILED", end_time="2026-11-20T01:00:00Z")
    bot.together.add(("cluster-1", "instance-1", "r-c"), "AUTO_RESOLVED", **ended)
    bot.together.add(("cluster-1", "instance-1", "r-d"), "SUCCEEDED", **old)
    for number in range(3):
        bot.together.add(("cluster-1", f"instance-{number + 5}", f"r-{number}"), "RUNNING")
    bot.together.add()
    alert = await card(bot)
    assert "Third repair in 7 days. The last: Reboot VM, succeeded <!date^1795395600^{ago}|" in alert.everything
    assert "3 of 32 nodes were in repair" in alert.everything
    assert "*Waiting since*" in alert.everything
    lists = [call for call in bot.together.calls if call.verb == "list" and call.instance == "instance-1"]
    assert len(lists) == 1
    await pass_time(bot, 1190)
    assert len([call for call in bot.together.calls if call.verb == "clusters"]) == 2
    assert [call for call in bot.together.calls if call.verb == "cluster"] == []


async def test_a_node_whose_history_cannot_be_read_is_told_without_it(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1, instance="instance-1"))
    alert = await card(bot)
    assert "This node" not in alert.everything


# When Together or Slack fail.


async def test_a_failing_cluster_delays_no_other_and_is_told_once_and_once_when_it_is_over(bot: World) -> None:
    bot.together.add(OTHER)
    bot.together.add(("cluster-1", "instance-3", "remediation-3"))
    await card(bot, OTHER)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    bot.together.add()
    await card(bot)
    await pass_time(bot, 200)
    assert len(bot.slack.visible()) == 3
    await pass_time(bot, 150)
    told = [each.text for each in bot.slack.visible() if "cannot be read" in each.text]
    assert len(told) == 1
    assert told[0].startswith("Cluster cluster-2 cannot be read from Together since ")
    await pass_time(bot, 400)
    bot.together.faults.clear()
    await until(bot, lambda: [each for each in bot.slack.visible() if "can be read from Together again" in each.text])
    await pass_time(bot, 600)
    assert len([each for each in bot.slack.visible() if "from Together" in each.text]) == 2


async def test_a_hanging_cluster_delays_no_other() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,cluster-2") as bot:
        bot.together.add(OTHER)
        await card(bot, OTHER)
        bot.together.faults.append(Fault("hang", verb="list", times=-1, cluster="cluster-2"))
        await poll(bot)
        bot.together.add()
        await card(bot)


async def test_the_bot_obeys_retry_after(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await quiet(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=8, headers={"Retry-After": "120"}))
    before = len([call for call in bot.together.calls if call.verb == "list"])
    await pass_time(bot, 100)
    assert len([call for call in bot.together.calls if call.verb == "list"]) == before + 1
    await pass_time(bot, 60)
    assert len([call for call in bot.together.calls if call.verb == "list"]) > before + 2


@pytest.mark.parametrize("kind", ["drop", "html", "internal_error"])
async def test_a_post_without_a_clear_answer_is_looked_for_before_it_is_repeated(bot: World, kind: str) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", kind, after=True))
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [alert]
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")


@pytest.mark.parametrize("kind", ["drop", "internal_error", "not_in_channel", "ratelimited"])
async def test_a_post_that_did_not_arrive_is_repeated(bot: World, kind: str) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", kind, retry_after=5))
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [alert]


async def test_without_the_scope_a_rare_second_card_is_preferred_to_none() -> None:
    async with watching() as bot:
        bot.slack.may_read_history = False
        bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
        bot.together.add()
        await card(bot)
        await pass_time(bot, 60)
        assert len(bot.slack.cards(IDS[2])) == 2


async def test_a_deleted_card_is_given_up(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.messages.remove(alert)
    bot.together.review(IDS, "approve")
    await poll(bot)
    tries = updates(bot)
    assert tries == 1
    await pass_time(bot, 120)
    assert updates(bot) == tries


async def test_an_edit_that_slack_did_not_take_is_repeated(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=2))
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued to start")


async def test_an_item_that_cannot_be_read_hides_no_other(bot: World) -> None:
    bot.together.add(OTHER)
    bot.together.add(("cluster-2", "instance-8", "remediation-8"), mode=None)
    await card(bot, OTHER)
    assert bot.slack.cards("remediation-8") == []
