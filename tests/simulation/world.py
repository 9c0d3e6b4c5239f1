"""One to three bots on one database, Together, and Slack, put together on a seeded loop."""

import asyncio
import functools
import json
import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import aiohttp
import httpx
import structlog
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool

from bot.clock import Clock
from bot.errors import StorageUnavailable
from bot.settings import read_settings
from bot.store import Database, DecisionStore
from bot.tasks import Tasks
from bot.wiring import MAX_AT_ONCE, Bot, Connections, build_bot, together_client
from handlers.client import MeasuredClient
from handlers.connection import Identity
from tests.manual_clock import START
from tests.simulation import checks
from tests.simulation.faults import Faults
from tests.simulation.history import History, Sent
from tests.simulation.loop import PROCESS, Process, SeededLoop
from tests.simulation.streams import Streams
from tests.simulator.process import variables
from tests.simulator.slack import Ack, Slack
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.people import signed_headers
from tests.simulator.slack.workspace import BOT_TOKEN, BOT_USER, TEAM
from tests.simulator.together import DECISIONS, Ids, Together
from tests.sqlite import fill_sqlite

CHANNEL, ON_CALL, OPERATORS = "C0OPS", "S0ONCALL", "S0OPS"
ACK_SECONDS = 3.0
T = TypeVar("T")
_API = (
    ("clusters", "GET", ("clusters",)),
    ("cluster", "GET", ("clusters", "{cluster}")),
    ("list", "GET", ("clusters", "{cluster}", "instances", "{instance}", "remediations")),
    ("get", "GET", ("clusters", "{cluster}", "instances", "{instance}", "remediations", "{remediation}")),
    *(
        (verb, "POST", ("clusters", "{cluster}", "instances", "{instance}", "remediations", "{remediation}", verb))
        for verb in sorted(DECISIONS)
    ),
)


@dataclass(eq=False)
class Running:
    """A bot in its process.

    Attributes:
        skew: by how many seconds its clock is ahead of the world's.
        drift: by how much its clock runs too fast.
        line: of its line to the database: "" is up, "cut", or "frozen".
        is_stopping: it takes no more requests.
    """

    process: Process
    bot: Bot
    tasks: Tasks
    database: "SharedDatabase"
    skew: float
    drift: float
    line: str = ""
    parts: list["asyncio.Task[Any]"] = field(default_factory=list)
    is_stopping: bool = False


