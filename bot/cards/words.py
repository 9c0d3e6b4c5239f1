"""The words for states and modes: what a tired person reads, and what a mode does to the node."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.models import Mode, Remediation, State
from bot.mrkdwn import clean, when


@dataclass(frozen=True, slots=True)
class ModeWords:
    """A mode's name, and what it does to the node."""

    name: str
    consequence: str


# What each mode does: docs.together.ai/reference/remediation-create, "mode".
MODES: Mapping[str, ModeWords] = {
    Mode.VM_ONLY: ModeWords(
        "Replace VM", "The VM and its local data are deleted, and a new VM starts on any available host."
    ),
    Mode.HOST_AWARE: ModeWords(
        "Move to another host",
        "The host is cordoned, the VM and its local data are deleted, and a new VM starts on another host.",
    ),
    Mode.EVICT_WITHOUT_REPLACEMENT: ModeWords(
        "Evict without replacement", "The VM is removed and none replaces it: the cluster loses a node."
    ),
    Mode.REBOOT_VM: ModeWords("Reboot VM", "The VM reboots in place, on the same host."),
    Mode.HOST_POWER_CYCLE: ModeWords(
        "Power-cycle host", "The host is cordoned and switched off and on; the node keeps its identity."
    ),
}

STATES: Mapping[str, tuple[str, str]] = {
    State.PENDING_APPROVAL: ("Waiting for approval", "⏳"),
    State.PENDING: ("Queued to start", "🕓"),
    State.QUARANTINING: ("Cordoning the host", "🚧"),
    State.QUARANTINED: ("Host cordoned", "🚧"),
    State.RUNNING: ("Running", "🔧"),
    State.SUCCEEDED: ("Succeeded", "✅"),
    State.FAILED: ("Failed", "❌"),
    State.CANCELLED: ("Cancelled", "🚫"),
    State.AUTO_RESOLVED: ("Resolved by itself", "💤"),
}

TRIGGERS: Mapping[str, str] = {
    "REMEDIATION_TRIGGER_AUTOMATED": "Health check (automated)",
    "REMEDIATION_TRIGGER_MANUAL": "A person (manual)",
}

SEVERITIES: Mapping[str, str] = {
    "PHC_SEVERITY_CRITICAL": "Critical",
    "PHC_SEVERITY_WARNING": "Warning",
    "PHC_SEVERITY_INFO": "Info",
}

DRAIN = "Approving drains the node: jobs that have not checkpointed lose their work."
COOLDOWN = "Together makes no new recommendation for it for about 30 minutes."


def mode_words(mode: str) -> ModeWords:
    """The words for a mode; an unknown one is shown as it is, with a warning for a consequence."""
    if known := MODES.get(mode):
        return known
    name = clean(mode.removeprefix("REMEDIATION_MODE_"), 60) or "Unknown mode"
    return ModeWords(name, "This bot does not know what this mode does: look it up before you approve.")


def state_words(state: str, *, reviewed: bool = False) -> tuple[str, str]:
    """The words and the symbol for a state.

    Args:
        state: as Together says it.
        reviewed: whether somebody approved it: a queued one may also have been made by hand.
    """
    if state == State.PENDING and reviewed:
        return "Approved, queued to start", STATES[state][1]
    return STATES.get(state) or (f"State {clean(state, 60) or 'unknown'}", "❔")


def consequence(remediation: Remediation) -> str:
    """What a remediation does, did or will not do to the node, by its state."""
    does = mode_words(remediation.mode).consequence
    match remediation.state:
        case State.PENDING_APPROVAL:
            return f"If approved: {does[0].lower()}{does[1:]}"
        case State.CANCELLED:
            return "It will not run: nothing is done to the node."
        case State.AUTO_RESOLVED:
            return "It will not run: the alert cleared before anything was done to the node."
        case State.SUCCEEDED:
            return f"It has run to its end. What it does: {does[0].lower()}{does[1:]}"
        case State.FAILED:
            return f"It may have stopped halfway: check the node. What it does: {does[0].lower()}{does[1:]}"
    return does


def as_of(moment: float) -> str:
    """Say that what is shown may be out of date; `moment` in Unix time."""
    return f"As of {when(moment)}. Together can't be reached to confirm it."


def node(remediation: Remediation) -> str:
    """The node's name, or its ID where it has none; raw."""
    return remediation.instance_name or remediation.instance_id


def ordinal(number: int) -> str:
    """A number as it stands in a row: "second", "11th"."""
    named = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in {11, 12, 13} else "th"
    return named.get(number) or f"{number}{suffix}"
