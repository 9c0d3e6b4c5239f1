"""Group commit: what waits for SQLite's only writer is committed together, so the disk is asked once for all of it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bot.errors import StorageUnavailable
from bot.store.connection import Connection, Driver


@dataclass(eq=False, slots=True, weakref_slot=True)
class Running:
    """A transaction in its thread, so that one that the database doesn't answer can be broken off from outside."""

    driver: Driver
    give_up_at: float
    time: Callable[[], float]
    raw: Any = None
    has_begun: bool = False
    is_withdrawn: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.time() >= self.give_up_at

    def start(self) -> None:
        """Begin, unless its time is over, or somebody has withdrawn it."""
        with self.lock:
            self.has_begun = not self.is_withdrawn and not self.is_over
        if not self.has_begun:
            raise StorageUnavailable("closed")

    def withdraw(self) -> bool:
        """Keep it from beginning. Returns whether that was in time."""
        with self.lock:
            self.is_withdrawn = not self.has_begun
            return self.is_withdrawn

    def ended(self) -> None:
        """Note that its connection may be another transaction's from now on."""
        with self.lock:
            self.raw = None

    def interrupt(self) -> None:
        """Break the connection; the lock keeps it from being another transaction's by then."""
        with self.lock, suppress(self.driver.Error, OSError):  # it has just ended otherwise
            if self.raw is not None:
                self.driver.interrupt(self.raw)


@dataclass(eq=False, slots=True)
class Member:
    """A transaction of a group.

    Attributes:
        error: why it did nothing, or that nobody knows.
    """

    function: Callable[[Connection], Any]
    running: Running
    future: "asyncio.Future[Any]"
    result: Any = None
    error: Exception | None = None


class Groups:
    """Hands to a thread, as one group, what has come while it was busy.

    Args:
        run: runs a group in the thread, and leaves each member's result with it.
    """

    def __init__(self, thread: Executor, run: Callable[[Sequence[Member]], None]) -> None:
        self._thread = thread
        self._run = run
        self._waiting: list[Member] = []
        self._is_busy = False

    def add(self, function: Callable[[Connection], Any], running: Running) -> "asyncio.Future[Any]":
        """Take a transaction. A caller who cancels its future before its group begins has withdrawn it."""
        member = Member(function, running, asyncio.get_running_loop().create_future())
        self._waiting.append(member)
        if not self._is_busy:
            self._next()
        return member.future

    def close(self) -> None:
        """Refuse what has not begun."""
        for each in self._waiting:
            if not each.future.done():
                each.future.set_exception(StorageUnavailable("closed"))
        self._waiting.clear()

    def _next(self) -> None:
        group, self._waiting = [each for each in self._waiting if not each.future.done()], []
        self._is_busy = bool(group)
        if group:
            ended = asyncio.get_running_loop().run_in_executor(self._thread, self._run, group)
            ended.add_done_callback(lambda _: self._settle(group))

    def _settle(self, group: Sequence[Member]) -> None:
        for each in group:
            if each.future.done():
                continue
            if each.error:
                each.future.set_exception(each.error)
            else:
                each.future.set_result(each.result)
        self._next()
