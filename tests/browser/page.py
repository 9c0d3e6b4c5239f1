"""What people do on the page of `make demo`."""

from collections.abc import Awaitable, Callable

from playwright.async_api import Locator, Page, expect

from tests.simulator.demo import Stage
from tests.simulator.together import Ids

OpenPage = Callable[..., Awaitable[Page]]


def newest(page: Page) -> Locator:
    """The newest message in the channel."""
    return page.locator("#messages > li > article").last


def button(where: Page | Locator, name: str) -> Locator:
    return where.get_by_role("button", name=name, exact=True)


def menu(where: Page | Locator, name: str) -> Locator:
    """Find a menu whose choices are in the message."""
    return where.get_by_role("combobox", name=name, exact=True)


async def answer(page: Page, name: str) -> None:
    """Press a button of the dialog that is open."""
    await button(page.get_by_role("dialog"), name).click()


async def write(page: Page, text: str) -> None:
    """Send a message or a command."""
    await page.get_by_label("Message or command").fill(text)
    await button(page, "Send").click()


async def ill_node(page: Page, running: Stage) -> Ids:
    """Let a node break, with repairs that wait for a press, and wait for its card."""
    await page.get_by_label("Advance repairs automatically").uncheck()
    known = len(running.together.remediations)
    await button(page, "Break a node").click()
    await running.together.until(lambda: len(running.together.remediations) > known)
    ids = list(running.together.remediations)[-1]
    await expect(newest(page)).to_contain_text(ids[2])
    return ids
