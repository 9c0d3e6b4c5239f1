"""What states and modes are called, and what a mode does to the node."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.models import Mode, State
from bot.mrkdwn import clean, when


@dataclass(frozen=True, slots=True)
class ModeLabels:
    """How a mode is spoken of; `{}` in a phrase is the node.

    Attributes:
        name: as Together's console has it.
        noun: as in "approve reboot".
        do: an order, such as "reboot {}".
        doing: in progress.
        done: finished.
        effect: what it does to the node.
        result: what it did.
        confirm: the button that starts it in the dialog; at most 30 characters.
        is_destructive: it deletes the VM.
    """

    name: str
    noun: str
    do: str
    doing: str
    done: str
    effect: str
    result: str
    confirm: str
    is_destructive: bool = False


# What each mode does: docs.together.ai/reference/remediation-create, "mode".
MODES: Mapping[str, ModeLabels] = {
    Mode.VM_ONLY: ModeLabels(
        name="Replace VM",
        noun="VM replacement",
        do="replace the VM of {}",
        doing="Replacing the VM of {}",
        done="Replaced the VM of {}",
        effect="Deletes the VM and its local data, then starts a new VM on any available host.",
        result="The VM and its local data were deleted, and a new VM was started.",
        confirm="Delete and replace VM",
        is_destructive=True,
    ),
    Mode.HOST_AWARE: ModeLabels(
        name="Move to another host",
        noun="move",
        do="move {} to another host",
        doing="Moving {} to another host",
        done="Moved {} to another host",
        effect="Cordons the host, deletes the VM and its local data, then starts a new VM on a different host.",
        result="The VM and its local data were deleted, and a new VM was started on a different host.",
        confirm="Delete and move VM",
        is_destructive=True,
    ),
    Mode.EVICT_WITHOUT_REPLACEMENT: ModeLabels(
        name="Evict without replacement",
        noun="eviction",
        do="evict {} (no replacement)",
        doing="Evicting {}",
        done="Evicted {}",
        effect="Removes the VM without a replacement. The cluster shrinks by one node.",
        result="The VM was removed without a replacement. The cluster is one node smaller.",
        confirm="Evict, no replacement",
        is_destructive=True,
    ),
    Mode.REBOOT_VM: ModeLabels(
        name="Reboot VM",
        noun="reboot",
        do="reboot {}",
        doing="Rebooting {}",
        done="Rebooted {}",
        effect="Reboots the VM on the same host.",
        result="The VM was rebooted on the same host.",
        confirm="Approve reboot",
    ),
    Mode.HOST_POWER_CYCLE: ModeLabels(
        name="Power-cycle host",
        noun="power cycle",
        do="power-cycle the host of {}",
        doing="Power-cycling the host of {}",
        done="Power-cycled the host of {}",
        effect="Cordons and power-cycles the host. The node keeps its name and ID.",
        result="The host was power-cycled. The node kept its name and ID.",
        confirm="Approve power cycle",
    ),
}

STATES: Mapping[str, tuple[str, str]] = {
    State.PENDING_APPROVAL: ("Waiting for approval", "⏳"),
    State.PENDING: ("Queued", "🕓"),
    State.QUARANTINING: ("Cordoning the host", "🚧"),
    State.QUARANTINED: ("Host cordoned", "🚧"),
    State.RUNNING: ("Running", "🔧"),
    State.SUCCEEDED: ("Succeeded", "✅"),
    State.FAILED: ("Failed", "❌"),
    State.CANCELLED: ("Cancelled", "🚫"),
    State.AUTO_RESOLVED: ("Resolved on its own", "💤"),
}
WITHDRAWN = "Withdrawn", "💨"

TRIGGERS: Mapping[str, str] = {
    "REMEDIATION_TRIGGER_AUTOMATED": "automatic",
    "REMEDIATION_TRIGGER_MANUAL": "manual",
}

SEVERITIES: Mapping[str, str] = {
    "PHC_SEVERITY_CRITICAL": "Critical",
    "PHC_SEVERITY_WARNING": "Warning",
    "PHC_SEVERITY_INFO": "Info",
}

DRAIN = "The node is drained first: running jobs lose any work since their last checkpoint."
DRAIN_EACH = "Each node is drained first: running jobs lose any work since their last checkpoint."
COOLDOWN = "Together won't suggest another repair for about 30 minutes."


def mode(value: str) -> ModeLabels:
    """Return what a mode is called; an unknown one is called what it is, with a warning for its effect."""
    if known := MODES.get(value):
        return known
    name = clean(value.removeprefix("REMEDIATION_MODE_"), 60) or "unknown repair"
    spoken = name.replace("{", "(").replace("}", ")")
    unknown = "This bot doesn't recognize this repair type. Check Together's docs before approving."
    return ModeLabels(
        name=name,
        noun=name,
        do=f"run {spoken} on {{}}",
        doing=f"Running {spoken} on {{}}",
        done=f"Ran {spoken} on {{}}",
        effect=unknown,
        result="",
        confirm="Approve",
    )


def state(value: str, *, reviewed: bool = False) -> tuple[str, str]:
    """Return what a state is called, and its symbol.

    Args:
        reviewed: whether somebody approved it: a queued one may also have been requested by hand.
    """
    if value == State.PENDING and reviewed:
        return "Approved, queued", STATES[value][1]
    return STATES.get(value) or (f"State {clean(value, 60) or 'unknown'}", "❔")


def as_of(moment: float) -> str:
    """Return the warning that what is shown may be out of date; `moment` in Unix time."""
    return f"Last confirmed {when(moment)}. Can't reach Together to check again."


def ordinal(number: int) -> str:
    """Return a number's place in a row: "2nd", "11th"."""
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in {11, 12, 13} else "th"
    return f"{number}{suffix}"
