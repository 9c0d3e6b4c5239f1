"""The alert channel: the `AlertChannels` that the watcher writes on, at the pace that Slack publishes."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.cards import review
from bot.clock import Clock, WaitReason
from bot.errors import PostFailed, PostUncertain
from bot.models import HISTORY_BEFORE, MARK, RULES, Found, Json, Message, RemediationRef, read_reference
from bot.parsing import PARTS
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)

# docs.slack.dev, "Rate limits": one message per second and channel; chat.update is in tier 3, 50 per minute. A fifth of
# the latter is left to the answers to clicks, which wait for nobody.
SECONDS_PER_POST = 1.05
UPDATES_PER_MINUTE = 40
SECONDS_PER_PAGE = 1.3
HISTORY_PAGE = 200
MAX_PAGES = 50
LONGEST_WAIT = 900.0  # even if Slack asks for more: people wait for alerts
CARD = "remediation_alert"
DIGEST = "remediation_digest"
OTHER = "remediation_notice"
_DECIDES = {verb.action_id for verb, rule in RULES.items() if rule.decides} | {review.REVIEW, *review.VERBS}
_LASTING = {
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "cannot_reply_to_message",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_not_found",
    "msg_too_long",
}
_GONE = {"message_not_found", "thread_not_found", "cant_update_message"}  # the last: its buttons lead to another app
# A channel in which the bot may not write. The present one is reported, and opened again; a former one is given up.
CLOSED = {
    "channel_not_found",
    "is_archived",
    "is_inactive",
    "not_in_channel",
    "restricted_action",
    "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel",
}


class SlackAlertChannels:
    """Writes in the alert channels, in each at its own pace.

    Args:
        client: doesn't retry.
        reading: a client that may repeat a call, since it only reads here.
        channels: where alerts go now; they went to others before.
        bot_user_id: the bot's own user: what others post isn't one of its cards.
    """

    def __init__(
        self, client: AsyncWebClient, reading: AsyncWebClient, channels: frozenset[str], bot_user_id: str, clock: Clock
    ) -> None:
        self._client = client
        self._reading = reading
        self._channels = channels
        self._bot_user_id = bot_user_id
        self._clock = clock
        self._posts = defaultdict[str, _Pace](partial(_Pace, clock, 1, SECONDS_PER_POST))
        self._updates = _Pace(clock, UPDATES_PER_MINUTE, 60.0)

    async def turn_to_post(self, channel_id: str) -> None:
        """Wait until a message may be posted in a channel."""
        await self._posts[channel_id].turn()

    async def turn_to_update(self) -> None:
        """Wait until a message may be changed."""
        await self._updates.turn()

    async def check(self, channel_id: str) -> None:
        """Raise PostFailed unless the bot may post in a channel, as far as Slack says."""
        try:
            channel = (await self._reading.conversations_info(channel=channel_id))["channel"]
        except SlackFailure as error:
            if error.code in CLOSED or error.is_passing:
                raise PostFailed(str(error), is_closed=error.code in CLOSED) from error
            return  # a scope is missing
        if channel.get("is_archived") or (channel.get("is_private") and not channel.get("is_member")):
            raise PostFailed("is_archived" if channel.get("is_archived") else "not_in_channel", is_closed=True)

    async def post(  # noqa: PLR0913 - what a post has
        self,
        message: Message,
        *,
        channel_id: str,
        about: RemediationRef | str | None = None,
        mark: str = "",
        thread_ts: str | None = None,
        broadcast: bool = False,
    ) -> str:
        """Post a message, marked with the remediation or the ID of the digest that it is about. Returns its `ts`.

        `mark` identifies anything else, for `look_for`. `broadcast` shows a reply in the channel too.
        """
        arguments: Json = {"channel": channel_id, "unfurl_links": False, "unfurl_media": False}
        if thread_ts:
            arguments |= {"thread_ts": thread_ts, "reply_broadcast": broadcast}
        answer = await self._call(
            "chat.postMessage", self._posts[channel_id], message, arguments, about=about, mark=mark
        )
        if not isinstance(ts := answer.get("ts"), str):
            raise PostUncertain("no ts")
        return ts

    async def update(
        self, ts: str, message: Message, channel_id: str, *, about: RemediationRef | str | None = None
    ) -> None:
        """Change a message, and mark it with what it is about; without that, `find` doesn't return it any more."""
        arguments: Json = {"channel": channel_id, "ts": ts, "attachments": message.attachments}
        await self._call("chat.update", self._updates, message, arguments, about=about, mark=ts)

    async def find(self, since: float, channel_id: str) -> Found | None:
        """Return what the bot has posted since then; None where it may not read the channel."""
        return await self._look(partial(self._reading.conversations_history, channel=channel_id), since)

    async def look_for(self, mark: str, channel_id: str, *, since: float = 0.0, thread_ts: str = "") -> str | None:
        """Return the `ts` of what was posted with this mark since a moment, or in a thread; empty where it isn't there.

        None where the bot can't read that, now or later.
        """
        replies = partial(self._reading.conversations_replies, channel=channel_id, ts=thread_ts)
        try:
            if thread_ts:
                found = await self._look(replies, float(thread_ts))  # by Slack's clock: the bot's may be wrong
            else:
                found = await self.find(since - HISTORY_BEFORE, channel_id)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            return None
        return None if found is None else found.marks.get(mark, "")

    async def _look(self, read: Callable[..., Awaitable[AsyncSlackResponse]], since: float) -> Found | None:
        found = Found()
        cursor = None
        for _ in range(MAX_PAGES):
            try:
                answer = await read(
                    oldest=f"{since:.6f}", limit=HISTORY_PAGE, include_all_metadata=True, cursor=cursor or None
                )
                page: Any = answer.data
                for message in page["messages"]:
                    if message.get("user") == self._bot_user_id:
                        _read_metadata(message, found)
                cursor = page.get("has_more") and (page.get("response_metadata") or {}).get("next_cursor")
            except SlackFailure as error:
                if error.code == "channel_not_found":
                    raise PostFailed(error.code, is_lasting=True) from error
                if error.is_passing:
                    raise PostFailed(str(error)) from error
                return None  # any other refusal: it would be the same the next time
            except (AttributeError, TypeError) as error:  # not the shape that Slack documents
                raise PostFailed(type(error).__name__) from error
            if not cursor:
                break
            await self._clock.sleep(SECONDS_PER_PAGE, WaitReason.SLACK_LIMIT)
        return found

    async def _call(  # noqa: PLR0913 - what a message has
        self,
        method: str,
        pace: "_Pace",
        message: Message,
        arguments: Json,
        *,
        about: RemediationRef | str | None,
        mark: str,
    ) -> AsyncSlackResponse:
        body = {"text": message.text, "blocks": message.marked_blocks, **arguments}
        if isinstance(about, RemediationRef):
            body["metadata"] = {"event_type": CARD, "event_payload": asdict(about)}
        elif about:
            body["metadata"] = {"event_type": DIGEST, "event_payload": {"digest_id": about}}
        elif mark:
            body["metadata"] = {"event_type": OTHER, "event_payload": {"mark": mark}}
        await pace.begin()
        try:
            return await self._client.api_call(method, json=body)
        except SlackFailure as error:
            if (seconds := error.retry_after) is not None:
                if seconds > LONGEST_WAIT:
                    logger.warning("%s: Slack asks to wait %d s; waiting %d s", method, seconds, LONGEST_WAIT)
                pace.pause(min(seconds, LONGEST_WAIT))
                raise PostFailed("ratelimited") from error
            if error.may_have_worked:
                raise PostUncertain(str(error)) from error
            code, is_former = error.code, arguments["channel"] not in self._channels
            is_closed = code in CLOSED
            is_gone = code in _GONE or (is_former and is_closed)
            is_lasting = is_gone or code in _LASTING
            raise PostFailed(str(error), is_lasting=is_lasting, is_gone=is_gone, is_closed=is_closed) from error


