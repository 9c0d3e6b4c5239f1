"""The workspace's state and its Web API."""

import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.simulator.listener import KEPT_CALLS, Listener
from tests.simulator.render import block_text
from tests.simulator.slack.limits import Limits, Refused, check_home, check_message, check_metadata, check_view
from tests.simulator.slack.socket import ACK_SECONDS, Sockets

BOT_TOKEN = "xoxb-simulator"
APP_TOKEN = "xapp-simulator"
SIGNING_SECRET = "simulator-signing-secret"
TEAM = "T0HOME"
HOME = "https://home.slack.com/"
BOT_USER = "U0BOT"
COMMAND = "/cancel-remediation"
RESPONSE_USES, RESPONSE_SECONDS = 5, 30 * 60
TRIGGER_SECONDS = 3.0
SCOPES = {
    "app_mentions:read", "channels:history", "channels:read", "chat:write", "chat:write.public", "commands",
    "groups:history", "groups:read", "im:history", "usergroups:read", "users:read",
}  # fmt: skip


PRESSED = {"button", "static_select"}


@dataclass
class Posted:
    """A message of the workspace.

    Attributes:
        only_for: the one user who sees an ephemeral message.
        via: the response_url through which it came.
        edits: how often it was changed.
        broadcast: a reply that is shown in the channel too.
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
    broadcast: bool = False

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """What can be pressed, by `action_id`: buttons, and menus with the choices in them."""
        return {name: item for name, item in self.controls.items() if item["type"] in PRESSED}

    @property
    def controls(self) -> dict[str, dict[str, Any]]:
        """The same, with the menus behind "⋯"."""
        nested = [*self.blocks, *(block for attachment in self.attachments for block in attachment.get("blocks", []))]
        elements = [element for block in nested for element in [block.get("accessory"), *block.get("elements", [])]]
        return {
            element["action_id"]: element
            for element in elements
            if element and element.get("type") in {*PRESSED, "overflow"}
        }

    def row_of(self, action_id: str) -> str:
        """The `block_id` of the row that a control is in."""
        rows = (
            block for block in self.blocks if any(e.get("action_id") == action_id for e in block.get("elements", []))
        )
        return str(next(rows)["block_id"])

    @property
    def title(self) -> str:
        """Its first line, of a card."""
        return block_text(self.blocks[0])

    @property
    def everything(self) -> str:
        """All that can be read in it."""
        drawn = "\n".join(map(block_text, self.blocks))
        return f"{self.text}\n{json.dumps(self.blocks, ensure_ascii=False)}\n{drawn}"


@dataclass
class _ResponseUrl:
    channel: str
    user: str
    source: Posted | None
    expires: float
    uses: int = RESPONSE_USES


@dataclass
class SlackFault:
    """What goes wrong with the next calls of a method: an error code, or one of the kinds of `Slack._break`.

    Attributes:
        after: whether the call is executed before the answer goes wrong.
        late: whether it is executed when the test says so, with `Slack.execute_late`.
        channel, user: only calls about these.
    """

    method: str
    kind: str
    times: int = 1
    retry_after: int | None = None
    after: bool = False
    user: str = ""
    late: bool = False
    channel: str = ""

    def strikes(self, method: str, body: dict[str, Any]) -> bool:
        is_about = self.user in {"", body.get("user")} and self.channel in {"", body.get("channel")}
        return bool(self.times) and self.method in {method, "*"} and is_about


@dataclass
class Channel:
    """A channel, and whether the bot may post in it."""

    name: str
    bot_may_post: bool = True
    is_private: bool = False
    is_archived: bool = False
    is_shared: bool = False


class Workspace(Listener):
    """One workspace with one app in it: what is there, and what the app may do to it.

    Attributes:
        views: the dialogs that are open.
        viewers: who has a dialog open, and in which client, by its ID.
        homes: what the app shows each person in its home.
        scopes: what the app was granted.
        is_new: it takes the blocks that Slack has only since 2026.
        locked: the first messages of threads that take no reply.
        too_old: messages that take no edit any more.
        ack_seconds: how long an app may take to acknowledge. Slack's 3 s; a test that has other business sets more.
        acks_late: how many of the next dialogs' acks come too late for Slack.
    """

    name = "Slack"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.now = now
        self.bot_urls = [""]
        self.use_socket = False
        self.ack_seconds = ACK_SECONDS
        self.acks_late = 0
        self.token = BOT_TOKEN
        self.token_error: str | None = None
        self.auth_extra: dict[str, Any] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.group_names: dict[str, str] = {}
        self.channels = {"C0OPS": Channel("ops"), "C0OTHER": Channel("other")}
        self.messages: list[Posted] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[SlackFault] = []
        self.delivered: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT_CALLS)
        self.connections = 0
        self.may_read_history = True
        self.is_new = True
        self.locked: set[str] = set()
        self.too_old: set[str] = set()
        self.views: list[dict[str, Any]] = []
        self._beneath: dict[str, str] = {}
        self.viewers: dict[str, tuple[str, str]] = {}
        self.homes: dict[str, dict[str, Any]] = {}
        self.scopes = set(SCOPES)
        self.limits: Limits | None = None
        self.refused_for_limits: list[str] = []
        self._late: list[tuple[str, str, dict[str, Any]]] = []
        self._triggers: dict[str, tuple[float, str, str]] = {}
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
        """What is in the thread of a message."""
        return [each for each in self.messages if each.thread_ts == message.ts and each.only_for is None]

    def cards(self, remediation_id: str) -> list[Posted]:
        """The alerts about a remediation, by their metadata."""
        return [
            message
            for message in self.messages
            if (message.metadata or {}).get("event_payload", {}).get("remediation_id") == remediation_id
        ]

    def digests(self) -> list[Posted]:
        """The messages about many remediations, by their metadata."""
        return [
            message for message in self.messages if (message.metadata or {}).get("event_type") == "remediation_digest"
        ]

    def direct(self, user: str) -> list[Posted]:
        """The direct messages between somebody and the app."""
        return [message for message in self.messages if message.channel == im_of(user)]

    # The Web API.

    def proof(self, request: web.Request) -> str:
        if not request.path.startswith("/api/"):
            return ""  # a response_url proves itself
        token = _token(request)
        return {self.token: "bot token ✓", APP_TOKEN: "app token ✓"}.get(token, "token ✗")

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = await _arguments(request)
        self.calls.append((method, body))
        self.changed()
        await self.gate(method)
        fault = next((fault for fault in self.faults if fault.strikes(method, body)), None)
        if fault:
            fault.times -= 1
            if fault.late:
                self._late.append((_token(request), method, body))
            if fault.after:
                self._call(_token(request), method, body)
            return await self._break(request, fault)
        status, answer, headers = self.answer(_token(request), method, body)
        return web.json_response(answer, status=status, headers=headers)

    def answer(self, token: str, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Give a call its status, answer, and headers."""
        if self.limits and (seconds := self.limits.take(method, body, self.now())):
            self.refused_for_limits.append(method)
            return 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)}
        try:
            answer = self._call(token, method, body)
        except Refused as refused:
            answer = {"ok": False, "error": refused.error, "detail": refused.detail}
        self.changed()
        return 200, answer, {"X-OAuth-Scopes": ",".join(sorted(self.scopes))} if answer["ok"] else {}

    def execute_late(self) -> None:
        """Execute what was left open, but for what is refused by then."""
        late, self._late = self._late, []
        for each in late:
            with suppress(Refused):
                self._call(*each)

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
            case "nothing":
                return web.json_response({"ok": True})
            case "bytes":
                return web.Response(body=b"\xff\xfe", content_type="application/json")
            case "hang":
                with self.waiting():
                    await self.stopping.wait()
                return web.Response()
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        status = 429 if fault.kind == "ratelimited" else 200
        return web.json_response({"ok": False, "error": fault.kind}, status=status, headers=headers)

    def _call(self, token: str, method: str, body: dict[str, Any]) -> dict[str, Any]:
        expected = APP_TOKEN if method == "apps.connections.open" else self.token
        if self.token_error or token != expected:
            raise Refused(self.token_error or "invalid_auth")
        drawn = body.get("blocks") or (body.get("view") or {}).get("blocks") or ()
        if not self.is_new and any(each.get("type") in {"container", "alert"} for each in drawn):
            raise Refused("invalid_arguments" if "view" in body else "invalid_blocks", "a block of 2026")
        match method:
            case "auth.test":
                known = {"url": HOME, "team": "Home", "team_id": TEAM, "user_id": BOT_USER}
                return {"ok": True, **known, **self.auth_extra}
            case "chat.postMessage":
                return self._post(body)
            case "chat.postEphemeral":
                self._may_post(body.get("channel"))
                check_message(body, is_update=False)
                return {"ok": True, "message_ts": self.add(body["channel"], body, only_for=body["user"]).ts}
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
            case "usergroups.list":
                return {"ok": True, "usergroups": [{"id": group, "handle": group.lower()} for group in self.groups]}
            case "conversations.info":
                return {"ok": True, "channel": self._channel_info(body.get("channel"))}
            case "chat.delete":
                found = next(
                    (
                        message
                        for message in self.messages
                        if (message.channel, message.ts) == (body["channel"], body["ts"])
                    ),
                    None,
                )
                if found is None or found.by != BOT_USER:
                    raise Refused("message_not_found" if found is None else "cant_delete_message")
                self.messages.remove(found)
                return {"ok": True, "ts": found.ts, "channel": found.channel}
            case "conversations.history" | "conversations.replies":
                return self._history(body)
            case "views.open":
                given_at, user, client = self._triggers.pop(str(body.get("trigger_id")), (None, "", ""))
                if given_at is None:
                    raise Refused("exchanged_trigger_id")
                if self.now() - given_at > TRIGGER_SECONDS:
                    raise Refused("expired_trigger_id")
                check_view(body["view"])
                return {"ok": True, "view": self.open_view(body["view"], user, client)}
            case "views.publish":
                if body.get("user_id") not in self.users:
                    raise Refused("user_not_found")
                check_home(body["view"])
                return {"ok": True, "view": self.publish(body["user_id"], body["view"], body.get("hash"))}
            case "views.update":
                check_view(body["view"])
                return {"ok": True, "view": self._update_view(str(body.get("view_id")), body["view"], body.get("hash"))}
            case "apps.connections.open":
                return {"ok": True, "url": self.sockets.new_ticket()}
        raise Refused("unknown_method", method)

    def _channel_info(self, channel: str | None) -> dict[str, Any]:
        if "channels:read" not in self.scopes:
            raise Refused("missing_scope")
        known = self.channels.get(str(channel))
        if known is None:
            raise Refused("channel_not_found")
        return {
            "id": channel,
            "name": known.name,
            "is_member": known.bot_may_post,
            "is_private": known.is_private,
            "is_archived": known.is_archived,
            "is_ext_shared": known.is_shared,
        }

    def _history(self, body: dict[str, Any]) -> dict[str, Any]:
        """A channel, the newest first and without replies in threads, or a thread; metadata only when asked for."""
        if not self.may_read_history:
            raise Refused("missing_scope")
        self._may_post(body.get("channel"))
        oldest, limit, start = (
            float(body.get("oldest") or 0),
            int(body.get("limit") or 100),
            int(body.get("cursor") or 0),
        )
        is_inclusive = _is_true(body.get("inclusive"))
        if limit > 999:
            raise Refused("invalid_limit")
        found = [
            {
                "type": "message",
                "user": message.by,
                "ts": message.ts,
                "text": message.text,
                "blocks": message.blocks,
                "attachments": message.attachments,
                **(
                    {"metadata": message.metadata}
                    if message.metadata and _is_true(body.get("include_all_metadata"))
                    else {}
                ),
            }
            for message in (self.messages if "ts" in body else reversed(self.messages))
            if message.channel == body["channel"]
            and body.get("ts") in {None, message.ts, message.thread_ts}
            and message.only_for is None
            and (float(message.ts) > oldest or (is_inclusive and message.ts == body.get("oldest")))
            and (not body.get("latest") or float(message.ts) < float(body["latest"]) or message.ts == body["latest"])
            and (message.thread_ts in {None, message.ts} or message.broadcast or "ts" in body)
        ]
        page, more = found[start : start + limit], start + limit < len(found)
        cursor = str(start + limit) if more else ""
        return {"ok": True, "messages": page, "has_more": more, "response_metadata": {"next_cursor": cursor}}

    def _may_post(self, channel: str | None) -> None:
        if channel in self.users or channel in {im_of(user) for user in self.users}:
            return  # a direct message
        if channel not in self.channels:
            raise Refused("channel_not_found")
        if self.channels[channel].is_archived:
            raise Refused("is_archived")
        if not self.channels[channel].bot_may_post:
            raise Refused("not_in_channel")

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        self._may_post(body.get("channel"))
        check_message(body, is_update=False)
        check_metadata(body.get("metadata"))
        if body.get("reply_broadcast") and not body.get("thread_ts"):
            raise Refused("invalid_arguments", "reply_broadcast without thread_ts")
        if body.get("thread_ts") in self.locked:
            raise Refused("restricted_action_thread_locked")
        posted = self.add(body["channel"], body)
        return {"ok": True, "ts": posted.ts, "channel": posted.channel}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        found = next(
            (message for message in self.messages if (message.channel, message.ts) == (body["channel"], body["ts"])),
            None,
        )
        if found is None or found.only_for:
            raise Refused("message_not_found")
        if found.by != BOT_USER:
            raise Refused("cant_update_message")
        if found.ts in self.too_old:
            raise Refused("edit_window_closed")
        if (known := self.channels.get(found.channel)) and known.is_archived:
            raise Refused("is_inactive")
        check_message(body, is_update=True)
        check_metadata(body.get("metadata"))
        self._change(found, body)
        return {"ok": True, "ts": found.ts, "channel": found.channel}

    def _change(self, message: Posted, body: dict[str, Any]) -> None:
        # Text without blocks removes the blocks; omitted attachments are kept.
        message.text, message.blocks = body.get("text") or "", self._stored(body)
        if "attachments" in body:
            message.attachments = body["attachments"]
        if "metadata" in body:
            message.metadata = body["metadata"]
        message.edits += 1
        self.changed()

    def add(self, channel: str, body: dict[str, Any], only_for: str | None = None) -> Posted:
        self._count += 1
        posted = Posted(
            channel=im_of(channel) if channel in self.users else channel,
            ts=f"{int(self.now())}.{self._count:06d}",
            text=body.get("text") or "",
            blocks=self._stored(body),
            attachments=body.get("attachments") or [],
            thread_ts=body.get("thread_ts"),
            only_for=only_for,
            by=body.get("by", BOT_USER),
            metadata=body.get("metadata"),
            broadcast=bool(body.get("reply_broadcast")),
        )
        self.messages.append(posted)
        self.changed()
        return posted

    def _stored(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        # Slack gives every block an ID that the app did not choose.
        self._count += 1
        named = enumerate(body.get("blocks") or [])
        return [{"block_id": f"b{self._count}-{number}", **block} for number, block in named]

    # response_url.

    def response_url(self, channel: str, user: str, source: Posted | None) -> str:
        self._count += 1
        key = f"secret-{self._count}"
        self._responses[key] = _ResponseUrl(channel, user, source, self.now() + RESPONSE_SECONDS)
        return f"{self.url}/response/{key}"

    async def _response(self, request: web.Request) -> web.Response:
        status, text = self.respond(request.match_info["key"], await request.json())
        return web.Response(status=status, text=text)

    def respond(self, key: str, body: dict[str, Any]) -> tuple[int, str]:
        """Take what was posted to a `response_url`. Returns the status, and the text with it."""
        entry = self._responses.get(key)
        self.calls.append(("response_url", body))
        fault = next((fault for fault in self.faults if fault.times and fault.method == "response_url"), None)
        if fault:
            fault.times -= 1
            return 500, ""
        if entry is None or entry.uses < 1 or self.now() > entry.expires:
            return 404, "Expired url"
        try:
            check_message(body, is_update=False)
        except Refused as refused:
            return 400, refused.error
        entry.uses -= 1
        if body.get("replace_original") and entry.source:
            self._change(entry.source, body)
        else:
            only_for = None if body.get("response_type") == "in_channel" else entry.user
            self.add(entry.channel, body, only_for=only_for).via = f"{self.url}/response/{key}"
        return 200, "ok"

    def close_view(self, view: dict[str, Any], *, is_all: bool = False) -> None:
        """Close a dialog, and all beneath it. The app is told only of those that ask for it, and this app's do not."""
        below = self._beneath.pop(view["id"], "")
        self.views[:] = [each for each in self.views if each["id"] != view["id"]]
        if is_all and below:
            self.close_view({"id": below}, is_all=True)
        self.changed()

    def push_view(self, view: dict[str, Any], below: str) -> None:
        """Put a dialog on top of another one, which keeps what was chosen (docs.slack.dev, modals: at most three)."""
        user, client = self.viewers[below]
        if below in self._beneath and self._beneath[below] in self._beneath:
            raise Refused("push_limit_reached")
        self._beneath[self.open_view(view, user, client)["id"]] = below
        self.changed()

    def open_view(self, view: dict[str, Any], user: str, client: str = "") -> dict[str, Any]:
        self._count += 1
        opened = {**view, "id": f"V{self._count}", "hash": "0"}
        self.viewers[opened["id"]] = user, client
        self.views.append(opened)
        return opened

    def _update_view(self, view_id: str, view: dict[str, Any], seen: str | None) -> dict[str, Any]:
        """Change a dialog that is open. What was filled in stays where a field's block and action stay.

        Args:
            seen: the hash of what to change (docs.slack.dev, views.update); None for what is there.
        """
        number = next((number for number, view in enumerate(self.views) if view["id"] == view_id), None)
        if number is None:
            raise Refused("not_found", "the view was closed")
        if seen not in {None, self.views[number]["hash"]}:
            raise Refused("hash_conflict", "something newer is shown")
        version = self.views[number].get("version", 0) + 1
        self.views[number] = {**view, "id": view_id, "version": version, "hash": str(version)}
        self.changed()
        return self.views[number]

    def publish(self, user: str, view: dict[str, Any], seen: str | None = None) -> dict[str, Any]:
        """Put a view in somebody's home.

        Args:
            user: whose home it is.
            view: what is put there.
            seen: the hash of what to change (docs.slack.dev, views.publish); None for what is there.
        """
        known = self.homes.get(user, {})
        if seen not in {None, known.get("hash")}:
            raise Refused("hash_conflict", "something newer is shown")
        version = known.get("version", 0) + 1
        shown = {**view, "id": known.get("id") or f"VHOME{user}", "version": version, "hash": str(version)}
        self.homes[user] = {**shown, "blocks": self._stored(view)}
        self.changed()
        return self.homes[user]

    def new_trigger(self, user: str, client: str = "") -> str:
        self._count += 1
        trigger = f"{self._count}.trigger"
        self._triggers[trigger] = (self.now(), user, client)
        return trigger


def im_of(user: str) -> str:
    """The channel of the direct messages between somebody and the app; posting to a user ID opens it."""
    return f"D{user[1:]}"


def _token(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() in {"1", "true"}


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(await request.json())
    return {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
