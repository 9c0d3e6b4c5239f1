"""Keeps one message per cluster current about what is wrong in it as a whole, and calls who is on call."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial

from bot import cards
from bot.clock import Clock
from bot.errors import PostFailed, PostUncertain
from bot.models import ARRIVED_SECONDS, AlertChannels, Fault, FaultMessage, FaultReport, Message, new_id
from bot.store import Lease
from bot.tasks import finish
from bot.watcher.comparison import HISTORY_BEFORE
from bot.watcher.config import WatchConfig
from bot.watcher.reports import Reports
from bot.watcher.workqueue import Lane, WorkQueue

logger = logging.getLogger(__name__)

KEY = "faults of "  # begins a key of the queue; a cluster's ID follows


class Step(Enum):
    """What the message about a cluster needs next."""

    POST = "post"
    EDIT = "edit"
    REPLY = "reply"
    FIND = "find"


def next_step(report: FaultReport, overdue: Sequence[Fault], fingerprint: str) -> Step | None:
    """Return what the message needs next; None for nothing.

    Args:
        overdue: the faults that it should tell of.
        fingerprint: of what it should show.
    """
    message, is_wanted = report.message, bool(overdue or report.brake_key)
    if message is None:
        return Step.POST if is_wanted else None
    if message.mark:
        return Step.FIND
    if not message.ts:
        return Step.POST if news(report, overdue) else None if is_wanted else Step.EDIT
    if message.content_hash != fingerprint:
        return Step.EDIT
    return Step.REPLY if news(report, overdue) else None


def news(report: FaultReport, overdue: Sequence[Fault]) -> frozenset[str]:
    """Return the keys of what people weren't called for yet."""
    return (report.brake_key | {each.alert.key for each in overdue}) - report.told


