"""What has happened: the repairs of a time, which failed, and whose fault is back."""

import json
import re

from sqlalchemy import bindparam, func, or_

from bot.models import Alert, Remediation, State, folded
from bot.store.connection import Connection, read_clock
from bot.store.moments import UNREAD_SINCE, UNREAD_UNTIL, noted
from bot.store.rows import ALERTS, read_alerts
from bot.store.tables import alerts

_MOST = 10_000  # alerts of a shift, or of a node
_LONGEST_REPAIR = 7 * 86_400.0  # from its alert to its end
_LATELY = (
    ALERTS.where(or_(alerts.c.is_open, alerts.c.changed_at > bindparam("b_since")))
    .order_by(alerts.c.is_open.desc(), alerts.c.changed_at.desc())
    .limit(_MOST)
)
_NAMING = (  # whether it is a node's name or ID is seen once it is read
    ALERTS.where(
        or_(alerts.c.is_open, alerts.c.changed_at > bindparam("b_since")),
        or_(*(func.lower(alerts.c.body).like(bindparam(of), escape="!") for of in ("b_whole", "b_short"))),
    )
    .order_by(alerts.c.changed_at.desc())
    .limit(_MOST)
)
_ENDED = ALERTS.where(alerts.c.changed_at > bindparam("b_since"))
_FAILED = _ENDED.where(or_(alerts.c.state == State.FAILED, alerts.c.is_open))  # which may have failed before
_SUCCEEDED = _ENDED.where(or_(alerts.c.state == State.SUCCEEDED, alerts.c.is_open))  # the same


def lately(connection: Connection, seconds: float) -> tuple[list[Alert], float, tuple[float, float]]:
    """Return what is open, and what changed within the last `seconds` or a week before.

    Returns:
        That; the present; and from when to when nobody could know last what began and ended, zeros for never.
    """
    present = read_clock(connection)
    unread = noted(connection, UNREAD_SINCE), noted(connection, UNREAD_UNTIL)
    return read_alerts(connection, _LATELY, b_since=present - seconds - _LONGEST_REPAIR), present, unread


def of_node(connection: Connection, name: str, seconds: float) -> list[Alert]:
    """Return what is open or changed within the last `seconds` of nodes with this name or ID, the latest first.

    Only where none has it, of those that have it without their domain. The ID of a remediation means its node.
    """
    candidates = naming(connection, name, read_clock(connection) - seconds)
    of_whole = [alert for alert in candidates if alert.remediation.is_called(name)]
    instances = {alert.remediation.instance_id for alert in of_whole}
    if len(instances) == 1 and all(folded(alert.remediation.id) == folded(name) for alert in of_whole):
        (instance_id,) = instances
        candidates = naming(connection, instance_id, read_clock(connection) - seconds)
        return [alert for alert in candidates if alert.remediation.instance_id == instance_id]
    return of_whole or [alert for alert in candidates if alert.remediation.may_be_called(name)]


def naming(connection: Connection, name: str, since: float) -> list[Alert]:
    """Return the alerts that have a text, or that and a domain, as one of their values, the latest first.

    Args:
        since: they are open, or changed after this Unix time.
    """
    # As JSON has it. Databases lower ASCII letters only.
    written = json.dumps(name.lower())[:-1] if name.isascii() else ""
    begins = f"%{re.sub('[!%_]', lambda found: f'!{found[0]}', written)}"
    return read_alerts(connection, _NAMING, b_since=since, b_whole=f'{begins}"%', b_short=f"{begins}.%")


def failed(connection: Connection, seconds: float) -> list[Remediation]:
    """Return what failed within the last `seconds`, the latest first."""
    since = read_clock(connection) - seconds
    read = read_alerts(connection, _FAILED, b_since=since - _LONGEST_REPAIR)
    repairs = [incident.remediation for alert in read for incident in (*alert.earlier, alert)]
    failed = [repair for repair in repairs if repair.state == State.FAILED and repair.ended_at > since]
    return sorted(failed, key=lambda repair: -repair.ended_at)


def came_back_lately(connection: Connection, seconds: float) -> list[Alert]:
    """Return the repairs whose fault came back, or didn't stop, within the last `seconds`, the latest first."""
    since = read_clock(connection) - seconds
    read = read_alerts(connection, _SUCCEEDED, b_since=since - _LONGEST_REPAIR)
    incidents = [incident for alert in read for incident in (*alert.earlier, alert)]
    back = [(one.came_back.at, one) for one in incidents if one.came_back and one.came_back.at > since]
    return [alert for _, alert in sorted(back, key=lambda both: -both[0])]
