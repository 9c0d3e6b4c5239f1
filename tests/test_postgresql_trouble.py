"""PostgreSQL trouble: failovers, clocks, connection limits, isolation, encodings, and a stop while it hangs."""

import asyncio
import time as real

import psycopg
import pytest
from sqlalchemy import delete, insert, select, text, update

from bot.clock import WaitReason
from bot.errors import StartError, StorageUnavailable
from bot.store import Database
from bot.store.connection import Connection
from bot.store.tables import audit as trail
from bot.store.tables import decisions, inbox, leases, pauses
from tests.decisions.test_inbox import PAUSE, with_button
from tests.fetch import get
from tests.manual_clock import ON_THE_WAY, POLL, ManualClock
from tests.postgres import CUT_ALL
from tests.proxy import line_to
from tests.rows import execute, execute_beside
from tests.store.examples import open_store, request
from tests.test_audit_command import as_user
from tests.watch import in_step, quiet
from tests.world import APPROVE, IDS, world


async def test_decision_whose_row_a_failover_lost_is_still_answered_and_in_the_trail(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("approve"):
            assert (await bot.slack.press(alert, APPROVE)).status == 200
            await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "approve"])
            await execute_beside(bot, delete(decisions), delete(trail))  # the new primary never had them
        for _ in range(60):
            await quiet(bot)
            await bot.time.advance(10)
        await quiet(bot)
        assert len(bot.together.posts) == 1
        assert bot.together.state(IDS) != "PENDING_APPROVAL", "the repair was approved"
        told = [message.text for message in bot.slack.visible() if message is not alert]
        rows = await execute_beside(bot, select(trail.c.event, trail.c.outcome))
        assert "The bot's database has lost this. Your approval may have gone through." in told[0]
        assert [row["event"] for row in rows] == ["lost"]


