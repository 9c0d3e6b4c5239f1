"""An event loop in which a year passes as fast as its work is done."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from bot.clock import Clock
from tests.manual_clock import START


class _Jumping(selectors.DefaultSelector):
    """Never waits: where nothing is left to do, time jumps."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen any more"
        self._jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop without sockets and threads: what is given to a thread is done at once.

    Attributes:
        clock: its time, for the bot.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_Jumping(self._jump))
        self.clock = Clock(now=lambda: START + self._seconds, monotonic=self.time)

    def time(self) -> float:
        return self._seconds

    def _jump(self, seconds: float) -> None:
        self._seconds += seconds

    def run_in_executor(  # type: ignore[override] # it takes any function, like the one it stands for
        self, _executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets it
            done.set_exception(error)
        return done
