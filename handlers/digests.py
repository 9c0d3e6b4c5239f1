"""The controls of a digest: the selection, the two buttons, and the dialog that they open."""

import logging
from functools import partial
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import BatchService, Held, Lookup
from bot.errors import NotAllowed, StorageUnavailable
from bot.models import ReplyTarget, Verb
from handlers.clicks import action_of, actor_of, place_of
from handlers.controls import Controls
from handlers.dialogs import Dialogs
from handlers.submissions import say_in_dialog
from handlers.surface import Interaction, Surface

logger = logging.getLogger(__name__)


class Digests:
    """Reads what was selected, confirms it, and hands it to the batches."""

    def __init__(  # noqa: PLR0913, PLR0917 - one of each
        self,
        surface: Surface,
        batches: BatchService,
        lookup: Lookup,
        controls: Controls,
        dialogs: Dialogs,
        config: cards.CardConfig,
    ) -> None:
        self._surface = surface
        self._batches = batches
        self._lookup = lookup
        self._controls = controls
        self._dialogs = dialogs
        self._config = config
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
        """Take it, then show what would happen to which node."""
        verb = cards.selection.VERBS[str(action_of(body).get("action_id"))]
        press = self._surface.press_of(body, verb)
        return await self._surface.take(ack, press, partial(self._surface.once, press, partial(self._ask, verb, press)))

    async def _ask(self, verb: Verb, press: Interaction) -> None:
        selected = _selected(press.body)
        await self._lookup.authorize_in_time(verb, press.actor, press.place.channel_id)
        asked = await self._batches.ask(verb, press.value, selected, press.actor, press.place, press.trigger_id)
        if asked is None:
            logger.info("Selection %s: redelivery ignored", press.trigger_id)
            return
        await self._dialogs.open(press.trigger_id, cards.selection.dialog(*asked, self._config))

    async def stop(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Write it down, ack, then leave alone what of a running selection has not begun."""
        return await self._controls.change(ack, body, "stop this selection")

    async def _stop(self, held: Held) -> bool:
        await self._batches.stop(held)
        return True  # the digest says it

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Take the confirmation. What cannot be begun is said in the dialog."""
        batch_id, actor = str((body.get("view") or {}).get("private_metadata")), actor_of(body)
        confirmed = Interaction(
            actor, ReplyTarget(None, actor.user_id), None, f"batch {batch_id}", body, selection=batch_id
        )
        confirm = partial(self._batches.confirm, batch_id, actor)
        await self._surface.take(ack, confirmed, confirm, say=partial(say_in_dialog, ack))


def _selected(body: dict[str, Any]) -> list[str]:
    """Return the selected values, wherever in the message the menu is."""
    values = (body.get("state") or {}).get("values") or {}
    chosen = [menus.get(cards.selection.SELECT) or {} for menus in values.values()]
    return [str(option.get("value")) for menu in chosen for option in menu.get("selected_options") or []]
