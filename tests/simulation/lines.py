"""The lines between the bots, Together, Slack, and other tools: calls without sockets, with faults."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl

import aiohttp
import httpx
from slack_sdk.errors import SlackApiError

from bot.logs import LOG_CONTEXT
from bot.models import Target
from handlers.client import SlackClient
from tests.simulation import answers, checks, fleet
from tests.simulation.faults import CHANGES
from tests.simulation.history import Sent
from tests.simulation.loop import Process
from tests.simulator.slack import Ack, Slack
from tests.simulator.slack.workspace import BOT_TOKEN
from tests.simulator.together import DECISIONS, Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
_API = (
    ("alerts", "GET", ("passive_health_check_alerts",)),
    ("clusters", "GET", ("clusters",)),
    ("cluster", "GET", ("clusters", "{cluster}")),
    ("list", "GET", ("clusters", "{cluster}", "instances", "{instance}", "remediations")),
    ("get", "GET", ("clusters", "{cluster}", "instances", "{instance}", "remediations", "{remediation}")),
    *(
        (verb, "POST", ("clusters", "{cluster}", "instances", "{instance}", "remediations", "{remediation}", verb))
        for verb in sorted(DECISIONS)
    ),
)


class Broken(Exception):
    """A call went wrong; the text names the fault."""


def _decision() -> str:
    return LOG_CONTEXT.get().get("decision", "")


class TogetherLine(httpx.AsyncBaseTransport):
    """A bot's connection to Together."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world, decision, left = self._world, _decision(), self._world.loop.time()
        if request.method == "POST":
            checks.leaves(world, self._process, decision, request.url.path.split("/")[-2])
        try:
            is_slow = bool(decision) and world.makes_slow("together", request.url.path.split("/")[-1])
            answer = await world.call(
                "together", lambda: self._effect(request, decision, left, is_slow=is_slow), is_slow=is_slow
            )
        except Broken as broken:
            match str(broken):
                case "refused":
                    raise httpx.ConnectError("refused") from None
                case "429":
                    after = {"Retry-After": world.streams["retry after"].choice(("1", "9"))}
                    return httpx.Response(429, json={"code": 8, "message": "slow down"}, headers=after)
                case "503 before" | "503 after":
                    return httpx.Response(503, text="<html>")
                case "garbage after":
                    return httpx.Response(200, text="<html>")
                case "fatal after":
                    return httpx.Response(504, json={"code": 4, "message": "deadline exceeded"})
            raise httpx.ReadError("cut") from None
        assert answer
        status, body = answer
        is_last = status == HTTPStatus.OK and not body.get("next_page_token") and not body.get("has_next")
        if is_last and request.url.path.endswith("/passive_health_check_alerts"):
            world.alerts_read[str(self._process), request.url.params["cluster_id"]].append(left)
        if is_last and request.url.path.endswith("/-/remediations"):
            world.lists_read[str(self._process), request.url.path.split("/")[-4]].append(left)
        headers = {"x-request-id": f"req-{world.calls}", "Date": formatdate(world.clock.now(), usegmt=True)}
        return httpx.Response(status, json=body, headers=headers)

    def _effect(
        self, request: httpx.Request, decision: str, left: float, *, is_slow: bool
    ) -> tuple[int, dict[str, Any]]:
        together, world = self._world.together, self._world
        parts = tuple(request.url.path.removeprefix("/v1/compute/").split("/"))
        verb, names = next(
            (verb, names)
            for verb, method, names in _API
            if method == request.method
            and len(names) == len(parts)
            and all(name == part or name[0] == "{" for name, part in zip(names, parts, strict=True))
        )
        found = {name.strip("{}"): part for name, part in zip(names, parts, strict=True) if name[0] == "{"}
        asked = cast("Any", SimpleNamespace(
            match_info=found, query=dict(parse_qsl(request.url.query.decode())), headers=request.headers
        ))  # fmt: skip
        body = json.loads(request.content or b"null")
        action = getattr(together, f"_{verb}")
        if verb not in DECISIONS:
            status, answer = together._answer(asked, action, body)
            if verb == "list":
                world.listed_at[found["cluster"]] = world.loop.time()
            if answer.get("has_next"):
                world.history.marks.add("a list in pages")
            seen = (found.get("cluster", ""), found.get("instance", ""), found.get("remediation", ""))
            if is_slow:
                world.loop.outside(0.01, fleet.clear_up, world, seen)
            elif verb == "get" and decision and world.faults.strikes(CHANGES):
                chance = world.streams[CHANGES]
                world.loop.outside(chance.choice((0.5, 2.0)) * chance.random(), fleet.change, world, seen)
            return status, json.loads(json.dumps(answer))
        ids: Ids = (found["cluster"], found["instance"], found["remediation"])
        before = together.remediations.get(ids, {}).get("state", "")
        suggested = together.remediations.get(ids, {}).get("mode", "")
        status, answer = together._answer(asked, action, body)
        took = status == 200
        mode = together.remediations.get(ids, {}).get("mode", "")
        if isinstance(body, dict) and body.get("mode", suggested) != suggested:
            world.history.marks.add("mode changed between look and POST")
        sent = Sent(world.loop.time(), left, str(self._process), decision, verb, ids, before, mode, took)
        world.history.sent.append(sent)
        took_effect = "it takes effect" if took else f"HTTP {status}"
        world.history.note(
            sent.at, f"{self._process} sends {verb} (decision {decision}) for {ids[2]}, {before}: {took_effect}", ids[2]
        )
        checks.sent(world, sent)
        return status, json.loads(json.dumps(answer))


