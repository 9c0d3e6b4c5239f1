"""Selecting many in a digest, and the dialog before they are decided."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.cards.review import NODES
from bot.store.tables import audit, decisions
from tests.proxy import line_to
from tests.rows import execute_beside
from tests.simulator.render import render_view
from tests.simulator.slack.limits import Refused
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids
from tests.sqlite import locked
from tests.storms import REVIEW, SOME, XID, began, choose, digest, review, storm, ticked
from tests.test_flow_home import opened
from tests.watch import pass_time, pause, quiet, resume, thread, until, watching
from tests.world import World

WHY = "batch:reason"
pytestmark = pytest.mark.bot(watching=True)


async def test_review_groups_by_repair_and_fault_with_what_deletes_data_last(bot: World) -> None:
    await began(bot)
    storm(bot, 120)
    view = await review(bot, await digest(bot))
    words = [block["label"]["text"] for block in view["blocks"] if block["type"] == "input"]
    assert words == [
        "What to do",
        "Reboot · Xid 79, GPU has fallen off the bus (90)",
        "Or only some of those 90",
        "⚠️ Quick reprovision · Xid 79, GPU has fallen off the bus (30)",
        "Or only some of those 30",
    ]
    assert [block["block_id"] for block in view["blocks"] if str(block).count("'initial_options'")] == [
        block["block_id"] for block in view["blocks"] if "review:all" in str(block)
    ]


async def test_search_in_a_large_group_finds_its_nodes_alone(bot: World) -> None:
    await began(bot)
    storm(bot, 120)
    view = await review(bot, await digest(bot))
    reboot, reprovision = [block["block_id"] for block in view["blocks"] if "'review:some'" in str(block)]

    async def found(block_id: str, query: str, user: str = "U0ALICE") -> list[str]:
        options = await bot.slack.ask_in_view(view, SOME, query, user=user, block_id=block_id)
        return [option["text"]["text"] for option in options]

    assert len(await found(reboot, "")) == 90
    assert await found(reboot, "node-0117") == ["gpu-node-0117"]
    assert await found(reprovision, "node-0117") == []
    bot.slack.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
    assert await found(reboot, "", "U0PARTNER") == []


async def test_some_of_a_large_group_are_chosen_by_search(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 40)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, "gpu-node-0004", "gpu-node-0007"))
    await digest(bot, "2 of 2 approved")
    assert [call.ids for call in bot.together.posts] == [ids[4], ids[7]]


async def test_all_and_some_of_a_group_are_not_guessed_at(bot: World) -> None:
    await began(bot)
    storm(bot, 40)
    view = await review(bot, await digest(bot))
    typed = await ticked(bot.slack, view, ["gpu-node-0004"])
    every = {name: item for name, item in typed.items() if not name.startswith("review:all")}
    ack = json.loads((await bot.slack.submit(view, **every)).body)
    assert ack["response_action"] == "errors"
    assert list(ack["errors"].values()) == ["Untick “All” above to choose some, or remove these."]
    assert bot.together.posts == []


async def test_buttons_of_release_0_1_open_the_review_with_what_was_chosen_there(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, REVIEW)
    payload["actions"][0]["action_id"] = "digest:cancel"
    chosen = [{"value": "mode:REMEDIATION_MODE_VM_ONLY"}]
    menu = {"digest:select": {"type": "multi_external_select", "selected_options": chosen}}
    payload["state"] = {"values": {payload["actions"][0]["value"]: menu}}
    await bot.slack.deliver("interactive", payload)
    await until(bot, lambda: bot.slack.views)
    await bot.slack.submit(bot.slack.views[-1])
    assert bot.slack.views[-1]["title"]["text"] == "Cancel 1 remediation"
    await bot.slack.submit(bot.slack.views[-1])
    await digest(bot, "1 of 1 cancelled")
    assert [call.ids for call in bot.together.posts] == [ids[3]]


async def test_dialog_shows_what_will_happen_to_which_node(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message)
    words = render_view(view).replace("│\n│ ", "")
    assert view["title"] == {"type": "plain_text", "text": "Approve 8 repairs", "emoji": False}
    assert "Reboot · Xid 79, GPU has fallen off the bus (6 nodes): Reboots the VM." in " ".join(words.split())
    assert "off the bus (2 nodes): Replaces the VM" in " ".join(words.split())
    assert "gpu-node-0000–0002, 0004–0006" in str(view)
    assert "gpu-node-0003, 0007" in str(view)
    assert bot.together.posts == []


async def test_choice_of_which_nothing_waits_any_more_is_refused(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    view = await review(bot, await digest(bot))
    bot.together.resolve(ids[2])
    await digest(bot, "1 resolved on its own")
    ack = await bot.slack.submit(view, **await ticked(bot.slack, view, ["gpu-node-0002"]))
    assert "Nothing that still waits was chosen" in ack.body
    assert bot.together.posts == []


async def test_dialog_that_cannot_be_opened_is_reported(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
    await bot.slack.press(message, REVIEW)
    assert "Slack couldn't show the dialog. Nothing was sent." in (await bot.reply_privately()).text
    assert bot.slack.views == []


async def test_cancel_these_instead_cancels(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "gpu-node-0002", verb="cancel")
    assert view["title"]["text"] == "Cancel 1 remediation"
    await bot.slack.submit(view)
    await digest(bot, "1 of 1 cancelled")
    assert bot.together.state(ids[2]) == "CANCELLED"
    assert len(bot.together.posts) == 1
    assert bot.slack.views == []


async def test_nothing_ticked_is_refused(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    view = await choose(bot, await digest(bot), "no such node")
    assert "Nothing that still waits was chosen" in str(view)
    assert bot.together.posts == []


async def test_going_back_leaves_what_was_chosen(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.slack.close_view(view)
    assert [view["callback_id"] for view in bot.slack.views] == [REVIEW]
    await bot.slack.submit(bot.slack.views[0])
    await bot.slack.submit(bot.slack.views[-1])
    await digest(bot, "6 of 6 approved")
    await bot.slack.submit(view)  # the one that was left, from another device
    await quiet(bot)
    assert len(bot.together.posts) == 6


async def test_dialogs_say_who_else_must_approve_and_how_many_the_limit_lets_start() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="VM_ONLY", BOT_MAX_IN_REPAIR="3") as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        view = await review(bot, message)
        assert "The limit lets 3 more start" in str(view)
        assert str(view).count("Needs two approvers") == 4  # in the boxes, and in what is ticked to begin with
        confirm = await choose(bot, message, "gpu-node-0003", "gpu-node-0007")
        assert "2 of 2 need a second person's approval." in str(confirm)
        await bot.slack.submit(confirm)
        await digest(bot, "0 of 2 approved · 2 first approvals")
        await digest(bot, "1 of 2 approvals (@U0ALICE)")
        assert "1 of 2 approvals: <@U0ALICE>" in str(await review(bot, message, "U0BOB"))


async def test_person_who_may_not_decide_gets_no_dialog(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.press(message, REVIEW, user="U0CAROL")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert bot.slack.views == []


async def test_dialog_is_submitted_once_and_only_by_its_owner(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    ack = await bot.slack.submit(view, user="U0BOB")
    assert json.loads(ack.body)["response_action"] == "update"
    assert bot.together.posts == []
    await bot.slack.submit(view)
    await digest(bot, "6 of 6 approved")
    shown = json.loads((await bot.slack.submit(view)).body)
    assert shown["response_action"] == "update"
    assert shown["view"]["title"]["text"] == "Nothing more was started"
    await quiet(bot)
    assert len(bot.together.posts) == 6


async def test_selection_while_the_database_is_away_is_answered(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db", busy_seconds=0.1) as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await quiet(bot)
        async with locked(tmp_path / "bot.db"):
            await bot.slack.press(message, REVIEW)
            assert "The bot can't reach its database" in (await bot.reply_privately()).text
        assert bot.slack.views == []


async def test_selection_is_not_acked_by_an_overloaded_bot(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.app.tasks.limit = 0
    assert (await bot.slack.press(message, REVIEW)).status == 503
    ack = await bot.slack.submit(view)
    assert "is restarting or overloaded" in ack.body
    assert bot.together.posts == []


async def test_choosing_in_a_menu_of_release_0_1_is_acked_and_does_nothing(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, REVIEW)
    payload["actions"] = [{"type": "multi_external_select", "action_id": "digest:select", "selected_options": []}]
    assert (await bot.slack.deliver("interactive", payload)).status == 200
    await quiet(bot)
    assert bot.slack.views == []
    assert bot.slack.visible("U0ALICE") == []


@pytest.mark.parametrize("kind", ["list", "text", "bytes", "html", "drop"])
async def test_odd_response_to_a_dialog_is_reported(bot: World, kind: str) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bot.slack.faults.append(SlackFault("views.open", kind))
    await bot.slack.press(message, REVIEW)
    assert "Slack couldn't show the dialog. Nothing was sent." in (await bot.reply_privately()).text


@pytest.mark.parametrize("kind", ["list", "text", "bytes"])
async def test_odd_response_about_a_group_is_reported(kind: str) -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        bot.slack.faults.append(SlackFault("usergroups.users.list", kind, times=-1))
        await bot.slack.press(message, REVIEW)
        assert "Couldn't check your permissions with Slack" in (await bot.reply_privately()).text


async def test_redelivered_press_opens_no_second_dialog_and_says_nothing(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, REVIEW)
    await bot.slack.deliver("interactive", payload)
    await bot.slack.until(lambda: bot.slack.views)
    await bot.slack.deliver("interactive", payload)
    await quiet(bot)
    assert len(bot.slack.views) == 1
    assert bot.slack.visible("U0ALICE") == []


async def test_audit_trail_says_who_confirmed_and_who_was_refused(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    await bot.slack.submit(view, user="U0BOB")
    bot.slack.views[:] = [view]
    await bot.slack.submit(view)
    await bot.slack.press(message, REVIEW, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await quiet(bot)
    chosen = select(audit.c.event, audit.c.user_id, audit.c.outcome).where(audit.c.event.in_(["refused", "confirmed"]))
    rows = {tuple(row.values()) for row in await execute_beside(bot, chosen)}
    assert rows == {
        ("refused", "U0BOB", "not_confirmed"),
        ("confirmed", "U0ALICE", None),
        ("refused", "U0CAROL", "not_allowed"),
    }


def add(bot: World, number: int, **fields: Any) -> Ids:
    """Let a node fall ill with another fault than a storm's, or with none that anything tells."""
    ids = ("cluster-1", f"i-{number}", f"r-{number:04d}")
    return bot.together.add(ids, instance_name=f"gpu-node-{number:04d}", **fields)


