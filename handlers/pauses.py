"""The buttons that pause and resume approvals, or say who looks into it, and the dialog that asks why they resume."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import LeasedEntry, PauseService
from bot.errors import UnknownControl
from bot.models import Json, ReplyTarget, Verb, read_button_value
from handlers.payloads import chosen_in, fields_of, known_of, option_of, reason_of, view_of
from handlers.surface import BadField, Interaction, Record, Surface, Unacked, click_of

_WHAT = {
    cards.PAUSE: "pause approvals",
    cards.PAUSE_DIALOG: "pause approvals",
    cards.RESUME: "resume approvals",
    cards.RESUME_DIALOG: "resume approvals",
    cards.LOOKING: "say that you're looking",
}
PAUSE_SECONDS = 3600.0  # of a press that says no length
_ENDED = "approvals:ended"  # no control: somebody is told that another person has ended their pause


@dataclass(slots=True)
class Pauses(Surface):
    """Carries them out, and shows the person alone what no card does."""

    service: PauseService

    def __post_init__(self) -> None:
        for action_id in (cards.PAUSE, cards.PAUSE_DIALOG):
            self.inbox.on(action_id, self._pause)
        for action_id in (cards.RESUME, cards.RESUME_DIALOG):
            self.inbox.on(action_id, self._resume)
        self.inbox.on(cards.LOOKING, self._look)
        self.inbox.on(_ENDED, self._tell_of_end)

    async def listen(self, ack: AsyncAck, body: Json) -> Unacked:
        """Write it down, ack, then pause or resume, or ask why."""
        click = click_of(body)
        # What the bot said to somebody alone answers what was asked in Home, and counts as that.
        place = replace(click.place, is_home=click.place.is_direct)
        press = replace(click, place=self.home.result_target(place, ""))
        if press.action_id in {cards.PAUSE_DIALOG, cards.RESUME_DIALOG}:
            return await self.take_show(ack, press, lambda of: self.ask(of, of.action_id, of.value))
        return await self.take_change(ack, press, _WHAT[press.action_id])

    async def ask(self, press: Interaction, dialog: str, value: str) -> None:
        """Open the dialog that pauses or resumes approvals, of what the value of a button says."""
        await self.lookup.authorize_in_time(Verb.APPROVE, press.actor, press.place.channel_id)
        if dialog == cards.PAUSE_DIALOG:
            called = await self.service.cluster_name(value.removeprefix(cards.ALL_CLUSTERS))
            view = cards.pause_dialog(value, called, press.place)
        else:
            cluster_id, pause, since = await self.service.active(value.removeprefix(cards.ALL_CLUSTERS))
            called = await self.service.cluster_name(cluster_id)
            view = cards.resume_dialog(cluster_id, called, press.place, pause, since, press.actor.user_id)
        await self.dialogs.open(press.trigger_id, view)

    async def submit_pause(self, ack: AsyncAck, body: Json) -> None:
        """Take the length and the reason, then pause."""
        await self.take_dialog(ack, body, self._asked_to_pause)

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take what was ticked and the reason, then end those pauses."""
        await self.take_dialog(ack, body, self._asked_to_resume)

    def _asked_to_pause(self, submitted: Interaction) -> tuple[Interaction, Record]:
        chosen = fields_of(view_of(submitted.body))[cards.PAUSE_FOR][cards.PAUSE_FOR]
        return self._asked(submitted, cards.PAUSE_DIALOG, float(option_of(chosen)))

    def _asked_to_resume(self, submitted: Interaction) -> tuple[Interaction, Record]:
        view = view_of(submitted.body)
        _, _, _, *rest = json.loads(known_of(view))
        if len(rest) == 1:
            chosen = chosen_in(view)
            since = rest[0] if cards.BRAKE in chosen else ""
        else:  # release 0.1 named one person, and the brake
            chosen, since = [rest[0]], rest[1]
        if not chosen:
            raise BadField(cards.ENDS, "Tick at least one pause.")
        if since and not reason_of(view, cards.RESUME_DIALOG):
            raise BadField(cards.RESUME_DIALOG, "Type a reason first.")
        return self._asked(submitted, cards.RESUME_DIALOG, [key for key in chosen if key != cards.BRAKE], since)

    def _asked(self, submitted: Interaction, dialog: str, *chosen: object) -> tuple[Interaction, Record]:
        view = view_of(submitted.body)
        cluster_id, channel_id, is_home, *_ = json.loads(known_of(view))
        value = json.dumps([cluster_id, *chosen])
        submitted = replace(submitted, place=replace(submitted.place, channel_id=channel_id, is_home=is_home))
        return submitted, partial(self.record_press, submitted, _WHAT[dialog], dialog, value, reason_of(view, dialog))

    async def _pause(self, leased: LeasedEntry) -> bool:
        entry = leased.entry
        value = entry.value
        seconds = PAUSE_SECONDS
        if entry.action == cards.PAUSE_DIALOG:
            value, seconds = json.loads(value)
        cluster_id = _cluster_of(value)
        pause = await self.service.pause(cluster_id, leased, seconds)
        if pause:
            return await self.replies.reply_privately(entry.place, cards.paused(cluster_id, pause))
        called = await self.service.cluster_name(cluster_id)
        return await self.replies.reply_privately(entry.place, cards.pause_over(called))

    async def _resume(self, leased: LeasedEntry) -> bool:
        """End pauses, and tell who asked. Those whose pause it was are told apart, each for as long as it takes."""
        entry = leased.entry
        chosen: Collection[str] | None = None
        since = ""
        cluster_id = _cluster_of(entry.value)
        if entry.action == cards.RESUME_DIALOG:
            cluster_id, *rest = json.loads(entry.value)
            chosen, since = rest if isinstance(rest[0], list) else ([rest[2]], rest[3])  # as release 0.1 wrote it
        scope, left, people = await self.service.resume(cluster_id, leased, chosen, since)
        for user_id, paused in people:
            if user_id != entry.actor.user_id:
                key = f"{entry.key} {user_id} {paused}"
                place = ReplyTarget(None, user_id, is_home=True)
                called = await self.service.cluster_name(paused)
                await leased.leave(replace(entry, key=key, place=place, action=_ENDED, value=called))
        said = cards.resumed(scope, await self.service.cluster_name(scope), left)
        return await self.replies.reply_privately(entry.place, said)

    async def _tell_of_end(self, leased: LeasedEntry) -> bool:
        entry = leased.entry
        said = cards.pause_ended(entry.place.user_id, entry.value, entry.actor.user_id, entry.reason)
        return await self.replies.reply_privately(entry.place, said)

    async def _look(self, leased: LeasedEntry) -> bool:
        value = leased.entry.value
        about, saw = read_button_value(value) if value.startswith("{") else (value, None)
        looked = await self.service.look_into(about, (saw and saw.episode) or "", leased)
        return await self.replies.reply_privately(leased.entry.place, cards.looked_into(looked, leased.age))


def _cluster_of(value: str) -> str:
    """Return the cluster that a button names; empty for all of them, which it says too."""
    if not value:
        raise UnknownControl("a button that names no cluster")
    return value.removeprefix(cards.ALL_CLUSTERS)
