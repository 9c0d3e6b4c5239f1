"""Cards that are too old to be edited, as a workspace may have it set (docs.slack.dev, chat.update)."""

import pytest

from bot.models import Actor
from bot.watcher.schedule import REPOST_SECONDS
from tests.rows import pause_beside
from tests.simulator.slack import Posted
from tests.storms import began
from tests.watch import card, pass_time, poll, until
from tests.world import APPROVE, CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
WEAKER = "REMEDIATION_MODE_VM_ONLY"


async def too_old(bot: World, seconds: float = 3600.0) -> Posted:
    """Return the card of what waits, once it takes no edits any more."""
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, seconds)
    bot.slack.too_old.add(alert.ts)
    return alert


def asking(bot: World) -> list[Posted]:
    """Return the messages on which somebody may approve."""
    return [each for each in bot.slack.visible() if APPROVE in each.buttons]


async def test_card_that_takes_no_edits_is_posted_again_for_what_is_asked_now(bot: World) -> None:
    old = await too_old(bot)
    bot.together.remediations[IDS]["mode"] = WEAKER
    await poll(bot)
    (new,) = await until(bot, lambda: [each for each in asking(bot) if "Approve quick reprovision" in each.text])
    assert new.ts != old.ts
    await bot.slack.press(new, APPROVE)
    await until(bot, lambda: "Approved" in new.text)
    assert bot.together.state(IDS) == "PENDING"


async def test_what_waits_again_gets_a_card_where_the_old_one_takes_no_edits(bot: World) -> None:
    old = await too_old(bot)
    bot.slack.too_old.clear()
    await bot.slack.press(old, CANCEL)
    await card(bot, words="Cancelled")
    bot.slack.too_old.add(old.ts)
    await pass_time(bot, 600)
    bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "end_time": None}
    await poll(bot)
    (new,) = await until(bot, lambda: [each for each in bot.slack.visible() if "Approve reboot?" in each.text])
    assert new.ts != old.ts


async def test_old_button_of_a_card_that_was_posted_again_decides_nothing_else(bot: World) -> None:
    old = await too_old(bot)
    bot.together.remediations[IDS]["mode"] = WEAKER
    await poll(bot)
    await until(bot, lambda: [each for each in bot.slack.visible() if "Approve quick reprovision" in each.text])
    await bot.slack.press(old, APPROVE, user="U0BOB")
    await until(bot, lambda: bot.slack.visible("U0BOB")[2:] or "wasn't sent" in str(bot.slack.visible()))
    assert bot.together.posts == []


async def test_card_that_takes_no_edits_stays_where_it_asks_the_same(bot: World) -> None:
    old = await too_old(bot)
    bot.together.add(("cluster-1", "i-2", "r-2"))  # the card says how many wait
    await card(bot, ("cluster-1", "i-2", "r-2"))
    await pass_time(bot, 300)
    assert [each for each in asking(bot) if IDS[1] in each.everything] == [old]


async def test_cards_that_take_no_edits_are_not_all_posted_again_as_approvals_are_paused(bot: World) -> None:
    old = await too_old(bot)
    await pause_beside(bot, Actor("U0BOB", "bob", "T0HOME"))
    await pass_time(bot, 300)
    assert [each for each in bot.slack.visible() if each.thread_ts is None] == [old]


async def test_card_that_never_took_an_edit_stays_for_ten_minutes(bot: World) -> None:
    old = await too_old(bot, 60)
    bot.together.remediations[IDS]["mode"] = WEAKER
    await poll(bot)
    await pass_time(bot, 120)
    assert asking(bot) == [old]
    _, new = await until(bot, lambda: asking(bot)[1:] and asking(bot), REPOST_SECONDS)
    assert "Approve quick reprovision" in new.text
