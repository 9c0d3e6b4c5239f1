"""Messages about paused approvals, with their controls and dialogs."""

import json
from collections.abc import Sequence

from bot.cards import blocks
from bot.cards.blocks import line
from bot.models import LOOKING_SECONDS, Blocks, Json, Looked, Message, Pause, Pauser, ReplyTarget
from bot.mrkdwn import clean, clock_time, escape, when

PAUSE, RESUME = "approvals:pause", "approvals:resume"
PAUSE_DIALOG = "approvals:pause-for"  # opens the dialog, and is its name
PAUSE_FOR = "seconds"
LENGTHS = (("30 min", "1800"), ("1 h", "3600"), ("4 h", "14400"), ("12 h", "43200"))
RESUME_DIALOG = "approvals:resume-reason"  # opens the dialog, and is its name; RESUME is release 0.1's
ENDS, BRAKE = "approvals:ends", "brake"  # the boxes of that dialog, and the one for the storm brake
ALL_CLUSTERS = "*"  # no cluster ID has it
BOXES = 9  # people's pauses to choose from, beside the brake: ten options (docs.slack.dev, checkboxes element)
NAMED = 3  # people that a card names


def pause_line(pause: Pause) -> str:
    """Return why approvals are paused and until when."""
    reasons = [
        f"{_where(pauser.where)} until {when(pauser.until)} by <@{pauser.user_id}>"
        + (f" (“{escape(pauser.reason, 200)}”)" if pauser.reason else "")
        for pauser in pause.people[:NAMED]
    ]
    reasons += [f"by {len(pause.people) - NAMED} more"] if len(pause.people) > NAMED else []
    reasons += [f"{_where(brake.where)} automatically: {brake.broken} were broken" for brake in pause.brakes[:NAMED]]
    reasons += [f"in {len(pause.brakes) - NAMED} more clusters automatically"] if len(pause.brakes) > NAMED else []
    return f"Approvals are paused {', and '.join(reasons)}. You can still cancel."


def pause_buttons(cluster_id: str | None, pause: Pause | None) -> Blocks:
    """Return the buttons that pause approvals of a cluster, or of all, and that resume them."""
    again = blocks.press(PAUSE_DIALOG, "Pause approvals…", value=cluster_id or ALL_CLUSTERS)
    if pause is None:
        return [again]
    return [resume_button(cluster_id or ALL_CLUSTERS), again]


def resume_button(cluster_id: str) -> Json:
    """Return the button that asks which pauses end, and why."""
    return blocks.press(RESUME_DIALOG, "Resume approvals…", value=cluster_id)


def pause_dialog(cluster_id: str, cluster: str, place: ReplyTarget) -> Json:
    """Return the dialog that asks for how long approvals pause, and why.

    Args:
        cluster: the cluster's name, raw; empty for all clusters.
        place: where it was asked for.
    """
    length = blocks.choice(PAUSE_FOR, "For how long", "How long", [blocks.option(*choice) for choice in LENGTHS], 1)
    hint = "Shown on the cards and kept in the audit trail."
    nobody = f"Nobody can approve {_where(cluster)} through Slack until then."
    drawn = [
        blocks.statement(nobody, "Cancel still works. Any operator can resume."),
        length,
        blocks.reason_field(PAUSE_DIALOG, hint),
    ]
    known = json.dumps([cluster_id, place.channel_id, place.is_home])
    return blocks.modal(
        "Pause approvals", drawn, private_metadata=known, callback_id=PAUSE_DIALOG, submit="Pause approvals"
    )


