"""The work that continues after Slack was told "received": kept, bounded and drained."""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future
from enum import Enum
from typing import Any, ParamSpec, TypeVar

from bot.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")
FOR_DECISIONS = 60  # of the room
PER_PERSON = 20
REFUSAL_SECONDS = 60.0
GRACE_SECONDS = 4.0
logger = logging.getLogger(__name__)


class Capacity(Enum):
    """Whether there is room for more work."""

    FREE = "free"
    PERSON_LIMIT = "this person has enough under way"
    FULL = "full"


class Tasks:
    """Background tasks that the bot keeps until they end.

    More than fit are refused before the ack, so that what was acked is never queued behind a flood. Part of the room is
    kept for decisions, and one person can take only part of it.

    Attributes:
        limit: how many may run at once.
    """

    def __init__(self, limit: int, *, clock: Clock) -> None:
        self.limit = limit
        self._running: dict[asyncio.Task[object], str] = {}
        self._closed = False
        self._clock = clock
        self._refused: dict[str, float] = {}

    @property
    def accepting(self) -> bool:
        """Whether `spawn` may be called now. Ask before the ack: what is acked must be done."""
        return self.room("", decides=True) is Capacity.FREE

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._running)

    def room(self, person: str, *, decides: bool) -> Capacity:
        """Return whether there is room for what a person asks for; `person` is empty for the bot's own work."""
        limit = self.limit if decides else self.limit - FOR_DECISIONS
        if self._closed or len(self._running) >= max(limit, min(self.limit, 1)):
            return Capacity.FULL
        if person and [*self._running.values()].count(person) >= PER_PERSON:
            return Capacity.PERSON_LIMIT
        return Capacity.FREE

    def note_refusal(self, person: str) -> bool:
        """Note a refusal. Returns whether it is the person's first one in a minute: only that is said and recorded.

        Otherwise, who sends a flood would fill the room with refusals, and the audit trail for good.
        """
        present = self._clock.monotonic()
        self._refused = {person: at for person, at in self._refused.items() if present - at < REFUSAL_SECONDS}
        is_first = person not in self._refused
        if is_first:
            self._refused[person] = present
        return is_first

    def spawn(self, work: Coroutine[Any, Any, object], name: str, *, person: str = "") -> None:
        """Start work that outlives its caller. An exception that it lets out is logged."""
        task = asyncio.create_task(work, name=name)
        self._running[task] = person
        task.add_done_callback(self._ended)

    def close(self) -> None:
        """Accept nothing from now on."""
        self._closed = True

    async def drain(self, seconds: float) -> None:
        """Wait, then cancel what still runs and give it time to answer for itself."""
        self.close()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE_SECONDS)

    def _ended(self, task: asyncio.Task[object]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Task %s failed", task.get_name(), exc_info=error)


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def finish(saying: Coroutine[Any, Any, T]) -> T:
    """Say and write to the end what has begun, also while the bot is being stopped."""
    task = asyncio.ensure_future(saying)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # The caller ends now, with any result; where it's cancelled again, before that.
        task.add_done_callback(_log_failure)
        await asyncio.wait({task})
        raise


def _log_failure(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("The final write failed: %s", type(error).__name__)


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what may hang forever, such as on a file, in a separate thread, which ends with the process.

    `asyncio.to_thread` would keep the process alive until the function returns.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # the function can't be stopped: what it returns when nobody waits is dropped

    def work() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)

    threading.Thread(target=work, name="in thread", daemon=True).start()
    return await asyncio.wrap_future(future)
