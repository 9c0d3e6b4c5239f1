"""What the statements cost once a year of decisions and alerts is in the tables."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from sqlalchemy import text

from bot.models import Target
from bot.store import approvals, messages, outbox
from bot.store.connection import Connection, _compiled
from bot.store.sqlite import SQLiteFile
from tests.manual_clock import HANGS_AFTER, ManualClock
from tests.sqlite import fill_sqlite
from tests.store.examples import open_store
from tests.storms import began, choose, digest, storm
from tests.watch import HOLD, card, pass_time, quiet, watching
from tests.world import APPROVE, REF, World

TABLES = "decisions|alerts|messages|audit|inbox"
TOO_MUCH = re.compile(rf"SCAN ({TABLES})|SEARCH ({TABLES}) .*\(cluster_id=\?\)$")


async def test_no_statement_reads_a_growing_table_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bot.db"
    statements: set[str] = set()
    connect = SQLiteFile.connect

    def watched(driver: SQLiteFile) -> sqlite3.Connection:
        raw = connect(driver)
        raw.set_trace_callback(statements.add)
        return raw

    monkeypatch.setattr(SQLiteFile, "connect", watched)  # also those that are opened later, beside one in use
    async with watching(f"sqlite:///{path}", BOT_REMIND_MINUTES="15", BOT_MAX_IN_REPAIR="5") as bot:
        statements.clear()
        await use_everything(bot)
    assert len(statements) > 50
    assert scans(path, statements) == []


async def test_what_is_asked_again_and_again_is_worded_once() -> None:
    async with watching() as bot:
        await use_everything(bot)
        worded = _compiled.cache_info().misses
        for _ in range(3):
            await bot.slack.open_home()
            await quiet(bot)
        assert _compiled.cache_info().misses == worded


def _watch(connection: Connection, statements: set[str]) -> None:
    connection.raw.set_trace_callback(statements.add)


async def use_everything(bot: World) -> None:
    """Let the bot do what it does every day."""
    assert bot.app.database
    bot.app.database.seconds = HANGS_AFTER  # a failure would ask the database something else
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await pass_time(bot, 3600)
    await bot.slack.press(alert, APPROVE)
    storm(bot, 8)
    await choose(bot, await digest(bot), verb="cancel")
    await bot.slack.submit(bot.slack.views[-1])
    await pass_time(bot, 3600)
    for words in ("", "list", REF):
        await bot.slack.command(words)
    await bot.slack.open_home()
    await bot.slack.say("<@U0BOT> hold", user="U0ALICE", thread=alert)
    await quiet(bot)
    await bot.app._measure()
    await pass_time(bot, 90_000)


def scans(path: Path, statements: set[str]) -> list[str]:
    """The statements for which SQLite reads a whole table or all of a cluster, but for the first row of a table."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("bot_now", 0, lambda: 0.0)
        for statement in statements:
            if not statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                continue
            if "LIMIT 1 OFFSET" in statement and "WHERE" not in statement:
                continue
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            found += [f"{step}: {statement}" for *_, step in plan if TOO_MUCH.match(step)]
    return found


async def test_events_that_are_due_are_found_without_those_that_are_tried_again_later(
    tmp_path: Path, time: ManualClock
) -> None:
    path = tmp_path / "bot.db"
    statements: set[str] = set()
    await fill_sqlite(f"sqlite:///{path}")
    async with open_store(f"sqlite:///{path}", time) as store:
        await store.database.run(_watch, statements)
        await store.database.read(_watch, statements)
        await store.database.read(outbox.due, Target.WEBHOOK, 20)
    (due,) = [statement for statement in statements if "FROM outbox" in statement]
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("bot_now", 0, lambda: 0.0)
        plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {due}")]
    found = [each for each in plan if "outbox" in each and "subject" not in each]
    assert [each.partition("due_events ")[2] for each in found] == [
        "(target=? AND next_at<?)", "(target=? AND next_at>?)",
    ], plan  # fmt: skip


async def test_postgresql_reads_what_is_recent_by_its_moment(postgresql: str, time: ManualClock) -> None:
    async with open_store(postgresql, time) as store:
        store.database.seconds = HANGS_AFTER
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
            for statement in A_YEAR:
                await owner.execute(statement)
        run = store.database.run
        assert await run(rows_read, "decisions", partial(approvals.approved_lately, cluster_id="c-1")) < 100
        assert await run(rows_read, "decisions", partial(approvals.unsettled, clusters=["c-1", "c-2"])) < 100
        assert await run(rows_read, "messages", partial(messages.in_channels, seconds=3600)) < 100


A_YEAR: tuple[LiteralString, ...] = (
    """
    INSERT INTO decisions (id, dedup_key, status, verb, cluster_id, instance_id, remediation_id, user_id, outcome,
                           received_at, repeats, answered_at, done_at, owner, lease_until, fence)
    SELECT n, n, 'done', 'approve', 'c-' || n % 100, n, n, 'U0ALICE', 'approved', ago, 0, ago, ago, '', 0, 1
    FROM (SELECT n, extract(epoch FROM now()) - 60 * n AS ago FROM generate_series(2, 100000) AS n) AS each
    """,
    """
    INSERT INTO messages (id, is_digest, is_open, ts, posted_at, last_added_at, opened_at, version, body)
    SELECT n, false, false, n, ago, ago, ago, 1, ''
    FROM (SELECT n, extract(epoch FROM now()) - 60 * n AS ago FROM generate_series(2, 100000) AS n) AS each
    """,
    "ANALYZE",
)


def rows_read(connection: Connection, table: str, look: Callable[[Connection], object]) -> int:
    """How many rows of a table PostgreSQL reads for something."""
    counts = text("""
        SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
        WHERE schemaname = current_schema() AND relname = :relname
    """)
    before = connection.execute(counts, relname=table).scalar()
    look(connection)
    return int(connection.execute(counts, relname=table).scalar() - before)
