"""Odd moments in which nobody was called, or somebody was called for nothing."""

from typing import Any

import pytest

from tests.deaths import die_sending, kill_the_watch
from tests.simulator.receivers import PagerDuty
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import XID, began, digest, storm
from tests.watch import CHANNEL, card, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_faults import TOLD, message
from tests.watcher.test_faults import XID as FAULT
from tests.watcher.test_verification import moment, repaired
from tests.world import APPROVE, IDS, REF, World

watched = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")


async def test_next_incident_is_paged_for_while_the_channel_is_archived(pagerduty: PagerDuty) -> None:
    """The second incident under an ID, on a card that Slack took, of a channel that somebody has archived."""
    async with watching(**pagerduty.settings) as bot:
        await began(bot)
        bot.together.add(linked_alerts=XID)
        await card(bot)
        bot.slack.channels[CHANNEL].is_archived = True
        await pass_time(bot, 1200)
        assert pagerduty.incidents == {REF: "triggered"}
        bot.together.resolve(IDS)
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})
        await pass_time(bot, 1800)
        bot.together.add(linked_alerts=XID)
        await pass_time(bot, 4 * 3600, longest=240)
        assert pagerduty.incidents == {REF: "triggered"}, "it has waited for four hours, and nobody was called"


async def test_node_of_a_digest_that_asks_after_the_first_alarm_is_paged_for_while_the_channel_is_archived(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings) as bot:
        await began(bot)
        first, *others = storm(bot, 6)
        await digest(bot)
        bot.slack.channels[CHANNEL].is_archived = True
        await pass_time(bot, 1200)
        triggered = dict.fromkeys(map("/".join, [first, *others]), "triggered")
        assert pagerduty.incidents == triggered
        bot.together.resolve(first)
        await until(bot, lambda: pagerduty.incidents["/".join(first)] == "resolved")
        await pass_time(bot, 1800)
        storm(bot, 1)
        await pass_time(bot, 4 * 3600, longest=240)
        assert pagerduty.incidents == triggered, "it has waited for four hours, and nobody was called"


async def test_one_404_is_not_believed_though_another_came_before_a_restart(database_url: str) -> None:
    """Two looks ten seconds apart say that something is withdrawn; an hour apart, with it listed in between, don't."""
    async with watching(database_url) as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        kept = await once_not_found(bot)
        await kill_the_watch(bot)
        bot.together.remediations[IDS] = kept
        async with bot.another():
            await pass_time(bot, 600, longest=0.0)  # a leap would have all of it read again
            bot.together.remediations[IDS] = await once_not_found(bot)
            await pass_time(bot, 120)
            assert not [line for line in thread(bot, alert) if "longer" in line or "again" in line], thread(bot, alert)


async def once_not_found(bot: World) -> Any:
    """Let one list and one look not find what waits."""
    kept = bot.together.remediations.pop(IDS)
    gets = [call.verb for call in bot.together.calls].count("get")
    await until(bot, lambda: [call.verb for call in bot.together.calls].count("get") > gets)
    await quiet(bot)
    return kept


@watched
async def test_message_about_faults_that_takes_no_edits_says_its_end(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **FAULT)
    alert = await message(bot)
    bot.slack.too_old.add(alert.ts)
    bot.together.alerts.clear()
    await pass_time(bot, 3600)
    words = [each.text for each in bot.slack.visible()]
    assert [text for text in words if "lists no critical fault" in text], words


@watched
async def test_message_about_faults_moves_only_where_it_can_be_posted(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **FAULT)
    old = await message(bot)
    await bot.settle()
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 4 * 3600, longest=240)
        there = [each.text for each in bot.slack.visible() if each.channel == "C0OTHER" and "gpu-1" in each.everything]
        assert there or TOLD in old.text, (old.text, there)


@watched
async def test_spurious_message_not_found_leaves_no_second_card(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "message_not_found"))
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await until(bot, lambda: len(bot.slack.cards(IDS[2])) == 2)
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 600)
    live = [each.text.splitlines()[0] for each in bot.slack.cards(IDS[2]) if APPROVE in each.buttons]
    assert not live, live


@watched
async def test_call_in_the_channel_of_a_locked_thread_is_looked_for_there(bot: World) -> None:
    """A reminder whose thread is locked goes to the channel; whether Slack took it isn't clear."""
    bot.together.add()
    alert = await card(bot)
    bot.slack.locked.add(alert.ts)
    await pass_time(bot, 880)
    bot.slack.faults.append(Once("chat.postMessage", "drop", after=True))
    await pass_time(bot, 120)
    calls = [each.text for each in bot.slack.visible() if each is not alert and "S0ONCALL" in each.text]
    assert len(calls) == 1, calls


