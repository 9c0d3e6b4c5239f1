"""Slack's views: dialogs, opened within the 3 s that a `trigger_id` lives (docs.slack.dev, views.open), and homes."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakValueDictionary

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.clock import Clock, WaitReason
from bot.errors import DialogNotShown
from bot.models import Json
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)

AGAIN = (1.0, 3.0, 10.0, 30.0)  # seconds before further attempts to show what somebody waits for
REMEMBERED = 1000  # dialogs


@dataclass(slots=True)
class Dialogs:
    """Opens and changes dialogs; `client` must not repeat calls on its own."""

    client: AsyncWebClient
    clock: Clock
    _changing: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)
    _shown: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False)  # the last `hash` from here, by ID

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

    async def change(self, view_id: str, view: Json, seen: str, is_wanted: Callable[[], bool]) -> None:
        """Change a dialog, unless it was closed, or another process has put something newer into it.

        Args:
            seen: the `hash` (docs.slack.dev, views.update) of what was in it when this was asked for; empty to change
                it in any case.
            is_wanted: whether nothing newer was asked for here.

        Raises:
            DialogNotShown: Slack did not say that it did.
        """
        for is_again in (False, True):
            try:
                await patiently(self.clock, partial(self._update, view_id, view, seen, is_again=is_again), is_wanted)
            except SlackFailure as error:
                logger.info("A dialog wasn't filled: %s", error)
                if error.code == "not_found":  # it was closed (docs.slack.dev, views.update)
                    return
                if error.code != "hash_conflict":
                    raise DialogNotShown from error
            else:
                return

    async def _update(self, view_id: str, view: Json, seen: str, *, is_again: bool) -> None:
        # What is on its way into it from here has its `hash` once it has arrived.
        async with self._changing.setdefault(view_id, asyncio.Lock()):
            known = self._shown.get(view_id, seen) if is_again else seen
            if is_again and known == seen:
                return  # it is another process's
            shown = await self.client.views_update(view_id=view_id, view=view, hash=known or None)
        if given := hash_of(shown):  # without one, the next attempt would change anything
            self._shown[view_id] = given
        if len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)


def hash_of(answer: AsyncSlackResponse) -> str:
    """Return the `hash` (docs.slack.dev, views.update) of a view that Slack has just shown; empty if it gives none."""
    shown: Json = (answer.data or {}).get("view") or {}  # type: ignore[union-attr] # checked: an object
    return str(shown.get("hash") or "")


async def patiently(
    clock: Clock, show: Callable[[], Awaitable[object]], is_wanted: Callable[[], bool] = lambda: True
) -> None:
    """Show a view, again where Slack can't for the moment: the same view twice is the same.

    Args:
        is_wanted: asked before each attempt.

    Raises:
        SlackFailure: it refused, or couldn't for most of a minute.
    """
    for seconds in (*AGAIN, None):
        if not is_wanted():
            return
        try:
            await show()
        except SlackFailure as error:
            wait = error.retry_after or 0.0
            if seconds is None or not error.is_passing or wait > AGAIN[-1]:
                raise
            await clock.sleep(max(seconds, wait), WaitReason.SLACK_LIMIT)
        else:
            return
