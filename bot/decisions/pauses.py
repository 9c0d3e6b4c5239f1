"""What people say before anybody decides: nobody approves for a while, or somebody looks into it."""

from collections.abc import Collection
from dataclasses import dataclass

from bot.decisions.inbox import LeasedEntry
from bot.errors import NothingToResume
from bot.models import Actor, Looked, Pause, RemediationRef, Verb
from bot.policy import Policy
from bot.store import Database, approvals, clusters, faults, pauses


@dataclass(slots=True)
class PauseService:
    """Pauses and resumes approvals, of one cluster, or of all where the ID is empty; `policy` says who may."""

    policy: Policy
    database: Database

    async def pause(self, cluster_id: str, leased: LeasedEntry, seconds: float) -> Pause | None:
        """Pause approvals from now on. Returns what pauses them now: where it is told late, that may all be over.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(leased)
        reason = leased.entry.reason
        await leased.act(pauses.begin, cluster_id, seconds, actor, channel_id, reason, leased.entry.key)
        return await self.database.read(pauses.active, [cluster_id])

    async def resume(
        self, cluster_id: str, leased: LeasedEntry, chosen: Collection[str] | None, since: str
    ) -> tuple[str, Pause | None, list[tuple[str, str]]]:
        """End what pauses approvals of a cluster.

        Args:
            chosen: the keys of people's pauses, or their user IDs; None for all pauses of the cluster.
            since: of the storm brake, as `Brake.as_shown`; empty for none.

        Returns:
            The cluster whose approvals resume, empty for all; what pauses them still; whose pauses ended, by user ID
            and cluster.

        Raises:
            NotAllowed: the actor may not.
            NothingToResume: they are not paused.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(leased)
        ended = await leased.act(faults.resume, cluster_id, actor, channel_id, leased.entry.reason, chosen, since)
        # A word without a slash is from release 0.1.
        words = [word.partition("/") for word in ended.split() if word != "brake"]
        people = [(user_id, paused if slash else cluster_id) for user_id, slash, paused in words]
        scope = "" if any(not paused for _, paused in people) else cluster_id
        left = await self.database.read(pauses.active, [scope])
        if not ended and left is None:
            raise NothingToResume
        return scope, left, people

    async def active(self, cluster_id: str) -> tuple[str, Pause | None, str]:
        """Return what somebody can resume who asks for a cluster, or for all where the ID is empty.

        Returns:
            The cluster: the first one where only storm brakes pause anything. What pauses it, with the brakes of others
            where all were asked for. The `key` of its storm brake, empty where that doesn't.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        pause = await self.database.read(pauses.active, [cluster_id])
        if pause and not cluster_id and not pause.people:
            cluster_id = pause.brakes[0].cluster_id
        is_braked = pause is not None and cluster_id in {brake.cluster_id for brake in pause.brakes}
        report = (await self.database.read(faults.known)).get(cluster_id) if is_braked else None
        return cluster_id, pause, report.brake.as_shown if report and report.brake else ""

    async def cluster_name(self, cluster_id: str) -> str:
        """Return what a cluster is called, raw; empty for all clusters.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return (await self.database.read(clusters.names))[cluster_id]

    async def look_into(self, about: RemediationRef | str, episode: str, leased: LeasedEntry) -> Looked:
        """Note that somebody looks into a remediation, as it was in an episode, or into a digest.

        Raises:
            NotAllowed: the actor may not.
            StorageUnavailable: it may have been written, or not.
        """
        actor, channel_id = await self._authorize(leased)
        return Looked(await leased.act(approvals.look_into, about, episode, actor, channel_id, leased.age))

    async def _authorize(self, leased: LeasedEntry) -> tuple[Actor, str | None]:
        actor, channel_id = leased.entry.actor, leased.entry.place.channel_id
        if not leased.is_acted:
            await self.policy.authorize(Verb.APPROVE, actor, channel_id)
        return actor, channel_id
