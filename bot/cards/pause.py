"""What says that approvals are paused, and the buttons for it."""

from dataclasses import replace
from typing import Any

from bot.cards import blocks
from bot.models import Message, Pause
from bot.mrkdwn import clock_time, escape

PAUSE, RESUME = "approvals:pause", "approvals:resume"
ALL_CLUSTERS = "*"  # no cluster ID has it


def pause_line(pause: Pause) -> str:
    """Return who paused approvals and until when."""
    where, until = _where(pause.cluster_id), clock_time(pause.until)
    return f"Approvals are paused {where} until {until} by <@{pause.user_id}>. You can still cancel."


def pause_button(cluster_id: str | None, pause: Pause | None) -> dict[str, Any]:
    """Return the button that pauses approvals of a cluster, or of all, or that resumes them."""
    text, action_id = ("Resume approvals", RESUME) if pause else ("Pause approvals 1 h", PAUSE)
    value = (pause.cluster_id if pause else cluster_id) or ALL_CLUSTERS
    return {"type": "button", "action_id": action_id, "text": blocks.plain(text), "value": value}


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
