"""`python -m bot audit` beside a running bot, on both databases."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.audit import print_trail, print_verdict, read_since
from bot.clock import Pause
from bot.errors import StartError, StorageUnavailable
from bot.store import audit
from tests.manual_clock import START
from tests.world import APPROVE, REF, World, world

EVENTS = [("send", None), ("outcome", "cancelled"), ("outcome", "NotAllowed")]


async def decide(bot: World) -> None:
    """A cancellation with a hostile reason, and a refusal."""
    bot.together.add()
    alert = bot.alert()
    await bot.slack.command(f"{REF} =1+1 by hand")
    await bot.answer(2)
    await bot.slack.press(alert, APPROVE, user="U0CAROL")
    await bot.whisper("U0CAROL")
    await bot.time.until_sleeping(Pause.HEARTBEAT)


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
        assert "outcome  U0CAROL      approve  NotAllowed" in line
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

    # The command line has an event loop of its own, so it runs in a thread without one.
    from asyncio import to_thread  # noqa: PLC0415 - beside its only use

    status, told = await to_thread(run, "verify")
    assert (status, told.splitlines()[0].startswith("3 rows, 0 problems.")) == (0, True)
    assert (await to_thread(run, "--since", "7d", "--format", "json"))[0] == 0
    with sqlite3.connect(path) as connection:
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
    assert "there is no remediation-bot.db" in capsys.readouterr().err
    assert main(["audit", "--since", "yesterday"]) == 2
    assert "yesterday" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    assert main(["audit", "verify"]) == 2
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
