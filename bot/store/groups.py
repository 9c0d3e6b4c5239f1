"""Group commit: what waits for SQLite's only writer is committed together, so the disk is asked once for all of it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from bot.errors import StorageUnavailable
from bot.store.connection import Connection, Running

MOST = 64  # transactions of a group


@dataclass(eq=False, slots=True)
class Member:
    """A transaction that waits for its group.

    Attributes:
        is_done: its result or error is final; otherwise nothing of it was done, and it waits for another group.
        is_alone: a group with it went wrong, so it is tried alone.
    """

    function: Callable[[Connection], Any]
    running: Running
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None
    is_done: bool = False
    is_alone: bool = False

    def end(self, error: BaseException | None = None) -> None:
        """Note how it has ended."""
        self.error, self.is_done = error, True

    def settle(self) -> None:
        """Tell the caller, if one still waits."""
        if self.future.done():
            return
        if isinstance(self.error, StopIteration):  # no future takes one
            self.error = RuntimeError("StopIteration")
        if self.error:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Groups:
    """Hands to a thread, as one group, what has come while it was busy.

    Args:
        run: runs a group in the thread, and ends some of its members; the others wait for the next one.
    """

    def __init__(self, thread: Executor, run: Callable[[Sequence[Member]], None]) -> None:
        self._thread = thread
        self._run = run
        self._waiting: list[Member] = []
        self._is_busy = self._is_closed = False

    def add(self, function: Callable[[Connection], Any], running: Running) -> "asyncio.Future[Any]":
        """Take a transaction. A caller who cancels its future before it begins has withdrawn it."""
        member = Member(function, running, asyncio.get_running_loop().create_future())
        self._waiting.append(member)
        if not self._is_busy:
            self._next()
        return member.future

    def close(self) -> None:
        """Refuse what has not begun, and what is undone from now on."""
        self._is_closed = True
        self._refuse()

    def _refuse(self) -> None:
        for member in self._waiting:
            member.end(StorageUnavailable("closed"))
            member.settle()
        self._waiting.clear()

    def _next(self) -> None:
        self._waiting = [member for member in self._waiting if not member.future.done()]
        count = next((number for number, member in enumerate(self._waiting) if member.is_alone), len(self._waiting))
        count = min(count, MOST) or 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._is_busy = bool(group)
        if group:
            ended = asyncio.get_running_loop().run_in_executor(self._thread, self._run, group)
            ended.add_done_callback(lambda ended: self._settle(group, ended))

    def _settle(self, group: Sequence[Member], ended: "asyncio.Future[None]") -> None:
        failed = None if ended.cancelled() else ended.exception()
        for member in group:
            if failed and not member.is_done:  # a bug: nobody knows what it has left behind
                member.end(StorageUnavailable(type(failed).__name__, in_doubt=True))
            if member.is_done:
                member.settle()
        self._waiting[:0] = [member for member in group if not member.is_done]
        if self._is_closed:
            self._refuse()
        self._next()
