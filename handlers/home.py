"""The app's home: drawn when it is opened, and again after what was done in it."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot import cards
from bot.cards import home
from bot.clock import Clock
from bot.decisions import LookupResult, Overviews
from bot.errors import NotAllowed, NotAttempted, RefusedWithoutDatabase, StorageUnavailable
from bot.models import Actor, Json, ReplyTarget
from bot.tasks import Capacity, Tasks
from handlers.client import SlackFailure
from handlers.dialogs import hash_of, patiently
from handlers.payloads import action_of, actor_of, known_of, option_of, view_of

logger = logging.getLogger(__name__)

REMEMBERED = 1000  # people
_TURNS = {home.PREVIOUS: -1, home.NEXT: 1}


@dataclass(slots=True)
class _Viewer:
    """Somebody who has it open.

    Attributes:
        looks_at: what they look at.
        is_first: they have never seen it.
        asked: how often somebody has asked for it.
        drawn: up to which of these it was drawn, or couldn't be.
        is_drawing: a task is drawing it, until nothing more is asked for.
        shown: the `hash` (docs.slack.dev, views.publish) of what they have; empty where that isn't known.
    """

    looks_at: home.Filter = field(default_factory=home.Filter)
    is_first: bool = False
    asked: int = 0
    drawn: int = 0
    is_drawing: bool = False
    shown: str = ""


@dataclass(slots=True)
class Home:
    """Draws it.

    Attributes:
        channel_for: where the result of a decision on a cluster's remediation goes; None for a direct message.
        client: publishes views; doesn't retry.
    """

    overviews: Overviews
    channel_for: Callable[[str], str | None]
    config: cards.CardConfig
    tasks: Tasks
    client: AsyncWebClient
    clock: Clock
    _viewers: OrderedDict[str, _Viewer] = field(default_factory=OrderedDict, init=False)

    def result_target(self, place: ReplyTarget, cluster_id: str) -> ReplyTarget:
        """Return where the result of something that was done here goes: to the cluster's channel."""
        return replace(place, channel_id=self.channel_for(cluster_id)) if place.is_home else place

    async def then_refresh(self, work: Awaitable[object], actor: Actor, body: Json) -> None:
        """Do what somebody asked for in their home, then draw it again; `body` says what they look at, or a dialog."""
        viewer = self._viewer(actor.user_id, body)
        if view_of(body).get("type") == "home":  # another process may have drawn it
            viewer.looks_at = _looks_at(body)
        await work
        self.overviews.lookup.forget()
        self._draw_soon(actor, body, viewer.looks_at)

    async def opened(self, ack: AsyncAck, body: Json) -> BoltResponse | None:
        """Draw it for somebody who has opened it; the same event is sent for the app's messages."""
        event = body.get("event") or {}
        actor = Actor(str(event.get("user") or ""), "", body.get("team_id"))
        if self.tasks.room(actor.user_id, decides=False) is not Capacity.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        if event.get("tab") == "home":
            self._draw_soon(actor, event, _looks_at(event), is_first=not event.get("view"))
        return None

    async def act(self, ack: AsyncAck, body: Json) -> BoltResponse | None:
        """Draw it for somebody who looks at something else, or wants to see what is there now."""
        action, actor = action_of(body), actor_of(body)
        if self.tasks.room(actor.user_id, decides=False) is not Capacity.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        looks_at = _looks_at(body)
        action_id = str(action.get("action_id"))
        if action_id == home.CLUSTER:
            looks_at = home.chosen(option_of(action))
        elif action_id == home.OPEN:
            opened = str(action.get("value"))
            looks_at = replace(looks_at, opened="" if looks_at.opened == opened else opened)
        looks_at = replace(looks_at, page=max(0, looks_at.page + _TURNS.get(action_id, 0)))
        self._draw_soon(actor, body, looks_at)
        return None

    async def options(self, ack: AsyncAck, body: Json) -> None:
        """Answer the menu of clusters and nodes, which asks for its choices."""
        try:
            allow = self.overviews.policy.authorize_overview(actor_of(body), self.channel_for(""))
            looked = await self.overviews.lookup.in_time_for_a_menu(allow)
        except NotAllowed:
            await ack(options=[])
            return
        except StorageUnavailable as error:
            logger.warning("Couldn't read what can be looked at: %s", error)
            looked = LookupResult((), ())
        await ack(options=home.options(looked.found, str(body.get("value") or ""), looked.names))

    def _draw_soon(self, actor: Actor, body: Json, looks_at: home.Filter, *, is_first: bool = False) -> None:
        """Draw it once, however often it is asked for until then; that takes none of the person's seats."""
        viewer = self._viewer(actor.user_id, body)
        viewer.looks_at = looks_at
        viewer.asked += 1
        viewer.is_first = viewer.is_first or is_first
        if not viewer.is_drawing:
            viewer.is_drawing = True
            self.tasks.spawn(self._draw(actor, viewer), f"home of {actor.user_id}")

    def _viewer(self, user_id: str, body: Json) -> _Viewer:
        viewer, view = self._viewers.setdefault(user_id, _Viewer()), view_of(body)
        if view.get("type") == "home":
            viewer.shown = viewer.shown or str(view.get("hash") or "")
        self._viewers.move_to_end(user_id)
        if len(self._viewers) > REMEMBERED:
            self._viewers.popitem(last=False)
        return viewer

    async def _draw(self, actor: Actor, viewer: _Viewer) -> None:
        try:
            if viewer.is_first:
                viewer.is_first = False
                with suppress(SlackFailure):
                    await self._publish(actor.user_id, viewer, home.loading())
            while viewer.drawn < viewer.asked:
                viewer.drawn = viewer.asked  # who asks from now on has all attempts, should these fail
                try:
                    await patiently(self.clock, partial(self._show, actor, viewer))
                except SlackFailure as error:
                    logger.warning("Couldn't draw the home of %s: %s", actor.user_id, error)
        finally:
            viewer.is_drawing = False

    async def _show(self, actor: Actor, viewer: _Viewer) -> None:
        """Show what is there now: an attempt that comes late must not bring back what was decided since."""
        asked = viewer.asked
        for seen in (viewer.shown, ""):
            view = await self._view(actor, viewer.looks_at)
            try:
                await self._publish(actor.user_id, viewer, view, seen)
            except SlackFailure as error:
                if error.code != "hash_conflict" or not seen:
                    raise  # another process has drawn it since: what is there now is read once more
            else:
                viewer.drawn = asked
                return

    async def _view(self, actor: Actor, looks_at: home.Filter) -> Json:
        channel_id = self.channel_for(looks_at.cluster_id)
        try:
            shown = await self.overviews.read(actor, channel_id, looks_at)
        except NotAttempted as error:
            return home.problem(error, looks_at)
        except StorageUnavailable:
            return home.problem(RefusedWithoutDatabase(), looks_at)
        return home.home(shown, looks_at, self.config, self.clock.now())

    async def _publish(self, user_id: str, viewer: _Viewer, view: Json, seen: str = "") -> None:
        viewer.shown = hash_of(await self.client.views_publish(user_id=user_id, view=view, hash=seen or None))


def _looks_at(shown: Json) -> home.Filter:
    return home.Filter.load(known_of(view_of(shown)))
