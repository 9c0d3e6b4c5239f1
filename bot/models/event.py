"""The events that other tools get."""

from dataclasses import dataclass, field
from enum import StrEnum


class EventKind(StrEnum):
    """What happened. The value is the end of a CloudEvent's type."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDED = "reminded"
    HELD = "held"
    RELEASED = "released"
    LOOKING = "looking"
    DECIDED = "decided"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STUCK = "stuck"
    RESOLVED = "resolved"
    CAME_BACK = "came_back"
    NOT_BACK = "not_back"
    LASTED = "lasted"
    OUTAGE = "outage"
    UNREPAIRED = "unrepaired"
    BRAKE = "brake"


_AFTER_A_WAIT = {EventKind.RUNNING, EventKind.STUCK, EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RESOLVED}


class Target(StrEnum):
    """Which tool gets it."""

    WEBHOOK = "webhook"
    PAGERDUTY = "pagerduty"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        id: the same whenever it is sent.
        subject: the reference of the remediation, or the cluster of an outage or of faults without a repair.
        at: Unix time in seconds.
        data: what is sent with it; values that JSON has.
    """

    id: str
    kind: EventKind
    subject: str
    at: float
    data: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    @property
    def ends_wait(self) -> bool:
        """Whether nobody is to decide any more: what was told before it of a wait, or of a repair, is out of date."""
        if self.kind is EventKind.DECIDED:
            return self.data.get("decision") == "approved" and self.data.get("is_sure") is not False
        return self.kind in _AFTER_A_WAIT and not self.data.get("is_midway")  # what vanishes midway may be listed again
