"""Approving alone, over the two-person rule and the repair limit: who may, what it says, and what it can't pass."""

import pytest
from sqlalchemy import select

from bot import cards
from bot.models import Mode
from bot.store.tables import audit
from tests.deaths import free_the_lease
from tests.rows import execute_beside, outcomes_by_user
from tests.simulator.slack import Posted
from tests.watch import card, thread, until, watching
from tests.world import APPROVE, IDS, World

MORE = cards.MORE
TWO = Mode.REBOOT_VM.value.removeprefix("REMEDIATION_MODE_")
pytestmark = pytest.mark.bot(
    watching=True, BOT_BREAK_GLASS="U0ALICE,U0CAROL", BOT_TWO_PEOPLE_MODES=TWO, BOT_MAX_IN_REPAIR="1",
    BOT_ONCALL="S0ONCALL",
)  # fmt: skip


async def approve_alone(bot: World, alert: Posted, *, user: str = "U0ALICE", reason: str = "bob is away") -> None:
    bot.slack.views.clear()
    await bot.slack.press(alert, MORE, choice=cards.ALONE, user=user)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    assert "Over the two-person rule and the repair limit." in str(view["blocks"])
    await bot.slack.submit(view, user=user, reason=reason)


async def test_one_person_approves_over_both_rules_and_on_call_learns_why(bot: World) -> None:
    busy = bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    assert bot.together.state(busy) == "RUNNING"
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone, over the two-person rule and the repair limit.")
    assert bot.together.state(IDS) == "PENDING"
    assert "“bob is away”" in alert.text
    told = await until(bot, lambda: [line for line in thread(bot, alert) if "approved alone" in line])
    who, why = told[0].split(", over the two-person rule and the repair limit: ")
    assert (who, why) == ("gpu-node-7: <@U0ALICE> approved alone", "“bob is away” <!subteam^S0ONCALL>")
    assert len(told) == 1
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


async def test_it_adds_no_right_to_decide(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, MORE, choice=cards.ALONE, user="U0CAROL")  # listed, but no operator
    assert "Only operators can approve remediations." in (await bot.reply_privately("U0CAROL")).text
    assert not bot.slack.views
    assert bot.together.posts == []


async def test_reason_is_needed(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, MORE, choice=cards.ALONE)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
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
    await bot.slack.press(alert, MORE, choice=cards.ALONE)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await bot.slack.submit(view, reason="bob is away")
    await card(bot, words="approval wasn't sent: the repair changed from “Reboot” to “Quick reprovision”")
    assert bot.together.posts == []


@pytest.mark.bot(BOT_BREAK_GLASS="")
async def test_menu_has_it_only_where_somebody_may(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert cards.ALONE not in [each["value"] for each in alert.controls[MORE]["options"]]


async def test_acked_override_is_made_by_the_next_process_which_asks_again_whether_they_may(database_url: str) -> None:
    async with watching(
        database=database_url, drain_seconds=0.2, BOT_BREAK_GLASS="U0ALICE", BOT_TWO_PEOPLE_MODES=TWO
    ) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, MORE, choice=cards.ALONE)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        with bot.together.paused("get"):
            await bot.slack.submit(view, reason="bob is away")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_break_glass": ("U0DAVE",)})):
            told = (await bot.reply_privately()).text
            assert "you aren't in BOT_BREAK_GLASS" in told
            assert bot.together.posts == []
