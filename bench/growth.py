"""What may grow, and must not make a command slower: `python -m bench.growth`. On SQLite, the bot on a core alone."""

import asyncio
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path

import uvloop

from bench.compare import FIGURES, Program, Target, one_round, ratio, start
from bench.load import Load
from bench.watch import PAGE, bot_beside, digest_of, false_alarm
from tests.simulator.slack import Posted, Slack
from tests.simulator.together import Together

ROUNDS = 5
FINISHED = (1_000, 1_000_000)
FLIGHTS = (1, 8, 64)
FLOOD = 300
PURGED = 100_000
PACED, PER_SECOND = 100, 20.0
ACKS, ACKS_PER_SECOND = 1_200, 40.0
EDIT_SECONDS = 0.075  # in which a digest is loaded, drawn, and sent
CLUSTERS = (10, 100, 1_000)
CYCLES = 3
NODES, CANCELS = 1_000, 40
DAY = 86_400.0


def multiply(path: Path, finished: int, *, age: float = 0.0) -> None:
    """Make this many finished decisions of those that a database has, each with its rows in the audit trail."""
    with closing(sqlite3.connect(path)) as connection, connection:
        has, rows = _count(connection, "decisions"), _count(connection, "audit")
        new = {each: f"{each} || '-' || n" for each in ("id", "dedup_key", "decision_id", "remediation_id")}
        new |= {"done_at": f"done_at - {age}", "seq": f"seq + n * {rows}"}
        for table in ("decisions", "audit"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(new.get(column, column) for column in columns)
            connection.execute(
                "WITH RECURSIVE copy (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < ?) "  # noqa: S608 - names of this program
                f"INSERT INTO {table} SELECT {values} FROM (SELECT * FROM {table}), copy",
                ((finished - has) // has,),
            )


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of this program


async def main() -> None:
    """Measure and print all."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Load() as load:
            async with AsyncExitStack() as stack:
                await _bot(stack, load, folder / "made.db", cores)
            await _finished(load, folder, cores)
            await _purge(load, folder, cores)
    os.sched_setaffinity(0, cores)
    await _clusters()
    await _digest()


async def _bot(stack: AsyncExitStack, load: Load, path: Path, cores: list[int], *, warm_up: int = 100) -> Target:
    """Run a bot on a database, on a core that nothing else uses."""
    program = Program(path.stem, (sys.executable, "-m", "bot"), {"DATABASE_URL": f"sqlite:///{path}"})
    return await start(stack, load, path.parent, {cores[-1]}, program, warm_up=warm_up)


async def _finished(load: Load, folder: Path, cores: list[int]) -> None:
    async with AsyncExitStack() as stack:
        bots = []
        for count in FINISHED:
            path = Path(shutil.copy(folder / "made.db", folder / f"{count} finished.db"))
            multiply(path, count)
            bots.append(await _bot(stack, load, path, cores))
        for _ in range(ROUNDS):
            for bot in bots:
                bot.rounds.append(await one_round(load, bot))
        few, many = bots
        print(f"{many.name} / {few.name}: the median of {ROUNDS} ratios (least to most)")
        for figure in FIGURES:
            middle, least, most = ratio(many, few, figure)
            print(f"  {figure:26}{middle:.2f} ({least:.2f}-{most:.2f})", flush=True)
        print(f"\n{FLOOD} commands with this many in flight")
        for in_flight in FLIGHTS:
            before = few.cpu()
            seconds = await load.flood(few.url, FLOOD, in_flight)
            each = 1000 * (few.cpu() - before) / FLOOD
            print(f"  {in_flight:3}: {each:.2f} ms of CPU each, {FLOOD / seconds:.0f} a second", flush=True)


async def _purge(load: Load, folder: Path, cores: list[int]) -> None:
    print(
        f"\n{PACED} commands at {PER_SECOND:g} a second right after a start, while this many old decisions are deleted"
    )
    for old in (0, PURGED):
        path = Path(shutil.copy(folder / "made.db", folder / f"{old} old.db"))
        if old:
            multiply(path, old, age=401 * DAY)
        async with AsyncExitStack() as stack:
            bot = await _bot(stack, load, path, cores, warm_up=0)
            began = time.perf_counter()
            typed = await load.paced(bot.url, PACED, PER_SECOND)
            acks, cards = (sorted(1000 * each for each in times) for times in zip(*typed, strict=True))
            took = await asyncio.to_thread(_purged, path, began)
        print(
            f"  {old:6}: ack p50 {acks[PACED // 2]:.1f} ms, p90 {acks[-PACED // 10]:.1f}, most {acks[-1]:.1f}; "
            f"card p50 {cards[PACED // 2]:.1f} ms, p90 {cards[-PACED // 10]:.1f}; all done after {took:.1f} s",
            flush=True,
        )


def _purged(path: Path, began: float) -> float:
    """Wait until nothing old is left. Returns how long that took."""
    with closing(sqlite3.connect(path)) as connection:
        while _count(connection, "decisions") > 10 * PACED:
            time.sleep(0.1)
    return time.perf_counter() - began


async def _clusters() -> None:
    print("\nSo many clusters polled, in which nothing waits")
    for clusters in CLUSTERS:
        with tempfile.TemporaryDirectory() as name:
            async with Slack() as slack, Together(slack.now) as together:
                together.max_page = PAGE
                together.clusters.update({f"cluster-{number}": "H100" for number in range(clusters)})
                async with bot_beside(slack, together, Path(name)) as bot:
                    await _lists(together, 2 * clusters)
                    began = bot.cpu
                    await _lists(together, CYCLES * clusters)
                    each = 1000 * (bot.cpu - began) / (CYCLES * clusters)
                    print(
                        f"  {clusters:4}: {each:.2f} ms of CPU for each cluster and cycle, {bot.memory:.0f} MiB",
                        flush=True,
                    )


async def _digest() -> None:
    print(f"\nAcks at {ACKS_PER_SECOND:g} a second, asked for by another process, while {CANCELS} nodes are cancelled")
    with tempfile.TemporaryDirectory() as name:
        async with Slack() as slack, Together(slack.now) as together:
            together.clusters["cluster-1"] = "H100"
            async with bot_beside(slack, together, Path(name)):
                shown = await false_alarm(together, NODES)
                digest = await digest_of(slack, NODES)
                other = [together.add(("not watched", f"i-{number}", f"r-{number}")) for number in range(CANCELS)]
                for title, ids in (("none of them in a digest", other), (f"of a digest of {NODES}", shown)):
                    edits: list[float] = []
                    noting = asyncio.create_task(_note_edits(slack, digest, edits))
                    words = ("-m", "bench.load", slack.bot_url, str(ACKS), str(ACKS_PER_SECOND))
                    load = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
                    for one in ids[:CANCELS]:
                        await slack.command(" ".join(one))
                        await asyncio.sleep(ACKS / ACKS_PER_SECOND / CANCELS)
                    acks = json.loads((await load.communicate())[0])
                    noting.cancel()
                    near = [took for at, took in acks if any(at < edit < at + EDIT_SECONDS for edit in edits)]
                    far = [took for at, took in acks if not any(abs(at - edit) < 6 * EDIT_SECONDS for edit in edits)]
                    print(f"  {title}: {len(edits)} edits; {_spread(far)} apart from them")
                    if near:
                        more, window = statistics.median(near) / statistics.median(far), 1000 * EDIT_SECONDS
                        print(f"    {_spread(near)} within {window:g} ms before one, {more:.1f} times as long")
                    sys.stdout.flush()


async def _note_edits(slack: Slack, digest: Posted, edits: list[float]) -> None:
    """Note when edits of a digest arrive."""
    count = digest.edits
    while True:
        await slack.news()
        edits += [time.time()] * (digest.edits - count)
        count = digest.edits


def _spread(seconds: list[float]) -> str:
    took = sorted(1000 * each for each in seconds)
    middle, most = took[len(took) // 2], took[-1]
    return f"{len(took)} acks, p50 {middle:.1f} ms, p90 {took[-len(took) // 10]:.1f}, at most {most:.1f}"


async def _lists(together: Together, count: int) -> None:
    wanted = sum(call.verb == "list" for call in together.calls) + count
    while sum(call.verb == "list" for call in together.calls) < wanted:
        await together.news()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
