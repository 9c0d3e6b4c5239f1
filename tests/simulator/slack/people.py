"""What people do in the workspace, and how Slack tells the app of it."""

import hashlib
import hmac
import json
import random
import time
from typing import Any
from urllib.parse import urlencode

import aiohttp
from slack_sdk.signature import SignatureVerifier

from tests.simulator.slack.limits import Refused, check_option_groups, check_options, check_view
from tests.simulator.slack.socket import Ack
from tests.simulator.slack.workspace import BOT_USER, COMMAND, SIGNING_SECRET, TEAM, Posted, Workspace, im_of


class Slack(Workspace):
    """The workspace with its people."""

    async def command(
        self,
        text: str,
        *,
        user: str = "U0ALICE",
        channel: str = "C0OPS",
        command: str = COMMAND,
        client: str = "",
        **extra: Any,
    ) -> Ack:
        """Type a slash command. What the ack says, the person alone sees."""
        ack = await self.deliver("slash_commands", {
            "token": "deprecated",
            "team_id": TEAM,
            "team_domain": "home",
            "channel_id": channel,
            "channel_name": self.channels[channel].name if channel in self.channels else "directmessage",
            "user_id": user,
            "user_name": self.users.get(user, {}).get("name", "somebody"),
            "command": command,
            "text": text,
            "api_app_id": "A0BOT",
            "is_enterprise_install": "false",
            "response_url": self.response_url(channel, user, None),
            "trigger_id": self.new_trigger(user, client),
            **extra,
        })  # fmt: skip
        if ack.status == 200 and ack.body:
            self.add(channel, json.loads(ack.body), only_for=user)
        return ack

    async def use_shortcut(self, message: Posted, callback_id: str, *, user: str = "U0ALICE", client: str = "") -> Ack:
        """Use a message shortcut: it works on any message that is not ephemeral, of anybody."""
        return await self.deliver("interactive", {
            "type": "message_action",
            **self._person(user),
            "callback_id": callback_id,
            "trigger_id": self.new_trigger(user, client),
            "response_url": self.response_url(message.channel, user, None),
            "channel": self._channel(message),
            "message": {
                "type": "message",
                "user": message.by,
                "ts": message.ts,
                "text": message.text,
                "blocks": message.blocks,
                "attachments": message.attachments,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
                **({"metadata": message.metadata} if message.metadata else {}),
            },
        })  # fmt: skip

    async def open_home(self, user: str = "U0ALICE", *, tab: str = "home") -> Ack:
        """Open the app's home, or the messages with it."""
        view = {"view": self.homes[user]} if user in self.homes else {}
        return await self.tell({"type": "app_home_opened", "user": user, "channel": im_of(user), "tab": tab, **view})

    async def press_home(
        self, action_id: str, *, about: str = "", user: str = "U0ALICE", choice: str = "", client: str = ""
    ) -> Ack:
        """Press something in the app's home.

        Args:
            action_id: of the control.
            about: the remediation whose row it is in; empty where there is only one.
            user: whose home it is.
            choice: the value of an option, where it is a menu.
            client: in which of the person's clients.
        """
        view = self.homes[user]
        rows = [block for block in view["blocks"] if about in json.dumps(block)]
        controls = [(row, each) for row in rows for each in [row.get("accessory", {}), *row.get("elements", [])]]
        found = [(row, control) for row, control in controls if control.get("action_id") == action_id]
        row, seen = found[0]
        return await self.act_in_home(view, row["block_id"], seen, user=user, choice=choice, client=client)

    async def act_in_home(
        self, view: dict[str, Any], block_id: str, seen: dict[str, Any], *, user: str, choice: str, client: str = ""
    ) -> Ack:
        """Tell the app of a press in its home, as the control was seen."""
        if seen["type"] == "external_select":
            chosen = {"text": {"type": "plain_text", "text": choice}, "value": choice}
            action = {"type": seen["type"], "selected_option": chosen}
        elif seen["type"] in {"static_select", "overflow"}:
            option = next(
                option
                for option in seen["options"]
                if choice in {"", option["value"], option["value"].partition(":")[0]}
            )
            action = {"type": seen["type"], "selected_option": option}
        else:
            action = {"type": "button", "text": seen["text"], "value": seen.get("value", "")}
        return await self.deliver("interactive", {
            "type": "block_actions",
            **self._person(user),
            "container": {"type": "view", "view_id": view["id"]},
            "trigger_id": self.new_trigger(user, client),
            "view": {**view, "state": {"values": {}}},
            "actions": [{
                "action_id": seen["action_id"], "block_id": block_id, **action, "action_ts": f"{self.now():.6f}",
            }],
        })  # fmt: skip

    async def ask_in_home(self, action_id: str, query: str = "", *, user: str = "U0ALICE") -> list[dict[str, Any]]:
        """Open a menu in the app's home, or type into it."""
        view = self.homes[user]
        row = next(block for block in view["blocks"] if action_id in json.dumps(block))
        ack = await self.deliver("interactive", {
            "type": "block_suggestion",
            **self._person(user),
            "container": {"type": "view", "view_id": view["id"]},
            "view": view,
            "action_id": action_id,
            "block_id": row["block_id"],
            "value": query,
        })  # fmt: skip
        options = json.loads(ack.body)["options"] if ack.status == 200 else []
        check_options(options)
        return list(options)

    async def say(
        self, text: str, *, user: str, channel: str = "C0OPS", thread: Posted | None = None, **extra: Any
    ) -> Posted:
        """Write a message. The app is told of those that mention it, and of those to itself, where it was granted that.

        Args:
            text: as Slack keeps it, with mentions as IDs.
            user: who writes.
            channel: in which channel; `im_of(user)` is the direct message with the app.
            thread: in whose thread.
            extra: what else the event holds.
        """
        thread_ts = {"thread_ts": thread.thread_ts or thread.ts} if thread else {}
        posted = self.add(channel, {"text": text, "by": user, **thread_ts})
        event = {"user": user, "text": text, "ts": posted.ts, "channel": channel, **thread_ts, **extra}
        if channel == im_of(user) and "im:history" in self.scopes:
            await self.tell({"type": "message", "channel_type": "im", **event})
        elif channel != im_of(user) and f"<@{BOT_USER}>" in text and "app_mentions:read" in self.scopes:
            await self.tell({"type": "app_mention", **event})
        return posted

    async def tell(self, event: dict[str, Any], *, event_id: str = "") -> Ack:
        """Tell the app of an event; the same `event_id` twice is a retry."""
        self._count += 1
        return await self.deliver("events_api", {
            "token": "deprecated",
            "team_id": TEAM,
            "api_app_id": "A0BOT",
            "type": "event_callback",
            "event_id": event_id or f"Ev{self._count}",
            "event_time": int(self.now()),
            "event": event,
        })  # fmt: skip

    async def press(self, message: Posted, action_id: str, *, user: str = "U0ALICE", **extra: Any) -> Ack:
        """Press a button of a message, and confirm where it asks."""
        return await self.deliver("interactive", self.click(message, action_id, user=user, **extra))

    def click(
        self,
        message: Posted,
        action_id: str,
        *,
        user: str = "U0ALICE",
        client: str = "",
        button: dict[str, Any] | None = None,
        choice: str = "",
        **extra: Any,
    ) -> dict[str, Any]:
        """The payload of a press; deliver it twice to see a redelivery.

        Args:
            message: on which.
            action_id: of the button.
            user: who presses.
            client: in which of the person's clients; that is where a dialog opens.
            button: as it was seen, where the message may have changed before it was pressed.
            choice: the value of an option, where it is a menu; otherwise the first.
            extra: what else the payload holds.
        """
        seen = button or message.controls[action_id]
        if seen["type"] in {"static_select", "overflow"}:
            option = next(
                option
                for option in seen["options"]
                if choice in {"", option["value"], option["value"].partition(":")[0]}
            )
            action = {"type": seen["type"], "block_id": message.row_of(action_id), "selected_option": option}
        else:
            action = {"type": "button", "block_id": "b1", "text": seen["text"], "value": seen.get("value", "")}
        return {**self._acted(message, {"action_id": action_id, **action}, user, client), **extra}

    def _acted(self, message: Posted, action: dict[str, Any], user: str, client: str = "") -> dict[str, Any]:
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
            **self._person(user),
            "container": container,
            "trigger_id": self.new_trigger(user, client),
            "channel": self._channel(message),
            "response_url": self.response_url(message.channel, user, message),
            "actions": [{**action, "action_ts": f"{self.now():.6f}"}],
        }
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
        return payload

    def _channel(self, message: Posted) -> dict[str, str]:
        known = self.channels.get(message.channel)
        return {"id": message.channel, "name": known.name if known else "directmessage"}

    def _person(self, user: str) -> dict[str, Any]:
        known = self.users.get(user, {})
        return {
            "team": {"id": TEAM, "domain": "home"},
            "user": {"id": user, "username": known.get("name", "somebody"), "team_id": known.get("team_id", TEAM)},
            "api_app_id": "A0BOT",
            "token": "deprecated",
        }

    async def ask_in_view(
        self, view: dict[str, Any], action_id: str, query: str = "", *, user: str = "U0ALICE", block_id: str = ""
    ) -> list[dict[str, Any]]:
        """Open a menu in a dialog, or type into it. The payload does not hold what was chosen in the others."""
        ack = await self.deliver("interactive", {
            "type": "block_suggestion",
            **self._person(user),
            "container": {"type": "view", "view_id": view["id"]},
            "view": {**view, "state": {"values": {}}},
            "action_id": action_id,
            "block_id": block_id or _block_of(view, action_id)["block_id"],
            "value": query,
        })  # fmt: skip
        answer = json.loads(ack.body) if ack.status == 200 else {"options": []}
        if "options" in answer:
            check_options(answer["options"])
            return list(answer["options"])
        return check_option_groups(answer["option_groups"])

    async def pick(self, view: dict[str, Any], action_id: str, option: dict[str, Any], *, user: str = "U0ALICE") -> Ack:
        """Choose in a menu of a dialog that tells the app at once."""
        block = _block_of(view, action_id)
        block["element"]["initial_option"] = option  # what the dialog shows from now on
        return await self.deliver("interactive", {
            "type": "block_actions",
            **self._person(user),
            "container": {"type": "view", "view_id": view["id"]},
            "trigger_id": self.new_trigger(user),
            "view": {**view, "state": {"values": {}}},
            "actions": [{
                "type": "external_select",
                "action_id": action_id,
                "block_id": block["block_id"],
                "selected_option": option,
                "action_ts": f"{self.now():.6f}",
            }],
        })  # fmt: skip

    async def submit(self, view: dict[str, Any], *, user: str = "U0ALICE", **typed: str) -> Ack:
        """Submit a dialog. An ack that says so puts another view in its place; any other closes it.

        Args:
            view: the dialog.
            user: who submits it.
            typed: into its inputs, by `block_id`, or the value that is chosen in a menu with fixed choices; the values
                of boxes and menus with several choices, with spaces between them. What isn't named stays as it begins.

        Raises:
            Refused: a field that must be filled in is not, or has too much in it: Slack sends nothing then.
        """
        inputs = {block["block_id"]: block for block in view["blocks"] if block["type"] == "input"}
        for name, block in inputs.items():
            if block["element"]["type"] == "static_select":
                chosen = {option["value"] for option in block["element"]["options"]}
                if initial := block["element"].get("initial_option"):
                    typed.setdefault(name, initial["value"])
                if typed.get(name) not in ({*chosen, None} if block.get("optional") else chosen):
                    raise Refused("invalid_input", name)
                continue
            if block["element"]["type"] == "external_select":
                if not block["element"].get("initial_option") and not block.get("optional"):
                    raise Refused("invalid_input", name)
                continue
            if block["element"]["type"] in {"multi_external_select", "checkboxes", "radio_buttons"}:
                continue
            length = len(typed.get(name, ""))
            if (not length and not block.get("optional")) or length > block["element"].get("max_length", 3000):
                raise Refused("invalid_input", name)
        values = {
            name: {block["element"]["action_id"]: _filled_in(block["element"], typed.get(name))}
            for name, block in inputs.items()
        }
        ack = await self.deliver("interactive", {
            "type": "view_submission",
            **self._person(user),
            "trigger_id": self.new_trigger(user),
            "view": {**view, "state": {"values": values}},
            "response_urls": [],
        })  # fmt: skip
        if self.acks_late and ack.status == 200:
            self.acks_late -= 1
            ack = Ack(0, "", ack.seconds)
        if ack.status != 200:
            return ack  # Slack leaves the dialog open, and says that it could not reach the app
        _, client = self.viewers[view["id"]]
        answer = json.loads(ack.body) if ack.body else {}
        if answer.get("response_action") == "push":
            check_view(answer["view"])
            self.push_view(answer["view"], view["id"])
            return ack
        self.close_view(view, is_all=answer.get("response_action") == "clear")
        if ack.body:
            if answer.get("response_action") == "update":
                check_view(answer["view"])
                self.open_view(answer["view"], user, client)
            if answer.get("response_action") == "errors":
                fields = {block.get("block_id") for block in view["blocks"] if block["type"] == "input"}
                if not set(answer["errors"]) <= fields:
                    raise Refused("invalid_errors", str(answer["errors"]))
                self.views.append(view)  # it stays open, with what was filled in
        return ack

    async def deliver(self, kind: str, payload: dict[str, Any]) -> Ack:
        """Send a payload to the app the way Slack does, and wait for the ack."""
        self.delivered.append((kind, payload))
        if self.use_socket:
            return await self.sockets.deliver(kind, payload, self.ack_seconds)
        if kind == "events_api":
            return await self.post_signed(
                json.dumps(payload).encode(), what=_what(payload), content_type="application/json"
            )
        body = urlencode(payload) if kind == "slash_commands" else urlencode({"payload": json.dumps(payload)})
        return await self.post_signed(body.encode(), what=_what(payload))

    async def post_signed(self, body: bytes, *, what: str = "", **headers: str) -> Ack:
        """POST to the app's request URL, signed unless `headers` say otherwise (by name, `_` for `-`).

        Args:
            body: of the request.
            what: it is, for the log.
            headers: in place of the right ones.
        """
        signed = signed_headers(body) | {name.replace("_", "-"): value for name, value in headers.items()}
        began = time.monotonic()
        url = random.choice(self.bot_urls)  # noqa: S311 - a balancer's choice is no secret
        patience = aiohttp.ClientTimeout(total=self.ack_seconds)
        proof = "signature ✓" if _is_signed(body, signed) else "signature ✗"
        with self.exchange("Slack → bot", f"POST /slack/events {what}".strip(), proof, body) as exchange:
            try:
                async with (
                    aiohttp.ClientSession(timeout=patience) as session,
                    session.post(f"{url}/slack/events", data=body, headers=signed) as response,
                ):
                    exchange.answered, exchange.status = await response.text(), response.status
                    return Ack(response.status, exchange.answered, time.monotonic() - began)
            except (TimeoutError, aiohttp.ClientError):
                return Ack(0, "", time.monotonic() - began)

    def post_as_tool(
        self, blocks: list[dict[str, Any]], *, channel: str = "C0OPS", text: str = "alert", **extra: Any
    ) -> Posted:
        """Another tool posts with the bot's token."""
        return self.add(channel, {"text": text, "blocks": blocks, **extra})


