"""A signed request in, Slack calls out: the way of one command and one click, on both transports."""

import json
from collections.abc import AsyncIterator

import pytest

from bot.clock import Pause
from bot.together import Patience
from tests.simulator.slack import Posted, SlackFault
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, REJECT, World, world


@pytest.fixture(params=["http", "socket"])
async def bot(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(socket=request.param == "socket") as running:
        yield running


async def test_a_command_cancels_and_its_card_stands_in_the_channel(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    ack = await bot.slack.command(f"{' '.join(IDS)} rebooted by hand")
    assert (ack.status, ack.body) == (200, "")
    card = await bot.answer()
    assert bot.together.state(IDS) == "CANCELLED"
    assert "Cancelled: Reboot VM for node gpu-node-7" in card.text
    assert "Cancelled in Slack by <@U0ALICE>" in card.everything
    assert "rebooted by hand" in card.everything
    assert card.buttons == {}
    await bot.settle()
    assert len(bot.slack.messages) == 1


async def test_a_click_approves_what_was_shown(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    assert (await bot.slack.press(alert, APPROVE)).status == 200
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert bot.together.posts[0].body == {
        "comment": "Approved in Slack by alice (U0ALICE)",
        "mode": "REMEDIATION_MODE_REBOOT_VM",
    }
    assert "Approved, queued to start: Reboot VM" in alert.text
    assert list(alert.buttons) == [CANCEL]
    await bot.settle()
    assert len(bot.slack.messages) == 1


@pytest.mark.parametrize("action", [REJECT, CANCEL])
async def test_a_click_rejects_or_cancels(bot: World, action: str) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, action, user="U0BOB")
    await bot.edited(alert)
    assert bot.together.state(IDS) == "CANCELLED"
    assert [call.verb for call in bot.together.posts] == [action.partition(":")[2]]
    assert "in Slack by <@U0BOB>" in alert.text
    assert alert.buttons == {}


async def test_an_approved_one_can_be_cancelled_from_its_card(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "CANCELLED"
    assert "Cancelled: Reboot VM" in alert.text


async def test_check_again_reads_and_redraws(bot: World) -> None:
    bot.together.add(state="RUNNING")
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH, user="U0CAROL")
    await bot.edited(alert)
    assert "Running: Reboot VM" in alert.text
    assert bot.together.posts == []


@pytest.mark.parametrize("text", ["", "help"])
async def test_help_is_private_and_calls_nothing(bot: World, text: str) -> None:
    await bot.slack.command(text)
    usage = await bot.whisper()
    assert "/cancel-remediation CLUSTER INSTANCE REMEDIATION" in usage.text
    assert bot.together.calls == []
    assert bot.slack.visible() == []


async def test_a_wrong_command_names_the_part_in_private_and_calls_nothing(bot: World) -> None:
    await bot.slack.command("cluster-1 instance-1")
    usage = await bot.whisper()
    assert "The remediation ID is missing." in usage.text
    assert "/cancel-remediation CLUSTER INSTANCE REMEDIATION" in usage.text
    assert bot.together.calls == []
    assert bot.slack.visible() == []


@pytest.mark.parametrize("action", [APPROVE, CANCEL, REJECT])
async def test_a_changed_mode_is_shown_and_nothing_is_done(bot: World, action: str) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.escalate(IDS, "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.press(alert, action)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "The mode was “Reboot VM” and is now “Move to another host”. Look again, then decide." in alert.text
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert, 2)
    assert bot.together.remediations[IDS]["mode"] == "REMEDIATION_MODE_HOST_AWARE"
    assert bot.together.state(IDS) == "PENDING"


async def test_nobody_cancels_unseen_what_a_colleague_has_approved(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "Not cancelled. The state was “Waiting for approval” and is now “Queued to start”." in alert.text
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "CANCELLED"


async def test_what_resolved_by_itself_is_not_called_denied(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.resolve(IDS)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "and is now “Resolved by itself”. Nothing is left to decide." in alert.text
    assert alert.buttons == {}


async def test_a_power_cycle_is_approved_without_naming_the_mode(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert "mode" not in bot.together.posts[0].body


async def test_a_button_without_a_mode_asks_before_it_approves(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "The button did not say what would run: it is “Reboot VM”." in alert.text
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "PENDING"


async def test_a_button_without_mode_and_state_cancels_what_still_waits(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.state(IDS) == "CANCELLED"


async def test_a_button_without_a_state_does_not_cancel_what_was_approved(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert bot.together.state(IDS) == "PENDING"


async def test_a_button_of_a_state_that_allows_nothing_does_nothing(bot: World) -> None:
    bot.together.add(state="RUNNING")
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "It is “Running” and can no longer be cancelled. Nothing is left to decide." in alert.text


@pytest.mark.parametrize("value", ["", "x", "[]", '{"cluster_id":"c"}', json.dumps({
    "cluster_id": "c", "instance_id": "..", "remediation_id": "r"}), json.dumps({
    "cluster_id": "c", "instance_id": "i", "remediation_id": "r", "mode": 5})])  # fmt: skip
async def test_an_unreadable_button_is_told_in_private(bot: World, value: str) -> None:
    button = {"type": "button", "action_id": APPROVE, "text": {"type": "plain_text", "text": "x"}, "value": value}
    alert = bot.slack.post_as_tool([{"type": "actions", "elements": [button]}])
    await bot.slack.press(alert, APPROVE)
    assert "This button cannot be read" in (await bot.whisper()).text
    assert bot.together.calls == []


WRONG_STATE = {
    "CANCELLED": "Nothing left to do: it was already cancelled",
    "AUTO_RESOLVED": "Not cancelled: it has resolved by itself",
    "RUNNING": "Not cancelled: it is too late for that. The state is “Running”.",
    "SUCCEEDED": "Not cancelled: it is too late for that. The state is “Succeeded”.",
}


@pytest.mark.parametrize("state", WRONG_STATE)
async def test_a_wrong_state_shows_the_present_card(bot: World, state: str) -> None:
    bot.together.add(state=state)
    await bot.slack.command(REF)
    card = await bot.answer()
    assert WRONG_STATE[state] in card.text
    assert "⚠️" not in card.everything


async def test_approving_what_a_colleague_approved_in_the_same_moment(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="approve", code=9, after=True))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Nothing left to do: it was already approved by ml-platform@example.com." in alert.text


async def test_a_refusal_for_the_state_that_still_allows_it_quotes_together(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="cancel", code=10, message="<lock> is held"))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Not cancelled: Together refused, though it is still waiting." in card.text
    assert "&lt;lock&gt; is held" in card.text
    assert set(card.buttons) == {APPROVE, CANCEL}


async def test_a_wrong_state_that_cannot_be_read_is_an_error_with_check_again(bot: World) -> None:
    bot.together.add()
    bot.together.faults += [Fault("rpc", verb="cancel", code=9), Fault("rpc", verb="get", code=14, times=-1)]
    await bot.slack.command(REF)
    error = await bot.answer()
    assert "no longer in a state that allows this" in error.text
    assert list(error.buttons) == [REFRESH]


async def test_an_answer_that_does_not_show_the_effect_is_no_success(bot: World) -> None:
    bot.together.add(state="RUNNING")
    bot.together.faults.append(Fault("stale", verb="cancel"))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Together took the cancellation, but the state is “Running”." in card.text
    assert list(card.buttons) == [REFRESH]


async def test_a_mode_that_changed_in_the_last_moment_is_told(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
    alert = bot.alert()
    bot.together.on_call["approve"] = lambda: bot.together.escalate(IDS, "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved, but the mode is now “Move to another host”; you saw “Power-cycle host”." in alert.text


async def test_an_approval_that_was_cancelled_in_the_same_moment_is_told(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.on_call["cancel"] = lambda: bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert "It had been approved before it was cancelled. Tell whoever approved it." in alert.text


async def test_an_error_of_a_click_stands_in_its_thread_and_the_card_stays(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="approve", code=7, message="no *permission* <!here>"))
    await bot.slack.press(alert, APPROVE)
    error = await bot.answer(2)
    assert error.thread_ts == alert.ts
    assert "<@U0ALICE>" in error.text
    assert "does not let this bot's API key do that (HTTP 403)" in error.text
    assert "&lt;!here&gt;" in error.everything
    assert alert.edits == 0


async def test_an_error_of_a_click_in_a_thread_stays_in_that_thread(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.thread_ts = "1.0"
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.press(alert, APPROVE)
    error = await bot.answer(2)
    assert error.thread_ts == "1.0"
    assert "your approval was not sent" in error.text


async def test_an_api_that_cannot_be_reached_changes_nothing(bot: World) -> None:
    bot.together.add()
    await bot.together.stop()
    await bot.slack.command(REF)
    assert "Together's API could not be reached, so nothing was changed." in (await bot.answer()).text
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    assert "so nothing was changed" in (await bot.answer(3)).text
    assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_a_decision_without_effect_says_so_and_offers_to_check_again(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "<@U0ALICE>, your approval is not in effect as of" in alert.text
    assert "it may still arrive" in alert.text
    assert list(alert.buttons) == [REFRESH]
    assert bot.time.slept(Pause.READ_BACK) == [2, 5]
    assert len(bot.together.posts) == 1
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert, 2)
    assert set(alert.buttons) == {APPROVE, CANCEL}


async def test_an_effect_that_shows_late_is_a_success(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    reads = iter(["seen before", "still pending"])

    def arrive_late() -> None:
        if next(reads, None) is None:
            bot.together.on_call.clear()
            bot.together.review(IDS, "approve", "Approved in Slack by alice (U0ALICE)", "key-owner")

    bot.together.on_call["get"] = arrive_late
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    assert bot.time.slept(Pause.READ_BACK) == [2]


async def test_an_effect_that_is_a_colleagues_is_not_called_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve"))
    bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "approve", "from the console")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Nothing left to do: it was already approved by web-user@example.com." in alert.text
    assert "in Slack by" not in alert.text


async def test_an_effect_in_another_mode_is_not_called_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()

    def other_mode() -> None:
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        bot.together.review(IDS, "approve", "U0ALICE was asleep")

    bot.together.faults.append(Fault("cut", verb="approve"))
    bot.together.on_call["approve"] = other_mode
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "The mode is “Replace VM”; you saw “Reboot VM”." in alert.text
    assert "in Slack by" not in alert.text


async def test_an_unknown_outcome_is_called_unknown(bot: World) -> None:
    bot.together.add()
    bot.together.faults += [
        Fault("cut", verb="cancel", after=True),
        Fault("rpc", verb="get", code=14, times=-1),
    ]
    await bot.slack.command(REF)
    error = await bot.answer()
    assert "It is unknown whether the cancellation took effect." in error.text
    assert list(error.buttons) == [REFRESH]
    bot.together.faults.clear()
    await bot.slack.press(error, REFRESH)
    await bot.edited(error)
    assert "Cancelled: Reboot VM" in error.text


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
NAMES = [f"{each.kind}-{each.code if each.kind == 'rpc' else each.status}{'-after' * each.after}" for each in ANSWERS]


@pytest.mark.parametrize("reads_fail", [False, True], ids=["reads-work", "reads-fail"])
@pytest.mark.parametrize("verb", ["command", "approve", "reject", "cancel"])
@pytest.mark.parametrize("fault", ANSWERS, ids=NAMES)
async def test_every_fault_gives_exactly_one_true_answer(fault: Fault, verb: str, *, reads_fail: bool) -> None:
    never_answers = fault.kind in {"hang", "drip"}
    async with world(patience=Patience(attempt=ATTEMPT_SECONDS) if never_answers else None) as bot:
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
        assert len(answers) + alert.edits == 1
        answer = answers[0] if answers else alert
        assert_true(bot, answer, fault)
        if fault.after and not reads_fail:
            assert "in Slack by <@U0ALICE>" in answer.text


def assert_true(bot: World, answer: Posted, fault: Fault) -> None:
    """An answer claims an effect only where there is one, and denies one only where there is none."""
    took_effect = bot.together.state(IDS) != "PENDING_APPROVAL"
    assert "nothing was changed" not in answer.text
    if "in Slack by <@U0ALICE>" in answer.text:
        assert took_effect
    if "not in effect as of" in answer.text:
        assert not took_effect
    assert len(bot.together.posts) == (3 if (fault.kind, fault.code) == ("rpc", 8) else 1)


async def test_slow_answers_show_who_is_at_it_and_then_the_card(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.edited(alert)
        assert "<@U0ALICE> is approving this remediation" in alert.text
        assert "GPU has fallen off the bus" in alert.everything
        assert alert.buttons == {}
    await bot.edited(alert, 2)
    assert "Approved, queued to start" in alert.text


async def test_a_slow_command_has_one_message_that_becomes_the_card(bot: World) -> None:
    bot.together.add()
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        message = await bot.answer()
        assert "<@U0ALICE> is cancelling this remediation" in message.text
    await bot.edited(message)
    assert "Cancelled: Reboot VM" in message.text
    assert len(bot.slack.messages) == 1


async def test_a_slow_error_restores_the_card_and_its_buttons(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    before = [dict(block) for block in alert.blocks]
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.edited(alert)
    error = await bot.answer(2)
    assert "(HTTP 403)" in error.text
    assert (alert.edits, alert.blocks) == (2, before)


async def test_two_people_at_once_cause_one_post_and_both_get_an_answer(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        told = await bot.whisper("U0BOB")
        assert "<@U0ALICE> has been approving this remediation since" in told.text
        await bot.slack.press(alert, APPROVE)
        assert "You have been approving this remediation since" in (await bot.whisper("U0ALICE")).text
        await bot.slack.press(alert, REFRESH, user="U0CAROL")
        assert "<@U0ALICE> has been approving" in (await bot.whisper("U0CAROL")).text
    await bot.edited(alert)
    await bot.settle()
    assert [call.verb for call in bot.together.posts] == ["approve"]
    assert alert.edits == 1


async def test_a_redelivered_click_is_done_once(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    payload = bot.slack.click(alert, APPROVE)
    first = await bot.slack.deliver("interactive", payload)
    second = await bot.slack.deliver("interactive", payload)
    assert (first.status, second.status) == (200, 200)
    await bot.edited(alert)
    await bot.settle()
    assert len(bot.together.posts) == 1
    assert len(bot.slack.messages) + alert.edits == 2


async def test_looking_while_a_decision_begins_draws_no_buttons(bot: World) -> None:
    bot.together.add()
    alert, other = bot.alert(), bot.alert()
    with bot.together.paused("cancel"):
        with bot.together.paused("get"):
            await bot.slack.press(other, REFRESH, user="U0CAROL")
            await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "get"])
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.posts)
        await bot.edited(other)
        assert "<@U0ALICE> is cancelling this remediation since" in other.text
        assert list(other.buttons) == [REFRESH]
    assert alert.edits == 0


async def test_buttons_in_an_attachment_disappear_too(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.attachments, alert.blocks = [{"color": "danger", "blocks": alert.blocks}], []
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert list(alert.buttons) == [CANCEL]
    assert alert.attachments == []


async def test_an_ephemeral_card_is_changed_through_response_url(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.only_for = "U0ALICE"
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved, queued to start" in alert.text
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.press(alert, CANCEL)
    assert "your cancellation was not sent" in (await bot.whisper("U0ALICE", 2)).text
    assert bot.slack.visible() == []


async def test_where_the_bot_may_not_post_it_answers_through_response_url(bot: World) -> None:
    bot.together.add()
    bot.slack.channels["C0OPS"].bot_may_post = False
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Cancelled: Reboot VM" in card.text
    assert card.channel == "C0OPS"


async def test_where_nothing_else_works_the_person_gets_a_direct_message(bot: World) -> None:
    bot.together.add()
    bot.slack.channels["C0OPS"].bot_may_post = False
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.command(REF)
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "Cancelled: Reboot VM" in bot.slack.direct("U0ALICE")[0].text


async def test_a_private_word_falls_back_to_an_ephemeral_message(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    assert "You may not approve remediations here." in (await bot.whisper("U0CAROL")).text


async def test_an_update_that_slack_refuses_becomes_a_reply(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.by = "U0OTHERBOT"
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.press(alert, APPROVE)
    reply = await bot.answer(2)
    assert reply.thread_ts == alert.ts
    assert "Approved, queued to start" in reply.text


async def test_blocks_that_slack_refuses_are_told_as_text(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", "invalid_blocks"))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Cancelled: Reboot VM" in card.text
    assert card.blocks == []


async def test_slacks_rate_limit_is_waited_out(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=7, times=2))
    await bot.slack.command(REF)
    await bot.answer()
    assert bot.time.slept(Pause.SLACK_LIMIT) == [7.0, 7.0]


@pytest.mark.parametrize("fault", [
    SlackFault("chat.postMessage", "ratelimited", retry_after=60),
    SlackFault("chat.postMessage", "ratelimited", retry_after=2, times=3),
    SlackFault("chat.postMessage", "html"),
    SlackFault("chat.postMessage", "drop"),
    SlackFault("chat.postMessage", "is_archived"),
], ids=["long", "again", "html", "drop", "archived"])  # fmt: skip
async def test_another_way_is_taken_when_slack_cannot_post(bot: World, fault: SlackFault) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault(**vars(fault)))
    await bot.slack.command(REF)
    assert "Cancelled: Reboot VM" in (await bot.answer()).text
    assert ("response_url" in [method for method, _ in bot.slack.calls]) is True
