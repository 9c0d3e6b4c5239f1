"""What has happened: the repairs of a time, which failed, and whose fault is back."""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Select, bindparam, func, or_

from bot.alerts import returned
from bot.models import Alert, LinkedAlert, Remediation, State
from bot.readings import came_back, fault_of, fires_again, may_still_clear
from bot.store.connection import Connection, Rows, read_clock
from bot.store.rows import ALERTS, change_alert, read_alerts, readable_alert
from bot.store.tables import alerts, messages

_MOST = 10_000  # alerts of a shift, or of a node
_LONGEST_REPAIR = 7 * 86_400.0  # from its alert to its end
a, m = alerts.c, messages.c
_LATELY = (
    ALERTS.where(or_(a.is_open, a.changed_at > bindparam("b_since")))
    .order_by(a.is_open.desc(), a.changed_at.desc())
    .limit(_MOST)
)
_NAMING = (  # whether it is a node's name or ID is seen once it is read
    ALERTS.where(
        or_(a.is_open, a.seen_at > bindparam("b_since")), func.lower(a.body).like(bindparam("b_pattern"), escape="!")
    )
    .order_by(a.seen_at.desc())
    .limit(_MOST)
)
_ENDED = ALERTS.where(a.changed_at > bindparam("b_since"))
_FAILED, _SUCCEEDED = _ENDED.where(a.state == State.FAILED), _ENDED.where(a.state == State.SUCCEEDED)
_REPAIRED = (
    ALERTS.join(messages, m.id == a.message_id)
    .where(m.is_open, a.cluster_id == bindparam("b_cluster"), a.state == State.SUCCEEDED)
)  # fmt: skip


def lately(connection: Connection, seconds: float) -> tuple[list[Alert], float]:
    """Return what is open, and what changed within the last `seconds` or a week before; and the present."""
    present = read_clock(connection)
    return read_alerts(connection, _LATELY, b_since=present - seconds - _LONGEST_REPAIR), present


def of_node(connection: Connection, name: str, seconds: float) -> list[Alert]:
    """Return what was first seen within the last `seconds` of nodes with this name or ID, the latest first."""
    found = map(readable_alert, naming(connection, name, read_clock(connection) - seconds))
    called = (each for each in found if each and each.remediation.is_called(name))
    return sorted(called, key=lambda each: -each.seen_at)


def naming(connection: Connection, name: str, since: float) -> Rows:
    """Return the rows of the alerts that have a text as one of their values, since a Unix time."""
    # As JSON has it. Databases lower ASCII letters only.
    written = json.dumps(name.lower()) if name.isascii() else ""
    pattern = f"%{re.sub('[!%_]', lambda found: f'!{found[0]}', written)}%"
    return connection.execute(_NAMING, b_since=since, b_pattern=pattern)


def failed(connection: Connection, seconds: float) -> list[Remediation]:
    """Return what failed within the last `seconds`, the latest first."""
    found = _latest(connection, _FAILED, seconds, lambda each: each.remediation.changed_at)
    return [each.remediation for each in found]


def came_back_lately(connection: Connection, seconds: float) -> list[Alert]:
    """Return the repairs whose fault came back, or didn't stop, within the last `seconds`, the latest first."""
    return _latest(connection, _SUCCEEDED, seconds, lambda each: each.came_back.at if each.came_back else 0.0)


def _latest(
    connection: Connection, statement: Select[Any], seconds: float, at: Callable[[Alert], float]
) -> list[Alert]:
    """Return what something happened to within the last `seconds`, the latest first; `at` says when, or 0 for never."""
    since = read_clock(connection) - seconds
    found = read_alerts(connection, statement, b_since=since - _LONGEST_REPAIR)
    return sorted((each for each in found if at(each) > since), key=lambda each: -at(each))


def note_returns(connection: Connection, new: Sequence[Alert], verified: float) -> None:
    """Let repairs say that what they were to mend is back."""
    nodes: dict[tuple[str, str], list[Remediation]] = {}
    for each in new:
        for name in {each.remediation.instance_id, each.remediation.node}:
            nodes.setdefault((each.cluster_id, name), []).append(each.remediation)
    for cluster_id in {each.cluster_id for each in new} if verified else ():
        for one in _repaired(connection, cluster_id):
            again = nodes.get((cluster_id, one.instance_id)) or nodes.get((cluster_id, one.node)) or ()
            if back := next((found for each in again if (found := came_back(one, each, verified))), None):
                change_alert(connection, one.ref, partial(returned, back=back))


def note_firing(connection: Connection, cluster_id: str, firing: Sequence[LinkedAlert], verified: float) -> set[str]:
    """Let repairs say that what they were to mend fires again, or still.

    Returns:
        The keys of those alerts that people are called for by that, now or once they had the time to clear.
    """
    if not verified:
        return set()
    present, found = read_clock(connection), set()
    by_node: dict[str, list[LinkedAlert]] = {}
    for each in firing:
        for name in each.names:
            by_node.setdefault(name, []).append(each)
    for one in _repaired(connection, cluster_id):
        for each in {id(each): each for name in (one.instance_id, one.node) for each in by_node.get(name, ())}.values():
            if not fault_of(one, each) or present > one.succeeded_at + verified:
                continue
            if back := fires_again(one, each, verified, present):
                change_alert(connection, one.ref, partial(returned, back=back))
            if back or may_still_clear(one, each, present):
                found.add(each.key)
    return found


def _repaired(connection: Connection, cluster_id: str) -> list[Remediation]:
    """Return the repairs that may still answer for what they were to mend."""
    repaired = read_alerts(connection, _REPAIRED, b_cluster=cluster_id)
    return [each.remediation for each in repaired if not each.came_back]
