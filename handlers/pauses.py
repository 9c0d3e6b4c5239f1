"""The buttons that pause and resume approvals."""

from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import Held, PauseService
from handlers.clicks import action_of
from handlers.controls import Controls
from handlers.replies import Replies


class Pauses:
    """Pauses and resumes approvals, and tells the person alone; every card that is concerned shows it."""

    def __init__(self, service: PauseService, controls: Controls, replies: Replies) -> None:
        self._service = service
        self._controls = controls
        self._replies = replies
        controls.on(cards.PAUSE, self._pause)
        controls.on(cards.RESUME, self._resume)

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Write it down, ack, then pause or resume."""
        is_pause = action_of(body).get("action_id") == cards.PAUSE
        return await self._controls.change(ack, body, "pause approvals" if is_pause else "resume approvals")

    async def _pause(self, held: Held) -> bool:
        cluster_id = _cluster(held)
        pause = await self._service.pause(cluster_id, held)
        return await self._replies.reply_privately(held.entry.place, cards.paused(cluster_id, pause))

    async def _resume(self, held: Held) -> bool:
        cluster_id = _cluster(held)
        await self._service.resume(cluster_id, held)
        return await self._replies.reply_privately(held.entry.place, cards.resumed(cluster_id))


def _cluster(held: Held) -> str:
    return held.entry.value.removeprefix(cards.ALL_CLUSTERS)
