"""Bolt for Python's `App` behind gunicorn, as its WSGI adapter's documentation shows it."""

import os
from collections.abc import Callable
from typing import Any

import httpx
from slack_bolt import App
from slack_bolt.adapter.wsgi import SlackRequestHandler
from slack_sdk import WebClient

from bench.peers.card import headers, message, url_of

http = httpx.Client()
app = App(
    client=WebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)


@app.command("/cancel-remediation")
def cancel(ack: Callable[[], object], command: dict[str, Any], client: WebClient) -> None:
    """Cancel, and post the card."""
    ack()
    remediation = http.post(url_of(command["text"]), headers=headers()).raise_for_status().json()
    client.chat_postMessage(channel=command["channel_id"], **message(remediation, command["user_id"]))


api = SlackRequestHandler(app)
