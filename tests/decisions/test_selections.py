"""Selecting many in a digest, and the dialog before they are decided."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.store.tables import audit
from tests.rows import execute_beside
from tests.simulator.render import render_view
from tests.simulator.slack.workspace import SlackFault
from tests.sqlite import locked
from tests.storms import APPROVE_SELECTED, CANCEL_SELECTED, SELECT, began, choose, digest, storm
from tests.watch import quiet, watching
from tests.world import World

pytestmark = pytest.mark.bot(watching=True)


async def test_choices_are_all_a_mode_or_matching_nodes(bot: World) -> None:
    await began(bot)
    storm(bot, 120)
    message = await digest(bot)
    everything = [option["text"]["text"] for option in await bot.slack.ask_for_options(message, SELECT)]
    assert everything[:3] == ["All waiting (120)", "All Reboot (90)", "All Quick reprovision (30)"]
    assert len(everything) == 100
    found = [option["text"]["text"] for option in await bot.slack.ask_for_options(message, SELECT, "node-0117")]
    assert found == ["gpu-node-0117 · Reboot"]
    assert await bot.slack.ask_for_options(message, SELECT, "nothing like it") == []


async def test_choices_are_shown_only_to_members_of_the_workspace(bot: World) -> None:
    bot.slack.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    assert await bot.slack.ask_for_options(message, SELECT, user="U0PARTNER") == []
    assert await bot.slack.ask_for_options(message, SELECT, user="U0CAROL") != []


async def test_dialog_shows_what_will_happen_to_which_node(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    words = render_view(view).replace("│\n│ ", "")
    assert view["title"] == {"type": "plain_text", "text": "Approve 8 repairs", "emoji": False}
    assert "Reboot (6 nodes): Reboots the VM. It" in words
    assert "Quick reprovision (2 nodes): Replaces the VM" in words
    assert all(f"gpu-node-{number:04d}" in str(view) for number in range(8))
    assert bot.together.posts == []


async def test_selection_in_which_nothing_waits_opens_no_dialog(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    (option, *_) = await bot.slack.ask_for_options(message, SELECT, "node-0002")
    bot.together.resolve(ids[2])
    await digest(bot, "1 resolved on its own")
    message.selected[SELECT] = [option["value"]]
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "No waiting nodes are selected" in (await bot.reply_privately()).text


async def test_dialog_that_cannot_be_opened_is_reported(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "is restarting or overloaded" in (await bot.reply_privately()).text
    assert bot.slack.views == []


async def test_cancel_selected_cancels(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    options = await bot.slack.ask_for_options(message, SELECT, "node-0002")
    view = await choose(bot, message, options[0]["value"], action=CANCEL_SELECTED)
    assert view["title"]["text"] == "Cancel 1 remediation"  # type: ignore[index] # a view is JSON
    await bot.slack.submit(view)
    await digest(bot, "1 of 1: 1 cancelled")
    assert bot.together.state(ids[2]) == "CANCELLED"
    assert len(bot.together.posts) == 1


async def test_empty_selection_opens_no_dialog(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "No waiting nodes are selected" in (await bot.reply_privately()).text
    assert bot.slack.views == []


async def test_person_who_may_not_decide_gets_no_dialog(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    await bot.slack.press(message, APPROVE_SELECTED, user="U0CAROL")
    assert "Only operators can approve remediations." in (await bot.reply_privately("U0CAROL")).text
    assert bot.slack.views == []


async def test_dialog_is_submitted_once_and_only_by_its_owner(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    ack = await bot.slack.submit(view, user="U0BOB")
    assert json.loads(ack.body)["response_action"] == "update"
    assert bot.together.posts == []
    await bot.slack.submit(view)
    await digest(bot, "6 of 6: 6 approved")
    ack = await bot.slack.submit(view)
    assert json.loads(ack.body)["response_action"] == "update"
    await quiet(bot)
    assert len(bot.together.posts) == 6


async def test_selection_while_the_database_is_away_is_answered(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await quiet(bot)
        message.selected["digest:select"] = ["all"]
        async with locked(tmp_path / "bot.db"):
            await bot.slack.press(message, "digest:approve")
            assert "The bot can't reach its database" in (await bot.reply_privately()).text
        assert bot.slack.views == []


async def test_selection_is_not_acked_by_an_overloaded_bot(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    bot.app.tasks.limit = 0
    assert (await bot.slack.press(message, "digest:approve")).status == 503
    ack = await bot.slack.submit(view)
    assert "is restarting or overloaded" in ack.body
    assert bot.together.posts == []


async def test_choosing_is_acked_and_does_nothing(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, "digest:approve")
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
    message.selected[SELECT] = ["all"]
    bot.slack.faults.append(SlackFault("views.open", kind))
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "is restarting or overloaded" in (await bot.reply_privately()).text


@pytest.mark.parametrize("kind", ["list", "text", "bytes"])
async def test_odd_response_about_a_group_is_reported(kind: str) -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        message.selected[SELECT] = ["all"]
        bot.slack.faults.append(SlackFault("usergroups.users.list", kind, times=-1))
        await bot.slack.press(message, APPROVE_SELECTED)
        assert "Couldn't check your permissions with Slack" in (await bot.reply_privately()).text


async def test_redelivered_press_opens_no_second_dialog_and_says_nothing(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    payload = bot.slack.click(message, APPROVE_SELECTED)
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
    view = await choose(bot, message, "all")
    await bot.slack.submit(view, user="U0BOB")
    bot.slack.views[:] = [view]
    await bot.slack.submit(view)
    message.selected[SELECT] = ["all"]
    await bot.slack.press(message, APPROVE_SELECTED, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await quiet(bot)
    chosen = select(audit.c.event, audit.c.user_id, audit.c.outcome).where(audit.c.event.in_(["refused", "confirmed"]))
    rows = {tuple(row.values()) for row in await execute_beside(bot, chosen)}
    assert rows == {
        ("refused", "U0BOB", "not_confirmed"),
        ("confirmed", "U0ALICE", None),
        ("refused", "U0CAROL", "not_allowed"),
    }
