"""What says that approvals are paused, and the controls for it."""

import json
from dataclasses import replace
from typing import Any

from bot.cards import blocks
from bot.models import LOOKING_SECONDS, Looked, Message, Pause, ReplyTarget
from bot.mrkdwn import clock_time, escape
from bot.parsing import MAX_REASON

PAUSE, RESUME = "approvals:pause", "approvals:resume"
PAUSE_DIALOG = "approvals:pause-for"  # opens the dialog, and is its name
PAUSE_FOR = "seconds"
LENGTHS = (("30 min", "1800"), ("1 h", "3600"), ("4 h", "14400"), ("12 h", "43200"))
RESUME_DIALOG = "approvals:resume-reason"  # opens the dialog, and is its name
ALL_CLUSTERS = "*"  # no cluster ID has it


def pause_line(pause: Pause) -> str:
    """Return why approvals are paused and until when."""
    why = f" (“{escape(pause.reason, 200)}”)" if pause.reason else ""
    told = []
    if pause.user_id:
        told.append(f"{_where(pause.cluster_id)} until {clock_time(pause.until)} by <@{pause.user_id}>{why}")
    told += [f"{_where(pause.braked)} automatically: {pause.brake} are broken"] if pause.brake else []
    return f"Approvals are paused {', and '.join(told)}. You can still cancel."


def pause_button(cluster_id: str | None, pause: Pause | None) -> dict[str, Any]:
    """Return the button that pauses approvals of a cluster, or of all, or that resumes them."""
    if pause and pause.brake:
        return resume_button(pause.braked)
    text, action_id = ("Resume approvals", RESUME) if pause else ("Pause approvals…", PAUSE_DIALOG)
    value = (pause.cluster_id if pause else cluster_id) or ALL_CLUSTERS
    return {"type": "button", "action_id": action_id, "text": blocks.plain(text), "value": value}


def resume_button(cluster_id: str) -> dict[str, Any]:
    """Return the button that asks why approvals resume which the storm brake has paused."""
    return {
        "type": "button",
        "action_id": RESUME_DIALOG,
        "text": blocks.plain("Resume approvals…"),
        "value": cluster_id,
    }


def pause_dialog(cluster_id: str, place: ReplyTarget) -> dict[str, Any]:
    """Return the dialog that asks for how long approvals pause, and why; `place` is where it was asked for."""
    length = blocks.choice(PAUSE_FOR, "For how long", "How long", [blocks.option(*each) for each in LENGTHS], 1)
    hint = "Shown on the cards and kept in the audit trail."
    where = _where(cluster_id.removeprefix(ALL_CLUSTERS))
    return {
        **_dialog("Pause approvals", PAUSE_DIALOG),
        "private_metadata": json.dumps([cluster_id, place.channel_id, place.is_home]),
        "submit": blocks.plain("Pause approvals"),
        "blocks": [
            blocks.statement(f"Nobody can approve {where} until then.", "Cancel still works. Any operator can resume."),
            length,
            blocks.reason_field(PAUSE_DIALOG, hint, MAX_REASON, is_optional=True),
        ],
    }


def resume_dialog(cluster_id: str, place: ReplyTarget, pause: Pause | None, since: str) -> dict[str, Any]:
    """Return the dialog that ends what it names, with a reason.

    Args:
        place: where it was asked for.
        pause: what holds now.
        since: of the brake, as `Brake.key`.
    """
    is_own = pause is not None and pause.user_id and pause.cluster_id == cluster_id
    user_id = pause.user_id if pause and is_own else ""
    ends = [f"<@{user_id}>'s pause"] if user_id else []
    ends += [f"the storm brake ({pause.brake} are broken)"] if pause and since else []
    stays = (
        f" Approvals stay paused in all clusters by <@{pause.user_id}>."
        if pause and pause.user_id and not is_own
        else ""
    )
    if not ends:
        return {
            **_dialog("Resume approvals", RESUME_DIALOG),
            "blocks": [blocks.paragraph(f"Approvals {_where(cluster_id)} aren't paused any more.{stays}")],
        }
    warns = "If one switch or rack is the cause, repairing single nodes doesn't help." if since else ""
    hint = "Kept in the audit trail, and shown in the channel where the storm brake ends."
    reason = blocks.reason_field(RESUME_DIALOG, hint, MAX_REASON, is_optional=False)
    return {
        **_dialog("Resume approvals", RESUME_DIALOG),
        "private_metadata": json.dumps([cluster_id, place.channel_id, place.is_home, user_id, since]),
        "submit": blocks.plain("Resume approvals"),
        "blocks": [blocks.statement(f"Ends {' and '.join(ends)}.{stays}", warns), reason],
    }


def _dialog(title: str, name: str) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": name,
        "title": blocks.plain(title),
        "close": blocks.plain("Go back"),
    }


def paused(cluster_id: str, pause: Pause) -> Message:
    """Tell who paused approvals that they are."""
    told = _told(pause_line(pause))
    return replace(told, blocks=[*told.blocks, blocks.actions([pause_button(cluster_id, pause)])])


def resumed(cluster_id: str, left: Pause | None) -> Message:
    """Tell who resumed approvals that they are, or what pauses them still."""
    if left is None:
        return _told(f"Approvals resumed {_where(cluster_id)}.")
    told = _told(f"Not all of it is over. {pause_line(left)}")
    return replace(told, blocks=[*told.blocks, blocks.actions([pause_button(cluster_id, left)])])


def looked_into(looked: Looked) -> Message:
    """Tell who said that they look into something what came of it: the message in the channel may not show it yet."""
    minutes = f"{LOOKING_SECONDS / 60:.0f} minutes"
    said = {
        Looked.NOTED: f"Noted: you're looking. Nobody is reminded for {minutes}. Press it again for {minutes} more.",
        Looked.NOTHING_WAITS: "Nothing here needs a decision any more.",
        Looked.IS_ONE_OF_MANY: "This node is in a message about several: press “I'm looking” there.",
        Looked.NOT_TRACKED: "The bot doesn't track this remediation. Tell your team in the thread.",
    }
    return _told(said[looked])


def _where(cluster_id: str) -> str:
    return f"in {escape(cluster_id, 200)}" if cluster_id else "in all clusters"


def _told(text: str) -> Message:
    return Message(text, [blocks.paragraph(text)])
