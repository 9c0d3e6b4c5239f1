"""Which of two readings of a remediation is the older one: a list may lag behind what is known."""

from bot.models import FINAL, OPEN, PRECISION, Alert, Remediation, State

# A remediation only moves forward in these, unless it begins once more.
_ORDER = {str(state): place for place, state in enumerate(OPEN)} | dict.fromkeys(map(str, FINAL), len(OPEN))
_TIMES = "create_time", "update_time"


def is_older(known: Remediation, read: Remediation) -> bool:
    """Return whether Together's own times say that a reading is older than another, or of an earlier incident."""
    order = _compared(known, read)
    return order < 0 or (order == 0 and is_next_incident(read, known))


def may_be_older(alert: Alert, read: Remediation) -> bool:
    """Return whether an item of a list may be from before what is known, as nothing shows that it is from after."""
    known = alert.remediation
    if _compared(known, read) > 0:
        return False
    if alert.is_stale and read.state == known.state:
        return True  # somebody was answered something else, and the list hasn't moved
    return _ORDER.get(read.state, len(_ORDER)) < _ORDER.get(alert.as_told.state, 0)  # unknown states say nothing


def _compared(known: Remediation, read: Remediation) -> int:
    """Return 1 where a reading is newer than what is known by Together's own times, -1 where it is older, else 0."""
    for name in _TIMES:
        before, after = getattr(known, name), getattr(read, name)
        if before and after and abs(before.timestamp() - after.timestamp()) >= PRECISION:
            return 1 if after > before else -1
    return 0


def is_next_incident(known: Remediation, read: Remediation) -> bool:
    """Return whether what waits has ended and opened again under the same ID, between two readings."""
    both_wait = known.state == read.state == State.PENDING_APPROVAL
    return both_wait and read.began_at > known.began_at and not read.is_of(known.episode_key)


def opened_later(known: Remediation, read: Remediation) -> bool:
    """Return whether a reading is of a later incident under the same ID, by when Together says that each opened."""
    before, after = known.create_time, read.create_time
    return bool(before and after and after.timestamp() - before.timestamp() > PRECISION)


def is_worse(alert: Alert, read: Remediation) -> bool:
    """Return whether a fault that was a warning isn't any more; what names no fault says nothing of that."""
    return alert.remediation.is_warning and bool(read.linked_alerts) and not read.is_warning
