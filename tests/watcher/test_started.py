"""Repairs that were under way when the bot first saw them: automatic ones, and those that people began in Together."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot import cards
from bot.models import Remediation
from tests.deaths import kill_the_watch
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault, Ids
from tests.storms import began, storm
from tests.test_flow_handover import asked
from tests.watch import CHANNEL, HOLD, card, enforce_slacks_limits, pass_time, poll, thread, until, watching
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, World

AGAIN = ("cluster-1", "instance-1", "remediation-2")

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
DELETES = "REMEDIATION_MODE_VM_ONLY"
AUTO: dict[str, Any] = {"reviewed_by": "Auto-Approved", "review_comment": "auto-approved: approved", "state": "PENDING"}
CALL = "<!subteam^S0ONCALL>"


def begin(bot: World, count: int, **fields: str) -> list[Ids]:
    """Start `count` automatic repairs."""
    return [
        bot.together.add(("cluster-1", f"instance-{number}", f"auto-{number:03d}-"), **{**AUTO, **fields})
        for number in range(count)
    ]


def posted(bot: World) -> list[Posted]:
    """What the bot has posted in the channel."""
    return [message for message in bot.slack.visible() if message.thread_ts is None]


async def test_automatic_repair_has_a_card_that_calls_nobody_and_can_be_cancelled(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO, requested_by="Together Health Checker")
    alert = await card(bot, words="Started automatically: reboot")
    assert "Started automatically by Together Health Checker: nobody was asked." in alert.text
    assert CALL not in alert.everything
    assert list(alert.buttons) == [CANCEL]
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED"}
    await card(bot, words="Rebooted")
    assert "before the bot saw it" not in alert.text
    assert thread(bot, alert)
    assert posted(bot) == [alert]


async def test_card_of_an_automatic_repair_does_not_promise_the_wait_of_an_approved_one(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO)
    alert = await card(bot, words="Started automatically: reboot")
    assert "or after the cluster's wait (30 min or none unless set)" in alert.text


async def test_automatic_repair_is_nowhere_said_to_be_approved(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO, review_time="2026-11-24T03:00:00Z")
    alert = await card(bot, words="Started automatically: reboot")
    assert "This repair started automatically." in alert.buttons[CANCEL]["confirm"]["text"]["text"]
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": "2026-11-24T03:01:00Z"}
    shown = alert.everything
    await card(bot, words="Rebooting")
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": "2026-11-24T03:09:00Z"}
    await card(bot, words="Rebooted")
    assert "Reboot started. 🔧" in " ".join(thread(bot, alert))
    assert "approv" not in f"{shown} {alert.everything} {thread(bot, alert)}".casefold()


async def test_automatic_repair_that_deletes_data_or_fails_calls_on_call(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO, mode=DELETES)
    alert = await card(bot, words=f"On call: {CALL}")
    pushed = alert.text.splitlines()[0]
    assert pushed.endswith("Started automatically: quick reprovision 🕓 Deletes local data."), "why it calls"
    bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: [line for line in thread(bot, alert) if CALL in line])


async def test_automatic_repair_that_is_gone_once_its_channel_opens_calls_nobody(bot: World) -> None:
    await began(bot)
    bot.slack.channels[CHANNEL].is_archived = True
    bot.together.add(**AUTO, mode=DELETES)
    await pass_time(bot, 60)
    del bot.together.remediations[IDS]
    await pass_time(bot, 300)
    bot.slack.channels[CHANNEL].is_archived = False
    await pass_time(bot, 700)
    (alert,) = posted(bot)
    assert "No longer listed" in alert.text
    assert CALL not in alert.everything + " ".join(thread(bot, alert))
    assert "Deletes local data." not in alert.text.splitlines()[0]


async def test_card_that_is_posted_again_for_a_line_calls_nobody_for_the_repair_again(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO, mode=DELETES)
    alert = await card(bot, words=f"On call: {CALL}")
    bot.together.faults.append(Fault("cut", verb="cancel"))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="taken effect")
    bot.slack.messages.remove(alert)
    await pass_time(bot, 90)
    again = await card(bot)
    await until(bot, lambda: "hasn't taken effect" in "".join(thread(bot, again)))
    assert CALL not in again.everything + "".join(thread(bot, again))


async def test_cancel_of_an_automatic_repair_says_whose_it_is(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO)
    alert = await card(bot)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled by <@U0ALICE>")
    assert posted(bot) == [alert]


@pytest.mark.parametrize(("by", "words"), [
    ({"reviewed_by": "eve@example.com", "review_time": "2026-11-24T03:00:00Z"}, "Approved by eve@example.com in"),
    ({"trigger": "REMEDIATION_TRIGGER_MANUAL", "requested_by": "eve@example.com"}, "Requested by eve@example.com."),
])  # fmt: skip
async def test_what_somebody_began_in_together_has_a_card_that_calls_nobody(
    bot: World, by: dict[str, Any], words: str
) -> None:
    await began(bot)
    bot.together.add(state="PENDING", mode=DELETES, **by)
    alert = await card(bot, words=words)
    assert "automatic" not in alert.text
    assert CALL not in alert.everything


async def test_many_at_once_are_one_digest_that_buries_no_decision(bot: World) -> None:
    await began(bot)
    begin(bot, 8)
    waiting = storm(bot, 1, start=100)
    digests = await until(bot, bot.slack.digests)
    await card(bot, waiting[0], words="Approve reboot?")
    (digest,) = digests
    assert "8 nodes of cluster-1 (H100) in repair, started automatically" in digest.text
    assert digest.buttons == {}
    for ids in list(bot.together.remediations):
        if ids != waiting[0]:
            bot.together.remediations[ids]["state"] = "SUCCEEDED"
    await until(bot, lambda: "Over: 8 nodes of cluster-1 (H100) repaired, started automatically" in digest.text)
    assert len(posted(bot)) == 2


async def test_what_runs_when_the_bot_first_starts_is_one_message() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        begin(bot, 3, mode=DELETES)
        (digest,) = await until(bot, bot.slack.digests)
        assert "in repair, since before monitoring started" in digest.text
        assert CALL not in digest.everything
        await pass_time(bot, 300)
        assert posted(bot) == [digest]


async def test_what_runs_in_several_clusters_at_the_first_start_is_one_message() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        for cluster in ("cluster-1", "cluster-2"):
            bot.together.add((cluster, "instance-1", f"auto-{cluster}-"), **{**AUTO, "mode": DELETES})
        (digest,) = await until(bot, bot.slack.digests)
        await pass_time(bot, 900)
        assert posted(bot) == [digest]
        assert "2 nodes in repair, since before monitoring started" in digest.text


async def test_approval_through_this_bot_makes_no_second_card(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await pass_time(bot, 120)
    assert [message for message in posted(bot) if message is not alert] == []


@pytest.mark.parametrize(("told", "modes"), [("destructive", [DELETES]), ("none", [])])
async def test_setting_says_which_are_told(told: str, modes: list[str]) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_AUTOMATIC_REPAIRS=told) as bot:
        await began(bot)
        bot.together.add(**AUTO)
        bot.together.add(("cluster-1", "instance-2", "remediation-2"), **AUTO, mode=DELETES)
        await pass_time(bot, 120)
        assert len(posted(bot)) == len(modes)
        bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host"}
        await pass_time(bot, 120)
        failed = [message for message in posted(bot) if "Failed: reboot" in message.text]
        assert len(failed) == (1 if modes else 0)


async def test_it_is_told_once_over_a_change_of_the_watch(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO)
    alert = await card(bot)
    await kill_the_watch(bot)
    async with bot.another():
        await pass_time(bot, 200)
        assert posted(bot) == [alert]


async def test_digest_of_what_did_not_succeed_claims_no_success(bot: World) -> None:
    await began(bot)
    ids = begin(bot, 6)
    (digest,) = await until(bot, bot.slack.digests)
    for each, state in zip(ids, ("FAILED", "CANCELLED", *["SUCCEEDED"] * 4), strict=True):
        bot.together.remediations[each]["state"] = state
    words = "Over: 6 nodes of cluster-1 (H100) no longer in repair, started automatically"
    await until(bot, lambda: words in digest.text)


async def test_what_waits_again_in_a_digest_can_be_decided_there(bot: World) -> None:
    await began(bot)
    ids = begin(bot, 6)
    (digest,) = await until(bot, bot.slack.digests)
    again = {"state": "PENDING_APPROVAL", "reviewed_by": "", "review_comment": ""}
    bot.together.remediations[ids[0]] |= again
    await until(bot, lambda: "needs a decision" in digest.text and digest.buttons)


def test_words_of_a_person_make_nothing_automatic() -> None:
    one = Remediation(
        id="r", cluster_id="c", instance_id="i", mode=DELETES, trigger="REMEDIATION_TRIGGER_AUTOMATED", state="PENDING"
    )
    comment = "This one was not auto-approved, so I approve it."
    by = {"reviewed_by": "eve@example.com", "review_comment": comment}
    assert one.is_automatic
    assert not one.model_copy(update=by).is_automatic
    assert not one.model_copy(update={"review_comment": comment}).is_automatic
    assert one.model_copy(update={"review_comment": "auto-approved: approved"}).is_automatic


async def watched_for_a_while(bot: World) -> None:
    await began(bot)
    await pass_time(bot, 120)


def ran(bot: World, state: str = "SUCCEEDED", minutes: float = 1.0, **fields: Any) -> Ids:
    """Let a repair have begun and ended since the last list."""
    times = [datetime.fromtimestamp(bot.time.now() - 60 * minutes + more, UTC).isoformat() for more in (0, 20)]
    bot.together.add(**{**AUTO, **fields, "state": state, "create_time": times[0], "end_time": times[1]})
    return IDS


async def test_repair_that_ran_between_two_polls_is_told_quietly_once(bot: World) -> None:
    await watched_for_a_while(bot)
    ran(bot, mode=DELETES, linked_alerts=[{"alert_name": "DmesgXidError"}])
    alert = await until(bot, lambda: next(iter(posted(bot)), None), 700)
    title, rest = alert.text.splitlines()
    assert title == "instance-1 (cluster-1 (H100)): Reprovisioned ✅"
    assert rest.startswith("Started automatically by Together: nobody was asked. Ended <!date^")
    assert "Was: DmesgXidError" in rest
    assert CALL not in alert.everything
    assert (alert.buttons, len(alert.blocks)) == ({}, 1)
    await pass_time(bot, 2 * 3600)
    assert (posted(bot), thread(bot, alert)) == ([alert], [])
    await pass_time(bot, 21.5 * 3600)
    assert "Lasted 24 h" not in alert.text
    await until(bot, lambda: "Lasted 24 h" in alert.text, 3600)


async def test_failure_between_two_polls_calls_on_call(bot: World) -> None:
    await watched_for_a_while(bot)
    ran(bot, "FAILED", error_message="no host")
    alert = await until(bot, lambda: next(iter(posted(bot)), None), 700)
    assert "Failed: reboot" in alert.text
    await until(bot, lambda: [line for line in thread(bot, alert) if f"{CALL}, Reboot failed on instance-1" in line])


async def test_what_ran_while_the_bot_was_down_is_told_and_what_ran_before_its_first_start_is_not() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        seen = [await card(bot, ("cluster-1", "instance-2", "remediation-2"))]
        await bot.settle()
        ran(bot)
        async with bot.another():
            await until(bot, lambda: posted(bot) != seen, 1300)
    async with watching() as bot:
        ran(bot)
        await pass_time(bot, 1300)
        assert posted(bot) == []


@pytest.mark.parametrize("fields", [
    {"state": "CANCELLED"}, {"state": "AUTO_RESOLVED"}, {"minutes": 60.0},
    {"review_comment": "[0123abcd] Approved in Slack by alice (U0ALICE)"},
])  # fmt: skip
async def test_nothing_is_told_of_what_never_ran_is_old_or_was_approved_here(
    bot: World, fields: dict[str, Any]
) -> None:
    await watched_for_a_while(bot)
    ran(bot, **fields)
    await pass_time(bot, 1300)
    assert posted(bot) == []


async def test_other_tools_are_told_once_of_what_ran_between_two_polls_and_has_no_message() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            await watched_for_a_while(bot)
            ran(bot, review_comment="[0123abcd] Approved in Slack by alice (U0ALICE)")
            await pass_time(bot, 2000)
            assert [event["type"].rpartition(".")[2] for event in webhook.events] == ["succeeded"]
            assert posted(bot) == []


async def test_failure_of_what_waited_while_slack_took_no_card_calls_on_call(bot: World) -> None:
    await began(bot)
    refused = SlackFault("chat.postMessage", "fatal_error", times=10_000)
    bot.slack.faults.append(refused)
    bot.together.add()
    await pass_time(bot, 120)
    bot.together.remediations[IDS] |= {**AUTO, "state": "FAILED", "error_message": "no host"}
    await pass_time(bot, 120)
    bot.slack.faults.remove(refused)
    alert = await until(bot, lambda: next(iter(posted(bot)), None), 700)
    assert "Failed: reboot" in alert.text
    await until(bot, lambda: [line for line in thread(bot, alert) if f"{CALL}, Reboot failed on instance-1" in line])


async def test_other_tools_are_told_the_end_of_what_began_while_slack_took_no_card() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            await began(bot)
            refused = SlackFault("chat.postMessage", "fatal_error", times=10_000)
            bot.slack.faults.append(refused)
            bot.together.add()
            await pass_time(bot, 60)
            bot.together.review(IDS, "approve")
            await pass_time(bot, 25)
            bot.together.review(IDS, "cancel")
            await pass_time(bot, 120)
            assert webhook.of(IDS[2]) == ["opened", "decided", "resolved"]


async def test_many_that_ran_between_two_polls_are_one_message(bot: World) -> None:
    await began(bot)
    ended = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
    begin(bot, 8, state="SUCCEEDED", end_time=ended)
    await pass_time(bot, 700)
    assert len(posted(bot)) == 1


async def test_setting_keeps_what_ran_between_two_polls_quiet() -> None:
    async with watching(BOT_AUTOMATIC_REPAIRS="none") as bot:
        await watched_for_a_while(bot)
        ran(bot, mode=DELETES)
        await pass_time(bot, 1300)
        assert posted(bot) == []


async def test_thousand_automatic_repairs_at_once_stay_within_slacks_limits(bot: World) -> None:
    enforce_slacks_limits(bot)
    await began(bot)
    begin(bot, 1000, mode=DELETES)
    (digest,) = await until(bot, bot.slack.digests, 300)
    assert "1000 nodes of cluster-1 (H100) in repair, started automatically" in digest.text
    assert sum(CALL in str(call) for method, call in bot.slack.calls if method == "chat.postMessage") == 1
    for value in bot.together.remediations.values():
        value["state"] = "SUCCEEDED"
    await until(bot, lambda: "Over: 1000 nodes" in digest.text, 300)
    assert posted(bot) == [digest]


@pytest.mark.parametrize(("told", "code"), [("destructive", "79"), ("destructive", "31"), ("all", "31")])
async def test_alert_that_fires_after_a_repair_that_ran_between_two_polls_calls(told: str, code: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_AUTOMATIC_REPAIRS=told) as bot:
        await watched_for_a_while(bot)
        ran(bot, linked_alerts=firing("79"))
        await pass_time(bot, 700)
        before = posted(bot)
        assert len(before) == (told == "all")
        bot.together.fire("a-1", "cluster-1", "instance-1", annotation=firing(code)[0]["annotation"])
        await pass_time(bot, 1200)
        (alert,) = [message for message in posted(bot) if message not in before]
        assert CALL in alert.everything


async def test_repair_of_a_node_that_is_being_repaired_is_not_called_the_first(bot: World) -> None:
    await began(bot)
    mode = "REMEDIATION_MODE_VM_ONLY"
    bot.together.add(AGAIN, **{**AUTO, "state": "RUNNING"}, mode=mode, start_time=moment(bot))
    await card(bot, AGAIN, words="Reprovisioning")
    await pass_time(bot, 60)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    assert "First repair here in 7 days" not in alert.text


@pytest.mark.parametrize("behind", [10, 30, 55])
async def test_who_cancelled_an_automatic_repair_stays_on_its_card_where_clocks_differ(bot: World, behind: int) -> None:
    """Together's clock is behind the database's by less than a minute, which the bot reckons with elsewhere."""
    await began(bot)
    bot.together.add(**AUTO, create_time=moment(bot, -behind))
    alert = await card(bot, words="Started automatically: reboot")
    await pass_time(bot, 5)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled by <@U0ALICE>")
    bot.together.remediations[IDS]["end_time"] = bot.together.remediations[IDS]["update_time"] = moment(bot, -behind)
    await pass_time(bot, 120)
    assert "before the bot saw it" not in alert.text
    assert "Cancelled by <@U0ALICE>" in alert.text


async def test_failure_that_the_bot_saw_is_not_said_to_be_from_before_it_saw_it(bot: World) -> None:
    await began(bot)
    bot.together.add(**AUTO, create_time=moment(bot, -55))
    alert = await card(bot, words="Started automatically: reboot")
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot, -55)}
    await card(bot, words="Rebooting")
    bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot, -55), "error_message": "no host"}
    await card(bot, words="Failed: reboot")
    await pass_time(bot, 60)
    assert "before the bot saw it" not in alert.text
    assert cards.MORE in alert.controls  # with "Copy for Together support"


async def test_who_asked_to_wait_is_not_told_that_somebody_approved_what_together_began(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="14400")
    await pass_time(bot, 300)
    review = {"reviewed_by": "Auto-Approved", "review_time": moment(bot)}
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot), **review}
    await poll(bot)
    assert "Decided by: automatic 1." in await asked(bot, "tonight")
    assert "approved in Together" not in " ".join(thread(bot, alert))


@pytest.mark.parametrize("polls", ["3600", "60"])
async def test_automatic_repair_that_began_and_failed_between_two_readings_is_told(polls: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_POLL_SECONDS=polls) as bot:
        await began(bot)
        await pass_time(bot, 3660, longest=60)
        await pass_time(bot, 300, longest=60)
        begun = {"review_time": moment(bot), "start_time": moment(bot), "create_time": moment(bot)}
        bot.together.add(**AUTO | begun | {"state": "RUNNING"}, trigger="REMEDIATION_TRIGGER_AUTOMATED")
        bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host", "end_time": moment(bot)}
        await pass_time(bot, 3 * 3600, longest=60)
        assert "Failed" in str([message.text for message in bot.slack.visible()])


@pytest.mark.parametrize(
    ("reviewed_by", "comment"),
    [
        ("AUTO_APPROVED", "auto_approved: approved"),
        ("auto-approval", "auto-approval: approved"),
        ("Auto-approver", "approved by policy"),
        ("Automatically approved", ""),
    ],
)
async def test_automatic_repair_that_deletes_data_calls_however_together_spells_it(
    bot: World, reviewed_by: str, comment: str
) -> None:
    await began(bot)
    bot.together.add(state="PENDING", mode="REMEDIATION_MODE_VM_ONLY", reviewed_by=reviewed_by, review_comment=comment)
    assert "<!subteam^S0ONCALL>" in (await card(bot)).text
