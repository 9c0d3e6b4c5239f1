"""Batches, which people see as selections: what one person chose in a digest and confirmed, decided one by one."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bot import cards
from bot.cards.listing import half_approved
from bot.clock import Clock
from bot.decisions.guardrails import paused_error
from bot.decisions.inbox import LeasedEntry
from bot.decisions.service import RECEIVE_SECONDS, DecisionService, Receipt, Unrecorded
from bot.decisions.storing import forever, in_time
from bot.errors import (
    NotConfirmed,
    NothingSelected,
    NothingToStop,
    NotRecorded,
    RefusedWithoutDatabase,
    StorageUnavailable,
)
from bot.models import (
    MAX_CHOSEN,
    NOTHING_KNOWN,
    Actor,
    Alert,
    Batch,
    BatchItem,
    CardContext,
    Decidable,
    ReplyTarget,
    SeenState,
    Verb,
)
from bot.policy import Policy
from bot.store import DecisionStore, approvals, batches, pauses, rows


@dataclass(slots=True)
class BatchService:
    """Asks before a batch, and begins it. Each of its decisions then takes the way of every other one."""

    decisions: DecisionService
    policy: Policy
    store: DecisionStore
    clock: Clock
    config: cards.CardConfig

    async def waiting(self, digest_id: str) -> Decidable:
        """Return `decidable`, in time for a dialog.

        Raises:
            RefusedWithoutDatabase: the database did not answer.
        """
        try:
            async with self.clock.timeout(RECEIVE_SECONDS):
                return await self.decidable(digest_id)
        except (StorageUnavailable, TimeoutError) as error:
            raise RefusedWithoutDatabase from error

    async def decidable(self, digest_id: str) -> Decidable:
        """Return what waits in a digest and can be decided.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        snapshot = await self.store.database.read(rows.load, digest_id)
        open_ones = snapshot.undecided if snapshot else []
        about = await self._cluster(open_ones)
        unclear = await self.store.database.read(approvals.unsettled, {alert.cluster_id for alert in open_ones})
        decidable = [alert for alert in open_ones if not self.config.observes(alert.cluster_id)]
        oldest = sorted(decidable, key=cards.listing.since)[:MAX_CHOSEN]
        if snapshot is None:
            return Decidable([], 0, {}, about)
        running = [batch for batch in snapshot.batches if batch.is_running]
        unclear -= {item.ref for batch in running for item in batch.items if item.outcome is None}
        return Decidable(oldest, len(decidable), snapshot.firsts, about, running, snapshot.pause, unclear)

    async def _cluster(self, alerts: Sequence[Alert]) -> CardContext:
        """Return how much is in repair in the cluster of what waits, where it is one and that is known."""
        known = [alert for alert in alerts if alert.share]
        if not known or len({alert.cluster_id for alert in alerts}) != 1:
            return NOTHING_KNOWN
        latest = max(known, key=lambda alert: (not alert.as_of, alert.share_at)).ref
        return (await self.store.database.read(approvals.contexts_now, [latest]))[latest]

    async def ask(self, asked: Batch, values: Collection[str]) -> tuple[Batch, Decidable]:
        """Keep what an authorized person has chosen until it is confirmed.

        Args:
            asked: without its items. The same of one press is kept once.

        Returns:
            It with its items, and what they are about.

        Raises:
            NothingSelected: nothing of it waits any more.
            Paused: approvals are paused in all of its clusters.
            RefusedWithoutDatabase: it could not be written.
        """
        try:
            async with self.clock.timeout(RECEIVE_SECONDS):
                waiting = await self.waiting(asked.digest_id)
                batch, wanted = self._chosen(asked, waiting, values)
                if asked.verb is Verb.APPROVE:
                    clusters = {alert.cluster_id for alert in wanted}
                    held = [await self.store.database.read(pauses.active, [cluster_id]) for cluster_id in clusters]
                    if held[0] and all(held):  # else something of it could be approved now
                        raise paused_error(held[0], asked.actor.user_id)
                await self.store.database.run(batches.ask, batch)
        except (StorageUnavailable, TimeoutError) as error:
            raise RefusedWithoutDatabase from error  # what was written is carried out by nobody who doesn't confirm it
        return batch, replace(waiting, alerts=wanted)

    def _chosen(self, asked: Batch, waiting: Decidable, values: Collection[str]) -> tuple[Batch, Sequence[Alert]]:
        """Return a batch with its items, and what they are about."""
        wanted = cards.listing.chosen(waiting.alerts, values)
        if not wanted:
            raise NothingSelected
        names = cards.listing.names(waiting.alerts)
        firsts = half_approved(wanted, waiting.firsts, self.config)
        half = {ref for ref, first in firsts.items() if first.user_id != asked.actor.user_id}
        items = [
            BatchItem(number, alert.ref, names[alert.ref], self._shown(alert, is_half=alert.ref in half))
            for number, alert in enumerate(wanted)
        ]
        # Of everything that its confirmation shows, so that what is confirmed is what was kept.
        batch = replace(asked, items=items)
        return replace(batch, id=uuid.uuid5(uuid.NAMESPACE_URL, repr(batch)).hex), wanted

    def _shown(self, alert: Alert, *, is_half: bool) -> SeenState:
        shown = alert.remediation
        is_first = self.config.needs_two(shown.mode, alert.history) and not is_half
        holds = tuple(alert.hold.keys) if alert.hold else ()
        return SeenState(shown.mode, shown.state, shown.episode_key, is_first=is_first, holds=holds)

    async def confirm(self, batch_id: str, actor: Actor, reason: str) -> Receipt:
        """Begin a batch.

        Raises:
            NotConfirmed: it was begun already, is not known, or somebody else confirms than asked.
        """
        try:
            job = await in_time(self.clock, RECEIVE_SECONDS, self.store.confirm(batch_id, actor.user_id, reason))
        except StorageUnavailable as error:
            unrecorded = NotRecorded("selection", sent=False) if error.in_doubt else RefusedWithoutDatabase()
            return Unrecorded(unrecorded, self._take_back(batch_id, actor))
        if job is None:
            raise NotConfirmed
        return self.decisions.handle(job)

    async def _take_back(self, batch_id: str, actor: Actor) -> None:
        """Make sure that what could not be confirmed to have begun isn't carried out, then say so."""
        take_back = partial(self.store.database.run, batches.take_back, batch_id)
        if await forever(self.clock, take_back):
            await self.decisions.refuse(ReplyTarget(None, actor.user_id), RefusedWithoutDatabase())

    async def stop(self, leased: LeasedEntry) -> bool:
        """Leave alone what of a batch has not begun. Returns True: the digest says it.

        Raises:
            NotAllowed: the actor may not.
            NothingToStop: it has ended, or was stopped before.
            StorageUnavailable: it may have been written, or not.
        """
        asked = leased.entry
        if not leased.is_acted:
            await self.policy.authorize(Verb.CANCEL, asked.actor, asked.place.channel_id)
        if not await leased.act(batches.stop, asked.value, asked.actor, asked.place.channel_id):
            raise NothingToStop
        return True
