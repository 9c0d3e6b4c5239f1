"""The buttons that pause and resume approvals."""

from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import DecisionService, PauseService
from bot.errors import NotAttempted, StorageUnavailable, StoreDown
from bot.tasks import Room, Tasks
from handlers.buttons import actor_of, place_of, refusal
from handlers.replies import Replies


class Pauses:
    """Pauses and resumes approvals, and tells the person alone; every card that is concerned shows it.

    Args:
        service: does it.
        decisions: puts refusals into the audit trail.
        replies: tells the person alone.
        tasks: where the work goes on after the ack.
    """

    def __init__(self, service: PauseService, decisions: DecisionService, replies: Replies, tasks: Tasks) -> None:
        self._service = service
        self._decisions = decisions
        self._replies = replies
        self._tasks = tasks

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then pause or resume."""
        user_id = actor_of(body).user_id
        if self._tasks.room(user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        self._tasks.spawn(self._do(body), f"pause {body.get('trigger_id')}", person=user_id)
        return None

    async def _do(self, body: dict[str, Any]) -> None:
        action, place, actor = (body.get("actions") or [{}])[0], place_of(body), actor_of(body)
        cluster_id = str(action.get("value")).removeprefix(cards.ALL_CLUSTERS)
        try:
            if action.get("action_id") == cards.PAUSE:
                told = cards.paused(cluster_id, await self._service.pause(cluster_id, actor, place))
            else:
                await self._service.resume(cluster_id, actor, place)
                told = cards.resumed(cluster_id)
        except NotAttempted as error:
            await self._decisions.note(refusal(error, actor, place.channel_id))
            told = cards.private(error)
        except StorageUnavailable:
            told = cards.private(StoreDown())
        await self._replies.whisper(place, told)
