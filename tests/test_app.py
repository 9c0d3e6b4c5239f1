"""The life of the process: start, health, reconnects, end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import psycopg
import pytest
from sqlalchemy import select

from bot.app import App
from bot.clock import WaitReason
from bot.errors import StartError
from bot.store.tables import leases
from handlers.connection import CHECK_EVERY
from handlers.socket import AT_ONCE, DEAD_TICKET_AFTER, PING_SECONDS
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER, ManualClock
from tests.postgres import CUT_ALL
from tests.rows import execute_beside
from tests.simulator.slack import Slack, SlackFault
from tests.simulator.together import Together
from tests.sqlite import locked
from tests.watch import poll
from tests.world import APPROVE, IDS, REF, REFRESH, World, both_transports, settings_for, world


async def post(app: App, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{app.port}{path}") as response:
        return response.status


@asynccontextmanager
async def starting(
    prepare: Callable[[Slack], Awaitable[object]], *, socket: bool = False, database: str = "", **environ: str
) -> AsyncIterator[tuple[App, Slack, ManualClock, "asyncio.Task[None]"]]:
    """Start a bot whose Slack was made difficult first, on a separate file: tests run beside each other."""
    time = ManualClock()
    with TemporaryDirectory() as folder:
        async with Slack(time.now) as slack, Together(time.now) as together:
            url = database or f"sqlite:///{folder}/bot.db"
            app = App(settings_for(slack, together, socket=socket, DATABASE_URL=url, **environ), clock=time.clock)
            await prepare(slack)
            stop = asyncio.Event()
            running = asyncio.create_task(app.run(stop))
            try:
                yield app, slack, time, running
            finally:
                stop.set()
                await asyncio.wait({running})


async def test_running_bot_is_healthy_and_ready() -> None:
    async with world() as bot:
        assert await get(bot.app, "/healthz") == (200, "ok\n")
        assert await get(bot.app, "/readyz") == (200, "ready\n")
        assert (await get(bot.app, "/slack/events"))[0] == 405


async def test_socket_mode_serves_health_and_no_slack_events() -> None:
    async with world(socket=True) as bot:
        assert await get(bot.app, "/readyz") == (200, "ready\n")
        assert await post(bot.app, "/slack/events") == 404


async def test_unreachable_slack_is_retried() -> None:
    async with starting(lambda slack: slack.stop()) as (app, slack, time, _running):
        await app.listening.wait()
        await time.until_sleeping(WaitReason.RETRY)
        status, reason = await get(app, "/readyz")
        assert (status, reason.startswith("Can't reach Slack")) == (503, True)
        assert await post(app, "/slack/events") == 503
        assert await get(app, "/healthz") == (200, "ok\n")
        await slack.start()
        await time.end_pause(WaitReason.RETRY)
        await app.ready.wait()
        assert await get(app, "/readyz") == (200, "ready\n")


async def test_metrics_are_served_before_there_are_tables(postgresql: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql) as other:
        await other.execute("CREATE TABLE alembic_version (version_num text)")  # which the bot waits for
        async with starting(lambda slack: slack.until(lambda: True), database=postgresql) as (
            app,
            _slack,
            time,
            _running,
        ):
            await time.until_sleeping(WaitReason.RETRY)
            assert (await get(app, "/metrics"))[0] == 200


@pytest.mark.parametrize("kind", ["ratelimited", "html", "internal_error"])
async def test_passing_trouble_of_slack_is_retried(kind: str) -> None:
    async def trouble(slack: Slack) -> None:
        slack.faults.append(SlackFault("auth.test", kind, times=2))

    async with starting(trouble) as (app, _slack, time, _running):
        for _ in range(2):
            await time.end_pause(WaitReason.RETRY)
        await app.ready.wait()
        assert time.slept(WaitReason.RETRY) == [1.0, 2.0]


@pytest.mark.parametrize("error", ["invalid_auth", "account_inactive", "token_revoked"])
async def test_refused_bot_token_stops_the_start(error: str) -> None:
    async def revoke(slack: Slack) -> None:
        slack.token_error = error

    async with starting(revoke) as (_app, _slack, _time, running):
        with pytest.raises(StartError, match=f"Slack rejects SLACK_BOT_TOKEN: {error}"):
            await running


async def test_refused_app_token_stops_the_start() -> None:
    async def refuse(slack: Slack) -> None:
        slack.faults.append(SlackFault("apps.connections.open", "not_allowed_token_type", times=-1))

    async with starting(refuse, socket=True) as (_app, _slack, _time, running):
        with pytest.raises(StartError, match="Slack rejects SLACK_APP_TOKEN: not_allowed_token_type"):
            await running


async def test_org_wide_installation_stops_the_start() -> None:
    async def organise(slack: Slack) -> None:
        slack.auth_extra = {"is_enterprise_install": True, "enterprise_id": "E1"}

    async with starting(organise) as (_app, _slack, _time, running):
        with pytest.raises(StartError, match="installed org-wide, which this bot doesn't support"):
            await running


async def test_stop_while_slack_is_unreachable_ends_the_process() -> None:
    async with starting(lambda slack: slack.stop()) as (app, _slack, time, running):
        await app.listening.wait()
        await time.until_sleeping(WaitReason.RETRY)
        assert not running.done()
    assert running.done()
    assert running.exception() is None
    assert not app.ready.is_set()


async def test_token_revoked_later_makes_the_bot_unready() -> None:
    async with world() as bot:
        bot.slack.token_error = "token_revoked"
        await bot.time.end_pause(WaitReason.SLACK_CHECK)
        await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("auth.test") > 1)
        await bot.time.until_sleeping(WaitReason.SLACK_CHECK)
        assert await get(bot.app, "/readyz") == (503, "Slack isn't usable: token_revoked.\n")
        bot.slack.token_error = None
        await bot.time.end_pause(WaitReason.SLACK_CHECK)
        await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("auth.test") > 2)
        await bot.time.until_sleeping(WaitReason.SLACK_CHECK)
        assert await get(bot.app, "/readyz") == (200, "ready\n")


@pytest.mark.parametrize(
    ("scope", "operators", "without"),
    [
        ("im:history", "U0ALICE", "The rest works."),
        ("commands", "U0ALICE", "The rest works."),
        ("users:read", "U0ALICE", "Nothing can be decided."),
        ("usergroups:read", "U0ALICE,S0GROUP01", "The rest works."),
        ("usergroups:read", "S0GROUP01", "Nothing can be decided."),
    ],
)
async def test_scope_that_a_reinstall_gives_is_not_called_missing(scope: str, operators: str, without: str) -> None:
    async def lack(slack: Slack) -> None:
        slack.scopes.discard(scope)

    async with starting(lack, BOT_OPERATORS=operators) as (app, slack, time, _running):
        await app.ready.wait()
        said = (await get(app, "/readyz"))[1]
        assert said.startswith(f"ready\nThe Slack app lacks {scope} (")
        assert without in said
        slack.scopes.add(scope)
        await time.end_pause(WaitReason.SLACK_CHECK)
        await time.until_sleeping(WaitReason.SLACK_CHECK)
        assert await get(app, "/readyz") == (200, "ready\n")


@pytest.mark.parametrize(("field", "whose"), [("team_id", "workspace"), ("user_id", "app")])
async def test_renewed_token_of_another_workspace_or_app_makes_the_bot_unready(field: str, whose: str) -> None:
    async with world() as bot:
        bot.slack.auth_extra[field] = "T0OTHER"
        await checks(bot, 1)
        said = (await get(bot.app, "/readyz"))[1]
    assert said == f"Slack isn't usable: SLACK_BOT_TOKEN is another {whose}'s now.\n"


async def checks(bot: World, count: int) -> None:
    """Let the bot look at Slack, and wait until it has asked so often and drawn its conclusion."""
    asked = [method for method, _ in bot.slack.calls].count("auth.test")
    await bot.time.end_pause(WaitReason.SLACK_CHECK)
    await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("auth.test") == asked + count)
    await bot.time.until_sleeping(WaitReason.SLACK_CHECK)


@pytest.mark.parametrize(("kind", "looks"), [("ratelimited", 1), ("internal_error", 2), ("html", 2)])
async def test_one_look_that_fails_leaves_a_working_bot_ready(kind: str, looks: int) -> None:
    async with world() as bot:
        bot.slack.faults.append(SlackFault("auth.test", kind, times=1))
        await checks(bot, looks)
        assert await get(bot.app, "/readyz") == (200, "ready\n")


async def test_slack_that_fails_twice_in_a_row_makes_the_bot_unready() -> None:
    async with world() as bot:
        bot.slack.faults.append(SlackFault("auth.test", "internal_error", times=2))
        await checks(bot, 2)
        assert await get(bot.app, "/readyz") == (503, "Slack isn't usable: internal_error.\n")


async def test_part_that_ends_by_itself_ends_the_process(postgresql: str) -> None:
    async with AsyncExitStack() as stack:
        bot = await stack.enter_async_context(world(database=postgresql, BOT_PAGERDUTY_KEY="k" * 32))
        await bot.time.until_sleeping(WaitReason.LEASE)
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
            await connection.execute("ALTER TABLE leases RENAME TO hidden")
        await bot.time.advance(86_400)  # the sender of events renews its lease, where it expects no such error
        await asyncio.wait({bot.running}, timeout=HANGS_AFTER)
        has_ended = bot.running.done()
        with pytest.raises(psycopg.ProgrammingError):
            await stack.aclose()
    assert has_ended


async def test_stop_finishes_acked_work_and_takes_nothing_new() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            bot.stop.set()
            await until_unready(bot)
            assert (await get(bot.app, "/readyz"))[1] == "The bot is stopping.\n"
            assert "The bot is restarting" in (await bot.slack.command(REF)).body
            assert (await bot.slack.press(alert, REFRESH)).status == 503
        await bot.running
        assert "Approved, queued" in alert.text
        assert alert.edits == 1


@both_transports
async def test_stop_acknowledges_and_finishes_what_is_being_written_down(bot: World) -> None:
    bot.together.add()
    for reason in (WaitReason.HEARTBEAT, WaitReason.RECOVERY, WaitReason.TIDY, WaitReason.DAILY):
        await bot.time.until_sleeping(reason)
    async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///")), "IMMEDIATE"):
        typing = asyncio.create_task(bot.slack.command(REF))
        async with asyncio.timeout(HANGS_AFTER):
            while not bot.transactions():
                await get(bot.app, "/healthz")
        bot.stop.set()
        await until_unready(bot)
    assert (await typing).status == 200
    await bot.running
    assert ["Cancelled" in message.text for message in bot.slack.messages] == [True]


async def until_unready(bot: World) -> None:
    async with asyncio.timeout(HANGS_AFTER):
        while (await get(bot.app, "/readyz"))[0] == 200:
            pass


async def test_next_process_finishes_what_a_stop_could_not() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            await bot.time.advance(1)
            await bot.edited(alert)
            await bot.settle()
        assert (len(bot.slack.messages), alert.edits) == (1, 1)
        async with bot.another():
            await bot.edited(alert, 2)
        assert "Approved by <@U0ALICE>" in alert.text
        assert len(bot.together.posts) == 1


async def test_next_process_sends_what_a_stop_interrupted_before_the_post() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await bot.settle()
        assert bot.together.posts == []
        async with bot.another():
            await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"
        assert len(bot.slack.messages) == 1


async def test_next_process_authorizes_again_what_a_stop_interrupted() -> None:
    async with world(drain_seconds=0.05, BOT_OPERATORS="*") as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: "users.info" in [method for method, _ in bot.slack.calls])
            await bot.settle()
        bot.slack.users["U0ALICE"]["deleted"] = True
        async with bot.another():
            assert "deactivated users can't do this" in (await bot.reply_privately()).text
        assert bot.together.calls == []


async def test_decision_that_waited_ten_minutes_is_answered_and_not_sent() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await bot.settle()
        await bot.time.advance(601)
        async with bot.another():
            error = await bot.answer(2)
        assert "Your approval wasn't sent: the bot couldn't act on it for more than 10 min." in error.text
        assert list(error.buttons) == [REFRESH]
        assert bot.together.posts == []


async def test_stop_finishes_an_answer_that_has_begun() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        with bot.slack.paused("chat.postMessage"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: "chat.postMessage" in [method for method, _ in bot.slack.calls])
            bot.stop.set()
            await until_unready(bot)
            await asyncio.wait({bot.running}, timeout=0.1)
        await bot.running
        assert ["Cancelled" in message.text for message in bot.slack.messages] == [True]


async def test_next_process_answers_a_command_whose_person_was_told_to_wait() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        with bot.together.paused("cancel"):
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.posts)
            await bot.time.advance(1)
            assert "The result follows." in (await bot.reply_privately()).text
            bot.stop.set()
            await until_unready(bot)
            await asyncio.wait({bot.running}, timeout=0.1)
        await bot.running
        async with bot.another():
            assert "Cancelled, apparently by <@U0ALICE>" in (await bot.answer()).text
        assert len(bot.together.posts) == 1


async def test_socket_mode_survives_a_cut_and_a_refresh() -> None:
    async with world(socket=True) as bot:
        sockets = bot.slack.sockets
        await bot.slack.until(lambda: sockets.connected == AT_ONCE)
        for count, disturb in enumerate((sockets.close_all, sockets.ask_to_reconnect), 2):
            await disturb()
            await connections(bot, count * AT_ONCE)
        bot.together.add()
        assert (await bot.slack.command(REF)).status == 200
        assert "Cancelled" in (await bot.answer()).text


async def connections(bot: World, count: int) -> None:
    """Wait until `count` connections were made and two are open."""
    await bot.slack.until(lambda: bot.slack.sockets.connected == count and len(bot.slack.sockets.open) == AT_ONCE)


async def test_refresh_of_one_connection_leaves_no_gap() -> None:
    async with world(socket=True) as bot:
        await connections(bot, AT_ONCE)
        with bot.slack.paused("apps.connections.open"):
            await bot.slack.sockets.ask_to_reconnect(1)
            await bot.slack.until(lambda: bot.slack.is_waiting("apps.connections.open"))
            bot.together.add()
            assert (await bot.slack.command(REF)).status == 200
            assert (await get(bot.app, "/readyz"))[0] == 200
        await connections(bot, AT_ONCE + 1)


async def test_connection_is_replaced_once_when_slack_asks_twice_and_is_slow() -> None:
    async with world(socket=True) as bot:
        sockets = bot.slack.sockets
        await connections(bot, AT_ONCE)
        sockets.answers_handshakes = False
        for _ in ("warning", "refresh_requested"):
            await sockets.ask_to_reconnect(1)
        await bot.slack.until(lambda: sockets.unanswered == 1)
        # The SDK alone begins again beside it after 5 s. One of both would be open then, and never read.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(6):
                await bot.slack.until(lambda: sockets.unanswered == 2)


async def test_connection_that_is_dead_but_looks_alive_is_replaced() -> None:
    assert PING_SECONDS + PING_SECONDS / 2 + PING_SECONDS <= 15  # the ping, its wait, and the SDK's next look
    async with world(socket=True) as bot:
        await connections(bot, AT_ONCE)
        assert bot.app._socket
        bot.slack.sockets.answers_pings = False
        for handler in bot.app._socket.handlers:
            handler.client.ping_interval = 0.02  # the SDK's own clock can't be replaced
        await bot.slack.until(lambda: bot.slack.sockets.connected >= 2 * AT_ONCE)
        bot.slack.sockets.answers_pings = True
        bot.together.add()
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.state(IDS) == "CANCELLED")


async def test_watchdog_drops_a_dead_ticket() -> None:
    async with world(socket=True) as bot:
        await connected_anew_soon(bot)
        bot.slack.sockets.refuse_new_tickets = True
        await bot.slack.sockets.close_all()
        await bot.slack.until(lambda: not bot.slack.sockets.open)
        await bot.slack.until(lambda: bot.slack.sockets.refused >= AT_ONCE)
        await bot.time.end_pause(WaitReason.SOCKET_CHECK)
        await until_seen_down(bot)
        assert (await get(bot.app, "/readyz"))[1] == "The Socket Mode connection is down.\n"
        bot.slack.sockets.refuse_new_tickets = False
        await bot.time.advance(DEAD_TICKET_AFTER)
        # Without the watchdog the SDK would try the dead ticket again and again.
        await connections(bot, 2 * AT_ONCE)


async def test_handshake_that_is_never_answered_is_given_up() -> None:
    async with world(socket=True) as bot:
        await connected_anew_soon(bot)
        bot.slack.sockets.answers_handshakes = False
        await bot.slack.sockets.close_all()
        await bot.slack.until(lambda: bot.slack.sockets.unanswered == AT_ONCE)
        bot.slack.sockets.answers_handshakes = True
        await bot.slack.until(lambda: bot.slack.sockets.refused >= AT_ONCE)  # after 10 s; the SDK alone waits 5 min
        await bot.time.end_pause(WaitReason.SOCKET_CHECK)
        await bot.time.advance(DEAD_TICKET_AFTER)
        await connections(bot, 2 * AT_ONCE)


async def connected_anew_soon(bot: World) -> None:
    """Wait until it is connected, and let the SDK itself try to reconnect often."""
    await connections(bot, AT_ONCE)
    assert bot.app._socket
    for handler in bot.app._socket.handlers:
        handler.client.ping_interval = 0.1


async def until_seen_down(bot: World) -> None:
    async with asyncio.timeout(HANGS_AFTER):
        while (await get(bot.app, "/readyz"))[0] != 503:
            await bot.time.end_pause(WaitReason.SOCKET_CHECK)


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("transport", ["socket"])
async def test_dead_connection_does_not_delay_a_stop(bot: World) -> None:
    await poll(bot)
    bot.slack.sockets.hears.clear()
    await bot.slack.command("help")
    bot.stop.set()
    watch = select(leases.c.until).where(leases.c.name == "watch")
    async with asyncio.timeout(5):  # aiohttp 3.14 waits 10 s for the other side to close
        while await execute_beside(bot, watch) != [{"until": 0.0}]:
            pass
    bot.slack.sockets.hears.set()


async def test_bot_is_not_ready_before_the_socket_is_open() -> None:
    async def nothing(_slack: Slack) -> None:
        pass

    async with starting(nothing, socket=True) as (app, slack, _time, _running):
        with slack.paused("apps.connections.open"):
            await slack.until(lambda: slack.is_waiting("apps.connections.open"))
            assert await get(app, "/readyz") == (503, "The bot is starting.\n")
        await app.ready.wait()
        assert (await get(app, "/readyz"))[0] == 200


async def test_slack_that_hangs_is_noticed_within_half_a_minute(bot: World) -> None:
    assert CHECK_EVERY + 10 <= 30  # the client's own limit for a call is 10 s
    with bot.slack.paused("auth.test"):
        await bot.time.end_pause(WaitReason.SLACK_CHECK)
        await bot.slack.until(lambda: bot.slack.is_waiting("auth.test"))


async def test_readyz_says_that_the_database_cannot_be_written(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
            await connection.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
            await connection.execute(CUT_ALL)
        try:
            async with asyncio.timeout(HANGS_AFTER):
                while "(ReadOnlySqlTransaction)" not in (ready := await get(bot.app, "/readyz"))[1]:
                    await bot.time.end_pause(WaitReason.HEARTBEAT)
            assert ready[0] == 503
        finally:
            async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
                await connection.execute("SET default_transaction_read_only = off")
                await connection.execute("ALTER ROLE postgres RESET default_transaction_read_only")
