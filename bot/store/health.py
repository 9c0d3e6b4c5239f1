"""How the bot is doing, as its database has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from bot.models import State
from bot.store.database import Database, read_clock
from bot.store.tables import ANSWERED, SET_ASIDE, alerts, decisions

c, a = decisions.c, alerts.c
_UNDELIVERED = select(func.count(), func.min(c.answered_at)).where(c.status == ANSWERED)
_SET_ASIDE = select(func.count()).where(c.status == SET_ASIDE)
_ALERTS = select(a.state, func.count().label("number")).where(a.is_open).group_by(a.state)
_LONGEST = select(func.min(a.seen_at)).where(a.is_open, a.state == State.PENDING_APPROVAL)


@dataclass(frozen=True, slots=True)
class Health:
    """Counts, and ages in seconds; 0 for none.

    Attributes:
        undelivered: answers that Slack hasn't taken yet.
        undelivered_age: of the oldest of them.
        set_aside: decisions that can't be read.
        alerts: how many are open, by state.
        waiting_age: of the alert that has waited longest for approval.
    """

    undelivered: int
    undelivered_age: float
    set_aside: int
    alerts: Mapping[str, int]
    waiting_age: float


async def health(database: Database) -> Health:
    """Read it.

    Raises:
        StorageUnavailable: the database did not answer.
    """
    return await database.read(_health)


def _health(connection: Connection) -> Health:
    present = read_clock(connection)
    count, oldest = connection.execute(_UNDELIVERED).one()
    waiting = connection.execute(_LONGEST).scalar()
    return Health(
        count,
        present - oldest if oldest else 0.0,
        connection.execute(_SET_ASIDE).scalar_one(),
        {row.state: row.number for row in connection.execute(_ALERTS)},
        present - waiting if waiting else 0.0,
    )
