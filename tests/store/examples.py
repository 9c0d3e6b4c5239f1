"""Requests, answers and opened stores for the tests of the statements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from bot.models import (
    Actor,
    Answer,
    Job,
    Manner,
    Message,
    Outcome,
    Place,
    RemediationRef,
    Request,
    Verb,
)
from bot.store import Database, Store, audit
from bot.store.tables import decisions
from tests.manual_clock import ManualClock

REF = RemediationRef("c", "i", "r")


ANSWER = Answer(Manner.CARD, Message("told", [{"type": "divider"}]))


APPROVED = Outcome("approved", "PENDING", None, "req-1")


LEASE = 15.0


def request(trigger: str = "t1", user: str = "U0ALICE", ref: RemediationRef = REF, **extra: Any) -> Request:
    url = "https://hooks.slack.com/actions/secret"
    place = Place("C0OPS", user, response_url=url, message_ts="1.0", is_button=True)
    actor = Actor(user, "alice \ud83d\x00", "T0HOME", home_team_id="T0HOME")
    return Request(Verb.APPROVE, ref, actor, place, trigger_id=trigger, **extra)


@asynccontextmanager
async def open_store(url: str, time: ManualClock) -> AsyncIterator[Store]:
    database = Database(url)
    await database.open()
    try:
        yield Store(database, LEASE, time.clock)
    finally:
        await database.close()


def other(store: Store, time: ManualClock) -> Store:
    """Another process on the same database."""
    return Store(store.database, LEASE, time.clock)


async def received(store: Store, asked: Request | None = None, job_id: str = "job-1") -> Job:
    job = await store.receive(asked or request(), job_id)
    assert job is not None
    return job


async def column(store: Store, name: str) -> Any:
    async with store.database.begin() as connection:
        return (await connection.execute(select(decisions.c[name]))).scalar_one()


async def silence(store: Store) -> None:
    """Let all leases run out."""
    async with store.database.begin() as connection:
        await connection.execute(update(decisions).values(lease_until=0.0))


async def events(store: Store) -> list[tuple[str, str | None]]:
    return [(row["event"], row["outcome"]) async for row in audit.rows(store.database)]
