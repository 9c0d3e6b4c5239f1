"""Keeps one message per cluster current about what is wrong in it as a whole, and calls who is on call."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from bot.cards import faults, moved_cluster
from bot.errors import PostFailed, PostUncertain
from bot.logs import lasting
from bot.models import ARRIVED_SECONDS, Fault, FaultMessage, FaultReport, Message, new_id
from bot.models.fault import FORGOTTEN_SECONDS
from bot.readings import CLEARS_SECONDS
from bot.store import read_clock
from bot.store.outbox import Data
from bot.tasks import finish
from bot.watcher.comparison import LATE_SECONDS, Comparer
from bot.watcher.faults import FRESH_SECONDS, FaultReports
from bot.watcher.workqueue import Lane, Laned
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)

KEY = "faults of "  # begins a key of the queue; a cluster's ID follows
CALM_SECONDS = 300.0  # between two replies that call people
LOOKED_FOR_SECONDS = CLEARS_SECONDS + 2 * FRESH_SECONDS  # a repair's thread calls for what didn't stop until then


class FaultStep(Laned):
    """What the message about a cluster needs next, and which lane does it."""

    POST = Lane.REPLY, "post"
    REPLY = Lane.REPLY, "reply"
    FIND = Lane.REPLY, "find"
    EDIT = Lane.EDIT, "edit"
    END = Lane.EDIT, "end"
    MOVE = Lane.EDIT, "move"


@dataclass(frozen=True, slots=True)
class FaultView:
    """What the message about a cluster should say now.

    Attributes:
        overdue: the faults for which people should be called, or were.
        draw: gives what it shows, with the mention of who was called.
        is_fresh: the alerts were read lately: nobody is called, and nothing said to be over, by what is old.
        as_of: when they were, where that is long ago; else 0, or where nobody knows.
        is_over: nothing is left that the message is about.
        channel_id: of the message.
        is_elsewhere: the cluster's alerts go to another channel now.
        is_stuck: Slack took no edit of the message a moment ago: that keeps nobody from being called.
    """

    report: FaultReport
    overdue: list[Fault]
    draw: Callable[[], Message]
    is_fresh: bool
    as_of: float
    is_over: bool
    channel_id: str
    is_elsewhere: bool
    is_stuck: bool

    @property
    def news(self) -> frozenset[str]:
        """The keys of what people weren't called for yet."""
        fresh = {fault.key for fault in self.overdue} if self.is_fresh else frozenset()
        return frozenset(self.report.brake_key | fresh).difference(self.report.told)

    def step(self) -> FaultStep | None:
        """Return what the message needs next; None for nothing."""
        report, message = self.report, self.report.message
        if not (message and message.mark):
            return self._step()
        # In a channel that can't be read, what was sent twice counts as told, and is looked for beside the rest.
        counts_as_told = message.is_repeated and message.calls <= report.told.keys()
        return (counts_as_told and self._step()) or FaultStep.FIND

    def _step(self) -> FaultStep | None:  # noqa: PLR0911 - one line for each step, in their order
        report, message = self.report, self.report.message
        if self.is_over:
            if self.is_fresh or report.is_of_brake or not report.is_watched:
                return FaultStep.END if message or report.is_announced else None
            return FaultStep.EDIT if self.as_of and self._is_outdated else None
        if self.is_elsewhere and (self.is_fresh or report.brake_key):  # else nothing is posted there
            return FaultStep.MOVE
        if message is None:
            is_silent = self.is_fresh and any(fault.key not in report.on_cards for fault in self.overdue)
            return FaultStep.POST if self.news or report.brake_key or is_silent else None
        if not message.ts:
            return FaultStep.POST if self.news else None
        if self._is_outdated or _says_paused(report, message):
            return FaultStep.EDIT
        return FaultStep.REPLY if self.news else None

    @property
    def _is_outdated(self) -> bool:
        message = None if self.is_stuck else self.report.message
        return message is not None and message.takes_edits and message.content_hash != self.draw().fingerprint


def _says_paused(report: FaultReport, message: FaultMessage) -> bool:
    """Return whether a message that takes no edits says that approvals are paused, and they aren't any more."""
    return message.is_read_only and message.has_brake and not report.brake_key


