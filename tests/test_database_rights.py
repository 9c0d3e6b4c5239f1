"""The doctor, the audit commands, and settings, where the database is not as it should be."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bot.errors import StartError, StorageUnavailable
from bot.findings import Status
from bot.settings import read_settings
from bot.store import Database
from bot.store.connection import check_writable
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER
from tests.simulator.process import ROOT
from tests.test_audit_command import adding_role, as_user, decide
from tests.test_doctor import found
from tests.world import REF, World, world


@asynccontextmanager
async def stranger(url: str, name: str) -> AsyncIterator[str]:
    """The URL of a role that may look into the schema, and has no rights on what is in it."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        (schema,) = await (await owner.execute("SELECT current_schema()")).fetchone() or ("",)
        await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        await owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        try:
            yield as_user(url, name)
        finally:
            await owner.execute(f"DROP OWNED BY {name}")
            await owner.execute(f"DROP ROLE {name}")


async def run(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bot", *words]
    given = {**os.environ, **environ}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=given, capture_output=True, text=True, check=False
    )


async def test_doctor_survives_a_role_without_rights_and_names_it(bot: World, postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    await database.close()
    async with stranger(postgresql, "stranger_doctor") as url:
        finding = (await found(bot, database_url=url))["database"]
    assert finding.status is Status.PROBLEM
    assert "permission denied" in finding.detail


async def test_audit_command_names_missing_rights_in_a_sentence(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    await database.close()
    async with stranger(postgresql, "stranger_audit") as url:
        done = await run("audit", "verify", DATABASE_URL=url)
    assert "Traceback" not in done.stderr
    assert "permission denied" in done.stderr


async def test_doctor_says_what_a_role_needs_that_may_not_make_tables(bot: World, postgresql: str) -> None:
    async with stranger(postgresql, "stranger_first") as url:
        finding = (await found(bot, database_url=url))["database"]
        database = Database(url)
        with pytest.raises(StartError, match="GRANT CREATE ON SCHEMA"):
            await database.open()
        await database.close()
    assert finding.status is Status.PROBLEM
    assert "GRANT CREATE ON SCHEMA" in finding.detail


async def test_doctor_names_the_tables_of_an_upgrade_on_which_a_role_has_no_rights(bot: World, postgresql: str) -> None:
    async with adding_role(postgresql) as limited:
        assert (await found(bot, database_url=limited))["database"].status is Status.OK
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
            await owner.execute("REVOKE ALL ON clusters, outages FROM PUBLIC")
            role = urlsplit(limited).username
            await owner.execute(f"REVOKE ALL ON clusters, outages FROM {role}")
        finding = (await found(bot, database_url=limited))["database"]
    assert (finding.status, finding.detail) == (Status.PROBLEM, "its role has no rights on clusters, outages")


async def test_older_schema_that_the_role_cannot_bring_up_to_date_is_found_and_named(
    bot: World, postgresql: str
) -> None:
    async with (
        adding_role(postgresql) as limited,
        await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner,
    ):
        await owner.execute("DROP INDEX due_events")
        await owner.execute("UPDATE alembic_version SET version_num = '0005'")
        finding = (await found(bot, database_url=limited))["database"]
        assert (await found(bot, database_url=postgresql))["database"].status is Status.OK
        database = Database(limited)
        with pytest.raises(StartError) as refused:
            await database.open()
        await database.close()
    assert (finding.status, finding.detail) == (Status.PROBLEM, str(refused.value))
    assert finding.detail.startswith("The database has schema 0005, and its role doesn't own the tables")


async def test_watch_that_fails_is_told_until_it_works(postgresql: str) -> None:
    problem = "Watching the clusters failed, and is tried again."
    async with (
        adding_role(postgresql) as limited,
        await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner,
    ):
        role = urlsplit(limited).username
        await owner.execute(f"REVOKE ALL ON outages FROM {role}")
        async with world(database=limited, BOT_ALERT_CHANNEL="C0OPS") as bot, asyncio.timeout(HANGS_AFTER):
            while problem not in (await get(bot.app, "/readyz"))[1]:
                await bot.time.advance(5)
            await owner.execute(f"GRANT ALL ON outages TO {role}")
            while problem in (await get(bot.app, "/readyz"))[1]:
                await bot.time.advance(5)


async def test_full_disk_is_found_by_a_write(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/bot.db")
    await database.open()
    for connection in database._pool._idle:
        (pages,) = connection.raw.execute("PRAGMA page_count").fetchone()
        connection.raw.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageUnavailable):
        await database.run(check_writable)
    await database.close()


@pytest.mark.parametrize("password", ["pa]ss", "pa[ss"])
def test_database_password_with_a_bracket_is_read(password: str) -> None:
    environ = {
        "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "TOGETHER_API_KEY": "k", "BOT_OPERATORS": "U0ALICE",
        "DATABASE_URL": f"postgresql://bot:{password}@db/bot",
    }  # fmt: skip
    assert password in read_settings(environ).secrets


@pytest.mark.parametrize("url", ["postgresql://bot:pa#ss@db/bot", "postgresql://db/bot?user=bot&password=pa%23ss"])
def test_each_password_that_libpq_reads_is_kept_out_of_the_log(url: str) -> None:
    environ = {
        "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "TOGETHER_API_KEY": "k", "BOT_OPERATORS": "U0ALICE",
        "DATABASE_URL": url,
    }  # fmt: skip
    assert conninfo_to_dict(url)["password"] == "pa#ss"
    assert "pa#ss" in read_settings(environ).secrets


async def test_trail_that_is_piped_into_head_ends_without_a_traceback(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    async with world(database=url) as bot:
        await decide(bot)
    script = "import sys; from bot.__main__ import main; sys.exit(main(['audit']))"
    reader, writer = os.pipe()
    os.close(reader)  # as head does once it has its ten lines
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "DATABASE_URL": url},
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""


async def test_exported_trail_has_the_words_that_are_in_it_whatever_the_terminal_can_show(tmp_path: Path) -> None:
    url, reason = f"sqlite:///{tmp_path}/bot.db", "Ошибка диска"
    async with world(database=url) as bot:
        bot.together.add()
        await bot.slack.command(f"{REF} {reason}")
        await bot.answer()
    done = await run("audit", "export", DATABASE_URL=url, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["reason"] for row in rows] == [reason] * len(rows)
