"""The statements of decisions, on both databases."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update

from bot.errors import LeaseLost
from bot.models import (
    Job,
    Place,
    RemediationRef,
    Shown,
)
from bot.store import Store, audit
from bot.store.tables import DONE, decisions
from bot.store.tables import audit as audit_table
from tests.manual_clock import ManualClock
from tests.store.examples import ANSWER, APPROVED, column, events, open_store, other, received, request, silence


async def test_job_from_receipt_to_end(store: Store) -> None:
    job = await received(store, request(reason="by hand", shown=Shown("M", "S")))
    assert await store.activate(job) is None
    await store.sending(job, Shown("M", "PENDING_APPROVAL"))
    await store.conclude(job, APPROVED, ANSWER)
    await store.finish(job)
    assert await column(store, "status") == DONE
    assert (await column(store, "request"), await column(store, "answer")) == (None, None)
    rows = [row async for row in audit.rows(store.database)]
    assert [(row["event"], row["outcome"]) for row in rows] == [("send", None), ("outcome", "approved")]
    told = dict(rows[1])
    assert (told["user_id"], told["team_id"], told["channel_id"]) == ("U0ALICE", "T0HOME", "C0OPS")
    assert (told["verb"], told["shown_mode"], told["shown_state"], told["reason"]) == ("approve", "M", "S", "by hand")
    assert (told["cluster_id"], told["instance_id"], told["remediation_id"]) == ("c", "i", "r")
    assert (told["state"], told["request_id"], told["decision_id"]) == ("PENDING", "req-1", "job-1")
    assert "hooks.slack.com" not in json.dumps([dict(row) for row in rows])


async def test_same_click_is_received_once(store: Store, time: ManualClock) -> None:
    await received(store)
    assert await store.receive(request(), "job-2") is None
    assert await other(store, time).receive(request(), "job-3") is None


async def test_two_replicas_receive_the_same_click_once(store: Store, time: ManualClock) -> None:
    replicas = [store, other(store, time)]
    got = await asyncio.gather(*(each.receive(request(), f"job-{n}") for n, each in enumerate(replicas * 5)))
    assert len([job for job in got if job]) == 1


async def test_one_decision_per_remediation_is_in_flight(store: Store) -> None:
    first, second = await received(store), await received(store, request("t2", "U0BOB"), "job-2")
    assert await store.activate(first) is None
    holder = await other_activates(store, second)
    assert (holder.user_id, holder.verb) == ("U0ALICE", "approve")
    elsewhere = await received(store, request("t3", ref=RemediationRef("c", "i", "r2")), "job-3")
    assert await store.activate(elsewhere) is None
    await store.conclude(first, APPROVED, ANSWER)
    await store.finish(first)
    assert await store.activate(second) is None


async def other_activates(store: Store, job: Job) -> Any:
    holder = await store.activate(job)
    assert holder is not None
    return holder


async def test_received_decision_blocks_nobody(store: Store) -> None:
    await received(store)
    second = await received(store, request("t2", "U0BOB"), "job-2")
    assert await store.activate(second) is None


async def test_living_job_is_not_taken_over(store: Store, time: ManualClock) -> None:
    job = await received(store)
    assert await other(store, time).take_over(10) == []
    await store.heartbeat([job.id])
    await store.heartbeat([])


async def test_silent_job_is_taken_over_with_all_that_is_known(store: Store, time: ManualClock) -> None:
    asked = request(reason="x", shown=Shown("M", "S"))
    job = await received(store, asked)
    await store.activate(job)
    await store.sending(job, Shown("M", "PENDING_APPROVAL"))
    await store.move(job, Place("C0OPS", "U0ALICE", message_ts="9.9", in_progress=True))
    await silence(store)
    (taken,) = await other(store, time).take_over(10)
    assert taken.request == asked.at(Place("C0OPS", "U0ALICE", message_ts="9.9", in_progress=True))
    assert (taken.fence, taken.is_active, taken.taken_over, taken.answer) == (2, True, True, None)
    assert taken.sent is not None
    assert taken.sent.seen == Shown("M", "PENDING_APPROVAL")
    assert await store.seconds_since(taken.sent.at) < 5
    assert await store.seconds_since(taken.received_at) < 5


async def test_undelivered_answer_is_taken_over(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.conclude(job, APPROVED, ANSWER)
    await silence(store)
    (taken,) = await other(store, time).take_over(10)
    assert taken.answer == ANSWER


async def test_late_writer_writes_nothing(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.activate(job)
    await silence(store)
    (taken,) = await other(store, time).take_over(10)
    late: list[Any] = [
        lambda: store.sending(job, None),
        lambda: store.still_sending(job),
        lambda: store.conclude(job, APPROVED, ANSWER),
        lambda: store.finish(job),
        lambda: store.move(job, job.request.place),
        lambda: store.hand_back(job),
        lambda: store.activate(job),
    ]
    for write in late:
        with pytest.raises(LeaseLost):
            await write()
    await store.heartbeat([job.id])
    assert await events(store) == []
    assert await column(store, "fence") == taken.fence


async def test_finished_decision_is_over(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.conclude(job, APPROVED, ANSWER)
    await store.finish(job)
    await silence(store)
    assert await other(store, time).take_over(10) == []
    with pytest.raises(LeaseLost):
        await store.conclude(job, APPROVED, ANSWER)
    assert await store.receive(request(), "job-2") is None


async def test_two_replicas_take_a_job_over_once(store: Store, time: ManualClock) -> None:
    for number in range(20):
        await received(store, request(f"t{number}", ref=RemediationRef("c", "i", f"r{number}")), f"job-{number}")
    await silence(store)
    taken = await asyncio.gather(*(other(store, time).take_over(20) for _ in range(4)))
    ids = [job.id for jobs in taken for job in jobs]
    assert sorted(ids) == sorted(f"job-{number}" for number in range(20))


async def test_job_that_is_handed_back_is_taken_at_once(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.hand_back(job)
    assert [taken.id for taken in await other(store, time).take_over(10)] == [job.id]


async def test_row_in_doubt_is_not_run_later(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.void(job.request, job.id)
    await silence(store)
    assert await other(store, time).take_over(10) == []
    assert await column(store, "request") is None


async def test_row_that_lands_after_it_was_voided_is_kept_out(store: Store, time: ManualClock) -> None:
    await store.void(request(), "job-1")
    assert await store.receive(request(), "job-1") is None
    await silence(store)
    assert await other(store, time).take_over(10) == []


async def test_active_decision_is_not_voided(store: Store) -> None:
    job = await received(store)
    await store.activate(job)
    await store.void(job.request, "job-2")
    await store.void(job.request, job.id)
    await store.conclude(job, APPROVED, ANSWER)


async def test_repeat_is_counted(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.activate(job)
    await store.sending(job, Shown("M", "S"))
    await store.still_sending(job)
    await silence(store)
    replica = other(store, time)
    (taken,) = await replica.take_over(10)
    await replica.sending(taken, Shown("M", "S"))
    assert await column(store, "repeats") == 1
    assert [event for event, _ in await events(store)] == ["send", "repeat"]


async def test_old_decisions_are_purged_and_the_trail_is_kept(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.conclude(job, APPROVED, ANSWER)
    await store.finish(job)
    assert await store.forget(400) == 0
    async with store.database.begin() as connection:
        await connection.execute(update(decisions).values(done_at=decisions.c.done_at - 400 * 86_400 - 1))
    assert await store.forget(400) == 1
    assert await events(store) == [("outcome", "approved")]
    assert time.seconds == 0


# Only one thing is ever true: at most one decision in flight per remediation, exactly one outcome per decision.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["receive", "activate", "send", "conclude", "finish", "die", "take over"]),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_sequence_of_claims_deaths_and_takeovers_keeps_the_invariants(
    steps: list[tuple[str, int, int]], database_url: str, time: ManualClock
) -> None:
    async with open_store(database_url, time) as base:
        async with base.database.begin() as connection:
            await connection.execute(decisions.delete())
            await connection.execute(audit_table.delete())
        replicas = [other(base, time) for _ in range(3)]
        hands: list[dict[int, Job]] = [{}, {}, {}]
        for step, who, number in steps:
            await take_a_step(replicas[who], hands[who], step, number)
            async with base.database.begin() as connection:
                active = await connection.execute(
                    text("SELECT count(*) FROM decisions WHERE status = 'active' GROUP BY remediation_id")
                )
                assert all(count <= 1 for (count,) in active)
        told = [row["decision_id"] async for row in audit.rows(base.database) if row["event"] == "outcome"]
        assert len(told) == len(set(told))
        assert (await audit.verify(base.database)).problems == []


async def take_a_step(replica: Store, hand: dict[int, Job], step: str, number: int) -> None:
    """One replica does one thing with one of four decisions, two of which are about the same remediation."""
    job = hand.get(number)
    try:
        if step == "receive":
            ref = RemediationRef("c", "i", f"r{number // 2}")
            if got := await replica.receive(request(f"t{number}", ref=ref), f"job-{number}"):
                hand[number] = got
        elif step == "die":
            await silence(replica)
        elif step == "take over":
            hand.update({int(taken.id[-1]): taken for taken in await replica.take_over(10)})
        elif job and step == "activate" and not job.is_active:
            job.is_active = await replica.activate(job) is None
        elif job and step == "send" and job.is_active and not job.answer:
            await replica.sending(job, None)
        elif job and step == "conclude" and job.is_active and not job.answer:
            await replica.conclude(job, APPROVED, ANSWER)
        elif job and step == "finish" and job.answer:
            await replica.finish(job)
    except LeaseLost:
        hand.pop(number, None)
