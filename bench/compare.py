"""The bot beside its peers: the same commands in one run, rounds interleaved and shuffled, medians of paired ratios."""

import asyncio
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import aiohttp

from bench.load import PEOPLE, Load
from tests.postgres import new_schema, serve_postgresql
from tests.simulator.process import ROOT, free_port
from tests.simulator.slack.workspace import BOT_TOKEN, SIGNING_SECRET
from tests.simulator.together import API_KEY

PEERS = Path(__file__).parent / "peers"
ROUNDS = 7
PACED, PER_SECOND = 40, 20.0
FLOOD, IN_FLIGHT = 300, 32
WARM_UP = 100  # commands
# Bolt for JavaScript's CPU for a command falls from 1.4 to 0.7 ms within its first 4,000, by Node's JIT, and rises
# again where it is idle for some 20 s.
WARM_SECONDS = 8.0
SQLITE, POSTGRESQL = "bot, SQLite", "bot, PostgreSQL"
WSGI, ASYNC, JAVASCRIPT = "Bolt for Python, App", "Bolt for Python, AsyncApp", "Bolt for JavaScript"
# How many times as long as Bolt for JavaScript's an ack may take. AsyncApp's is mostly a sleep of 10 ms (slack_bolt
# 1.30, asyncio_runner): a share of that is a bound in milliseconds. A commit takes PostgreSQL longer than SQLite.
ACK_LIMITS = {SQLITE: 2.2, POSTGRESQL: 2.7}
# The bot as it is deployed, with nothing beside what its lock file names: httpx loads rich where it finds it.
PRODUCTION = ROOT / "build" / "production" / "bin" / "python"
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024
NODE = shutil.which("node")


@dataclass
class Round:
    """What one target took in one round, in seconds but for the rate."""

    ack_50: float
    ack_90: float
    card_50: float
    card_90: float
    rate: float
    cpu: float


FIGURES: Mapping[str, tuple[Callable[[Round], float], float]] = {
    "ack p50, ms": (lambda each: each.ack_50, 1000),
    "ack p90, ms": (lambda each: each.ack_90, 1000),
    "command to card p50, ms": (lambda each: each.card_50, 1000),
    "command to card p90, ms": (lambda each: each.card_90, 1000),
    "commands per second": (lambda each: each.rate, 1),
    "CPU per command, ms": (lambda each: each.cpu, 1000),
}


@dataclass(frozen=True)
class Program:
    """What a target runs; `{port}` in an argument is its port."""

    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Target:
    """One program under load."""

    name: str
    process: "subprocess.Popen[bytes]"
    url: str
    starts: list[float] = field(default_factory=list)
    idle: float = 0.0
    warm: float = 0.0
    after: float = 0.0
    rounds: list[Round] = field(default_factory=list)

    def tree(self) -> list[int]:
        """The process and all that it has started."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self) -> float:
        """Seconds of CPU time until now."""
        total = 0
        for pid in self.tree():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self) -> float:
        """Proportional set size in MiB: what is shared with other programs counts in part."""
        lines = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines() for pid in self.tree()]
        return sum(int(line.split()[1]) for each in lines for line in each if line.startswith("Pss:")) / MIB


async def main() -> bool:
    """Measure and print. Returns whether the bot's ack stays within its limit."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgresql = stack.enter_context(serve_postgresql())
        cores = sorted(os.sched_getaffinity(0))
        own, theirs = {cores[0]}, {cores[-1]}
        os.sched_setaffinity(0, own)
        stack.callback(os.sched_setaffinity, 0, cores)
        load = await stack.enter_async_context(Load())
        targets = [await start(stack, load, folder, theirs, program) for program in _programs(folder, postgresql)]
        for target in targets:
            until = time.perf_counter() + WARM_SECONDS
            while time.perf_counter() < until:
                await load.flood(target.url, WARM_UP, IN_FLIGHT)
        shuffler = random.Random(1)  # noqa: S311 - the order needs no secrets
        for number in range(ROUNDS):
            for target in shuffler.sample(targets, len(targets)):
                target.rounds.append(await one_round(load, target))
            new = folder / f"start-{number}"
            new.mkdir()
            for program, target in zip(_programs(new, new_schema(postgresql)), targets, strict=True):
                async with AsyncExitStack() as alone:
                    target.starts += (await start(alone, load, new, theirs, program, warm_up=0)).starts
        for target in targets:
            target.after = target.memory()
        _print(targets, same_core=own == theirs)
    by_name = {target.name: target for target in targets}
    if JAVASCRIPT not in by_name:
        print("The limits of the ack aren't checked.", flush=True)
        return True
    acks = {name: ratio(by_name[name], by_name[JAVASCRIPT], "ack p50, ms")[0] for name in ACK_LIMITS}
    slow = [f"{name}, {acks[name]:.2f} over {limit}" for name, limit in ACK_LIMITS.items() if acks[name] > limit]
    print(f"Limits of the ack: {'exceeded by ' + ' and '.join(slow) if slow else 'kept'}", flush=True)
    return not slow


