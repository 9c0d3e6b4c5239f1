"""The workspace's state and its Web API."""

import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.simulator.listener import Listener
from tests.simulator.slack.limits import Limits, Refused, check_message, check_metadata, check_options, check_view
from tests.simulator.slack.socket import ACK_SECONDS, Ack, Sockets

BOT_TOKEN = "xoxb-simulator"
APP_TOKEN = "xapp-simulator"
SIGNING_SECRET = "simulator-signing-secret"
TEAM = "T0HOME"
BOT_USER = "U0BOT"
COMMAND = "/cancel-remediation"
RESPONSE_USES, RESPONSE_SECONDS = 5, 30 * 60
TRIGGER_SECONDS = 3.0


@dataclass
class Posted:
    """A message that stands in the workspace.

    Attributes:
        only_for: the one user who sees an ephemeral message.
        via: the response_url through which it came.
        edits: how often it was changed.
        selected: the values that somebody has chosen in its menus, by `action_id`.
    """

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    attachments: list[dict[str, Any]]
    thread_ts: str | None = None
    only_for: str | None = None
    by: str = BOT_USER
    metadata: dict[str, Any] | None = None
    edits: int = 0
    via: str | None = None
    selected: dict[str, list[str]] = field(default_factory=dict)

    @property
    def menus(self) -> dict[str, dict[str, Any]]:
        """The menus beside sections, by `action_id`, each with the `block_id` of its section."""
        found = [(block, block.get("accessory") or {}) for block in self.blocks]
        return {
            menu["action_id"]: {**menu, "block_id": block["block_id"]}
            for block, menu in found
            if menu.get("type") == "multi_external_select"
        }

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """The buttons by `action_id`."""
        nested = [*self.blocks, *(block for each in self.attachments for block in each.get("blocks", []))]
        elements = [element for block in nested for element in [block.get("accessory"), *block.get("elements", [])]]
        return {each["action_id"]: each for each in elements if each and each.get("type") == "button"}

    @property
    def everything(self) -> str:
        """All that can be read in it."""
        return f"{self.text}\n{json.dumps(self.blocks, ensure_ascii=False)}"


@dataclass
class _ResponseUrl:
    channel: str
    user: str
    source: Posted | None
    expires: float
    uses: int = RESPONSE_USES


@dataclass
class SlackFault:
    """What goes wrong with the next calls of a method: an error code, or one of the kinds of `Slack._break`."""

    method: str
    kind: str
    times: int = 1
    retry_after: int | None = None
    after: bool = False


@dataclass
class Channel:
    """A channel, and whether the bot may post in it."""

    name: str
    bot_may_post: bool = True


