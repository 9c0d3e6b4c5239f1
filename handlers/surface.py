"""What all Slack surfaces share: check for room, record, acknowledge, work, and say why where it can't be done."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import SHOW, DecisionService, Inbox, Lookup, Receipt, Unrecorded
from bot.errors import (
    BotError,
    NotAttempted,
    NotRecorded,
    NotShown,
    Overloaded,
    RefusedWithoutDatabase,
    StorageUnavailable,
    SubmittedBefore,
    TooManyRequests,
    UnknownControl,
)
from bot.models import Actor, AuditNote, Entry, Json, ReplyTarget, Request, Verb
from bot.tasks import Capacity, Tasks
from handlers.dialogs import Dialogs
from handlers.home import Home
from handlers.payloads import action_of, actor_of, place_of, view_of
from handlers.replies import Replies

logger = logging.getLogger(__name__)

_PRESS = "press"
T = TypeVar("T")
Ack = Callable[[], Awaitable[object]]
Say = Callable[[BotError], Awaitable[object]]
Record = Callable[[], Awaitable[Receipt]]
Unacked = BoltResponse | None  # what Slack gets instead of an ack; None where it got one


class BadField(Exception):
    """A field holds what can't be used: the message is shown beneath it, and the text stays."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.errors = {field: message}


@dataclass(frozen=True, slots=True)
class Interaction:
    """What somebody did.

    Attributes:
        key: Slack's ID of it, which a redelivery repeats; None if it has none.
        name: for logs.
        verb: what it would have decided, for the audit trail.
        batch_id: the ID of the selection that it confirms; empty for none.
    """

    actor: Actor
    place: ReplyTarget
    key: str | None
    name: str
    body: Json
    verb: Verb | None = None
    batch_id: str = ""

    @property
    def trigger_id(self) -> str:
        """The token that opens a dialog within 3 s (docs.slack.dev, trigger_id)."""
        return str(self.body.get("trigger_id") or "")

    @property
    def action_id(self) -> str:
        """Which control was used."""
        return str(action_of(self.body).get("action_id"))

    @property
    def value(self) -> str:
        """What the control that was used carries."""
        return str(action_of(self.body).get("value") or "")


def click_of(body: Json, verb: Verb | None = None) -> Interaction:
    """Return the click of a payload."""
    actor, place, trigger_id = actor_of(body), place_of(body), body.get("trigger_id")
    key = trigger_id or f"{actor.user_id} {place.message_ts} {action_of(body).get('action_ts')}"
    return Interaction(actor, place, key, f"click {key}", body, verb)


def submission_of(body: Json) -> Interaction:
    """Return the submission of a dialog."""
    actor, name = actor_of(body), f"dialog {view_of(body).get('id')}"
    return Interaction(actor, ReplyTarget(None, actor.user_id), name, name, body)


Do = Callable[[Interaction], Awaitable[object]]


