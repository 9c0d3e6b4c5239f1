"""Another tool's alert: its own words stay, its buttons go, and what is decided is added beneath."""

from typing import Any

import pytest

from bot.clock import WaitReason
from tests.deaths import died_while
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids
from tests.storms import XID
from tests.watch import pass_time, quiet
from tests.world import APPROVE, CANCEL, IDS, OTHER, REFRESH, World, as_alert, both_transports

ASKS = pytest.mark.bot(BOT_REASON="cancel")
WHY = "the job is checkpointing"


def alert_about(bot: World, *every: Ids, words: int = 1) -> Posted:
    """Post an alert of another tool about some remediations, with a row of buttons for each."""
    drawn = [as_alert(bot.together.remediations[bot.together.add(ids)]) for ids in every]
    rows = [{**row, "block_id": f"row-{number}"} for number, (_, row) in enumerate(drawn)]
    return bot.slack.post_as_tool([*[drawn[0][0]] * words, *rows])


def button(alert: Posted, action_id: str, row: int = 0) -> dict[str, Any]:
    """The button of one row."""
    (elements,) = [block["elements"] for block in alert.blocks if block.get("block_id") == f"row-{row}"]
    return next(element for element in elements if element["action_id"] == action_id)


async def dialog_of(bot: World, alert: Posted) -> dict[str, Any]:
    """Press "Cancel" in the first row, and return the dialog that opens."""
    await bot.slack.press(alert, CANCEL, button=button(alert, CANCEL))
    (view,) = await bot.slack.until(lambda: bot.slack.views)
    return view


def own_words(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for block in blocks if block["type"] != "actions"]


@both_transports
async def test_decision_is_added_beneath_and_the_buttons_are_replaced(bot: World) -> None:
    bot.together.add(linked_alerts=XID)
    alert = bot.alert()
    theirs = own_words(alert.blocks)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert alert.blocks[: len(theirs)] == theirs
    assert list(alert.buttons) == [CANCEL]
    assert "Approved, queued: reboot instance-1" in alert.everything
    assert "Xid" not in str(alert.blocks)  # the alert's own words say what is broken
    assert alert.text.startswith("alert\n— Decision: instance-1 (cluster-1): Approved, queued")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert, 2)
    assert alert.blocks[: len(theirs)] == theirs
    assert "Approved, queued" not in alert.everything
    assert "Cancelled: reboot instance-1" in alert.everything
    assert alert.buttons == {}


