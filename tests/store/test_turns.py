"""Turns that two tasks or two processes believe they have: one of them does nothing."""

from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import select

from bot.errors import LeaseLost, OutcomeKind
from bot.models import Batch, Job, Outcome, RemediationRef
from bot.store import DecisionStore
from bot.store.tables import decisions
from tests.rows import execute
from tests.store.examples import ANSWER, column, events, other, received, silence
from tests.store.test_fences import SHOWN, ask, selection

APPROVED = Outcome(OutcomeKind.APPROVED, "PENDING")


async def sends(store: DecisionStore, *jobs: Job | None) -> int:
    """Let every task of this process that has a job do what it does up to its POST; return how many may send."""
    claimed = []
    for job in jobs:  # all are claimed before one is sent, as where both are being authorized
        with suppress(LeaseLost):
            if job is not None:
                await store.claim(job)
                claimed.append(job)
    count = 0
    for job in claimed:
        with suppress(LeaseLost):
            job.seen = SHOWN
            await store.record_send(job)
            count += store.may_send(job)
    return count


async def first_of_an_unheard_answer(store: DecisionStore, asked: Batch) -> Job:
    """Answer a selection's first decision, with a commit that nobody hears of for longer than a lease."""
    await ask(store, asked)
    first = await store.confirm(asked.id, "U0ALICE", "")
    assert first is not None
    await store.claim(first)
    assert await store.record_outcome(first, APPROVED, ANSWER) is not None
    await silence(store)
    return first


async def test_next_decision_that_this_process_took_over_meanwhile_is_sent_once(store: DecisionStore) -> None:
    """Recovery is back before the commit is repeated."""
    first = await first_of_an_unheard_answer(store, selection("b1"))
    (taken,) = await store.take_over(20)
    again = await store.record_outcome(first, APPROVED, ANSWER)
    assert await sends(store, taken, again) == 1
    assert (await events(store)).count(("send", None)) == 1


async def test_decision_that_another_chain_of_this_process_works_on_is_sent_once(store: DecisionStore) -> None:
    """As before, but what recovery took over has ended by then, and has given the one after it its turn."""
    asked = selection("b1")
    third = replace(asked.items[1], number=2, ref=RemediationRef("c", "i2", "r2"))
    first = await first_of_an_unheard_answer(store, replace(asked, items=[*asked.items, third]))
    (taken,) = await store.take_over(20)
    await store.claim(taken)
    following = await store.record_outcome(taken, APPROVED, ANSWER)
    again = await store.record_outcome(first, APPROVED, ANSWER)
    assert await sends(store, following, again) == 1
    assert (await events(store)).count(("send", None)) == 1


async def test_process_that_lost_a_decision_sets_it_aside_for_nobody(store: DecisionStore) -> None:
    job = await received(store)
    await silence(store)
    beside = other(store)
    (again,) = await beside.take_over(1)
    await beside.claim(again)
    again.seen = SHOWN
    await beside.record_send(again)
    with pytest.raises(LeaseLost):
        await store.set_aside(job)
    assert await column(store, "status") == "active"
    await beside.record_outcome(again, APPROVED, ANSWER)


async def test_stale_process_begins_no_second_decision_of_a_selection(store: DecisionStore) -> None:
    await ask(store, selection("b1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    await silence(store)
    beside = other(store)
    (again,) = await beside.take_over(1)
    await beside.claim(again)
    again.seen = SHOWN
    await beside.record_send(again)
    try:
        following = await store.set_aside(job)
    except LeaseLost:
        following = None
    assert following is None
    rows = await execute(store.database, select(decisions.c.status).order_by(decisions.c.batch_number))
    assert [row["status"] for row in rows] == ["active", "queued"]
    assert (await beside.record_outcome(again, APPROVED, ANSWER)) is not None


async def test_heartbeat_on_its_way_keeps_nothing_that_was_handed_back(store: DecisionStore) -> None:
    job = await received(store)
    await store.release(job)
    await store.heartbeat()  # which asked for it, as its connection is slow
    assert [job.id for job in await other(store).take_over(1)] == [job.id]