@dataclass(slots=True)
class FaultTeller:
    """Writes the messages.

    Attributes:
        lease: the watch; nothing is written without it.
    """

    reports: Reports
    channels: AlertChannels
    queue: WorkQueue
    lease: Lease
    config: WatchConfig
    clock: Clock
    _arrives_by: dict[str, float] = field(default_factory=dict, init=False)

    def look(self) -> None:
        """Put on the queue the clusters whose message is to be written, for its channel's next turn to post."""
        for cluster_id in self.reports.clusters:
            if self._next(cluster_id) and self.clock.monotonic() >= self._arrives_by.get(cluster_id, 0.0):
                self.queue.put(f"{KEY}{cluster_id}", Lane.REPLY, self._channel_of(cluster_id), urgent=True)

    async def tell(self, cluster_id: str) -> None:
        """Do the next thing that the message of a cluster needs, at its channel's turn to post.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked at the next time.
        """
        step = self._next(cluster_id)
        self.lease.ensure_held()
        match step:
            case Step.POST | Step.REPLY:
                await finish(self._send(cluster_id, is_reply=step is Step.REPLY))
            case Step.EDIT:
                await finish(self._edit(cluster_id))
            case Step.FIND:
                await self._find(cluster_id)

    def _next(self, cluster_id: str) -> Step | None:
        return next_step(self.reports[cluster_id], self._overdue(cluster_id), self._drawn(cluster_id).fingerprint)

    def _overdue(self, cluster_id: str) -> list[Fault]:
        return self.reports[cluster_id].overdue(self.clock.now(), self.config.unrepaired_seconds)

    def _channel_of(self, cluster_id: str) -> str:
        message = self.reports[cluster_id].message
        return message.channel_id if message else self.config.route(cluster_id).channel_id

    def _drawn(self, cluster_id: str, *, calls: bool = True) -> Message:
        report, overdue = self.reports[cluster_id], self._overdue(cluster_id)
        if not overdue and report.brake is None:
            return cards.repaired(report, self.clock.now())
        oncall = self.config.route(cluster_id).oncall if calls else ""
        return cards.unrepaired(cluster_id, report, overdue, oncall)

    async def _send(self, cluster_id: str, *, is_reply: bool) -> None:
        """Post the message, or a reply that calls people for what has come since."""
        report, overdue = self.reports[cluster_id], self._overdue(cluster_id)
        new = news(report, overdue)
        if is_reply:
            said = cards.more_unrepaired(
                replace(report, brake=report.brake if report.brake_key & new else None),
                [each for each in overdue if each.alert.key in new],
                self.config.unrepaired_seconds,
                self.config.route(cluster_id).oncall,
            )
        else:
            said = self._drawn(cluster_id, calls=bool(new))
        known = report.message or FaultMessage(self._channel_of(cluster_id))
        sending = replace(known, mark=new_id(), sent_at=await self.reports.store.now(), calls=new)
        # Before it leaves, so that the next process with the watch looks for it.
        await self.reports.change(cluster_id, partial(replace, message=sending))
        try:
            ts = await self.channels.post(
                said,
                channel_id=known.channel_id,
                mark=sending.mark,
                thread_ts=known.ts or None,
                broadcast=is_reply,
            )
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            left = known if known.ts and not error.is_gone else None
            await self.reports.change(cluster_id, partial(replace, message=left))
            raise
        await self._arrived(cluster_id, ts, said.fingerprint)

    async def _arrived(self, cluster_id: str, ts: str, fingerprint: str = "") -> None:
        """Note that a post is in the channel, or a reply in the thread."""

        def arrived(report: FaultReport) -> FaultReport:
            message = report.message
            assert message is not None  # noqa: S101 - it was sent
            told = report.told | (message.calls & (report.brake_key | {each.alert.key for each in report.faults}))
            return replace(report, told=told, message=message.arrived(ts, fingerprint))

        message, overdue = self.reports[cluster_id].message, self._overdue(cluster_id)
        calls = message.calls if message else frozenset()
        called = {each.alert.node for each in overdue if each.alert.key in calls}
        await self.reports.change(
            cluster_id, arrived, told={"is_over": False, "nodes": len(called)} if called else None
        )

    async def _edit(self, cluster_id: str) -> None:
        """Bring the message up to date; once nothing is wrong, it says so and is left."""
        report, said = self.reports[cluster_id], self._drawn(cluster_id)
        message, is_over = report.message, not self._overdue(cluster_id) and report.brake is None
        assert message is not None  # noqa: S101 - it is edited
        try:
            if message.ts:
                await self.channels.turn_to_update()
                await self.channels.update(message.ts, said, message.channel_id)
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            if not error.is_lasting:
                raise
            logger.warning("The message about cluster %s can't be changed any more: %s", cluster_id, error)
            await self.reports.change(cluster_id, partial(replace, message=None))
            return
        if is_over:
            await self.reports.change(
                cluster_id,
                partial(replace, message=None, told=frozenset()),
                told={"is_over": True} if message.has_faults else None,
            )
        else:
            shown = replace(message, content_hash=said.fingerprint)
            await self.reports.change(cluster_id, partial(replace, message=shown))

    async def _find(self, cluster_id: str) -> None:
        """Look for what may have arrived. Where the bot may not read it, it is repeated, but only once."""
        message = self.reports[cluster_id].message
        assert message is not None  # noqa: S101 - it is looked for
        if 0 <= await self.reports.store.now() - message.sent_at < ARRIVED_SECONDS:  # clocks can go back
            return
        is_there: bool | None
        ts = message.ts
        try:
            if ts:
                is_there = await self.channels.has_reply(message.mark, thread_ts=ts, channel_id=message.channel_id)
            else:
                found = await self.channels.find(message.sent_at - HISTORY_BEFORE, message.channel_id)
                ts = found.marks.get(message.mark, "") if found else ""
                is_there = None if found is None else bool(ts)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            is_there = None
        if is_there or (is_there is None and message.is_repeated):
            await self._arrived(cluster_id, ts)
            return
        again = replace(message, mark="", is_repeated=message.is_repeated or is_there is None)
        await self.reports.change(
            cluster_id, partial(replace, message=again if again.ts or again.is_repeated else None)
        )