class Workspace(Slack):
    """The on-call team's Slack workspace, which reaches the bots without HTTP.

    Attributes:
        answers: how many messages took effect that a decision with an outcome brought about, by the decision.
        told: the same by their words, where they were new messages.
    """

    def __init__(self, world: "World") -> None:
        super().__init__(world.clock.now)
        self.url = "http://127.0.0.1"
        self._world = world
        self.answers: Counter[str] = Counter()
        self.told: Counter[tuple[str, str]] = Counter()

    async def post_signed(self, body: bytes, *, what: str = "", **headers: str) -> Ack:  # noqa: ARG002 - as over HTTP
        at = self._world.loop.time()
        ack = await self._world.deliver(body, {name.replace("_", "-"): value for name, value in headers.items()})
        answers.note(self._world, body, at, ack)
        return ack

    def take(
        self, process: Process, decision: str, method: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Answer a call of a bot."""
        world = self._world
        if method.startswith("conversations.") and world.history_is_unreadable:
            return 200, {"ok": False, "error": "missing_scope"}, {}
        before = checks.before_saying(world, decision, method)
        answer = self.answer(BOT_TOKEN, method, body)
        checks.said(world, process, decision, method, body, answer, before)
        return answer

    def take_response(self, process: Process, decision: str, url: str, body: dict[str, Any]) -> int:
        """Take what a bot posts to a `response_url`."""
        before = checks.before_saying(self._world, decision, "response_url")
        key = url.rpartition("/")[2]
        status, text = self.respond(key, body)
        answer = {"ok": True, "user": self._responses[key].user} if status == 200 else {"ok": False, "error": text}
        checks.said(self._world, process, decision, "response_url", body, (status, answer, {}), before)
        return status


class SlackLine(SlackClient):
    """Slack's SDK in a bot, with the world at the end of it."""

    def __init__(self, world: "World", process: Process) -> None:
        super().__init__(BOT_TOKEN, retry_handlers=[])
        self._world = world
        self._process = process

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the SDK's own
        world, method, decision = self._world, api_url.rpartition("/")[2], _decision()
        body = json.loads(json.dumps(req_args.get("json") or req_args.get("params") or {}))
        if method == "views.publish":
            world.history.drawn.append((world.loop.time(), body["user_id"]))

        def effect() -> tuple[int, dict[str, Any], dict[str, str]]:
            return world.slack.take(self._process, decision, method, body)

        try:
            async with asyncio.timeout(10):  # the session's own
                named = {"chat.update": "ts", "usergroups.users.list": "usergroup"}.get(method, "")
                is_slow = not decision and world.makes_slow("slack", str(body.get(named)))
                answer = await world.call("slack", effect, is_slow=is_slow)
        except Broken as broken:
            match str(broken):
                case "429":
                    answer = 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}
                case "fatal after":
                    answer = 200, {"ok": False, "error": "fatal_error"}, {}
                case "503 before" | "503 after" | "garbage after":
                    raise SlackApiError("not JSON", {"status_code": 503}) from None
                case _:
                    raise aiohttp.ClientConnectionError(str(broken)) from None
        assert answer
        status, data, headers = answer
        return {"status_code": status, "data": data, "headers": headers}


class ResponseUrls:
    """What a bot posts to a `response_url` through, in place of the session."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process

    @asynccontextmanager
    async def post(self, url: str, *, json: dict[str, Any], **_: object) -> AsyncIterator[SimpleNamespace]:
        world, decision = self._world, _decision()
        body = _copy(json)
        try:
            async with asyncio.timeout(10):
                status = await world.call(
                    "slack", lambda: world.slack.take_response(self._process, decision, url, body)
                )
        except Broken as broken:
            if str(broken) in {"429", "503 before", "503 after", "garbage after", "fatal after"}:
                yield SimpleNamespace(status=503)
                return
            raise aiohttp.ClientConnectionError(str(broken)) from None
        yield SimpleNamespace(status=status)


class ToolLine(httpx.AsyncBaseTransport):
    """A bot's connection to another tool."""

    def __init__(self, world: "World", process: Process, target: Target) -> None:
        self._world = world
        self._process = process
        self._target = target

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        def effect() -> int:
            return self._world.tools.take(self._process, self._target, request)

        try:
            status = await self._world.call("tools", effect)
        except Broken as broken:
            if (refused := str(broken).partition(" ")[0]) not in {"429", "503"}:
                raise httpx.ReadError("cut") from None
            status = int(refused)
        assert status
        return httpx.Response(status, stream=httpx.ByteStream(b""))


def _copy(value: T) -> T:
    return cast("T", json.loads(json.dumps(value)))