async def test_progress_and_an_error_are_one_line_beneath(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    before = [dict(block) for block in alert.blocks]
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        await bot.press_until_progress(alert, APPROVE)
        assert "is approving this…" in alert.everything
        assert alert.blocks[: len(own_words(before))] == own_words(before)
        assert alert.buttons == {}
    await bot.answer(2)
    assert alert.blocks[:-1] == before
    assert bot.time.slept(WaitReason.PROGRESS)
    assert "'s approval: The bot's Together API key can't do that" in alert.text


async def test_progress_goes_where_the_decision_could_only_be_said_beside_the_alert(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("cancel"):
        await bot.press_until_progress(alert, CANCEL)
        assert "is cancelling this…" in alert.everything
        bot.slack.faults += [SlackFault("chat.update", "internal_error"), SlackFault("response_url", "down")]
    assert "Cancelled: reboot" in (await bot.answer(2)).text
    await bot.edited(alert, 2)
    assert "is cancelling this…" not in alert.everything


@pytest.mark.parametrize("verb", [APPROVE, CANCEL])
async def test_alert_whose_blocks_slack_does_not_take_back_keeps_them(bot: World, verb: str) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.blocks.insert(1, {"type": "shown_to_its_own_app", "panel": "temperature"})
    before = [dict(block) for block in alert.blocks], alert.text
    with bot.together.paused(verb.removeprefix("remediation:")):
        await bot.slack.press(alert, verb, button=alert.controls[verb])
        await bot.time.end_pause(WaitReason.PROGRESS)
        await bot.slack.until(lambda: [1 for method, _ in bot.slack.calls if method == "chat.update"])
    told = await bot.answer(2)
    assert told.thread_ts == alert.ts
    assert told.text.startswith("instance-1 (cluster-1): ")
    assert (alert.blocks, alert.text) == before


async def test_second_look_replaces_the_first(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    for edits in (1, 2, 3):
        await bot.slack.press(alert, REFRESH if REFRESH in alert.buttons else APPROVE)
        await bot.edited(alert, edits)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY" if edits == 1 else "REMEDIATION_MODE_HOST_AWARE")
        if edits == 1:
            assert APPROVE in alert.buttons
    assert alert.everything.count("GPU has fallen off the bus") >= 1
    assert len([block for block in alert.blocks if block["type"] == "divider"]) == 1


@pytest.mark.parametrize("count", [1, 48, 49])
async def test_long_alert_keeps_room_for_the_decision(bot: World, count: int) -> None:
    bot.together.add()
    words = {"type": "section", "text": {"type": "mrkdwn", "text": "one of many"}}
    (_, row) = as_alert(bot.together.remediations[IDS])
    alert = bot.slack.post_as_tool([*[words] * count, row])
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved, queued: reboot" in alert.everything
    assert len(alert.blocks) <= 50


async def test_folded_buttons_go_and_pictures_stay(bot: World) -> None:
    bot.together.add()
    words, row = as_alert(bot.together.remediations[IDS])
    picture = {"type": "image", "image_url": "https://grafana.example/panel.png", "alt_text": "temperature"}
    folded = {"type": "container", "title": {"type": "plain_text", "text": "Decide"}, "child_blocks": [words, row]}
    only_buttons = {**folded, "child_blocks": [dict(row)]}
    alert = bot.slack.post_as_tool([{**words, "accessory": picture}, folded, only_buttons])
    button = next(element for element in row["elements"] if element["action_id"] == CANCEL)
    await bot.slack.press(alert, CANCEL, button=button)
    await bot.edited(alert)
    assert "Cancelled: reboot instance-1" in alert.everything
    shown, kept = alert.blocks[:2]
    assert shown["accessory"] == picture
    assert kept["child_blocks"] == [words]
    assert APPROVE not in str(alert.blocks)


async def test_alert_about_two_keeps_the_buttons_and_the_result_of_each(bot: World) -> None:
    second = ("cluster-1", "instance-2", "remediation-2")
    alert = alert_about(bot, IDS, second)

    def buttons_of(ids: Ids) -> dict[str, dict[str, Any]]:
        controls = [control for block in alert.blocks for control in block.get("elements", ()) if "value" in control]
        return {each["action_id"]: each for each in controls if ids[2] in each["value"]}

    before = buttons_of(second)
    await bot.slack.press(alert, CANCEL, button=buttons_of(IDS)[CANCEL])
    await bot.edited(alert)
    assert "Cancelled: reboot instance-1" in alert.everything
    assert buttons_of(second) == before
    assert not buttons_of(IDS).keys() & {APPROVE, CANCEL}
    await bot.slack.press(alert, APPROVE, button=before[APPROVE], user="U0BOB")
    await bot.edited(alert, 2)
    assert "Cancelled: reboot instance-1" in alert.everything
    assert "Approved, queued: reboot instance-2" in alert.everything
    await bot.slack.press(alert, CANCEL, button=buttons_of(second)[CANCEL])
    await bot.edited(alert, 3)
    assert "Cancelled: reboot instance-1" in alert.everything
    assert "Cancelled: reboot instance-2" in alert.everything
    assert "Approved, queued" not in alert.everything


async def test_answer_that_slack_takes_slowly_does_not_cover_a_later_one(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.slack.paused("chat.update"):
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
        with bot.slack.open_for_others("chat.update"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.state(IDS) == "PENDING")
            await quiet(bot)
    await bot.edited(alert, 2)
    assert "Approved, queued" in alert.everything


@ASKS
@pytest.mark.parametrize("is_reply", [False, True])
async def test_answer_of_a_dialog_keeps_what_another_tool_has_written_since(bot: World, *, is_reply: bool) -> None:
    alert = alert_about(bot, IDS)
    if is_reply:
        alert.thread_ts = bot.slack.post_as_tool([], text="Alerts of today").ts
    dialog = await dialog_of(bot, alert)
    alert.blocks[0]["text"]["text"] = "Over: the GPU is back"
    await bot.slack.submit(dialog, reason=WHY)
    await bot.slack.until(lambda: "Cancelled by <@U0ALICE>" in alert.text)
    assert "Over: the GPU is back" in alert.everything
    assert "GPU has fallen off the bus" not in alert.everything


@ASKS
@pytest.mark.parametrize("fails", [False, True], ids=["cancels", "fails"])
@pytest.mark.parametrize("takes_long", [False, True], ids=["at once", "after a while"])
async def test_answer_of_a_dialog_takes_no_other_decision_off_the_alert(
    bot: World, *, fails: bool, takes_long: bool
) -> None:
    def shows_bobs() -> bool:
        rows = [block for block in alert.blocks if block["block_id"] == "row-1"]
        return "Approved by @U0BOB" in alert.everything and not rows

    alert = alert_about(bot, IDS, OTHER)
    dialog = await dialog_of(bot, alert)
    await bot.slack.press(alert, APPROVE, user="U0BOB", button=button(alert, APPROVE, 1))
    await bot.slack.until(shows_bobs)
    edits = alert.edits
    if fails:
        bot.together.faults.append(Fault("rpc", verb="cancel", code=7))
    if takes_long:
        with bot.together.paused("cancel"):
            await bot.slack.submit(dialog, reason=WHY)
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
            await bot.time.advance(1)
            await bot.slack.until(lambda: "is cancelling this…" in alert.everything)
            assert shows_bobs()
    else:
        await bot.slack.submit(dialog, reason=WHY)
    await bot.slack.until(lambda: alert.edits > edits and "is cancelling this…" not in alert.everything)
    await bot.settle()
    assert shows_bobs()


@ASKS
async def test_long_alert_has_the_answer_of_a_dialog_too(bot: World) -> None:
    alert = alert_about(bot, IDS, words=40)
    await bot.slack.submit(await dialog_of(bot, alert), reason=WHY)
    await bot.slack.until(lambda: "Cancelled by <@U0ALICE>" in alert.text)
    assert "GPU has fallen off the bus" in alert.everything
    assert bot.slack.replies(alert) == []


@ASKS
async def test_alert_that_cannot_be_read_is_answered_in_its_thread(bot: World) -> None:
    """Without its words, an edit would lose them."""
    alert = alert_about(bot, IDS)
    dialog = await dialog_of(bot, alert)
    bot.slack.may_read_history = False
    await bot.slack.submit(dialog, reason=WHY)
    (answer,) = await bot.slack.until(lambda: bot.slack.replies(alert))
    assert "Cancelled by <@U0ALICE>" in answer.text
    assert alert.edits == 0


@pytest.mark.bot(drain_seconds=0.05)
async def test_progress_of_a_process_that_died_is_taken_back(bot: World) -> None:
    """The next process read it as the alert's own words, without its buttons, and put that back."""
    bot.together.add()
    alert = bot.alert()
    before = [dict(block) for block in alert.blocks]
    with bot.together.paused("get"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.calls)
        await bot.time.advance(1)
        await bot.edited(alert)
        await bot.settle()
    assert "is approving this…" in alert.everything
    bot.together.calls.clear()
    async with died_while(bot, at="read"), bot.another():
        with bot.together.paused("get"):
            await bot.together.until(lambda: bot.together.calls)
            await bot.time.advance(1)
            await bot.edited(alert, 2)
            bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
        await bot.edited(alert, 3)
        await bot.slack.until(lambda: bot.slack.replies(alert))
    assert alert.blocks == before
    assert alert.text == "alert"


async def test_decision_that_fails_takes_nothing_off_that_came_since_it_is_in_progress(bot: World) -> None:
    """It put back what it had covered: the other row's progress, without its buttons or result."""
    alert = alert_about(bot, IDS, OTHER)
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        with bot.together.paused("cancel"):
            await bot.slack.press(alert, CANCEL, button=button(alert, CANCEL))
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
            await bot.time.advance(1)
            await bot.slack.until(lambda: "is cancelling this…" in alert.everything)
            await bot.slack.press(alert, APPROVE, user="U0BOB", button=button(alert, APPROVE, 1))
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            await bot.time.advance(1)
            await bot.slack.until(lambda: "is approving this…" in alert.everything)
        await bot.slack.until(lambda: "Cancelled by @U0ALICE" in alert.everything)
        edits = alert.edits
    await bot.slack.until(lambda: alert.edits > edits)
    await bot.settle()
    assert "Cancelled by @U0ALICE" in alert.everything
    assert "'s approval: The bot's Together API key can't do that" in alert.everything
    assert "this…" not in alert.everything
    assert button(alert, APPROVE, 1)


async def test_error_that_slack_takes_late_brings_no_buttons_back_that_a_later_decision_took(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        await bot.press_until_progress(alert, APPROVE)
        bot.slack.faults += [SlackFault(way, "down", times=-1) for way in ("chat.postMessage", "response_url")]
    await bot.slack.until(lambda: "'s approval: " in alert.text)
    await quiet(bot)
    await bot.slack.press(alert, CANCEL, user="U0BOB")
    await bot.slack.until(lambda: "Cancelled by <@U0BOB>" in alert.text)
    bot.slack.faults.clear()
    await pass_time(bot, 60)
    assert "The bot's Together API key can't do that" in bot.slack.replies(alert)[0].text
    assert alert.buttons == {}
    assert "Cancelled by <@U0BOB>" in alert.text


async def test_progress_that_slack_takes_slowly_does_not_cover_a_result(bot: World) -> None:
    alert = alert_about(bot, IDS, OTHER)
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE, user="U0BOB", button=button(alert, APPROVE, 1))
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        with bot.slack.paused("chat.update"):
            await bot.time.advance(1)
            await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
            with bot.slack.open_for_others("chat.update"):
                await bot.slack.press(alert, CANCEL, button=button(alert, CANCEL))
                await bot.together.until(lambda: bot.together.state(IDS) == "CANCELLED")
                await quiet(bot)
        await bot.edited(alert, 2)
    await bot.slack.until(lambda: "Approved by @U0BOB" in alert.everything)
    assert "Cancelled by @U0ALICE" in alert.everything
