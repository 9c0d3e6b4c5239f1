"""What people say before anybody decides: nobody approves for a while, or somebody looks into it."""

from collections.abc import Collection
from dataclasses import dataclass

from bot.decisions.inbox import Held
from bot.errors import NothingToResume
from bot.models import Actor, Looked, Pause, Pauser, RemediationRef, Verb
from bot.policy import Policy
from bot.store import Database, approvals, faults, pauses

PAUSE_SECONDS = 3600.0  # of a press that says no length


@dataclass(slots=True)
class PauseService:
    """Pauses and resumes approvals, of one cluster, or of all where the ID is empty; `policy` says who may."""

    policy: Policy
    database: Database

    async def pause(self, cluster_id: str, held: Held, seconds: float = PAUSE_SECONDS) -> Pause:
        """Pause approvals from now on. Returns what pauses them now, other people's pauses with it.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(held)
        reason = held.entry.reason
        until = await held.act(pauses.begin, cluster_id, seconds, actor, channel_id, reason)
        own = Pauser(actor.user_id, until, cluster_id, reason)
        return await self.database.read(pauses.active, [cluster_id]) or Pause((own,))

    async def resume(
        self, cluster_id: str, held: Held, chosen: Collection[str] | None = None, since: str = ""
    ) -> tuple[Pause | None, list[str]]:
        """End what pauses approvals of a cluster. Returns what does so still, and whose pauses ended.

        Args:
            chosen: the keys of people's pauses, or their user IDs; None for all pauses of the cluster.
            since: of the storm brake, as `Brake.key`; empty for none.

        Raises:
            NotAllowed: the actor may not.
            NothingToResume: they are not paused.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(held)
        ended = await held.act(faults.resume, cluster_id, actor, channel_id, held.entry.reason, chosen, since)
        left = await self.database.read(pauses.active, [cluster_id])
        if not ended and left is None:
            raise NothingToResume
        return left, [each for each in ended.split() if each != "brake"]

    async def active(self, cluster_id: str) -> tuple[Pause | None, str]:
        """Return what pauses approvals of a cluster, and the `key` of the storm brake where that is what does.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        pause = await self.database.read(pauses.active, [cluster_id])
        report = (
            (await self.database.read(faults.known)).get(cluster_id) if pause and pause.braked == cluster_id else None
        )
        return pause, report.brake.key if report and report.brake else ""

    async def look_into(self, about: RemediationRef | str, held: Held) -> Looked:
        """Note that somebody looks into a remediation, or a digest.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(held)
        return Looked(await held.act(approvals.look_into, about, actor, channel_id))

    async def _authorize(self, held: Held) -> tuple[Actor, str | None]:
        actor, channel_id = held.entry.actor, held.entry.place.channel_id
        await self.policy.authorize(Verb.APPROVE, actor, channel_id)
        return actor, channel_id
