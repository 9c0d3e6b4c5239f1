"""Slack's dialogs: opened within the 3 s that a `trigger_id` lives (docs.slack.dev, views.open), and filled later."""

import logging
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import Overloaded
from bot.models import Json
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Dialogs:
    """Opens and changes dialogs; `client` must not repeat calls on its own."""

    client: AsyncWebClient

    async def open(self, trigger_id: str | None, view: Json) -> str:
        """Open a dialog, and return its ID.

        Raises:
            Overloaded: Slack did not say that it did.
        """
        try:
            opened = await self.client.views_open(trigger_id=trigger_id or "", view=view)
            return str((opened.data or {})["view"]["id"])  # type: ignore[call-overload] # checked below
        except (SlackFailure, KeyError, TypeError) as error:
            logger.warning("Couldn't open a dialog: %s", error)
            raise Overloaded from error

    async def change(self, view_id: str, view: Json) -> None:
        """Change a dialog, unless it was closed."""
        try:
            await self.client.views_update(view_id=view_id, view=view)
        except SlackFailure as error:
            logger.info("A dialog was closed before it was filled: %s", error)
