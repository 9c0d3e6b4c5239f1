"""How the bot is doing, as its database has it."""

import json
import math
from collections.abc import Mapping
from itertools import count

from prometheus_client import Gauge
from sqlalchemy import bindparam, func, select, text, union_all

from bot import metrics
from bot.models import State
from bot.store.connection import Connection, read_clock
from bot.store.tables import ANSWERED, SET_ASIDE, alerts, decisions, ids_in, inbox, metadata

_answers = union_all(
    select(decisions.c.answered_at.label("at")).where(decisions.c.status == ANSWERED),
    select(inbox.c.received_at).where(inbox.c.done_at.is_(None), inbox.c.result.is_not(None)),  # such as of a pause
).subquery()
_UNDELIVERED = select(func.count(), func.min(_answers.c.at))
_SET_ASIDE = select(func.count()).where(decisions.c.status == SET_ASIDE)
_ALERTS = select(alerts.c.state, func.count().label("number")).where(alerts.c.is_open).group_by(alerts.c.state)
_PAGE = 100
_WAITING = (
    select(alerts.c.seen_at, alerts.c.body)
    .where(alerts.c.is_open, alerts.c.state == State.PENDING_APPROVAL)
    .order_by(alerts.c.seen_at, *ids_in(alerts.c))
    .limit(_PAGE)
    .offset(bindparam("b_offset"))
)

_CLOSED = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:names) "
    "AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')) ORDER BY relname"
)


def health(connection: Connection, *, is_watching: bool) -> tuple[Mapping[Gauge, float], Mapping[str, int]]:
    """Return what gauges show, with 0 for none, and how many alerts are open, by state.

    Args:
        is_watching: without it, nobody follows the alerts of an earlier start.
    """
    present = read_clock(connection)
    undelivered, oldest = connection.execute(_UNDELIVERED).first()
    waiting = _waiting_since(connection, present) if is_watching else math.inf
    gauges = {
        metrics.UNDELIVERED: undelivered,
        metrics.UNDELIVERED_AGE: present - oldest if oldest else 0.0,
        metrics.SET_ASIDE: count_set_aside(connection),
        metrics.OLDEST_WAITING: present - waiting if waiting < math.inf else 0.0,
    }
    return gauges, {row.state: row.number for row in connection.execute(_ALERTS)} if is_watching else {}


def closed_tables(connection: Connection) -> list[str]:
    """Return the tables that the role can't read or add to: the grants of an older release name no newer ones."""
    if not connection.is_postgresql:
        return []
    return connection.execute(_CLOSED, names=list(metadata.tables)).scalars()


def count_set_aside(connection: Connection) -> int:
    """Return how many decisions no version that ran here could read."""
    return int(connection.execute(_SET_ASIDE).scalar())


def _waiting_since(connection: Connection, present: float) -> float:
    """Return since when the alert waits that has waited longest and isn't on hold; infinity for none."""
    longest = math.inf
    for offset in count(0, _PAGE):
        rows = connection.execute(_WAITING, b_offset=offset)
        for row in rows:
            if row.seen_at >= longest:
                return longest
            alert = json.loads(row.body)
            if ((alert.get("hold") or {}).get("until") or 0.0) <= present:
                longest = min(longest, max(row.seen_at, alert.get("waiting_since") or 0.0))
        if len(rows) < _PAGE:
            return longest
    raise AssertionError("the pages end")
