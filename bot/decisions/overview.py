"""What somebody sees in the app's home: what waits, what runs, what failed, and what they decided."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.cards.home import PER_PAGE, Filter, Overview
from bot.clock import Clock
from bot.decisions.batches import BatchService
from bot.decisions.lookup import LOOK_SECONDS, PAST_SECONDS, Lookup, oldest_first
from bot.errors import NotAllowed, TogetherError
from bot.models import Actor, Remediation, RemediationRef, Verb
from bot.policy import Policy
from bot.store import Database, approvals, audit, ended, messages, pauses

MINE = 10  # decisions of the person
READ_AT_ONCE = 6
_DIGESTS = 3  # with the most that waits


@dataclass(slots=True)
class Overviews:
    """Reads them."""

    lookup: Lookup
    policy: Policy
    batches: BatchService
    database: Database
    clock: Clock

    async def read(self, actor: Actor, channel_id: str | None, looks_at: Filter) -> Overview:
        """Read what somebody looks at; the last page where there are fewer.

        Raises:
            NotAllowed: the actor may not look.
            StorageUnavailable: the database did not answer.
        """
        await self.policy.authorize_overview(actor, channel_id)
        refused: NotAllowed | None = None
        try:
            await self.policy.authorize(Verb.APPROVE, actor, channel_id)
        except NotAllowed as error:
            refused = error
        looked = await self.lookup.open(looks_at.cluster_id)
        remediations, unconfirmed = await self._confirm(looked.found, looked.outdated)
        cluster_id = looks_at.cluster_id
        here = [remediation for remediation in remediations if cluster_id in {"", remediation.cluster_id}]
        waiting = [remediation for remediation in here if remediation.is_waiting]
        digests = await self._digests(waiting, looked.shown_on)
        count = len(waiting)
        waiting = [remediation for remediation in waiting if remediation.ref.key == looks_at.only] or waiting
        page = max(0, min(looks_at.page, (len(waiting) - 1) // PER_PAGE))
        shown = waiting[page * PER_PAGE : (page + 1) * PER_PAGE]
        failed = await self.database.read(ended.failed, PAST_SECONDS) if self.lookup.is_watching else None
        mine = await audit.outcomes(self.database, actor.user_id, MINE)
        about = await self.database.read(approvals.contexts_now, [remediation.ref for remediation in shown])
        is_read_now = not self.lookup.is_watching
        unconfirmed |= {
            remediation.ref
            for remediation in shown
            if about[remediation.ref].is_in_doubt(remediation, is_read_now=is_read_now)
        }
        running = [remediation for remediation in here if remediation.is_under_way]
        unconfirmed |= {remediation.ref for remediation in running}.intersection(await self.lookup.doubted())
        known = {remediation.ref: remediation.node for remediation in remediations} | await self.database.read(
            messages.nodes, {decision.ref for decision in mine}
        )
        return Overview(
            waiting=shown,
            count=count,
            page=page,
            running=running,
            failed=None
            if failed is None
            else [remediation for remediation in failed if cluster_id in {"", remediation.cluster_id}],
            mine=mine,
            names=known,
            returned=await self.lookup.returned(cluster_id),
            faults=await self.lookup.faults(cluster_id),
            about={
                ref: replace(context, mentioned="", as_of=context.as_of or looked.old.get(ref))
                for ref, context in about.items()
            },
            unconfirmed=unconfirmed,
            old=looked.old,
            pause=await self.database.read(pauses.active, [cluster_id]),
            digests=digests,
            cluster_names=looked.names,
            unreadable=looked.unreadable,
            refused=refused,
        )

    async def _digests(
        self, waiting: Sequence[Remediation], shown_on: Mapping[RemediationRef, str]
    ) -> list[tuple[str, int, str]]:
        """Return the messages with more than one that can be decided: their IDs, how many, and their cluster."""
        shown = Counter(message_id for remediation in waiting if (message_id := shown_on.get(remediation.ref)))
        digests = list[tuple[str, int, str]]()
        for message_id in [message_id for message_id, count in shown.most_common(_DIGESTS) if count > 1]:
            known = await self.batches.decidable(message_id)
            clusters = {alert.cluster_id for alert in known.alerts}
            if known.total > 1:
                digests.append((message_id, known.total, clusters.pop() if len(clusters) == 1 else ""))
        return digests

    async def _confirm(
        self, remediations: Sequence[Remediation], outdated: Collection[RemediationRef]
    ) -> tuple[list[Remediation], set[RemediationRef]]:
        """Read again what was decided on since it was last seen. Returns what there is, and what couldn't be read."""
        lane = asyncio.Semaphore(READ_AT_ONCE)

        async def read(known: Remediation) -> Remediation | None:
            try:
                async with lane, self.clock.timeout(LOOK_SECONDS):
                    return await self.lookup.get(known.ref)
            except (TogetherError, TimeoutError):
                return None

        old = [remediation for remediation in remediations if remediation.ref in outdated]
        fresh = dict(zip((remediation.ref for remediation in old), await asyncio.gather(*map(read, old)), strict=True))
        present = [fresh.get(remediation.ref) or remediation for remediation in remediations]
        return oldest_first(present), {ref for ref, remediation in fresh.items() if remediation is None}
