"""The watch: one process at a time reads Together's clusters and keeps the alert channels current."""

import asyncio
import logging
import sys
from contextlib import suppress
from http import HTTPStatus

from bot import metrics
from bot.clock import Clock, WaitReason
from bot.errors import DirectoryUnavailable, LeaseLost, PostFailed, StorageUnavailable
from bot.logs import lasting
from bot.models import ARRIVED_SECONDS, HISTORY_DAYS, AlertChannels, Directory, Impacts, RemediationRef
from bot.store import RENEWED_AFTER, DecisionStore, LeasedDatabase, audit, clusters, messages, moments, pauses
from bot.tasks import cancel
from bot.together import TogetherClient
from bot.watcher import checks, comparison, fault_teller, faults, outages, poller, reconciler, summary, teller
from bot.watcher.ages import Ages
from bot.watcher.config import Warn, WatchConfig, unknown_clusters
from bot.watcher.index import TrackedIndex
from bot.watcher.intake import Intake
from bot.watcher.workqueue import Lane, WorkQueue

logger = logging.getLogger(__name__)

TICK = 3.0
AGAIN_SECONDS = 5.0  # after a failure of the database
FAILING_AGAIN = 60.0  # what couldn't be read is read again
COMPARE_EVERY = 3600.0
LOOK_AT_DOUBTS_EVERY = 60.0
# Slack says 20 times a minute who is in a group (docs.slack.dev, usergroups.users.list), and decisions ask it too.
SECONDS_PER_LOOK_UP = 4.0
SECONDS_PER_CHANNEL = 1.3  # Slack lets about 50 be read a minute (docs.slack.dev, conversations.history)
_DAY = 86_400.0
_KEY = "TOGETHER_API_KEY"
_FAILED = "Watching the clusters failed, and is tried again. Until it works, alerts may be missing. The log says why."


