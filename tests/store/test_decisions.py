"""The statements of decisions, on both databases."""

import asyncio
import json
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from bot.errors import LeaseLost, OutcomeKind
from bot.models import Alert, Claim, Job, Outcome, RemediationRef, ReplyTarget, SeenState, TrackedMessage
from bot.store import DecisionStore, audit, drop_old_response_urls, purge
from bot.store.connection import Connection
from bot.store.messages import add_cards
from bot.store.tables import DONE, alerts, decisions, messages
from bot.store.tables import audit as audit_table
from bot.tasks import cancel
from tests.manual_clock import ManualClock
from tests.postgres import until_one_waits
from tests.rows import execute
from tests.samples import remediation
from tests.store.examples import ANSWER, APPROVED, column, events, open_store, other, received, request, silence


async def test_job_from_receipt_to_end(store: DecisionStore) -> None:
    job = await received(store, request(reason="by hand", shown=SeenState("M", "S")))
    assert not isinstance(await store.claim(job), Claim)
    job.seen = SeenState("M", "PENDING_APPROVAL")
    await store.record_send(job)
    await store.record_outcome(job, APPROVED, ANSWER)
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


async def test_same_click_is_received_once(store: DecisionStore) -> None:
    await received(store)
    assert await store.receive(request(), "job-2") is None
    assert await other(store).receive(request(), "job-3") is None


async def test_two_replicas_receive_the_same_click_once(store: DecisionStore) -> None:
    replicas = [store, other(store)]
    got = await asyncio.gather(*(each.receive(request(), f"job-{n}") for n, each in enumerate(replicas * 5)))
    assert len([job for job in got if job]) == 1


async def test_one_decision_per_remediation_is_in_flight(store: DecisionStore) -> None:
    first, second = await received(store), await received(store, request("t2", "U0BOB"), "job-2")
    assert not isinstance(await store.claim(first), Claim)
    holder = await claim_of_another(store, second)
    assert (holder.user_id, holder.verb) == ("U0ALICE", "approve")
    elsewhere = await received(store, request("t3", ref=RemediationRef("c", "i", "r2")), "job-3")
    assert not isinstance(await store.claim(elsewhere), Claim)
    await store.record_outcome(first, APPROVED, ANSWER)
    await store.finish(first)
    assert not isinstance(await store.claim(second), Claim)


async def claim_of_another(store: DecisionStore, job: Job) -> Claim:
    claim = await store.claim(job)
    assert isinstance(claim, Claim)
    return claim


async def test_received_decision_blocks_nobody(store: DecisionStore) -> None:
    await received(store)
    second = await received(store, request("t2", "U0BOB"), "job-2")
    assert not isinstance(await store.claim(second), Claim)


async def test_living_job_is_not_taken_over(store: DecisionStore) -> None:
    await received(store)
    assert await other(store).take_over(10) == []
    await store.heartbeat()
    store.working.clear()
    await store.heartbeat()


async def test_silent_job_is_taken_over_with_all_that_is_known(store: DecisionStore) -> None:
    asked = request(reason="x", shown=SeenState("M", "S"))
    job = await received(store, asked)
    await store.claim(job)
    job.seen = SeenState("M", "PENDING_APPROVAL")
    await store.record_send(job)
    await store.set_place(job, ReplyTarget("C0OPS", "U0ALICE", message_ts="9.9", in_progress=True))
    await silence(store)
    (taken,) = await other(store).take_over(10)
    assert taken.request == asked.at(ReplyTarget("C0OPS", "U0ALICE", message_ts="9.9", in_progress=True))
    assert (taken.fence, taken.is_active, taken.taken_over, taken.answer) == (2, True, True, None)
    assert taken.sent_at is not None
    assert taken.seen == SeenState("M", "PENDING_APPROVAL")
    assert await store.seconds_since(taken.sent_at) < 5
    assert await store.seconds_since(taken.received_at) < 5


async def test_undelivered_answer_is_taken_over(store: DecisionStore) -> None:
    job = await received(store)
    await store.record_outcome(job, APPROVED, ANSWER)
    await silence(store)
    (taken,) = await other(store).take_over(10)
    assert taken.answer == ANSWER


async def test_late_writer_writes_nothing(store: DecisionStore) -> None:
    job = await received(store)
    await store.claim(job)
    await silence(store)
    (taken,) = await other(store).take_over(10)
    late: list[Any] = [
        lambda: store.record_send(job),
        lambda: store.record_send(job, is_again=True),
        lambda: store.record_outcome(job, APPROVED, ANSWER),
        lambda: store.finish(job),
        lambda: store.set_place(job, job.request.place),
        lambda: store.release(job),
        lambda: store.claim(job),
    ]
    for write in late:
        with pytest.raises(LeaseLost):
            await write()
    await store.heartbeat()
    assert await events(store) == []
    assert await column(store, "fence") == taken.fence


