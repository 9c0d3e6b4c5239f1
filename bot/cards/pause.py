"""What says that approvals are paused, and the controls for it."""

from dataclasses import replace
from typing import Any

from bot.cards import blocks
from bot.models import Message, Pause
from bot.mrkdwn import clock_time, escape
from bot.parsing import MAX_REASON

PAUSE, RESUME = "approvals:pause", "approvals:resume"
RESUME_DIALOG = "approvals:resume-reason"  # opens the dialog, and is its name
ALL_CLUSTERS = "*"  # no cluster ID has it


def pause_line(pause: Pause) -> str:
    """Return why approvals are paused and until when."""
    return f"Approvals are paused {_where(pause.cluster_id)} {_why(pause)}. You can still cancel."


def _why(pause: Pause) -> str:
    by_person = f"until {clock_time(pause.until)} by <@{pause.user_id}>" if pause.user_id else ""
    by_brake = f"automatically: {pause.brake} are broken" if pause.brake else ""
    return ", and ".join(filter(None, (by_person, by_brake)))


def pause_button(cluster_id: str | None, pause: Pause | None) -> dict[str, Any]:
    """Return the button that pauses approvals of a cluster, or of all, or that resumes them."""
    if pause and pause.brake:
        return resume_button(pause.cluster_id)
    text, action_id = ("Resume approvals", RESUME) if pause else ("Pause approvals 1 h", PAUSE)
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


def resume_dialog(metadata: str, pause: Pause | None) -> dict[str, Any]:
    """Return the dialog that ends what pauses approvals, with a reason.

    Args:
        metadata: what the view must know when it comes back.
        pause: what holds now.
    """
    holders = [f"<@{pause.user_id}>'s pause"] if pause and pause.user_id else []
    holders += [f"the storm brake ({pause.brake} are broken)"] if pause and pause.brake else []
    ends = f"Ends {' and '.join(holders)}." if holders else "Approvals aren't paused any more."
    reason = {
        "type": "input",
        "block_id": RESUME_DIALOG,
        "label": blocks.plain("Reason"),
        "hint": blocks.plain("Shown in the channel and kept in the audit trail."),
        "element": {"type": "plain_text_input", "action_id": RESUME_DIALOG, "max_length": MAX_REASON},
    }
    return {
        "type": "modal",
        "callback_id": RESUME_DIALOG,
        "private_metadata": metadata,
        "title": blocks.plain("Resume approvals"),
        "submit": blocks.plain("Resume approvals"),
        "close": blocks.plain("Go back"),
        "blocks": [
            blocks.statement(ends, "If one switch or rack is the cause, repairing single nodes doesn't help."),
            reason,
        ],
    }


def paused(cluster_id: str, pause: Pause) -> Message:
    """Tell who paused approvals that they are."""
    told = _told(f"Approvals are paused {_where(cluster_id)} until {clock_time(pause.until)}. You can still cancel.")
    return replace(told, blocks=[*told.blocks, blocks.actions([pause_button(cluster_id, pause)])])


def resumed(cluster_id: str) -> Message:
    """Tell who resumed approvals that they are."""
    return _told(f"Approvals are on again {_where(cluster_id)}.")


def _where(cluster_id: str) -> str:
    return f"in {escape(cluster_id, 200)}" if cluster_id else "in all clusters"


def _told(text: str) -> Message:
    return Message(text, [blocks.paragraph(text)])
