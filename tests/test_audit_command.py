"""`python -m bot audit` beside a running bot, on both databases."""

import asyncio
import csv
import fcntl
import io
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Executable, delete, insert, select, update

from bot.__main__ import main
from bot.audit import print_trail, print_verdict, read_since
from bot.clock import WaitReason
from bot.errors import LeaseLost, StartError, StorageUnavailable
from bot.models import Actor, AuditNote
from bot.store import Database, audit
from bot.store.audit import key_id
from bot.store.connection import Connection
from bot.store.tables import audit as audit_rows
from bot.store.tables import cursors, decisions, signed_heads
from bot.trail import SIGN_EVERY, AuditExporter
from tests.deaths import died_while, left_behind
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER, START, ManualClock
from tests.rows import execute, execute_beside
from tests.simulator.process import ROOT, free_port, ready, start_bot, stop_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.watch import card, poll, quiet, watching
from tests.world import APPROVE, IDS, REF, World, world

EVENTS = [("send", None), ("outcome", "cancelled"), ("outcome", "not_allowed")]


async def decide(bot: World) -> None:
    """A cancellation with a hostile reason, and a refusal."""
    bot.together.add()
    alert = bot.alert()
    await bot.slack.command(f"{REF} =1+1 by hand")
    await bot.answer(2)
    await bot.slack.press(alert, APPROVE, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await bot.time.until_sleeping(WaitReason.HEARTBEAT)


async def test_the_trail_is_printed_in_three_formats(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with world(database=database_url) as bot:
        await decide(bot)
        await print_trail(database_url, "json", since=0, remediation=None, user=None)
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(row["event"], row["outcome"]) for row in rows] == EVENTS
        assert all(row["at"] > 0 for row in rows)
        await print_trail(database_url, "csv", since=0, remediation="remediation-1", user="U0ALICE")
        table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [row["user_id"] for row in table] == ["U0ALICE", "U0ALICE"]
        assert table[0]["reason"] == "'=1+1 by hand"
        await print_trail(database_url, "table", since=0, remediation=None, user="U0CAROL")
        header, line = capsys.readouterr().out.splitlines()
        assert header.startswith("time (UTC)")
        assert "outcome  U0CAROL      approve  not_allowed" in line
        assert line.endswith(REF)


async def test_a_whole_trail_is_verified_beside_a_running_bot(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(database=database_url) as bot:
        await decide(bot)
        assert await print_verdict(database_url, None)
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("3 rows, 0 problems. Head ")
        assert second.startswith("0 decisions were re-sent after a crash")
        assert await print_verdict(database_url, first.rpartition(" ")[2])
        assert not await print_verdict(database_url, "f" * 64)
        assert "The expected head is in no row" in capsys.readouterr().out


@pytest.mark.bot(drain_seconds=0.05)
async def test_what_was_sent_again_is_counted_after_its_decision_is_deleted(
    bot: World, capsys: pytest.CaptureFixture[str]
) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"), bot.another():
        await bot.edited(alert)
    await execute_beside(bot, delete(decisions))  # as it is after BOT_RETENTION_DAYS
    assert await print_verdict(bot.settings.database_url, None)
    assert "1 decisions were re-sent after a crash." in capsys.readouterr().out


async def test_the_command_line_finds_a_changed_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.db"
    async with world(database=f"sqlite:///{path}") as bot:
        await decide(bot)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")

    def run(*words: str) -> tuple[int, str]:
        status = main(["audit", *words])
        return status, capsys.readouterr().out

    # The command line starts an event loop, so it runs in a thread without one.
    from asyncio import to_thread  # noqa: PLC0415 - beside its only use

    status, told = await to_thread(run, "verify")
    assert (status, told.splitlines()[0].startswith("3 rows, 0 problems.")) == (0, True)
    assert (await to_thread(run, "--since", "7d", "--format", "json"))[0] == 0
    head = told.splitlines()[0].rpartition(" ")[2]
    assert (await to_thread(run, "verify", "--expect", f" {head.upper()}"))[0] == 0
    for no_head in ("", head[:40]):  # such as an unset variable, and a line that a terminal has cut
        assert await to_thread(run, "verify", "--expect", no_head) == (2, "")  # and not that the trail was rewritten
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE audit SET user_id = 'U0BOB' WHERE seq = 2")
    status, told = await to_thread(run, "verify")
    assert status == 1
    assert told.startswith("Row 2 was changed.\n3 rows, 1 problems.")


def test_the_command_line_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["audit"]) == 1
    assert f"there is no {tmp_path}/remediation-bot.db" in capsys.readouterr().err
    assert main(["audit", "--since", "yesterday"]) == 2
    assert "yesterday" in capsys.readouterr().err
    assert main(["audit", "--since", "9" * 400 + "d"]) == 2
    assert "--since must be a date" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    assert main(["audit", "verify"]) == 2
    assert "DATABASE_URL must start with sqlite:///" in capsys.readouterr().err
    assert main(["audit", "verify", "--key", "none"]) == 2
    assert "DATABASE_URL must start with sqlite:///" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    assert main(["audit", "verify"]) == 1
    assert "Can't reach the database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_database_has_no_trail(postgresql: str) -> None:
    with pytest.raises(StartError, match="has no bot tables yet"):
        await print_verdict(postgresql, None)
    with pytest.raises(StorageUnavailable):
        await print_verdict("postgresql://u@127.0.0.1:1/d", None)


@pytest.mark.parametrize(("value", "moment"), [
    ("30m", START - 1800),
    ("24h", START - 86_400),
    ("7d", START - 7 * 86_400),
    ("2026-11-24", START - 3 * 3600),
    ("2026-11-24T03:00Z", START),
    ("2026-11-24T04:00+01:00", START),
])  # fmt: skip
def test_since(value: str, moment: float) -> None:
    assert read_since(value, START) == moment


def test_the_first_row_follows_nothing() -> None:
    assert audit.GENESIS == "0" * 64


KEY = "a key of at least thirty-two characters"
LATER = "The rows are in the database and are copied later."


@pytest.fixture
async def kept(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A bot whose audit trail is copied and signed, with some rows in it."""
    copy = str(tmp_path / "audit.jsonl")
    async with world(database=database_url, BOT_AUDIT_KEY=KEY, BOT_AUDIT_FILE=copy) as bot:
        await decide(bot)
        await bot.settle()
        yield bot


async def test_rows_are_copied_to_a_file_as_they_are_written_each_once(kept: World, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["event"], row["outcome"]) for row in rows] == EVENTS
    assert path.stat().st_mode & 0o777 == 0o600
    async with kept.another():
        await kept.slack.command("two words")
        await kept.reply_privately()
        await kept.time.end_pause(WaitReason.AUDIT)
        await kept.time.until_sleeping(WaitReason.AUDIT)
    again = [json.loads(line) for line in path.read_text().splitlines()]
    assert again[: len(rows)] == rows
    assert [row["seq"] for row in again] == list(range(1, len(again) + 1))


async def test_rows_are_copied_to_standard_output(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with world(database=database_url, BOT_AUDIT_FILE="-") as bot:
        await decide(bot)
        await bot.settle()
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert [json.loads(line)["event"] for line in lines] == [event for event, _ in EVENTS]


async def test_export_prints_the_same_lines_as_the_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, url = tmp_path / "audit.jsonl", f"sqlite:///{tmp_path}/bot.db"
    async with world(database=url, BOT_AUDIT_FILE=str(copy)) as bot:
        bot.together.add()
        await bot.slack.command(f"{REF} Ошибка диска")
        await bot.answer()
    await print_trail(url, "json", since=0, remediation=None, user=None)
    assert copy.read_text("utf-8") == capsys.readouterr().out


async def test_file_that_cannot_be_written_stops_neither_decisions_nor_signatures_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "none"
    async with world(BOT_AUDIT_KEY=KEY, BOT_AUDIT_FILE=str(folder / "audit.jsonl")) as bot:
        await decide(bot)
        for _ in range(3):
            await look(bot)
        problem = "The audit trail isn't copied to BOT_AUDIT_FILE: No such file or directory."
        assert await get(bot.app, "/readyz") == (200, f"ready\n{problem} {LATER}\n")
        assert caplog.text.count(problem) == 1
        assert await execute_beside(bot, select(signed_heads.c.seq))
        folder.mkdir()
        await look(bot)
        assert await get(bot.app, "/readyz") == (200, "ready\n")
        rows = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
        assert [(row["event"], row["outcome"]) for row in rows] == EVENTS
        await bot.settle()
        assert (await execute_beside(bot, select(signed_heads.c.seq).order_by(signed_heads.c.seq)))[-1]["seq"] == 3


async def look(bot: World) -> None:
    """Let the trail's keeper look once."""
    await bot.time.end_pause(WaitReason.AUDIT)
    await bot.time.until_sleeping(WaitReason.AUDIT)


async def test_file_that_hangs_delays_neither_signatures_nor_the_end(tmp_path: Path) -> None:
    """A pipe that nobody reads."""
    os.mkfifo(tmp_path / "pipe")
    async with Slack() as slack, Together(slack.now) as together:
        port, url = free_port(), f"sqlite:///{tmp_path}/bot.db"
        environ = {**variables(slack, together), "BOT_AUDIT_KEY": KEY, "BOT_AUDIT_FILE": str(tmp_path / "pipe")}
        bot = start_bot(tmp_path, {**environ, "DATABASE_URL": url}, port=port, log=tmp_path / "log")
        await ready(slack, port)
        together.add()
        await slack.command(REF)
        await together.until(lambda: together.posts)
        await slack.until(slack.visible)
        await stop_bot(bot)
        assert bot.returncode == 0
        database = Database(url)
        assert (await database.read(audit.check_signatures, [KEY])).signed_at is not None
        await database.close()
    assert not (tmp_path / "log").read_text().count("Traceback")


async def test_copy_is_written_only_by_the_process_that_may(kept: World, tmp_path: Path) -> None:
    """A process that stood still must not scatter rows over its own machine's copy when it wakes up."""
    database = Database(kept.settings.database_url, kept.time.clock)
    copy = tmp_path / "other.jsonl"
    await execute(database, delete(cursors))
    told: list[str] = []
    keeper = AuditExporter(database, str(copy), KEY, clock=kept.time.clock, lease_seconds=15, warn=told.append)
    with pytest.raises(LeaseLost):
        await keeper.copy()
    await database.close()
    assert not copy.exists()


async def test_row_that_a_full_disk_cut_in_half_is_written_whole_again(kept: World, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    whole = path.read_text()
    path.write_text(f'{whole}{{"seq": 4, "at": 17954')
    async with kept.another():
        await kept.slack.command("two words")
        await kept.reply_privately()
        await look(kept)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.read_text().startswith(whole)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))


async def test_row_that_was_cut_in_half_on_standard_output_is_written_whole_again(
    tmp_path: Path, time: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that is full, and doesn't wait until somebody reads it."""
    database = Database(f"sqlite:///{tmp_path}/bot.db", time.clock)
    await database.open()
    for _ in range(10):
        noted = AuditNote("refused", Actor("U0ALICE", "alice", "T0HOME"), "C0OPS", reason="x" * 1000)
        await database.run(audit.note, noted)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    told: list[str] = []
    keeper = AuditExporter(database, "-", "", clock=time.clock, lease_seconds=15, warn=told.append)
    with os.fdopen(writer, "wb") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        copying = asyncio.create_task(keeper.run())
        await time.until_sleeping(WaitReason.AUDIT)
        assert LATER in told[-1]
        written = os.read(reader, 65_536)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 65_536)
        await time.end_pause(WaitReason.AUDIT)
        await time.until_sleeping(WaitReason.AUDIT)
        assert told[-1] == ""
        copying.cancel()
    written += os.read(reader, 65_536)
    os.close(reader)
    await database.close()
    assert [json.loads(line)["seq"] for line in written.splitlines() if line.endswith(b"}")][-10:] == [*range(1, 11)]


async def test_rows_that_come_while_a_copy_ends_are_copied_at_the_stop(tmp_path: Path, time: ManualClock) -> None:
    """A pipe that nobody reads until the process is stopped."""
    os.mkfifo(tmp_path / "pipe")
    database = Database(f"sqlite:///{tmp_path}/bot.db", time.clock)
    await database.open()
    noted = AuditNote("refused", Actor("U0ALICE", "alice", "T0HOME"), "C0OPS")
    await database.run(audit.note, noted)
    keeper = AuditExporter(database, f"{tmp_path}/pipe", "", clock=time.clock, lease_seconds=15, warn=lambda _: None)
    before = asyncio.all_tasks()
    running = asyncio.create_task(keeper.run())
    async with asyncio.timeout(HANGS_AFTER):
        while not (copying := asyncio.all_tasks() - before - {running}):
            await database.read(audit.last_row)
        running.cancel()
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        await asyncio.wait(copying)
    await database.run(audit.note, noted)
    await keeper.end()
    written = os.read(reader, 65_536)
    os.close(reader)
    await database.close()
    assert [json.loads(line)["seq"] for line in written.splitlines()] == [1, 2]


NEW_KEY = "another key of at least thirty-two characters"


async def test_renewed_key_signs_and_what_the_old_one_signed_can_still_be_checked(
    kept: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = kept.settings.model_copy(update={"bot_audit_key": SecretStr(NEW_KEY)})
    async with kept.another(renewed):
        await kept.time.until_sleeping(WaitReason.AUDIT)
    url = kept.settings.database_url
    assert await print_verdict(url, None, [NEW_KEY])
    assert "heads were signed with another key" in (told := capsys.readouterr().out)
    assert "The last signed row is of 20" in told
    assert await print_verdict(url, None, [KEY])
    assert not await print_verdict(url, None, ["a third key of at least thirty-two characters"])
    (tmp_path / "old.key").write_text(f"{KEY}\n")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("BOT_AUDIT_KEY", NEW_KEY)
    capsys.readouterr()
    words = ["audit", "verify", "--key", str(tmp_path / "old.key")]
    assert await asyncio.to_thread(main, words) == 0
    assert "another key" not in capsys.readouterr().out
    await execute_beside(kept, update(audit_rows).where(audit_rows.c.seq == 3).values(hash="f" * 64))
    assert await asyncio.to_thread(main, words) == 1
    assert "Row 3 isn't what was signed" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["audit", "verify", "--key", str(tmp_path / "none.key")]) == 2
    assert f"The key in {tmp_path / 'none.key'} can't be read" in capsys.readouterr().err


async def test_garbage_among_the_signatures_does_not_keep_the_bots_own_out(
    kept: World, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = {"hash": "f" * 64, "at": START, "signature": "f" * 64, "key_id": key_id(KEY)}
    await execute_beside(kept, insert(signed_heads).values(seq=4, **garbage))
    async with kept.another():
        await kept.slack.command("two words")
        await kept.reply_privately()
        await kept.time.until_sleeping(WaitReason.AUDIT)
    assert not await print_verdict(kept.settings.database_url, None, [KEY])
    assert "1 problems" in (told := capsys.readouterr().out)
    assert "The signature of row 4 isn't of this key" in told
    signed = await execute_beside(kept, select(signed_heads).where(signed_heads.c.seq == 4))
    assert len(signed) == 2


async def test_signed_trail_is_whole(kept: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await print_verdict(kept.settings.database_url, None, [KEY])
    assert "The last signed row is of 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([delete(audit_rows).where(audit_rows.c.seq == 3)], "Row 3 was signed and is missing"),
        ([delete(audit_rows)], "Row 3 was signed and is missing: the trail was truncated."),
        ([update(audit_rows).values(hash="f" * 64)], "Row 3 isn't what was signed: the trail was rewritten."),
        ([update(signed_heads).values(hash="f" * 64)], "isn't of this key: it was forged"),
        ([delete(signed_heads)], "No head was signed with a key that was given"),
    ],
)
async def test_trail_that_was_cut_or_rewritten_is_found_without_a_noted_head(
    kept: World, change: list[Executable], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await execute_beside(kept, *change)
    assert not await print_verdict(kept.settings.database_url, None, [KEY])
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("hours", "is_whole"), [((0, 1), True), ((0, 1, 3), False)])
async def test_rows_of_hours_whose_signatures_were_removed_are_named(
    kept: World,
    hours: tuple[int, ...],
    is_whole: bool,  # noqa: FBT001 - a table's column
    capsys: pytest.CaptureFixture[str],
) -> None:
    def rewrite(connection: Connection) -> None:
        for each in hours:
            row = {name: value for name, value in FORGED.items() if name not in {"previous", "hash"}}
            audit.append(connection, {**row, "at": START + 3600.0 * each}, audit.lock_trail(connection))

    database = Database(kept.settings.database_url)
    await database.run(rewrite)
    await database.close()
    assert await print_verdict(kept.settings.database_url, None, [KEY]) is is_whole
    assert ("Rows 4 to 6 aren't signed" in capsys.readouterr().out) is not is_whole


async def test_head_is_signed_again_every_hour(kept: World) -> None:
    async with kept.another():
        await kept.slack.command("two words")
        await kept.reply_privately()
        await quiet(kept)
        await kept.time.advance(SIGN_EVERY)
        await kept.time.end_pause(WaitReason.AUDIT)
        await kept.time.until_sleeping(WaitReason.AUDIT)
        signed = await execute_beside(kept, select(signed_heads.c.seq).order_by(signed_heads.c.seq))
    assert {3, 4} <= {row["seq"] for row in signed}


async def test_export_prints_json_lines_and_a_missing_key_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    async with world(database=url) as bot:
        await decide(bot)
    monkeypatch.setenv("DATABASE_URL", url)
    assert await asyncio.to_thread(main, ["audit", "export", "--since", "2026-11-24"]) == 0
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == [
        event for event, _ in EVENTS
    ]
    assert await asyncio.to_thread(main, ["audit", "--since", "2027-01-01", "export"]) == 0
    assert capsys.readouterr().out == ""
    assert await asyncio.to_thread(main, ["audit", "export", "--since", "yesterday"]) == 2
    assert "--since must be a date" in capsys.readouterr().err
    monkeypatch.delenv("BOT_AUDIT_KEY", raising=False)
    assert await asyncio.to_thread(main, ["audit", "verify", "--key"]) == 2
    assert "BOT_AUDIT_KEY must have at least 32 characters" in capsys.readouterr().err


@asynccontextmanager
async def adding_role(postgresql: str) -> AsyncIterator[str]:
    """The URL of a role that may only add to the trail, as docs/security.md sets it up."""
    async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
        async with world(database=postgresql):
            pass  # the owner makes the tables
        (schema,) = await (await owner.execute("SELECT current_schema()")).fetchone() or ("",)
        role = f"bot_{schema}"
        page = (ROOT / "docs" / "security.md").read_text("utf-8")
        script = page.partition("```sql\n")[2].partition("```")[0]
        assert "audit" in script
        for statement in script.replace("bot_user", role).replace("SCHEMA public", f"SCHEMA {schema}").split(";"):
            if statement.strip():
                await owner.execute(statement)
        await owner.execute(f"ALTER ROLE {role} PASSWORD 'x'")
        yield as_user(postgresql, role)
        await owner.execute(f"DROP OWNED BY {role}")
        await owner.execute(f"DROP ROLE {role}")


async def test_role_that_may_only_insert_into_the_trail_is_enough(postgresql: str) -> None:
    async with adding_role(postgresql) as limited:
        async with world(database=limited, BOT_AUDIT_KEY=KEY) as bot:
            await decide(bot)
            with pytest.raises(psycopg.ProgrammingError):
                await execute_beside(bot, delete(audit_rows))
            with pytest.raises(psycopg.ProgrammingError):
                await execute_beside(bot, update(audit_rows).values(user_id="U0EVE"))
        assert await print_verdict(limited, None, [KEY])


FORGED = {
    "at": START, "event": "outcome", "decision_id": "d", "team_id": "T0HOME", "channel_id": "C0OPS",
    "user_id": "U0BOB", "verb": "approve", "cluster_id": IDS[0], "instance_id": IDS[1], "remediation_id": IDS[2],
    "reason": "FORGED", "outcome": "approved", "state": "QUEUED", "previous": "0" * 64, "hash": "f" * 64,
}  # fmt: skip


@pytest.mark.parametrize("seq", [0, -1])
async def test_row_before_the_first_is_reported_and_not_believed(
    postgresql: str, seq: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with adding_role(postgresql) as limited, watching(database=postgresql) as bot:
        bot.together.add()
        alert = await card(bot)
        forger = Database(limited)
        await execute(forger, insert(audit_rows).values(seq=seq, **FORGED))
        await forger.close()
        bot.together.review(IDS, "approve")
        await poll(bot)
        await card(bot, words="Approved")
        await bot.slack.open_home(user="U0BOB")
        await quiet(bot)
        assert "U0BOB" not in alert.everything
        assert "FORGED" not in json.dumps(bot.slack.homes.get("U0BOB", {})) + alert.everything
        assert not await print_verdict(limited, None)
        assert f"Row {seq} isn't of the trail" in capsys.readouterr().out
        await print_trail(limited, "json", since=0, remediation=None, user=None)
        assert next(json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()) == seq


def as_user(url: str, role: str) -> str:
    """The same database as another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}").geturl()


async def test_signature_that_is_not_ascii_is_named(kept: World, capsys: pytest.CaptureFixture[str]) -> None:
    await execute_beside(kept, update(signed_heads).values(signature="é" * 64))
    assert not await print_verdict(kept.settings.database_url, None, [KEY])
    assert "isn't of this key: it was forged" in capsys.readouterr().out


@pytest.mark.parametrize("at", [START + 5 * 86_400.0, 1e20])
async def test_last_signed_row_cannot_be_said_to_be_later(
    kept: World, capsys: pytest.CaptureFixture[str], at: float
) -> None:
    url = kept.settings.database_url
    assert await print_verdict(url, None, [KEY])
    before = capsys.readouterr().out
    # Somebody has cut off later rows with their signatures, and says that what is left was signed just now.
    await execute_beside(kept, update(signed_heads).values(at=at))
    assert await print_verdict(url, None, [KEY])
    assert capsys.readouterr().out == before


async def test_row_of_an_impossible_time_does_not_hide_those_after_it(
    kept: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await execute_beside(kept, update(audit_rows).where(audit_rows.c.seq == 1).values(at=1e20))
    await print_trail(kept.settings.database_url, "table", since=0, remediation=None, user=None)
    assert len(capsys.readouterr().out.splitlines()) == 4
