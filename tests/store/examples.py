"""Requests, answers and opened stores for the tests of the statements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from bot.clock import Clock
from bot.errors import OutcomeKind
from bot.models import (
    Actor,
    Answer,
    Job,
    Message,
    Outcome,
    RemediationRef,
    ReplyKind,
    ReplyTarget,
    Request,
    Verb,
)
from bot.store import Database, DecisionStore, audit
from bot.store.tables import decisions
from tests.manual_clock import ManualClock
from tests.rows import execute
from tests.samples import remediation

REF = RemediationRef("c", "i", "r")


ANSWER = Answer(ReplyKind.CARD, Message("told", [{"type": "divider"}]))


APPROVED = Outcome(OutcomeKind.APPROVED, "PENDING", remediation(request_id="req-1"))


LEASE = 15.0


def request(trigger: str = "t1", user: str = "U0ALICE", ref: RemediationRef = REF, **extra: Any) -> Request:
    url = "https://hooks.slack.com/actions/secret"
    place = ReplyTarget("C0OPS", user, response_url=url, message_ts="1.0", is_button=True)
    actor = Actor(user, "alice \ud83d\x00", "T0HOME", home_team_id="T0HOME")
    return Request(Verb.APPROVE, ref, actor, place, trigger_id=trigger, **extra)


@asynccontextmanager
async def open_store(url: str, time: ManualClock) -> AsyncIterator[DecisionStore]:
    database = Database(url, time.clock)
    await database.open()
    try:
        yield DecisionStore(database, LEASE, time.clock)
    finally:
        await database.close()


def other(store: DecisionStore) -> DecisionStore:
    """Another process on the same database."""
    return DecisionStore(store.database, LEASE, Clock(monotonic=lambda: 0.0))


async def received(store: DecisionStore, asked: Request | None = None, job_id: str = "job-1") -> Job:
    job = await store.receive(asked or request(), job_id)
    assert job is not None
    return job


async def column(store: DecisionStore, name: str) -> Any:
    (row,) = await execute(store.database, select(decisions.c[name]))
    return row[name]


async def silence(store: DecisionStore) -> None:
    """Let all leases run out."""
    await execute(store.database, update(decisions).values(lease_until=0.0))


async def events(store: DecisionStore) -> list[tuple[str, str | None]]:
    return [(row["event"], row["outcome"]) async for row in audit.rows(store.database)]