@dataclass(slots=True)
class FaultTeller(Writer):
    """Writes the messages."""

    reports: FaultReports
    comparer: Comparer
    _arrives_by: dict[str, float] = field(init=False)
    _doubted: set[str] = field(default_factory=set, init=False)
    _called_at: dict[str, float] = field(default_factory=dict, init=False)
    # What the messages were last drawn from, and how they look: each is looked at with every tick.
    _drawn: dict[str, tuple[object, Message]] = field(default_factory=dict, init=False)

    def begin(self) -> None:
        """Wait for what an earlier watch has sent: it arrives by then, or never will."""
        arrived = self.clock.monotonic() + ARRIVED_SECONDS
        self._arrives_by = dict.fromkeys(self.reports.clusters, arrived)

    def look(self) -> None:
        """Queue the clusters whose message needs work, for its channel's next turn."""
        now = self.clock.monotonic()
        for cluster_id in self.reports.clusters:
            try:
                view = self._view(cluster_id)
                step = view.step()
            except Exception:  # what is odd about one cluster must not blind the bot to all others
                logger.exception("Cluster %s: drawing what is wrong failed", cluster_id, extra=lasting())
                continue
            is_early = step is FaultStep.REPLY and now < self._called_at.get(cluster_id, -CALM_SECONDS) + CALM_SECONDS
            if step and not is_early and now >= self._arrives_by.get(cluster_id, 0.0):
                self.queue.put(f"{KEY}{cluster_id}", step.lane, view.channel_id)

    async def tell(self, cluster_id: str, lane: Lane) -> None:
        """Do the next thing that the message of a cluster needs, at a turn that was waited for.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked at the next time.
        """
        view = self._view(cluster_id)
        step = view.step()
        if step is None or step.lane is not lane:
            return
        self.database.ensure_held()
        channel_id = self.config.route(cluster_id).channel_id
        if step is FaultStep.FIND:
            await self._find(cluster_id)
        elif step is FaultStep.MOVE:
            if await self.comparer.may_post(channel_id):
                await finish(self._move(cluster_id, view.report, channel_id))
        elif lane is Lane.EDIT:
            await finish(self._edit(cluster_id, view, step))
        else:
            await finish(self._send(cluster_id, view, is_reply=step is FaultStep.REPLY))

    def _view(self, cluster_id: str) -> FaultView:
        report = self.reports[cluster_id]
        now = self.clock.now()
        route = self.config.route(cluster_id)
        message, overdue = report.message, report.overdue(now, self.config.unrepaired_seconds)
        # Once it is there, it shows the younger ones too.
        left = report.worst if self.config.unrepaired_seconds else overdue
        is_over = not (left or report.brake) or not report.is_watched
        read_at = self.reports.read_at.get(cluster_id, (0.0, 0.0))[1]
        # The thread of a repair calls for what didn't stop with it, with the first reading that can say so.
        clearing = {
            fault.key
            for fault in left
            if fault.key in report.on_cards
            and min(now, read_at) < fault.since + CLEARS_SECONDS
            and now < fault.since + LOOKED_FOR_SECONDS
        }
        overdue = [fault for fault in overdue if fault.key not in clearing]
        is_fresh = self.reports.is_fresh(cluster_id)
        # A message of release 0.1.0 knows it where its report doesn't.
        as_of = 0.0 if is_fresh else self.reports.as_of(cluster_id) or (message.as_of if message else 0.0)
        if is_over:
            draw = partial(faults.none_left, report, now, as_of)
        else:
            oncall = message.called if message and message.called is not None else route.oncall
            oncall = "" if message and message.is_read_only else oncall  # a reply would call once more
            firing = [fault for fault in left if fault.key not in clearing] or left
            shown = firing if message and message.ts else overdue
            draw = partial(faults.unrepaired, cluster_id, report, shown, oncall, as_of)
        channel_id = message.channel_id if message else route.channel_id
        is_elsewhere = channel_id != route.channel_id and route.channel_id not in self.config.refused.channels
        is_stuck = f"{KEY}{cluster_id}" in self.config.refused.edits
        draw = partial(self._draw, cluster_id, draw)
        return FaultView(report, overdue, draw, is_fresh, as_of, is_over, channel_id, is_elsewhere, is_stuck)

    def _draw(self, cluster_id: str, draw: partial[Message]) -> Message:
        of = draw.func, draw.args
        if cluster_id not in self._drawn or self._drawn[cluster_id][0] != of:
            self._drawn[cluster_id] = of, draw()
        return self._drawn[cluster_id][1]

    async def _send(self, cluster_id: str, view: FaultView, *, is_reply: bool) -> None:
        """Post the message, or a reply that calls people for what has come since."""
        report, new = view.report, view.news
        oncall = self.config.route(cluster_id).oncall
        if is_reply:
            braked = report.brake if report.brake_key & new else None
            further = [fault for fault in view.overdue if fault.key in new]
            said = faults.more_unrepaired(
                replace(report, brake=braked), further, self.config.unrepaired_seconds, oncall
            )
        else:
            # By what was read long ago nobody is called, so it isn't beside the mention either.
            shown = [fault for fault in view.overdue if fault.key in {*new, *report.told}]
            said = faults.unrepaired(cluster_id, report, shown, oncall if new else "", view.as_of)
        known = replace(report.message or FaultMessage(view.channel_id), as_of=view.as_of)
        sent_at = await self.database.read(read_clock)
        # What was to be repeated may have gone before: a call for others, or of much later, is another one.
        is_same = new <= known.calls and sent_at - known.sent_at < FORGOTTEN_SECONDS
        is_repeated = known.is_repeated and not known.mark and is_same
        called = oncall if new else known.called or ""
        sending = replace(known, mark=new_id(), sent_at=sent_at, calls=new, is_repeated=is_repeated, called=called)
        keys = new.union(report.told) - report.announced  # also of what fires again, and calls nobody again
        untold = {fault.key: fault.alert.node for fault in view.overdue if fault.key in keys}
        news: Data | None = {"is_over": False, "nodes": len({*untold.values()})} if untold else None

        def leaving(known: FaultReport) -> FaultReport:
            is_announced = known.is_announced or bool(untold)
            return replace(known, message=sending, announced=known.announced.union(untold), is_announced=is_announced)

        # Before it leaves, so that the next process with the watch looks for it.
        await self.reports.change(cluster_id, leaving, told=news)
        if report.brake_key - self.reports[cluster_id].brake_key:  # somebody has resumed since
            await self._keep(cluster_id, known if known.ts else None)
            return
        self.database.ensure_held()  # that may have taken so long that another process calls by now
        self._called_at[cluster_id] = self.clock.monotonic()
        is_in_thread = is_reply and not known.is_locked
        try:
            ts = await self.channels.post(
                said,
                channel_id=known.channel_id,
                mark=sending.mark,
                thread_ts=known.ts if is_in_thread else None,
                broadcast=is_in_thread,
            )
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            left = known if (known.ts or known.is_repeated) and not error.is_gone else None
            if left and is_in_thread and error.is_lasting:
                left = replace(left, is_locked=True)
            await self._keep(cluster_id, left)
            raise
        await self._arrived(cluster_id, ts, said.fingerprint)

    async def _keep(self, cluster_id: str, message: FaultMessage | None) -> None:
        await self.reports.change(cluster_id, partial(replace, message=message))

    async def _arrived(self, cluster_id: str, ts: str, fingerprint: str = "") -> None:
        """Note that a post is in the channel, or a reply in the thread."""

        def arrived(known: FaultReport) -> FaultReport:
            assert known.message is not None  # noqa: S101 - it was sent
            return replace(known.having_told(known.message.calls), message=known.message.arrived(ts, fingerprint))

        await self.reports.change(cluster_id, arrived)

    async def _edit(self, cluster_id: str, view: FaultView, step: FaultStep) -> None:
        """Bring the message up to date, or its thread. At the end it says so, and is left."""
        report, message = view.report, view.report.message
        if step is FaultStep.END and report.is_announced:  # other tools wait for nothing that Slack may refuse
            told: Data = {"is_over": True, "is_watched": report.is_watched}
            await self.reports.change(cluster_id, partial(replace, is_announced=False), told=told)
        if message and message.takes_edits:
            message = await self._change(cluster_id, view, message)
        if message and message.is_read_only and (step is FaultStep.END or _says_paused(report, message)):
            await self._keep(cluster_id, message)  # or the reply would call for what a later one calls for
            await self._reply_instead(message, self._view(cluster_id).draw())
            message = replace(message, has_brake=False)
        if step is FaultStep.EDIT:
            change = partial(replace, message=message)
        elif cluster_id in self._doubted:  # an earlier edit may arrive over this one: it is made once more
            self._doubted.discard(cluster_id)
            self._arrives_by[cluster_id] = self.clock.monotonic() + LATE_SECONDS
            return
        else:
            change = partial(replace, message=None)
            self._drawn.pop(cluster_id, None)
        await self.reports.change(cluster_id, change)

    async def _reply_instead(self, message: FaultMessage, said: Message) -> None:
        """Say in the thread what the message itself can't any more; where Slack never takes that, nowhere."""
        try:
            await self.channels.post(said, channel_id=message.channel_id, thread_ts=message.ts)
        except PostUncertain:
            logger.warning("Whether a message's end is in its thread isn't clear")
        except PostFailed as error:
            if not error.is_lasting:
                raise

    async def _move(self, cluster_id: str, report: FaultReport, channel_id: str) -> None:
        """Leave the message with a pointer: it is posted, and calls, where the cluster's alerts go now."""
        message = report.message
        if message and message.takes_edits:
            is_stuck = self.queue.is_stuck(f"{KEY}{cluster_id}", Lane.EDIT)
            await self._keep(cluster_id, replace(message, content_hash=""))  # it may not move after all
            self.database.ensure_held()
            pointer = moved_cluster(report.cluster or cluster_id, channel_id)
            await self.comparer.edit_last(message.ts, pointer, message.channel_id, may_wait=is_stuck)
        self._doubted.discard(cluster_id)  # that was about the message that is left
        await self.reports.change(cluster_id, partial(replace, message=None, told={}))

    async def _change(self, cluster_id: str, view: FaultView, message: FaultMessage) -> FaultMessage | None:
        """Make the message show what it should. Returns what is known of it then; None where it was deleted."""
        shown = view.draw()
        # Before it leaves: if this process dies, what the message shows isn't known.
        await self._keep(cluster_id, replace(message, content_hash=""))
        self.database.ensure_held()
        try:
            await self.channels.update(message.ts, shown, message.channel_id)
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            self._doubted.add(cluster_id)
            raise
        except PostFailed as error:
            if not error.is_lasting:
                raise
            logger.warning("The message about cluster %s can't be changed any more: %s", cluster_id, error)
            return None if error.is_gone else replace(message, is_read_only=True)
        return replace(message, content_hash=shown.fingerprint, as_of=view.as_of)

    async def _find(self, cluster_id: str) -> None:
        """Look for what may have arrived. Where the bot may not read it, it is repeated, but only once."""
        message = self.reports[cluster_id].message
        assert message is not None  # noqa: S101 - it is looked for
        if 0 <= await self.database.read(read_clock) - message.sent_at < ARRIVED_SECONDS:  # clocks can go back
            return
        thread_ts = "" if message.is_locked else message.ts
        ts = await self.channels.look_for(message.mark, message.channel_id, since=message.sent_at, thread_ts=thread_ts)
        if ts or (ts is None and message.is_repeated):
            self.comparer.found(message.channel_id, message.mark)
            self._arrives_by[cluster_id] = self.clock.monotonic() + LATE_SECONDS
            await self._arrived(cluster_id, ts or "")
            return
        again = replace(message, mark="", is_repeated=ts is None)
        left = again if again.ts or again.is_repeated else None

        def missing(known: FaultReport) -> FaultReport:
            told = {key: at for key, at in known.told.items() if key not in message.calls}
            return replace(known, message=left, told=told)

        await self.reports.change(cluster_id, missing)
        if ts is not None and not message.ts:
            self.comparer.lost(message.channel_id, message.mark)