async def test_finished_decision_is_over(store: DecisionStore) -> None:
    job = await received(store)
    await store.record_outcome(job, APPROVED, ANSWER)
    await store.finish(job)
    await silence(store)
    assert await other(store).take_over(10) == []
    with pytest.raises(LeaseLost):
        await store.record_outcome(job, APPROVED, ANSWER)
    assert await store.receive(request(), "job-2") is None


async def test_two_replicas_take_a_job_over_once(store: DecisionStore) -> None:
    for number in range(20):
        await received(store, request(f"t{number}", ref=RemediationRef("c", "i", f"r{number}")), f"job-{number}")
    await silence(store)
    taken = await asyncio.gather(*(other(store).take_over(20) for _ in range(4)))
    ids = [job.id for jobs in taken for job in jobs]
    assert sorted(ids) == sorted(f"job-{number}" for number in range(20))


async def test_job_that_is_handed_back_is_taken_at_once(store: DecisionStore) -> None:
    job = await received(store)
    await store.release(job)
    assert [taken.id for taken in await other(store).take_over(10)] == [job.id]


async def test_row_in_doubt_is_not_run_later(store: DecisionStore) -> None:
    job = await received(store)
    await store.void(job.request, job.id)
    await silence(store)
    assert await other(store).take_over(10) == []
    assert await column(store, "request") is None


async def test_row_that_lands_after_it_was_voided_is_kept_out(store: DecisionStore) -> None:
    await store.void(request(), "job-1")
    assert await store.receive(request(), "job-1") is None
    await silence(store)
    assert await other(store).take_over(10) == []


async def test_active_decision_is_not_voided(store: DecisionStore) -> None:
    job = await received(store)
    await store.claim(job)
    await store.void(job.request, "job-2")
    await store.void(job.request, job.id)
    await store.record_outcome(job, APPROVED, ANSWER)


async def test_repeat_is_counted(store: DecisionStore) -> None:
    job = await received(store)
    await store.claim(job)
    job.seen = SeenState("M", "S")
    await store.record_send(job)
    await store.record_send(job, is_again=True)
    await silence(store)
    replica = other(store)
    (taken,) = await replica.take_over(10)
    taken.seen = SeenState("M", "S")
    await replica.record_send(taken)
    assert await column(store, "repeats") == 1
    assert [event for event, _ in await events(store)] == ["send", "repeat"]


async def test_old_decisions_are_purged_and_the_trail_is_kept(store: DecisionStore) -> None:
    job = await received(store)
    await store.record_outcome(job, APPROVED, ANSWER)
    await store.finish(job)
    assert await purge(store.database, 400) == 0
    await execute(store.database, update(decisions).values(done_at=decisions.c.done_at - 400 * 86_400 - 1))
    assert await purge(store.database, 400) == 1
    assert await events(store) == [("outcome", "approved")]


async def test_request_of_a_decision_that_just_ended_is_not_written_back(postgresql: str, time: ManualClock) -> None:
    async with open_store(postgresql, time) as store:
        job = await received(store)
        await store.claim(job)
        await store.record_outcome(job, APPROVED, ANSWER)
        await execute(store.database, update(decisions).values(received_at=0.0))
        async with await psycopg.AsyncConnection.connect(postgresql) as owner:
            await owner.execute("UPDATE decisions SET status = 'done', request = NULL, answer = NULL")
            dropping = asyncio.ensure_future(store.database.run(drop_old_response_urls))
            while not await (await owner.execute("SELECT 1 FROM pg_locks WHERE NOT granted")).fetchone():
                pass
            await owner.commit()
        await dropping
        assert (await column(store, "status"), await column(store, "request")) == ("done", None)


async def test_decision_that_was_set_aside_keeps_no_response_url(store: DecisionStore) -> None:
    job = await received(store)
    await store.set_aside(job)
    await execute(store.database, update(decisions).values(received_at=0.0))
    await store.database.run(drop_old_response_urls)
    assert "hooks.slack.com" not in await column(store, "request")


async def test_decision_that_was_set_aside_is_purged_like_one_that_ended(store: DecisionStore) -> None:
    await store.set_aside(await received(store))
    for seconds, purged in ((0.0, 0), (400 * 86_400 + 1.0, 1)):
        await execute(store.database, update(decisions).values(received_at=decisions.c.received_at - seconds))
        assert await purge(store.database, 400) == purged


async def test_alerts_are_purged_only_once_they_are_closed(store: DecisionStore) -> None:
    cards = [
        (Alert(remediation(id=name), ""), TrackedMessage(name, is_digest=False, cluster_id="c", channel_id="C0OPS"))
        for name in ("open", "closed", "watched", "new")
    ]
    await store.database.run(add_cards, cards, 0)
    long_ago = 400 * 86_400 + 1
    await execute(
        store.database,
        update(alerts).values(seen_at=alerts.c.seen_at - long_ago, is_open=alerts.c.remediation_id == "open"),
        update(alerts).where(alerts.c.remediation_id != "new").values(changed_at=alerts.c.changed_at - long_ago),
        update(messages).values(
            opened_at=messages.c.opened_at - long_ago, is_open=messages.c.id.in_(["open", "watched"])
        ),
    )
    await purge(store.database, 400)
    left = await execute(store.database, select(alerts.c.remediation_id).order_by(alerts.c.remediation_id))
    assert [row["remediation_id"] for row in left] == ["new", "open", "watched"]
    left = await execute(store.database, select(messages.c.id).order_by(messages.c.id))
    assert [row["id"] for row in left] == ["new", "open", "watched"]


