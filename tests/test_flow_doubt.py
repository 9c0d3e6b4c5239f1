"""When Together doesn't answer clearly: what is said is true, and says whose decision took effect."""

import pytest

from bot.clock import WaitReason
from bot.together import Timeouts
from tests.rows import outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, both_transports, world


@both_transports
async def test_unreachable_api_changes_nothing_and_says_so(bot: World) -> None:
    bot.together.add()
    await bot.together.stop()
    await bot.slack.command(REF)
    assert "Couldn't reach Together. Nothing was sent." in (await bot.answer()).text
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    assert "Nothing was sent" in (await bot.answer(3)).text
    assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_decision_without_effect_offers_check_again(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "<@U0ALICE>, your approval hadn't taken effect as of" in alert.text
    assert "but it still might" in alert.text
    assert list(alert.buttons) == [REFRESH]
    assert bot.time.slept(WaitReason.READ_BACK) == [2, 5]
    assert len(bot.together.posts) == 1
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert, 2)
    assert set(alert.buttons) == {APPROVE, CANCEL}


async def test_effect_that_shows_late_is_a_success(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    reads = iter(["seen before", "still pending"])

    def arrive_late() -> None:
        if next(reads, None) is None:
            bot.together.on_call.clear()
            bot.together.review(IDS, "approve", bot.together.posts[0].body["comment"], "key-owner")

    bot.together.on_call["get"] = arrive_late
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved by <@U0ALICE>" in alert.text
    assert bot.time.slept(WaitReason.READ_BACK) == [2]


async def test_approval_refused_because_a_colleague_was_faster_names_the_colleague(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.before_decision = lambda _call: bot.together.review(IDS, "approve")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Already approved by web-user@example.com in Together." in alert.text


@pytest.mark.parametrize("code", [9, 10])
async def test_own_approval_behind_a_refusal_is_a_success(bot: World, code: int) -> None:
    """A gateway repeated the POST, and the second one found what the first one did."""
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="approve", code=code, after=True))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "\nApproved by <@U0ALICE>, " in alert.text
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]


async def test_somebodys_id_in_another_reason_makes_no_decision_theirs() -> None:
    """Alice's own POST was lost; Bob approved in Together, and wrote of her."""
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="approve"))
        words = "Approved in Slack by bob (U0BOB): as agreed with alice (U0ALICE)"
        bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "approve", words)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "Already approved by web-user@example.com in Together." in alert.text
        assert await outcomes_by_user(bot) == [("U0ALICE", "too_late")]


@pytest.mark.parametrize("cut", [True, False])
async def test_own_approval_in_a_state_of_tomorrow_is_no_failure(*, cut: bool) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()

        def schedule() -> None:
            if bot.together.state(IDS) == "PENDING":
                bot.together.remediations[IDS]["state"] = "SCHEDULED"

        bot.together.on_call["get"] = schedule
        bot.together.faults.append(Fault("cut" if cut else "html", verb="approve", after=True))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "Too late" not in alert.text
        assert "Together accepted the approval, but the state is “State SCHEDULED”." in alert.text
        assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]


async def test_cancellation_in_a_state_of_tomorrow_stays_in_doubt() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()

        def schedule() -> None:
            if bot.together.posts:
                bot.together.remediations[IDS]["state"] = "SCHEDULED"

        bot.together.on_call["get"] = schedule
        bot.together.faults.append(Fault("cut", verb="cancel"))
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert "your cancellation hadn't taken effect as of" in alert.text


async def test_effect_of_a_colleague_is_not_called_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "approve", "from the console")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Already approved by web-user@example.com in Together." in alert.text
    assert "in Slack by" not in alert.text


async def test_effect_in_another_mode_is_not_called_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()

    def other_mode() -> None:
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        bot.together.review(IDS, "approve", "U0ALICE was asleep")

    bot.together.faults.append(Fault("cut", verb="approve"))
    bot.together.on_call["approve"] = other_mode
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "The repair is “Quick reprovision”; you saw “Reboot”." in alert.text
    assert "in Slack by" not in alert.text


async def test_colleagues_rejection_is_not_called_your_cancellation(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.on_call["cancel"] = lambda: bot.together.review(IDS, "reject", "from the console")
    bot.together.faults.append(Fault("cut", verb="cancel"))
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert "Already cancelled." in alert.text
    assert "in Slack by" not in alert.text


async def test_your_cancellation_after_a_colleagues_approval_is_yours(bot: World) -> None:
    bot.together.add()
    alert, right = bot.alert(), bot.together.now

    def approve_just_before() -> None:
        bot.together.review(IDS, "approve")
        bot.together.now = lambda: right() + 0.2

    bot.together.on_call["cancel"] = approve_just_before
    bot.together.faults.append(Fault("cut", verb="cancel", after=True))
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert await outcomes_by_user(bot) == [("U0ALICE", "cancelled")]


async def test_approval_without_a_comment_is_not_called_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "approve")
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Already approved by web-user@example.com in Together." in alert.text