class Watcher:
    """Finds what waits for approval, announces it once, and follows it to its end.

    The poller lists clusters; the intake writes down what has changed and puts messages on the queue; the reconciler
    takes them from there and makes each say what it should.

    Args:
        impacts: says who is affected by a broken node; None where nothing does.
    """

    def __init__(  # noqa: PLR0913 - what watching needs
        self,
        *,
        together: TogetherClient,
        store: DecisionStore,
        channels: AlertChannels,
        directory: Directory,
        config: WatchConfig,
        clock: Clock,
        warn: Warn,
        impacts: Impacts | None,
    ) -> None:
        self._channels = channels
        self._directory = directory
        self._warn = warn
        self._config = config
        self._clock = clock
        self._database = database = LeasedDatabase(store.database, "watch", config.lease_seconds, clock)
        self._queue = WorkQueue(clock.monotonic)
        self._index = index = TrackedIndex()
        self._is_watching = False
        self._poller = poller.Poller(together, config.clusters, index, clock)
        self._ages = Ages(database, index, self._queue, config, clock)
        self._intake = Intake(database, index, self._ages, self._queue, self._poller, config, clock)
        shared = database, channels, self._queue, config, clock
        self._comparer = comparison.Comparer(*shared, warn)
        self._outages = outages.OutageTeller(*shared, self._comparer)
        self._reports = faults.FaultReports(database, clock, max(faults.FRESH_SECONDS, config.stale_seconds))
        self._faults = faults.FaultWatch(together, self._reports, database, self._poller, config, clock)
        self._fault_teller = fault_teller.FaultTeller(*shared, self._reports, self._comparer)
        self._summary = summary.SummaryTeller(*shared, self._reports, directory)
        looks = checks.Checks(database, together, self._reports, config.cards.verify_seconds, clock)
        self._reconciler = reconciler.Reconciler(
            *shared,
            index=index,
            impacts=impacts,
            writers={
                outages.KEY: self._outages.tell,
                fault_teller.KEY: self._fault_teller.tell,
                summary.KEY: self._summary.tell,
            },
            teller=teller.ThreadTeller(*shared, looks),
            comparer=self._comparer,
            warn=warn,
        )

    async def run(self) -> None:
        """Watch forever, whenever no other process does."""
        while True:
            pause = self._pause
            try:
                if await self._acquire():
                    self._is_watching = True
                    await self._watch()
                else:
                    self._warn("watch", "")  # another process does it
            except StorageUnavailable as error:
                logger.warning("Watch: can't reach the database: %s", error, extra=lasting())
                pause = min(pause, AGAIN_SECONDS)
            except Exception:  # clicks and commands must keep working, and so must the attempts
                logger.exception("Couldn't start watching; retrying", extra=lasting())
            finally:
                self._is_watching = False
                config = self._config
                for about in (_KEY, *config.channels, *config.named, *config.called):  # the process that watches knows
                    self._warn(about, "")
            await self._clock.sleep(pause, WaitReason.LEASE)

    def measure(self) -> None:
        """Bring the gauges of the watch up to date."""
        metrics.IS_WATCHING.set(self._is_watching)
        metrics.WATCH_LAG.set(self._ages.lag if self._is_watching else 0.0)
        for lane in Lane:
            metrics.QUEUE.labels(lane.value).set(self._queue.waiting(lane) if self._is_watching else 0)
        self._faults.measure(is_watching=self._is_watching)

    async def end(self) -> None:
        """Let the next process watch at once."""
        await self._poller.stop()
        await self._database.release()

    @property
    def _pause(self) -> float:
        return self._config.lease_seconds * RENEWED_AFTER

    async def _acquire(self) -> bool:
        """Take the lease. What was read before is kept only if nobody can have read what is newer since."""
        with suppress(LeaseLost):
            self._database.ensure_held()  # it isn't where the machine slept, which a reading's age doesn't show
            if await self._database.renew():
                self._poller.drop_old()
                return True
        await self._poller.stop()
        return await self._database.acquire()

    async def _watch(self) -> None:
        """Watch until this process is not sure any more that it is the only one.

        No task group: docs/decisions/0005.

        Raises:
            StorageUnavailable: all must be loaded again, but what Together has just said isn't lost.
        """
        tasks = {asyncio.create_task(self._keep_lease(), name="watch keep_lease")}
        try:
            is_first = await self._begin()
            loops = (
                self._poll(), self._take_in(), self._tick(), self._compare(is_first=is_first), self._look_up_reached(),
                self._reconciler.work(), *(self._faults.read() for _ in range(faults.READERS)),
            )  # fmt: skip
            tasks |= {asyncio.create_task(loop, name="watch") for loop in loops}
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        except LeaseLost:
            logger.warning("Stopped watching: another process may watch")
        except StorageUnavailable:
            raise
        except Exception:  # clicks and commands must keep working
            await self._poller.stop()  # or what it has read might do it again
            logger.exception("Watch failed; restarting", extra=lasting())
            self._warn("watch", _FAILED)
        finally:
            await cancel(tasks)

    async def _begin(self) -> bool:
        """Begin with what the last process knew. Returns whether there was none."""
        self._queue.clear()
        self._config.refused.channels.clear()
        self._config.refused.edits.clear()
        await self._reconciler.begin(await self._database.read(messages.due, at_most=sys.maxsize))
        await self._comparer.begin()
        self._poller.begin(await self._database.read(clusters.sizes), await self._database.read(clusters.names))
        await self._outages.load()
        await self._reports.load()  # before its readers: the fault teller begins with the clusters in it
        self._faults.begin()
        self._fault_teller.begin()
        await self._summary.begin()
        await self._ages.begin()  # before Slack is asked, which may take long: nothing is read until then
        is_first = await self._database.read(messages.is_first)
        since = self._clock.now() - (HISTORY_DAYS * _DAY if is_first else 0.0)
        # Where the database was lost, cards are in the channels that this one does not know; they are followed again.
        cards: dict[RemediationRef, tuple[str, str]] = {}
        for number, channel_id in enumerate(sorted(self._config.channels)):
            if is_first and number:
                await self._clock.sleep(SECONDS_PER_CHANNEL, WaitReason.SLACK_LIMIT)
            try:
                found = await self._channels.find(since, channel_id)
            except PostFailed as error:
                logger.warning("Can't read the alert channel %s right now: %s", channel_id, error)
                if error.is_lasting:
                    self._warn(channel_id, f"Can't post alerts in {channel_id}: {error}.")
                continue
            if found is None:
                logger.warning(
                    "Can't read the alert channel %s: an alert may be posted twice after a crash. Add the scopes "
                    "channels:history and groups:history to the app, and invite it to the channel.",
                    channel_id,
                )
            else:
                cards |= {
                    about: (channel_id, all_ts[0])
                    for about, all_ts in found.messages.items()
                    if isinstance(about, RemediationRef)
                }
        await self._intake.begin(cards if is_first else None)
        logger.info("Watching")
        return is_first

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep(self._pause, WaitReason.LEASE)
            try:
                is_ours = await self._database.renew()
            except StorageUnavailable:
                self._database.ensure_held()
            else:
                if not is_ours:
                    raise LeaseLost

    async def _poll(self) -> None:
        """Read every cluster, round after round; what couldn't be read sooner, as people are told that it's retried."""
        next_at = 0.0
        while True:
            sequence, _ = await self._database.read(audit.last_row)
            is_due = self._clock.monotonic() >= next_at
            names = await self._poller.start_round(sequence, only_failing=not is_due)
            if names is not None:
                self._intake.backlog.names = names
                self._index.keep(names, self._clock.monotonic())
                await self._outages.keep(names)
                await self._faults.keep(names)
            now = self._clock.monotonic()
            next_at = now + self._config.poll_seconds if is_due else next_at
            await self._clock.sleep(min(max(0.0, next_at - now), FAILING_AGAIN), WaitReason.POLL)

    async def _take_in(self) -> None:
        """Take what was listed, one cluster after the other."""
        while True:
            listing = await self._poller.next_listing()
            if listing.error:
                about = listing.cluster_id or "list", type(listing.error).__name__
                logger.warning("Can't read cluster %s: %s", *about, extra=lasting())
                if listing.error.http_status == HTTPStatus.UNAUTHORIZED:
                    self._warn(_KEY, f"{listing.error.why} Check {_KEY}.")
                await self._outages.failed(listing.cluster_id)
            elif listing.alone is None:
                self._warn(_KEY, "")
                if not listing.is_gone:
                    await self._outages.succeeded(listing.cluster_id)
            if listing.cluster_id:
                await self._intake.take(listing)
                await self._faults.take(listing)
            elif not listing.error:
                sized = {cluster_id: cluster.nodes for cluster_id, cluster in self._poller.clusters.items()}
                await self._database.run(clusters.keep, self._poller.cluster_names, sized)
                self._index.confirm("", (), listing.asked_at)
                await self._intake.take_ended(listing, self._poller.clusters.values())
                for name, unknown in unknown_clusters(self._config.named, self._poller.clusters):
                    self._warn(name, unknown)
            self._poller.taken()

    async def _compare(self, *, is_first: bool) -> None:
        """Compare with Slack once what an earlier process sent has arrived, then every hour, and after a doubt."""
        due_at = self._clock.monotonic() + (COMPARE_EVERY if is_first else ARRIVED_SECONDS)
        is_takeover = not is_first
        while True:
            left = due_at - self._clock.monotonic()
            await self._clock.sleep(max(0.0, min(left, LOOK_AT_DOUBTS_EVERY)), WaitReason.COMPARE)
            self._warn("watch", "")  # it has worked for so long
            self._config.refused.edits.clear()  # an edit of each is tried once more
            if self._config.refused.channels:  # what stayed because of them is looked at once more
                self._config.refused.channels.clear()
                await self._database.run(pauses.wake, "")
            await self._ages.compare()
            if self._clock.monotonic() < due_at:
                await self._comparer.compare(only_doubted=True)
                continue
            await self._database.run(moments.note, {moments.WATCHED: self._clock.now()})
            await self._comparer.compare(is_takeover=is_takeover)
            if is_takeover:  # what it shows, and when it is due, is by the settings of the process before
                await self._database.run(pauses.wake, "")
            due_at, is_takeover = self._clock.monotonic() + COMPARE_EVERY, False

    async def _look_up_reached(self) -> None:
        """Report what the settings name though it reaches nobody: a channel may be archived since, or a user gone."""
        while True:
            for channel_id in sorted(self._config.channels):
                await self._clock.sleep(SECONDS_PER_LOOK_UP, WaitReason.COMPARE)
                if await self._comparer.may_post(channel_id):
                    self._warn(channel_id, "")
            for called in self._config.called:
                await self._clock.sleep(SECONDS_PER_LOOK_UP, WaitReason.COMPARE)
                with suppress(DirectoryUnavailable):
                    lacks, fix = await self._lack_of(called), "Check BOT_ONCALL, BOT_ROUTES, and BOT_ESCALATE."
                    self._warn(called, lacks and f"Alerts call {called}, but {lacks}. {fix}")
            await self._clock.sleep(COMPARE_EVERY, WaitReason.COMPARE)

    async def _lack_of(self, called: str) -> str:
        """Return why a group or a user that is called reaches nobody; empty where they do."""
        if called[0] == "S":  # guests and bots can't be in one (docs.slack.dev, usergroups.users.update)
            return "" if await self._directory.members(called) else "that group has no members"
        person = await self._directory.person(called)
        return "" if person.is_active else "that isn't a person with an active account"

    async def _tick(self) -> None:
        """Requeue what is due by time or changed by other processes."""
        while True:
            await self._clock.sleep(TICK, WaitReason.TICK)
            await self._ages.look()  # before anybody is called for what is old
            for message_id in await self._database.read(messages.due):
                self._queue.put(message_id)
            await self._intake.release_backlog()
            self._outages.look()
            await self._reports.refresh()
            await self._reports.note_age()
            self._fault_teller.look()
            self._summary.look()
