"""The work that goes on after Slack was told "received": kept, bounded and drained."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Tasks:
    """Background tasks that the bot keeps until they end.

    Attributes:
        limit: how many may run at once. More are refused, so that what was acked is never queued behind a flood.
    """

    def __init__(self, limit: int = 200) -> None:
        self.limit = limit
        self._running: set[asyncio.Task[object]] = set()
        self._closed = False

    @property
    def accepting(self) -> bool:
        """Whether `spawn` may be called now. Ask before the ack: what is acked must be done."""
        return not self._closed and len(self._running) < self.limit

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Start work that outlives its caller. An exception that it lets out is logged."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def close(self) -> None:
        """Accept nothing from now on."""
        self._closed = True

    async def drain(self, seconds: float, grace: float = 4) -> None:
        """Wait, then cancel what still runs and give it time to answer for itself.

        Args:
            seconds: how long the work may go on.
            grace: how long cancelled work may take for its last words.
        """
        self.close()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Task %s failed", task.get_name(), exc_info=error)


async def finish(saying: Coroutine[Any, Any, T]) -> T:
    """Say and write to the end what has begun, also while the bot is being stopped."""
    task = asyncio.ensure_future(saying)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Whatever comes of it, the caller is to end now.
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("The last thing that was said or written failed: %s", type(error).__name__)
        raise
