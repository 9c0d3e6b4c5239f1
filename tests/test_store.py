"""What must survive, on both databases."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text, update

from bot.errors import LeaseLost, StartError, StoreUnavailable
from bot.models import (
    About,
    Actor,
    Answer,
    Job,
    Manner,
    Message,
    Outcome,
    Place,
    RemediationRef,
    Request,
    Shown,
    Verb,
)
from bot.store import Database, Store, audit
from bot.store.engine import MIGRATIONS
from bot.store.tables import DONE, decisions, metadata
from bot.store.tables import audit as audit_table
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


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(database_url: str, time: ManualClock) -> AsyncIterator[Store]:
    async with open_store(database_url, time) as opened:
        yield opened


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


async def test_a_job_from_receipt_to_end(store: Store) -> None:
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


async def test_the_same_click_is_received_once(store: Store, time: ManualClock) -> None:
    await received(store)
    assert await store.receive(request(), "job-2") is None
    assert await other(store, time).receive(request(), "job-3") is None


async def test_two_replicas_receive_the_same_click_at_once(store: Store, time: ManualClock) -> None:
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


async def test_a_received_one_blocks_nobody(store: Store) -> None:
    await received(store)
    second = await received(store, request("t2", "U0BOB"), "job-2")
    assert await store.activate(second) is None


async def test_what_is_alive_is_not_taken_over(store: Store, time: ManualClock) -> None:
    job = await received(store)
    assert await other(store, time).take_over(10) == []
    await store.heartbeat([job.id])
    await store.heartbeat([])


async def test_what_is_silent_is_taken_over_with_all_that_is_known(store: Store, time: ManualClock) -> None:
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


async def test_an_answer_that_was_not_told_is_taken_over(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.conclude(job, APPROVED, ANSWER)
    await silence(store)
    (taken,) = await other(store, time).take_over(10)
    assert taken.answer == ANSWER


async def test_a_late_writer_writes_nothing(store: Store, time: ManualClock) -> None:
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


async def test_a_finished_one_is_over(store: Store, time: ManualClock) -> None:
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


async def test_what_is_handed_back_is_taken_at_once(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.hand_back(job)
    assert [taken.id for taken in await other(store, time).take_over(10)] == [job.id]


async def test_a_row_in_doubt_is_not_run_later(store: Store, time: ManualClock) -> None:
    job = await received(store)
    await store.void(job.request, job.id)
    await silence(store)
    assert await other(store, time).take_over(10) == []
    assert await column(store, "request") is None


async def test_a_row_that_lands_after_it_was_taken_back_is_kept_out(store: Store, time: ManualClock) -> None:
    await store.void(request(), "job-1")
    assert await store.receive(request(), "job-1") is None
    await silence(store)
    assert await other(store, time).take_over(10) == []


async def test_what_is_done_already_is_not_taken_back(store: Store) -> None:
    job = await received(store)
    await store.activate(job)
    await store.void(job.request, "job-2")
    await store.void(job.request, job.id)
    await store.conclude(job, APPROVED, ANSWER)


async def test_a_repeat_is_counted(store: Store, time: ManualClock) -> None:
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


async def test_old_decisions_are_forgotten_and_the_trail_is_not(store: Store, time: ManualClock) -> None:
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
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_sequence_of_claims_deaths_takeovers_and_late_writers(
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


async def trail(store: Store, length: int = 5) -> None:
    for number in range(length):
        asked = request(f"t{number}", f"U{number}", RemediationRef("c", "i", f"r{number}"))
        job = await received(store, asked, f"job-{number}")
        await store.conclude(job, APPROVED, ANSWER)


async def spoil(store: Store, statement: str) -> list[str]:
    async with store.database.begin() as connection:
        for part in statement.split(";"):
            await connection.execute(text(part))
    return list((await audit.verify(store.database)).problems)


async def test_a_whole_trail_verifies(store: Store) -> None:
    assert await audit.head(store.database) == audit.GENESIS
    await trail(store)
    verdict = await audit.verify(store.database)
    assert (verdict.rows, verdict.problems, verdict.head) == (5, [], await audit.head(store.database))


SPOILT = {
    "a changed row": ("UPDATE audit SET user_id = 'U9' WHERE seq = 3", ["Row 3 was changed."]),
    "a changed time": ("UPDATE audit SET at = at + 1 WHERE seq = 5", ["Row 5 was changed."]),
    "a missing row": ("DELETE FROM audit WHERE seq = 3", ["Row 3 is missing."]),
    "missing rows": ("DELETE FROM audit WHERE seq IN (1, 2)", ["Rows 1 to 2 are missing."]),
    "reordered rows": (
        "UPDATE audit SET seq = -seq WHERE seq IN (2, 3);UPDATE audit SET seq = 5 + seq WHERE seq < 0",
        [
            "Row 2 does not follow row 1: one of them was replaced or moved.",
            "Row 2 was changed.",
            "Row 3 does not follow row 2: one of them was replaced or moved.",
            "Row 3 was changed.",
            "Row 4 does not follow row 3: one of them was replaced or moved.",
        ],
    ),
}


@pytest.mark.parametrize(("statement", "problems"), SPOILT.values(), ids=SPOILT)
async def test_a_spoilt_trail_is_found_and_named(store: Store, statement: str, problems: list[str]) -> None:
    await trail(store)
    assert await spoil(store, statement) == problems


async def test_an_expected_head_finds_a_cut_tail_and_a_rewritten_trail(store: Store) -> None:
    await trail(store)
    noted = await audit.head(store.database)
    await trail_more(store)
    assert (await audit.verify(store.database, noted)).problems == []
    assert await spoil(store, "DELETE FROM audit WHERE seq >= 5") == []
    (problem,) = (await audit.verify(store.database, noted)).problems
    assert problem.startswith("The expected head is in no row")


async def trail_more(store: Store) -> None:
    job = await received(store, request("more", ref=RemediationRef("c", "i", "more")), "job-more")
    await store.conclude(job, APPROVED, ANSWER)


async def test_the_trail_is_read_by_time_remediation_and_user(store: Store) -> None:
    await trail(store)
    assert [row["seq"] async for row in audit.rows(store.database, user="U2")] == [3]
    assert [row["seq"] async for row in audit.rows(store.database, remediation="r4")] == [5]
    last = [row["at"] async for row in audit.rows(store.database)][-1]
    assert [row["seq"] async for row in audit.rows(store.database, since=last + 1)] == []


async def test_replicas_that_start_together_make_the_schema_once(postgresql: str, time: ManualClock) -> None:
    databases = [Database(postgresql) for _ in range(5)]
    await asyncio.gather(*(database.open() for database in databases))
    assert await Store(databases[0], LEASE, time.clock).take_over(1) == []
    for database in databases:
        await database.close()


async def test_a_newer_schema_stops_an_older_program(database_url: str, time: ManualClock) -> None:
    async with open_store(database_url, time) as store, store.database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database = Database(database_url)
    with pytest.raises(StartError, match="schema 9999, which is newer than this version of the bot knows"):
        await database.open()
    await database.close()


async def test_an_sqlite_file_belongs_to_one_process(tmp_path: Path, time: ManualClock) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    async with open_store(url, time):
        second = Database(url)
        with pytest.raises(StartError, match="Another process of the bot uses"):
            await second.open()
        await second.close()
    async with open_store(url, time):
        pass


async def test_an_sqlite_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/bot.db")
    with pytest.raises(StartError, match="cannot be written: No such file or directory"):
        await database.open()
    await database.close()


async def test_sqlite_is_as_durable_as_it_can_be(tmp_path: Path, time: ManualClock) -> None:
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store, store.database.begin() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar() == 2  # FULL


@pytest.mark.parametrize("url", ["postgres://u@127.0.0.1:1/db", "postgresql://u@localhost:1/db?sslmode=disable"])
async def test_a_database_that_is_not_there_is_unavailable(url: str) -> None:
    database = Database(url)
    with pytest.raises(StoreUnavailable):
        await database.open()
    await database.close()


async def test_a_hosts_url_is_read_by_the_driver_itself(postgresql: str, time: ManualClock) -> None:
    url = postgresql.replace("postgresql://", "postgres://") + "&sslmode=prefer&application_name=bot"
    async with open_store(url, time) as store:
        await received(store)


async def test_a_database_of_the_first_release_is_brought_up_to_date_with_all_that_it_holds(
    database_url: str, time: ManualClock
) -> None:
    database = Database(database_url)
    async with database.begin() as connection:
        await connection.run_sync(_make_first_schema)
    store = Store(database, LEASE, time.clock)
    job = await received(store)
    await database.open()
    try:
        assert await store.activate(job) is None
        await store.conclude(job, APPROVED, ANSWER)
        assert await store.agreed.about(REF) == About()
        async with database.begin() as connection:
            assert await connection.run_sync(_differences) == []
        assert (await audit.verify(database)).problems == []
    finally:
        await database.close()


def _make_first_schema(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def _differences(connection: Connection) -> list[Any]:
    """Where the migrated schema is not what the tables say."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
