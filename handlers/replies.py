"""The Messenger: posts, updates and private words.

Every answer has several ways to its reader, tried in turn: a bot that is not in the channel may still answer through
`response_url`, and where all else fails the person gets a direct message.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot import cards
from bot.clock import Clock, WaitReason
from bot.models import Delivery, Message, ReplyTarget
from handlers.client import UNSENT, SlackClient, SlackFailure, message_at, text_alone
from handlers.payloads import place_of

logger = logging.getLogger(__name__)

RESPONSE_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
ATTEMPTS = 3
LONGEST_WAIT = 20.0
TELL_AGAIN = (2.0, 10.0, 30.0, 60.0, 120.0)  # seconds between attempts to say what nobody else would say later
Way = Callable[[], Awaitable[Any]]


class _NoWay(Exception):
    """This way to the reader is closed; the message says why, without secrets."""

    def __init__(self, why: str, *, may_have_worked: bool = False) -> None:
        super().__init__(why)
        self.may_have_worked = may_have_worked


@dataclass(slots=True)
class Replies:
    """Says things in Slack.

    Attributes:
        client: doesn't retry: a repeated post could appear in the channel twice.
        session: shared with the client, for `response_url`.
        allow_loopback: whether a `response_url` may point at this machine, as a simulator's does.
    """

    client: SlackClient
    session: aiohttp.ClientSession
    clock: Clock
    allow_loopback: bool

    async def progress(self, place: ReplyTarget, message: Message) -> ReplyTarget:
        """Say that somebody is on it, without waiting for Slack: on the clicked message, or to the person alone.

        Returns the place where the answer goes.
        """
        if not place.is_button:
            await self._first([lambda: self._respond_privately(place, message)])
            return place
        if place.original is None:
            return place  # it could not be restored after an error
        result, may_overwrite = await self._first([lambda: self._update(place, message, attempts=1)])
        # Where Slack did not say no, it may be shown all the same.
        return replace(place, in_progress=result is not None or may_overwrite, may_overwrite=may_overwrite)

    async def _restore(self, place: ReplyTarget) -> None:
        """Show again what was there before "in progress"."""
        if place.in_progress and place.original:
            await self._first(self._in_place(place, place.original))

    async def reread(self, place: ReplyTarget) -> ReplyTarget:
        """Return the place with what another tool's alert shows now; unchanged where the bot can't read that."""
        if place.channel_id is None or place.message_ts is None:
            return place
        try:
            thread_ts = place.thread_ts if place.thread_ts != place.message_ts else None
            shown = await message_at(self.client, place.channel_id, place.message_ts, thread_ts)
        except SlackFailure as error:
            logger.warning("Couldn't read another tool's alert: %s", error)
            return place
        return replace(place, original=place_of({"message": shown}).original) if shown else place  # as a click says it

    async def answer(self, place: ReplyTarget, message: Message, beside: Message | None = None) -> Delivery:
        """Show a card: in place of the clicked message, or to the channel.

        Args:
            beside: what is posted where Slack refuses the edit; the same unless given.
        """
        ways = self._in_place(place, message)
        may_overwrite = False
        if ways:
            shown, may_overwrite = await self._first(ways)
            if shown is not None:
                return Delivery(may_overwrite=may_overwrite)
            # Nothing keeps it current, and people on call were mentioned before.
            message = cards.as_copy(beside or message)
        is_told = await self._say(place, message, self._to_channel(place, message))
        if ways and is_told and place.is_foreign:
            await self._restore(place)  # the answer is beside it, and nothing else draws that message
        return Delivery(is_told, is_in_place=not ways, may_overwrite=may_overwrite)

    async def reply(self, place: ReplyTarget, message: Message, on_card: Message | None) -> Delivery:
        """Tell the channel of an error: in the clicked message's thread, or as a message."""
        if not place.is_button:
            return await self.answer(place, message)
        may_overwrite = False
        if shown := on_card or (place.original if place.in_progress else None):
            _, may_overwrite = await self._first(self._in_place(place, shown))
        return Delivery(await self._say(place, message, self._to_channel(place, message)), may_overwrite=may_overwrite)

    async def reply_privately(self, place: ReplyTarget, message: Message, *, once: bool = False) -> bool:
        """Tell the person alone, and take back "in progress": nothing else would end it."""
        await self._restore(place)
        # In a thread it is shown only while that is active (docs.slack.dev, chat.postEphemeral).
        may_be_none = place.thread_ts == place.message_ts or (place.is_dialog and not place.message_ts)
        channel, thread_ts = place.channel_id, None if may_be_none else place.thread_ts
        ways: list[Way] = [
            lambda: self._respond_privately(place, message),
            lambda: self._call("chat.postEphemeral", message, channel=channel, user=place.user_id, thread_ts=thread_ts),
        ]
        if place.is_direct:
            ways.clear()
        waits = iter(() if once else TELL_AGAIN)
        while not (is_said := await self._say(place, message, ways)) and (seconds := next(waits, None)):
            await self.clock.sleep(seconds, WaitReason.TELL_AGAIN)
        return is_said

    def _in_place(self, place: ReplyTarget, message: Message) -> list[Way]:
        ways: list[Way] = []
        if place.message_ts and not place.is_ephemeral:
            ways.append(lambda: self._update(place, message))
        if place.is_button:
            ways.append(lambda: self._respond(place, message, replace_original=True))
        return ways

    def _to_channel(self, place: ReplyTarget, message: Message) -> list[Way]:
        if place.is_ephemeral:
            return [lambda: self._respond_privately(place, message)]
        thread = {"thread_ts": place.thread_ts} if place.thread_ts else {}
        return [
            lambda: self._call(
                "chat.postMessage",
                message,
                channel=place.channel_id,
                thread_ts=place.thread_ts,
                unfurl_links=False,
                unfurl_media=False,
            ),
            lambda: self._respond(place, message, response_type="in_channel", replace_original=False, **thread),
        ]

    async def _say(self, place: ReplyTarget, message: Message, ways: list[Way]) -> bool:
        said, _ = await self._first([*ways, lambda: self._call("chat.postMessage", message, channel=place.user_id)])
        if said is None:
            logger.error("Couldn't answer %s in %s: %s", place.user_id, place.channel_id, message.text)
        return said is not None

    async def _first(self, ways: list[Way]) -> tuple[Any, bool]:
        """Try one way after another.

        Returns what the first that worked returned, or None; and whether Slack may yet do what failed.
        """
        may_arrive = False
        for way in ways:
            try:
                return await way(), may_arrive
            except SlackFailure as error:
                logger.warning("Slack rejected an answer: %s", error)
                may_arrive |= error.may_have_worked
            except _NoWay as closed:
                logger.info("No way to answer: %s", closed)
                may_arrive |= closed.may_have_worked
        return None, may_arrive

    async def _update(self, place: ReplyTarget, message: Message, attempts: int = ATTEMPTS) -> Any:  # noqa: ANN401 - Slack's answer
        # Omitted attachments would be kept, and with them buttons that no longer apply (docs.slack.dev, chat.update).
        where = {"channel": place.channel_id, "ts": place.message_ts}
        more = {"attachments": message.attachments, **where}
        return await self._call("chat.update", message, attempts, needs_blocks=place.is_foreign, **more)

    async def _call(
        self,
        method: str,
        message: Message,
        attempts: int = ATTEMPTS,
        *,
        needs_blocks: bool = False,
        **arguments: object,
    ) -> Any:  # noqa: ANN401 - Slack's answer
        """Call a method that says something, and wait out rate limits."""
        body = {name: value for name, value in arguments.items() if value is not None}
        if "channel" not in body:
            raise _NoWay("there is no channel")
        body |= {"text": message.text, "blocks": message.marked_blocks}
        while True:
            try:
                return (await self.client.api_call(method, needs_blocks=needs_blocks, json=body)).data
            except SlackFailure as error:
                attempts, wait = attempts - 1, error.retry_after
                if wait is None or wait > LONGEST_WAIT or not attempts:
                    raise
                if not error.had_blocks:  # which would be refused again, and count for the limit
                    body = text_alone(body)
            await self.clock.sleep(wait, WaitReason.SLACK_LIMIT)

    async def _respond_privately(self, place: ReplyTarget, message: Message) -> bool:
        return await self._respond(place, message, response_type="ephemeral", replace_original=False)

    async def _respond(self, place: ReplyTarget, message: Message, **arguments: object) -> bool:
        """Post to `response_url`: five times within 30 minutes, wherever the bot is (docs.slack.dev)."""
        url = self._allowed(place.response_url)
        drawn = message.marked_blocks
        if not place.is_foreign:  # the status doesn't say that it is folding that Slack refuses
            drawn = cards.plainer(drawn)
        body = {"text": message.text, "blocks": drawn, "attachments": message.attachments, **arguments}
        status = await self._post_json(url, body)
        is_edit = arguments.get("replace_original")
        if status == 400 and not (place.is_foreign and is_edit):  # noqa: PLR2004 - Slack's answer to blocks it refuses
            status = await self._post_json(url, {"text": message.text, **arguments})
        if status != 200:  # noqa: PLR2004 - the only status that means "shown"
            raise _NoWay(f"response_url answered HTTP {status}", may_have_worked=status >= 500)  # noqa: PLR2004 - HTTP's
        return True

    async def _post_json(self, url: str, body: dict[str, object]) -> int:
        try:
            async with self.session.post(url, json=body, allow_redirects=False, proxy=self.client.proxy) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            may_have_worked = not isinstance(error, UNSENT)
            raise _NoWay(f"response_url: {type(error).__name__}", may_have_worked=may_have_worked) from error

    def _allowed(self, url: str | None) -> str:
        if url is None:
            raise _NoWay("there is no response_url")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _NoWay("response_url is malformed") from error
        official = parts.scheme == "https" and parts.hostname in RESPONSE_HOSTS
        local = self.allow_loopback and parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if not official and not local:
            raise _NoWay("response_url points to a foreign host")
        return url
