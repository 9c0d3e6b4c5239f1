"""Slack's views: dialogs, opened within the 3 s that a `trigger_id` lives (docs.slack.dev, views.open), and homes."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Clock, WaitReason
from bot.errors import DialogNotShown
from bot.models import Json
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)

AGAIN = (1.0, 3.0, 10.0, 30.0)  # seconds before further attempts to show what somebody waits for


@dataclass(slots=True)
class Dialogs:
    """Opens and changes dialogs; `client` must not repeat calls on its own."""

    client: AsyncWebClient
    clock: Clock

    async def open(self, trigger_id: str | None, view: Json) -> str:
        """Open a dialog, and return its ID.

        Raises:
            DialogNotShown: Slack did not say that it did.
        """
        try:
            opened = await self.client.views_open(trigger_id=trigger_id or "", view=view)
            return str((opened.data or {})["view"]["id"])  # type: ignore[call-overload] # checked below
        except (SlackFailure, KeyError, TypeError) as error:
            logger.warning("Couldn't open a dialog: %s", error)
            raise DialogNotShown from error

    async def change(self, view_id: str, view: Json) -> None:
        """Change a dialog, unless it was closed.

        Raises:
            DialogNotShown: Slack did not say that it did.
        """
        try:
            await patiently(self.clock, lambda: self.client.views_update(view_id=view_id, view=view))
        except SlackFailure as error:
            logger.info("A dialog wasn't filled: %s", error)
            if error.code != "not_found":  # it was closed (docs.slack.dev, views.update)
                raise DialogNotShown from error


async def patiently(clock: Clock, show: Callable[[], Awaitable[object]]) -> None:
    """Show a view, again where Slack can't for the moment: the same view twice is the same.

    Raises:
        SlackFailure: it refused, or couldn't for most of a minute.
    """
    for seconds in (*AGAIN, None):
        try:
            await show()
        except SlackFailure as error:
            if seconds is None or not error.is_passing:
                raise
            await clock.sleep(max(seconds, error.retry_after or 0.0), WaitReason.SLACK_LIMIT)
        else:
            return
