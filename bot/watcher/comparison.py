"""Compares what the channels show with what was last written there, and sets right what differs."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from bot import cards
from bot.errors import PostFailed, PostUncertain
from bot.logs import lasting
from bot.models import (
    HISTORY_BEFORE,
    Found,
    Message,
    RemediationRef,
    Snapshot,
    TrackedMessage,
    decision_part,
)
from bot.store import last_edits, messages, rows
from bot.tasks import finish
from bot.watcher.config import Warn
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)

COMPARED_SECONDS = 7 * 86_400.0  # what was posted before that isn't looked up in the channel's history
CLOSED_SECONDS = 86_400.0  # so long after it was opened a message that is done is compared too
LATE_SECONDS = 60.0  # Slack has executed by then what it left open, as a rule


@dataclass(slots=True)
class Comparer(Writer):
    """Finds what Slack did late or twice, or somebody undid, and makes the last edit of messages that are left."""

    warn: Warn
    _doubted: dict[str, float] = field(init=False)
    _owed: dict[tuple[str, str], Message] = field(init=False)  # what messages that are left are yet to say
    # What may arrive late, by its channel: a mark, a remediation, or a digest's ID. The next watch knows of it, too.
    _lost: set[tuple[str, RemediationRef | str]] = field(default_factory=set, init=False)

    async def begin(self) -> None:
        """Forget the doubts of an earlier watch: everything is compared when one begins."""
        self._doubted, self._owed = {}, await self.database.read(last_edits.owed)

    def doubt(self, channel_id: str) -> None:
        """Look at a channel again in a minute: something may arrive there late."""
        self._doubted[channel_id] = self.clock.monotonic() + LATE_SECONDS

    def lost(self, channel_id: str, about: RemediationRef | str) -> None:
        """Look for what Slack may post late: it's posted again by then, or over and known no more."""
        self._lost.add((channel_id, about))
        self.doubt(channel_id)

    def found(self, channel_id: str, about: RemediationRef | str) -> None:
        """Look no longer for what turned out to be there, and counts."""
        self._lost.discard((channel_id, about))

    async def may_post(self, channel_id: str) -> bool:
        """Return whether Slack says that a channel takes messages. No message moves to one that doesn't."""
        try:
            await self.channels.check(channel_id)
        except PostFailed as error:
            self.config.refused.channels.add(channel_id)
            if error.is_closed:
                self.warn(channel_id, f"Can't post alerts in {channel_id}: {error}.")
            return False
        return True

    async def edit_last(self, ts: str, shows: Message, channel_id: str, *, may_wait: bool) -> bool:
        """Make the last edit of a message; with `may_wait`, one that Slack doesn't take now is tried again in a minute.

        Returns False where Slack will never take it.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have, and it may not wait.
        """
        try:
            await self.channels.update(ts, shows, channel_id)
        except (PostFailed, PostUncertain) as error:
            if not (error.is_final or may_wait):
                raise
            logger.warning("The last edit of a message in %s isn't taken: %s", channel_id, error, extra=lasting())
            await self.owe(channel_id, ts, None if error.is_final else shows)
            return not error.is_final
        await self.owe(channel_id, ts, None)
        return True

    async def owe(self, channel_id: str, ts: str, shows: Message | None) -> None:
        """Write down what a message that is left is yet to say; None for nothing."""
        # Also what this process doesn't owe: an earlier one may have, before the message was left for certain.
        await self.database.run(last_edits.note, channel_id, ts, shows)
        self._owed.pop((channel_id, ts), None)
        if shows:
            self._owed[channel_id, ts] = shows

    async def compare(self, *, only_doubted: bool = False, is_takeover: bool = False) -> None:
        """Compare what was last written with what is there.

        The last edit of a process that watched before may arrive after ours, Slack may execute late what it didn't
        answer, and somebody may have deleted a message.

        Args:
            only_doubted: look at the channels alone in which something may have arrived late by now.
            is_takeover: another process watched before: where the bot may not read, all is drawn again.
        """
        for (channel_id, ts), shows in [*self._owed.items()]:
            await self._edit_last_in_turn(ts, shows, channel_id)
        now = self.clock.monotonic()
        doubted = {channel_id for channel_id, at in self._doubted.items() if at <= now}
        if only_doubted and not doubted:
            return
        self._doubted = {channel_id: at for channel_id, at in self._doubted.items() if at > now}
        seconds = COMPARED_SECONDS if doubted else CLOSED_SECONDS
        known = await self.database.read(messages.in_channels, seconds)
        latest = self.clock.now() - COMPARED_SECONDS
        # Where messages were before, too: the pointer that Slack was to take later dies with the process.
        places = {
            channel_id for message in known for channel_id in (message.channel_id, message.moved_from) if channel_id
        }
        for channel_id in sorted(doubted | places | {channel_id for channel_id, _ in self._lost}):
            if only_doubted and channel_id not in doubted:
                continue
            those = [message for message in known if channel_id in {message.channel_id, message.moved_from}]
            here = [message for message in those if message.channel_id == channel_id]
            since = min((message.opened_at - HISTORY_BEFORE for message in those), default=latest)
            try:
                found = await self.channels.find(max(since, latest), channel_id)
            except PostFailed as error:
                logger.warning("Can't read the alert channel %s right now: %s", channel_id, error, extra=lasting())
                if not error.is_lasting:
                    self.doubt(channel_id)
                continue
            for message in here:
                # What was posted before that is drawn again where something may have arrived late.
                is_unseen = channel_id in doubted and float(message.ts or 0.0) < max(since, latest)
                await self._compare(message, found, is_takeover=is_takeover, is_unseen=is_unseen)
            if found:
                await self._close_copies(channel_id, found, {message.ts for message in here if message.ts})
                for key in [(channel_id, mark) for mark in found.marks if (channel_id, mark) in self._lost]:
                    await self._edit_last_in_turn(found.marks[key[1]], cards.posted_late(), channel_id)
                    self._lost.discard(key)

    async def _compare(
        self, message: TrackedMessage, found: Found | None, *, is_takeover: bool, is_unseen: bool
    ) -> None:
        shows = found.drawn.get(message.ts or "") if found else None
        # What is in a message of several clusters says where it belongs.
        is_home = message.cluster_id and message.channel_id == self.config.route(message.cluster_id).channel_id
        differs = shows != message.content_hash if found else is_takeover or is_unseen
        if not differs or (message.done and (not (shows or is_unseen) or message.is_read_only)):
            if not (is_home or message.done):
                self.queue.put(message.id)
            return

        def unlike(snapshot: Snapshot) -> TrackedMessage | None:
            if snapshot.message.content_hash != message.content_hash:
                return None  # it was drawn again since
            # What it offers is taken to be as it was, where that can't be seen: real changes go first.
            drawn = decision_part(message.content_hash) if shows is None else shows
            return replace(snapshot.message.due, content_hash=drawn)

        await messages.change(self.database, message.id, unlike)
        self.queue.put(message.id)

    async def _close_copies(self, channel_id: str, found: Found, known: Collection[str]) -> None:
        """Make each duplicate message point to the one that is kept current."""
        copies = {
            ts: about
            for about, all_ts in found.messages.items()
            for ts in all_ts
            if ts in found.live and ts not in known
        }
        for ts, about in copies.items():
            kept = await self.database.read(rows.showing, about)
            if kept is None and (channel_id, about) in self._lost:
                await self._edit_last_in_turn(ts, cards.posted_late(), channel_id)
                self.found(channel_id, about)
            if kept is None or kept.message.ts == ts:
                continue
            if kept.message.ts is None:
                if not kept.message.done:  # it is posted elsewhere, yet
                    self.doubt(channel_id)
                continue
            link = self.config.cards.permalink(kept.message.channel_id, kept.message.ts or "")
            shown = [alert for alert in kept.alerts if isinstance(about, str) or alert.ref == about]
            is_here = kept.message.channel_id == channel_id
            pointer = cards.posted_twice(shown, link) if is_here else cards.moved(shown, kept.message.channel_id)
            logger.warning("%s: is in the channels twice; one message is to point to the other", about)
            await self._edit_last_in_turn(ts, pointer, channel_id)

    async def _edit_last_in_turn(self, ts: str, shows: Message, channel_id: str) -> None:
        await self.channels.turn_to_update()
        self.database.ensure_held()
        await finish(self.edit_last(ts, shows, channel_id, may_wait=True))
