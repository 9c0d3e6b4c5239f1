"""Compares two readings of a remediation: which is older, since lists lag, and whether a repair's fault is back."""

import math
from collections.abc import Iterable
from dataclasses import replace

from bot.models import (
    CALLED_OFF,
    CLOCKS_DIFFER_BY,
    FINAL,
    IN_REPAIR,
    OPEN,
    PRECISION,
    RAN,
    Alert,
    CameBack,
    LinkedAlert,
    Remediation,
    State,
    unix,
)

# A remediation only moves forward in these, unless it begins once more.
_ORDER = {str(state): place for place, state in enumerate(OPEN)} | dict.fromkeys(map(str, FINAL), len(OPEN))
_BEFORE_IT_BEGINS = {State.PENDING_APPROVAL, State.PENDING}
_TIMES = "create_time", "update_time"
LAGS_SECONDS = 600.0  # so long after an answer, one by an older record of Together's isn't believed
AHEAD_SECONDS = 900.0  # by which a clock of Together's hosts may be ahead of the one that answers
CLEARS_SECONDS = 900.0  # within which an alert clears after a repair that helped (about 5 min, by Together's docs)


def is_older(known: Remediation, read: Remediation) -> bool:
    """Return whether Together's own times say that a reading is older than another, or of an earlier incident."""
    order = _compared(known, read)
    if order < 0 and read.state in FINAL and known.state in IN_REPAIR and _is_same_run(known, read):
        return False  # a run ends once, whichever of Together's hosts has noted that by its clock
    return order < 0 or (order == 0 and is_next_incident(read, known))


def may_be_older(alert: Alert, read: Remediation) -> bool:
    """Return whether an item of a list may be from before what is known, as nothing shows that it is from after."""
    known = alert.remediation
    is_behind = _ORDER.get(read.state, len(_ORDER)) < _ORDER.get(alert.as_told.state, 0)  # unknown states say nothing
    if _compared(known, read) > 0:
        return alert.is_stale and is_behind and not opened_later(known, read)  # the answer may be newer yet
    if alert.is_stale and read.state == known.state:
        return True  # somebody was answered something else, and the list hasn't moved
    return is_behind


def is_before_answer(alert: Alert, read: Remediation, asked_at: float, now: float) -> bool:
    """Return whether a reading is from before somebody was answered, by when Together was asked, or by its own time."""
    remark = alert.remark if alert.is_stale else None
    if remark is None:
        return False
    # What has begun can't be from before, though hosts' clocks differ.
    is_behind = read.state in _BEFORE_IT_BEGINS and _ORDER[read.state] < _ORDER.get(alert.as_told.state, 0)
    is_older = is_behind and 0 < unix(read.update_time) < unix(remark.updated) - PRECISION
    return (is_older and now - remark.at < LAGS_SECONDS) or asked_at < remark.confirmed_at <= now  # clocks can go back


def _compared(known: Remediation, read: Remediation) -> int:
    """Return 1 where a reading is newer than what is known by Together's own times, -1 where it is older, else 0."""
    latest = (read.answered_at or math.inf) + AHEAD_SECONDS  # what is later is no time of Together's: it says nothing
    for name in _TIMES:
        before, after = unix(getattr(known, name)), unix(getattr(read, name))
        if 0 < before < latest and 0 < after < latest and abs(before - after) >= PRECISION:
            return 1 if after > before else -1
    return 0


def is_next_incident(known: Remediation, read: Remediation) -> bool:
    """Return whether what waits has ended and opened again under the same ID, between two readings."""
    if not (known.is_waiting and read.is_waiting):
        return False
    known = known.model_copy(update={"answered_at": read.answered_at})  # what it had already is no news
    return read.began_at > known.began_at and not read.is_of(known.episode_key)


def _is_same_run(known: Remediation, read: Remediation) -> bool:
    """Return whether two readings are of one run, by when it opened and started, and of about the same moment."""
    opened, began = unix(known.create_time), unix(known.start_time)
    is_its = abs(unix(read.create_time) - opened) < PRECISION and 0 < opened - CLOCKS_DIFFER_BY <= began
    differ = unix(known.update_time) - unix(read.update_time)
    return is_its and abs(unix(read.start_time) - began) < PRECISION and differ <= CLOCKS_DIFFER_BY


