"""The statements where only a condition keeps one process's work, or what is still needed, from another."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from bot.errors import LeaseLost, OutcomeKind
from bot.models import (
    LIFETIME,
    Actor,
    Batch,
    BatchItem,
    Claim,
    Entry,
    EventKind,
    Looked,
    Outcome,
    RemediationRef,
    RepairLoad,
    ReplyTarget,
    SeenState,
    State,
    StopReason,
    Target,
    Verb,
)
from bot.store import Database, DecisionStore, InboxStore, approvals, batches, count_set_aside, outbox, purge
from bot.store.connection import read_clock
from bot.store.decisions import claimed_by
from bot.store.tables import batches as batches_table
from bot.store.tables import decisions, messages
from tests.manual_clock import ManualClock
from tests.rows import execute
from tests.store.examples import ANSWER, LEASE, open_store, other, received, request, silence

ALICE = Actor("U0ALICE", "alice", "T0HOME")
PLACE = ReplyTarget("C0OPS", "U0ALICE")
SHOWN = SeenState("REMEDIATION_MODE_REBOOT_VM", State.PENDING_APPROVAL)
DAY = 86_400.0
DIGEST: dict[str, Any] = {
    "is_digest": True,
    "is_open": True,
    "posted_at": 0.0,
    "last_added_at": 0.0,
    "opened_at": 0.0,
    "body": "{}",
    "version": 0,
}


@pytest.fixture
async def store(database_url: str, time: ManualClock) -> AsyncIterator[DecisionStore]:
    async with open_store(database_url, time) as opened:
        yield opened


def selection(batch_id: str) -> Batch:
    items = [BatchItem(number, RemediationRef("c", f"i{number}", f"r{number}"), "n", SHOWN) for number in range(2)]
    return Batch(batch_id, "d" * 32, Verb.APPROVE, ALICE, PLACE, 0.0, items)


async def ask(store: DecisionStore, batch: Batch) -> None:
    """Keep a selection on a digest that is there."""
    is_there = insert(messages).values(id=batch.digest_id, **DIGEST).on_conflict_do_nothing()
    await execute(store.database, is_there)
    await store.database.run(batches.ask, batch)


async def test_process_that_starts_takes_what_another_works_on_only_where_the_file_is_its_own(
    store: DecisionStore,
) -> None:
    job = await received(store)
    taken = [job.id for job in await other(store).take_over(10, at_start=True)]
    assert taken == ([job.id] if store.database.is_sqlite else [])


async def test_process_that_starts_takes_requests_of_another_only_where_the_file_is_its_own(
    store: DecisionStore,
) -> None:
    inbox = InboxStore(store.database, 15)
    await inbox.receive(Entry("Tr1", "press", "pause approvals", ALICE, PLACE), "a")
    taken = await inbox.take_over(["b"], at_start=True)
    assert (taken is not None) == store.database.is_sqlite


async def test_selection_that_was_confirmed_is_kept_for_longer_than_one_that_never_was(store: DecisionStore) -> None:
    for batch_id in ("confirmed", "asked"):
        await ask(store, selection(batch_id))
    await store.confirm("confirmed", "U0ALICE", "")
    await execute(store.database, update(batches_table).values(asked_at=batches_table.c.asked_at - 2 * DAY))
    await purge(store.database, 400)
    assert [row["id"] for row in await execute(store.database, select(batches_table.c.id))] == ["confirmed"]


async def test_process_that_lost_a_decision_of_a_selection_learns_that_when_it_records_it(
    store: DecisionStore,
) -> None:
    await ask(store, selection("b1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    await store.claim(job)
    await silence(store)
    await other(store).take_over(1)
    with pytest.raises(LeaseLost):
        await store.record_outcome(job, Outcome(OutcomeKind.APPROVED, "PENDING"), ANSWER)
    queued = select(decisions.c.status).where(decisions.c.batch_number == 1)
    assert [row["status"] for row in await execute(store.database, queued)] == ["queued"]


async def test_process_that_took_its_own_decision_over_writes_nothing_for_the_first_time(store: DecisionStore) -> None:
    job = await received(store)
    await silence(store)
    (again,) = await store.take_over(1)
    job.seen = again.seen = SHOWN
    with pytest.raises(LeaseLost):
        await store.record_send(job)
    await store.record_send(again)


async def test_outcome_of_a_decision_that_was_stopped_before_it_began_is_not_recorded(store: DecisionStore) -> None:
    await ask(store, selection("b1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    assert await store.database.run(batches.stop, "b1", ALICE, "C0OPS")
    with pytest.raises(LeaseLost):
        await store.record_outcome(job, Outcome(OutcomeKind.PAUSED), ANSWER)


async def test_stop_of_one_selection_wakes_its_own_digest(store: DecisionStore) -> None:
    for number in (1, 2):
        await ask(store, replace(selection(f"b{number}"), digest_id=f"d{number}"))
        await store.confirm(f"b{number}", "U0ALICE", "")
    await execute(store.database, update(messages).values(is_open=False))
    await store.database.run(batches.stop, "b2", ALICE, "C0OPS")
    awake = select(messages.c.id).where(messages.c.is_open)
    assert [row["id"] for row in await execute(store.database, awake)] == ["d2"]


async def test_nobody_looks_into_what_is_not_tracked(store: DecisionStore) -> None:
    for about in (RemediationRef("c", "i", "r"), "no-digest"):
        assert await store.database.run(approvals.look_into, about, "", ALICE, "C0OPS", 0.0) == Looked.NOT_TRACKED


async def test_decision_on_another_remediation_keeps_nobody_waiting(store: DecisionStore) -> None:
    elsewhere = await received(store, request("t1", ref=RemediationRef("c", "i", "other")), "job-1")
    await store.claim(elsewhere)
    assert await store.database.read(claimed_by, request("t2", "U0BOB").ref) is None
    mine = await received(store, request("t3", "U0BOB"), "job-2")
    await store.claim(mine)
    late = await store.claim(await received(store, request("t4", "U0CAROL"), "job-3"))
    assert isinstance(late, Claim)
    assert late.user_id == "U0BOB"


async def test_outcome_that_is_recorded_twice_gives_the_next_decision_its_turn_once(store: DecisionStore) -> None:
    """The commit of the first attempt was in doubt, so the same process tries again."""
    await ask(store, selection("b1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    await store.claim(job)
    following = await store.record_outcome(job, Outcome(OutcomeKind.APPROVED, "PENDING"), ANSWER)
    again = await store.record_outcome(job, Outcome(OutcomeKind.APPROVED, "PENDING"), ANSWER)
    assert following is not None
    assert again is not None
    assert again.id == following.id
    with pytest.raises(LeaseLost):
        await store.claim(following)
    await store.claim(again)


async def test_process_whose_lease_ran_out_asks_before_it_tells_an_answer(
    store: DecisionStore, time: ManualClock
) -> None:
    job = await received(store)
    await store.record_outcome(job, Outcome(OutcomeKind.APPROVED, "PENDING"), ANSWER)
    await silence(store)
    await other(store).take_over(1)
    await store.ensure_held(job)
    time.seconds += LEASE
    with pytest.raises(LeaseLost):
        await store.ensure_held(job)


async def test_selection_whose_last_decision_is_set_aside_wakes_its_digest(store: DecisionStore) -> None:
    await ask(store, replace(selection("b1"), digest_id="d1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    last = await store.set_aside(job)
    assert last is not None
    await execute(store.database, update(messages).values(is_open=False))
    assert await store.set_aside(last) is None
    assert [row["is_open"] for row in await execute(store.database, select(messages.c.is_open))] == [True]


async def test_event_waits_for_the_one_before_it_of_the_same_remediation(database_url: str, time: ManualClock) -> None:
    database = Database(database_url, time.clock)
    database.set_targets((Target.WEBHOOK,))
    await database.open()
    try:
        for kind, subject in ((EventKind.OPENED, "a"), (EventKind.DECIDED, "a"), (EventKind.OPENED, "b")):
            await database.run(outbox.emit, kind, subject, {})
        first, second = await database.read(outbox.due, Target.WEBHOOK, 10)
        assert (first.subject, second.subject) == ("a", "b")
        await database.run(outbox.postpone, first, 60.0)
        await database.run(outbox.drop, second)
        assert await database.read(outbox.due, Target.WEBHOOK, 10) == []
        await database.run(outbox.drop, first)
        (last,) = await database.read(outbox.due, Target.WEBHOOK, 10)
        assert last.event is not None
        assert last.event.kind is EventKind.DECIDED
    finally:
        await database.close()


async def test_selection_whose_decision_took_too_long_goes_no_further(store: DecisionStore) -> None:
    await ask(store, selection("b1"))
    job = await store.confirm("b1", "U0ALICE", "")
    assert job is not None
    await store.claim(job)
    job.received_at -= LIFETIME + 1
    assert await store.record_outcome(job, Outcome(OutcomeKind.APPROVED, "PENDING"), ANSWER) is None
    rest = select(decisions.c.status).where(decisions.c.batch_number == 1)
    assert [row["status"] for row in await execute(store.database, rest)] == ["void"]
    stopped = select(batches_table.c.stopped)
    assert [row["stopped"] for row in await execute(store.database, stopped)] == [StopReason.TOO_OLD.value]


async def test_load_of_the_last_list_counts_while_it_is_fresh(store: DecisionStore) -> None:
    present = await store.database.read(read_clock)
    listed = RepairLoad(3, 32, present, "llama-train", 2)
    load = await store.database.read(approvals.load_now, "c", listed)
    assert (load.in_repair, load.waiting) == (3, 2)
    load = await store.database.read(approvals.load_now, "c", replace(listed, at=present - approvals.LISTED_SECONDS))
    assert (load.in_repair, load.waiting) == (0, 0)


async def test_only_what_was_set_aside_is_counted_as_that(store: DecisionStore) -> None:
    job = await received(store)
    assert await store.database.read(count_set_aside) == 0
    await store.set_aside(job)
    assert await store.database.read(count_set_aside) == 1


async def test_same_event_has_the_same_id_when_it_is_written_again(database_url: str, time: ManualClock) -> None:
    database = Database(database_url, time.clock)
    database.set_targets((Target.WEBHOOK,))
    await database.open()
    try:
        ids = []
        for _ in range(2):
            await database.run(partial(outbox.emit, key="decision job-1"), EventKind.DECIDED, "a", {})
            (told,) = await database.read(outbox.due, Target.WEBHOOK, 10)
            assert told.event is not None
            ids.append(told.event.id)
            await database.run(outbox.drop, told)
        assert ids[0] == ids[1]
    finally:
        await database.close()


async def test_approval_in_doubt_whose_row_is_set_aside_counts_for_the_limit_still(
    database_url: str, time: ManualClock
) -> None:
    async with open_store(database_url, time) as store:
        doubtful = await received(store, request("t1", ref=RemediationRef("c", "i1", "r1")), "job-1")
        await store.claim(doubtful)
        await store.record_outcome(doubtful, Outcome(OutcomeKind.NOT_IN_EFFECT, "PENDING_APPROVAL"), ANSWER)
        next_one = await received(store, request("t2", ref=RemediationRef("c", "i2", "r2")), "job-2")
        await store.claim(next_one)
        assert await store.database.read(approvals.about_to_be_in_repair, next_one) == [doubtful.request.ref]
        await store.set_aside(doubtful)  # another version can't read its answer
        assert await store.database.read(approvals.about_to_be_in_repair, next_one) == [doubtful.request.ref]
