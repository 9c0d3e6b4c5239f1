"""What may arrive at the door: signatures, unknown controls, and more than can be handled."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from sqlalchemy import select

from bot.store.tables import audit
from tests.rows import execute_beside
from tests.simulator.slack import sign
from tests.simulator.slack.workspace import TEAM
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, both_transports, button_row

BODY = urlencode({"command": "/cancel-remediation", "text": REF, "team_id": TEAM, "user_id": "U0ALICE"}).encode()


NOW = str(int(time.time()))


OLD = str(int(time.time()) - 301)


FORGED = {
    "another secret": {"x_slack_signature": sign(NOW, BODY, "wrong"), "x_slack_request_timestamp": NOW},
    "another body": {"x_slack_signature": sign(NOW, b"x"), "x_slack_request_timestamp": NOW},
    "no signature": {"x_slack_signature": "", "x_slack_request_timestamp": NOW},
    "old": {"x_slack_signature": sign(OLD, BODY), "x_slack_request_timestamp": OLD},
    "a time that is no number": {"x_slack_request_timestamp": "yesterday"},
    "an empty time": {"x_slack_request_timestamp": ""},
    "a huge time": {"x_slack_request_timestamp": "9" * 5000},
    "a signature that is not ASCII": {"x_slack_signature": "v0=ÿ"},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
async def test_forged_old_or_malformed_signature_is_401(bot: World, headers: dict[str, str]) -> None:
    bot.together.add()
    assert (await bot.slack.post_signed(BODY, **headers)).status == 401
    await bot.settle()
    assert (bot.together.calls, bot.slack.messages) == ([], [])


@pytest.mark.parametrize("body", [b"payload=[1]", b'payload="x"', b"payload=null", b"payload=" + b"[" * 5000])
async def test_forged_body_that_is_not_an_object_is_401(bot: World, body: bytes) -> None:
    assert (await bot.slack.post_signed(body, x_slack_signature="v0=forged")).status == 401


@pytest.mark.parametrize("body", [b"\xff\xfe", b"payload=%7Bbroken", b"{broken", b"payload=%ff", b""])
async def test_unreadable_body_is_not_an_internal_error(bot: World, body: bytes) -> None:
    assert (await bot.slack.post_signed(body)).status in {401, 404}
    assert (await bot.slack.post_signed(body, content_type="application/json; charset=klingon")).status in {401, 404}


async def test_unsigned_ssl_check_is_answered_and_does_nothing(bot: World) -> None:
    async with aiohttp.ClientSession() as session:
        work = {"command": "/cancel-remediation", "text": REF, "team_id": TEAM, "user_id": "U0ALICE"}
        response = await session.post(f"{bot.slack.bot_url}/slack/events", data={"ssl_check": "1", **work})
        assert response.status == 200
    await bot.settle()
    assert (bot.together.calls, bot.slack.messages) == ([], [])


@both_transports
async def test_unknown_command_is_acked_and_answered(bot: World) -> None:
    assert (await bot.slack.command("x", command="/reboot-everything")).status == 200
    assert "doesn't recognize the command /reboot-everything" in (await bot.reply_privately()).text


async def test_unknown_button_is_acked_and_answered(bot: World) -> None:
    message = bot.slack.post_as_tool([button_row("remediation:explode"), button_row("other", url="https://x.example")])
    assert (await bot.slack.press(message, "remediation:explode")).status == 200
    assert "doesn't recognize the button remediation:explode" in (await bot.reply_privately()).text


async def test_link_button_is_acked_and_nothing_else(bot: World) -> None:
    message = bot.slack.post_as_tool([button_row("runbook", url="https://x.example")])
    assert (await bot.slack.press(message, "runbook")).status == 200
    await bot.settle()
    assert len(bot.slack.messages) == 1


async def test_link_button_in_an_attachment_is_acked_and_nothing_else(bot: World) -> None:
    button = {
        "type": "button",
        "action_id": "x",
        "text": {"type": "plain_text", "text": "x"},
        "url": "https://x.example",
    }
    message = bot.slack.post_as_tool([], attachments=[{"blocks": [{"type": "actions", "elements": [button]}]}])
    assert (await bot.slack.press(message, "x")).status == 200
    await bot.settle()
    assert len(bot.slack.messages) == 1


def interaction(kind: str, **extra: Any) -> dict[str, Any]:
    user = {"id": "U0ALICE", "name": "alice", "team_id": TEAM}
    return {"type": kind, "team": {"id": TEAM}, "user": user, "trigger_id": "1.1", "callback_id": "gone", **extra}


async def test_unknown_dialog_is_acked_and_answered_in_a_direct_message(bot: World) -> None:
    view = {"type": "modal", "callback_id": "gone", "id": "V1", "state": {"values": {}}}
    ack = await bot.slack.deliver("interactive", interaction("view_submission", view=view))
    assert (ack.status, ack.body) == (200, "")
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "doesn't recognize this dialog" in bot.slack.direct("U0ALICE")[0].text
    assert (await bot.slack.deliver("interactive", interaction("view_closed", view=view))).status == 200


async def test_legacy_dialog_is_acked_and_answered(bot: World) -> None:
    payload = {"type": "dialog_submission", "callback_id": "x", "team": {"id": "T0HOME"}, "user": {"id": "U0ALICE"}}
    assert (await bot.slack.deliver("interactive", {**payload, "submission": {}, "action_ts": "1"})).status == 200
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))


@pytest.mark.parametrize("kind", ["shortcut", "message_action"])
async def test_unknown_shortcut_is_acked_and_answered(bot: World, kind: str) -> None:
    assert (await bot.slack.deliver("interactive", interaction(kind))).status == 200
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "doesn't recognize this shortcut" in bot.slack.direct("U0ALICE")[0].text


async def test_button_in_a_view_is_answered_in_a_direct_message(bot: World) -> None:
    payload = interaction("block_actions", container={"type": "view"}, actions=[{"action_id": APPROVE, "value": "x"}])
    payload["actions"][0] |= {"type": "button", "block_id": "b"}
    assert (await bot.slack.deliver("interactive", payload)).status == 200
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "This button doesn't work" in bot.slack.direct("U0ALICE")[0].text


async def test_options_and_events_are_acked(bot: World) -> None:
    payload = interaction("block_suggestion", action_id="x", block_id="b", value="", container={"type": "view"})
    assert (await bot.slack.deliver("interactive", payload)).body == '{"options": []}'
    event = {"type": "event_callback", "team_id": TEAM, "event": {"type": "app_home_opened", "user": "U0ALICE"}}
    ack = await bot.slack.post_signed(json.dumps(event).encode(), content_type="application/json")
    assert ack.status == 200


async def test_overloaded_bot_says_so_in_the_ack(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.app.tasks.limit = 1
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        ack = await bot.slack.command("a b c")
        assert ack.status == 200
        assert "is restarting or overloaded. Nothing was sent." in ack.body
        if not bot.slack.use_socket:
            assert (await bot.slack.press(alert, APPROVE)).status == 503
    assert "Cancelled" in (await bot.answer(2)).text
    assert alert.edits == 0


async def test_one_person_cannot_lock_out_the_others(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("get"):
        acks = [(await bot.slack.press(alert, REFRESH, user="U0CAROL")).status for _ in range(200)]
        assert acks == [200] * 21 + [503] * 179, "she learns it once a minute; the rest isn't acked"
        assert "You have too many requests running" in (await bot.reply_privately("U0CAROL")).text
        assert (await bot.slack.press(alert, APPROVE)).status == 200
        assert (await bot.slack.command(REF, user="U0BOB")).status == 200
    await bot.together.until(lambda: bot.together.posts)


async def test_flood_of_one_person_leaves_one_row_a_minute_and_room_for_others(bot: World) -> None:
    bot.together.add()
    with bot.slack.paused("users.info"):
        for number in range(40):
            await bot.slack.say(f"<@U0BOT> status {number}", user="U0CAROL")
            await bot.slack.command("a b", user="U0CAROL")
            await bot.slack.open_home("U0CAROL")
        assert bot.app.tasks.running <= 25
        assert (await bot.slack.open_home("U0BOB")).status == 200
    await bot.settle()
    rows = await execute_beside(bot, select(audit.c.user_id).where(audit.c.outcome == "too_many_requests"))
    assert [row["user_id"] for row in rows] == ["U0CAROL"]


@pytest.mark.parametrize("name", ["gone", "reason", "chooser", "approvals:pause-for", "approvals:resume-reason"])
async def test_dialog_of_another_version_is_refused_with_an_audit_row(bot: World, name: str) -> None:
    for number, known in enumerate(("x", '["cluster-1"]', '["cluster-1", "C0OPS", false]')):
        view = {"id": f"V{number}", "type": "modal", "callback_id": name, "private_metadata": known, "state": {}}
        ack = await bot.slack.deliver("interactive", interaction("view_submission", view=view))
        assert ack.status == 200
        assert name == "gone" or "doesn't recognize this dialog" in ack.body
    await bot.settle()
    rows = await execute_beside(bot, select(audit.c.user_id, audit.c.outcome))
    assert [tuple(row.values()) for row in rows] == [("U0ALICE", "unknown_control")] * 3


async def test_refusals_in_dialogs_and_of_an_overloaded_bot_have_their_audit_rows(bot: World) -> None:
    view = {"id": "V1", "type": "modal", "callback_id": "reason", "private_metadata": "x", "state": {}}
    ack = await bot.slack.deliver("interactive", interaction("view_submission", view=view))
    assert "doesn't recognize this dialog" in ack.body
    bot.app.tasks.limit = 0
    await bot.slack.command(REF, user="U0BOB")
    await bot.slack.command(REF, user="U0BOB")
    await bot.settle()
    chosen = select(audit.c.user_id, audit.c.outcome).order_by(audit.c.user_id)
    assert [tuple(row.values()) for row in await execute_beside(bot, chosen)] == [
        ("U0ALICE", "unknown_control"),
        ("U0BOB", "overloaded"),
    ]


async def test_everything_refused_has_its_audit_row(bot: World) -> None:
    await bot.slack.command("only two")
    unreadable = {"type": "button", "action_id": APPROVE, "text": {"type": "plain_text", "text": "x"}, "value": "x"}
    message = bot.slack.post_as_tool([{"type": "actions", "elements": [unreadable]}])
    await bot.slack.press(message, APPROVE, user="U0BOB")
    await bot.reply_privately("U0BOB")
    await bot.settle()
    chosen = select(audit.c.event, audit.c.user_id, audit.c.outcome).order_by(audit.c.seq)
    assert [tuple(row.values()) for row in await execute_beside(bot, chosen)] == [
        ("refused", "U0ALICE", "unreadable_command"),
        ("refused", "U0BOB", "unreadable_button"),
    ]


async def test_replayed_request_does_nothing(bot: World) -> None:
    """Byte for byte: also what isn't a decision, such as the end of a pause."""
    bot.together.add()
    alert = bot.slack.post_as_tool([button_row("approvals:resume", value="*")])
    pause = bot.slack.post_as_tool([button_row("approvals:pause", value="*")])
    await bot.slack.press(pause, "approvals:pause")
    await bot.reply_privately(count=1)
    body = urlencode({"payload": json.dumps(bot.slack.click(alert, "approvals:resume"))}).encode()
    headers = {"x_slack_request_timestamp": (stamp := str(int(time.time()))), "x_slack_signature": sign(stamp, body)}
    assert (await bot.slack.post_signed(body, **headers)).status == 200
    await bot.reply_privately(count=2)
    await bot.slack.press(pause, "approvals:pause")
    await bot.reply_privately(count=3)
    assert (await bot.slack.post_signed(body, **headers)).status == 200
    await bot.slack.press(bot.alert(), APPROVE)
    assert "paused approvals until" in (await bot.reply_privately(count=4)).text


async def test_request_that_was_not_taken_may_come_again(bot: World) -> None:
    bot.together.add()
    body = urlencode({"payload": json.dumps(bot.slack.click(bot.alert(), CANCEL))}).encode()
    headers = {"x_slack_request_timestamp": (stamp := str(int(time.time()))), "x_slack_signature": sign(stamp, body)}
    bot.app.tasks.limit = 0
    assert (await bot.slack.post_signed(body, **headers)).status == 503
    bot.app.tasks.limit = 200
    assert (await bot.slack.post_signed(body, **headers)).status == 200
    await bot.together.until(lambda: bot.together.state(IDS) == "CANCELLED")
