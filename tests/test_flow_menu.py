"""The menu "⋯" on a card: reject with a comment, approve with another mode, copy IDs, show history."""

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from bot import cards
from bot.models import Mode
from bot.store.tables import audit, decisions
from tests.rows import column, execute_beside, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Refused
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import card, thread, until
from tests.world import APPROVE, CANCEL, IDS, REFRESH, World, both_transports

MORE = cards.MORE
REBOOT, REPLACE, POWER_CYCLE = Mode.REBOOT_VM.value, Mode.VM_ONLY.value, Mode.HOST_POWER_CYCLE.value
pytestmark = pytest.mark.bot(watching=True)


async def opened(bot: World, message: Posted, choice: str, user: str = "U0ALICE") -> dict[str, Any]:
    """Choose in the menu, and return the dialog that opens."""
    bot.slack.views.clear()
    await bot.slack.press(message, MORE, choice=choice, user=user)
    return dict((await bot.slack.until(lambda: bot.slack.views))[0])


@both_transports
async def test_rejection_takes_a_comment_that_together_stores(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    view = await opened(bot, await card(bot), cards.REJECT)
    assert "Reject remediation for gpu-node-7?" in json.dumps(view)
    with pytest.raises(Refused):
        await bot.slack.submit(view)
    await bot.slack.submit(view, reason="it's a false alarm")
    await card(bot, words="Rejected by <@U0ALICE>")
    assert "it's a false alarm" in bot.together.remediations[IDS]["review_comment"]
    assert await outcomes_by_user(bot) == [("U0ALICE", "rejected")]


async def test_another_mode_is_approved_in_place_of_the_suggested_one(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    assert "gpu-node-7: Together suggests “Reboot”." in json.dumps(view, ensure_ascii=False)
    (menu,) = [block["element"] for block in view["blocks"] if block.get("block_id") == cards.MODE]
    offered = [option["value"] for option in menu["options"]]
    assert offered == [REPLACE, "REMEDIATION_MODE_HOST_AWARE", "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"]
    assert "initial_option" not in menu
    with pytest.raises(Refused):
        await bot.slack.submit(view)
    ack = await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    assert (ack.status, ack.body) == (200, "")
    shown = await card(bot, words="Approved “Quick reprovision” instead of the suggested “Reboot”.")
    assert "Approved by <@U0ALICE>" in shown.text
    assert bot.together.remediations[IDS]["mode"] == REPLACE
    assert bot.together.state(IDS) == "PENDING"
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]
    said = await until(bot, lambda: thread(bot, shown))
    assert said[0] == "gpu-node-7: <@U0ALICE> approved “Quick reprovision”. Before, it was “Reboot”."
    trail = select(audit.c.event, audit.c.shown_mode).order_by(audit.c.seq)
    assert [tuple(row.values()) for row in await execute_beside(bot, trail)] == [
        ("suggested", REBOOT), ("send", REPLACE), ("outcome", REPLACE),
    ]  # fmt: skip


async def test_weaker_mode_needs_a_reason_at_its_field(bot: World) -> None:
    bot.together.add(mode=REPLACE)
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    ack = await bot.slack.submit(view, mode=REBOOT, reason="  ")
    assert json.loads(ack.body) == {
        "response_action": "errors",
        "errors": {
            "reason": "“Reboot” is weaker than what Together suggests. Say why it's enough. "
            "Reboots the VM. It keeps /scratch and /tmp."
        },
    }
    assert bot.together.posts == []
    await bot.slack.submit(view, mode=REBOOT, reason="only the driver hangs")
    await card(bot, words="Approved “Reboot”")
    assert "only the driver hangs" in bot.together.remediations[IDS]["review_comment"]
    assert bot.together.remediations[IDS]["mode"] == REBOOT


async def test_every_other_mode_needs_a_reason_and_says_what_it_does(bot: World) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    with pytest.raises(Refused):
        await bot.slack.submit(view, mode=REPLACE)
    ack = await bot.slack.submit(view, mode=REPLACE, reason="  ")
    assert json.loads(ack.body)["errors"] == {
        "reason": "“Quick reprovision” is your choice. Say why. Replaces the VM: all local data of the node is deleted."
    }
    await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    await card(bot, words="Approved “Quick reprovision”")


async def test_mode_that_the_suggestion_has_become_meanwhile_is_not_overridden(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.OTHER_MODE)
    bot.together.escalate(IDS, "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    await card(bot, words="approval wasn't sent: the repair changed from “Reboot” to “Migrate to new host”")
    assert bot.together.posts == []
    assert alert.buttons[APPROVE]["text"]["text"] == "Approve migration"


@pytest.mark.parametrize(
    ("choice", "typed", "words"),
    [
        (cards.OTHER_MODE, {"mode": REPLACE, "reason": "the disk is full"}, "approval wasn't sent: the state changed"),
        (cards.REJECT, {"reason": "no"}, "Already cancelled"),
    ],
)
async def test_state_that_changed_between_open_and_submit_is_told(
    bot: World, choice: str, typed: dict[str, str], words: str
) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), choice)
    bot.together.review(IDS, "cancel")
    await bot.slack.submit(view, **typed)
    await card(bot, words=words)
    assert bot.together.posts == []


