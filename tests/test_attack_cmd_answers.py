"""Attack: what Together answers, and what the bot says then."""

import pytest

from tests.simulator.together import Fault
from tests.watch import quiet
from tests.world import APPROVE, CANCEL, IDS, REF, World, world

ODD = "Fri, 31 Dec 99999999999 23:59:59 GMT"
APPROVED = "This had already been approved"


@pytest.mark.parametrize("typed", ["list", "status gpu-7", f"status {REF}"])
async def test_search_that_is_limited_with_an_odd_date_is_answered(typed: str) -> None:
    """A 429 whose Retry-After is a date out of range: the command was acknowledged, and nothing is ever answered.

    Why it matters: silence. (A dialog stays at “Looking for what can be cancelled…” for good.)
    Cause: bot/together/answers.py:_retry_after catches ValueError only; `parsedate_to_datetime` raises OverflowError
    for a year, hour or zone out of range (`Reply.date` just above catches it). And handlers/surface.py:_explained has
    no last net, unlike DecisionService._work: any bug in a lookup ends in the log alone.
    Fix: `except (ValueError, OverflowError)` (also around `.timestamp()`); and in `_explained` and
    `Chooser._fill` a last `except Exception` that says so.
    """
    async with world() as bot:
        bot.together.add(instance_name="gpu-7")
        for verb in ("list", "get"):
            bot.together.faults.append(Fault("rpc", verb=verb, code=8, times=-1, headers={"Retry-After": ODD}))
        await bot.slack.command(typed)
        await quiet(bot)
        assert bot.slack.visible("U0ALICE"), "acknowledged, and left without an answer"


async def test_approval_that_was_refused_with_an_odd_date_is_not_in_doubt() -> None:
    """The same on an approval: “Something went wrong in the bot. Your approval may have gone through.”

    What happens: Together said 429, so it certainly wasn't taken; the bot should repeat it, or say that nothing changed.
    Why it matters: a false doubt at night, and a bug report instead of a retry.
    Cause and fix: bot/together/answers.py:_retry_after, as above.
    """
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": ODD}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await quiet(bot)
        assert "Something went wrong in the bot" not in alert.text


async def cancelled(bot: World, *, typed: bool) -> str:
    if typed:
        await bot.slack.command(REF)
        return (await bot.answer()).text
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    return (await bot.edited(alert)).text


@pytest.mark.parametrize("typed", [True, False])
async def test_approval_of_an_earlier_incident_is_not_told_of_this_one(*, typed: bool) -> None:
    """“This had already been approved. Let the approver know it's cancelled.”: nobody had approved it.

    What happens: the remediation was approved and carried out yesterday, and waits again under the same ID (which the
    bot takes into account elsewhere: `began_at`, `is_of`). Its record still has yesterday's `review_time`.
    Why it matters: the person wakes a colleague over an approval of yesterday, and believes that a drain had begun.
    Cause: bot/decisions/preconditions.py:success_notice takes any `review_time` of the result for an approval of this
    incident; with a button, even one that was there in what the bot read a moment before.
    Fix: only a review that is later than what was seen (or, typed, than the beginning of this incident, as `began_at`
    knows it for a waiting one) counts.
    """
    async with world() as bot:
        bot.together.add()
        bot.together.review(IDS, "approve", "of yesterday")
        await bot.time.advance(3600)
        for _ in range(4):
            bot.together.advance(IDS)
        await bot.time.advance(36_000)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        told = await cancelled(bot, typed=typed)
        assert bot.together.state(IDS) == "CANCELLED"
        assert APPROVED not in told


@pytest.mark.parametrize("typed", [True, False])
async def test_cancellation_that_counts_as_a_review_is_not_called_an_approval(*, typed: bool) -> None:
    """The same sentence on every single cancellation, if Together's cancel writes `review_time` as reject does.

    What happens: cancel isn't documented to set it, and not documented not to. If it does, review and end are one
    moment, by which the bot tells a rejection from an approval elsewhere (`_ended_by_review`), but not here.
    Why it matters: it says for certain what it can't know, to everybody who cancels.
    Cause: bot/decisions/preconditions.py:success_notice. Fix: `and not _ended_by_review(result)`.
    """
    async with world() as bot:
        bot.together.add()

        def review() -> None:
            now = bot.together._time()  # noqa: SLF001 - the simulator's own clock
            bot.together.remediations[IDS].update(review_time=now, reviewed_by="ml-platform@example.com")

        bot.together.on_call["cancel"] = review
        assert APPROVED not in await cancelled(bot, typed=typed)


@pytest.mark.parametrize(("given", "said"), [("3600", "3600 s"), ("99999999", "999999 s")])
async def test_long_wait_is_not_said_in_seconds(given: str, said: str) -> None:
    """“Together is rate-limiting the bot. Nothing changed. Try again in 3600 s.” (or 999999 s, or 251702387139 s).

    Why it matters: nobody tired divides by 3600; and “in 999999 s” means “never, use the console”, which isn't said.
    Cause: bot/errors/together.py:RateLimited. Fix: minutes or hours from two minutes on; beyond an hour the sentence
    about the console (IF_IT_PERSISTS).
    """
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": given}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await quiet(bot)
        assert not [each.text for each in bot.slack.visible() if said in each.text]