async def test_your_approval_that_was_cancelled_afterward_took_effect(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve", after=True))
    reads = iter(["before"])
    bot.together.on_call["get"] = lambda: None if next(reads, None) else bot.together.review(IDS, "cancel")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "your approval went through, but the remediation was cancelled afterward." in alert.text


async def test_unknown_outcome_is_called_unknown(bot: World) -> None:
    bot.together.add()
    bot.together.faults += [
        Fault("cut", verb="cancel", after=True),
        Fault("rpc", verb="get", code=14, times=-1),
    ]
    await bot.slack.command(REF)
    error = await bot.answer()
    assert "The cancellation may have gone through." in error.text
    assert list(error.buttons) == [REFRESH]
    bot.together.faults.clear()
    await bot.slack.press(error, REFRESH)
    await bot.edited(error)
    assert "Cancelled: reboot" in error.text


ATTEMPT_SECONDS = 0.5  # less than it takes to tell of progress


ANSWERS = [
    *(Fault("rpc", code=code) for code in range(1, 17)),
    *(Fault(kind) for kind in ("html", "empty", "truncated", "other", "another", "redirect", "big", "gzip")),
    Fault("html", status=502),
    Fault("html", status=404),
    Fault("empty", status=204),
    *(Fault(kind, after=after) for kind in ("cut", "hang", "drip") for after in (False, True)),
    *(Fault(kind, after=True) for kind in ("html", "truncated", "other")),
    Fault("rpc", code=13, after=True),
    Fault("rpc", code=14, after=True),
]


# Each verb reads back in its own way, and only what isn't clear is read back.
UNCLEAR = [fault for fault in ANSWERS if fault.after or fault.kind in {"cut", "hang"}]
CASES = [
    *((fault, "command", False) for fault in ANSWERS),
    *((fault, verb, False) for fault in UNCLEAR for verb in ("approve", "reject", "cancel")),
    *((fault, "command", True) for fault in UNCLEAR),
    *((Fault("rpc", code=code), "approve", False) for code in (5, 7, 8, 9)),
]


def case_name(fault: Fault, verb: str, reads_fail: bool) -> str:  # noqa: FBT001 - as in the table
    code = fault.code if fault.kind == "rpc" else fault.status
    return f"{verb}-{fault.kind}-{code}{'-after' * fault.after}{'-unread' * reads_fail}"


@pytest.mark.parametrize(("fault", "verb", "reads_fail"), CASES, ids=[case_name(*case) for case in CASES])
async def test_every_fault_gives_exactly_one_true_answer(fault: Fault, verb: str, *, reads_fail: bool) -> None:
    never_answers = fault.kind in {"hang", "drip"}
    async with world(patience=Timeouts(attempt=ATTEMPT_SECONDS) if never_answers else None) as bot:
        bot.together.add()
        alert = bot.alert()
        posted = "cancel" if verb == "command" else verb
        bot.together.faults.append(Fault(**{**vars(fault), "verb": posted, "times": -1}))
        if reads_fail:
            bot.together.on_call[posted] = lambda: bot.together.faults.append(
                Fault("rpc", verb="get", code=14, times=-1)
            )
        if verb == "command":
            await bot.slack.command(REF)
        else:
            await bot.slack.press(alert, f"remediation:{verb}")
        if never_answers:
            await bot.together.until(lambda: bot.together.posts)
            await bot.time.advance(ATTEMPT_SECONDS)
        await bot.slack.until(lambda: alert.edits or len(bot.slack.messages) > 1)
        await bot.settle()
        answers = [message for message in bot.slack.messages if message is not alert]
        # An error is one reply, and one line on the card, so that it doesn't look untouched.
        is_clicked_error = bool(answers) and verb != "command"
        assert len(answers) + alert.edits == 1 + is_clicked_error
        answer = answers[0] if answers else alert
        assert_true(bot, answer)
        # What is sent again is looked at first.
        is_repeated = (fault.kind, fault.code) == ("rpc", 8) and not reads_fail
        assert len(bot.together.posts) == (3 if is_repeated else 1)
        if fault.after and not reads_fail:
            assert "by <@U0ALICE>, " in answer.text


def assert_true(bot: World, answer: Posted) -> None:
    """An answer claims an effect only if there is one, and denies it only if there isn't."""
    took_effect = bot.together.state(IDS) != "PENDING_APPROVAL"
    assert "nothing was changed" not in answer.text.lower()
    if "by <@U0ALICE>, " in answer.text:
        assert took_effect
    if "hadn't taken effect as of" in answer.text:
        assert not took_effect


@pytest.mark.parametrize("typed", [True, False])
async def test_repeat_after_429_does_not_cancel_what_a_colleague_approved_meanwhile(bot: World, *, typed: bool) -> None:
    bot.together.add()
    alert = bot.alert()

    def approve_meanwhile() -> None:
        bot.together.on_call.clear()
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        bot.together.review(IDS, "approve")

    bot.together.on_call["cancel"] = approve_meanwhile
    bot.together.faults.append(Fault("rpc", verb="cancel", code=8, headers={"Retry-After": "10"}))
    await (bot.slack.command(REF) if typed else bot.slack.press(alert, CANCEL))
    answer = (await bot.answer(2)) if typed else (await bot.edited(alert))
    assert bot.together.state(IDS) == "PENDING"
    assert len(bot.together.posts) == 1
    assert "cancellation wasn't sent" in answer.text


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("shown", [True, False])
async def test_own_cancellation_is_known_although_the_bots_clock_is_wrong(
    bot: World, hours: int, *, shown: bool
) -> None:
    right = bot.together.now
    bot.together.now = lambda: right() + 3600 * hours
    bot.together.add()
    bot.together.faults.append(Fault("cut", verb="cancel", after=True))
    if shown:
        await bot.slack.press(alert := bot.alert(), CANCEL)
        await bot.edited(alert)
    else:
        await bot.slack.command(REF)
        await bot.answer()
    assert await outcomes_by_user(bot) == [("U0ALICE", "cancelled")]