async def test_other_mode_for_what_was_approved_as_suggested_meanwhile_names_no_other_repair(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.OTHER_MODE)
    bot.together.review(IDS, "approve")
    await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    await card(bot, words="Already approved by web-user@example.com in Together.")
    assert "you saw" not in alert.text


async def test_submission_of_who_may_not_decide_is_refused(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    submitted = ((cards.OTHER_MODE, {"mode": REPLACE, "reason": "the disk is full"}), (cards.REJECT, {"reason": "no"}))
    for number, (choice, typed) in enumerate(submitted):
        view = await opened(bot, alert, choice)
        await bot.slack.submit(view, user="U0CAROL", **typed)
        assert "Only operators can" in (await bot.reply_privately("U0CAROL", number + 1)).text
    assert bot.together.posts == []


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="VM_ONLY")
async def test_mode_that_takes_two_people_is_neither_offered_nor_taken(bot: World) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    (menu,) = [block["element"] for block in view["blocks"] if block.get("block_id") == cards.MODE]
    assert REPLACE not in [option["value"] for option in menu["options"]]
    menu["options"].append({"text": {"type": "plain_text", "text": "x"}, "value": REPLACE})
    ack = await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    assert "Nothing was sent." in ack.body
    assert bot.together.posts == []


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_nobody_alone_approves_another_mode_where_two_must(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert cards.OTHER_MODE not in [option["value"] for option in alert.controls[MORE]["options"]]
    drawn_before = {**alert.controls[MORE], "options": [{"value": cards.OTHER_MODE}]}
    await bot.slack.press(alert, MORE, button=drawn_before)
    told = (await bot.reply_privately()).text
    assert told.startswith("Not approved: this needs two approvers, which the menu of other modes can't collect.")
    assert bot.slack.views == []


async def test_mode_that_the_api_refuses_is_not_taken_from_a_forged_dialog(bot: World) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    (menu,) = [block["element"] for block in view["blocks"] if block.get("block_id") == cards.MODE]
    for mode in (POWER_CYCLE, REBOOT, "REMEDIATION_MODE_TELEPORT"):
        menu["options"] = [{"text": {"type": "plain_text", "text": "x"}, "value": mode}]
        ack = await bot.slack.submit(view, mode=mode, reason="why not")
        assert "Nothing was sent." in ack.body
        bot.slack.views[:] = [view]
    assert bot.together.posts == []


async def test_two_people_in_two_dialogs_decide_once(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    mine = await opened(bot, alert, cards.OTHER_MODE)
    await bot.slack.press(alert, MORE, choice=cards.REJECT, user="U0BOB")
    await bot.slack.until(lambda: len(bot.slack.views) > 1)
    theirs = dict(bot.slack.views[1])
    with bot.together.paused("approve"):
        await bot.slack.submit(mine, mode=REPLACE, reason="the disk is full")
        await bot.together.until(lambda: bot.together.posts)
        await bot.slack.submit(theirs, user="U0BOB", reason="no")
        assert "<@U0ALICE> is already approving this" in (await bot.reply_privately("U0BOB")).text
    await card(bot, words="Approved “Quick reprovision”")
    assert len(bot.together.posts) == 1


async def test_unclear_answer_is_looked_into_for_the_chosen_mode(bot: World) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    bot.together.faults.append(Fault("cut", verb="approve", after=True))
    await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    await card(bot, words="Approved “Quick reprovision” instead of the suggested “Reboot”.")
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]


@pytest.mark.bot(drain_seconds=0)
async def test_chosen_mode_survives_the_process(bot: World) -> None:
    bot.together.add()
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    with bot.together.paused("approve"):
        await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
    async with bot.another():
        await card(bot, words="Approved “Quick reprovision” instead of the suggested “Reboot”.")
    assert bot.together.remediations[IDS]["mode"] == REPLACE
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]


