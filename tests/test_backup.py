"""Backup and restore, with the commands of docs/operations.md: what a restored, unfinished decision does is safe."""

import asyncio
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, update

from bot.errors import StartError
from bot.store import Database, audit
from bot.store.tables import decisions
from tests.postgres import PROGRAMS
from tests.releases import fill_like_release_0_1
from tests.rows import execute_beside
from tests.simulator.together import Ids
from tests.test_audit_command import adding_role
from tests.watch import quiet
from tests.world import APPROVE, IDS, OTHER, World, both_databases, world

pytestmark = pytest.mark.bot(drain_seconds=0.05)
THIRD: Ids = ("cluster-3", "instance-3", "remediation-3")


def backup(url: str, folder: Path) -> Path:
    """Back the database up while the bot runs."""
    to = folder / "backup"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
        return to
    run("pg_dump", "--format=custom", f"--schema={schema_of(url)}", f"--file={to}", plain(url))
    return to


def restore(url: str, copy: Path) -> None:
    """Put the backup in place of the database; no bot runs."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.write_bytes(copy.read_bytes())
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema_of(url)} CASCADE")  # the backup makes it again
    run("pg_restore", "--no-owner", "--single-transaction", f"--dbname={plain(url)}", str(copy))


def run(program: str, *words: str) -> None:
    subprocess.run([str(PROGRAMS / program), *words], check=True)  # noqa: S603 - our own words


def remove(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink()


def plain(url: str) -> str:
    return url.partition("&options=")[0]


def schema_of(url: str) -> str:
    return url.partition("search_path%3D")[2].partition(",")[0]


@both_databases
async def test_restored_decisions_are_looked_into_and_not_repeated(bot: World, tmp_path: Path) -> None:
    for ids in (IDS, OTHER, THIRD):
        bot.together.add(ids)
    seen, alert = bot.alert(THIRD), bot.alert(IDS)
    with bot.together.paused("cancel"):
        await bot.slack.command(" ".join(OTHER))
        await bot.together.until(lambda: bot.together.posts)
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.slack.press(seen, APPROVE)
            await bot.together.until(lambda: [call.verb for call in bot.together.calls].count("get") == 2)
            copy = await asyncio.to_thread(backup, bot.settings.database_url, tmp_path)
    for ids, state in ((IDS, "PENDING"), (OTHER, "CANCELLED"), (THIRD, "PENDING")):
        await bot.together.until(lambda ids=ids, state=state: bot.together.state(ids) == state)  # type: ignore[misc] # mypy cannot see the defaults
    await bot.settle()
    posts = len(bot.together.posts)
    bot.together.remediations[THIRD].update(state="PENDING_APPROVAL", mode="REMEDIATION_MODE_VM_ONLY")
    await asyncio.to_thread(restore, bot.settings.database_url, copy)
    await execute_beside(bot, update(decisions).values(lease_until=0.0))
    edits = alert.edits, seen.edits
    async with bot.another():
        await bot.edited(alert, edits[0] + 1)
        await bot.edited(seen, edits[1] + 1)
        rows = select(decisions.c.status)
        async with asyncio.timeout(60):
            while {row["status"] for row in await execute_beside(bot, rows)} != {"done"}:
                await quiet(bot)
    assert len(bot.together.posts) == posts
    assert "Already approved" in alert.text
    assert "approval wasn't sent" in seen.text
    database = Database(bot.settings.database_url)
    assert (await audit.verify(database)).problems == []
    await database.close()


async def test_backup_of_an_older_release_is_restored_and_upgraded_again(database_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(fill_like_release_0_1, database_url, {})
    copy = await asyncio.to_thread(backup, database_url, tmp_path)
    await upgraded(database_url)
    await asyncio.to_thread(restore, database_url, copy)
    await upgraded(database_url)


async def test_backup_restored_over_a_newer_schema_is_refused_in_words(postgresql: str) -> None:
    """`pg_restore --clean` drops what the backup has, so what only the newer schema has stays."""
    await upgraded(postgresql)
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(
        StartError, match="already exists\\. A backup was restored over a newer schema: restore it into"
    ):
        await upgraded(postgresql)


async def test_role_that_can_only_add_to_the_trail_can_make_a_backup(postgresql: str, tmp_path: Path) -> None:
    async with adding_role(postgresql) as limited:
        assert (await asyncio.to_thread(backup, limited, tmp_path)).stat().st_size


async def upgraded(url: str) -> None:
    """Open the database as a start does."""
    database = Database(url)
    try:
        await database.open()
    finally:
        await database.close()


async def test_lost_database_is_made_again_and_buttons_keep_working(tmp_path: Path) -> None:
    async with world(database=f"sqlite:///{tmp_path}/bot.db") as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.settle()
        await asyncio.to_thread(remove, list(tmp_path.glob("bot.db*")))  # noqa: ASYNC240 - a few names
        async with bot.another():
            await bot.slack.press(alert, APPROVE)
            await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"
