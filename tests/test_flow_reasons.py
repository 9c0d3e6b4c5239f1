"""Buttons that ask for a reason first."""

import json

import pytest

from bot.cards import MORE
from tests.rows import outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Refused
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import HOLD, card, pass_time, until, watching
from tests.world import APPROVE, CANCEL, IDS, World, both_transports, world

WHY = "the job is checkpointing *now*"


async def opened(bot: World, message: Posted, action: str, user: str = "U0ALICE") -> dict[str, object]:
    """Press a button, and return the dialog that opens."""
    await bot.slack.press(message, action, user=user)
    await bot.slack.until(lambda: bot.slack.views)
    return dict(bot.slack.views[0])


@pytest.mark.parametrize("socket", [False, True], ids=["http", "socket"])
async def test_cancel_asks_and_the_reason_is_on_the_card_and_in_the_audit_trail(*, socket: bool) -> None:
    async with watching(socket=socket, BOT_REASON="cancel") as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        assert alert.buttons[CANCEL]["text"]["text"] == "Cancel remediation…"
        assert "confirm" not in alert.buttons[CANCEL]
        assert "confirm" in alert.buttons[APPROVE]
        view = await opened(bot, alert, CANCEL)
        assert "Cancel remediation for gpu-node-7?" in str(view["blocks"])
        assert "Together won't suggest another repair" in str(view["blocks"])
        assert bot.together.posts == []
        with pytest.raises(Refused):
            await bot.slack.submit(view)
        ack = await bot.slack.submit(view, reason=WHY)
        assert (ack.status, ack.body) == (200, "")
        await card(bot, words="Cancelled: reboot")
        assert f"“{WHY}”" in alert.everything
        assert bot.together.state(IDS) == "CANCELLED"
        assert await outcomes_by_user(bot) == [("U0ALICE", "cancelled")]


async def test_always_asks_before_an_approval_too_and_together_stores_it() -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, APPROVE)
        await bot.slack.submit(view, reason=WHY)
        await card(bot, words="Approved, queued")
        assert WHY in bot.together.remediations[IDS]["review_comment"]


async def test_submission_is_checked_again() -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, APPROVE)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.submit(view, reason=WHY)
        await card(bot, words="approval wasn't sent: the repair changed from “Reboot” to “Quick reprovision”")
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_submission_of_who_may_not_decide_is_refused() -> None:
    async with watching(BOT_REASON="cancel") as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, CANCEL)
        await bot.slack.submit(view, user="U0CAROL", reason=WHY)
        assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


@both_transports
async def test_never_asks_by_default(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.slack.views == []


async def test_dialog_that_does_not_open_is_told() -> None:
    async with watching(BOT_REASON="cancel") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
        await bot.slack.press(alert, CANCEL)
        assert "Nothing was sent. Try again" in (await bot.reply_privately()).text


async def test_forged_dialog_is_refused() -> None:
    async with watching(BOT_REASON="cancel") as bot:
        bot.together.add()
        view = await opened(bot, await card(bot), CANCEL)
        for metadata in ("", "{}", "[1]", json.dumps({"verb": "refresh", "value": {}})):
            bot.slack.open_view({**view, "private_metadata": metadata}, "U0ALICE")
            ack = await bot.slack.submit(bot.slack.views[-1], reason=WHY)
            assert "Nothing was sent." in ack.body
        assert bot.together.posts == []


async def test_same_dialog_twice_decides_once() -> None:
    async with watching(BOT_REASON="cancel") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("slow", verb="cancel", seconds=0.01))
        view = await opened(bot, alert, CANCEL)
        await bot.slack.submit(view, reason=WHY)
        bot.slack.views.append(view)
        await bot.slack.submit(view, reason=WHY)
        await card(bot, words="Cancelled: reboot")
        assert len(bot.together.posts) == 1


async def test_who_may_not_decide_is_refused_before_a_dialog_opens() -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        for number, action in enumerate((CANCEL, APPROVE), 1):
            await bot.slack.press(alert, action, user="U0CAROL")
            assert "Only operators can" in (await bot.reply_privately("U0CAROL", number)).text
        assert bot.slack.views == []