def _read_metadata(message: Json, found: Found) -> None:
    metadata = message.get("metadata") or {}
    kind = metadata.get("event_type")
    payload = metadata.get("event_payload") or {}
    ts = str(message.get("ts"))
    about: RemediationRef | str | None = None
    if kind == DIGEST:
        about = str(payload.get("digest_id"))
    elif kind == CARD and _is_own(message):
        about = read_reference("/".join(str(payload.get(f"{part}_id")) for part in PARTS))
    elif kind == OTHER:
        found.marks[str(payload.get("mark"))] = ts
    if about:
        found.messages.setdefault(about, []).append(ts)
        blocks = message.get("blocks") or [{}]
        found.drawn[ts] = str(blocks[0].get("block_id") or "").removeprefix(MARK)
        if _DECIDES & {element.get("action_id") for block in blocks for element in block.get("elements") or []}:
            found.live.add(ts)


def _is_own(message: Json) -> bool:
    """Return whether a card is the bot's: another tool's alert, posted as its app, has the same kind of metadata."""
    blocks = message.get("blocks") or []
    is_plain = not (blocks or message.get("attachments"))  # Slack refused its blocks
    return is_plain or any(str(block.get("block_id") or "").startswith(MARK) for block in blocks[:1])


class _Pace:
    """At most `calls` in a period of seconds, first come first served."""

    def __init__(self, clock: Clock, calls: int, seconds: float) -> None:
        self._clock = clock
        self._calls = calls
        self._seconds = seconds
        self._taken: deque[float] = deque(maxlen=calls)
        self._not_before = 0.0
        self._begun_at = -seconds
        self._queue = asyncio.Lock()

    def pause(self, seconds: float) -> None:
        self._not_before = self._clock.monotonic() + seconds

    async def begin(self) -> None:
        """Keep the distance to the call before, which may have begun long after its turn."""
        while self._calls == 1 and (wait := self._begun_at + self._seconds - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait, WaitReason.SLACK_LIMIT)
        self._begun_at = self._clock.monotonic()

    async def turn(self) -> None:
        async with self._queue:
            free_at = self._taken[0] + self._seconds if len(self._taken) == self._calls else 0.0
            while (wait := max(free_at, self._not_before) - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait, WaitReason.SLACK_LIMIT)
            self._taken.append(self._clock.monotonic())
