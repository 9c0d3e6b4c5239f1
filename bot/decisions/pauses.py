"""Pausing approvals: who may approve may also say that nobody does for a while."""

from dataclasses import dataclass

from bot.decisions.inbox import Held
from bot.errors import NothingToResume
from bot.models import Actor, Pause, Verb
from bot.policy import Policy
from bot.store import Pauses, begin_pause, resume

PAUSE_SECONDS = 3600.0


@dataclass(slots=True)
class PauseService:
    """Pauses and resumes approvals, of one cluster, or of all where the ID is empty; `policy` says who may."""

    policy: Policy
    pauses: Pauses

    async def pause(self, cluster_id: str, held: Held) -> Pause:
        """Pause approvals for an hour, from now on.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(held)
        until = await held.act(begin_pause, cluster_id, PAUSE_SECONDS, actor, channel_id)
        return Pause(actor.user_id, until, cluster_id)

    async def resume(self, cluster_id: str, held: Held) -> None:
        """Resume approvals; also those that the storm brake has paused, where a reason is given.

        Raises:
            NotAllowed: the actor may not.
            NothingToResume: they are not paused.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(held)
        if not await held.act(resume, cluster_id, actor, channel_id, held.entry.reason):
            raise NothingToResume

    async def authorized(self, cluster_id: str, actor: Actor, channel_id: str | None) -> Pause | None:
        """Return what pauses approvals of a cluster, for somebody who may resume them.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: the database did not answer.
        """
        await self.policy.authorize(Verb.APPROVE, actor, channel_id)
        return await self.pauses.active(cluster_id)

    async def _authorize(self, held: Held) -> tuple[Actor, str | None]:
        actor, channel_id = held.entry.actor, held.entry.place.channel_id
        await self.policy.authorize(Verb.APPROVE, actor, channel_id)
        return actor, channel_id