async def test_what_is_refused_privately_after_a_while_leaves_nothing_in_the_thread() -> None:
    async with world(BOT_REASON="always", BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        bot.slack.may_read_history = False  # so the answer goes to the thread
        alert = bot.alert()
        await bot.slack.submit(await opened(bot, alert, APPROVE), reason=WHY)
        (first,) = await bot.slack.until(lambda: bot.slack.replies(alert))
        assert "1 of 2 approvals" in first.text
        bot.slack.views.clear()
        view = await opened(bot, alert, APPROVE)
        with bot.together.paused("get"):
            asked = len(bot.together.calls)
            await bot.slack.submit(view, reason=WHY)
            await bot.together.until(lambda: len(bot.together.calls) > asked)
            await bot.time.advance(1)
        assert "you already approved it" in (await bot.reply_privately()).text
        assert bot.slack.replies(alert) == [first]


async def test_dialog_says_which_of_two_approvals_it_asks_for() -> None:
    async with watching(BOT_REASON="always", BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, APPROVE)
        assert "First of 2 approvals: nothing runs yet." in str(view["blocks"])
        await bot.slack.submit(view, reason=WHY)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        bot.slack.views.clear()
        view = await opened(bot, alert, APPROVE, user="U0BOB")
        assert "Second of 2 approvals: the repair starts." in str(view["blocks"])
        bot.slack.views.clear()
        assert "of 2 approvals" not in str((await opened(bot, alert, CANCEL))["blocks"])


async def test_dialog_does_not_tell_the_first_of_two_that_the_repair_starts() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.submit(await opened(bot, alert, APPROVE), reason=WHY)
        await card(bot, words="1 of 2 approvals")
        bot.slack.views.clear()
        assert "the repair starts" not in str(await opened(bot, alert, APPROVE))


def told(bot: World, user: str = "U0ALICE") -> list[str]:
    return [message.text for message in (*bot.slack.visible(), *bot.slack.visible(user), *bot.slack.direct(user))]


async def test_longer_hold_from_a_dialog_that_stayed_open_is_kept_or_answered() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="reason")
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        bot.slack.acks_late = 1
        assert (await bot.slack.submit(view, seconds="1800")).status == 0
        assert [each["id"] for each in bot.slack.views] == [view["id"]], "Slack leaves it open"
        await until(bot, lambda: "On hold until" in alert.text)
        ack = await bot.slack.submit(view, seconds="14400", reason="checkpoint at 6")
        await pass_time(bot, 60)
        assert "checkpoint at 6" in alert.text or ack.body, "acked, closed, and nothing done or said"


async def test_approval_that_is_submitted_again_once_the_pause_is_over_is_sent_or_answered() -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        await bot.slack.press(alert, MORE, user="U0BOB", choice="pause")
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        await bot.slack.submit(view, user="U0BOB", seconds="1800")
        await until(bot, lambda: "Approvals are paused" in alert.text)
        await bot.slack.press(alert, APPROVE)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        bot.slack.acks_late = 1
        assert (await bot.slack.submit(view, reason="drained")).status == 0
        assert [each["id"] for each in bot.slack.views] == [view["id"]], "Slack leaves it open"
        await until(bot, lambda: [text for text in told(bot) if text.startswith("Not approved: <@U0BOB> paused")])
        await pass_time(bot, 1900)
        assert "Approvals are paused" not in alert.text
        before = len(told(bot))
        ack = await bot.slack.submit(view, reason="drained")
        await pass_time(bot, 60)
        is_answered = bool(ack.body) or len(told(bot)) > before
        assert bot.together.state(IDS) != "PENDING_APPROVAL" or is_answered, "acked, closed, and nothing done or said"


@pytest.mark.parametrize(
    "nothing",
    ["\u200b", "\u2060\ufeff", "\u3164", "\ufe0f", "\u17b4"],
    ids=["zero-width", "joiners", "filler", "emoji style", "Khmer vowel"],
)
async def test_reason_that_nobody_can_see_is_no_reason(nothing: str) -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_BREAK_GLASS="U0ALICE") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, MORE, choice="alone")
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        ack = await bot.slack.submit(view, reason=nothing)
        await pass_time(bot, 20)
        assert bot.together.posts == [], f"approved alone, over the two-person rule, for no reason: {alert.text[:300]}"
        assert "Type a reason first." in ack.body


@pytest.mark.parametrize("quoted", ['"it\'s flaky"', "“it’s flaky”"])
async def test_reason_in_quotes_keeps_its_apostrophe(quoted: str) -> None:
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        await bot.slack.command(f"cluster={IDS[0]} instance={IDS[1]} remediation={IDS[2]} reason={quoted}")
        alert = await card(bot, words="Cancelled")
        assert quoted[1:-1] in alert.text
