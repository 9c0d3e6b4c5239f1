"""The controls of a digest: the dialog that reviews it, and the one before what was chosen is decided."""

import logging
from dataclasses import dataclass, replace
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot.cards import listing, review
from bot.cards.review import Review
from bot.decisions import BatchService
from bot.errors import NotAttempted, NothingSelected, UnknownControl
from bot.models import Actor, Batch, Json, ReplyTarget, Verb
from handlers.payloads import actor_of, chosen_in, dicts, fields_of, known_of, reason_of, view_of
from handlers.surface import Interaction, Surface, Unacked, say_in_dialog, submission_of

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Digests(Surface):
    """Reads what was chosen, has it confirmed, and hands it to the batches."""

    batches: BatchService

    def __post_init__(self) -> None:
        self.inbox.on(review.STOP, self.batches.stop)

    async def review(self, ack: AsyncAck, body: Json) -> Unacked:
        """Take it, then open the dialog with what waits."""
        press = self.press_of(body, Verb.APPROVE)
        return await self.take_show(ack, press, self._review)

    async def _review(self, press: Interaction) -> None:
        verb = review.VERBS.get(press.action_id)  # of a message of release 0.1
        await self.lookup.authorize_in_time(verb or Verb.APPROVE, press.actor, press.place.channel_id)
        waiting = await self.batches.waiting(press.value)
        only = listing.chosen(waiting.alerts, chosen_in(press.body)) if verb else waiting.alerts
        if not waiting.alerts:
            raise NothingSelected("Nothing here needs a decision any more.", "Nothing was sent.")
        if not only:
            raise NothingSelected
        known = Review(press.value, press.place.channel_id, is_home=press.place.is_home)
        refs = [alert.ref for alert in only] if verb else ()
        view = review.dialog(known, waiting, self.config, verb=verb or Verb.APPROVE, only=refs)
        await self.dialogs.open(press.trigger_id, view)

    async def options(self, ack: AsyncAck, body: Json) -> None:
        """Answer the search in a large group, which asks for its nodes."""
        options: list[Json] = []
        try:
            known = Review.load(known_of(view_of(body)))
            await self.lookup.authorize_in_time(Verb.REFRESH, actor_of(body), known.channel_id)
            waiting = await self.batches.waiting(known.digest_id)
            group = str(body.get("block_id")).removeprefix(f"{review.SOME}:")
            options = review.options(waiting.alerts, group, str(body.get("value") or ""))
        except (ValueError, NotAttempted) as error:
            logger.warning("Couldn't read the choices of a digest: %s", type(error).__name__)
        await ack(options=options)

    async def choose(self, ack: AsyncAck, body: Json) -> None:
        """Take what was chosen, and show what would happen to which node before it is sent."""
        view, actor = view_of(body), actor_of(body)
        if twice := _chosen_twice(view):
            await ack(response_action="errors", errors={twice: "Untick “All” above to choose some, or remove these."})
            return
        shown: list[Json] = []

        async def record() -> None:
            shown.append(await self._ask(view, actor, str(body.get("trigger_id"))))

        async def push() -> None:
            await ack(response_action="push", view=shown[0])

        await self.take(push, submission_of(body), record, say=partial(say_in_dialog, ack))

    async def _ask(self, view: Json, actor: Actor, trigger_id: str) -> Json:
        try:
            known = Review.load(known_of(view))
            verb = Verb(fields_of(view)[review.VERB][review.VERB]["selected_option"]["value"])
            if verb not in review.CHOICES:
                raise UnknownControl("this dialog")
        except (ValueError, TypeError, KeyError) as error:
            raise UnknownControl("this dialog") from error
        await self.lookup.authorize_in_time(verb, actor, known.channel_id)
        place = ReplyTarget(known.channel_id, actor.user_id, is_home=known.is_home)
        press = f"{view.get('id')} {trigger_id}"
        asked, waiting = await self.batches.ask(
            Batch(press, known.digest_id, verb, actor, place, asked_at=0.0), chosen_in(view)
        )
        names = {item.ref: item.node for item in asked.items}
        return review.confirmation(asked, waiting, names, self.config)

    async def stop(self, ack: AsyncAck, body: Json) -> Unacked:
        """Write it down, ack, then leave alone what of a running selection has not begun."""
        return await self.take_change(ack, self.press_of(body), "stop this selection")

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take the confirmation. What cannot be begun is said in the dialog."""
        view, actor = view_of(body), actor_of(body)
        reason = reason_of(view, review.WHY)
        known = known_of(view)
        batch_id = known.removesuffix(review.IN_HOME)
        if not reason and _needs_reason(view):  # Slack takes spaces for one
            await ack(response_action="errors", errors={review.WHY: "Type a reason first."})
            return
        submitted = submission_of(body)
        place = replace(submitted.place, is_home=known != batch_id)
        confirmed = replace(submitted, place=place, key=None, name=f"batch {batch_id}", batch_id=batch_id)
        confirm = partial(self.batches.confirm, batch_id, actor, reason)
        clear = partial(ack, response_action="clear")
        await self.take(clear, confirmed, confirm, say=partial(say_in_dialog, ack))


def _needs_reason(view: Json) -> bool:
    """Return whether a confirmation was shown with a reason that is required."""
    return any(block.get("block_id") == review.WHY and not block.get("optional") for block in dicts(view, "blocks"))


def _chosen_twice(view: Json) -> str:
    """Return the field of a group with both all and some chosen, so what is meant isn't clear; empty for none."""
    ticked = chosen_in(view)
    for field, menus in fields_of(view).items():
        group = field.removeprefix(f"{review.SOME}:")
        has_nodes = any(dicts(menu, "selected_options") for menu in menus.values() if isinstance(menu, dict))
        if has_nodes and group != field and group in ticked:
            return field
    return ""
