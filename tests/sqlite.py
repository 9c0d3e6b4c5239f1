"""SQLite files for tests: migrated ones at the price of a copy, and a way to keep everybody else out."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from bot.store import Database

_PREFIX = "sqlite:///"
_template = b""


async def fill_sqlite(url: str) -> None:
    """Put an empty database of the present schema where no file is: migrating takes longer than most tests."""
    global _template  # noqa: PLW0603 - made once per worker
    path = Path(url.removeprefix(_PREFIX))
    if not url.startswith(_PREFIX) or path.exists():  # noqa: ASYNC240 - nothing else runs yet
        return
    if not _template:
        _template = await _migrated()
    path.write_bytes(_template)  # noqa: ASYNC240 - as above


async def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        database = Database(f"{_PREFIX}{path}")
        await database.open()
        await database.close()
        return path.read_bytes()


@asynccontextmanager
async def locked(path: Path, mode: Literal["EXCLUSIVE", "IMMEDIATE"] = "EXCLUSIVE") -> AsyncIterator[None]:
    """Keep everybody else out of an SQLite file, or only from writing to it."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    # In a thread, because the bot may be in the middle of a transaction that this loop must finish first.
    await asyncio.to_thread(holder.execute, f"BEGIN {mode}")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()
