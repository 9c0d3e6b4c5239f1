"""Rows as the bot's own values, and back."""

import json
from typing import Any

from pydantic import TypeAdapter

from bot.models import Answer, Job, Request, SeenState, Sent
from bot.store.tables import ACTIVE, ANSWERED

REQUESTS, ANSWERS = TypeAdapter(Request), TypeAdapter(Answer)


def to_job(row: Any) -> Job:  # noqa: ANN401 - a whole row of decisions
    """Read the job of a row, for a process that takes it over.

    Raises:
        ValueError: the row isn't one that this version of the bot can read.
    """
    if row.request is None or row.verb is None:
        raise ValueError("nothing is known of what was asked")
    seen = None if row.seen_state is None else SeenState(row.seen_mode, row.seen_state)
    return Job(
        row.id,
        load_request(row.request),
        fence=row.fence,
        received_at=row.received_at,
        is_active=row.status in {ACTIVE, ANSWERED},
        sent=None if row.sent_at is None else Sent(row.sent_at, seen),
        answer=None if row.answer is None else ANSWERS.validate_python(json.loads(row.answer)),
        answered_at=row.answered_at,
        deliveries=row.deliveries,
        taken_over=True,
    )


def load_request(written: str) -> Request:
    """Read a request.

    Raises:
        ValueError: it isn't one that this version of the bot can read.
    """
    return REQUESTS.validate_python(json.loads(written))