async def test_all_of_a_group_without_a_fault_means_no_other_fault(bot: World) -> None:
    await began(bot)
    for number in range(12):
        add(bot, number, reason="")
    for number in range(12, 15):
        add(bot, number, linked_alerts=XID)
    view = await review(bot, await digest(bot))
    (boxes,) = [str(block["block_id"]) for block in view["blocks"] if "'review:nodes'" in str(block)]
    await bot.slack.submit(view, **{"review:verb": "cancel", boxes: ""})
    assert bot.slack.views[-1]["title"]["text"] == "Cancel 12 remediations"


async def test_of_more_than_can_be_decided_at_once_the_oldest_are_offered_and_no_other_is_chosen(bot: World) -> None:
    await began(bot)
    storm(bot, 1300)
    view = await review(bot, await digest(bot, "1300 nodes"))
    assert view["title"]["text"] == "Review 1000 of 1300"
    assert "These are the 1000 that have waited longest, of 1300." in str(view)
    reboot, reprovision = [str(block["block_id"]) for block in view["blocks"] if "'review:all'" in str(block)]
    await bot.slack.submit(view, **{reprovision: ""})
    offered = next(block["label"]["text"] for block in view["blocks"] if block.get("block_id") == reboot)
    count = int(offered.rpartition("(")[2].rstrip(")"))
    assert bot.slack.views[-1]["title"]["text"] == f"Approve {count} repairs"


