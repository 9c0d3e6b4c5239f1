"""One to three bots on one database, Together, and Slack, put together on a seeded loop."""

import asyncio
import math
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from urllib.parse import unquote_plus

import aiohttp
import httpx

from bot.clock import Clock
from bot.decisions import Recovery
from bot.errors import StorageUnavailable
from bot.outward import Sender
from bot.settings import read_settings
from bot.store import DecisionStore
from bot.tasks import Tasks
from bot.watcher import Watcher
from bot.wiring import MAX_AT_ONCE, Bot, Connections, build_bot, destinations, together_client
from handlers.connection import Identity
from tests.manual_clock import START
from tests.simulation import fleet, tools, truth
from tests.simulation.database import SharedDatabase, schema
from tests.simulation.faults import SUSPENDS, Faults
from tests.simulation.history import History
from tests.simulation.lines import Broken, ResponseUrls, SlackLine, TogetherLine, ToolLine, Workspace
from tests.simulation.loop import PROCESS, Process, SeededLoop
from tests.simulation.names import CHANNEL, LEADS, MAY_ALONE, ON_CALL, OPERATORS, OTHER_CHANNEL
from tests.simulation.periods import CLOCK_DRIFTS, CLOCK_STEPS, DATABASE_STEPS, STEPS
from tests.simulation.streams import Streams
from tests.simulation.tools import Tools
from tests.simulator.process import variables
from tests.simulator.slack import Ack, Posted
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.people import signed_headers
from tests.simulator.slack.workspace import BOT_USER, HOME, TEAM
from tests.simulator.together import Ids, Together

ACK_SECONDS = 3.0
MAX_STEPS = 3_000_000  # callbacks in one world
# What a bot that is started later may be set to otherwise than those before it, which may still run.
CHANGEABLE = {
    "BOT_POLL_SECONDS": ("20", "60"),
    "BOT_LEASE_SECONDS": ("15", "30", "90"),
    "BOT_REASON": ("never", "cancel", "always"),
    "BOT_MAX_IN_REPAIR": ("", "1", "3"),
    "BOT_TWO_PEOPLE_MODES": ("", "VM_ONLY", "REBOOT_VM,VM_ONLY"),
    "BOT_STUCK_MINUTES": ("0", "3"),
    "BOT_STORM_BRAKE": ("", "3", "60%"),
    "BOT_OBSERVE": ("", "", "c-a"),
    "BOT_ROUTES": ("", f"c-a={OTHER_CHANNEL}", f"c-b={OTHER_CHANNEL}/{ON_CALL}"),
    "BOT_BREAK_GLASS": ("", MAY_ALONE),
    "BOT_MAX_REPAIRS_PER_NODE": ("", "1/24h"),
    "BOT_AUTOMATIC_REPAIRS": ("all", "destructive", "none"),
}
T = TypeVar("T")


@dataclass(eq=False)
class Running:
    """A bot in its process.

    Attributes:
        skew: by how many seconds its clock is ahead of the world's.
        drift: by how much its clock runs too fast.
        drifts_since: when that began.
        owner: what its decisions are marked with.
        line: of its line to the database: "" is up, "cut", or "frozen".
        is_stopping: it takes no more requests.
    """

    process: Process
    bot: Bot
    tasks: Tasks
    database: "SharedDatabase"
    skew: float
    drift: float
    owner: str
    clock: Clock
    drifts_since: float = 0.0
    line: str = ""
    parts: list[tuple[Recovery | Watcher | Sender, "asyncio.Task[None]"]] = field(default_factory=list)
    is_stopping: bool = False


