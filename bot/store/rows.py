"""What stands in a row, as the bot's own values."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from bot.models import Answer, Job, Request, Sent, Shown
from bot.store.tables import ACTIVE

_REQUESTS, _ANSWERS = TypeAdapter(Request), TypeAdapter(Answer)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is deciding on a remediation right now; `since` in seconds since 1970."""

    user_id: str
    verb: str
    since: float


def to_job(row: RowMapping) -> Job:
    """The job that a row holds, for a process that takes it over."""
    seen = None if row["seen_state"] is None else Shown(row["seen_mode"], row["seen_state"])
    sent = None if row["sent_at"] is None else Sent(row["sent_at"], seen)
    return Job(
        row["id"],
        _REQUESTS.validate_python(json.loads(row["request"])),
        fence=row["fence"],
        received_at=row["received_at"],
        is_active=row["status"] == ACTIVE,
        sent=sent,
        answer=None if row["answer"] is None else _ANSWERS.validate_python(json.loads(row["answer"])),
        taken_over=True,
    )


def dump_request(request: Request) -> str:
    """A request as JSON."""
    return dump(_REQUESTS, request)


def dump_answer(answer: Answer) -> str:
    """An answer as JSON."""
    return dump(_ANSWERS, answer)


def dump(adapter: TypeAdapter[Any], value: object) -> str:
    """A value as JSON."""
    # ASCII, because Slack's texts may hold what UTF-8 or PostgreSQL cannot: lone surrogates and NUL.
    return json.dumps(adapter.dump_python(value, mode="json"), ensure_ascii=True)