async def test_review_of_two_clusters_counts_them_and_leaves_out_what_is_only_observed() -> None:
    async with watching() as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        assert "8 nodes of 2 clusters need a decision." in str(await review(bot, await digest(bot)))
    async with watching(BOT_OBSERVE="cluster-2") as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        view = await choose(bot, await digest(bot))
        assert view["title"]["text"] == "Approve 4 repairs"


async def test_what_is_confirmed_is_what_was_shown_even_if_slack_repeats_a_trigger(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)

    async def send(node: str) -> dict[str, Any]:
        view = await review(bot, message)
        await bot.slack.submit(view, **await ticked(bot.slack, view, [node]))
        kind, payload = bot.slack.delivered[-1]
        payload.pop("trigger_id")
        return dict(json.loads((await bot.slack.deliver(kind, payload)).body)["view"])

    await send("gpu-node-0001")
    shown = await send("gpu-node-0002")
    await bot.slack.submit(bot.slack.open_view(shown, "U0ALICE"))
    await digest(bot, "1 of 1 approved")
    assert [call.ids for call in bot.together.posts] == [ids[2]]


async def test_search_still_finds_the_nodes_once_there_are_too_many_faults_to_tell_apart(bot: World) -> None:
    await began(bot)
    for number in range(11):
        add(bot, number, linked_alerts=XID)
    for number in range(11, 22):
        add(bot, number, reason=f"fault {number}")
    view = await review(bot, await digest(bot))
    add(bot, 30, reason="one more fault")
    await digest(bot, "23 nodes")
    assert len(await bot.slack.ask_in_view(view, SOME, "")) == 11