class World:
    """Everything that one seed makes.

    Args:
        seed: of all that is random.
        loop: on which it runs.
        switched_off: faults that never strike.
        switched_on: faults that it has in any case.

    Attributes:
        clock: the world's own, and the database's.
        environ: what the bots are set to that start now.
        settings: what each process was set to.
        transactions, calls: how many there were.
        slow: what the next call about is slow: the watch's edit of a card, the look-up of a group, or the reading of a
            remediation for a person.
    """

    def __init__(  # noqa: PLR0915 - what a world is made of, and what is counted in it
        self, seed: int, loop: SeededLoop, switched_off: Collection[str] = (), switched_on: Collection[str] = ()
    ) -> None:
        self.seed, self.loop = seed, loop
        self.streams = Streams(seed)
        self.faults = Faults(self.streams, switched_off, switched_on)
        self.history = History()
        self.clock = loop.clock
        shape = self.streams["shape"]
        self.is_alone = shape.random() < 0.3
        self.size = 1 if self.is_alone else shape.choice((2, 2, 3))
        self.environ = {
            "BOT_ALERT_CHANNEL": CHANNEL,
            "BOT_OPERATORS": f"{OPERATORS},U0BOB,{truth.AT_HOME}",
            "BOT_ONCALL": ON_CALL,
            "BOT_POLL_SECONDS": shape.choice(("20", "60")),
            "BOT_LEASE_SECONDS": shape.choice(("15", "30", "90")),
            "BOT_REMIND_MINUTES": shape.choice(("0", "0", "15")),
            "BOT_REASON": shape.choice(("never", "never", "cancel", "always")),
            "BOT_MAX_IN_REPAIR": shape.choice(("", "1", "3")),
            "BOT_TWO_PEOPLE_MODES": shape.choice(("", "VM_ONLY", "REBOOT_VM,VM_ONLY")),
            "BOT_STUCK_MINUTES": self.streams["stuck"].choice(("0", "3")),
            "BOT_WAIT_MINUTES": "*=0",
            "BOT_OBSERVE": "",
            "BOT_STORM_BRAKE": self.streams["brake"].choice(("", "", "", "3", "60%")),
            "BOT_ROUTES": "",
            "BOT_MAX_IN_REPAIR_PERCENT": self.streams["percent"].choice(("", "", "", "25")),
            "BOT_QUIET_HOURS": self.streams["quiet"].choice(("", "", "22:00-03:10 UTC")),
            "BOT_BREAK_GLASS": self.streams["break glass"].choice(("", MAY_ALONE)),
            "BOT_MAX_REPAIRS_PER_NODE": self.streams["repairs per node"].choice(("", "", "1/24h")),
            "BOT_RETENTION_DAYS": self.streams["retention"].choice(("", "1")),
            "BOT_AUTOMATIC_REPAIRS": self.streams["automatic"].choice(("all", "all", "destructive", "none")),
            "BOT_VERIFY_HOURS": self.streams["verify"].choice(("24",) * 7 + ("1",)),
            "BOT_UNREPAIRED_MINUTES": self.streams["unrepaired"].choice(("0", "2", "2")),
        }
        self.environ |= {"BOT_SUMMARY": self.streams["summary"].choice(("", "", "03:07 UTC"))} | tools.settings(self)
        if self.environ["BOT_REMIND_MINUTES"] != "0":
            self.environ["BOT_ESCALATE"] = self.streams["escalate"].choice(("", f"{LEADS}/3"))
        self.settings: dict[str, dict[str, str]] = {}
        self.bots: list[Running] = []
        self.started = 0
        self.database_is = ""
        self.database_skew = 0.0
        self.slack_is_away = False
        self.history_is_unreadable = False
        self.episodes: Counter[Ids] = Counter()
        self.starts: Counter[Ids] = Counter()
        self.successes: Counter[Ids] = Counter()
        self.returned: set[str] = set()
        self.told_oddly: set[Ids] = set()
        self.back_at: defaultdict[str, float] = defaultdict(lambda: math.inf)  # what says that a fault is back
        self.aftermaths: Counter[str] = Counter()
        self.escalations: Counter[Ids] = Counter()
        self.failures: Counter[Ids] = Counter()
        self.losses: Counter[Ids] = Counter()
        self.found_at: defaultdict[Ids, float] = defaultdict(float)  # when what was lost could be read again
        self.watched_by: dict[str, float] = {}  # until when a watch may not know that a cluster can be found again
        self.deletions: Counter[str] = Counter()
        self.deleted: set[str | None] = set()
        self.shown: set[tuple[str | None, str]] = set()  # by whom a message has said that something was decided
        self.mentions: Counter[str] = Counter()
        self.stuck: Counter[str] = Counter()
        self.fired = 0
        self.cleared_at: dict[str, tuple[str, float]] = {}
        self.alerts_read: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.called_for: Counter[str] = Counter()  # nodes whose faults have no repair
        self.lost_right_at: dict[str, float] = {}
        self.remembered: list[tuple[Posted, dict[str, Any]]] = []
        self.started_at: dict[str, float] = {}
        self.killed_at: list[float] = []  # from when on they did nothing
        self.reviewed_at: dict[Ids, float] = {}
        self.escalated_at: dict[Ids, float] = {}
        self.effects: set[tuple[str, str, str]] = set()  # verb, person, and remediation
        self.denied: dict[str, str] = {}  # what says that a decision wasn't sent, by the decision
        self.lists_read: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.listed_at: dict[str, float] = {}
        self.slow: set[str] = set()
        self.transactions = self.calls = 0
        self.together = Together(self.clock.now)
        self.together.max_page = shape.choice((50, 50, 2))
        self.modes = fleet.ALL_MODES if self.streams["modes"].random() < 0.3 else fleet.MODES
        self.tools = Tools(self)
        self.slack = Workspace(self)
        self.slack.limits = Limits()
        self.slack.add_user("U0DAVE", "dave")
        self.slack.add_user(truth.AT_HOME, "erin")
        self.slack.groups = {ON_CALL: ["U0ALICE"], LEADS: ["U0CAROL"], OPERATORS: ["U0ALICE", "U0CAROL"]}
        self.raw = raw = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        raw.deserialize(schema())
        raw.create_function("bot_now", 0, self._database_now)
        unordered = self.streams["database"]
        raw.create_function("random", 0, lambda: unordered.getrandbits(62))
        loop.delays = self._database_delays

    def begin(self) -> None:
        """Start the bots."""
        for cluster in ("c-a", "c-b", "c-c"):
            self.together.clusters[cluster] = f"{cluster} (H100)"
            self.together.nodes[cluster] = 8
        for _ in range(self.size):
            self.start()

    # The bots.

    def bot_of(self, process: Process | None) -> Running | None:
        for running in self.bots:
            if running.process is process:
                return running
        return None

    def start(self) -> Running:
        """Start a bot, put together as the process does it."""
        self.started += 1
        process = Process(f"bot-{self.started}")
        self._change_settings()
        self.settings[str(process)] = self.environ
        settings = read_settings(
            variables(self.slack, self.together)
            | {"SLACK_API_URL": "http://127.0.0.1/api/", "TOGETHER_BASE_URL": "http://127.0.0.1/v1"}
            | {name: value for name, value in self.environ.items() if value}
        )
        running: Running

        def now() -> float:
            time = self.loop.time()
            return START + time + (time - running.drifts_since) * running.drift + running.skew

        clock = Clock(now=now, monotonic=self.loop.time)
        tasks, database = Tasks(MAX_AT_ONCE, clock=clock), SharedDatabase(self, process)
        client = SlackLine(self, process)
        together = together_client(settings, TogetherLine(self, process), clock, None)
        session = cast("aiohttp.ClientSession", ResponseUrls(self, process))
        connections = Connections(Identity(TEAM, "", BOT_USER, HOME), client, client, session, together, together, None)
        store = DecisionStore(database, settings.bot_lease_seconds, clock)
        bot = build_bot(settings, connections, store, tasks, clock, report=lambda _: None, warn=lambda *_: None)
        assert bot.bolt.verifier
        bot.bolt.verifier.clock = cast("Any", SimpleNamespace(now=self.clock.now))
        running = Running(process, bot, tasks, database, 0.0, 0.0, store._owner, clock)
        self.bots.append(running)
        self.started_at[str(process)] = self.loop.time()
        told, lease_seconds = destinations(settings), settings.bot_lease_seconds
        database.set_targets([*told.urls])
        lines = {target: httpx.AsyncClient(transport=ToolLine(self, process, target)) for target in told.urls}
        sender = Sender(database, told, lines, clock, lease_seconds, warn=lambda *_: None)
        for part in (bot.recovery, bot.watcher, *([sender] if told.urls else [])):
            assert part
            task = self.loop.spawn(process, part.run(), f"{process} {type(part).__name__}")
            running.parts.append((part, task))
        self.history.note(self.loop.time(), f"{process} starts")
        return running

    def _change_settings(self) -> None:
        """Let a bot that is started later perhaps be set otherwise, as in a rollout."""
        chance = self.streams["changed settings"]
        if self.started <= self.size or chance.random() < 0.7 or self.faults.are_over:
            return
        changed = {name: chance.choice(values) for name, values in CHANGEABLE.items() if chance.random() < 0.3}
        if changed.get("BOT_ROUTES", self.environ["BOT_ROUTES"]) != self.environ["BOT_ROUTES"]:
            self.history.marks.add("messages move")
        if changed.items() - self.environ.items():
            self.environ = {**self.environ, **changed}
            self.history.marks.add("settings changed at a restart")
            self.history.note(self.loop.time(), f"the next bot is set to {changed}")

    def kill(self, running: Running) -> None:
        """End a process at once: nothing of it runs any more."""
        self.history.note(self.loop.time(), f"{running.process} is killed")
        running.process.is_dead = True
        self.killed_at.append(min(self.loop.time(), running.process.stood_since))
        self.bots.remove(running)

    def suspend(self, running: Running) -> None:
        """Let a process stand still for a while, as SIGSTOP does."""
        chance = self.streams[SUSPENDS]
        seconds = chance.choice((5.0, 45.0, 150.0)) * chance.uniform(0.5, 1.5)
        self.history.note(self.loop.time(), f"{running.process} is frozen before a POST for {seconds:.0f} s")
        self.loop.suspend(running.process)
        self.loop.outside(seconds, self.loop.resume, running.process)

    def lock_trail(self) -> int:
        """Return the number of the audit trail's last row."""
        return int(self.raw.execute("SELECT coalesce(max(seq), 0) FROM audit").fetchone()[0])

    def a_post_leaves_since(self, end: int) -> bool:
        """Return whether "a POST leaves" was recorded after a row of the audit trail."""
        rows = self.raw.execute("SELECT 1 FROM audit WHERE seq > ? AND event IN ('send', 'repeat')", [end])
        return rows.fetchone() is not None

    async def stop(self, running: Running) -> None:
        """Stop a process as SIGTERM does."""
        self.history.note(self.loop.time(), f"{running.process} is stopped")
        running.is_stopping = True
        await asyncio.wait({self.loop.spawn(running.process, _end(running), f"end of {running.process}")}, timeout=40)
        if running in self.bots:
            running.process.is_dead = True
            self.bots.remove(running)
        self.history.note(self.loop.time(), f"{running.process} has ended")

    def _database_now(self) -> float:
        """What the database's clock says: SQLite asks its only process for it."""
        if self.is_alone and self.bots:
            return self.bots[0].clock.now()
        return self.clock.now() + self.database_skew

    @property
    def most_skew(self) -> float:
        """How far the database's clock may be from the world's."""
        clocks = {CLOCK_STEPS, CLOCK_DRIFTS} if self.is_alone else {DATABASE_STEPS}
        return max(STEPS) + 3.0 if clocks & {*self.faults.on} else 0.0

    @cached_property
    def _slowness(self) -> float:
        """How slow the disk of the only bot is: on a slow one, more is committed together."""
        return self.streams["slowness"].choice((1.0, 40.0)) if self.is_alone else 1.0

    def _database_delays(self) -> tuple[float, float]:
        """Return how long a transaction waits before it is run, and its result after that."""
        stream, running = self.streams["threads"], self.bot_of(PROCESS.get())
        before = stream.choice((0.0, 0.001, 0.004, 0.02)) * self._slowness
        if self.faults.strikes("transaction busy"):
            before += stream.uniform(0.5, 4.0)
        if self.database_is == "slow":
            before += stream.uniform(0.2, 1.2)
        if self.database_is == "frozen" or (running and running.line == "frozen"):
            frozen = stream.uniform(4.0, 20.0)
            return (before + frozen, 0.0) if stream.random() < 0.5 else (before, frozen)
        return before, 0.0

    # Slack reaches the bots.

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> Ack:
        """Send a request of Slack's to one of the bots, and wait for the ack as long as Slack does."""
        able = [running for running in self.bots if not running.is_stopping]
        if not able:
            return Ack(0, "", 0.0)
        running = self.streams["balancer"].choice(able)
        process = running.process
        headers = {**signed_headers(body, self.clock.now()), **headers}
        there = self.streams["network"].uniform(0.01, 0.2)
        await asyncio.sleep(there)
        woken = process.woken
        task = self.loop.spawn(process, running.bot.bolt.receive(body, headers), "request")
        await asyncio.wait({task}, timeout=ACK_SECONDS - 2 * there)  # the ack takes as long
        if not task.done():
            if not (process.is_dead or process.is_suspended or process.woken > woken):
                self.history.wrong(f"{process} lets Slack wait for an ack: {unquote_plus(body.decode())[:300]}")
            return Ack(0, "", ACK_SECONDS)
        response = task.result()
        return Ack(response.status, response.body, 0.0)

    # The bots reach Together and Slack.

    def call(self, where: str, effect: Callable[[], T], *, is_slow: bool = False) -> "asyncio.Future[T | None]":
        """Carry a call out in the world, even if the process that makes it dies; `is_slow` in any case.

        The future gives what the effect returned, or raises `Broken` with the name of the fault.
        """
        self.calls += 1
        future: asyncio.Future[T | None] = self.loop.create_future()
        fault = "slow" if is_slow else self.faults.of_call(where)
        fault = "503 before" if where == "slack" and self.slack_is_away else fault
        network = self.streams["network"]
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

    def makes_slow(self, where: str, about: str) -> bool:
        """Return whether a call about something is slow, once."""
        is_slow = about in self.slow and f"{where} slow" in self.faults.on and not self.faults.are_over
        self.slow -= {about} if is_slow else set()
        return is_slow


@contextmanager
def opened(seed: int, without: Collection[str] = (), also: Collection[str] = ()) -> Iterator[World]:
    """Make the world of a seed, on its own loop, for as long as the context lasts."""
    schema()
    state = random.getstate()
    random.seed(seed)
    order = random.Random(f"{seed} order of callbacks")  # noqa: S311 - repeatable, not secret
    loop = SeededLoop(order, max_steps=MAX_STEPS)
    asyncio.set_event_loop(loop)
    world = World(seed, loop, without, also)
    try:
        yield world
    finally:
        loop.abandon()
        loop.close()
        asyncio.set_event_loop(None)
        world.raw.close()
        random.setstate(state)


async def _end(running: Running) -> None:
    """What the process does between SIGTERM and its end, as `bot.app` does it."""
    running.tasks.close()
    for part, task in reversed(running.parts):
        if part is running.bot.recovery:
            await running.tasks.drain(25)
        task.cancel()
        await asyncio.wait({task})
        try:
            async with asyncio.timeout(4):
                await part.end()
        except (StorageUnavailable, TimeoutError):
            pass
