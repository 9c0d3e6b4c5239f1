"""SQLite: a file that belongs to one process."""

import fcntl
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from bot.clock import Clock
from bot.errors import StartError
from bot.store.connection import Connection, Driver

SCHEME = "sqlite:///"
BUSY_SECONDS = 1.5  # less than the time for an ack, so that a locked file is a certain "no"
DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class FileMoved(sqlite3.OperationalError):
    """The file no longer has its name."""


class SQLiteFile(Driver):
    """The driver. One thread writes and one reads, so an ack never waits for a long read.

    Args:
        clock: what `bot_now()` says.
        busy_seconds: how long a transaction waits for a file that somebody has locked.
    """

    api = sqlite3
    dialect = DIALECT
    connection = Connection
    refusal_is_certain = False
    threads = 1
    begin_write = "BEGIN IMMEDIATE"
    begin_read = "BEGIN"

    def __init__(self, url: str, clock: Clock, busy_seconds: float) -> None:
        # Its real name, so that no symbolic link and no parameter of the URL make another one of it.
        self.path = Path(make_url(url).database or "").resolve()
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._owned: list[int] = []

    def connect(self) -> sqlite3.Connection:
        """Open the file, with every commit on the disk before it returns.

        Raises:
            FileMoved: it was moved, deleted, or replaced since this process has taken it.
        """
        if self.has_ended(None):
            raise FileMoved
        raw = sqlite3.connect(self.path, timeout=self._busy_seconds, check_same_thread=False, isolation_level=None)
        try:
            # The limit is what the journal shrinks to, once a backup that kept it growing is over.
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "journal_size_limit=4194304"):
                raw.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:  # it is damaged, or locked
            raw.close()
            raise
        raw.create_function("bot_now", 0, self._clock.now)
        return raw

    def commit(self, raw: sqlite3.Connection) -> None:
        """End the transaction, and say that it was done only where the file has its name still.

        Raises:
            FileMoved: it doesn't.
        """
        raw.commit()
        if self.has_ended(raw):
            raise FileMoved

    def wrong_database(self, error: BaseException) -> str:
        """Return that the file is damaged, where it is."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what it says beyond its kind
        if code not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            return ""
        return f"{self.path} is damaged, or no database. Restore a backup (docs/operations.md)."

    def reason(self, error: BaseException) -> str:
        """Return what SQLite said, such as that the disk is full; it quotes nothing that was written."""
        return str(error) if isinstance(error, sqlite3.OperationalError) else ""

    def has_ended(self, raw: Any) -> bool:  # noqa: ANN401, ARG002 - as the protocol says
        """Return whether the file that is owned has lost its name: what is written into it is lost with the process."""
        try:
            return bool(self._owned) and not os.path.samestat(os.fstat(self._owned[-1]), self.path.stat())
        except OSError:
            return True

    def interrupt(self, raw: sqlite3.Connection) -> None:
        """Break off the statement that runs."""
        raw.interrupt()

    def own(self) -> None:
        """Create the file for nobody else to read, and lock it for as long as this process lives."""
        if self._owned:
            return
        names = [Path(f"{self.path}.lock"), self.path]
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            for path in (self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm")):
                if path.exists():
                    path.chmod(0o600)  # made by an earlier release
            for name in names:
                self._owned.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o600))
                # The file itself too: it may have several names. Elsewhere this would get into the way of SQLite's own.
                if name != self.path or sys.platform == "linux":
                    fcntl.flock(self._owned[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.disown()
            if not isinstance(error, BlockingIOError):
                raise StartError(f"DATABASE_URL: {self.path} can't be written: {error.strerror}.") from None
            raise StartError(
                f"Another process of the bot uses {self.path}. An SQLite file belongs to one process: stop the other "
                "one, or set DATABASE_URL to a PostgreSQL database to run several."
            ) from None

    def disown(self) -> None:
        """Give the file back."""
        while self._owned:
            os.close(self._owned.pop())

    def must_exist(self) -> None:
        """Check that the file exists.

        Raises:
            StartError: it doesn't, or the system won't say.
        """
        try:
            self.path.stat()
        except FileNotFoundError:
            folder = self.path.parent
            lacks = "" if os.access(folder, os.W_OK) else f", and {folder} can't be written"
            raise StartError(f"DATABASE_URL: there is no {self.path}{lacks}.") from None
        except OSError as error:
            raise StartError(f"DATABASE_URL: {self.path} can't be read: {error.strerror}.") from None

    def is_in_use(self) -> bool:
        """Return whether a process owns the file, where the system tells who holds which lock (Linux)."""
        locks = Path("/proc/locks")
        if not self.path.exists() or not locks.exists():
            return False
        return any(
            "FLOCK" in line and f":{self.path.stat().st_ino} " in line for line in locks.read_text().splitlines()
        )