@pytest.mark.parametrize("values", [{"a": None}, {"a": []}, {"a": {"b": {"selected_options": ["z", None]}}}, [], None])
async def test_odd_state_of_a_dialog_is_answered_and_decides_nothing(bot: World, values: Any) -> None:
    await began(bot)
    storm(bot, 6)
    await bot.slack.submit(await review(bot, await digest(bot)))
    kind, payload = bot.slack.delivered[-1]
    payload["view"]["state"] = {"values": values}
    ack = await bot.slack.deliver(kind, payload)
    assert "The bot doesn't recognize this dialog." in ack.body
    assert bot.together.posts == []


async def test_dialog_takes_no_other_verb(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    view = await review(bot, await digest(bot))
    ack = await bot.slack.submit(view, **{"review:verb": "refresh"})
    assert "The bot doesn't recognize this dialog." in ack.body


@pytest.mark.bot(watching=True)
async def test_each_selection_that_runs_is_shown_and_can_be_stopped(bot: World) -> None:
    await began(bot)
    storm(bot, 25)
    message = await digest(bot)
    nodes = [f"gpu-node-{number:04d}" for number in range(25)]
    asked = [await choose(bot, message, *nodes[start : start + 5]) for start in range(0, 20, 5)]
    asked.append(await choose(bot, message, *nodes[20:], user="U0BOB", verb="cancel"))
    with bot.together.paused("approve"), bot.together.paused("cancel"):
        for view in asked[:4]:
            await bot.slack.submit(view)
        await bot.slack.submit(asked[4], user="U0BOB")
        await until(bot, lambda: message.everything.count("started by @U0ALICE") == 4)
        await until(bot, lambda: "started by @U0BOB" in message.everything)
        stops = [element for block in message.blocks for element in block.get("elements", []) if "Stop" in str(element)]
        assert len({button["value"] for button in stops}) == 5
        await bot.slack.press(message, stops[0]["action_id"], button=stops[0])
        await quiet(bot)
    await digest(bot, "5 of 5 cancelled")
    await until(
        bot, lambda: sum("Stopped: <@U0ALICE> stopped it." in reply.text for reply in bot.slack.replies(message)) == 1
    )


async def cancelled(name: str) -> None:
    """Wait until a task whose name begins so was cancelled."""
    while not any(task.cancelling() for task in asyncio.all_tasks() if task.get_name().startswith(name)):  # noqa: ASYNC110 - nothing is set then
        await asyncio.sleep(0.01)


async def test_next_decision_of_a_selection_is_handed_over_at_once_by_a_stop(postgresql: str) -> None:
    """The stop comes while the result of one decision, which gives the next one its turn, is being recorded."""
    async with line_to(postgresql) as line, watching(database=line.url, drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 8)
        view = await choose(bot, await digest(bot))

        def at_the_third() -> None:
            if len(bot.together.posts) == 3:
                line.freeze_after = [b"INSERT INTO audit"]

        bot.together.on_call["approve"] = at_the_third
        await bot.slack.submit(view)
        await line.frozen.wait()
        bot.stop.set()
        await cancelled("batch")  # the drain is over, and what is being recorded is waited for
        line.thaw()
        await bot.running
        (left,) = await execute_beside(bot, select(decisions.c.lease_until).where(decisions.c.status == "received"))
        assert left["lease_until"] == 0.0


async def test_nodes_whose_long_names_are_cut_do_not_look_the_same(bot: World) -> None:
    await began(bot)
    for number in range(7):
        name = f"{'llama-train-h100-' * 5}{number}"
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=name, linked_alerts=XID)
    view = await review(bot, await digest(bot))
    (offered,) = [
        block["element"]["options"] for block in view["blocks"] if block.get("element", {}).get("type") == "checkboxes"
    ]
    shown = [option["text"]["text"] for option in offered]
    assert len(set(shown)) == len(shown)
    assert shown[0].endswith("… (i-0)")


