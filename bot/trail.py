"""Copies the audit trail to a file or standard output as it grows, and signs its head every hour."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import RowMapping

from bot.clock import Clock, Pause
from bot.errors import StorageUnavailable
from bot.store import Lease, Trail

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
SIGN_EVERY = 3600.0
STANDARD_OUTPUT = "-"
_PAGE = 500
_COPY = "copy"


class TrailKeeper:
    """One process at a time copies and signs.

    Args:
        trail: what is copied and signed.
        path: of the copy; `-` for standard output, empty for none.
        key: signs; empty for no signatures.
        clock: time.
        lease_seconds: how long a silent process keeps the right to do it.
    """

    def __init__(self, trail: Trail, path: str, key: str, clock: Clock, lease_seconds: float) -> None:
        self._trail = trail
        self._path = path
        self._key = key
        self._clock = clock
        self._lease = Lease(trail.database, "audit", lease_seconds, clock)
        self._renew = lease_seconds * 0.3
        self._renew_at = 0.0
        self._sign_at = 0.0

    async def run(self) -> None:
        """Keep it forever, whenever no other process does."""
        at_start = True
        while True:
            try:
                await self._round(at_start=at_start)
                at_start = False
            except (StorageUnavailable, OSError) as error:
                logger.warning("The audit trail can't be copied or signed right now: %s", error)
            except Exception:  # decisions must keep working, and so must the attempts
                logger.exception("Couldn't copy or sign the audit trail; retrying")
            await self._clock.sleep(LOOK_EVERY, Pause.AUDIT)

    async def _round(self, *, at_start: bool) -> None:
        if self._clock.monotonic() >= self._renew_at:
            if not await self._lease.acquire(at_start=at_start):
                return
            self._renew_at = self._clock.monotonic() + self._renew
        if self._path:
            await self.copy()
        if self._key and self._clock.monotonic() >= self._sign_at and await self.sign():
            self._sign_at = self._clock.monotonic() + SIGN_EVERY

    async def end(self) -> None:
        """Copy and sign what was written last, and let the next process do it at once."""
        self._sign_at = 0.0
        await self._round(at_start=False)
        await self._lease.release()

    async def copy(self) -> None:
        """Write the rows that the copy doesn't have yet; some of them twice after a crash."""
        while rows := await self._trail.news(_COPY, _PAGE):
            await asyncio.to_thread(self._write, rows)
            await self._trail.copied(_COPY, rows[-1]["seq"])

    async def sign(self) -> bool:
        """Sign the head, and log it: kept elsewhere, a line proves what was there. Returns whether there is one."""
        signed = await self._trail.sign(self._key)
        if signed:
            logger.info("Signed audit row %d: %s", *signed)
        return signed is not None

    def _write(self, rows: Sequence[RowMapping]) -> None:
        lines = "".join(f"{json.dumps(dict(row), ensure_ascii=False)}\n" for row in rows)
        if self._path == STANDARD_OUTPUT:
            sys.stdout.write(lines)
            sys.stdout.flush()
            return
        descriptor = os.open(Path(self._path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
