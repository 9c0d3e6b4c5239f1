"""The states and modes of remediations that Together documents. Both sets are open."""

from enum import StrEnum


class State(StrEnum):
    """The states that Together documents. The set is open: a remediation's state may be any text."""

    PENDING_APPROVAL = "PENDING_APPROVAL"
    PENDING = "PENDING"
    QUARANTINING = "QUARANTINING"
    QUARANTINED = "QUARANTINED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    AUTO_RESOLVED = "AUTO_RESOLVED"


OPEN = (State.PENDING_APPROVAL, State.PENDING, State.QUARANTINING, State.QUARANTINED, State.RUNNING)
IN_REPAIR = frozenset(OPEN[1:])
RAN = frozenset({State.SUCCEEDED, State.FAILED})  # to an end
BEGUN = IN_REPAIR | RAN
CALLED_OFF = frozenset({State.CANCELLED, State.AUTO_RESOLVED})  # ended, and nothing was done
FINAL = RAN | CALLED_OFF


class Mode(StrEnum):
    """The modes that Together documents. The set is open: a remediation's mode may be any text."""

    VM_ONLY = "REMEDIATION_MODE_VM_ONLY"
    HOST_AWARE = "REMEDIATION_MODE_HOST_AWARE"
    EVICT_WITHOUT_REPLACEMENT = "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"
    REBOOT_VM = "REMEDIATION_MODE_REBOOT_VM"
    HOST_POWER_CYCLE = "REMEDIATION_MODE_HOST_POWER_CYCLE"


# From the one that changes least. Approve refuses the power cycle as an override (docs.together.ai/reference).
_BY_STRENGTH = (
    Mode.REBOOT_VM, Mode.HOST_POWER_CYCLE, Mode.VM_ONLY, Mode.HOST_AWARE, Mode.EVICT_WITHOUT_REPLACEMENT,
)  # fmt: skip
# What Together suggests next where a repair didn't help (docs.together.ai, "Node repair").
NEXT_STEP: dict[str, Mode] = {Mode.REBOOT_VM: Mode.VM_ONLY, Mode.VM_ONLY: Mode.HOST_AWARE}
OVERRIDES = tuple(mode for mode in _BY_STRENGTH if mode != Mode.HOST_POWER_CYCLE)


def is_weaker(mode: str, suggested: str) -> bool:
    """Return whether a mode changes less than the suggested one, or isn't known not to."""
    if mode not in _BY_STRENGTH or suggested not in _BY_STRENGTH:
        return True
    return _BY_STRENGTH.index(Mode(mode)) < _BY_STRENGTH.index(Mode(suggested))