class SharedDatabase(Database):
    """SQLite in memory, shared by all bots; its transactions alternate as the loop's threads do.

    A transaction is one step of the loop, so it is as serializable as PostgreSQL's locks make those that matter.
    """

    def __init__(self, world: "World", process: Process) -> None:
        self.world = world
        self.process = process
        super().__init__("sqlite://", world.clock)
        self.is_sqlite = world.is_alone  # only then whoever had a lease before is gone for certain
        self._engine.dispose()
        self._engine = world.engine

    async def open(self, *, migrate: bool = True) -> None:
        pass

    def _begin(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _transact(self, running: Any, begin: str, seconds: float, function: Callable[[Connection], T]) -> T:
        world, bot = self.world, self.world.bot_of(self.process)
        trouble = (
            "before" if world.database_is == "away" or (bot and bot.line == "cut") else world.faults.of_transaction()
        )
        if trouble == "before":
            raise StorageUnavailable("cut")
        if trouble == "undone":
            world.history.marks.add("commit cut before")
            raise StorageUnavailable("cut", in_doubt=True)
        world.transactions += 1
        result = super()._transact(running, begin, seconds, function)
        if trouble == "lost":
            world.history.marks.add("commit cut after")
            raise StorageUnavailable("cut", in_doubt=True)
        return result


@functools.cache
def schema() -> bytes:
    """Return an empty database of the present schema. It is migrated once, in a loop with threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.db"
        asyncio.run(fill_sqlite(f"sqlite:///{path}"))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # what is in memory has no WAL
        return path.read_bytes()


class World:
    """Everything that one seed makes.

    Args:
        seed: of all that is random.
        loop: on which it runs.
        switched_off: faults that never strike.
        switched_on: faults that it has in any case.

    Attributes:
        clock: the world's own, and the database's.
        transactions, calls: how many there were.
    """

    def __init__(
        self, seed: int, loop: SeededLoop, switched_off: Collection[str] = (), switched_on: Collection[str] = ()
    ) -> None:
        self.seed, self.loop = seed, loop
        self.streams = Streams(seed)
        self.faults = Faults(self.streams, switched_off, switched_on)
        self.history = History()
        self.clock = Clock(now=lambda: START + loop.time(), monotonic=loop.time)
        shape = self.streams["shape"]
        self.is_alone = shape.random() < 0.3
        self.size = 1 if self.is_alone else shape.choice((2, 2, 3))
        self.environ = {
            "BOT_ALERT_CHANNEL": CHANNEL,
            "BOT_OPERATORS": f"{OPERATORS},U0BOB",
            "BOT_ONCALL": ON_CALL,
            "BOT_POLL_SECONDS": shape.choice(("20", "60")),
            "BOT_LEASE_SECONDS": shape.choice(("30", "90", "90")),
            "BOT_REMIND_MINUTES": shape.choice(("0", "0", "15")),
            "BOT_REASON": shape.choice(("never", "never", "cancel", "always")),
            "BOT_MAX_IN_REPAIR": shape.choice(("", "1", "3")),
            "BOT_TWO_PEOPLE_MODES": shape.choice(("", "VM_ONLY", "REBOOT_VM,VM_ONLY")),
        }
        self.bots: list[Running] = []
        self.started = 0
        self.database_is = ""
        self.history_is_unreadable = False
        self.episodes: Counter[Ids] = Counter()
        self.escalations: Counter[Ids] = Counter()
        self.failures: Counter[Ids] = Counter()
        self.deletions: Counter[str] = Counter()
        self.deleted: set[str | None] = set()
        self.mentions: Counter[str] = Counter()
        self.lost_right_at: dict[str, float] = {}
        self.transactions = self.calls = 0
        self.together = Together(self.clock.now)
        self.slack = Workspace(self)
        self.slack.limits = Limits()
        self.slack.add_user("U0DAVE", "dave")
        self.slack.groups = {ON_CALL: ["U0ALICE"], OPERATORS: ["U0ALICE", "U0CAROL"]}
        raw = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        raw.deserialize(schema())
        raw.create_function("bot_now", 0, self.clock.now)
        unordered = self.streams["database"]
        raw.create_function("random", 0, lambda: unordered.getrandbits(62))
        self.engine: Engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        self.limit = int(self.environ["BOT_MAX_IN_REPAIR"] or 0)
        loop.delays = self._database_delays

    def begin(self) -> None:
        """Start the bots."""
        for cluster in ("c-a", "c-b"):
            self.together.clusters[cluster] = f"{cluster} (H100)"
            self.together.nodes[cluster] = 8
        for _ in range(self.size):
            self.start()

    # The bots.

    def bot_of(self, process: Process | None) -> Running | None:
        return next((each for each in self.bots if each.process is process), None)

    def start(self) -> Running:
        """Start a bot, put together as the process does it."""
        self.started += 1
        process = Process(f"bot-{self.started}")
        settings = read_settings(
            variables(self.slack, self.together)
            | {"SLACK_API_URL": "http://127.0.0.1/api/", "TOGETHER_BASE_URL": "http://127.0.0.1/v1"}
            | {name: value for name, value in self.environ.items() if value}
        )
        running: Running

        def now() -> float:
            return START + self.loop.time() * (1 + running.drift) + running.skew

        clock = Clock(now=now, monotonic=self.loop.time)
        tasks, database = Tasks(MAX_AT_ONCE, clock=clock), SharedDatabase(self, process)
        client = SlackLine(self, process)
        http = httpx.AsyncClient(transport=TogetherLine(self, process))
        together = together_client(settings, http, clock, None)
        session = cast("aiohttp.ClientSession", ResponseUrls(self, process))
        connections = Connections(Identity(TEAM, "", BOT_USER), client, client, session, together, together)
        store = DecisionStore(database, settings.bot_lease_seconds, clock)
        bot = build_bot(settings, connections, store, tasks, clock, report=lambda _: None, warn=lambda *_: None)
        bot.bolt.verification.verifier.clock = cast("Any", SimpleNamespace(now=self.clock.now))
        running = Running(process, bot, tasks, database, 0.0, 0.0)
        self.bots.append(running)
        for part in (bot.recovery, bot.watcher):
            assert part
            running.parts.append(self.loop.spawn(process, part.run(), f"{process} {type(part).__name__}"))
        self.history.note(self.loop.time(), f"{process} starts")
        return running

    def kill(self, running: Running) -> None:
        """End a process at once: nothing of it runs any more."""
        self.history.note(self.loop.time(), f"{running.process} is killed")
        running.process.is_dead = True
        self.bots.remove(running)

    async def stop(self, running: Running) -> None:
        """Stop a process as SIGTERM does."""
        self.history.note(self.loop.time(), f"{running.process} is stopped")
        running.is_stopping = True
        await asyncio.wait({self.loop.spawn(running.process, _end(running), f"end of {running.process}")}, timeout=40)
        if running in self.bots:
            running.process.is_dead = True
            self.bots.remove(running)
        self.history.note(self.loop.time(), f"{running.process} has ended")

    def _database_delays(self) -> tuple[float, float]:
        """Return how long a transaction waits before it is run, and its result after that."""
        stream, running = self.streams["threads"], self.bot_of(PROCESS.get())
        before = stream.choice((0.0, 0.001, 0.004, 0.02))
        if self.faults.strikes("transaction busy"):
            before += stream.uniform(0.5, 4.0)
        if self.database_is == "frozen" or (running and running.line == "frozen"):
            frozen = stream.uniform(4.0, 20.0)
            return (before + frozen, 0.0) if stream.random() < 0.5 else (before, frozen)
        return before, 0.0

    # Slack reaches the bots.

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> Ack:
        """Send a request of Slack's to one of the bots, and wait for the ack as long as Slack does."""
        able = [each for each in self.bots if not each.is_stopping]
        if not able:
            return Ack(0, "", 0.0)
        running = self.streams["balancer"].choice(able)
        request = AsyncBoltRequest(body=body.decode(), headers={**signed_headers(body, self.clock.now()), **headers})
        await asyncio.sleep(self.streams["network"].uniform(0.01, 0.2))
        task = self.loop.spawn(running.process, running.bot.bolt.async_dispatch(request), "request")
        await asyncio.wait({task}, timeout=ACK_SECONDS)
        if not task.done():
            return Ack(0, "", ACK_SECONDS)
        response = task.result()
        return Ack(response.status, response.body, 0.0)

    # The bots reach Together and Slack.

    def call(self, where: str, effect: Callable[[], T]) -> "asyncio.Future[T | None]":
        """Carry a call out in the world, whatever becomes of the process that makes it.

        The future gives what the effect returned, or raises `Broken` with the name of the fault.
        """
        self.calls += 1
        future: asyncio.Future[T | None] = self.loop.create_future()
        fault, network = self.faults.of_call(where), self.streams["network"]
        there, back = network.uniform(0.01, 0.3), network.uniform(0.01, 0.3)

        def answer(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                if error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        def arrive() -> None:
            result = None
            if fault not in {"refused", "cut before", "hang", "429", "503 before", "late"}:
                result = effect()
            if fault == "late":
                self.loop.outside(network.uniform(1.0, 14.0), effect)
            if fault.startswith("hang"):
                return
            broken = None if fault in {"", "slow"} else Broken(fault)
            self.loop.outside(back + (network.uniform(1.0, 9.0) if fault == "slow" else 0.0), answer, result, broken)

        self.loop.outside(there, arrive)
        return future


@contextmanager
def opened(seed: int, without: Collection[str] = (), also: Collection[str] = ()) -> Iterator[World]:
    """Make the world of a seed, on a loop of its own, for as long as the context lasts."""
    schema()
    state = random.getstate()
    random.seed(seed)
    loop = SeededLoop(random.Random(f"{seed} order of callbacks"))  # noqa: S311 - repeatable, not secret
    asyncio.set_event_loop(loop)
    world = World(seed, loop, without, also)
    try:
        yield world
    finally:
        loop.abandon()
        loop.close()
        asyncio.set_event_loop(None)
        world.engine.dispose()
        random.setstate(state)


class Broken(Exception):
    """A call went wrong; the text names the fault."""


async def _end(running: Running) -> None:
    """What the process does between SIGTERM and its end, as `bot.app` does it."""
    running.tasks.close()
    watching, recovering = running.parts[1], running.parts[0]
    for task, part in ((watching, running.bot.watcher), (recovering, running.bot.recovery)):
        assert part
        if part is running.bot.recovery:
            await running.tasks.drain(25)
        task.cancel()
        await asyncio.wait({task})
        try:
            async with asyncio.timeout(4):
                await part.end()
        except (StorageUnavailable, TimeoutError):
            pass


def _decision() -> str:
    return str(structlog.contextvars.get_contextvars().get("decision", ""))


class TogetherLine(httpx.AsyncBaseTransport):
    """A bot's connection to Together."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world, decision = self._world, _decision()
        if request.method == "POST":
            checks.leaves(world, decision, request.url.path.split("/")[-2])
        try:
            answer = await world.call("together", lambda: self._effect(request, decision))
        except Broken as broken:
            match str(broken):
                case "refused":
                    raise httpx.ConnectError("refused") from None
                case "429":
                    return httpx.Response(429, json={"code": 8, "message": "slow down"}, headers={"Retry-After": "1"})
                case "503 before" | "503 after":
                    return httpx.Response(503, text="<html>")
                case "garbage after":
                    return httpx.Response(200, text="<html>")
            raise httpx.ReadError("cut") from None
        assert answer
        return httpx.Response(answer[0], json=answer[1], headers={"x-request-id": f"req-{world.calls}"})

    def _effect(self, request: httpx.Request, decision: str) -> tuple[int, dict[str, Any]]:
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
            return status, json.loads(json.dumps(answer))
        ids: Ids = (found["cluster"], found["instance"], found["remediation"])
        before = together.remediations.get(ids, {}).get("state", "")
        suggested = together.remediations.get(ids, {}).get("mode", "")
        status, answer = together._answer(asked, action, body)
        took = status == 200
        mode = together.remediations.get(ids, {}).get("mode", "")
        if isinstance(body, dict) and body.get("mode", suggested) != suggested:
            world.history.marks.add("mode changed between look and POST")
        sent = Sent(world.loop.time(), str(self._process), decision, verb, ids, before, mode, took)
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

    def __init__(self, world: World) -> None:
        super().__init__(world.clock.now)
        self.url = "http://127.0.0.1"
        self._world = world
        self.answers: Counter[str] = Counter()
        self.told: Counter[tuple[str, str]] = Counter()

    async def post_signed(self, body: bytes, *, what: str = "", **headers: str) -> Ack:  # noqa: ARG002 - as over HTTP
        return await self._world.deliver(body, {name.replace("_", "-"): value for name, value in headers.items()})

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


class SlackLine(MeasuredClient):
    """Slack's SDK in a bot, with the world at the end of it."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(BOT_TOKEN, retry_handlers=[])
        self._world = world
        self._process = process

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the SDK's own
        world, method, decision = self._world, api_url.rpartition("/")[2], _decision()
        body = json.loads(json.dumps(req_args.get("json") or req_args.get("params") or {}))

        def effect() -> tuple[int, dict[str, Any], dict[str, str]]:
            return world.slack.take(self._process, decision, method, body)

        try:
            async with asyncio.timeout(10):  # the session's own
                answer = await world.call("slack", effect)
        except Broken as broken:
            match str(broken):
                case "429":
                    answer = 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}
                case "503 before" | "503 after" | "garbage after":
                    raise SlackApiError("not JSON", {"status_code": 503}) from None
                case _:
                    raise aiohttp.ClientConnectionError(str(broken)) from None
        assert answer
        status, data, headers = answer
        return {"status_code": status, "data": data, "headers": headers}


class ResponseUrls:
    """What a bot posts to a `response_url` through, in place of the session."""

    def __init__(self, world: World, process: Process) -> None:
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
            if str(broken) in {"429", "503 before", "503 after", "garbage after"}:
                yield SimpleNamespace(status=503)
                return
            raise aiohttp.ClientConnectionError(str(broken)) from None
        yield SimpleNamespace(status=status)


def _copy(value: T) -> T:
    return cast("T", json.loads(json.dumps(value)))