@pytest.mark.bot(drain_seconds=0)
async def test_earlier_release_that_takes_over_a_chosen_mode_sends_nothing(bot: World) -> None:
    """It doesn't know `instead_of`, and compares what is shown with what is there: these differ, so it asks again."""
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.OTHER_MODE)
    with bot.together.paused("get"):
        await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
        await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "get"])
        await bot.settle()
    written = json.loads(await column(bot, "request"))
    assert written.pop("instead_of") == REBOOT
    await execute_beside(bot, update(decisions).values(request=json.dumps(written)))
    async with bot.another():
        await card(bot, words="approval wasn't sent: the repair changed from “Quick reprovision” to “Reboot”")
    assert bot.together.posts == []


async def test_ids_are_shown_privately_to_be_copied(bot: World) -> None:
    bot.together.add()
    await bot.slack.press(await card(bot), MORE, choice=cards.COPY_IDS, user="U0CAROL")
    told = await bot.reply_privately("U0CAROL")
    assert f"/cancel-remediation {' '.join(IDS)}" in told.text
    assert all(f'"text": "{each}"' in told.everything for each in IDS)


async def test_history_names_every_decision_privately(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.press(alert, MORE, choice=cards.HISTORY)
    assert (await bot.reply_privately()).text == "gpu-node-7: no decisions through this bot yet."
    await bot.slack.press(alert, "remediation:hold", user="U0BOB")
    await until(bot, lambda: "On hold" in alert.text)
    await bot.slack.press(alert, APPROVE, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await bot.slack.press(alert, MORE, choice=cards.HISTORY)
    told = (await bot.reply_privately(count=2)).text.splitlines()
    assert told[0] == "gpu-node-7: decisions through this bot, latest first"
    assert [line.partition("> · ")[2].partition(" · ")[2] for line in told[1:]] == [
        "cancelled",
        "approve: not allowed",
        "held",
    ]


async def test_menu_on_another_tools_alert_and_after_the_end_still_knows_what_it_is_about(bot: World) -> None:
    bot.together.add(state="RUNNING")
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert)
    assert list(alert.controls) == [MORE]
    await bot.slack.press(alert, MORE, choice=cards.COPY_IDS)
    assert " ".join(IDS) in (await bot.reply_privately()).text


async def test_odd_menus_are_refused(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    odd = {"type": "overflow", "action_id": MORE, "options": [{"value": "explode"}]}
    await bot.slack.press(alert, MORE, button=odd)
    assert "doesn't recognize the choice explode" in (await bot.reply_privately()).text
    alone = bot.slack.post_as_tool([{"type": "actions", "elements": [{**odd, "options": [{"value": "ids"}]}]}])
    await bot.slack.press(alone, MORE)
    assert "This button doesn't work" in (await bot.reply_privately(count=2)).text
    await bot.slack.press(alone, MORE, button={**odd, "options": [{"value": "mode"}]})
    assert "This button doesn't work" in (await bot.reply_privately(count=3)).text
    value = json.dumps(dict(zip(("cluster_id", "instance_id", "remediation_id"), IDS, strict=True)))
    old = bot.slack.post_as_tool(
        [{"type": "actions", "elements": [{"type": "button", "action_id": APPROVE, "value": value}, odd]}]
    )
    await bot.slack.press(old, MORE, button={**odd, "options": [{"value": "mode"}]})
    assert "doesn't recognize this menu" in (await bot.reply_privately(count=4)).text
    assert bot.together.posts == []


async def test_dialog_that_does_not_open_is_told(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    for number, choice in enumerate((cards.REJECT, cards.OTHER_MODE), 1):
        bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
        await bot.slack.press(alert, MORE, choice=choice)
        assert "Nothing was sent. Try again" in (await bot.reply_privately(count=number)).text


@pytest.mark.parametrize("choice", [cards.REJECT, cards.OTHER_MODE])
async def test_who_may_not_decide_gets_no_dialog(bot: World, choice: str) -> None:
    bot.together.add()
    await bot.slack.press(await card(bot), MORE, choice=choice, user="U0CAROL")
    assert "Only operators can" in (await bot.reply_privately("U0CAROL")).text
    assert bot.slack.views == []


async def test_timeline_has_what_happened_in_order_as_markdown(bot: World) -> None:
    bot.together.add(
        instance_name="gpu-node-7",
        linked_alerts=[{
            "alert_name": "GpuXid79", "started_at": "2026-11-24T02:50:00Z", "resolved_at": "2026-11-24T02:51:00Z",
            "annotation": {"title": "GPU fell off the bus"},
        }],
    )  # fmt: skip
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved, queued")
    bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "the VM did not come back"}
    await card(bot, words="Failed")
    await bot.slack.press(alert, MORE, choice=cards.TIMELINE, user="U0CAROL")
    text = (await bot.reply_privately("U0CAROL")).everything
    assert "### gpu-node-7 (cluster-1 (H100)): Reboot, failed" in text
    order = [
        "- 2026-11-24 02:50:00 UTC: Alert: GPU fell off the bus", "02:51:00 UTC: Alert cleared: GPU fell off the bus",
        "Remediation created",
    ]  # fmt: skip
    assert "Approved by U0ALICE in Slack" in text
    assert [text.index(each) for each in order] == sorted(text.index(each) for each in order)
    assert "Reviewed by" not in text  # that is the same approval, with the key's owner as its person


async def test_timeline_names_who_decided_in_together(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "reject", comment="false alarm")
    await card(bot, words="Cancelled")
    await bot.slack.press(alert, MORE, choice=cards.TIMELINE)
    assert "in Together: false alarm" in (await bot.reply_privately()).everything


@pytest.mark.bot(watching=True)
async def test_timeline_tells_of_an_approval_of_another_mode_once(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    view = await opened(bot, await card(bot), cards.OTHER_MODE)
    await bot.slack.submit(view, mode=REPLACE, reason="the disk is full")
    alert = await card(bot, words="Approved “Quick reprovision”")
    await bot.slack.press(alert, MORE, choice=cards.TIMELINE)
    told = (await bot.reply_privately()).text
    assert told.startswith("### gpu-node-7 (cluster-1 (H100)): Quick reprovision, queued")
    assert [each.partition("UTC: ")[2] for each in told.splitlines() if "pproved" in each] == [
        "Approved by U0ALICE in Slack: the disk is full"
    ]


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("of_an_earlier_incident", [{}, {"start_time": "2026-11-23T03:00:00Z"}])
async def test_timeline_of_what_never_ran_ends_no_repair(bot: World, of_an_earlier_incident: dict[str, Any]) -> None:
    bot.together.add(instance_name="gpu-node-7", **of_an_earlier_incident)
    alert = await card(bot)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await bot.slack.press(alert, MORE, choice=cards.TIMELINE)
    assert "Repair ended" not in (await bot.reply_privately()).everything


@pytest.mark.bot(watching=True)
async def test_timeline_says_where_an_approval_in_doubt_was_given(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        bot.together.faults += [Fault("cut", verb="approve", after=True), Fault("rpc", verb="get", code=14, times=-1)]
    await until(bot, lambda: any("may have gone through" in line for line in thread(bot, alert)))
    bot.together.faults.clear()
    await card(bot, words="Approved, queued")
    await bot.slack.press(alert, MORE, choice=cards.TIMELINE)
    assert "in Together" not in (await bot.reply_privately()).everything


@pytest.mark.parametrize("choice", [cards.HISTORY, cards.TIMELINE])
async def test_menu_is_no_surer_of_who_cancelled_than_the_card(bot: World, choice: str) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("cut", verb="cancel", after=True))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled, apparently by <@U0ALICE>")
    await bot.slack.press(alert, cards.MORE, choice=choice, user="U0BOB")
    assert "apparently" in (await bot.reply_privately("U0BOB")).text.lower()
    await bot.slack.open_home()
    await until(bot, lambda: "apparently cancelled" in str(bot.slack.homes.get("U0ALICE")))
