"""`/cancel-remediation` without IDs: what it looks up, lists, and offers in a dialog."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.cards import chooser, handover
from bot.cards.chooser import Choice
from bot.decisions import CANCELLABLE, LookupResult
from bot.errors import (
    BotError,
    DialogNotShown,
    NoMatch,
    NotAllowed,
    StorageUnavailable,
    UnknownControl,
)
from bot.models import (
    OPEN,
    Actor,
    Json,
    Message,
    Remediation,
    RemediationRef,
    ReplyTarget,
    Request,
    SeenState,
    Verb,
    read_reference,
)
from bot.mrkdwn import escape
from bot.parsing import Browse, Find, ListWaiting, RepairsOf, Report, Suggested, Tonight
from handlers.payloads import (
    action_of,
    actor_of,
    fields_of,
    find_references,
    find_words,
    known_of,
    option_of,
    reason_of,
    view_of,
)
from handlers.surface import BadField, Interaction, Surface, Unacked, click_of

logger = logging.getLogger(__name__)

AMONG = 50  # keys that a dialog remembers, in 3,000 characters (docs.slack.dev, modal views) beside three IDs
Asked = Browse | Find | Report | Suggested


@dataclass(slots=True)
class Chooser(Surface):
    """Finds what somebody means, and lets them choose."""

    _asked: dict[str, Interaction] = field(default_factory=dict, init=False)  # last, by the dialog that it fills

    async def tonight(self, ack: AsyncAck, body: Json) -> Unacked:
        """Sum up the last shift, for somebody who asks in their home."""
        press = self.press_of(body)
        return await self.take_show(ack, press, partial(self.answer, Tonight()), decides=False)

    async def suggest(self, ack: AsyncAck, body: Json) -> Unacked:
        """Let somebody choose from what a message names: a suggestion, never a permission."""
        message = body.get("message") or {}
        actor = actor_of(body)
        trigger_id = body.get("trigger_id")
        thread_ts = message.get("thread_ts") or message.get("ts")
        channel_id = (body.get("channel") or {}).get("id")
        place = ReplyTarget(channel_id, actor.user_id, response_url=body.get("response_url"), thread_ts=thread_ts)
        used = Interaction(actor, place, trigger_id, f"shortcut {trigger_id}", body, Verb.CANCEL)
        asked = Suggested(tuple(find_references(message)), find_words(message), str(message.get("ts")))
        return await self.take_show(ack, used, partial(self.answer, asked), decides=False)

    async def answer(self, asked: Asked, of: Interaction) -> bool:
        """Show privately what was asked for. Returns whether Slack took it."""
        if isinstance(asked, Browse | Suggested) or (isinstance(asked, Find) and not asked.only_shows):
            view_id = await self.dialogs.open(of.trigger_id, chooser.loading())
            return await self._fill(view_id, partial(self._first_view, asked, of.actor, of.place), of)
        await self.lookup.policy.authorize_overview(of.actor, of.place.channel_id)
        return await self.replies.reply_privately(of.place, await self._told(asked))

    async def _told(self, asked: Find | Report) -> Message:
        match asked:
            case ListWaiting():
                return await self._waiting()
            case Find():
                return await self._card(asked.text)
            case Tonight() | RepairsOf() if not self.lookup.is_watching:
                return cards.line(handover.UNWATCHED)
            case RepairsOf():
                return handover.repairs_of(asked.node, await self.lookup.of_node(asked.node))
            case Tonight():
                alerts, now, unread = await self.lookup.lately(handover.LONGEST_SHIFT)
                began, faults = handover.shift_began(self.config.summary, now), await self.lookup.faults()
                return handover.shift(alerts, faults, await self.lookup.unreadable(), began, unread=unread)

    async def _waiting(self) -> Message:
        looked = await self.lookup.cancellable(is_fresh=True)  # people compare it with the cards
        count = len(looked.found)
        ordered = sorted(looked.found, key=lambda remediation: not remediation.is_waiting)
        waits = (
            "s are waiting for approval or start, approvals first" if count > 1 else " is waiting for approval or start"
        )
        title = f"{count} remediation{waits}" if count else _nothing(looked)
        return chooser.waiting_list(
            ordered, looked.unreadable, looked.names, title, doubted=await self.lookup.doubted(), old=looked.old,
            broken=await self.lookup.faults(), returned=await self.lookup.returned(),
        )  # fmt: skip

    async def _card(self, text: str) -> Message:
        """Return the card of what is called so, or a list where several are."""
        named = read_reference(text)
        ref = named or await self.find_one(text)
        if isinstance(ref, Message):
            return ref
        present, about = await self.lookup.get(ref), await self.decisions.about(ref)
        note = "" if named or present.is_called(text) else _not_exactly(text)
        if note and about.is_in_doubt(present):
            note = f"{note} {cards.labels.UNCONFIRMED}"
        return cards.unfollowed(present, about, self.config, note, await self.lookup.who_decided(present))

    async def find_one(
        self, text: str, *, in_full: bool = False, prefer: Collection[str] = OPEN
    ) -> RemediationRef | Message:
        """Return what has a name or an ID; a list where several may be meant, or `in_full`, where it isn't its own.

        Args:
            prefer: where several are of one node, and some in one of these states, only those.

        Raises:
            NoMatch: nothing has it.
            StorageUnavailable: the database did not answer.
        """
        looked, hint = await self.lookup.find(text, is_fresh=in_full), "Type the full node name, or its IDs"
        if len({(remediation.cluster_id, remediation.instance_id) for remediation in looked.found}) == 1:
            preferred = [remediation for remediation in looked.found if remediation.state in prefer]
            looked = replace(looked, found=preferred or looked.found)
            if len(looked.found) > 1:  # no name or instance ID tells them apart
                hint = "Type the three IDs of one"
        count = len(looked.found)
        is_vague = in_full and looked.unreadable and text not in {one.id for one in looked.found}
        if is_vague:  # where it can't be read, another one may be called so
            hint = "Type the three IDs of one"
        if count > 1 or (count and in_full and (is_vague or not looked.found[0].is_called(text))):
            match = "remediations match" if count > 1 else "remediation matches"
            title = f"{count} open {match}. {hint}"
            return chooser.waiting_list(looked.found, looked.unreadable, looked.names, title, old=looked.old)
        return _first_of(looked, text).ref

    async def _first_view(self, asked: Browse | Find | Suggested, actor: Actor, place: ReplyTarget) -> Json:
        await self.lookup.policy.authorize(Verb.CANCEL, actor, place.channel_id)
        choice = Choice(place.channel_id, place.thread_ts, reason=asked.reason if isinstance(asked, Find) else "")
        if isinstance(asked, Suggested):
            refs, note = asked.refs or await self.lookup.shown_in(place.channel_id or "", asked.ts), ""
            if not refs:
                refs, unreadable = await self.lookup.named(asked.words)
                note = chooser.not_read(unreadable)
            if refs:
                return await self._suggested(choice, refs, note)
        if not isinstance(asked, Find):
            looked = await self.lookup.cancellable()
            note = chooser.not_read(looked.unreadable)
            if not looked.found:
                return chooser.nothing(f"{_nothing(looked)}. {note}".strip())
            if isinstance(asked, Suggested):
                note = f"This message names no remediation. Choose one. {note}".strip()
            return chooser.chooser(choice, note)
        return await self._matching(choice, asked.text)

    async def _matching(self, choice: Choice, text: str) -> Json:
        """Return the dialog for a name or an ID."""
        looked = await self.lookup.find(text, prefer=CANCELLABLE)
        first = _first_of(looked, text)
        count = len(looked.found)
        note = chooser.not_read(looked.unreadable)
        if not first.is_called(text):
            note = f"{_not_exactly(text)} {note}".strip()
        if count == 1:
            await self.lookup.ensure_one_node(choice.reason, first.ref, choice.reason)
            return await self._chosen(choice, first.ref, note)
        if first.state not in CANCELLABLE:
            return chooser.nothing(f"{count} remediations match. None waits for approval or start. {note}".strip())
        return chooser.chooser(_among(choice, looked.found), f"{count} remediations match. Choose one. {note}".strip())

    async def _suggested(self, choice: Choice, refs: Sequence[RemediationRef], note: str) -> Json:
        """Return the dialog for what a message names, each read from Together: a message may say anything."""
        if len(refs) > 1:
            looked = await self.lookup.cancellable(is_fresh=True)
            named = [remediation for remediation in looked.found if remediation.ref in refs]
            note, here = chooser.not_read(looked.unreadable), chooser.places(looked.within)
            if not named:  # the menu would offer other nodes
                found = f"None of them was found among what can be cancelled{f' in {here}' if here else ''}."
                return chooser.nothing(f"This message names {len(refs)} remediations. {found} {note}".strip())
            if len(named) != 1 or note:
                said = (
                    f"This message names {len(refs)} remediations; can be cancelled: {len(named)}. Choose one. {note}"
                )
                return chooser.chooser(_among(choice, named), said.strip())
            refs = [named[0].ref]
        return await self._chosen(choice, refs[0], note)

    async def _chosen(self, choice: Choice, ref: RemediationRef, note: str = "") -> Json:
        """Return the dialog with a remediation in it, as it is read now: what is shown must be what is there."""
        shown = await self.lookup.get(ref)
        if self.config.observes(shown.cluster_id):
            return chooser.chooser(choice, cards.labels.OBSERVED)
        if shown.state not in CANCELLABLE:
            return chooser.chooser(choice, cards.too_late(Verb.CANCEL, shown.state))
        about, cluster = await self.decisions.about(shown.ref), (await self.lookup.names())[shown.cluster_id]
        return chooser.chooser(choice, note, shown, about, self.config, cluster=cluster)

    async def _fill(self, view_id: str, make: Callable[[], Awaitable[Json]], of: Interaction, seen: str = "") -> bool:
        """Put into an open dialog what was looked up, or why it couldn't be, unless something newer was asked for.

        Returns whether Slack took it, or else why not.
        """
        self._asked[view_id] = of
        view = await self.tried(of, make)
        if isinstance(view, BotError):
            view = cards.review.refusal(view)
        try:
            await self.dialogs.change(view_id, view, seen, lambda: self._asked.get(view_id) is of)
        except DialogNotShown as error:
            return await self.refuse(error, of)
        else:
            return True
        finally:
            if self._asked.get(view_id) is of:
                del self._asked[view_id]

    async def options(self, ack: AsyncAck, body: Json) -> None:
        """Answer the menu of the dialog, which asks for its choices."""
        groups: list[Json] = []
        try:
            choice = Choice.load(known_of(view_of(body)))
            allow = self.lookup.policy.authorize(Verb.CANCEL, actor_of(body), choice.channel_id)
            looked = await self.lookup.in_time_for_a_menu(allow)
            cancellable = [remediation for remediation in looked.found if remediation.state in CANCELLABLE]
            groups = chooser.option_groups(cancellable, str(body.get("value") or ""), looked.names, choice.only)
        except (ValueError, NotAllowed, StorageUnavailable) as error:
            logger.warning("Couldn't read the choices of a dialog: %s", type(error).__name__)
        await ack(option_groups=groups)

    async def pick(self, ack: AsyncAck, body: Json) -> Unacked:
        """Show the remediation that was chosen in the dialog."""
        view, picked = view_of(body), click_of(body, Verb.CANCEL)
        value = option_of(action_of(body))
        make, seen = partial(self._picked, view, value, picked.actor), str(view.get("hash") or "")
        fill = partial(self._fill, str(view.get("id")), make, seen=seen)
        return await self.take_show(ack, picked, fill, decides=False)

    async def _picked(self, view: Json, value: str, actor: Actor) -> Json:
        try:
            choice = Choice.load(known_of(view))
        except ValueError as error:
            raise UnknownControl("this dialog") from error
        await self.lookup.policy.authorize(Verb.CANCEL, actor, choice.channel_id)
        looked = await self.lookup.cancellable()
        for remediation in looked.found:
            if remediation.ref.key == value:
                return await self._chosen(choice, remediation.ref)
        why = chooser.not_read(looked.unreadable) or "That can no longer be cancelled."
        return chooser.chooser(choice, f"{why} Choose again.")

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take the cancellation of what was chosen."""
        await self.take_decision(ack, body, self._read)

    @staticmethod
    def _read(view: Json, actor: Actor) -> Request:
        choice, fields = Choice.load(known_of(view)), fields_of(view)
        field = next((name for name, field in fields.items() if chooser.REMEDIATION in field), chooser.REMEDIATION)
        selected = option_of(fields.get(field, {}).get(chooser.REMEDIATION) or {})
        if choice.ids is None or selected != choice.remediation:
            raise BadField(field, "Choose a remediation and check its card first.")
        place = ReplyTarget(choice.channel_id, actor.user_id, thread_ts=choice.thread_ts, is_dialog=True)
        shown = SeenState(choice.mode, choice.state, choice.episode or None)
        ref, reason = RemediationRef(*choice.ids), reason_of(view, chooser.WHY)
        return Request(Verb.CANCEL, ref, actor, place, shown=shown, reason=reason, trigger_id=f"view {view.get('id')}")


def _among(choice: Choice, remediations: Sequence[Remediation]) -> Choice:
    """Return that the menu begins with some, where they are few enough to be remembered."""
    keys = tuple(remediation.ref.key for remediation in remediations)
    return replace(choice, only=keys if len(keys) <= AMONG else ())


def _nothing(looked: LookupResult) -> str:
    """Return that there is nothing to cancel, as far as that is known, without a full stop."""
    here = chooser.places(looked.within)
    where = f" in {here}" if here else ""
    return f"Nothing to cancel was found{where}" if looked.unreadable else f"Nothing can be cancelled right now{where}"


def _not_exactly(text: str) -> str:
    return f"Nothing open is called exactly “{escape(text, 90)}”."


def _first_of(looked: LookupResult, text: str) -> Remediation:
    """Return the oldest of what was found.

    Raises:
        NoMatch: nothing was. It says where was looked.
    """
    if looked.found:
        return looked.found[0]
    where = chooser.places(looked.within) or "what Together lists"
    missing = chooser.not_read(looked.unreadable)
    raise NoMatch(text, f"{where}. {missing.removesuffix('.')}" if missing else where)
