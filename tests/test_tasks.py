"""The background tasks."""

import pytest

from bot.tasks import Tasks


async def test_failing_task_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks()
    tasks.spawn(fail(), "the failing one")
    await tasks.drain(1)
    assert "Task the failing one failed" in caplog.text
    assert not tasks.accepting
