"""Pausing approvals: who may approve may also say that nobody does for a while."""

from bot.errors import NothingToResume
from bot.models import Actor, Pause, Place, Verb
from bot.policy import Policy
from bot.store import Pauses

PAUSE_SECONDS = 3600.0


class PauseService:
    """Pauses and resumes approvals, of one cluster, or of all where the ID is empty.

    Args:
        policy: who may.
        pauses: where they are kept.
    """

    def __init__(self, policy: Policy, pauses: Pauses) -> None:
        self._policy = policy
        self._pauses = pauses

    async def pause(self, cluster_id: str, actor: Actor, place: Place) -> Pause:
        """Pause approvals for an hour, from now on.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it could not be written.
        """
        await self._policy.authorize(Verb.APPROVE, actor, place.channel_id)
        return await self._pauses.begin(cluster_id, PAUSE_SECONDS, actor, place.channel_id)

    async def resume(self, cluster_id: str, actor: Actor, place: Place) -> None:
        """Resume approvals.

        Raises:
            NotAllowed: the actor may not.
            NothingToResume: they are not paused.
            StorageUnavailable: it could not be written.
        """
        await self._policy.authorize(Verb.APPROVE, actor, place.channel_id)
        if not await self._pauses.end(cluster_id, actor, place.channel_id):
            raise NothingToResume
