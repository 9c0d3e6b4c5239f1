"""Bolt for Python's `AsyncApp` with its own server, as its documentation shows it."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bench.peers.card import headers, message, url_of

http = httpx.AsyncClient()
app = AsyncApp(
    client=AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)


@app.command("/cancel-remediation")
async def cancel(ack: Callable[[], Awaitable[object]], command: dict[str, Any], client: AsyncWebClient) -> None:
    """Cancel, and post the card."""
    await ack()
    response = await http.post(url_of(command["text"]), headers=headers())
    remediation = response.raise_for_status().json()
    await client.chat_postMessage(channel=command["channel_id"], **message(remediation, command["user_id"]))


if __name__ == "__main__":
    app.start(port=int(os.environ["PORT"]), host="127.0.0.1")
