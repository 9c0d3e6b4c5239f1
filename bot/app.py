"""The life of the process, from start to end."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Protocol

from bot import metrics
from bot.clock import Clock, WaitReason
from bot.errors import StorageUnavailable, TogetherError
from bot.models import OPEN
from bot.outward import Sender
from bot.policy import EVERYBODY
from bot.renewal import use_renewed
from bot.settings import Settings, revealed
from bot.store import Database, DecisionStore, health
from bot.tasks import Tasks
from bot.together import Timeouts, TogetherClient
from bot.trail import AuditExporter
from bot.watcher import Watcher, unknown_clusters
from bot.wiring import (
    MAX_AT_ONCE,
    Connections,
    build_bot,
    destinations,
    plain_client,
    slack_client,
    together_client,
    tool_clients,
    transport_to,
)
from handlers.bolt import Bolt
from handlers.client import slack_session
from handlers.connection import Connection
from handlers.manifest import needed_scopes
from handlers.server import Server
from handlers.socket import Sockets

logger = logging.getLogger(__name__)

# What isn't done where a part can't end.
_UNLESS_ENDED = {
    "watcher": "The watch wasn't handed over; another process takes it after BOT_LEASE_SECONDS",
    "sender": "Sending events wasn't handed over; another process continues after BOT_LEASE_SECONDS",
    "recovery": "The audit head wasn't logged a last time",
    "audit trail": "The end of the audit trail wasn't copied or signed; the next process does it",
}
# What the bot can't work without, and what is wrong with it at first.
_NEEDED = {
    "slack": "Slack hasn't been reached yet.",
    "store": "The database isn't open yet.",
    "start": "The bot is starting.",
}
DRAIN_SECONDS = 20.0
END_SECONDS = 4.0  # after the drain, and for each part after that; all of it stays below what a host grants
RETRY_STORE_EVERY = 3.0
METRICS_SECONDS = 1.0  # so long what the database says of them is served again: anybody may ask, as often as they like
CHECK_NAMED_EVERY = 600.0


class _Part(Protocol):
    async def run(self) -> None: ...
    async def end(self) -> None: ...


class App:
    """The bot as a process.

    Attributes:
        port: where HTTP is served, once `listening` is set.
        ready: set as soon as Slack's commands and clicks are taken.
        tasks: the work that was acked and is not done yet.
        database: once it is open.
    """

    def __init__(  # noqa: PLR0913 - what tests replace
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        patience: Timeouts | None = None,
        reread: Callable[[], Settings] | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        make_database: Callable[[str, Clock], Database] = Database,
    ) -> None:
        self.port = settings.port
        self.listening, self.ready = asyncio.Event(), asyncio.Event()
        self._settings = settings
        self._clock = clock or Clock()
        self._patience = patience
        self._reread = reread
        self._drain_seconds = drain_seconds
        self.tasks = Tasks(MAX_AT_ONCE, clock=self._clock)
        self._lacks = dict(_NEEDED)
        self._measured_at = -METRICS_SECONDS
        self.database: Database | None = None
        self._make_database = make_database
        self._bolt: Bolt | None = None
        self._socket: Sockets | None = None
        self._watcher: Watcher | None = None
        self._parts: dict[str, tuple[_Part, asyncio.Task[None]]] = {}
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was acked.

        Raises:
            StartError: the port cannot be had, Slack refuses a token, or the database is not for this program.
        """
        async with AsyncExitStack() as stack:
            settings = self._settings
            server = Server(self._problems, self._warnings, self._measure)
            stack.push_async_callback(server.stop)
            self.port = await server.start(settings.host, settings.port, takes_slack=settings.slack_app_token is None)
            self.listening.set()
            working = asyncio.create_task(self._work(server, stack), name="work")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            self.tasks.close()
            if stopping.done():
                logger.info("Shutting down: finishing acknowledged work")
            stopping.cancel()
            working.cancel()
            await asyncio.wait({working})
            if self._bolt:  # what it has written down by now is still done, and its ack needs the connection
                await self._bolt.finish()
            # Recovery keeps running: without its heartbeats, another process would take over these decisions.
            as_long = self._drain_seconds + END_SECONDS  # what they have begun, they may finish in that time
            ends = [self._end("watcher", as_long), self._end("sender", as_long), self.tasks.drain(self._drain_seconds)]
            await asyncio.gather(*ends, *([self._socket.stop()] if self._socket else []))
            await asyncio.gather(*(self._end(name, END_SECONDS) for name in ("recovery", "audit trail")))
            if not working.cancelled():
                working.result()  # it ends only with an error
        logger.info("Stopped")

    async def _work(self, server: Server, stack: AsyncExitStack) -> None:
        """Connect to everything, take Slack's requests, and watch Slack until cancelled."""
        settings = self._settings
        store = await self._open_store(stack)
        session = await stack.enter_async_context(slack_session())
        transports = [await stack.enter_async_context(transport_to(settings.together_base_url)) for _ in range(2)]
        reading = slack_client(settings, session, reads_only=True)
        needed = needed_scopes(settings.bot_operators)
        report, warn = partial(self._note, "slack"), partial(self._note, "scopes")
        connection = Connection(reading, self._clock, needed, report, warn)
        identity = await connection.identify()
        writing = slack_client(settings, session, reads_only=False)
        together, lists = (
            together_client(settings, transport, self._clock, self._patience) for transport in transports
        )
        impacts = None
        if settings.bot_impact_url:
            impacts = await stack.enter_async_context(plain_client(settings.bot_impact_url))
        connections = Connections(identity, reading, writing, session, together, lists, impacts)
        bot = build_bot(
            settings,
            connections,
            store,
            self.tasks,
            self._clock,
            report=partial(self._note, "store"),
            warn=self._note,
        )
        self._bolt = bot.bolt
        self._begin("recovery", bot.recovery)
        if settings.slack_app_token:
            app_token = settings.slack_app_token.get_secret_value()
            await connection.check_app_token(app_token)
            self._socket = Sockets(bot.bolt, app_token, reading, self._clock)
            await self._socket.start()
        else:
            server.serve(bot.bolt)
        sender = await self._begin_to_send(store, stack)
        self._begin_trail(store)
        self._watcher = bot.watcher
        if bot.watcher:
            self._begin("watcher", bot.watcher)
        self._note("start", "")
        self.ready.set()
        if {*settings.bot_operators} > {EVERYBODY}:
            who = "every full member of this workspace can decide"
            self._note("operators", f"BOT_OPERATORS lists {EVERYBODY} beside others, so {who}.")
        if settings.unknown_modes:
            unknown = ", ".join(settings.unknown_modes)
            self._note("modes", f"BOT_TWO_PEOPLE_MODES names modes that this version doesn't know: {unknown}.")
        logger.info("Ready for workspace %s", identity.team_name or identity.team_id)
        await self._watch(connection, lists, partial(self._use, connections, sender))

    async def _watch(self, connection: Connection, lists: TogetherClient, use: Callable[[Settings], None]) -> None:
        """Watch Slack, and renewed secrets. If this or another part ends unexpectedly, the process is restarted."""
        checks = [connection.keep_checking()]
        if self._reread:
            checks.append(use_renewed(self._settings, self._reread, self._clock, use))
        checking = [asyncio.create_task(check) for check in checks]
        parts = [*checking, *(task for _, task in self._parts.values())]
        if not self._watcher:
            checking.append(asyncio.create_task(self._check_named(lists)))  # which may end
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in checking:
                task.cancel()

    async def _check_named(self, lists: TogetherClient) -> None:
        """Tell of clusters that settings name and Together hasn't listed yet, where no watch does."""
        named, listed = self._settings.named_clusters, set[str]()
        while any(problem for _, problem in unknown_clusters(named, listed)):
            with suppress(TogetherError):
                clusters, _ = await lists.list_clusters()
                listed.update(cluster.cluster_id for cluster in clusters)  # a list may lack some for a moment
                for name, problem in unknown_clusters(named, listed):
                    self._note(name, problem)
            await self._clock.sleep(CHECK_NAMED_EVERY, WaitReason.POLL)

    def _begin(self, name: str, part: _Part) -> None:
        self._parts[name] = part, asyncio.create_task(part.run(), name=name)

    async def _end(self, name: str, seconds: float) -> None:
        """Stop a part within that time, and let the next process take its work over at once."""
        if name not in self._parts:
            return
        part, task = self._parts[name]
        task.cancel()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({task})
                await part.end()
        except TimeoutError:
            logger.warning("%s: it took longer than %g s", _UNLESS_ENDED[name], seconds)
        except StorageUnavailable as error:
            logger.warning("%s: can't reach the database: %s", _UNLESS_ENDED[name], error)
        except Exception:  # no part may keep the others from their end
            logger.exception("%s", _UNLESS_ENDED[name])

    async def _begin_to_send(self, store: DecisionStore, stack: AsyncExitStack) -> Sender | None:
        """Tell other tools, where there are any."""
        to = destinations(self._settings)
        if not to.urls:
            return None
        http = tool_clients(self._settings)
        for client in http.values():
            await stack.enter_async_context(client)
        sender = Sender(
            store.database,
            to,
            http,
            clock=self._clock,
            lease_seconds=self._settings.bot_lease_seconds,
            warn=self._note,
        )
        self._begin("sender", sender)
        return sender

    def _begin_trail(self, store: DecisionStore) -> None:
        """Copy or sign the audit trail, where that is wanted."""
        path, key = self._settings.bot_audit_file, revealed(self._settings.bot_audit_key)
        if path or key:
            keeper = AuditExporter(
                store.database,
                path,
                key,
                clock=self._clock,
                lease_seconds=self._settings.bot_lease_seconds,
                warn=partial(self._note, "audit trail"),
            )
            self._begin("audit trail", keeper)

    async def _open_store(self, stack: AsyncExitStack) -> DecisionStore:
        """Open the database, as often as it takes."""
        settings, report = self._settings, partial(self._note, "store")
        database = self._make_database(settings.database_url, self._clock)
        database.set_targets([*destinations(settings).urls])
        stack.push_async_callback(database.close)
        while True:
            try:
                await database.open()
            except StorageUnavailable as error:
                report(f"Can't reach the database ({error}); retrying in {RETRY_STORE_EVERY:g} s.")
                await self._clock.sleep(RETRY_STORE_EVERY, WaitReason.RETRY)
            else:
                report("")
                self.database = database
                store = DecisionStore(database, settings.bot_lease_seconds, self._clock)
                store.has_digests = settings.bot_alert_channel is not None
                return store

    def _use(self, connections: Connections, sender: Sender | None, new: Settings) -> None:
        """Let the parts use the secrets of new settings."""
        for client in (connections.reading, connections.writing):
            client.token = new.slack_bot_token.get_secret_value()
        for api in (connections.together, connections.lists):
            api.use_key(new.together_api_key.get_secret_value())
        if new.slack_signing_secret and self._bolt:
            self._bolt.use_signing_secret(new.slack_signing_secret.get_secret_value())
        if new.slack_app_token and self._socket:
            self._socket.use_token(new.slack_app_token.get_secret_value())
        if sender:
            sender.use(destinations(new))

    async def _measure(self) -> None:
        """Bring the gauges up to date. While the database is away, what it would tell stays as it was."""
        metrics.READY.set(not self._problems())
        metrics.IN_PROGRESS.set(self.tasks.running)
        if self._socket:
            metrics.SOCKETS.set(self._socket.connected)
        is_watching = self._settings.bot_alert_channel is not None
        metrics.WATCH_INTERVAL.set(self._settings.bot_poll_seconds if is_watching else 0)
        if self._watcher:
            self._watcher.measure()
        now = self._clock.monotonic()
        if self.database is None or now < self._measured_at + METRICS_SECONDS:
            return
        self._measured_at = now
        try:
            gauges, alerts = await self.database.read(health, is_watching=is_watching)
        except StorageUnavailable:
            metrics.DATABASE_UP.set(0)
            return
        metrics.DATABASE_UP.set(1)
        for gauge, value in gauges.items():
            gauge.set(value)
        metrics.OPEN_ALERTS.clear()
        # Also for states without any: a series that comes and goes is one that a rule can't rely on.
        for state in {*OPEN, *alerts}:
            metrics.OPEN_ALERTS.labels(state).set(alerts.get(state, 0))

    def _problems(self) -> list[str]:
        """Return what keeps the bot from working right now, for `/readyz`."""
        problems = [problem for about, problem in self._lacks.items() if problem and about in _NEEDED]
        if self._socket and not self._socket.connected:
            problems.append("The Socket Mode connection is down.")
        if self._stopping:
            problems.append("The bot is stopping.")
        return problems

    def _warnings(self) -> list[str]:
        """Return what the bot works without right now, for `/readyz`: clicks and commands work, so it stays ready."""
        return [problem for about, problem in self._lacks.items() if problem and about not in _NEEDED]

    def _note(self, about: str, problem: str) -> None:
        """Log a problem when it is new, and keep it for `/readyz`; "" means that it is over.

        Args:
            about: what is needed, or such as the ID of a channel in which alerts can't be posted.
        """
        if problem and problem != self._lacks.get(about):
            # What it needs is waited for at each start; what it works without may stay unseen.
            logger.log(logging.WARNING if about in _NEEDED else logging.ERROR, "%s", problem)
        self._lacks[about] = problem