@pytest.mark.parametrize("count", [8, 12])
async def test_nodes_are_offered_in_the_order_of_their_names(bot: World, count: int) -> None:
    await began(bot)
    for number in range(count):
        instance = f"i-{7 * number % count}"  # Together's IDs say nothing, and neither does what came first
        bot.together.add(("cluster-1", instance, f"r-{number}"), instance_name=f"gpu-{number}", linked_alerts=XID)
    view = await review(bot, await digest(bot))
    fields = [block for block in view["blocks"] if block.get("element", {}).get("action_id") in {NODES, SOME}]
    offered = fields[0]["element"].get("options") or await bot.slack.ask_in_view(
        view, SOME, "", block_id=fields[0]["block_id"]
    )
    assert [option["text"]["text"] for option in offered] == [f"gpu-{number}" for number in range(count)]


async def test_selection_approves_no_repair_that_together_does_not_name(bot: World) -> None:
    await began(bot)
    unnamed, *_ = storm(bot, 6)
    bot.together.remediations[unnamed]["mode"] = None
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await until(bot, lambda: "Together doesn't say which repair would run" in " ".join(thread(bot, message)))
    assert bot.together.state(unnamed) == "PENDING_APPROVAL"
    assert len(bot.together.posts) == 5


@pytest.mark.bot(BOT_REASON="always")
async def test_reason_is_asked_for_once_and_kept_with_each_decision(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    with pytest.raises(Refused):
        await bot.slack.submit(view)
    ack = await bot.slack.submit(view, **{WHY: "   "})
    assert json.loads(ack.body) == {"response_action": "errors", "errors": {WHY: "Type a reason first."}}
    assert bot.together.posts == []
    await bot.slack.submit(view, **{WHY: "fabric *restored*"})
    await digest(bot, "6 of 6 approved")
    assert "(“fabric *restored*”)" in message.everything
    assert all("fabric *restored*" in bot.together.remediations[ids]["review_comment"] for ids in ids)
    asked = select(audit.c.event, audit.c.reason).where(audit.c.event.in_(["confirmed", "claimed"]))
    rows = {tuple(row.values()) for row in await execute_beside(bot, asked)}
    assert ("confirmed", "fabric *restored*") in rows


@pytest.mark.bot(BOT_REASON="cancel")
async def test_reason_that_no_setting_asks_for_can_be_left_out(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    assert "“" not in message.everything


async def test_digest_does_not_say_that_the_limit_is_reached_once_it_may_not_be_any_more() -> None:
    async with watching(BOT_MAX_IN_REPAIR="2") as bot:
        await began(bot)
        nodes = storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await digest(bot, "2 nodes are already in repair, and the limit is 2.")
        for ids in nodes:
            while bot.together.state(ids) not in {"PENDING_APPROVAL", "SUCCEEDED"}:
                bot.together.advance(ids)
        await digest(bot, "2 succeeded")
        await pass_time(bot, 180)
        assert "already in repair" not in message.everything
        assert "Stopped: the cluster's repair limit let no more start. 5 not attempted." in message.everything
        assert "already in repair" in " ".join(thread(bot, message))


async def test_dialogs_say_of_when_a_load_is_that_nothing_confirms() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await pass_time(bot, 1300)
        dialogs = [str(await review(bot, message)), str(await choose(bot, message))]
        assert [dialog.count("Cluster: 0 nodes in repair (as of ") for dialog in dialogs] == [1, 1]
        assert "limit lets" not in "".join(dialogs)


async def test_review_says_that_a_colleagues_selection_runs_and_that_approvals_are_paused() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        alices = await choose(bot, message)
        await pause(bot, message, user="U0BOB")
        await digest(bot, "Approvals are paused")
        assert "Approvals are paused in cluster-1" in render_view(await review(bot, message, "U0BOB"))
        await resume(bot, message, user="U0BOB")
        await quiet(bot)
        bot.slack.views[:] = [alices]
        with bot.together.paused("approve"):
            await bot.slack.submit(alices)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.slack.views.clear()
            await bot.slack.press(message, REVIEW, user="U0BOB")
            (view,) = await bot.slack.until(lambda: list(bot.slack.views))
            assert "Approving 8, started by @U0ALICE" in render_view(view)
            assert "Not confirmed" not in render_view(view)
            await bot.slack.submit(view, user="U0BOB", **{"review:verb": "cancel"})
            assert "Approving 8, started by @U0ALICE" in render_view(bot.slack.views[-1])


@pytest.mark.parametrize("how", ["removed", "archived"])
async def test_selection_whose_channel_takes_nothing_is_answered_in_a_direct_message(how: str) -> None:
    async with watching() as bot:
        await began(bot)
        nodes = storm(bot, 6)
        view = await choose(bot, await digest(bot))
        with bot.together.paused("approve"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            channel = bot.slack.channels["C0OPS"]
            channel.bot_may_post, channel.is_private, channel.is_archived = False, how == "removed", how == "archived"
        (told,) = await until(bot, lambda: bot.slack.direct("U0ALICE"), seconds=600)
        assert "results" in told.text
        assert {bot.together.state(ids) for ids in nodes} == {"PENDING"}
        await pass_time(bot, 3600)
        assert bot.slack.direct("U0ALICE") == [told]


async def asked_from_home(bot: World) -> tuple[list[Ids], SlackFault, dict[str, Any]]:
    """Select six nodes whose digest Slack doesn't take; what it is refused for, and the dialog that asks to confirm."""
    await began(bot)
    refused = SlackFault("chat.postMessage", "not_in_channel", times=-1)
    bot.slack.faults.append(refused)
    ids = storm(bot, 6)
    await pass_time(bot, 60)
    assert bot.slack.digests() == []
    await opened(bot)
    await bot.slack.press_home(REVIEW)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view)
    return ids, refused, await bot.slack.until(lambda: bot.slack.views[-1] if bot.slack.views[-1] != view else None)


async def test_selection_of_a_digest_that_was_never_posted_and_is_over_is_refused(bot: World) -> None:
    ids, _, confirmation = await asked_from_home(bot)
    for each in ids:
        bot.together.resolve(each)
    await pass_time(bot, 120)
    acked = await bot.slack.submit(confirmation)
    assert "Nothing more was started" in acked.body


async def test_selection_is_answered_though_its_digest_was_never_posted_and_all_of_it_ended_meanwhile(
    bot: World,
) -> None:
    ids, refused, confirmation = await asked_from_home(bot)
    for each in ids[1:]:
        bot.together.resolve(each)
    await pass_time(bot, 120)
    bot.together.resolve(ids[0])
    for instance in ("instance-1", "instance-2"):
        bot.together.faults.append(Fault("hang", verb="get", instance=instance))
    await bot.slack.submit(confirmation)
    await pass_time(bot, 120, longest=1)
    bot.slack.faults.remove(refused)
    await pass_time(bot, 1800)
    said = [message.text for message in [*bot.slack.visible(), *bot.slack.direct("U0ALICE")]]
    assert any("results" in text for text in said), said


async def test_one_node_with_several_repairs_needs_a_decision(bot: World) -> None:
    await began(bot)
    for number in range(6):
        bot.together.add(("cluster-1", "instance-1", f"r-{number}"), instance_name="gpu-node-7")
    view = await review(bot, await digest(bot))
    assert "1 node of cluster-1 (H100) needs a decision." in render_view(view)


async def test_selection_is_answered_though_the_watch_that_drew_its_digest_is_off_since() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 6)
        view = await choose(bot, await digest(bot))
        with bot.together.paused("approve"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.posts)
            await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": None})):
            await bot.answer(1 + 6)
        titles = sorted(message.text.partition(":")[0] for message in bot.slack.visible()[1:])
        assert titles == [f"gpu-node-000{number} (cluster-1 (H100))" for number in range(6)]
