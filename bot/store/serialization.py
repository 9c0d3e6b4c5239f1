"""Rows of decisions as jobs."""

import json
import logging
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import bindparam, update

from bot.models import Answer, Job, Request, SeenState
from bot.store.connection import Connection
from bot.store.tables import ACTIVE, ANSWERED, SET_ASIDE, decisions

logger = logging.getLogger(__name__)

REQUESTS, ANSWERS = TypeAdapter(Request), TypeAdapter(Answer)
_SET_ASIDE = update(decisions).where(decisions.c.id == bindparam("b_id")).values(status=SET_ASIDE)


def read_job(connection: Connection, row: Any) -> Job | None:  # noqa: ANN401 - a whole row of decisions
    """Read the job of a row. One that this version of the bot can't read is set aside."""
    try:
        request = REQUESTS.validate_python(json.loads(row.request))
        answer = None if row.answer is None else ANSWERS.validate_python(json.loads(row.answer))
    except (ValueError, TypeError, KeyError) as error:
        logger.error("Decision %s can't be read and is set aside: %s", row.id, type(error).__name__)  # noqa: TRY400 - the row may hold a response_url
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