class Once(SlackFault):
    """Strikes what is posted outside threads."""

    def strikes(self, method: str, body: dict[str, Any]) -> bool:
        return "thread_ts" not in body and super().strikes(method, body)


@pytest.mark.parametrize("seconds", [None, 300.0], ids=["it fires on", "it fires again"])
@watched
async def test_fault_outlasts_a_repair_that_was_approved_before_the_watch_saw_it(
    bot: World, seconds: float | None
) -> None:
    """Approved on another tool's alert, within a poll: its answer is there, so it gets no card."""
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1", **FAULT)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")
    await poll(bot)
    if seconds is not None:
        bot.together.alerts.clear()
    for _ in range(4):
        bot.together.advance(IDS)
        await poll(bot)
    if seconds is not None:
        await pass_time(bot, seconds)
        bot.together.fire("a-2", "cluster-1", "instance-1", **FAULT)
    await pass_time(bot, 4 * 3600, longest=240)
    assert bot.together.state(IDS) == "SUCCEEDED"
    called = [each.text for each in bot.slack.visible() if "S0ONCALL" in each.everything]
    assert called, [each.text for each in bot.slack.visible()]


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="20%")
async def test_brake_is_not_put_on_by_one_list_of_clusters_without_nodes(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 64
    await pass_time(bot, 700)

    def listed() -> int:
        return [call.verb for call in bot.together.calls].count("clusters")

    bot.together.nodes["cluster-1"], before = 0, listed()  # one answer lacks them
    await until(bot, lambda: listed() > before, 1300)
    await quiet(bot)
    bot.together.nodes["cluster-1"] = 64
    storm(bot, 2)
    await pass_time(bot, 60)
    told = [each.text for each in bot.slack.visible() if "paused automatically" in each.text]
    assert not told, told


async def test_call_that_slack_executes_late_is_not_repeated_by_the_next_process(database_url: str) -> None:
    """As for cards, faults, and outages: what left just before a change of the watch has 15 s to arrive."""
    async with watching(database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host"}
        fault = SlackFault("chat.postMessage", "hang", late=True)
        await die_sending(bot, fault)
        async with bot.another():
            await pass_time(bot, 8)
            bot.slack.execute_late()
            await pass_time(bot, 300)
            calls = [line for line in thread(bot, alert) if "S0ONCALL" in line]
            assert len(calls) == 1, calls


@pytest.mark.parametrize("code", [5, 7, 12])
@watched
async def test_one_refusal_of_a_list_that_was_read_a_minute_ago_does_not_blind_the_bot_for_an_hour(
    bot: World, code: int
) -> None:
    await began(bot)
    await pass_time(bot, 600)
    refused = Fault("rpc", verb="alerts", code=code, times=4)  # the client tries some of them again
    bot.together.faults.append(refused)
    await until(bot, lambda: refused.times < 4, 200)
    bot.together.faults.clear()
    bot.together.fire("a-1", "cluster-1", "gpu-1", **FAULT)
    began_at = bot.time.seconds
    await message(bot, seconds=7200)
    assert bot.time.seconds - began_at < 1800, f"on-call was called after {(bot.time.seconds - began_at) / 60:.0f} min"


@watched
async def test_node_is_not_missed_by_one_answer_that_lacks_it(bot: World) -> None:
    alert = await repaired(bot)
    bot.together.nodes["cluster-1"] = 8
    bot.together.add(("cluster-1", "instance-7", "remediation-7"), "SUCCEEDED")  # another node, so the list isn't empty
    answers: list[str] = []

    def lacking() -> None:
        answers.append("")
        bot.together.node_status["instance-1"] = "" if len(answers) == 1 else "Running"

    bot.together.on_call["cluster"] = lacking
    await until(bot, lambda: answers, 1200)
    await pass_time(bot, 1800)
    assert not [line for line in thread(bot, alert) if "S0ONCALL" in line], thread(bot, alert)


@watched
async def test_automatic_repair_is_told_though_its_record_has_an_approval_of_an_earlier_incident(bot: World) -> None:
    """The next incident under an ID keeps the review of the one before, which the bot made in an earlier life."""
    await began(bot)
    bot.together.add(
        state="RUNNING", mode="REMEDIATION_MODE_VM_ONLY", create_time=moment(bot, -60), start_time=moment(bot, -30),
        reviewed_by="key-owner", review_time=moment(bot, -7200),
        review_comment="[0123abcd] Approved in Slack by alice (U0ALICE)",
    )  # fmt: skip
    await pass_time(bot, 1800)
    assert [each.text for each in bot.slack.visible() if "S0ONCALL" in each.everything]


@watched
async def test_next_automatic_repair_is_told_after_one_that_was_approved_before_the_watch_saw_it(bot: World) -> None:
    await began(bot)
    bot.together.add(mode="REMEDIATION_MODE_REBOOT_VM")
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")
    await poll(bot)
    for _ in range(4):
        bot.together.advance(IDS)
        await poll(bot)
    await pass_time(bot, 2 * 86_400)
    bot.together.remediations[IDS] |= {
        "state": "RUNNING", "mode": "REMEDIATION_MODE_VM_ONLY", "create_time": moment(bot), "start_time": moment(bot),
    }  # fmt: skip
    bot.together.remediations[IDS].pop("end_time")
    await pass_time(bot, 1800)
    assert [each.text for each in bot.slack.visible() if "S0ONCALL" in each.everything]


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")
@pytest.mark.parametrize("is_refused", [False, True])
async def test_one_refusal_does_not_release_the_brake_while_all_of_it_fires(bot: World, *, is_refused: bool) -> None:
    await began(bot)
    for number in range(4):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}", **FAULT)
    paused = await message(bot, "paused automatically")
    await pass_time(bot, 600)
    if is_refused:
        refused = Fault("rpc", verb="alerts", code=5)
        bot.together.faults.append(refused)
        await until(bot, lambda: not refused.times, 200)
    await pass_time(bot, 3000, longest=60)
    assert "paused automatically" in paused.text, paused.text


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")
async def test_time_in_which_alerts_cannot_be_read_does_not_release_the_brake(bot: World) -> None:
    """Together's list of alerts answers 503 for an hour, while its list of remediations is fine."""
    await began(bot)
    for number in range(4):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}", **FAULT)
    paused = await message(bot, "paused automatically")
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    await pass_time(bot, 3600, longest=60)
    assert "paused automatically" in paused.text, paused.text.splitlines()[0]


