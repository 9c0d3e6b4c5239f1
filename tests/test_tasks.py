"""The background tasks."""

import asyncio
import gc

import pytest

from bot.clock import Clock
from bot.errors import PostUncertain
from bot.tasks import Tasks, finish


async def test_failing_task_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks(200, clock=Clock())
    tasks.spawn(fail(), "the failing one")
    await tasks.drain(1)
    assert "Task the failing one failed" in caplog.text
    assert not tasks.accepting


async def test_what_fails_after_it_was_given_up_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    failing = asyncio.Event()

    async def fail() -> None:
        await failing.wait()
        raise PostUncertain("hangs")

    caller = asyncio.ensure_future(finish(fail()))
    for _ in range(2):  # a stop, and the end of the time that it grants
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.wait({caller})
    failing.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    gc.collect()
    assert caller.cancelled()
    assert [record.message for record in caplog.records] == ["The final write failed: PostUncertain"]
