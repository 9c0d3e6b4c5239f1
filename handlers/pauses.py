"""The buttons that pause and resume approvals."""

from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import PauseService
from handlers.controls import Controls, Press
from handlers.replies import Replies


class Pauses:
    """Pauses and resumes approvals, and tells the person alone; every card that is concerned shows it.

    Args:
        service: does it.
        controls: takes presses.
        replies: tells the person alone.
    """

    def __init__(self, service: PauseService, controls: Controls, replies: Replies) -> None:
        self._service = service
        self._controls = controls
        self._replies = replies

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then pause or resume."""
        return await self._controls.take(ack, body, self._do)

    async def _do(self, press: Press) -> None:
        cluster_id = press.value.removeprefix(cards.ALL_CLUSTERS)
        if press.action_id == cards.PAUSE:
            told = cards.paused(cluster_id, await self._service.pause(cluster_id, press.actor, press.place))
        else:
            await self._service.resume(cluster_id, press.actor, press.place)
            told = cards.resumed(cluster_id)
        await self._replies.whisper(press.place, told)
