"""Rows of decisions as jobs."""

from typing import Any

from sqlalchemy import bindparam, update

from bot.models import Answer, Job, Request, SeenState
from bot.store.connection import Connection, read_json
from bot.store.tables import ACTIVE, ANSWERED, SET_ASIDE, decisions

_SET_ASIDE = update(decisions).where(decisions.c.id == bindparam("b_id")).values(status=SET_ASIDE)


def read_job(connection: Connection, row: Any) -> Job | None:  # noqa: ANN401 - a whole row of decisions
    """Read the job of a row. One that this version of the bot can't read is set aside."""
    unreadable = f"Decision {row.id} can't be read and is set aside"
    request = read_json(Request, row.request or "", unreadable)
    answer = read_json(Answer, row.answer, unreadable) if row.answer else None
    if request is None or (row.answer and answer is None):
        connection.execute(_SET_ASIDE, b_id=row.id)
        return None
    return Job(
        row.id,
        request,
        fence=row.fence,
        received_at=row.received_at,
        is_active=row.status in {ACTIVE, ANSWERED},
        seen=SeenState(row.seen_mode, row.seen_state, request.saw.episode, request.saw.at),
        sent_at=row.sent_at,
        answer=answer,
        answered_at=row.answered_at or 0.0,
        failed_deliveries=row.deliveries,
    )
