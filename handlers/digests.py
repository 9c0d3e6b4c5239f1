"""The controls of a digest: the selection, the two buttons, and the dialog that they open."""

import logging
from dataclasses import replace
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot import cards
from bot.decisions import BatchService, DecisionService
from bot.errors import NotAttempted, NotRecorded, NotTaken, StorageUnavailable, StoreDown
from bot.tasks import Room, Tasks
from handlers.buttons import actor_of, place_of, refusal
from handlers.failures import ODD_ANSWERS, SLACK_FAILURES, describe
from handlers.replies import Replies

logger = logging.getLogger(__name__)


class Digests:
    """Reads what was selected, asks back, and hands it to the batches.

    Args:
        batches: keeps what was selected, and begins it.
        decisions: puts refusals into the audit trail.
        replies: tells the person alone.
        tasks: where the work goes on after the ack.
        client: opens dialogs; without retries of its own.
    """

    def __init__(
        self, batches: BatchService, decisions: DecisionService, replies: Replies, tasks: Tasks, client: AsyncWebClient
    ) -> None:
        self._batches = batches
        self._decisions = decisions
        self._replies = replies
        self._tasks = tasks
        self._client = client

    async def select(self, ack: AsyncAck) -> None:
        """Something was selected: Slack keeps it until a button is pressed."""
        await ack()

    async def options(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The menu asks for its choices."""
        try:
            waiting = await self._batches.waiting(str(body.get("block_id")))
        except StorageUnavailable as error:
            logger.warning("The choices of a digest could not be read: %s", error)
            waiting = []
        await ack(options=cards.many.options(waiting, str(body.get("value") or "")))

    async def press(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then show what would happen to which node."""
        user_id = actor_of(body).user_id
        if self._tasks.room(user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        self._tasks.spawn(self._ask(body), f"selection {body.get('trigger_id')}", person=user_id)
        return None

    async def _ask(self, body: dict[str, Any]) -> None:
        action, place, actor = (body.get("actions") or [{}])[0], place_of(body), actor_of(body)
        verb, trigger_id = cards.many.VERBS[str(action.get("action_id"))], str(body.get("trigger_id"))
        try:
            digest_id = str(action.get("value"))
            asked = await self._batches.ask(verb, digest_id, _selected(body), actor, place, trigger_id)
            if asked is None:
                logger.info("Selection %s: redelivery ignored", trigger_id)
                return
            await self._open(trigger_id, cards.many.dialog(*asked))
        except NotAttempted as error:
            await self._decisions.note(refusal(error, actor, place.channel_id, verb))
            await self._replies.whisper(place, cards.private(error))
        except StorageUnavailable:
            await self._replies.whisper(place, cards.private(StoreDown()))

    async def _open(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Open a dialog.

        Raises:
            NotTaken: Slack did not say that it did.
        """
        try:
            await self._client.views_open(trigger_id=trigger_id, view=view)
        except (*SLACK_FAILURES, *ODD_ANSWERS) as error:
            logger.warning("A dialog could not be opened: %s", describe(error))
            raise NotTaken from error

    async def stop(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then leave alone what of a running selection has not begun."""
        user_id = actor_of(body).user_id
        if self._tasks.room(user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        self._tasks.spawn(self._stop(body), f"stop {body.get('trigger_id')}", person=user_id)
        return None

    async def _stop(self, body: dict[str, Any]) -> None:
        action, place, actor = (body.get("actions") or [{}])[0], place_of(body), actor_of(body)
        try:
            await self._batches.stop(str(action.get("value")), actor, place)
        except NotAttempted as error:
            await self._decisions.note(refusal(error, actor, place.channel_id))
            await self._replies.whisper(place, cards.private(error))
        except StorageUnavailable:
            await self._replies.whisper(place, cards.private(StoreDown()))

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Write down that it was confirmed, ack, then carry it out. What cannot be begun is said in the dialog."""
        batch_id, actor = str((body.get("view") or {}).get("private_metadata")), actor_of(body)
        try:
            if self._tasks.room(actor.user_id, decides=True) is not Room.FREE:
                raise NotTaken
            work = await self._batches.confirm(batch_id, actor)
        except (NotAttempted, NotRecorded) as error:
            await ack(response_action="update", view=cards.many.refusal(error))
            if isinstance(error, NotRecorded):
                work = self._batches.take_back(batch_id)
                self._tasks.spawn(work, f"take back batch {batch_id}", person=actor.user_id)
            elif not isinstance(error, StoreDown | NotTaken):
                note = replace(refusal(error, actor, None), selection=batch_id)
                self._tasks.spawn(self._decisions.note(note), f"refused batch {batch_id}", person=actor.user_id)
            return
        await ack()
        self._tasks.spawn(work, f"batch {batch_id}", person=actor.user_id)


def _selected(body: dict[str, Any]) -> list[str]:
    """The values that were selected, wherever in the message the menu stands."""
    values = (body.get("state") or {}).get("values") or {}
    chosen = [menus.get(cards.many.SELECT) or {} for menus in values.values()]
    return [str(option.get("value")) for menu in chosen for option in menu.get("selected_options") or []]
