"""Batches: many decisions that one person confirmed at once, carried out one after the other."""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from bot import cards
from bot.clock import Clock, Pause
from bot.decisions.service import LIFETIME, RECEIVE_SECONDS, DecisionService, Work
from bot.errors import NotAttempted, NotConfirmed, NothingSelected, NotRecorded, StorageUnavailable, StoreDown
from bot.models import (
    Actor,
    Alert,
    AuditNote,
    Batch,
    BatchItem,
    Messenger,
    OutcomeKind,
    Place,
    RemediationRef,
    Request,
    Shown,
    Verb,
)
from bot.mrkdwn import lasted
from bot.policy import Policy
from bot.store import Batches, DecisionStore, Digests, decision_key
from bot.tasks import finish

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
PATIENCE_WITH_SLACK = 1.0  # a dialog must be opened within 3 s of the click (docs.slack.dev, trigger_id)
TROUBLES = 3  # in a row, after which the fault is not the node's


class BatchRunner:
    """Asks before a batch, and carries it out.

    Each of its decisions goes the way of every other one, with a key by which it happens once, whoever runs the batch.

    Args:
        decisions: carries out a single one.
        policy: who may.
        messenger: tells the person alone.
        store: where decisions stand.
        clock: for waits.
    """

    def __init__(
        self, decisions: DecisionService, policy: Policy, messenger: Messenger, store: DecisionStore, clock: Clock
    ) -> None:
        self._decisions = decisions
        self._policy = policy
        self._messenger = messenger
        self._digests = Digests(store.database)
        self._batches = Batches(store.database)
        self._clock = clock

    async def waiting(self, digest_id: str) -> Sequence[Alert]:
        """What of a digest waits for a human.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        look = await self._digests.look(digest_id)
        if look is None:
            return []
        return cards.many.waiting(
            [replace(each, hold=None) if each.hold and each.hold.until <= look.now else each for each in look.alerts]
        )

    async def ask(  # noqa: PLR0913, PLR0917 - what was pressed, by whom and where
        self, verb: Verb, digest_id: str, values: Sequence[str], actor: Actor, place: Place, trigger_id: str
    ) -> tuple[Batch, Sequence[Alert], Mapping[RemediationRef, str]] | None:
        """Keep what was selected until it is confirmed; None for a redelivery of the same press.

        Raises:
            NotAllowed: the actor may not.
            NothingSelected: nothing of it waits any more.
            StorageUnavailable: it could not be written.
        """
        try:
            async with self._clock.timeout(PATIENCE_WITH_SLACK):
                await self._policy.authorise(verb, actor, place.channel_id)
        except TimeoutError:
            logger.info("Who %s is was not known in time; it is asked again with every decision", actor.user_id)
        waiting = await self.waiting(digest_id)
        wanted = cards.many.chosen(waiting, values)[: cards.many.MAX_CHOSEN]
        if not wanted:
            raise NothingSelected
        names = cards.many.names(waiting)
        batch_id = uuid.uuid5(uuid.NAMESPACE_URL, f"selection {trigger_id}").hex
        batch = Batch(batch_id, digest_id, verb, actor, replace(place, original=None), asked_at=0.0)
        items = [
            BatchItem(
                number,
                each.remediation.ref,
                names[each.remediation.ref],
                Shown(each.remediation.mode, each.remediation.state),
            )
            for number, each in enumerate(wanted)
        ]
        return (batch, wanted, names) if await self._batches.ask(batch, items) else None

    async def begin(self, batch_id: str, actor: Actor) -> Work:
        """Begin a batch that was confirmed. Returns the work that is to be done after the ack.

        Raises:
            StoreDown: it was not recorded, so it won't run.
            NotRecorded: it isn't known whether it was recorded: it may still run.
            NotConfirmed: it was begun already, is not known, or somebody else confirms than asked.
        """
        try:
            async with self._clock.timeout(RECEIVE_SECONDS):
                batch = await self._batches.begin(batch_id, actor.user_id)
        except (StorageUnavailable, TimeoutError) as error:
            if isinstance(error, StorageUnavailable) and not error.in_doubt:
                raise StoreDown from error
            raise NotRecorded("selection", sent=False) from error
        if batch is None:
            raise NotConfirmed
        return self._run_confirmed(batch, actor)

    async def _run_confirmed(self, batch: Batch, actor: Actor) -> None:
        confirmed = AuditNote("confirmed", actor, batch.place.channel_id, batch.verb, selection=batch.id)
        await self._decisions.note(confirmed)
        await self.run(batch)

    async def take_back(self, batch_id: str) -> None:
        """Make sure that a batch is not carried out whose beginning could not be confirmed."""
        await self._decisions.retry_until_stored(partial(self._batches.void, batch_id))

    async def take_over(self, *, at_start: bool) -> list[Work]:
        """The work on batches that another process left.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        left = await self._batches.take_over(at_start=at_start)
        return [self.run(batch, stopped=_too_late(seconds)) for batch, seconds in left]

    async def run(self, batch: Batch, *, stopped: str = "") -> None:
        """Carry out what is not done yet, one after the other.

        Args:
            batch: which.
            stopped: why nothing more of it is to be carried out, where that is so.
        """
        try:
            await (self._stop(batch, stopped) if stopped else self._run(batch))
        except StorageUnavailable as error:
            logger.warning("Batch %s is left for later: %s", batch.id, error)
        except asyncio.CancelledError:
            await finish(self._hand_back(batch))
            raise

    async def _run(self, batch: Batch) -> None:
        troubles, stopped = 0, ""
        for item in await self._batches.items(batch.id):
            if not await self._batches.keep(batch.id):
                return  # it was taken back
            outcome = OutcomeKind(item.outcome or await self._one(batch, item))
            if outcome is OutcomeKind.NOT_ALLOWED:
                stopped = "the person who asked may not decide."
                told = NotAttempted((await self._batches.items(batch.id))[item.number].summary, "")
                await self._messenger.whisper(batch.place, cards.private(told))
            if outcome is OutcomeKind.LIMIT_REACHED:
                stopped = "as many nodes of the cluster are in repair as may be at once."
            troubles = troubles + 1 if outcome.is_trouble else 0
            if troubles == TROUBLES:
                stopped = f"Together has failed {TROUBLES} times in a row."
            if stopped:
                break
        await self._batches.finish(replace(batch, stopped=stopped))

    async def _one(self, batch: Batch, item: BatchItem) -> str:
        """Carry out one decision, or wait for whoever does already. Gives back its outcome."""
        request = Request(
            batch.verb,
            item.ref,
            batch.actor,
            Place(batch.place.channel_id, batch.place.user_id),
            shown=item.shown,
            trigger_id=decision_key(batch.id, item.number),
            batch_id=batch.id,
        )
        await self._decisions.carry_out(request)
        return await self._outcome(batch, item)

    async def _outcome(self, batch: Batch, item: BatchItem) -> str:
        while (outcome := await self._batches.outcome(batch.id, item.number)) is None:
            await self._clock.sleep(LOOK_EVERY, Pause.READ_BACK)
            await self._batches.keep(batch.id)
        return outcome

    async def _stop(self, batch: Batch, why: str) -> None:
        """Try no more, and wait for what is under way: it is not to be told as not tried."""
        left = {item.number: item for item in await self._batches.items(batch.id) if item.outcome is None}
        for number in await self._batches.begun(batch.id, list(left)):
            await self._outcome(batch, left[number])
        await self._batches.finish(replace(batch, stopped=why))

    async def _hand_back(self, batch: Batch) -> None:
        try:
            await self._batches.release(batch.id)
        except StorageUnavailable as error:
            logger.warning("Batch %s could not be handed back: %s", batch.id, error)


def _too_late(seconds: float) -> str:
    """Why a batch that lay for so long is not gone on with; empty when it may be."""
    return (
        f"the bot was away for {lasted(seconds)}, and what is that old is no longer sent." if seconds > LIFETIME else ""
    )
