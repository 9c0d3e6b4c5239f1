"""One thread and one virtual clock for several processes, whose callbacks run in an order drawn from a seed."""

import asyncio
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

from bot.clock import Clock
from tests.manual_clock import START


class Process:
    """What a kill or a suspension stops at once: every callback that was scheduled inside it.

    Attributes:
        woken: how often it went on after a suspension.
        stood_since: when it was suspended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_suspended = False
        self.woken = 0
        self.stood_since = math.inf
        self.parked: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return self.name


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class SeededLoop(asyncio.BaseEventLoop):
    """An event loop without sockets and threads, on which time jumps to the next timer.

    A callback belongs to the process in whose context it was scheduled. Those of a dead process never run again, not
    even their `finally`; those of a suspended one run when it wakes.

    Args:
        order: draws the order of callbacks that are ready at the same moment.
        max_steps: how many callbacks may run; more of them is a loop without end.

    Attributes:
        clock: its time.
        delays: how long a function waits for its thread, and its result for its caller, in seconds; asked in the
            process that calls.
        counted: how many callbacks have run.
    """

    def __init__(self, order: random.Random, *, max_steps: float = math.inf) -> None:
        self._seconds = 0.0
        self._max_steps = max_steps
        self.clock = Clock(now=lambda: START + self._seconds, monotonic=self.time)
        self._order = order
        self._alive: set[asyncio.Task[Any]] = set()
        self.delays: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        self.counted = 0
        super().__init__()
        self._ready: deque[asyncio.Handle] = deque()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._seconds

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Start work inside a process, or in the world outside of all."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, name=name, context=context)

    def outside(self, seconds: float, function: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call a function later, even if the process that asked for it dies."""
        context = copy_context()
        context.run(PROCESS.set, None)
        return self.call_later(seconds, function, *args, context=context)

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing is done; what was to be done in it is done at once then."""
        self._seconds += seconds

    def suspend(self, process: Process) -> None:
        """Let a process stand still."""
        process.is_suspended = True
        process.stood_since = self._seconds

    def resume(self, process: Process) -> None:
        """Let a suspended process go on."""
        process.is_suspended = False
        process.stood_since = math.inf
        process.woken += 1
        self._ready.extend(process.parked)
        process.parked.clear()

    def abandon(self) -> None:
        """Close what never ended, such as the work of dead processes. The world is over."""
        for task in sorted(self._alive, key=asyncio.Task.get_name):
            with suppress(RuntimeError):  # it awaits something in a `finally`
                task.get_coro().close()
        self._alive.clear()
        self._ready.clear()
        self._scheduled: list[asyncio.TimerHandle] = []

    def run_in_executor(  # type: ignore[override] # it takes any function, like the one that it replaces
        self, _executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done = self.create_future()
        process = PROCESS.get()
        before, after = self.delays()

        def settle(result: Any, error: Exception | None) -> None:
            if not done.done():
                if error:
                    done.set_exception(error)
                else:
                    done.set_result(result)

        def work() -> None:
            if process and process.is_dead:
                return
            if process and process.is_suspended:
                process.parked.append(asyncio.Handle(work, (), self, copy_context()))
                return
            result, failed = None, None
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - the caller gets it
                failed = error
            if after:
                self.outside(after, settle, result, failed)
            else:
                settle(result, failed)

        self.outside(before, work)
        return done

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # what a dead process leaves is no mistake
        self._alive.add(task)  # else the garbage collector would run its `finally`
        task.add_done_callback(self._alive.discard)
        return task

    def _run_once(self) -> None:
        if not self._ready:
            self._jump()
        while self._scheduled and self._scheduled[0].when() <= self._seconds:
            handle: asyncio.Handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined] # as the loop that it replaces does
            self._ready.append(handle)
        batch: list[asyncio.Handle] = list(self._ready)
        self._ready.clear()
        if len(batch) > 1:
            self._order.shuffle(batch)
        for handle in batch:
            self._run(handle)

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined] # as above
        assert self._scheduled, "nothing will ever happen any more"
        self._seconds = max(self._seconds, self._scheduled[0].when())

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined] # there is no other way to ask
        if process:
            if process.is_dead:
                return
            if process.is_suspended:
                process.parked.append(handle)
                return
        self.counted += 1
        assert self.counted < self._max_steps, "it goes round in circles"
        handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is dropped when its time comes

    def _asyncgen_finalizer_hook(self, _generator: object) -> None:
        pass  # a generator of a dead process, whose `finally` must not run

    def _process_events(self, _events: object) -> None:
        raise AssertionError("there are no sockets")
