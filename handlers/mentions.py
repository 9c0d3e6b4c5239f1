"""Messages to the bot: mentions in channels and threads, and direct messages."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from slack_bolt.async_app import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot import cards
from bot.decisions import LeasedEntry, Receipt, Unrecorded, ensure_not_over
from bot.errors import (
    DirectoryUnavailable,
    LeaseLost,
    NoReference,
    RefusedWithoutDatabase,
    RequestExpired,
    StorageUnavailable,
    UnreadableCommand,
)
from bot.mention_parsing import Ask, AskForStatus, AskToHold, Mentioned, parse_mention
from bot.models import LIFETIME, RULES, Actor, Entry, Json, RemediationRef, ReplyTarget, Request, SeenState, Verb
from bot.parsing import Find, Help, ListWaiting, Order, RepairsOf, Tonight
from handlers.chooser import Chooser
from handlers.client import SlackFailure, message_at
from handlers.payloads import find_references
from handlers.surface import Interaction, Surface, Unacked

logger = logging.getLogger(__name__)

_MESSAGE, _HOLDING = "message", "put a repair on hold"
_BY_PEOPLE = {None, "file_share", "thread_broadcast"}  # subtypes of a message that somebody wrote


@dataclass(slots=True)
class Mentions(Surface):
    """Answers them. A mention shows nothing first, so what decides is answered with the card and its buttons.

    Attributes:
        client: reads what a thread is about; doesn't retry.
    """

    chooser: Chooser
    client: AsyncWebClient

    def __post_init__(self) -> None:
        self.inbox.on(_MESSAGE, self._hold)

    async def listen(self, ack: AsyncAck, body: Json) -> Unacked:
        """Take a message to the bot, then answer."""
        event, name = body.get("event") or {}, f"event {body.get('event_id')}"
        user_id = str(event.get("user") or "")
        if not user_id or not _is_to_the_bot(event):
            await ack()
            return None
        actor = Actor(user_id, "", body.get("team_id"), home_team_id=event.get("user_team"))
        place = ReplyTarget(event.get("channel"), user_id, thread_ts=event.get("thread_ts"))
        said = Interaction(actor, place, name, name, body)
        return await self.take(ack, said, partial(self._record, said), decides=False)

    async def _record(self, said: Interaction) -> Receipt:
        event = said.body["event"]
        text, ts = str(event.get("text") or ""), str(event.get("ts"))
        try:
            asked = parse_mention(text)
        except UnreadableCommand as error:
            return await self.record_show(said, partial(self.refuse, error))
        is_late, is_edited = _is_late(ts, self.lookup.clock.now()), "edited" in event
        if not isinstance(asked, AskToHold) or (is_late and not is_edited):
            return await self.record_show(said, partial(self._answer, asked, ts))
        # Slack tells of an edited message again, as another event; what it asked for is done once.
        key = f"message {said.place.channel_id} {ts}"
        entry = Entry(key, _MESSAGE, _HOLDING, said.actor, said.place, value=text)
        receipt = None if is_late else await self.inbox.receive(entry)
        if receipt is None and is_edited:
            again = UnreadableCommand("An edited message isn't carried out again.", "Write a new one.")
            return await self.record_show(said, partial(self.refuse, again))
        if isinstance(receipt, Unrecorded) and isinstance(receipt.error, RefusedWithoutDatabase):
            return receipt.work  # it says that nothing was done, and Slack must not repeat it
        return receipt

    async def _answer(self, asked: Mentioned, ts: str, said: Interaction) -> bool:
        """Answer it. Returns whether Slack took what was said."""
        match asked:
            case Help():
                return await self.replies.reply_privately(said.place, cards.mentions())
            case ListWaiting() | Tonight() | RepairsOf() | Find():
                return await self.chooser.answer(asked, said)
            case AskForStatus():
                ref = await self._of_thread(said.place)
                return await self.chooser.answer(Find(str(ref), only_shows=True), said)
            case Ask():
                return await self._show(asked, ts, said)
            case AskToHold():
                raise RequestExpired(_HOLDING)  # one in time is in the inbox

    async def _show(self, asked: Ask, ts: str, said: Interaction) -> bool:
        """Point at the card in the thread: nobody has seen what would be decided, and a copy would outlive it."""
        verb = Verb(asked.verb)
        actor = said.actor
        place = said.place
        await self.lookup.policy.authorize(verb, actor, place.channel_id)
        of, _ = await self._in_thread(asked.of, place)
        ref = await self._find(of, place, verb)
        if ref is None:
            return True
        present, about = await self.lookup.get(ref), await self.decisions.about(ref)
        if self.config.observes(ref.cluster_id):
            hint = cards.labels.OBSERVED
        elif about.is_in_doubt(present):
            hint = cards.labels.UNCONFIRMED
        elif present.state in RULES[verb].allowed:
            hint = "Nothing has been sent yet: "
            where = "in its digest" if about.is_one_of_many else "on its card"
            hint += f"decide {where}." if about.ts else cards.how_to_decide(verb, present)
        else:
            hint = cards.too_late(verb, present.state)
        notice = f"<@{actor.user_id}> asked to {verb} this. {hint}"
        if about.ts:
            shown = cards.pointer(present, notice, about, self.config)
        else:
            notice, decided = f"{notice} This message isn't updated.", await self.lookup.who_decided(present)
            shown = cards.unfollowed(present, about, self.config, notice, decided)
        in_thread = place if place.is_direct else replace(place, thread_ts=place.thread_ts or ts)
        return (await self.replies.answer(in_thread, shown)).is_told

    async def _hold(self, leased: LeasedEntry) -> bool:
        """Put it on hold at once."""
        asked = parse_mention(leased.entry.value)
        if leased.is_acted or not isinstance(asked, AskToHold):
            return True  # a decision's own row keeps it
        actor = leased.entry.actor
        place = leased.entry.place
        key = leased.entry.key
        await self.lookup.policy.authorize(Verb.HOLD, actor, place.channel_id)
        of, why = await self._in_thread(asked.of, place)
        ref = await self._find(of, place, Verb.HOLD)
        if ref is None:
            return True
        with suppress(DirectoryUnavailable):
            actor = replace(actor, name=await self.lookup.policy.directory.name_of(actor.user_id))
        node = of.or_node if isinstance(of, Order) and of.ref != ref else None
        reason = node.reason if node else asked.reason if why is None else why
        ensure_not_over(why or asked.behind)
        await self.lookup.ensure_one_node(reason, ref, asked.behind)
        said_at = key.rpartition(" ")[2]
        # What opens again later isn't what somebody wrote about, though another process may do it then.
        seen = SeenState(None, None, at=float(said_at)) if _is_time(said_at) else None
        request = Request(Verb.HOLD, ref, actor, place, seen, reason, trigger_id=key, seconds=asked.seconds)
        receipt = await self.decisions.receive(request)
        if isinstance(receipt, Unrecorded):
            receipt.work.close()
            raise StorageUnavailable("a hold isn't recorded", in_doubt=True)
        with suppress(RequestExpired, LeaseLost, StorageUnavailable):
            await leased.act(lambda _: True)
        if receipt:
            await receipt
        return True

    async def _in_thread(self, of: Order | Find | None, place: ReplyTarget) -> tuple[Order | Find | None, str | None]:
        """Return what is meant in a thread, None for what it is about, and then why, where that isn't what was read.

        Raises:
            UnreadableCommand: it names another node than the thread is about, and more.
            StorageUnavailable: the database did not answer.
        """
        node = of.or_node if isinstance(of, Order) else of
        is_reference = isinstance(of, Order) and of.ref.cluster_id in await self.lookup.names()
        if node is None or place.thread_ts is None or is_reference:
            return of, None
        with suppress(NoReference):
            ref = await self._of_thread(place)
            if await self.lookup.is_called(ref, node.text):
                return None, node.reason if isinstance(of, Order) else None
            if isinstance(of, Find) and not of.reason:
                return of, None
            await self.lookup.ensure_one_node(node.text, ref)
            looked = await self.lookup.find(node.text, is_fresh=True)
            is_node = any(remediation.may_be_called(node.text) for remediation in looked.found)
            if not is_node and looked.unreadable and any(map(str.isdecimal, node.text)):
                raise UnreadableCommand(
                    f"“{node.text}” may be a node of a cluster that can't be read now. Put because before a reason."
                )
            if not (is_node or await self.lookup.of_node(node.text)):
                said = f"{node.text} {node.reason}".strip()
                await self.lookup.ensure_its_own(said, ref)
                return None, said
        return of, None

    async def _find(self, of: Order | Find | None, place: ReplyTarget, verb: Verb) -> RemediationRef | None:
        """Return which remediation is named in full; None where none is, or several are, and the person was told which.

        Raises:
            NotAttempted: none, or another one too.
            StorageUnavailable: the database did not answer.
        """
        if of is None:
            return await self._of_thread(place)
        if isinstance(of, Order):
            of = await self.lookup.meant_by(of)
        if isinstance(of, Order):
            return of.ref
        found = await self.chooser.find_one(of.text, in_full=True, prefer=RULES[verb].allowed)
        if isinstance(found, RemediationRef):
            await self.lookup.ensure_one_node(of.reason, found, of.reason)
            return found
        await self.replies.reply_privately(place, found)
        return None

    async def _of_thread(self, place: ReplyTarget) -> RemediationRef:
        """Return the remediation that a thread is about: the bot's own message, or another tool's that names it.

        Raises:
            NoReference: it names none, or several.
            StorageUnavailable: the database did not answer.
        """
        if place.thread_ts is None or place.channel_id is None:
            raise NoReference(None)
        named = await self.lookup.shown_in(place.channel_id, place.thread_ts)
        named = named or await self._named_by(place.channel_id, place.thread_ts)
        if len(named) != 1:
            raise NoReference(len(named))
        return named[0]

    async def _named_by(self, channel_id: str, ts: str) -> Sequence[RemediationRef]:
        """Return what the first message of a thread names."""
        try:
            message = await message_at(self.client, channel_id, ts)
        except SlackFailure as error:
            logger.warning("Couldn't read what a thread is about: %s", error)
            raise NoReference(None) from error
        return find_references(message) if message else []


def _is_late(ts: str, now: float) -> bool:
    """Return whether Slack told of a message long after it was written (docs.slack.dev, Events API: delayed events)."""
    return _is_time(ts) and now - float(ts) > LIFETIME


def _is_time(ts: str) -> bool:
    return ts.replace(".", "", 1).isdecimal()


def _is_to_the_bot(event: Json) -> bool:
    """Return whether a person wrote it to the bot: an app may be told of every message of a channel."""
    is_direct = event.get("type") != "message" or event.get("channel_type") == "im"
    return is_direct and not event.get("bot_id") and event.get("subtype") in _BY_PEOPLE