@pytest.mark.parametrize("refusal", ["not_in_channel", "fatal_error"])
async def test_one_reminder_that_slack_does_not_take_triggers_once(pagerduty: PagerDuty, refusal: str) -> None:
    """Who was paged, and has resolved that at PagerDuty, is paged again by a further reminder at most."""
    async with watching(**pagerduty.settings) as bot:
        await began(bot)
        bot.together.add()
        await card(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", refusal, times=-1))
        await pass_time(bot, 4 * 3600, longest=60)
        triggers = [call["event_action"] for call in pagerduty.calls].count("trigger")
        assert triggers <= 3, f"{triggers} times in four hours, for three reminders"


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
@pytest.mark.parametrize("verb", ["cancel", "approve"])
async def test_nobody_is_called_for_what_its_nodes_list_says_was_decided(bot: World, verb: str) -> None:
    """The cluster's list is older than what is read about the node for the card."""
    await began(bot)
    bot.together.add()
    with bot.together.paused("list answered"):
        await until(bot, lambda: bot.together.is_waiting("list answered"))
        bot.together.review(IDS, verb)
    await pass_time(bot, 300, longest=15)
    posted = [str(given["text"]) for method, given in bot.slack.calls if method == "chat.postMessage"]
    told = ["instance-1 (cluster-1 (H100)): Approved, queued: reboot 🕓"] if verb == "approve" else []
    assert [text.partition("\n")[0] for text in posted[:1]] == told


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
async def test_a_nodes_list_that_stays_behind_withholds_no_card(bot: World) -> None:
    """All that is read, but the list of the node for its card, says that it waits."""
    await began(bot)
    bot.together.add()

    def answer() -> None:
        is_of_node = bot.together.calls[-1].verb == "list" and bot.together.calls[-1].instance == "instance-1"
        bot.together.remediations[IDS]["state"] = "CANCELLED" if is_of_node else "PENDING_APPROVAL"

    bot.together.on_call |= dict.fromkeys(("list", "get"), answer)
    assert "S0ONCALL" in (await card(bot)).everything
