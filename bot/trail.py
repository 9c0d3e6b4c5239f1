"""Copies the audit trail to a file or standard output as it grows, and signs its head every hour."""

import asyncio
import json
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from bot.clock import Clock, WaitReason
from bot.errors import LeaseLost, StorageUnavailable
from bot.logs import lasting
from bot.store import RENEWED_AFTER, Database, Lease, audit
from bot.tasks import in_thread

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
SIGN_EVERY = 3600.0
WAIT_SECONDS = 0.5  # for a page to be written, so that a file that hangs delays neither the lease nor a signature
END_SECONDS = 2.0
HANGS_AFTER = 30.0
STANDARD_OUTPUT = "-"
_LONGEST_ROW = 1_048_576  # bytes


class AuditExporter:
    """One process at a time copies and signs.

    Args:
        path: of the copy; `-` for standard output, empty for none.
        key: signs; empty for no signatures.
        warn: told what keeps it from copying, or "" when nothing does.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        database: Database,
        path: str,
        key: str,
        *,
        clock: Clock,
        lease_seconds: float,
        warn: Callable[[str], None],
    ) -> None:
        self._database = database
        self._path = path
        self._key = key
        self._clock = clock
        self._warn = warn
        self._lease = Lease(database, "audit", lease_seconds, clock)
        self._renew = lease_seconds * RENEWED_AFTER
        self._renew_at = 0.0
        self._sign_at = 0.0
        self._copying: asyncio.Task[None] | None = None
        self._copying_since = 0.0
        self._is_cut = False

    async def run(self) -> None:
        """Keep it forever, whenever no other process does."""
        while True:
            try:
                await self._round(WAIT_SECONDS)
            except StorageUnavailable as error:
                logger.warning("The audit trail can't be copied or signed right now: %s", error, extra=lasting())
            except Exception:  # decisions must keep working, and so must the attempts
                logger.exception("Couldn't copy or sign the audit trail; retrying", extra=lasting())
            await self._clock.sleep(LOOK_EVERY, WaitReason.AUDIT)

    async def _round(self, seconds: float) -> None:
        if self._clock.monotonic() >= self._renew_at:
            if not await self._lease.acquire():
                self._warn("")  # the process that copies knows
                return
            self._renew_at = self._clock.monotonic() + self._renew
        is_due = self._key and self._clock.monotonic() >= self._sign_at
        if is_due and (signed := await self._database.run(audit.sign, self._key)):
            logger.info("Signed audit row %d: %s", *signed)  # kept elsewhere, a line proves what was there
            self._sign_at = self._clock.monotonic() + SIGN_EVERY
        if self._path:
            await self._copy_for(seconds)

    async def end(self) -> None:
        """Sign and copy what was written last, and let the next process do it at once."""
        self._sign_at = 0.0
        was_copying = self._copying is not None
        try:
            await self._round(END_SECONDS)
            if was_copying and self._copying is None:  # it may have looked before the last row was written
                await self._round(END_SECONDS)
        finally:
            if self._copying:
                self._copying.cancel()
        await self._lease.release()

    async def _copy_for(self, seconds: float) -> None:
        """Wait so long for the copy, which continues after that."""
        if self._copying is None:
            self._copying, self._copying_since = asyncio.create_task(self.copy()), self._clock.monotonic()
        copying = self._copying
        try:
            async with self._clock.timeout(seconds):
                await asyncio.wait({copying})
        except TimeoutError:
            if self._clock.monotonic() - self._copying_since >= HANGS_AFTER:
                self._warn(_problem("it doesn't take what is written"))
            return
        self._copying = None
        try:
            copying.result()
        except LeaseLost:
            return
        except OSError as error:
            self._warn(_problem(error.strerror or type(error).__name__))
        else:
            self._warn("")

    async def copy(self) -> None:
        """Write the rows that the copy doesn't have yet; some of them twice after a crash.

        Raises:
            LeaseLost: another process may copy them now.
            OSError: they can't be written.
            StorageUnavailable: they can't be read.
        """
        while rows := await self._database.read(audit.news):
            self._lease.ensure_held()
            lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()  # as `audit export` prints them
            if self._is_cut and self._path == STANDARD_OUTPUT:
                lines = b"\n" + lines  # half a line may be there, which can't be taken back
            self._is_cut = True
            await in_thread(_write, self._path, lines)
            self._is_cut = False
            self._lease.ensure_held()
            await self._database.run(audit.copied, rows[-1]["seq"])


def _problem(why: str) -> str:
    return f"The audit trail isn't copied to BOT_AUDIT_FILE: {why}. The rows are in the database and are copied later."


def _write(path: str, lines: bytes) -> None:
    descriptor = os.dup(sys.stdout.fileno()) if path == STANDARD_OUTPUT else _open(path)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if is_file and path != STANDARD_OUTPUT:
            _drop_half_a_line(descriptor)
        while lines:
            lines = lines[os.write(descriptor, lines) :]
        if is_file:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    is_pipe = Path(path).exists() and not Path(path).is_file()  # which can't be read back
    return os.open(path, (os.O_WRONLY if is_pipe else os.O_RDWR) | os.O_APPEND | os.O_CREAT, 0o600)


def _drop_half_a_line(descriptor: int) -> None:
    """Cut off what a full disk or a crash left of a row, which is written whole again."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - _LONGEST_ROW)
    end = os.pread(descriptor, size - begin, begin)
    if end and not end.endswith(b"\n"):
        os.ftruncate(descriptor, begin + end.rfind(b"\n") + 1)
