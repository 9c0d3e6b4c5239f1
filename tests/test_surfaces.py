"""What may arrive at the door: signatures, unknown controls, and more than can be taken."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot.tasks import Tasks
from tests.simulator.slack import sign
from tests.simulator.slack.workspace import TEAM
from tests.world import APPROVE, REF, World, world


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with world() as running:
        yield running


@pytest.fixture(params=["http", "socket"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(socket=request.param == "socket") as running:
        yield running


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
async def test_a_forged_old_or_malformed_signature_is_401(bot: World, headers: dict[str, str]) -> None:
    bot.together.add()
    assert (await bot.slack.post_signed(BODY, **headers)).status == 401
    await bot.settle()
    assert (bot.together.calls, bot.slack.messages) == ([], [])


@pytest.mark.parametrize("body", [b"\xff\xfe", b"payload=%7Bbroken", b"{broken", b"payload=%ff", b""])
async def test_a_body_that_cannot_be_read_is_no_internal_error(bot: World, body: bytes) -> None:
    assert (await bot.slack.post_signed(body)).status in {401, 404}
    assert (await bot.slack.post_signed(body, content_type="application/json; charset=klingon")).status in {401, 404}


async def test_ssl_check_is_answered_without_work(bot: World) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{bot.slack.bot_url}/slack/events", data={"ssl_check": "1", "token": "x"})
        assert response.status == 200


async def test_an_unknown_command_is_acked_and_answered(either: World) -> None:
    assert (await either.slack.command("x", command="/reboot-everything")).status == 200
    assert "does not know the command /reboot-everything" in (await either.whisper()).text


async def test_an_unknown_button_is_acked_and_answered(either: World) -> None:
    message = either.slack.post_as_tool([actions("remediation:explode"), actions("other", url="https://x.example")])
    assert (await either.slack.press(message, "remediation:explode")).status == 200
    assert "does not know the button remediation:explode" in (await either.whisper()).text


async def test_a_link_is_acked_and_nothing_else(either: World) -> None:
    message = either.slack.post_as_tool([actions("runbook", url="https://x.example")])
    assert (await either.slack.press(message, "runbook")).status == 200
    await either.settle()
    assert len(either.slack.messages) == 1


def actions(action_id: str, **extra: Any) -> dict[str, Any]:
    button = {"type": "button", "action_id": action_id, "text": {"type": "plain_text", "text": "x"}, **extra}
    return {"type": "actions", "elements": [button]}


def interaction(kind: str, **extra: Any) -> dict[str, Any]:
    user = {"id": "U0ALICE", "name": "alice", "team_id": TEAM}
    return {"type": kind, "team": {"id": TEAM}, "user": user, "trigger_id": "1.1", "callback_id": "gone", **extra}


async def test_an_unknown_dialog_is_acked_and_answered_in_a_direct_message(either: World) -> None:
    view = {"type": "modal", "callback_id": "gone", "id": "V1", "state": {"values": {}}}
    ack = await either.slack.deliver("interactive", interaction("view_submission", view=view))
    assert (ack.status, ack.body) == (200, "")
    await either.slack.until(lambda: either.slack.direct("U0ALICE"))
    assert "does not know this dialog" in either.slack.direct("U0ALICE")[0].text
    assert (await either.slack.deliver("interactive", interaction("view_closed", view=view))).status == 200


@pytest.mark.parametrize("kind", ["shortcut", "message_action"])
async def test_an_unknown_shortcut_is_acked_and_answered(either: World, kind: str) -> None:
    assert (await either.slack.deliver("interactive", interaction(kind))).status == 200
    await either.slack.until(lambda: either.slack.direct("U0ALICE"))
    assert "does not know this shortcut" in either.slack.direct("U0ALICE")[0].text


async def test_a_button_in_a_view_is_answered_in_a_direct_message(either: World) -> None:
    payload = interaction("block_actions", container={"type": "view"}, actions=[{"action_id": APPROVE, "value": "x"}])
    payload["actions"][0] |= {"type": "button", "block_id": "b"}
    assert (await either.slack.deliver("interactive", payload)).status == 200
    await either.slack.until(lambda: either.slack.direct("U0ALICE"))
    assert "This button cannot be read" in either.slack.direct("U0ALICE")[0].text


async def test_options_and_events_are_acked(bot: World) -> None:
    payload = interaction("block_suggestion", action_id="x", block_id="b", value="", container={"type": "view"})
    assert (await bot.slack.deliver("interactive", payload)).body == '{"options": []}'
    event = {"type": "event_callback", "team_id": TEAM, "event": {"type": "app_home_opened", "user": "U0ALICE"}}
    ack = await bot.slack.post_signed(json.dumps(event).encode(), content_type="application/json")
    assert ack.status == 200


@pytest.mark.parametrize("url", ["https://hooks.slack.com.evil.example/x", "http://10.0.0.1/x", "file:///x", "x", None])
async def test_a_foreign_or_missing_response_url_is_not_called(bot: World, url: str | None) -> None:
    message = bot.slack.post_as_tool([actions("remediation:explode")])
    await bot.slack.press(message, "remediation:explode", response_url=url)
    assert "does not know the button" in (await bot.whisper()).text
    assert [method for method, _ in bot.slack.calls if method.startswith("chat.")] == ["chat.postEphemeral"]


async def test_what_cannot_be_taken_is_said_in_the_ack(either: World) -> None:
    either.together.add()
    alert = either.alert()
    either.app.tasks.limit = 1
    with either.together.paused("cancel"):
        await either.slack.command(REF)
        await either.together.until(lambda: either.together.posts)
        ack = await either.slack.command("a b c")
        assert ack.status == 200
        assert "did not take this. Nothing was sent to Together. Try again" in ack.body
        if not either.slack.use_socket:
            assert (await either.slack.press(alert, APPROVE)).status == 503
    assert "Cancelled" in (await either.answer(2)).text
    assert alert.edits == 0


async def test_a_task_that_fails_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks()
    tasks.spawn(fail(), "the failing one")
    await tasks.drain(1)
    assert "Task the failing one failed" in caplog.text
    assert not tasks.accepting
