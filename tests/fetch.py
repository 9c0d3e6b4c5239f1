"""A look at a running bot's HTTP server."""

import aiohttp

from bot.app import App


async def get(app: App, path: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{app.port}{path}") as response:
        return response.status, await response.text()
