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


ENDS = {EventKind.SUCCEEDED, EventKind.RESOLVED}  # after which nobody is called for what was told before


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
