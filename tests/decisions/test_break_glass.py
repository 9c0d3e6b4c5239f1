"""Approving alone: who may, what it says, and what it can't pass."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from bot import cards
from bot.models import Mode
from bot.store.tables import audit
from tests.deaths import died_while, free_the_lease
from tests.rows import execute_beside, outcomes, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began
from tests.test_flow_menu import opened
from tests.watch import card, pass_time, poll, thread, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, REFRESH, World

MORE, CALL = cards.MORE, "<!subteam^S0ONCALL>"
TWO = Mode.REBOOT_VM.value.removeprefix("REMEDIATION_MODE_")
ALONE: dict[str, Any] = {"drain_seconds": 0.2, "BOT_BREAK_GLASS": "U0ALICE", "BOT_TWO_PEOPLE_MODES": TWO}
pytestmark = pytest.mark.bot(
    watching=True, BOT_BREAK_GLASS="U0ALICE,U0CAROL", BOT_TWO_PEOPLE_MODES=TWO, BOT_MAX_IN_REPAIR="1",
    BOT_ONCALL="S0ONCALL",
)  # fmt: skip


async def approve_alone(bot: World, alert: Posted, *, user: str = "U0ALICE", reason: str = "bob is away") -> None:
    view = await opened(bot, alert, cards.ALONE, user)
    assert "Without asking the two-person rule or the repair limit." in str(view["blocks"])
    await bot.slack.submit(view, user=user, reason=reason)


async def test_warning_is_in_red_where_slack_has_that_and_in_bold_where_it_does_not(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    assert [(block["type"], block["level"]) for block in view["blocks"][:1]] == [("alert", "error")]
    bot.slack.is_new = False
    bot.slack.views.clear()
    view = await opened(bot, alert, cards.ALONE)
    (said,) = view["blocks"][0]["elements"][0]["elements"]
    assert said["style"] == {"bold": True}
    assert said["text"].startswith("Without asking the two-person rule or the repair limit.")


async def test_one_person_approves_over_both_rules_and_on_call_learns_why(bot: World) -> None:
    busy = bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    assert bot.together.state(busy) == "RUNNING"
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone, without asking the two-person rule or the repair limit.")
    assert bot.together.state(IDS) == "PENDING"
    assert "“bob is away”" in alert.text
    told = await until(bot, lambda: [line for line in thread(bot, alert) if "chose to approve alone" in line])
    who = "gpu-node-7: <@U0ALICE> chose to approve alone"
    assert told == [f"{who}, without asking {cards.labels.RULES_PASSED}: “bob is away” {CALL}"]
    rows = select(audit.c.event, audit.c.user_id, audit.c.remediation_id, audit.c.reason).where(
        audit.c.event.in_(["override", "send"])
    )
    assert [row["event"] for row in await execute_beside(bot, rows.order_by(audit.c.seq))] == ["override", "send"]
    assert (await execute_beside(bot, rows.order_by(audit.c.seq)))[0]["reason"] == "bob is away"


async def test_operator_who_is_not_listed_approves_nothing_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await approve_alone(bot, alert, user="U0BOB")
    told = (await bot.reply_privately("U0BOB")).text
    assert "You can't approve alone: you aren't in BOT_BREAK_GLASS." in told
    assert "Ask <@U0ALICE> or <@U0CAROL>." in told
    assert bot.together.posts == []
    assert await outcomes_by_user(bot) == [("U0BOB", "not_allowed")]


async def test_nobody_approves_alone_once_a_restart_has_taken_that_right_from_all(database_url: str) -> None:
    async with watching(database=database_url, **ALONE) as bot:
        bot.together.add()
        view = await opened(bot, await card(bot), cards.ALONE)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_break_glass": ()})):
            await bot.slack.submit(view, reason="bob is away")
            assert "Nobody can approve alone here." in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_it_adds_no_right_to_decide(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, MORE, choice=cards.ALONE, user="U0CAROL")  # listed, but no operator
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert not bot.slack.views
    assert bot.together.posts == []


async def test_reason_is_needed(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    ack = await bot.slack.submit(view, reason="   ")
    assert "Type a reason first." in ack.body
    assert bot.together.posts == []


async def test_pause_holds_for_who_approves_alone_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, "approvals:pause", user="U0BOB", button={"type": "button", "text": "", "value": "*"})
    await until(bot, lambda: "Approvals are paused" in alert.text)
    await approve_alone(bot, alert)
    assert "<@U0BOB> paused approvals until" in (await bot.reply_privately()).text
    assert bot.together.posts == []


async def test_usual_approval_is_the_first_of_two_still(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="1 of 2 approvals")
    assert bot.together.posts == []


async def test_what_has_changed_since_is_not_approved_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await bot.slack.submit(view, reason="bob is away")
    await card(bot, words="approval wasn't sent: the repair changed from “Reboot” to “Quick reprovision”")
    assert bot.together.posts == []


@pytest.mark.bot(BOT_BREAK_GLASS="")
async def test_menu_has_it_only_where_somebody_may(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert cards.ALONE not in [option["value"] for option in alert.controls[MORE]["options"]]


async def test_acked_override_is_made_by_the_next_process_which_asks_again_whether_they_may(database_url: str) -> None:
    async with watching(database=database_url, **ALONE) as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, cards.ALONE)
        with bot.together.paused("get"):
            await bot.slack.submit(view, reason="bob is away")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_break_glass": ("U0DAVE",)})):
            told = (await bot.reply_privately()).text
            assert "you aren't in BOT_BREAK_GLASS" in told
            assert bot.together.posts == []


def told_alone(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if "chose to approve alone" in line]


async def test_stale_dialog_after_cancelling_says_approved_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled by <@U0ALICE>")
    await bot.slack.submit(view, reason="bob is away")
    await pass_time(bot, 120)
    assert "approve" not in [call.verb for call in bot.together.posts]
    assert told_alone(bot, alert) == []


async def test_stale_dialog_after_a_usual_second_approval_says_approved_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await card(bot, words="1 of 2 approvals")
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    await bot.slack.submit(view, reason="bob is away")
    await pass_time(bot, 120)
    rows = select(audit.c.event).where(audit.c.event == "override")
    assert await execute_beside(bot, rows) == []
    assert told_alone(bot, alert) == []


async def test_doubtful_post_that_arrived_is_told(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    bot.together.faults.append(Fault("cut", verb="approve", after=True))
    with bot.together.paused("approve"):
        await bot.slack.submit(view, reason="bob is away")
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        bot.together.faults.append(Fault("rpc", verb="get", times=-1, code=13))
        bot.together.faults.append(Fault("rpc", verb="list", times=-1, code=13))
    for _ in range(20):
        await pass_time(bot, 5)
        if (await outcomes(bot))[-1:] != [None] and await outcomes(bot):
            break
    bot.together.faults.clear()
    await until(bot, lambda: "Approved" in alert.text, 300)
    await pass_time(bot, 120)
    assert bot.together.state(IDS) == "PENDING"
    assert len(told_alone(bot, alert)) == 1


async def test_first_of_two_then_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await card(bot, words="1 of 2 approvals")
    view = await opened(bot, alert, cards.ALONE)
    await bot.slack.submit(view, reason="bob is away")
    await pass_time(bot, 120)
    assert not ("<@U0BOB> and" in alert.everything and "approved alone" in " ".join(thread(bot, alert)))
    assert len(told_alone(bot, alert)) == 1
    assert "<@U0BOB>" not in alert.everything


async def test_first_of_two_counts_still_where_together_refuses_who_approves_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await card(bot, words="1 of 2 approvals")
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    await approve_alone(bot, alert)
    await until(bot, lambda: any("can't do that" in line for line in thread(bot, alert)))
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: "Approved by <@U0BOB> and <@U0ALICE>" in alert.everything)


@pytest.mark.bot(BOT_QUIET_HOURS="00:00-05:00 UTC")
async def test_on_call_is_called_in_quiet_hours(bot: World) -> None:
    bot.together.add(linked_alerts=[{"severity": "PHC_SEVERITY_WARNING", "annotation": {"title": "x"}}])
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    await bot.slack.submit(view, reason="bob is away")
    told = await until(bot, lambda: told_alone(bot, alert))
    assert "<!subteam^S0ONCALL>" in told[0]


async def test_nobody_is_called_for_what_is_over_once_slack_takes_that_somebody_approved_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(refused)
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone")
    bot.together.remediations[IDS]["state"] = "SUCCEEDED"
    await card(bot, words="Rebooted")
    bot.slack.faults.remove(refused)
    (told,) = await until(bot, lambda: told_alone(bot, alert), 1200)
    assert told.startswith("instance-1: <@U0ALICE> chose to approve alone")
    assert CALL not in told


@pytest.mark.parametrize("was_approved", [True, False])
async def test_nobody_is_called_for_who_approved_alone_once_it_has_ended_and_waits_again(
    bot: World, *, was_approved: bool
) -> None:
    bot.together.add(create_time=moment(bot))
    alert = await card(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(refused)
    if not was_approved:
        bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "cancel")
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone" if was_approved else "Cancelled")
    bot.together.on_call.clear()
    if was_approved:
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled")
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot))
    await card(bot, words="Approve reboot?")
    bot.slack.faults.remove(refused)
    (told,) = await until(bot, lambda: told_alone(bot, alert), 1200)
    assert told.endswith("“bob is away”"), "on-call is called for what waits now, by a separate line"


async def test_on_call_is_called_for_who_approved_alone_where_together_goes_on_with_what_was_cancelled(
    bot: World,
) -> None:
    bot.together.add(create_time=moment(bot))
    alert = await card(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(refused)
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone")
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.slack.faults.remove(refused)
    (told,) = await until(bot, lambda: told_alone(bot, alert), 1200)
    assert told.endswith(f"“bob is away” {CALL}")


async def test_who_approved_alone_twice_while_slack_took_nothing_is_told_of_both(bot: World) -> None:
    bot.together.add(create_time=moment(bot))
    alert = await card(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(refused)
    await approve_alone(bot, alert, reason="bob is away")
    await card(bot, words="Approved alone")
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await card(bot, words="Rebooted")
    await pass_time(bot, 3600)
    bot.together.add(create_time=moment(bot))
    await card(bot, words="Approve reboot?")
    await poll(bot)
    await approve_alone(bot, alert, reason="and still is")
    await card(bot, words="Approved alone")
    bot.slack.faults.remove(refused)
    first, second = await until(bot, lambda: told_alone(bot, alert)[1:] and told_alone(bot, alert), 1200)
    assert first.endswith("“bob is away”")
    assert second.endswith(f"“and still is” {CALL}")


async def test_second_person_who_approves_alone_since_together_refused_the_first_hides_nobody(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    refused = SlackFault("chat.postMessage", "internal_error", times=-1)
    bot.slack.faults.append(refused)
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    await approve_alone(bot, alert, reason="bob is away")
    await bot.together.until(lambda: len(bot.together.posts) == 1)
    await until(bot, lambda: APPROVE in alert.controls)
    await approve_alone(bot, alert, reason="and still is")
    await card(bot, words="Approved alone")
    bot.slack.faults.remove(refused)
    first, second = await until(bot, lambda: told_alone(bot, alert)[1:] and told_alone(bot, alert), 1200)
    assert "“bob is away”" in first
    assert second.endswith(f"“and still is” {CALL}")


async def test_approval_alone_that_the_thread_may_have_is_not_told_twice_where_another_replaces_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    await approve_alone(bot, alert, reason="bob is away")
    await bot.slack.until(lambda: thread(bot, alert))
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", after=True))
    await until(bot, lambda: told_alone(bot, alert))
    await approve_alone(bot, alert, reason="and still is")
    await card(bot, words="Approved alone")
    await pass_time(bot, 120)
    first, second = told_alone(bot, alert)
    assert "“bob is away”" in first
    assert second.endswith(f"“and still is” {CALL}")


async def test_deleted_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    bot.slack.messages.remove(alert)
    await bot.slack.submit(view, reason="bob is away")
    await pass_time(bot, 300)
    assert bot.together.state(IDS) != "PENDING_APPROVAL"
    assert any(
        "chose to approve alone" in message.text and "S0ONCALL" in message.text for message in bot.slack.messages
    )


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="")
async def test_not_posted_yet_and_approved_alone_in_home(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=40))
    bot.together.add()
    await poll(bot)
    await bot.slack.open_home("U0ALICE")
    await bot.slack.until(lambda: IDS[2] in json.dumps(bot.slack.homes.get("U0ALICE", {})))
    bot.slack.views.clear()
    await bot.slack.press_home(MORE, about=IDS[2], choice=cards.ALONE)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view, reason="bob is away")
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")
    bot.slack.faults.clear()
    await pass_time(bot, 600)
    assert any(
        "chose to approve alone" in message.text and "S0ONCALL" in message.text for message in bot.slack.messages
    )


async def test_on_call_of_now_is_told(database_url: str) -> None:
    async with watching(database=database_url, **ALONE, BOT_ONCALL="S0OLD") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_oncall": "S0NEW"})):
            view = await opened(bot, alert, cards.ALONE)
            await bot.slack.submit(view, reason="bob is away")
            told = await until(bot, lambda: told_alone(bot, alert))
            assert "S0NEW" in told[0]


@pytest.mark.bot(watching=False, BOT_ONCALL="")
async def test_what_the_bot_does_not_track_is_not_approved_alone(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert, 1)
    assert cards.ALONE not in json.dumps(alert.blocks)


async def test_two_dialogs_are_told_once(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    one, two = await opened(bot, alert, cards.ALONE), await opened(bot, alert, cards.ALONE)
    await bot.slack.submit(one, reason="bob is away")
    await until(bot, lambda: told_alone(bot, alert))
    await bot.slack.submit(two, reason="again")
    await pass_time(bot, 120)
    assert len(bot.together.posts) == 1
    assert len(told_alone(bot, alert)) == 1


async def test_person_who_may_no_longer_is_no_approver_of_what_was_approved_alone(database_url: str) -> None:
    async with watching(database=database_url, **ALONE, BOT_ONCALL="S0OLD") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="1 of 2 approvals")
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_operators": ("U0ALICE",)})):
            view = await opened(bot, alert, cards.ALONE)
            await bot.slack.submit(view, reason="bob has left")
            await until(bot, lambda: told_alone(bot, alert))
            await pass_time(bot, 60)
            assert "<@U0BOB> and" not in alert.text


async def test_rules_that_did_not_apply_were_not_passed_over(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_VM_ONLY")  # needs one person, and nothing else is in repair
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    await bot.slack.submit(view, reason="bob is away")
    told = await until(bot, lambda: told_alone(bot, alert))
    assert "over the two-person rule and the repair limit" not in told[0]
    assert f"without asking {cards.labels.RULES_PASSED}" in told[0]  # true of a rule that would have let it pass too


async def test_process_that_lost_the_job_adds_no_override(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    with bot.together.paused("get"):
        await bot.slack.submit(view, reason="bob is away")
        await bot.together.until(lambda: bot.together.is_waiting("get"))
        async with died_while(bot, at="claimed"):
            pass
    bot.app.tasks.limit = 100
    for _ in range(20):
        await pass_time(bot, 30)
    rows = await execute_beside(bot, select(audit.c.event).order_by(audit.c.seq))
    events = [row["event"] for row in rows]
    assert events.count("override") == events.count("send")


async def test_approval_alone_whose_answer_is_lost_names_nobody_else() -> None:

    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_BREAK_GLASS="U0ALICE") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="1 of 2 approvals")
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        with bot.together.paused("approve"):
            await approve_alone(bot, alert)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.together.faults += [Fault("rpc", verb=verb, times=-1, code=13) for verb in ("get", "list")]
        await card(bot, words="may have gone through")
        bot.together.faults.clear()
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "and <@U0ALICE>" not in alert.text, alert.text


async def test_approval_alone_with_a_clear_answer() -> None:

    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_BREAK_GLASS="U0ALICE") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="1 of 2 approvals")
        await approve_alone(bot, alert)
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "and <@U0ALICE>" not in alert.text, alert.text
