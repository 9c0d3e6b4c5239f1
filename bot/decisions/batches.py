"""Selections: what one person chose in a digest, shown to them first, and once confirmed carried out as decisions."""

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from bot import cards
from bot.clock import Clock
from bot.decisions.guardrails import paused
from bot.decisions.inbox import Held
from bot.decisions.service import RECEIVE_SECONDS, DecisionService, Receipt, Unrecorded
from bot.decisions.storing import Storing
from bot.errors import (
    NotConfirmed,
    NothingSelected,
    NothingToStop,
    NotRecorded,
    RefusedWithoutDatabase,
    StorageUnavailable,
)
from bot.models import (
    Actor,
    Alert,
    Batch,
    BatchItem,
    RemediationRef,
    RepairLoad,
    ReplyTarget,
    SeenState,
    Verb,
    chosen,
    still_waiting,
)
from bot.policy import Policy
from bot.store import Approvals, Batches, DecisionStore, Messages, Pauses, stop_batch

logger = logging.getLogger(__name__)


class BatchService:
    """Asks before a batch, and begins it. Each of its decisions then takes the way of every other one."""

    def __init__(self, decisions: DecisionService, policy: Policy, store: DecisionStore, clock: Clock) -> None:
        self._decisions = decisions
        self._policy = policy
        self._store = store
        self._messages = Messages(store.database)
        self._batches = Batches(store.database)
        self._pauses, self._approvals = Pauses(store.database), Approvals(store.database)
        self._clock = clock
        self._storing = Storing(clock)

    async def waiting(self, digest_id: str) -> Sequence[Alert]:
        """Return what of a digest waits for approval.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        snapshot = await self._messages.load(digest_id)
        return still_waiting(snapshot.alerts, snapshot.batches) if snapshot else []

    async def ask(  # noqa: PLR0913, PLR0917 - what was pressed, by whom and where
        self, verb: Verb, digest_id: str, values: Sequence[str], actor: Actor, place: ReplyTarget, trigger_id: str
    ) -> tuple[Batch, Sequence[Alert], Mapping[RemediationRef, str], RepairLoad | None] | None:
        """Keep what an authorized person selected until it is confirmed; None for a redelivery of the same press.

        Returns:
            It, what it is about, what nodes are called, and how much of their cluster is in repair, where it is one.

        Raises:
            NothingSelected: nothing of it waits any more.
            Paused: approvals are paused in all of its clusters.
            StorageUnavailable: it could not be written.
        """
        open_ones = await self.waiting(digest_id)
        wanted = chosen(open_ones, values)
        if not wanted:
            raise NothingSelected
        if verb is Verb.APPROVE:
            await self._check_pauses({each.remediation.cluster_id for each in wanted})
        names = cards.listing.names(open_ones)
        items = [
            BatchItem(number, each.ref, names[each.ref], SeenState(each.mode, each.state, each.episode_key))
            for number, each in enumerate(alert.remediation for alert in wanted)
        ]
        batch_id = uuid.uuid5(uuid.NAMESPACE_URL, f"selection {trigger_id}").hex
        kept_place = ReplyTarget(place.channel_id, place.user_id)
        batch = Batch(batch_id, digest_id, verb, actor, kept_place, asked_at=0.0, items=items)
        if not await self._batches.ask(batch):
            return None
        clusters = {each.remediation.cluster_id for each in wanted}
        known = max((each.share for each in wanted if each.share), key=lambda each: each.at, default=None)
        load = await self._approvals.load_now(clusters.pop(), known) if len(clusters) == 1 else None
        return batch, wanted, names, load

    async def _check_pauses(self, clusters: Collection[str]) -> None:
        """Return where anything of it could be approved now.

        Raises:
            Paused: approvals are paused in all of these clusters.
        """
        pauses = [await self._pauses.active(each) for each in clusters]
        if all(pauses) and pauses[0]:
            raise paused(pauses[0])

    async def confirm(self, batch_id: str, actor: Actor) -> Receipt:
        """Begin a batch.

        Raises:
            NotConfirmed: it was begun already, is not known, or somebody else confirms than asked.
        """
        try:
            async with self._clock.timeout(RECEIVE_SECONDS):
                job = await self._store.confirm(batch_id, actor.user_id)
        except (StorageUnavailable, TimeoutError) as error:
            is_known = isinstance(error, StorageUnavailable) and not error.in_doubt
            unrecorded = RefusedWithoutDatabase() if is_known else NotRecorded("selection", sent=False)
            return Unrecorded(unrecorded, self._take_back(batch_id))
        if job is None:
            raise NotConfirmed
        return self._decisions.begin(job)

    async def stop(self, held: Held) -> None:
        """Leave alone what of a batch has not begun.

        Raises:
            NotAllowed: the actor may not.
            NothingToStop: it has ended, or was stopped before.
            StorageUnavailable: it may have been written, or not.
        """
        asked = held.entry
        await self._policy.authorize(Verb.CANCEL, asked.actor, asked.place.channel_id)
        if not await held.act(stop_batch, asked.value, asked.actor, asked.place.channel_id):
            raise NothingToStop

    async def _take_back(self, batch_id: str) -> None:
        """Make sure that a batch is not carried out whose beginning could not be confirmed."""
        await self._storing.forever(partial(self._batches.take_back, batch_id))
