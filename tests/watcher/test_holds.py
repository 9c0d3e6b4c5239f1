"""Holds: who may, how long, and what ends them."""

import json

import pytest

from bot import cards
from bot.clock import WaitReason
from tests.deaths import free_the_lease
from tests.manual_clock import ON_THE_WAY
from tests.proxy import line_to
from tests.rows import column, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.test_flow_menu import opened
from tests.test_flow_second_requests import two_nodes
from tests.watch import HOLD, LOOKING, card, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, OTHER, REF, REFRESH, World

BOT = f"<@{BOT_USER}>"

pytestmark = pytest.mark.bot(watching=True)


async def test_hold_is_shown_to_everyone_and_expires(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "On hold until" in alert.text
    assert "by <@U0ALICE>" in alert.text
    assert bot.together.posts == []
    await pass_time(bot, 29 * 60)
    assert "On hold until" in alert.text
    assert [line for line in thread(bot, alert) if "has been waiting" in line] == []
    await pass_time(bot, 70)
    assert "On hold" not in alert.text
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD, LOOKING]


async def test_decision_ends_a_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert, 2)
    assert "hold" not in alert.text.lower()
    await poll(bot)
    assert "hold" not in alert.text.lower()


async def test_hold_that_is_read_before_a_decision_begins_draws_no_buttons(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("cancel"):
        with bot.together.paused("get"):
            await bot.slack.press(alert, HOLD, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.slack.command(REF, channel="C0OTHER")
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
        await bot.slack.until(lambda: "On hold until" in alert.text)
        assert "<@U0ALICE> has been cancelling this since" in alert.text
        assert list(alert.buttons) == [REFRESH]
    await card(bot, words="Cancelled: reboot")


async def test_only_operators_may_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0CAROL")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert alert.edits == 0


async def test_decided_remediation_cannot_be_held(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "Too late to hold: it's already “Queued”." in alert.text or "Not held" in alert.text


async def test_untracked_remediation_cannot_be_held(bot: World) -> None:
    bot.together.add(OTHER, state="PENDING_APPROVAL")
    await card(bot, OTHER)
    bot.together.add()
    with bot.together.paused("list"):
        alert = bot.alert()
        alert.blocks[1]["elements"][0]["action_id"] = HOLD
        await bot.slack.press(alert, HOLD)
        assert "doesn't track this remediation, so it can't be put on hold" in (await bot.reply_privately()).text


@pytest.mark.parametrize("how", ["cancel", "approve"])
async def test_hold_that_read_before_a_decision_does_not_restore_its_buttons(bot: World, how: str) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("get answered"):
        await bot.slack.press(alert, HOLD)
        await bot.together.until(lambda: bot.together.is_waiting("get answered"))
        bot.together.review(IDS, how)
        with bot.together.open_for_others("get answered"):
            await card(bot, words="Cancelled: reboot" if how == "cancel" else "Approved, queued")
            await pass_time(bot, 20)
    await until(bot, lambda: APPROVE not in alert.buttons)
    assert ("Cancelled" if how == "cancel" else "Approved") in alert.text


async def test_late_answer_to_a_hold_does_not_cover_a_newer_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.slack.paused("chat.update"):
        await bot.slack.press(alert, HOLD)
        await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
        bot.together.review(IDS, "cancel")
        with bot.slack.open_for_others("chat.update"):
            await card(bot, words="Cancelled: reboot")
            await pass_time(bot, 30)
    await until(bot, lambda: "Cancelled: reboot" in alert.text and not alert.buttons)
    await pass_time(bot, 60)
    assert alert.buttons == {}


async def test_hold_is_answered_though_the_database_goes_away_once_it_is_written(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.time.follower = None  # its connection is cut too
        with bot.together.paused("get"):
            await bot.slack.press(alert, HOLD)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await quiet(bot)
            bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
            line.cut_after = b"SELECT decisions.user_id, decisions.verb"
        await bot.time.until_paused(WaitReason.RETRY)
        line.is_down = False
        await until(bot, lambda: "On hold until" in alert.text, 30)
        assert await column(bot, "outcome") == "held"


async def hold(bot: World, alert: Posted, choice: str, user: str = "U0ALICE") -> None:
    """Choose in the menu of a card, and wait until the card shows it."""
    edits = alert.edits
    await bot.slack.press(alert, HOLD, choice=choice, user=user)
    await bot.edited(alert, edits + 1)


async def test_menu_holds_for_as_long_as_was_chosen(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold(bot, alert, "14400")
    await pass_time(bot, 14400 - 180)
    assert "On hold until" in alert.text
    assert [line for line in thread(bot, alert) if "ends in 2 min" in line] == []
    await pass_time(bot, 70)
    (line,) = [line for line in thread(bot, alert) if "ends in 2 min" in line]
    assert line.startswith("instance-1: <@U0ALICE>, your hold ends in 2 min.")
    await pass_time(bot, 120)
    assert "On hold" not in alert.text
    assert [line for line in thread(bot, alert) if "has been waiting" in line] == []


async def test_person_is_told_how_long_their_hold_lasts_yet(bot: World) -> None:
    bot.together.add(instance_name="gpu-1")
    alert = await card(bot)
    await bot.slack.say("<@U0BOT> hold 1m gpu-1", user="U0ALICE")
    await bot.slack.say("<@U0BOT> hold 5m gpu-1", user="U0BOB")
    await until(bot, lambda: len([line for line in thread(bot, alert) if "put this on hold" in line]) == 2)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", times=-1))
    await pass_time(bot, 230)
    bot.slack.faults.clear()
    await pass_time(bot, 60)
    (told,) = [line for line in thread(bot, alert) if "your hold ends" in line]
    assert told.startswith("gpu-1: <@U0BOB>, your hold ends in ")
    assert told.endswith(" s. Extend it on the card.")


async def test_second_persons_hold_extends_and_hides_nothing(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold(bot, alert, "3600", "U0BOB")
    await hold(bot, alert, "1800")
    assert "by <@U0BOB>." in alert.text
    await pass_time(bot, 1900)
    assert "On hold until" in alert.text
    assert "<@U0ALICE> until" not in alert.text
    await hold(bot, alert, "14400")
    assert "by <@U0ALICE>." in alert.text
    await pass_time(bot, 3600)
    assert "by <@U0ALICE>" in alert.text


async def test_whoever_may_decide_may_release_a_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert "Release hold" not in str(alert.blocks)
    await hold(bot, alert, "86400")
    await bot.slack.press(alert, HOLD, choice="release", user="U0CAROL")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    await hold(bot, alert, "release", "U0BOB")
    assert "On hold" not in alert.text
    await until(bot, lambda: "instance-1: <@U0BOB> released the hold of <@U0ALICE>." in thread(bot, alert))
    assert await outcomes_by_user(bot) == [("U0ALICE", "held"), ("U0CAROL", "not_allowed"), ("U0BOB", "released")]
    await pass_time(bot, 16 * 60)
    assert [line for line in thread(bot, alert) if "has been waiting" in line], "reminders begin again"


async def test_choice_that_this_version_does_not_have_is_refused(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    payload = bot.slack.click(alert, HOLD)
    payload["actions"][0]["selected_option"]["value"] = "for good"
    await bot.slack.deliver("interactive", payload)
    assert "doesn't recognize the choice for good" in (await bot.reply_privately()).text
    assert alert.edits == 0


async def test_hold_button_of_an_older_card_still_works(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    (row,) = [block for block in alert.blocks if block["type"] == "actions"]
    menu = row["elements"][-1]
    row["elements"][-1] = {
        "type": "button",
        "action_id": menu["action_id"],
        "text": {"type": "plain_text", "text": "Hold 30 min"},
        "value": row["elements"][0]["value"],
    }
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    await pass_time(bot, 29 * 60)
    assert "On hold until" in alert.text
    await pass_time(bot, 70)
    assert "On hold" not in alert.text


async def hold_with_a_reason(
    bot: World, alert: Posted, *, user: str = "U0BOB", why: str = "checkpoint at 3:20"
) -> None:
    await bot.slack.press(alert, HOLD, user=user, choice="reason")
    await bot.slack.until(lambda: bot.slack.views)
    await bot.slack.submit(bot.slack.views.pop(0), user=user, seconds="3600", reason=why)


async def test_reason_of_a_hold_is_on_the_card_in_the_thread_and_in_the_dialog_of_who_approves(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert)
    await until(bot, lambda: "by <@U0BOB>: “checkpoint at 3:20”" in alert.text)
    await until(bot, lambda: any("put this on hold" in line and "checkpoint" in line for line in thread(bot, alert)))
    asked = alert.buttons[APPROVE]["confirm"]["text"]["text"]
    assert asked.startswith("bob asked to wait until ")
    assert "UTC: “checkpoint at 3:20”." in asked
    assert bot.together.posts == []


async def test_dialog_of_the_incident_before_holds_nothing(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="reason")
    await bot.slack.until(lambda: bot.slack.views)
    bot.together.resolve(IDS)
    await card(bot, words="recovered on its own")
    await pass_time(bot, 120)
    bot.together.remediations.pop(IDS)
    bot.together.add()
    await until(bot, lambda: APPROVE in alert.buttons)
    await bot.slack.submit(bot.slack.views.pop(0), user="U0BOB", seconds="3600", reason="checkpointing")
    await until(bot, lambda: "Not held: the remediation ended and opened again since you saw it." in alert.text)
    assert "On hold" not in alert.text
    assert APPROVE in alert.buttons


async def test_hold_without_a_reason_is_kept_by_its_dialog_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert, why="")
    await until(bot, lambda: "by <@U0BOB>." in alert.text)


async def test_who_may_not_hold_gets_no_dialog(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0CAROL", choice="reason")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert not bot.slack.views


async def test_who_asked_to_wait_learns_that_somebody_else_did_not(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert)
    await until(bot, lambda: "On hold" in alert.text)
    await bot.slack.press(alert, APPROVE, user="U0ALICE")
    await until(bot, lambda: any("approved by <@U0ALICE> during your hold, <@U0BOB>" in x for x in thread(bot, alert)))


async def test_who_asked_to_wait_for_a_node_of_a_storm_learns_that_somebody_else_did_not(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.say(f"<@{BOT_USER}> hold 2h gpu-node-0000 because the job ends at 4", user="U0BOB")
    await digest(bot, "n hold by")
    await bot.slack.submit(await choose(bot, message))
    said = "gpu-node-0000: approved by <@U0ALICE> during your hold, <@U0BOB>."
    await until(bot, lambda: any(said in line for line in thread(bot, message)))


async def test_who_ends_their_own_hold_by_deciding_is_told_nothing_of_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert)
    await until(bot, lambda: "On hold" in alert.text)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await card(bot, words="Approved, queued")
    await poll(bot)
    assert not any("during your hold" in line for line in thread(bot, alert))


@pytest.mark.bot(watching=True)
async def test_half_an_emoji_in_the_reason_of_a_hold_leaves_the_card_alive(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert, why="wait \ud83d")
    await pass_time(bot, 30)
    bot.together.resolve(IDS)
    await card(bot, words="recovered on its own")
    assert APPROVE not in alert.buttons


@pytest.mark.bot(watching=True)
async def test_thread_names_who_decided_despite_a_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="3600", user="U0ALICE")
    await until(bot, lambda: "On hold" in alert.text)
    view = await opened(bot, alert, cards.REJECT, user="U0BOB")
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE, user="U0ALICE")
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        bot.together.faults += [Fault("cut", verb="approve", after=True), Fault("rpc", verb="get", code=14, times=-1)]
    await until(bot, lambda: any("may have gone through" in line for line in thread(bot, alert)))
    bot.together.faults.clear()
    assert bot.together.state(IDS) == "PENDING"  # Alice's approval has arrived
    await bot.slack.submit(view, reason="no", user="U0BOB")
    await until(bot, lambda: any("Reboot approved by" in line for line in thread(bot, alert)), 60)
    assert not any("rejected by <@U0BOB>" in line for line in thread(bot, alert))


@pytest.mark.bot(watching=True)
async def test_longer_hold_keeps_its_reason(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await hold_with_a_reason(bot, alert, why="saving at 3:20")
    await until(bot, lambda: "saving at 3:20" in alert.text)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="14400")
    await pass_time(bot, 60)
    assert "saving at 3:20" in alert.text


@pytest.mark.bot(watching=True)
async def test_reason_that_is_added_to_a_hold_at_once_is_told(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="3600")
    await until(bot, lambda: "On hold" in alert.text)
    await hold_with_a_reason(bot, alert, why="saving at 3:20")
    await until(bot, lambda: "saving at 3:20" in alert.text)
    await pass_time(bot, 60)
    assert any("saving at 3:20" in line for line in thread(bot, alert))


@pytest.mark.bot(watching=True)
async def test_hold_that_somebody_else_asks_for_at_once_is_told_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    for user in ("U0BOB", "U0ALICE", "U0ALICE"):
        await bot.slack.press(alert, HOLD, user=user, choice="3600")
    await pass_time(bot, 60)
    held = [line for line in thread(bot, alert) if "put this on hold" in line]
    assert [each.partition(" put ")[0] for each in held] == ["instance-1: <@U0BOB>", "instance-1: <@U0ALICE>"]
    assert all(each.endswith(">.") for each in held)


@pytest.mark.parametrize("action", [HOLD, REFRESH])
async def test_slow_look_does_not_take_an_approval_off_the_card(bot: World, action: str) -> None:
    bot.together.add()
    alert = await card(bot)
    pressed = {**alert.controls[APPROVE], "type": "button"} if action == REFRESH else None
    with bot.together.paused("get answered"):
        await bot.slack.press(alert, action, user="U0BOB", button=pressed)
        await bot.together.until(lambda: bot.together.is_waiting("get answered"))
        with bot.together.open_for_others("get answered"):
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved by <@U0ALICE>")
    await quiet(bot)
    bot.together.faults.append(Fault("rpc", code=14, times=-1))
    await pass_time(bot, 60)
    assert (alert.title.startswith("Approval needed"), APPROVE in alert.buttons) == (False, False)
    assert "put this on hold" not in str(thread(bot, alert))


async def test_approval_whose_question_did_not_say_that_somebody_asked_to_wait_asks_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    seen_by_alice = dict(alert.controls[APPROVE])
    await bot.slack.press(alert, HOLD, choice="1800", user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.press(alert, APPROVE, button=seen_by_alice)
    await card(bot, words="<@U0ALICE>, your approval wasn't sent: <@U0BOB> asked to wait since you saw it. Review it")
    assert bot.together.posts == []
    await bot.slack.press(alert, HOLD, choice="3600")
    await until(bot, lambda: "On hold until" in alert.text and "<@U0ALICE>" in alert.text)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved by <@U0ALICE>")


async def test_own_hold_keeps_nobody_from_approving(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    seen = dict(alert.controls[APPROVE])
    await bot.slack.press(alert, HOLD)
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.press(alert, APPROVE, button=seen)
    await card(bot, words="Approved by <@U0ALICE>")


@pytest.mark.bot(BOT_REASON="always")
async def test_dialog_approves_during_the_hold_that_it_shows_and_no_other(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    drawn_before = dict(alert.controls[APPROVE])
    await bot.slack.press(alert, APPROVE)
    (opened_before,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.press(alert, HOLD, choice="1800", user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.submit(opened_before, reason="it is broken")
    await card(bot, words="<@U0BOB> asked to wait since you saw it")
    assert bot.together.posts == []
    bot.slack.views.clear()
    await bot.slack.press(alert, APPROVE, button=drawn_before)
    (opened_since,) = await bot.slack.until(lambda: list(bot.slack.views))
    assert "bob asked to wait until" in str(opened_since)
    await bot.slack.submit(opened_since, reason="Bob agrees")
    await card(bot, words="Approved by <@U0ALICE>")


async def test_selection_skips_what_somebody_put_on_hold_after_it_was_shown(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    await bot.slack.say(f"<@{BOT_USER}> hold gpu-node-0002", user="U0BOB")
    await digest(bot, "on hold")
    await bot.slack.submit(view)
    await digest(bot, "5 of 6 approved · 1 skipped")
    assert "@U0BOB asked to wait since you saw it." in message.everything


@pytest.mark.parametrize(("choice", "noun"), [("1800", "hold"), ("release", "release")])
async def test_hold_before_which_together_does_not_respond_is_not_called_unclear(
    bot: World, choice: str, noun: str
) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await until(bot, lambda: "On hold until" in alert.text)
    bot.together.faults.append(Fault("cut", verb="get", times=-1))
    await bot.slack.press(alert, HOLD, choice=choice)
    told = f"Your {noun} wasn't sent. Together didn't respond in time."
    await until(bot, lambda: told in str(thread(bot, alert)))
    await bot.slack.press(alert, cards.MORE, choice=cards.HISTORY)
    assert f"{noun}: not sent, couldn't read it from Together" in (await bot.reply_privately()).text


async def test_release_ends_only_the_holds_that_were_shown(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="1800", user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    seen_by_bob = dict(alert.controls[HOLD])
    await bot.slack.press(alert, HOLD, choice="14400")
    await until(bot, lambda: "<@U0ALICE>" in alert.text)
    await bot.slack.press(alert, HOLD, choice="release", user="U0BOB", button=seen_by_bob)
    await pass_time(bot, 5)
    assert "<@U0BOB>, nothing was released: the hold has changed since you saw it." in alert.text
    assert "On hold until" in alert.text
    await pass_time(bot, 14_500)
    assert "hold until" not in alert.text


async def test_who_asked_to_wait_learns_that_somebody_released_their_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="14400", user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.press(alert, HOLD, choice="release")
    await until(bot, lambda: "released" in str(thread(bot, alert)))
    assert "<@U0BOB>" in thread(bot, alert)[-1]


@pytest.mark.bot(BOT_ONCALL="S0ONCALL")
async def test_card_on_hold_that_somebody_deletes_calls_nobody_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="14400")
    await card(bot, words="On hold")
    await pass_time(bot, 60)
    bot.slack.messages.remove(alert)
    (again,) = await until(bot, lambda: bot.slack.cards(IDS[2]), 7200)
    assert "S0ONCALL" not in again.everything


async def test_who_asked_to_wait_learns_that_somebody_approved_in_together(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="3600")
    await card(bot, words="On hold")
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved")
    said = "instance-1: approved by web-user@example.com in Together during your hold, <@U0BOB>."
    await until(bot, lambda: said in str(thread(bot, alert)))


async def test_who_asked_to_wait_learns_of_an_approval_whose_answer_was_lost(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="3600")
    await card(bot, words="On hold")
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE, user="U0ALICE")
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        bot.together.faults += [Fault("cut", verb="approve", after=True), Fault("rpc", verb="get", code=14, times=-1)]
    await until(bot, lambda: any("may have gone through" in line for line in thread(bot, alert)))
    bot.together.faults.clear()
    await until(bot, lambda: "during your hold, <@U0BOB>" in str(thread(bot, alert)), 300)


async def test_who_asked_to_wait_learns_for_how_certain_it_is_who_cancelled(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB", choice="3600")
    await card(bot, words="On hold")
    bot.together.faults.append(Fault("html", verb="cancel", after=True))
    await bot.slack.press(alert, CANCEL)
    said = "instance-1: cancelled, apparently, by <@U0ALICE> during your hold, <@U0BOB>."
    await until(bot, lambda: said in thread(bot, alert))


async def test_hold_in_a_digest_is_extended_where_it_can_be(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.say("<@U0BOT> hold 5m gpu-node-0001", user="U0ALICE")
    await quiet(bot)
    await pass_time(bot, 200)
    (told,) = [line for line in thread(bot, message) if "your hold ends" in line]
    assert told.endswith("Extend it in this app's Home.")


async def test_approval_is_held_against_what_was_shown_however_many_asked_to_wait() -> None:
    people = [f"U0{number:05}" for number in range(27)]
    async with watching(BOT_OPERATORS=",".join(["U0ALICE", *people])) as bot:
        bot.together.add()
        alert = await card(bot)
        for user in people:
            shown = dict(alert.controls[APPROVE])
            bot.slack.add_user(user, user.lower())
            await bot.slack.press(alert, HOLD, user=user)
            await pass_time(bot, 5)
        await bot.slack.press(alert, APPROVE, button=shown)
        await card(bot, words="asked to wait since you saw it")
        assert bot.together.posts == []


async def test_approval_on_another_tools_alert_does_not_pass_over_a_hold(bot: World) -> None:
    bot.together.add()
    theirs = bot.alert()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.press(theirs, APPROVE)
    await bot.edited(theirs)
    await quiet(bot)
    assert bot.together.posts == []
    assert "<@U0BOB> asked to wait" in theirs.everything
    await bot.slack.press(theirs, APPROVE)  # it says so now
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")


@pytest.mark.bot(watching=True, BOT_MAX_IN_REPAIR="5")
async def test_approval_is_not_sent_once_there_is_a_hold_that_was_asked_for_before_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await quiet(bot)
    click = bot.slack.click(alert, APPROVE)  # what Alice is shown has no hold
    with bot.together.paused("list"):
        with bot.together.paused("get"):
            await bot.slack.press(alert, HOLD, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.slack.deliver("interactive", click)
            await bot.together.until(lambda: len([call for call in bot.together.calls if call.verb == "get"]) == 2)
        await until(bot, lambda: "On hold until" in alert.text)
        await bot.together.until(lambda: bot.together.is_waiting("list"))
    await quiet(bot)
    assert bot.together.posts == []
    assert "<@U0BOB> asked to wait since you saw it" in alert.text
    await bot.slack.press(alert, APPROVE)  # it says so now
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")


async def test_who_asked_to_wait_for_a_node_of_a_storm_learns_that_somebody_released_their_hold() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await bot.slack.say("<@U0BOT> hold 4h gpu-node-0001 because the job ends at 7", user="U0BOB")
        await quiet(bot)
        await digest(bot, "on hold")
        await bot.slack.open_home("U0ALICE")
        await quiet(bot)
        rows = bot.slack.homes["U0ALICE"]["blocks"]
        (row,) = [row for row in rows if "gpu-node-0001" in json.dumps(row)]
        await bot.slack.press_home("home:open", about=row["accessory"]["value"])
        await quiet(bot)
        await bot.slack.press_home(HOLD, choice="release")
        await pass_time(bot, 30)
        assert "on hold" not in message.text, "it was released"
        await pass_time(bot, 300)
        told_bob = [post.text for post in bot.slack.messages if "U0BOB" in post.text and "release" in post.text]
        assert told_bob, f"nobody told the holder: {thread(bot, message)} {[m.text for m in bot.slack.direct('U0BOB')]}"


async def test_who_asked_to_wait_learns_that_somebody_released_their_hold_where_the_thread_is_locked() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="14400", user="U0BOB")
        await card(bot, words="On hold")
        await pass_time(bot, 30)
        bot.slack.locked.add(alert.ts)
        await bot.slack.press(alert, HOLD, choice="release")
        await until(bot, lambda: "On hold" not in alert.text)
        await pass_time(bot, 300)
        told_bob = [post.text for post in bot.slack.messages if "U0BOB" in post.text and "release" in post.text]
        assert told_bob, [post.text for post in bot.slack.messages if post is not alert]


@pytest.mark.parametrize("how", ["menu", "mention"])
async def test_hold_that_a_dead_process_left_holds_no_later_incident(database_url: str, how: str) -> None:
    """On-call isn't called for the next incident, for as long as the hold lasts."""
    async with watching(database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            if how == "menu":
                await bot.slack.press(alert, HOLD, user="U0BOB", choice="86400")
            else:
                await bot.slack.say("<@U0BOT> hold 24h", user="U0BOB", thread=alert)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 7200)
            assert [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line], thread(bot, alert)
            assert "On hold until" not in alert.text


async def test_call_for_the_next_incident_without_that_hold(database_url: str) -> None:
    """The same without a hold: on-call is called."""
    async with watching(database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 7200)
            assert [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line]


@pytest.mark.parametrize(
    "length",
    ["for an hr", "four hrs", "for three hrs", "a few hrs", "to 5pm", "up to 5pm", "tomorrow morning", "10m, then 2h",
     "for “2h”", "bis 17 Uhr", "für 2 Stunden", "pendant 2 heures"],
)  # fmt: skip
async def test_hold_of_a_length_in_other_words_is_not_half_an_hour(length: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-1 {length}", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in first.text


async def test_node_that_its_own_person_puts_on_hold_while_their_selection_runs_is_not_repaired(bot: World) -> None:
    await began(bot)
    *_, last = storm(bot, 6)
    view = await choose(bot, await digest(bot))
    with bot.together.paused("approve"):
        await bot.slack.submit(view)
        await bot.together.until(lambda: bot.together.is_waiting("approve"))  # the first of six
        await bot.slack.say(f"<@{BOT_USER}> hold 2h gpu-node-0005 because the job ends at 4", user="U0ALICE")
        await quiet(bot)
    await pass_time(bot, 30)
    assert len(bot.together.posts) == 5
    assert last not in [call.ids for call in bot.together.posts]


async def test_longer_hold_is_not_shortened_by_an_earlier_one_that_comes_later(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("get"):
        await bot.slack.press(alert, HOLD, choice="1800")
        await bot.together.until(lambda: bot.together.is_waiting("get"))
        with bot.together.open_for_others("get"):
            await pass_time(bot, 1)
            await bot.slack.press(alert, HOLD, choice="14400")
            await card(bot, words="On hold until")
    await pass_time(bot, 3600)
    assert "On hold until" in alert.text


async def test_approval_that_waits_for_slack_is_not_sent_once_its_own_person_asked_to_wait(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        bot.together.add()
        alert = await card(bot)
        first = bot.slack.bot_url
        async with bot.another():
            second = bot.slack.bot_url
            await bot.slack.say(f"<@{BOT_USER}> status instance-1", user="U0ALICE")  # this process knows Alice now
            await quiet(bot)
            with bot.slack.paused("users.info"):
                bot.slack.bot_url = first
                await bot.slack.press(alert, APPROVE)
                await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
                bot.slack.bot_url = second
                await pass_time(bot, 1)
                await bot.slack.press(alert, HOLD, choice="3600")
                await card(bot, words="On hold until")
            await card(bot, words="you asked to wait since you saw it")
            assert bot.together.posts == []


async def test_released_hold_does_not_come_back_by_a_press_before_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("get"):
        await bot.slack.press(alert, HOLD, choice="14400")
        await bot.together.until(lambda: bot.together.is_waiting("get"))
        with bot.together.open_for_others("get"):
            await pass_time(bot, 1)
            await bot.slack.press(alert, HOLD, choice="14400")
            await card(bot, words="On hold until")
            await bot.slack.press(alert, HOLD, choice="release")
            await until(bot, lambda: "On hold until" not in alert.text)
    await pass_time(bot, 30)
    assert "On hold until" not in alert.text
    assert any("Not held: the hold was released since you asked." in line for line in [alert.text, *thread(bot, alert)])