def resume_dialog(  # noqa: PLR0913, PLR0917 - what is paused, by whom, and who asks where
    cluster_id: str, cluster: str, place: ReplyTarget, pause: Pause | None, since: str, user_id: str
) -> Json:
    """Return the dialog that ends the pauses that are ticked, one's own to begin with.

    Args:
        cluster: the cluster's name, raw; empty for all clusters.
        place: where it was asked for.
        pause: what holds now.
        since: of the brake, as `Brake.as_shown`.
        user_id: who asks.
    """
    if pause is None:
        return _resume([blocks.paragraph(f"Approvals {_where(cluster)} aren't paused any more.")])
    kept = sorted(pause.people, key=lambda pauser: pauser.user_id != user_id)[:BOXES]
    people = [pauser for pauser in pause.people if pauser in kept]
    boxes = [_box(pauser, cluster_id) for pauser in people]
    own = [_box(pauser, cluster_id) for pauser in people if pauser.user_id == user_id]
    brake = next((brake for brake in pause.brakes if brake.cluster_id == cluster_id), None)
    if since and brake:
        box = blocks.option(f"The storm brake: {brake.broken} were broken", BRAKE)
        boxes.append(box | {"description": blocks.plain(clean(cluster, blocks.MAX_OPTION_TEXT))})
        own = own or ([] if people else boxes)
    if not boxes:  # the brake was set by another version, and is read again in a moment
        said = f"{pause_line(pause)} Nothing can be resumed right now. Try again in a minute."
        return _resume([blocks.paragraph(said)])
    field = blocks.boxes(ENDS, boxes, own)
    others = _kept([braked.where for braked in pause.brakes if braked is not brake])
    warns = "If one switch or rack is the cause, repairing single nodes doesn't help. " if since else ""
    resumes = f"Approvals {_where(cluster)} resume once no pause is left."
    hint = "Needed for the storm brake. Kept in the audit trail." if since else "Kept in the audit trail."
    drawn = [
        blocks.statement(resumes, f"{warns}{others}".strip()),
        blocks.field(ENDS, "Which pauses end", field, "People whose pause you end are told."),
        blocks.reason_field(RESUME_DIALOG, hint),
    ]
    known = json.dumps([cluster_id, place.channel_id, place.is_home, since])
    return _resume(drawn, private_metadata=known, submit="Resume approvals")


def _kept(braked: Sequence[str]) -> str:
    if not braked:
        return ""
    names = ", ".join(escape(name, 60) for name in braked[:NAMED])
    more = f", and {len(braked) - NAMED} more" if len(braked) > NAMED else ""
    return f"The storm brake keeps others paused: {names}{more}. Resume those from a card of theirs."


def _box(pauser: Pauser, cluster_id: str) -> Json:
    scope = "" if pauser.cluster_id else ", all clusters"
    text = blocks.mrkdwn(f"<@{pauser.user_id}> until {clock_time(pauser.until)}{scope}")
    box = {"text": text, "value": pauser.key}
    where = pauser.where if pauser.cluster_id != cluster_id else ""
    more = clean(": ".join(part for part in (where, pauser.reason) if part), blocks.MAX_OPTION_TEXT)
    return box | {"description": blocks.plain(more)} if more else box


def _resume(drawn: Sequence[Json], **more: str) -> Json:
    return blocks.modal("Resume approvals", drawn, callback_id=RESUME_DIALOG, **more)


def paused(cluster_id: str, pause: Pause, before: str = "") -> Message:
    """Tell who paused approvals that they are, with what is said `before` it."""
    said = f"{before}{pause_line(pause)}"
    return Message(said, [blocks.paragraph(said), blocks.actions([resume_button(cluster_id or ALL_CLUSTERS)])])


def pause_over(cluster: str) -> Message:
    """Tell who paused approvals of a cluster that this is over: they weren't told in time that it began."""
    return line(f"Your pause of approvals {_where(cluster)} is over.")


def resumed(cluster_id: str, cluster: str, left: Pause | None) -> Message:
    """Tell who resumed approvals of a cluster that they are, or what pauses them still."""
    if left is None:
        return line(f"Approvals resumed {_where(cluster)}.")
    return paused(cluster_id, left, "Not all of it is over. ")


def pause_ended(user_id: str, cluster: str, by: str, reason: str) -> Message:
    """Tell somebody that another person has ended their pause of a cluster."""
    why = f": “{escape(reason, 300)}”" if reason else "."
    return line(f"<@{user_id}>, <@{by}> ended your pause of approvals {_where(cluster)}{why}")


def looked_into(looked: Looked, age: float) -> Message:
    """Return the answer to somebody who pressed "I'm looking" `age` seconds ago: the card may not show it yet."""
    left = max(0, int((LOOKING_SECONDS - age) // 60))
    minutes = "1 minute" if left == 1 else f"{left} minutes"
    said = {
        Looked.NOTED: f"Noted: you're looking. Nobody is reminded for {minutes}. Press it again to start that over.",
        Looked.NOTHING_WAITS: "Nothing here needs a decision any more.",
        Looked.OPENED_AGAIN: "Not noted: it opened again since you saw it. Press “I'm looking” on its present card.",
        Looked.IS_ONE_OF_MANY: "This node is in a message about several: press “I'm looking” there.",
        Looked.NOT_TRACKED: "The bot doesn't track this remediation. Tell your team in the thread.",
    }
    return line(said[looked])


def _where(cluster: str) -> str:
    return f"in {escape(cluster, 200)}" if cluster else "in all clusters"
