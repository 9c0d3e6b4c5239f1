"""The demo as `make demo` runs it, and a real browser before it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.async_api import Browser, Page

from tests.browser.chromium import MISSING, PATH, chromium
from tests.simulator.demo import Demo, demo

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
OpenPage = Callable[..., Awaitable[Page]]


def left_out(why: str) -> NoReturn:
    """Leave a test out where somebody tries the project, and refuse to where it is judged."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if PATH is None:
        left_out(MISSING)
    async with chromium() as started:
        yield started


@pytest.fixture
async def running(browser: Browser) -> AsyncIterator[Demo]:  # noqa: ARG001 - where there is none, nothing need start
    async with demo() as started:
        yield started


@pytest.fixture
async def open_page(browser: Browser, running: Demo) -> AsyncIterator[OpenPage]:
    """Open the page as somebody; at the end, nothing may have gone wrong in it."""
    wrong: list[str] = []

    async def opened(user: str = "U0ALICE", **context: object) -> Page:
        page = await browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **context})  # type: ignore[arg-type]  # its own names
        page.set_default_timeout(20_000)
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url) if "/news" not in request.url else None)
        await page.goto(f"{running.console.url}/?as={user}")
        await page.get_by_role("radio", name="alice").wait_for()
        return page

    yield opened
    assert wrong == []


@pytest.fixture
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        left_out("the accessibility tests need npm, for axe-core")
    return AXE.read_text("utf-8")
