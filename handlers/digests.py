"""The controls of a digest: the selection, the two buttons, and the dialog that they open."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import BatchService, DecisionService, Held, Lookup
from bot.errors import NotAllowed, NotAttempted, NotRecorded, NotTaken, StorageUnavailable
from bot.models import Verb
from bot.tasks import Room, Tasks
from handlers.clicks import actor_of, place_of
from handlers.controls import Controls, Press
from handlers.dialogs import Dialogs
from handlers.refusals import refusal

logger = logging.getLogger(__name__)


class Digests:
    """Reads what was selected, asks back, and hands it to the batches."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a selection needs
        self,
        batches: BatchService,
        decisions: DecisionService,
        lookup: Lookup,
        controls: Controls,
        tasks: Tasks,
        dialogs: Dialogs,
    ) -> None:
        self._batches = batches
        self._decisions = decisions
        self._lookup = lookup
        self._controls = controls
        self._tasks = tasks
        self._dialogs = dialogs
        controls.on(cards.selection.STOP, self._stop)

    async def select(self, ack: AsyncAck) -> None:
        """Something was selected: Slack keeps it until a button is pressed."""
        await ack()

    async def options(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The menu asks for its choices."""
        try:
            channel_id = place_of(body).channel_id
            await self._lookup.authorize_in_time(Verb.REFRESH, actor_of(body), channel_id)
            waiting = await self._batches.waiting(cards.selection.digest_id(str(body.get("block_id"))))
        except (NotAllowed, StorageUnavailable) as error:
            logger.warning("Couldn't read the choices of a digest: %s", error)
            waiting = []
        await ack(options=cards.selection.options(waiting, str(body.get("value") or "")))

    async def press(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then show what would happen to which node."""
        verb = cards.selection.VERBS[str(body["actions"][0].get("action_id"))]
        return await self._controls.take(ack, body, partial(self._ask, verb), verb)

    async def _ask(self, verb: Verb, press: Press) -> None:
        selected = _selected(press.body)
        asked = await self._batches.ask(verb, press.value, selected, press.actor, press.place, press.trigger_id)
        if asked is None:
            logger.info("Selection %s: redelivery ignored", press.trigger_id)
            return
        await self._dialogs.open(press.trigger_id, cards.selection.dialog(*asked))

    async def stop(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Write it down, ack, then leave alone what of a running selection has not begun."""
        return await self._controls.change(ack, body, "stop this selection")

    async def _stop(self, held: Held) -> bool:
        await self._batches.stop(held)
        return True  # the digest says it

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Write down that it was confirmed, ack, then carry it out. What cannot be begun is said in the dialog."""
        batch_id, actor = str((body.get("view") or {}).get("private_metadata")), actor_of(body)
        try:
            if self._tasks.room(actor.user_id, decides=True) is not Room.FREE:
                raise NotTaken
            work = await self._batches.confirm(batch_id, actor)
        except (NotAttempted, NotRecorded) as error:
            await ack(response_action="update", view=cards.selection.refusal(error))
            if isinstance(error, NotRecorded):
                work = self._batches.take_back(batch_id)
                self._tasks.spawn(work, f"take back batch {batch_id}", person=actor.user_id)
            elif not isinstance(error, NotTaken) or self._tasks.refuses_first(actor.user_id):
                note = replace(refusal(error, actor, None), selection=batch_id)
                self._tasks.spawn(self._decisions.note(note), f"refused batch {batch_id}", person=actor.user_id)
            return
        await ack()
        self._tasks.spawn(work, f"batch {batch_id}", person=actor.user_id)


def _selected(body: dict[str, Any]) -> list[str]:
    """The values that were selected, wherever in the message the menu stands."""
    values = (body.get("state") or {}).get("values") or {}
    chosen = [menus.get(cards.selection.SELECT) or {} for menus in values.values()]
    return [str(option.get("value")) for menu in chosen for option in menu.get("selected_options") or []]
