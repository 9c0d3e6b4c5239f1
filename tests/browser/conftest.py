"""The page of `make demo`, and a real browser before it: one Chromium per worker, a fresh context per test.

The bot runs in the worker, not in a separate process: to start one takes longer than most of what is tried here.
`test_demo.py` starts the demo as a newcomer does.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bot.app import App
from bot.settings import read_settings
from tests.browser.chromium import MISSING, PATH, chromium
from tests.browser.page import OpenPage
from tests.conftest import sqlite_url
from tests.manual_clock import HANGS_AFTER
from tests.simulator.demo import Stage, first_look, stage
from tests.sqlite import fill_sqlite
from tests.world import running as running_bot

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
expect.set_options(timeout=HANGS_AFTER * 1000)


def left_out(why: str) -> NoReturn:
    """Leave a test out where somebody tries the project, and refuse to where it is judged."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if PATH is None:
        left_out(MISSING)
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def running(browser: Browser, tmp_path: Path) -> AsyncIterator[Stage]:  # noqa: ARG001 - without one, nothing need start
    url = sqlite_url(tmp_path)
    await fill_sqlite(url)
    async with stage() as on:
        on.slack.ack_seconds = HANGS_AFTER
        app = App(read_settings({**on.settings, "PORT": "0", "DATABASE_URL": url}))
        async with running_bot(app, on.slack):
            await first_look(on)
            yield on


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, running: Stage) -> AsyncIterator[OpenPage]:
    """Open the page as somebody; at the end, nothing may have gone wrong in it."""
    wrong: list[str] = []
    contexts = []

    async def opened(user: str = "U0ALICE", **options: object) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})  # type: ignore[arg-type]  # its own names
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(HANGS_AFTER * 1000)
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url) if "/news" not in request.url else None)
        await page.goto(f"{running.console.url}/?as={user}")
        await page.get_by_role("radio", name="alice").wait_for()
        return page

    yield opened
    for context in contexts:
        await context.close()
    assert wrong == []


@pytest.fixture
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        left_out("the accessibility tests need npm, for axe-core")
    return AXE.read_text("utf-8")