async def test_alert_that_release_0_1_wrote_after_the_upgrade_is_not_purged_at_once(store: DecisionStore) -> None:
    """A rolling restart migrates the database while an older process still watches: it says nothing of changes."""
    cards = [(Alert(remediation(), ""), TrackedMessage("m", is_digest=False, cluster_id="c", channel_id="C0OPS"))]
    await store.database.run(add_cards, cards, 0)
    await execute(
        store.database, update(alerts).values(changed_at=0.0, is_open=False), update(messages).values(is_open=False)
    )
    await purge(store.database, 400)
    assert len(await execute(store.database, select(alerts.c.remediation_id))) == 1


async def test_alert_that_waits_again_as_it_is_purged_is_kept(postgresql: str, time: ManualClock) -> None:
    async with open_store(postgresql, time) as store:
        cards = [(Alert(remediation(), ""), TrackedMessage("m", is_digest=False, cluster_id="c", channel_id="C0OPS"))]
        await store.database.run(add_cards, cards, 0)
        await execute(
            store.database,
            update(alerts).values(seen_at=1.0, changed_at=1.0, is_open=False),
            update(messages).values(opened_at=1.0, is_open=False),
        )
        async with await psycopg.AsyncConnection.connect(postgresql) as watch:
            await watch.execute("UPDATE alerts SET is_open = true")
            await watch.execute("UPDATE messages SET is_open = true")
            purging = asyncio.ensure_future(purge(store.database, 400))
            waits = asyncio.ensure_future(until_one_waits(postgresql))
            await asyncio.wait({purging, waits}, return_when=asyncio.FIRST_COMPLETED)
            await watch.commit()
        await purging
        await cancel([waits])
        assert await execute(store.database, select(alerts.c.is_open)) == [{"is_open": True}]


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
        await execute(base.database, decisions.delete(), audit_table.delete())
        replicas = [other(base) for _ in range(3)]
        hands: list[dict[int, Job]] = [{}, {}, {}]
        for step, who, number in steps:
            await take_a_step(replicas[who], hands[who], step, number)
            count = "SELECT count(*) AS active FROM decisions WHERE status = 'active' GROUP BY remediation_id"
            assert all(row["active"] <= 1 for row in await execute(base.database, text(count)))
        told = [row["decision_id"] async for row in audit.rows(base.database) if row["event"] == "outcome"]
        assert len(told) == len(set(told))
        assert (await audit.verify(base.database)).problems == []


async def take_a_step(replica: DecisionStore, hand: dict[int, Job], step: str, number: int) -> None:
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
            await replica.claim(job)
        elif job and step == "send" and job.is_active and not job.answer:
            await replica.record_send(job)
        elif job and step == "conclude" and job.is_active and not job.answer:
            await replica.record_outcome(job, APPROVED, ANSWER)
        elif job and step == "finish" and job.answer:
            await replica.finish(job)
    except LeaseLost:
        hand.pop(number, None)


async def test_much_that_is_old_is_purged_to_the_last_row(store: DecisionStore) -> None:
    old = {"status": "done", "verb": "cancel", "user_id": "U0ALICE", "done_at": 1.0, "received_at": 1.0, "fence": 1}
    rows = [
        {**old, "id": f"d{n}", "dedup_key": f"old {n}", "owner": "", "lease_until": 0.0, "repeats": 0, "deliveries": 0,
         "cluster_id": "c", "instance_id": "i", "remediation_id": "r"}
        for n in range(1201)
    ]  # fmt: skip
    await store.database.run(Connection.execute, insert(decisions), rows)
    await received(store)
    assert await purge(store.database, 1) == 1201
    assert await column(store, "id") == "job-1"


async def test_outcome_that_was_recorded_before_is_kept_for_another_lease(postgresql: str, time: ManualClock) -> None:
    """Its commit was in doubt, and the database away for longer than the lease."""
    async with open_store(postgresql, time) as mine, open_store(postgresql, time) as others:
        job = await mine.receive(request(), "a" * 32)
        assert job
        await mine.claim(job)
        outcome, answer = Outcome(OutcomeKind.CHANGED, "PENDING"), ANSWER
        await mine.record_outcome(job, outcome, answer)
        await execute(mine.database, update(decisions).values(lease_until=0.0))
        await mine.record_outcome(job, outcome, answer)
        assert job.leased_until > time.clock.monotonic()
        assert await others.take_over(5) == []
