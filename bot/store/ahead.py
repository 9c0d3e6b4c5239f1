"""What a clock that was ahead has left in open messages and alerts: once it is right again, nobody waits for that."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import select

from bot.models import Alert, TrackedMessage
from bot.store import moments
from bot.store.connection import Connection, read_clock
from bot.store.rows import ALERTS, WRITE_ALERT, WRITE_MESSAGE, alert_columns, message_columns, message_of, read_alerts
from bot.store.tables import alerts, key_of, messages

NOTED = "clock"  # what time it was by the database's clock
SECONDS = 60.0  # by which a clock may be corrected
# When people were called or asked last, and since when: with these in the future, nobody is for as long.
_OF_MESSAGE = (
    "opened_at", "posted_at", "last_added_at", "remind_from", "reminded_at", "called_at", "escalated_at",
    "escalate_from",
)  # fmt: skip
_OF_ALERT = "seen_at", "asked_since"
_MESSAGES = select(messages.c.body, messages.c.is_open).where(messages.c.is_open).with_for_update()
_ALERTS = ALERTS.where(alerts.c.is_open)
_Moments = TypeVar("_Moments", Alert, TrackedMessage)


def note(connection: Connection, read: Mapping[str, float]) -> bool:
    """Write down moments, and what time it is.

    Returns:
        Whether that is earlier than it was: what lies ahead has happened now then.
    """
    present = read_clock(connection)
    was_ahead = moments.noted(connection, NOTED) > present + SECONDS
    if was_ahead:
        for alert in read_alerts(connection, _ALERTS):
            if (right := _until(present, alert, _OF_ALERT)) != alert:
                connection.execute(WRITE_ALERT, alert_columns(right), **key_of(alert.ref))
        for message in filter(None, map(message_of, connection.execute(_MESSAGES))):
            looking = tuple(replace(looker, since=min(looker.since, present)) for looker in message.looking)
            asking = replace(_until(present, message, _OF_MESSAGE), looking=looking).due
            connection.execute(WRITE_MESSAGE, b_message=message.id, **message_columns(asking))
    moments.note(connection, {**read, NOTED: present})
    return was_ahead


def _until(present: float, one: _Moments, names: tuple[str, ...]) -> _Moments:
    corrected: dict[str, Any] = {name: min(getattr(one, name), present) for name in names}
    return replace(one, **corrected)