def _programs(folder: Path, postgresql: str) -> list[Program]:
    bot = (str(PRODUCTION), "-m", "bot")
    gunicorn = (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "bench.peers.bolt_wsgi:api")
    found = [
        Program(SQLITE, bot, {"DATABASE_URL": f"sqlite:///{folder}/bot.db"}),
        Program(POSTGRESQL, bot, {"DATABASE_URL": postgresql}),
        Program(WSGI, gunicorn),
        Program(ASYNC, (sys.executable, "-m", "bench.peers.bolt_async")),
    ]
    if NODE and (PEERS / "node_modules").exists():
        found.append(Program(JAVASCRIPT, (NODE, str(PEERS / "app.js"))))
    else:
        print(f"{JAVASCRIPT} is left out: it needs Node.js and npm.")
    return found


async def start(
    stack: AsyncExitStack, load: Load, folder: Path, cores: set[int], program: Program, *, warm_up: int = WARM_UP
) -> Target:
    """Start a program on these cores, to be stopped with the stack, and warm it up."""
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(port), "HOST": "127.0.0.1",
        "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_SIGNING_SECRET": SIGNING_SECRET, "SLACK_API_URL": load.slack_url,
        "TOGETHER_API_KEY": API_KEY, "TOGETHER_BASE_URL": load.together_url, "BOT_OPERATORS": ",".join(PEOPLE),
        "LOG_LEVEL": "INFO", "NODE_ENV": "production", **program.environ,
    }  # fmt: skip
    log = folder / f"{port}.log"
    output = stack.enter_context(log.open("wb"))
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own programs
        [each.format(port=port) for each in program.arguments], cwd=folder, env=environ, stdout=output, stderr=output
    )
    os.sched_setaffinity(process.pid, cores)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    target = Target(program.name, process, f"http://127.0.0.1:{port}")
    while not await _is_acked(load, target):
        if process.poll() is not None:
            raise SystemExit(f"{program.name} did not start:\n{log.read_text('utf-8')}")
    target.starts.append(time.perf_counter() - began)
    target.idle = target.memory()
    await load.flood(target.url, warm_up, IN_FLIGHT)
    target.warm = target.memory()
    return target


async def _is_acked(load: Load, target: Target) -> bool:
    try:
        return await load.command(target.url, until_card=False) is not None
    except aiohttp.ClientError:
        await asyncio.sleep(0.01)
        return False


async def one_round(load: Load, target: Target) -> Round:
    """Measure a target once: what people wait for at an even pace, then what it does at most."""
    paced = await load.paced(target.url, PACED, PER_SECOND)
    before = target.cpu()
    seconds = await load.flood(target.url, FLOOD, IN_FLIGHT)
    acks, cards = sorted(ack for ack, _ in paced), sorted(card for _, card in paced)
    tenth = -(-len(paced) // 10)
    return Round(
        statistics.median(acks),
        acks[-tenth],
        statistics.median(cards),
        cards[-tenth],
        FLOOD / seconds,
        (target.cpu() - before) / FLOOD,
    )


def ratio(target: Target, base: Target, figure: str) -> tuple[float, float, float]:
    """Return the median of the ratios of both in the same round, and the least and the most of them."""
    read, _ = FIGURES[figure]
    ratios = [read(one) / read(other) for one, other in zip(target.rounds, base.rounds, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def _print(targets: list[Target], *, same_core: bool) -> None:
    versions = [f"{name} {version(name)}" for name in ("slack-bolt", "httpx", "sqlalchemy", "gunicorn")]
    node = f"Node.js {os.popen(f'{NODE} --version').read().strip()}" if NODE else "no Node.js"  # noqa: S605 - its path
    where = "the same core" if same_core else "another core"
    print(
        f"\nThe bot beside its peers: {ROUNDS} rounds, interleaved and shuffled; {PACED} commands at {PER_SECOND:g}/s, "
        f"then {FLOOD} with {IN_FLIGHT} in flight; load from {where}.\n"
        f"Python {platform.python_version()}, {', '.join(versions)}, {node}; "
        f"{platform.machine()}, {os.cpu_count()} cores."
    )
    width = max(len(target.name) for target in targets) + 2
    print(f"\n{'':26}" + "".join(f"{target.name:>{width}}" for target in targets))
    for figure, (read, unit) in FIGURES.items():
        values = (statistics.median(map(read, target.rounds)) * unit for target in targets)
        print(f"{figure:26}" + "".join(f"{value:>{width}.2f}" for value in values))
    starts = (statistics.median(target.starts) for target in targets)
    print(f"{'start to first ack, s':26}" + "".join(f"{value:>{width}.2f}" for value in starts))
    print(f"{'memory idle, MiB PSS':26}" + "".join(f"{target.idle:>{width}.0f}" for target in targets))
    print(f"{'memory warm, MiB':26}" + "".join(f"{target.warm:>{width}.0f}" for target in targets))
    print(f"{'memory after, MiB':26}" + "".join(f"{target.after:>{width}.0f}" for target in targets))
    by_name = {target.name: target for target in targets}
    for base in (JAVASCRIPT, ASYNC):
        if base not in by_name:
            continue
        print(f"\nof {base}: the median of the ratios within a round (least to most)")
        for figure in FIGURES:
            cells = []
            for target in targets:
                middle, least, most = ratio(target, by_name[base], figure)
                cells.append(f"{middle:.2f} ({least:.2f}-{most:.2f})")
            print(f"{figure:26}" + "".join(f"{cell:>{width}}" for cell in cells))
