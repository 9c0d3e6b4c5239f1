"""The page's server: it tells the page what there is, and does what people do on it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.simulator.console import state
from tests.simulator.console.scenes import NODES, Scenes
from tests.simulator.listener import Listener
from tests.simulator.slack import Ack, Posted, Slack
from tests.simulator.slack.limits import Refused
from tests.simulator.slack.workspace import COMMAND, TEAM
from tests.simulator.together import Together

PAGE = Path(__file__).parent / "page"
# All that is shown comes from here, and what is shown is made of text: nothing of it is ever run.
SAFE = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:", "Cache-Control": "no-cache"}
_NEVER = object()  # a version that nothing has
Body = dict[str, Any]


class NotDone(Exception):
    """What a person tried is not possible in Slack; the text says why."""


class Console(Listener):
    """One page for both simulators, on loopback.

    Args:
        slack: the workspace.
        together: the service.
        scenes: what may happen at the service.
        operators: who may decide, to be said beside their names.
        port: where to listen; 0 takes a free one.
    """

    name = "console"

    def __init__(self, slack: Slack, together: Together, scenes: Scenes, operators: set[str], port: int = 0) -> None:
        super().__init__()
        self._slack = slack
        self._together = together
        self._scenes = scenes
        self._operators = operators
        self._port = port
        self._acts: dict[str, Callable[[Body], Awaitable[Body]]] = {
            "write": self._write,
            "press": self._press,
            "shortcut": self._shortcut,
            "open home": self._open_home,
            "home": self._home,
            "home options": self._home_options,
            "submit": self._submit,
            "close": self._close,
            "search": self._search,
            "pick": self._pick,
            "scene": self._scene,
            "happen": self._happen,
            "forge": self._forge,
        }
        self.routes = [
            web.get("/", self._page),
            web.get("/page/{name}", self._page),
            web.get("/news", self._news_stream),
            web.get(r"/call/{number:\d+}", self._call),
            web.post("/do/{act}", self._do),
        ]

    # What there is.

    def proof(self, request: web.Request) -> str:
        """Refuse a page that only pretends to be at this address, by a name that leads here (DNS rebinding)."""
        host = request.host.rpartition(":")[0] or request.host
        if host not in {"127.0.0.1", "localhost", "[::1]"}:
            raise web.HTTPMisdirectedRequest
        return ""

    async def _page(self, request: web.Request) -> web.StreamResponse:
        path = PAGE / request.match_info.get("name", "index.html")
        if path.parent != PAGE or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=SAFE)

    async def _news_stream(self, request: web.Request) -> web.StreamResponse:
        """Tell what has changed, as server-sent events: at first everything."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **SAFE})
        await response.prepare(request)
        known: dict[str, object] = {}
        with self.waiting(), suppress(ConnectionResetError):
            while not self.stopping.is_set():
                upcoming = [each.upcoming for each in (self, self._slack, self._together)]
                changed = {}
                for key, version, value in self._parts():
                    if known.get(key, _NEVER) != version:
                        known[key], changed[key] = version, value() if callable(value) else value
                if changed:
                    await response.write(f"data: {json.dumps(changed)}\n\n".encode())
                await _any_of(*upcoming, self.stopping)
        return response

    async def _call(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(state.bodies(self._slack, self._together, int(request.match_info["number"])))
        except KeyError:
            raise web.HTTPNotFound from None

    def _parts(self) -> Iterator[tuple[str, object, Any]]:
        """What the page is made of: each part's name, what tells its versions apart, and its value."""
        for part in (
            ("workspace", state.workspace(self._slack, self._operators)),
            ("service", state.service(self._together, self._scenes)),
            ("views", state.views(self._slack)),
        ):
            yield part[0], json.dumps(part[1]), part[1]
        for user, view in self._slack.homes.items():
            yield f"home {user}", view["version"], view
        for posted in self._slack.messages:
            yield f"message {posted.ts}", posted.edits, lambda posted=posted: state.message(posted)
        for call in state.calls(self._slack, self._together):
            yield f"call {call['number']}", call["status"], call

    # What people do.

    async def _do(self, request: web.Request) -> web.Response:
        # Pages of other origins cannot send this type without being asked first, and no one answers them.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        act = self._acts.get(request.match_info["act"])
        if act is None:
            raise web.HTTPNotFound
        try:
            answer = await act(await request.json())
        except NotDone as not_done:
            answer = {"said": str(not_done)}
        except KeyError as missing:
            return web.json_response({"said": f"There is no {missing} anymore."}, status=404)
        self.changed()
        return web.json_response(answer)

    async def _write(self, body: Body) -> Body:
        """A message or a command, as the composer takes both."""
        user, text = self._slack.users[body["user"]], body["text"].strip()
        channel = body.get("channel") or next(iter(self._slack.channels))
        if not text.startswith("/"):
            thread = self._message({**body, "ts": body["thread"]}) if body.get("thread") else None
            await self._slack.say(text, user=user["id"], channel=channel, thread=thread)
            return {}
        command, _, words = text.partition(" ")
        if command != COMMAND:
            raise NotDone(f"{command} is not a valid command. This workspace has {COMMAND}.")
        if user["team_id"] != TEAM:
            raise NotDone(f"Only members of this workspace can use {COMMAND}: {user['name']} is a guest.")
        if body.get("thread"):
            raise NotDone("Slack runs no commands in threads. Mention @remediation-bot instead.")
        where = {"user": user["id"], "channel": channel, "client": body.get("client", "")}
        return _acked(await self._slack.command(words.strip(), **where))

    async def _press(self, body: Body) -> Body:
        message, button = self._message(body), body["button"]
        seen = {"user": body["user"], "client": body["client"], "button": button, "choice": button.get("choice", "")}
        return _acked(await self._slack.press(message, button["action_id"], **seen))

    async def _shortcut(self, body: Body) -> Body:
        message, client = self._message(body), body["client"]
        if self._slack.users[body["user"]]["team_id"] != TEAM:
            raise NotDone("Only members of this workspace can use shortcuts.")
        if message.only_for:
            raise NotDone("Slack offers no shortcuts on a message that only you see.")
        ack = await self._slack.use_shortcut(message, body["callback_id"], user=body["user"], client=client)
        return _acked(ack)

    async def _open_home(self, body: Body) -> Body:
        if self._slack.users[body["user"]]["team_id"] != TEAM:
            raise NotDone("Only members of this workspace can open the app.")
        return _acked(await self._slack.open_home(body["user"]))

    async def _home(self, body: Body) -> Body:
        view = self._slack.homes[body["user"]]
        pressed = {"user": body["user"], "choice": body["choice"], "client": body["client"]}
        return _acked(await self._slack.act_in_home(view, body["block"], body["element"], **pressed))

    async def _home_options(self, body: Body) -> Body:
        return {"options": await self._slack.ask_in_home(body["action_id"], body["query"], user=body["user"])}

    async def _submit(self, body: Body) -> Body:
        try:
            return _acked(await self._slack.submit(self._view(body), user=body["user"], **body.get("typed", {})))
        except Refused:
            raise NotDone("Fill in this field, then submit again.") from None

    async def _search(self, body: Body) -> Body:
        view, action, who = self._view(body), body["action_id"], body["user"]
        asked = self._slack.ask_in_view(view, action, body["query"], user=who, block_id=body["block"])
        return {"options": await asked}

    async def _pick(self, body: Body) -> Body:
        return _acked(await self._slack.pick(self._view(body), body["action_id"], body["option"], user=body["user"]))

    async def _close(self, body: Body) -> Body:
        self._slack.close_view(self._view(body))
        return {}

    async def _scene(self, body: Body) -> Body:
        match body["name"]:
            case "break a node":
                self._scenes.break_node()
            case "break 40 nodes":
                self._scenes.break_many()
            case "fail a switch":
                self._scenes.break_many(NODES)
            case "start an automatic repair":
                self._scenes.start_automatically()
            case "fire an alert without a repair":
                self._scenes.fire()
            case "clear those alerts":
                self._together.alerts.clear()
            case "advance":
                self._scenes.advances = bool(body["value"])
            case "condition":
                await self._scenes.set_condition(body["value"])
        self._together.changed()
        return {}

    async def _happen(self, body: Body) -> Body:
        cluster, instance, remediation = body["ids"]
        self._scenes.happen(body["what"], (cluster, instance, remediation))
        self._together.changed()
        return {}

    async def _forge(self, _body: Body) -> Body:
        """Somebody who doesn't know the signing secret sends a click."""
        return _acked(await self._slack.post_signed(b"payload={}", x_slack_signature="v0=forged"))

    def _message(self, body: Body) -> Posted:
        found = (message for message in self._slack.messages if message.ts == body["ts"])
        message = next(found, None)
        if message is None or (message.only_for not in {None, body["user"]}):
            raise KeyError("such message")
        return message

    def _view(self, body: Body) -> Body:
        found = next((view for view in self._slack.views if view["id"] == body["view"]), None)
        if found is None or self._slack.viewers[found["id"]][0] != body["user"]:
            raise KeyError("such dialog")
        return found


def _acked(ack: Ack) -> Body:
    return {"status": ack.status}


async def _any_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
