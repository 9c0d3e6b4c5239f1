"""`python -m bot audit`: the audit trail for people and for other programs, beside a running bot."""

import csv
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import func, select

from bot.mrkdwn import clean
from bot.store import Database, audit, count_set_aside
from bot.store.connection import Connection, Record
from bot.store.tables import audit as columns

_NAMES = columns.columns.keys()
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


def read_since(value: str, now: float) -> float:
    """Read a moment: `2026-11-24`, `2026-11-24T03:00Z`, or as long ago as `30m`, `24h`, `7d`.

    Returns:
        Unix time in seconds.

    Raises:
        ValueError: it isn't any of these.
    """
    if ago := re.fullmatch(r"(\d{1,9})([mhd])", value):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"--since must be a date, a time, or an age such as 7d, not {value[:40]!r}.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_head(value: str) -> str:
    """Read the hash of a row, as it was noted.

    Raises:
        ValueError: it isn't one. Half of one would be in no row, which says that somebody has rewritten the trail.
    """
    if head := re.fullmatch("[0-9a-f]{64}", value.strip().lower()):
        return head[0]
    raise ValueError(f"--expect must be the whole hash, 64 characters from 0 to 9 and a to f, not {value[:70]!r}.")


async def print_trail(url: str, style: str, *, since: float, remediation: str | None, user: str | None) -> None:
    """Print rows, oldest first.

    Args:
        style: `table`, `json` (a line per row) or `csv`.
        since: Unix time in seconds.
        remediation: only this remediation ID.
        user: only this Slack user ID.

    Raises:
        StartError: there is no such database.
        StorageUnavailable: it cannot be reached.
    """
    async with _opened(url) as database:
        write = _WRITERS[style]()
        async for row in audit.rows(database, since=since, remediation=remediation, user=user):
            write(row)


async def print_verdict(url: str, expected: str | None, keys: Sequence[str] = ()) -> bool:
    """Check the whole trail, and print what was found. Returns whether it is whole.

    Args:
        keys: check the signatures of heads too: the present one and those before it.

    Raises:
        StartError: there is no such database.
        StorageUnavailable: it cannot be reached.
    """
    async with _opened(url) as database:
        verdict = await audit.verify(database, expected)
        signed = await database.read(audit.check_signatures, keys) if keys else None
        repeats, set_aside = await database.read(_counts)
    problems = [*verdict.problems, *(signed.problems if signed else ())]
    for problem in problems:
        print(problem)
    print(f"{verdict.rows} rows, {len(problems)} problems. Head {verdict.head}")
    if signed:
        for key_id, count in signed.unchecked.items():
            print(f"{count} heads were signed with another key ({key_id}) and weren't checked: see --key.")
        if signed.signed_at is not None:
            last = f"The last signed row is of {_when(signed.signed_at)} UTC."
            print(f"{last} If the bot ran since then for more than an hour, rows after it may be missing.")
    if set_aside:
        print(f"{set_aside} decisions can't be read and are set aside.")
    print(f"{repeats} decisions were re-sent after a crash.")
    return not problems


def _counts(connection: Connection) -> tuple[int, int]:
    # By their rows here: decisions are deleted after BOT_RETENTION_DAYS.
    repeats = connection.execute(select(func.count()).where(columns.c.event == "repeat")).scalar()
    return repeats, count_set_aside(connection)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        await database.open(migrate=False)
        yield database
    finally:
        await database.close()


def _table() -> Callable[[Record], None]:
    print(f"{'time (UTC)':19}  {'event':7}  {'user':11}  {'verb':7}  {'outcome':22}  {'state':16}  remediation, reason")

    def write(row: Record) -> None:
        ref = f"{row['cluster_id']}/{row['instance_id']}/{row['remediation_id']}"
        # A reason is somebody's own words: on a terminal, control characters in it could draw other rows.
        reason = f"  “{clean(row['reason'], 500)}”" if row["reason"] else ""
        print(
            f"{_when(row['at']):19}  {row['event']:7}  {row['user_id']:11}  {row['verb']:7}  "
            f"{row['outcome'] or '':22}  {clean(row['state'] or '', 40):16}  {ref}{reason}"
        )

    return write


def _when(at: float) -> str:
    """Return a moment in UTC; of one that nobody can have meant, the number itself: somebody has put it there."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, TypeError, ValueError):
        return str(at)


def _json() -> Callable[[Record], None]:
    return lambda row: print(json.dumps(row))  # in ASCII: a terminal's encoding must not change evidence


def _csv() -> Callable[[Record], None]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    writer = csv.DictWriter(sys.stdout, _NAMES)
    writer.writeheader()
    return lambda row: writer.writerow({name: _inert(row[name]) for name in _NAMES})


def _inert(value: object) -> object:
    """Keep a spreadsheet from taking somebody's words for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


_WRITERS: Mapping[str, Callable[[], Callable[[Record], None]]] = {"table": _table, "json": _json, "csv": _csv}
STYLES = tuple(_WRITERS)
