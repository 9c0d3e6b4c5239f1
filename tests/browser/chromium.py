"""Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

# Debian has the first, which draws no window around a page: it takes a third of the CPU.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "Chromium is not installed (Debian: apt install chromium-headless-shell)"
# Root needs the first; the others keep the browser from looking for anything outside this machine.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a browser without a window, and end it with the context.

    Raises:
        FileNotFoundError: this machine has none.
    """
    if PATH is None:
        raise FileNotFoundError(MISSING)
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=PATH, args=FLAGS)