class Slack(Listener):
    """One workspace with one app in it."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.now = now
        self.bot_urls = [""]
        self.use_socket = False
        self.token_error: str | None = None
        self.auth_extra: dict[str, Any] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.channels = {"C0OPS": Channel("ops"), "C0OTHER": Channel("other")}
        self.messages: list[Posted] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[SlackFault] = []
        self.connections = 0
        self.may_read_history = True
        self.views: list[dict[str, Any]] = []
        self.limits: Limits | None = None
        self.refused_for_limits: list[str] = []
        self._triggers: dict[str, float] = {}
        self.sockets = Sockets(self)
        self._responses: dict[str, _ResponseUrl] = {}
        self._count = 0
        self.routes = [
            web.route("*", "/api/{method}", self._api),
            web.post("/response/{key}", self._response),
            web.get("/link", self.sockets.connect),
        ]
        for name in ("alice", "bob", "carol"):
            self.add_user(f"U0{name.upper()}", name)

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def add_user(self, user: str, name: str, **flags: Any) -> str:
        self.users[user] = {"id": user, "name": name, "team_id": TEAM, "deleted": False, "is_bot": False, **flags}
        return user

    @property
    def bot_url(self) -> str:
        """The bot's address, behind which there may be several: a delivery goes to any one."""
        return self.bot_urls[0]

    @bot_url.setter
    def bot_url(self, url: str) -> None:
        self.bot_urls = [url]

    # What people see.

    def visible(self, user: str | None = None) -> list[Posted]:
        """The messages for everybody, or those that one user alone sees."""
        return [message for message in self.messages if message.only_for == user]

    def replies(self, message: Posted) -> list[Posted]:
        """What stands in the thread of a message."""
        return [each for each in self.messages if each.thread_ts == message.ts and each.only_for is None]

    def cards(self, remediation_id: str) -> list[Posted]:
        """The alerts about a remediation, by their metadata."""
        return [
            each
            for each in self.messages
            if (each.metadata or {}).get("event_payload", {}).get("remediation_id") == remediation_id
        ]

    def digests(self) -> list[Posted]:
        """The messages about many remediations, by their metadata."""
        return [each for each in self.messages if (each.metadata or {}).get("event_type") == "remediation_digest"]

    def direct(self, user: str) -> list[Posted]:
        return [message for message in self.messages if message.channel == user]

    # What people do.

    async def command(
        self, text: str, *, user: str = "U0ALICE", channel: str = "C0OPS", command: str = COMMAND, **extra: Any
    ) -> Ack:
        """Type a slash command. What the ack says, the person alone sees."""
        ack = await self.deliver("slash_commands", {
            "token": "deprecated",
            "team_id": TEAM,
            "team_domain": "home",
            "channel_id": channel,
            "channel_name": "ops",
            "user_id": user,
            "user_name": self.users.get(user, {}).get("name", "somebody"),
            "command": command,
            "text": text,
            "api_app_id": "A0BOT",
            "is_enterprise_install": "false",
            "response_url": self.response_url(channel, user, None),
            "trigger_id": self._trigger(),
            **extra,
        })  # fmt: skip
        if ack.status == 200 and ack.body:
            self._add(channel, json.loads(ack.body), only_for=user)
        return ack

    async def press(self, message: Posted, action_id: str, *, user: str = "U0ALICE", **extra: Any) -> Ack:
        """Press a button of a message, and confirm where it asks."""
        return await self.deliver("interactive", self.click(message, action_id, user=user, **extra))

    def click(self, message: Posted, action_id: str, *, user: str = "U0ALICE", **extra: Any) -> dict[str, Any]:
        """The payload of a press; deliver it twice to see a redelivery."""
        button = message.buttons[action_id]
        container: dict[str, Any] = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": message.only_for is not None,
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        payload: dict[str, Any] = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "home"},
            "user": {
                "id": user,
                "username": self.users.get(user, {}).get("name", "somebody"),
                "team_id": self.users.get(user, {}).get("team_id", TEAM),
            },
            "api_app_id": "A0BOT",
            "token": "deprecated",
            "container": container,
            "trigger_id": self._trigger(),
            "channel": {"id": message.channel, "name": "ops"},
            "response_url": self.response_url(message.channel, user, message),
            "actions": [
                {
                    "type": "button",
                    "action_id": action_id,
                    "block_id": "b1",
                    "text": button["text"],
                    "value": button.get("value", ""),
                    "action_ts": f"{self.now():.6f}",
                }
            ],
        }
        if message.menus:
            payload["state"] = {"values": {
                menu["block_id"]: {name: {
                    "type": menu["type"],
                    "selected_options": [{"value": value} for value in message.selected.get(name, [])],
                }}
                for name, menu in message.menus.items()
            }}  # fmt: skip
        if message.only_for is None:
            payload["message"] = {
                "type": "message",
                "user": BOT_USER,
                "bot_id": "B0BOT",
                "ts": message.ts,
                "text": message.text,
                "blocks": message.blocks,
                "attachments": message.attachments,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            }
        return {**payload, **extra}

    async def ask_for_options(self, message: Posted, action_id: str, query: str = "") -> list[dict[str, Any]]:
        """Open a menu whose choices the app gives, or type into it."""
        ack = await self.deliver("interactive", {
            "type": "block_suggestion",
            "team": {"id": TEAM, "domain": "home"},
            "user": {"id": "U0ALICE", "team_id": TEAM},
            "api_app_id": "A0BOT",
            "token": "deprecated",
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "channel": {"id": message.channel, "name": "ops"},
            "action_id": action_id,
            "block_id": message.menus[action_id]["block_id"],
            "value": query,
        })  # fmt: skip
        options = json.loads(ack.body)["options"]
        check_options(options)
        return list(options)

    async def submit(self, view: dict[str, Any], *, user: str = "U0ALICE") -> Ack:
        """Submit a dialog. An ack that says so puts another view in its place; any other closes it."""
        ack = await self.deliver("interactive", {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "home"},
            "user": {"id": user, "username": self.users.get(user, {}).get("name", "somebody"), "team_id": TEAM},
            "api_app_id": "A0BOT",
            "token": "deprecated",
            "trigger_id": self._trigger(),
            "view": {**view, "id": "V1", "state": {"values": {}}},
            "response_urls": [],
        })  # fmt: skip
        if view in self.views:
            self.views.remove(view)
        if ack.status == 200 and ack.body:
            answer = json.loads(ack.body)
            if answer.get("response_action") == "update":
                check_view(answer["view"])
                self.views.append(answer["view"])
        return ack

    async def deliver(self, kind: str, payload: dict[str, Any]) -> Ack:
        """Send a payload to the app the way Slack does, and wait for the ack."""
        if self.use_socket:
            return await self.sockets.deliver(kind, payload)
        body = urlencode(payload) if kind == "slash_commands" else urlencode({"payload": json.dumps(payload)})
        return await self.post_signed(body.encode())

    async def post_signed(self, body: bytes, **headers: str) -> Ack:
        """POST to the app's request URL, signed unless `headers` say otherwise (by name, `_` for `-`)."""
        stamp = str(int(time.time()))
        signed = {
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": sign(stamp, body),
            "content-type": "application/x-www-form-urlencoded",
        }
        signed.update({name.replace("_", "-"): value for name, value in headers.items()})
        began = time.monotonic()
        url = random.choice(self.bot_urls)  # noqa: S311 - a balancer's choice is no secret
        patience = aiohttp.ClientTimeout(total=ACK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=patience) as session,
                session.post(f"{url}/slack/events", data=body, headers=signed) as response,
            ):
                return Ack(response.status, await response.text(), time.monotonic() - began)
        except TimeoutError:
            return Ack(0, "", time.monotonic() - began)

    def post_as_tool(
        self, blocks: list[dict[str, Any]], *, channel: str = "C0OPS", text: str = "alert", **extra: Any
    ) -> Posted:
        """Another tool posts with the bot's token."""
        return self._add(channel, {"text": text, "blocks": blocks, **extra})

    # The Web API.

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = await _arguments(request)
        self.calls.append((method, body))
        self.changed()
        await self.gate(method)
        fault = next((each for each in self.faults if each.times and each.method in {method, "*"}), None)
        if fault:
            fault.times -= 1
            if fault.after:
                self._call(request, method, body)
            return await self._break(request, fault)
        if self.limits and (seconds := self.limits.take(method, body, self.now())):
            self.refused_for_limits.append(method)
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(seconds)}
            )
        try:
            answer = self._call(request, method, body)
        except Refused as refused:
            answer = {"ok": False, "error": refused.error, "detail": refused.detail}
        self.changed()
        return web.json_response(answer)

    async def _break(self, request: web.Request, fault: SlackFault) -> web.StreamResponse:
        match fault.kind:
            case "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "html":
                return web.Response(status=503, text="<html>", content_type="text/html")
            case "text":
                return web.Response(text="a proxy says hello")
            case "list":
                return web.json_response([1, 2])
            case "bytes":
                return web.Response(body=b"\xff\xfe", content_type="application/json")
            case "hang":
                with self.waiting():
                    await self.stopping.wait()
                return web.Response()
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        status = 429 if fault.kind == "ratelimited" else 200
        return web.json_response({"ok": False, "error": fault.kind}, status=status, headers=headers)

    def _call(self, request: web.Request, method: str, body: dict[str, Any]) -> dict[str, Any]:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        expected = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if self.token_error or token != expected:
            raise Refused(self.token_error or "invalid_auth")
        match method:
            case "auth.test":
                return {"ok": True, "team": "Home", "team_id": TEAM, "user_id": BOT_USER, **self.auth_extra}
            case "chat.postMessage":
                self._may_post(body.get("channel"))
                check_message(body, is_update=False)
                check_metadata(body.get("metadata"))
                return {"ok": True, "ts": self._add(body["channel"], body).ts, "channel": body["channel"]}
            case "chat.postEphemeral":
                self._may_post(body.get("channel"))
                check_message(body, is_update=False)
                return {"ok": True, "message_ts": self._add(body["channel"], body, only_for=body["user"]).ts}
            case "chat.update":
                return self._update(body)
            case "users.info":
                if body.get("user") not in self.users:
                    raise Refused("user_not_found")
                return {"ok": True, "user": self.users[body["user"]]}
            case "usergroups.users.list":
                if body.get("usergroup") not in self.groups:
                    raise Refused("no_such_subteam")
                return {"ok": True, "users": self.groups[body["usergroup"]]}
            case "conversations.history":
                return self._history(body)
            case "views.open":
                opened_at = self._triggers.pop(str(body.get("trigger_id")), None)
                if opened_at is None:
                    raise Refused("exchanged_trigger_id")
                if self.now() - opened_at > TRIGGER_SECONDS:
                    raise Refused("expired_trigger_id")
                check_view(body["view"])
                self.views.append(body["view"])
                return {"ok": True, "view": {**body["view"], "id": "V1"}}
            case "apps.connections.open":
                return {"ok": True, "url": self.sockets.new_ticket()}
        raise Refused("unknown_method", method)

    def _history(self, body: dict[str, Any]) -> dict[str, Any]:
        """The newest first, without replies in threads; metadata only when it is asked for."""
        if not self.may_read_history:
            raise Refused("missing_scope")
        self._may_post(body.get("channel"))
        oldest, limit, start = (
            float(body.get("oldest") or 0),
            int(body.get("limit") or 100),
            int(body.get("cursor") or 0),
        )
        if limit > 999:
            raise Refused("invalid_limit")
        found = [
            {
                "type": "message",
                "user": each.by,
                "ts": each.ts,
                "text": each.text,
                **({"metadata": each.metadata} if each.metadata and _is_true(body.get("include_all_metadata")) else {}),
            }
            for each in reversed(self.messages)
            if each.channel == body["channel"]
            and each.only_for is None
            and float(each.ts) > oldest
            and each.thread_ts in {None, each.ts}
        ]
        page, more = found[start : start + limit], start + limit < len(found)
        cursor = str(start + limit) if more else ""
        return {"ok": True, "messages": page, "has_more": more, "response_metadata": {"next_cursor": cursor}}

    def _may_post(self, channel: str | None) -> None:
        if channel in self.users:
            return  # a direct message
        if channel not in self.channels:
            raise Refused("channel_not_found")
        if not self.channels[channel].bot_may_post:
            raise Refused("not_in_channel")

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        found = next((each for each in self.messages if (each.channel, each.ts) == (body["channel"], body["ts"])), None)
        if found is None or found.only_for:
            raise Refused("message_not_found")
        if found.by != BOT_USER:
            raise Refused("cant_update_message")
        check_message(body, is_update=True)
        self._change(found, body)
        return {"ok": True, "ts": found.ts, "channel": found.channel}

    def _change(self, message: Posted, body: dict[str, Any]) -> None:
        # Text without blocks removes the blocks; omitted attachments are kept.
        message.text, message.blocks = body.get("text") or "", self._stored(body)
        if "attachments" in body:
            message.attachments = body["attachments"]
        message.edits += 1
        self.changed()

    def _add(self, channel: str, body: dict[str, Any], only_for: str | None = None) -> Posted:
        self._count += 1
        posted = Posted(
            channel=channel,
            ts=f"{int(self.now())}.{self._count:06d}",
            text=body.get("text") or "",
            blocks=self._stored(body),
            attachments=body.get("attachments") or [],
            thread_ts=body.get("thread_ts"),
            only_for=only_for,
            by=body.get("by", BOT_USER),
            metadata=body.get("metadata"),
        )
        self.messages.append(posted)
        self.changed()
        return posted

    def _stored(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        # Slack gives every block an ID that the app did not choose.
        return [{"block_id": f"b{number}", **block} for number, block in enumerate(body.get("blocks") or [])]

    # response_url.

    def response_url(self, channel: str, user: str, source: Posted | None) -> str:
        self._count += 1
        key = f"secret-{self._count}"
        self._responses[key] = _ResponseUrl(channel, user, source, self.now() + RESPONSE_SECONDS)
        return f"{self.url}/response/{key}"

    async def _response(self, request: web.Request) -> web.Response:
        entry = self._responses.get(request.match_info["key"])
        body = await request.json()
        self.calls.append(("response_url", body))
        fault = next((each for each in self.faults if each.times and each.method == "response_url"), None)
        if fault:
            fault.times -= 1
            return web.Response(status=500)
        if entry is None or entry.uses < 1 or self.now() > entry.expires:
            return web.Response(status=404, text="Expired url")
        try:
            check_message(body, is_update=False)
        except Refused as refused:
            return web.Response(status=400, text=refused.error)
        entry.uses -= 1
        if body.get("replace_original") and entry.source:
            self._change(entry.source, body)
        else:
            only_for = None if body.get("response_type") == "in_channel" else entry.user
            self._add(entry.channel, body, only_for=only_for).via = f"{self.url}{request.path}"
        return web.Response(text="ok")

    def _trigger(self) -> str:
        self._count += 1
        trigger = f"{self._count}.trigger"
        self._triggers[trigger] = self.now()
        return trigger


def sign(stamp: str, body: bytes, secret: str = SIGNING_SECRET) -> str:
    """Slack's signature, version 0 (docs.slack.dev/authentication/verifying-requests-from-slack)."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() in {"1", "true"}


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(await request.json())
    return {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