async def test_acked_pause_whose_row_a_failover_lost_is_made_or_its_person_is_told(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        message = with_button(bot, PAUSE)
        with bot.slack.paused("users.info"):
            assert (await bot.slack.press(message, PAUSE)).status == 200
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await execute_beside(bot, delete(inbox))  # the new primary never had it
        for _ in range(60):
            await quiet(bot)
            await bot.time.advance(10)
        assert bot.slack.visible("U0ALICE") or await execute_beside(bot, select(pauses))


async def test_sessions_that_met_a_read_only_server_are_replaced(postgresql: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as admin:
        (name,) = await (await admin.execute("SELECT current_database()")).fetchone() or ("",)
        try:
            async with world(database=postgresql) as bot:
                nodes = [bot.together.add(("cluster-1", f"i{n}", f"r{n}")) for n in range(12)]
                posted = [bot.alert(ids) for ids in nodes]
                await quiet(bot)  # a connection that is being made wouldn't be cut
                # From here on, each connection is to the replica.
                await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                await admin.execute(CUT_ALL)
                during = [(await bot.slack.command(f"cluster-1/i/x{n}")).body for n in range(3)]
                assert all("can't reach its database" in each for each in during)
                await quiet(bot)
                # From here on, each connection is to the new primary.
                await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
                await bot.time.end_pause(WaitReason.HEARTBEAT)
                await bot.time.until_sleeping(WaitReason.HEARTBEAT)
                ready = await get(bot.app, "/readyz")
                acks = [(await bot.slack.press(message, APPROVE)).status for message in posted]
                assert acks == [200] * 12, f"every write is possible again, and /readyz says {ready}"
        finally:
            await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


async def test_lease_from_a_clock_that_was_ahead_keeps_nobody_from_watching_for_long(postgresql: str) -> None:
    time = ManualClock(ON_THE_WAY)
    async with in_step(postgresql, time):
        database = Database(postgresql)
        await database.open()
        ghost = {"name": "watch", "owner": "killed", "until": time.now() + 86_400 + 15}
        await execute(database, insert(leases).values(ghost))
        await database.close()
        settings = {"BOT_ALERT_CHANNEL": "C0OPS", "BOT_POLL_SECONDS": str(int(POLL)), "BOT_LEASE_SECONDS": "15"}
        async with world(database=postgresql, time=time, environ=settings, clusters=["cluster-1"]) as bot:
            bot.together.add()
            for _ in range(120):  # 20 minutes
                await quiet(bot)
                await time.advance(10)
            ready = await get(bot.app, "/readyz")
            assert bot.slack.cards(IDS[2]), f"no alert within 20 minutes, while /readyz says {ready}"


async def test_acked_pause_of_a_dead_process_is_taken_over_after_the_clock_was_set_back(postgresql: str) -> None:
    time = ManualClock(ON_THE_WAY)
    async with in_step(postgresql, time), world(database=postgresql, time=time, drain_seconds=0.05) as bot:
        message = with_button(bot, PAUSE)
        with bot.slack.paused("users.info"):
            assert (await bot.slack.press(message, PAUSE)).status == 200
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        killed = update(inbox).values(owner="killed", lease_until=inbox.c.received_at + 3600 + 15)
        await execute_beside(bot, killed)
        async with bot.another():
            for _ in range(30):  # five minutes: BOT_LEASE_SECONDS is 15
                await quiet(bot)
                await bot.time.advance(10)
            await quiet(bot)
            rows = await execute_beside(bot, select(trail.c.event))
            assert [row["event"] for row in rows] == ["paused"]


async def test_bot_that_has_fewer_connections_than_threads_uses_those_it_has(postgresql: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
        (schema,) = await (await owner.execute("SELECT current_schema()")).fetchone() or ("",)
        await owner.execute("CREATE ROLE few LOGIN PASSWORD 'x' CONNECTION LIMIT 5")
        await owner.execute(f"GRANT ALL ON SCHEMA {schema} TO few")
        try:
            async with open_store(as_user(postgresql, "few"), ManualClock()) as store:
                await store.heartbeat()
                burst = (store.receive(request(f"a{n}"), f"job-a{n}") for n in range(20))
                await asyncio.gather(*burst, return_exceptions=True)
                refused = 0
                for number in range(40):  # one after the other: one connection would be enough
                    try:
                        await store.receive(request(f"b{number}"), f"job-b{number}")
                    except StorageUnavailable:
                        refused += 1
                await store.heartbeat()
                assert refused == 0, f"{refused} of 40 were refused, while the heartbeat says that all is well"
        finally:
            await owner.execute("DROP OWNED BY few")
            await owner.execute("DROP ROLE few")


async def test_decisions_at_once_are_recorded_where_the_isolation_level_is_another_by_default(postgresql: str) -> None:
    url = postgresql.replace("options=", "options=-cdefault_transaction_isolation%3Drepeatable%5C%20read%20")
    async with world(database=url) as bot:
        for n in range(8):
            bot.together.add(("cluster-1", f"i{n}", f"r{n}"))
        presses = (bot.slack.press(bot.alert(("cluster-1", f"i{n}", f"r{n}")), APPROVE) for n in range(8))
        await asyncio.gather(*presses)
        for _ in range(10):
            await quiet(bot)
            await bot.time.advance(5)
        await quiet(bot)
        rows = await execute_beside(bot, select(decisions.c.status, decisions.c.outcome))
        assert [row["status"] for row in rows] == ["done"] * 8, f"{len(bot.together.posts)} POSTs were sent: {rows}"


async def test_database_that_was_made_without_a_locale_is_usable(postgresql_server: str) -> None:
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    database = Database(postgresql_server.replace("/postgres?", "/plain?"))
    await database.open()
    assert await database.read(Connection.execute, text("SELECT name FROM leases")) is not None
    await database.close()


async def test_stop_while_the_database_hangs_ends_within_what_the_deploy_files_grant(postgresql: str) -> None:
    drain, granted = 0.05, 35 - 20  # the drain is shortened, so that this test is short; all else is as it is
    async with (
        line_to(postgresql) as line,
        world(database=line.url, BOT_ALERT_CHANNEL="C0OPS", drain_seconds=drain, BOT_AUDIT_KEY="k" * 32) as bot,
    ):
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("approve"):
            with bot.slack.paused("chat.postMessage"):
                await bot.slack.press(alert, APPROVE)
                await bot.together.until(lambda: bot.together.posts)
                await bot.slack.until(lambda: bot.slack.is_waiting("chat.postMessage"))  # the watch's card
                line.freeze()
            began = real.monotonic()
            await bot.settle()
            took = real.monotonic() - began
            line.thaw()
    assert took < granted, f"after the drain it took {took:.0f} s more"


async def test_command_whose_node_is_to_be_looked_up_is_acked_in_time_while_the_database_hangs(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        await quiet(bot)
        line.freeze()
        asked = asyncio.create_task(bot.slack.command("gpu-node-7 rebooted by hand"))
        async with asyncio.timeout(3):
            while not bot.transactions():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            await bot.time.advance(1.1)
            told = (await asked).body
        line.thaw()
    assert "The bot can't reach its database, so nothing was sent." in told


async def test_database_of_another_program_is_not_called_a_newer_one_of_the_bots(postgresql: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as owner:
        await owner.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        await owner.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    database = Database(postgresql)
    try:
        with pytest.raises(StartError) as refused:
            await database.open()
    finally:
        await database.close()
    assert "newer" not in str(refused.value)
