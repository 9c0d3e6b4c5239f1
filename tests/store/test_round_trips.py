"""How often PostgreSQL is asked: each message is a round trip, and a commit goes with what comes before it."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import psycopg
import pytest
from sqlalchemy import text

from bot.errors import StorageUnavailable
from bot.models import Actor, Alert, AuditNote, EventKind, Target
from bot.store import Database, approvals, audit, messages, outbox, rows
from bot.store.connection import Connection
from bot.store.postgresql import Messages, PostgreSQL
from tests.manual_clock import HANGS_AFTER
from tests.proxy import line_to
from tests.samples import DIGEST, remediation
from tests.test_audit_command import as_user
from tests.watch import card, quiet, watching
from tests.world import REF, world

ALICE = Actor("U0ALICE", "alice", "T0HOME")
MESSAGES_OF_A_COMMAND = 6
MESSAGES_OF_A_CLICK = 12
ONE = text("SELECT 1")


async def test_typed_cancel_asks_postgresql_six_times(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        counts = []
        for number in range(1, 9):  # a connection that is used for the first time is tried first
            before, _ = line.questions, bot.together.add()
            await bot.slack.command(REF)
            await bot.answer(number)
            await quiet(bot)
            counts.append(line.questions - before)
        assert min(counts) == MESSAGES_OF_A_COMMAND


async def test_click_on_an_alert_asks_postgresql_twelve_times(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        counts = []
        for number in range(1, 5):
            ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
            alert = await card(bot, ids)
            await quiet(bot)
            before = line.questions
            await bot.slack.press(alert, "remediation:approve")
            await card(bot, ids, words="Approved by")
            await quiet(bot)
            counts.append(line.questions - before)
        assert min(counts) == MESSAGES_OF_A_CLICK


async def test_storm_asks_postgresql_as_often_however_many_nodes_a_webhook_is_told_of(postgresql: str) -> None:
    async def questions(count: int) -> list[int]:
        new = [Alert(remediation(id=f"r-{count}-{number}", cluster_id=f"c-{count}"), "") for number in range(count)]
        digest = replace(DIGEST, id=f"digest-{count}", cluster_id=f"c-{count}")
        asked = [line.questions]
        await database.run(messages.gather, digest, new, 0.0, 24.0)
        asked.append(line.questions)
        before = await database.read(rows.load, digest.id)
        assert before is not None
        asked.append(line.questions)
        told = {alert.ref: EventKind.REMINDED for alert in before.alerts}
        await database.run(rows.write, before, before.message, None, told)
        asked.append(line.questions)
        await database.run(approvals.look_into, digest.id, "", ALICE, "C0OPS", 0.0)
        asked.append(line.questions)
        return [after - before for before, after in pairwise(asked)]

    async with line_to(postgresql) as line:
        database = Database(line.url)
        database.set_targets([Target.WEBHOOK])
        await database.open()
        few, many = await questions(2), await questions(50)
        (first, *_) = await database.read(outbox.due, Target.WEBHOOK, 1)
        await database.close()
    assert all(after <= before + 1 for before, after in zip(few, many, strict=True))  # a line that was idle is tried
    assert first.event is not None
    assert first.event.at == pytest.approx(time.time(), abs=HANGS_AFTER)


async def test_who_decided_is_asked_of_the_trail_and_the_alert_at_once(postgresql: str) -> None:
    async with line_to(postgresql) as line:
        database = Database(line.url)
        await database.open()
        asked = [line.questions]
        for function in (audit.who_decided, audit.who_decided, approvals.who_decided):
            await database.read(function, remediation())
            asked.append(line.questions)
        await database.close()
    _, of_trail, of_both = (after - before for before, after in pairwise(asked))
    assert of_both == of_trail


async def test_signatures_are_checked_with_as_few_questions_however_many_there_are(postgresql: str) -> None:
    async with line_to(postgresql) as line:
        database = Database(line.url)
        await database.open()
        asked = []
        for count in (2, 40):
            for _ in range(count):
                await database.run(audit.note, AuditNote("refused", ALICE, "C0OPS"))
                await database.run(audit.sign, "k" * 32)
            before = line.questions
            checked = await database.read(audit.check_signatures, ["k" * 32])
            asked.append(line.questions - before)
            assert (checked.problems, checked.signed_at is None) == ([], False)
        await database.close()
    assert asked[1] <= asked[0]


async def test_line_that_was_idle_is_tried_before_a_commit_goes_over_it(postgresql: str) -> None:
    def run(connection: Messages, now: float) -> int:
        before = line.questions
        connection.begin(PostgreSQL.begin_write.format(limit=1000), now)
        connection.execute(ONE)
        connection.commit()
        return line.questions - before

    async with line_to(postgresql) as line:
        driver = PostgreSQL(line.url)
        raw = await asyncio.to_thread(driver.connect)
        connection = Messages(raw, driver)
        counts = [await asyncio.to_thread(run, connection, now) for now in (0.0, 0.5, 10.0, 10.5)]
        raw.close()
    assert counts == [2, 1, 2, 1]


async def test_cut_line_is_found_before_a_commit_goes_over_it(postgresql: str) -> None:
    async with line_to(postgresql) as line:
        database = Database(line.url)
        await database.open()
        for _ in range(20):
            await database.run(Connection.execute, ONE)
            line.cut()
            while line.connections():  # noqa: ASYNC110 - the loop itself cuts them
                await asyncio.sleep(0)
        await database.close()


async def test_what_the_server_refuses_with_a_commit_was_certainly_not_done(postgresql: str) -> None:
    database = Database(postgresql, seconds=1.0)
    await database.open()
    await database.run(Connection.execute, text("CREATE TABLE written (id INTEGER)"))

    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO written VALUES (1)"))
        connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(StorageUnavailable) as refused:
        await database.run(write)
    assert not refused.value.in_doubt
    assert not await database.read(Connection.execute, text("SELECT id FROM written"))
    await database.close()


async def test_close_waits_for_no_connection_that_the_server_grants_nobody(postgresql: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
        await owner.execute("CREATE ROLE lone LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
        database = Database(as_user(postgresql, "lone"))
        asleep = asyncio.ensure_future(database.run(Connection.execute, text("SELECT pg_sleep(60)")))
        active = "SELECT 1 FROM pg_stat_activity WHERE usename = 'lone' AND state = 'active'"
        while not await (await owner.execute(active)).fetchone():
            pass
        waiting = asyncio.ensure_future(database.run(Connection.execute, ONE))
        while len(database.under_way) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        began = time.monotonic()
        await database.close()
        assert time.monotonic() - began < 4
        assert all(
            isinstance(each, StorageUnavailable)
            for each in await asyncio.gather(asleep, waiting, return_exceptions=True)
        )
        await owner.execute("DROP ROLE lone")


async def test_reads_write_nothing(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    with pytest.raises(StorageUnavailable) as refused:
        await database.read(Connection.execute, text("CREATE TABLE written (id INTEGER)"))
    assert isinstance(refused.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
    await database.close()


async def test_what_cannot_be_read_after_the_commit_is_not_called_refused(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    await database.run(Connection.execute, text("CREATE TABLE written (id INTEGER)"))

    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO written VALUES (1) RETURNING CAST('infinity' AS timestamp) AS at"))

    with pytest.raises(StorageUnavailable) as refused:
        await database.run(write)
    assert refused.value.in_doubt
    assert len(await database.read(Connection.execute, text("SELECT id FROM written"))) == 1
    await database.close()
