"""The buttons that pause and resume approvals, or say who looks into it, and the dialog that asks why they resume."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import Held, PauseService
from bot.models import Json, ReplyTarget, Verb, read_button_value
from handlers.clicks import action_of, actor_of, chosen_in, known_of, reason_of, view_of
from handlers.surface import Interaction, Surface, say_in_dialog

_WHAT = {
    cards.PAUSE: "pause approvals",
    cards.PAUSE_DIALOG: "pause approvals",
    cards.RESUME: "resume approvals",
    cards.RESUME_DIALOG: "resume approvals",
    cards.LOOKING: "say that you're looking",
}
_ENDED = "approvals:ended"  # no control: somebody is told that another person has ended their pause


@dataclass(slots=True)
class Pauses(Surface):
    """Carries them out, and tells the person alone what no card shows."""

    service: PauseService

    def __post_init__(self) -> None:
        self.on(cards.PAUSE, self._pause)
        self.on(cards.PAUSE_DIALOG, self._pause_for)
        self.on(cards.RESUME, self._resume)
        self.on(cards.RESUME_DIALOG, self._resume_named)
        self.on(cards.LOOKING, self._look)
        self.on(_ENDED, self._tell_of_end)

    async def listen(self, ack: AsyncAck, body: Json) -> BoltResponse | None:
        """Write it down, ack, then pause or resume, or ask why."""
        action_id = action_of(body).get("action_id")
        if action_id in {cards.PAUSE_DIALOG, cards.RESUME_DIALOG}:
            press = self.press_of(body)
            return await self.take_once(ack, press, lambda of: self.ask(of, of.action_id, of.value))
        return await self.change(ack, body, _WHAT[str(action_id)])

    async def ask(self, press: Interaction, dialog: str, value: str) -> None:
        """Open the dialog that pauses or resumes approvals, of what the value of a button says."""
        await self.lookup.authorize_in_time(Verb.APPROVE, press.actor, press.place.channel_id)
        if dialog == cards.PAUSE_DIALOG:
            view = cards.pause_dialog(value, press.place)
        else:
            cluster_id, pause, since = await self.service.active(value.removeprefix(cards.ALL_CLUSTERS))
            view = cards.resume_dialog(cluster_id, press.place, pause, since, press.actor.user_id)
        await self.dialogs.open(press.trigger_id, view)

    async def submit_pause(self, ack: AsyncAck, body: Json) -> None:
        """Take the length and the reason, then pause."""
        view = view_of(body)
        cluster_id, channel_id, is_home = json.loads(known_of(view))
        seconds = view["state"]["values"][cards.PAUSE_FOR][cards.PAUSE_FOR]["selected_option"]["value"]
        value = json.dumps([cluster_id, float(seconds)])
        await self._submit(ack, body, cards.PAUSE_DIALOG, value, channel_id, is_home=is_home)

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take what was ticked and the reason, then end those pauses."""
        view = view_of(body)
        known = json.loads(known_of(view))
        cluster_id, channel_id, is_home, *rest = known
        if len(rest) == 1:
            chosen = chosen_in(view)
            since = rest[0] if cards.BRAKE in chosen else ""
        else:  # release 0.1 named one person, and the brake
            chosen, since = [rest[0]], rest[1]
        value = json.dumps([cluster_id, [each for each in chosen if each != cards.BRAKE], since])
        if not chosen:
            await ack(response_action="errors", errors={cards.ENDS: "Tick at least one pause."})
        elif since and not reason_of(view, cards.RESUME_DIALOG):
            await ack(response_action="errors", errors={cards.RESUME_DIALOG: "Type a reason first."})
        else:
            await self._submit(ack, body, cards.RESUME_DIALOG, value, channel_id, is_home=is_home)

    async def _submit(  # noqa: PLR0913 - what was submitted, and where its answer goes
        self, ack: AsyncAck, body: Json, dialog: str, value: str, channel_id: str | None, *, is_home: bool
    ) -> None:
        view, actor = view_of(body), actor_of(body)
        name = f"dialog {view.get('id')}"
        submitted = Interaction(actor, ReplyTarget(channel_id, actor.user_id, is_home=is_home), name, name, body)
        record = partial(self.record_press, submitted, _WHAT[dialog], dialog, value, reason_of(view, dialog))
        await self.take(ack, submitted, record, say=partial(say_in_dialog, ack))

    async def _pause(self, held: Held) -> bool:
        cluster_id = _cluster(held)
        pause = await self.service.pause(cluster_id, held)
        return await self.replies.reply_privately(held.entry.place, cards.paused(cluster_id, pause))

    async def _pause_for(self, held: Held) -> bool:
        chosen, seconds = json.loads(held.entry.value)
        cluster_id = str(chosen).removeprefix(cards.ALL_CLUSTERS)
        pause = await self.service.pause(cluster_id, held, seconds)
        return await self.replies.reply_privately(held.entry.place, cards.paused(cluster_id, pause))

    async def _resume(self, held: Held) -> bool:
        return await self._end(_cluster(held), held)

    async def _resume_named(self, held: Held) -> bool:
        cluster_id, *rest = json.loads(held.entry.value)
        chosen, since = rest if isinstance(rest[0], list) else ([rest[2]], rest[3])  # as release 0.1 wrote it
        return await self._end(cluster_id, held, chosen, since)

    async def _end(self, cluster_id: str, held: Held, chosen: Collection[str] | None = None, since: str = "") -> bool:
        """End pauses, and tell who asked. Those whose pause it was are told apart, each for as long as it takes."""
        entry = held.entry
        scope, left, people = await self.service.resume(cluster_id, held, chosen, since)
        for user_id, paused in people:
            if user_id != entry.actor.user_id:
                key, place = f"{entry.key} {user_id} {paused}", ReplyTarget(None, user_id, is_home=True)
                await held.leave(replace(entry, key=key, place=place, action=_ENDED, value=paused))
        return await self.replies.reply_privately(entry.place, cards.resumed(scope, left))

    async def _tell_of_end(self, held: Held) -> bool:
        entry = held.entry
        said = cards.pause_ended(entry.place.user_id, entry.value, entry.actor.user_id, entry.reason)
        return await self.replies.reply_privately(entry.place, said)

    async def _look(self, held: Held) -> bool:
        value = held.entry.value
        about = read_button_value(value)[0] if value.startswith("{") else value
        looked = await self.service.look_into(about, held)
        return await self.replies.reply_privately(held.entry.place, cards.looked_into(looked))


def _cluster(held: Held) -> str:
    return held.entry.value.removeprefix(cards.ALL_CLUSTERS)