@dataclass(slots=True)
class Surface:
    """What all surfaces share: it takes interactions, each at most once.

    Attributes:
        decisions: carry out what decides on a remediation, holds it, or reads it again.
        inbox: writes down every other change, which another process finishes after a crash.
        lookup: finds what somebody means, and says who may see it.
        replies: tell people what they asked for, or why it can't be done.
        dialogs: are opened at once, and filled once something was looked up.
        tasks: the room for what is acknowledged and not done yet.
        home: where a result goes of what was asked there.
        config: what cards are set to.
    """

    decisions: DecisionService
    inbox: Inbox
    lookup: Lookup
    replies: Replies
    dialogs: Dialogs
    tasks: Tasks
    home: Home
    config: cards.CardConfig

    def press_of(self, body: Json, verb: Verb | None = None) -> Interaction:
        """Return the click on a control whose result goes to the alert channel where it was pressed in Home."""
        click = click_of(body, verb)
        return replace(click, place=self.home.result_target(click.place, ""))

    async def take(
        self,
        ack: Ack,
        of: Interaction,
        record: Record | NotAttempted,
        *,
        decides: bool = True,
        say: Say | None = None,
    ) -> Unacked:
        """Record, ack, then work.

        Args:
            record: writes down what was asked, or why that is refused; may raise NotAttempted where there is a `say`.
            decides: it may use the room that is kept for decisions.
            say: acks with the reason why it isn't taken. Without it, what can't be taken isn't acked: Slack then shows
                a warning beside a control, and repeats an event.
        """
        person = of.actor.user_id
        room = self.tasks.room(person, decides=decides)
        if room is not Capacity.FREE:
            return await self._turn_away(ack, of, room, say)
        try:
            if isinstance(record, NotAttempted):
                raise record
            receipt = await record()
        except NotAttempted as error:
            if say is None:
                raise
            if isinstance(error, RefusedWithoutDatabase):  # it would keep the person waiting once more
                self.tasks.spawn(self.note(error, of), f"refused {of.name}", person=person)
            else:
                await self.note(error, of)
            await say(error)
            return None
        if isinstance(receipt, Unrecorded):
            return await self._not_recorded(receipt, of, say)
        await ack()
        if receipt:
            work = self.home.then_refresh(receipt, of.actor, of.body) if of.place.is_home else receipt
            self.tasks.spawn(work, of.name, person=person)
        return None

    async def take_decision(self, ack: AsyncAck, body: Json, read: Callable[[Json, Actor], Request]) -> None:
        """Take the decision of a dialog, as `take_dialog` does; `read` makes the request of a view."""

        def asked(submitted: Interaction) -> tuple[Interaction, Record]:
            request = read(view_of(body), submitted.actor)
            return replace(submitted, place=request.place), partial(self.decisions.receive, request)

        await self.take_dialog(ack, body, asked)

    async def take_dialog(
        self, ack: AsyncAck, body: Json, read: Callable[[Interaction], tuple[Interaction, Record]]
    ) -> None:
        """Take what was submitted. What can't be taken is said in the dialog.

        Args:
            read: adds where it belongs, and what records it; raises `BadField` or an error of the product, and others
                where it can't.
        """
        submitted = submission_of(body)
        record: Record | NotAttempted
        try:
            submitted, record = read(submitted)
        except BadField as bad:
            await ack(response_action="errors", errors=bad.errors)
            return
        except NotAttempted as error:
            record = error
        except (ValueError, LookupError, TypeError):  # of another version, or of another app's making
            record = UnknownControl("this dialog")
        once = record if isinstance(record, NotAttempted) else partial(_once, record)
        await self.take(ack, submitted, once, say=partial(say_in_dialog, ack))

    async def take_show(self, ack: Ack, of: Interaction, do: Do, *, decides: bool = True) -> Unacked:
        """Take a request that only shows something."""
        return await self.take(ack, of, partial(self.record_show, of, do), decides=decides)

    async def record_show(self, of: Interaction, do: Do) -> Receipt:
        """Record a request that only shows something; its work also says what can't be shown."""
        if not of.key:
            return self._explained(of, do)
        entry = Entry(of.key, SHOW, "show this", of.actor, replace(of.place, original=None))
        return await self.inbox.receive(entry, lambda _: self._explained(of, do))

    async def take_change(self, ack: AsyncAck, press: Interaction, what: str) -> Unacked:
        """Take a press that changes something; `what` as in "your request to pause approvals"."""
        return await self.take(ack, press, lambda: self.record_press(press, what, press.action_id, press.value))

    async def record_press(self, of: Interaction, what: str, action_id: str, value: str, reason: str = "") -> Receipt:
        """Write down what was asked for."""
        kept = replace(of.place, original=None)
        return await self.inbox.receive(
            Entry(of.key or "", _PRESS, what, of.actor, kept, action_id, value, reason=reason)
        )

    async def refuse(self, error: NotAttempted, of: Interaction) -> bool:
        """Record what was refused, and tell the person alone. Returns whether Slack took it."""
        await self.note(error, of)
        return await self.replies.reply_privately(of.place, cards.private(error))

    async def note(self, error: NotAttempted, of: Interaction) -> None:
        """Put into the audit trail what was refused before it became a decision."""
        kind = error.code
        note = AuditNote("refused", of.actor, of.place.channel_id, of.verb, kind, batch_id=of.batch_id)
        await self.decisions.note(note)

    async def _not_recorded(self, receipt: Unrecorded, of: Interaction, say: Say | None) -> Unacked:
        """Say so instead of an ack: the person isn't left waiting, even if this process dies."""
        if say:
            await say(receipt.error)
        if say and not isinstance(receipt.error, NotRecorded):
            receipt.work.close()  # it would say the same again
        else:
            self.tasks.spawn(receipt.work, f"unrecorded {of.name}", person=of.actor.user_id)
        return None if say else BoltResponse(status=503, body="")

    async def _turn_away(self, ack: Ack, of: Interaction, room: Capacity, say: Say | None) -> Unacked:
        """Say why there is no room, once a minute to each person where that takes work."""
        person = of.actor.user_id
        error = TooManyRequests() if room is Capacity.PERSON_LIMIT else Overloaded()
        if say:
            await say(error)
            if self.tasks.note_refusal(person):
                self.tasks.spawn(self.note(error, of), f"refused {of.name}")
            return None
        can_tell = self.tasks.room("", decides=False) is Capacity.FREE
        if not can_tell or not self.tasks.note_refusal(person):
            return BoltResponse(status=503, body="")
        await ack()
        self.tasks.spawn(self.refuse(error, of), f"refused {of.name}")
        return None

    async def _explained(self, of: Interaction, do: Do) -> bool:
        """Do something, or say why it can't be done. Returns whether Slack took what was said."""
        result = await self.tried(of, partial(do, of))
        if isinstance(result, BotError):
            return await self.replies.reply_privately(of.place, cards.private(result))
        return result is not False

    async def tried(self, of: Interaction, do: Callable[[], Awaitable[T]]) -> T | BotError:
        """Do something, or return why it can't be done: what was acknowledged is answered in any case."""
        try:
            return await do()
        except NotAttempted as error:
            await self.note(error, of)
            return error
        except BotError as error:
            return error
        except StorageUnavailable:
            return RefusedWithoutDatabase()
        except Exception:  # the last net
            logger.exception("Failed")
            return NotShown()


async def _once(record: Record) -> Receipt:
    if (receipt := await record()) is None:
        raise SubmittedBefore
    return receipt


async def say_in_dialog(ack: AsyncAck, error: BotError) -> None:
    """Ack with a dialog that says why what was submitted isn't done."""
    await ack(response_action="update", view=cards.review.refusal(error))