def opened_later(known: Remediation, read: Remediation) -> bool:
    """Return whether a reading is of a later incident under the same ID, by when Together says that each opened."""
    before = unix(known.create_time)
    return before > 0 and unix(read.create_time) - before > PRECISION


def ran_again(known: Remediation, read: Remediation) -> bool:
    """Return whether a reading is of a later run than the one that had ended, under the same ID."""
    began, ended = unix(read.start_time), unix(known.end_time)
    is_another = began - unix(known.start_time) > PRECISION and began > ended - PRECISION
    return known.state in RAN and ended > 0 and is_another


def as_ended(known: Remediation, read: Remediation) -> Remediation:
    """Return a reading of what had ended: as it ended, where a state that this version doesn't know follows that."""
    is_over = read.state not in set(State) and not read.is_under_way
    is_next = opened_later(known, read) or ran_again(known, read)
    return read.model_copy(update={"state": known.state}) if is_over and not is_next else read


def is_worse(alert: Alert, read: Remediation) -> bool:
    """Return whether a fault that was a warning isn't any more; what names no fault says nothing of that."""
    return alert.remediation.is_warning and bool(read.linked_alerts) and not read.is_warning


def came_back(repair: Remediation, new: Remediation, seconds: float, *, is_last_look: bool = False) -> CameBack | None:
    """Return that the fault of a repaired node is back, where another remediation says so.

    Args:
        seconds: how long after its end a repair answers for that.
        is_last_look: one that was suggested while the repair still ran counts too, unless its alert cleared.
    """
    is_same_node = new.instance_id == repair.instance_id or (
        new.instance_name and new.instance_name == repair.instance_name
    )
    is_another = new.cluster_id == repair.cluster_id and (new.id != repair.id or opened_later(repair, new))
    same = new.same_fault(repair) if is_another and is_same_node else None
    if same is None or new.create_time is None:
        return None
    fault, alert = same
    at, ended = unix(new.create_time), repair.succeeded_at
    is_new = ended <= at <= ended + seconds
    is_still = is_last_look and 0 < unix(repair.create_time) < at < ended and new.state not in CALLED_OFF
    if not (is_new or is_still):
        return None
    fires = alert.resolved_at is None and 0 < unix(alert.started_at) < ended
    return CameBack(fault, at, was_firing=is_still or fires, is_warning=not alert.is_critical)


def fault_of(repair: Remediation, firing: LinkedAlert) -> str:
    """Return the fault that a node was repaired for, where an alert is about it too, raw; else empty."""
    return "" if firing.names.isdisjoint({repair.instance_id, repair.node}) else firing.fault_in(repair.kinds)


def fires_again(repair: Remediation, firing: LinkedAlert, seconds: float, now: float) -> CameBack | None:
    """Return that the fault of a repaired node is back, or still there, where its alert that fires now says so.

    Args:
        seconds: how long after its end a repair answers for that.
        now: the present, as Unix time in seconds.
    """
    fault = fault_of(repair, firing)
    started = unix(firing.started_at)
    ended = repair.succeeded_at
    if not (fault and started and ended):
        return None
    back = CameBack(fault, started, is_suggested=False, is_warning=not firing.is_critical)
    if ended <= started <= ended + seconds:
        return back
    is_still = started < ended and CLEARS_SECONDS <= now - ended <= seconds
    return replace(back, at=now, was_firing=True) if is_still else None


def may_still_clear(repair: Remediation, firing: LinkedAlert, now: float) -> bool:
    """Return whether it is too early to say that an alert, which a repair was to end, didn't stop with it."""
    return 0 < unix(firing.started_at) < repair.succeeded_at and now - repair.succeeded_at < CLEARS_SECONDS


def worst(backs: Iterable[CameBack]) -> CameBack:
    """Return what came back that is more than a warning, if anything is: that calls people at night."""
    return min(backs, key=lambda back: back.is_warning)