def signed_headers(body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers of a form that Slack sends now."""
    stamp = str(int(time.time() if now is None else now))
    return {
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": sign(stamp, body),
        "content-type": "application/x-www-form-urlencoded",
    }


def sign(stamp: str, body: bytes, secret: str = SIGNING_SECRET) -> str:
    """Slack's signature, version 0 (docs.slack.dev/authentication/verifying-requests-from-slack)."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


def _block_of(view: dict[str, Any], action_id: str) -> dict[str, Any]:
    return next(block for block in view["blocks"] if block.get("element", {}).get("action_id") == action_id)


def _filled_in(element: dict[str, Any], typed: str | None) -> dict[str, Any]:
    if element["type"] == "external_select":
        return {"type": "external_select", "selected_option": element.get("initial_option")}
    if element["type"] == "static_select":
        return {"type": "static_select", "selected_option": next(
            (option for option in element["options"] if option["value"] == typed), None
        )}  # fmt: skip
    if element["type"] == "radio_buttons":
        chosen = element.get("initial_option") if typed is None else {"value": typed}
        return {"type": "radio_buttons", "selected_option": chosen}
    if element["type"] in {"checkboxes", "multi_external_select"}:
        chosen = element.get("initial_options", []) if typed is None else _options(typed.split())
        return {"type": element["type"], "selected_options": chosen}
    return {"type": "plain_text_input", "value": typed or None}


def _options(values: list[str]) -> list[dict[str, Any]]:
    return [{"value": value} for value in values]


def _what(payload: dict[str, Any]) -> str:
    """What a payload is, in a few words."""
    if "command" in payload:
        return str(payload["command"])
    if "event" in payload:
        return f"event {payload['event']['type']}"
    acted = next(iter(payload.get("actions", [])), payload)
    return f"{payload['type']} {acted.get('action_id') or payload.get('view', {}).get('callback_id', '')}".strip()


def _is_signed(body: bytes, headers: dict[str, str]) -> bool:
    """Judge a signature the way Slack's own SDK does."""
    try:
        return SignatureVerifier(SIGNING_SECRET).is_valid_request(body, headers)
    except (ValueError, TypeError):
        return False  # a time that is no number, a signature that is no ASCII


def _option(menu: dict[str, Any], choice: str) -> dict[str, Any]:
    """Return what is chosen: by its value, or what that begins with before a colon; the first where nothing is said."""
    options: list[dict[str, Any]] = menu["options"]
    return next(option for option in options if choice in {"", option["value"], option["value"].partition(":")[0]})
