"""The database: SQLite for one process, PostgreSQL for several. A transaction is a plain function, run in a thread."""

import asyncio
import fcntl
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Double, Engine, create_engine, event, make_url, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.functions import FunctionElement

from bot import metrics
from bot.clock import Clock
from bot.errors import StartError, StorageUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_SECONDS = 600.0
TARGETS = "outbox targets"  # in a connection's `info`: who is told of events
SECONDS = 5.0  # a statement, or an idle moment inside a transaction: the server itself ends what takes longer
_OF_ALL = 1.6  # times that long, a whole transaction may take with its wait for a thread
_CLOSE_SECONDS = 1.0
_LOCK_SECONDS = 2  # a migration waits for a lock: those that wait behind it for the same table are live replicas
SQLITE_BUSY_SECONDS = 1.5  # less than the time for an ack, so that a locked file is a certain "no"
_SCHEMA_LOCK, _AUDIT_LOCK = 7_265_646_501, 7_265_646_502  # any numbers that nobody else in this database uses
_APPROVAL_LOCK = 726_564_650
_SQLITE = "sqlite:///"
_POSTGRESQL_THREADS = 8
# What is wrong with a value or a statement is not cured by trying again.
_FAULTS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
_UNDONE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
P = ParamSpec("P")
T = TypeVar("T")


class now(FunctionElement[float]):  # noqa: N801 - reads like the SQL function that it is
    """The present inside a statement, as Unix time in seconds.

    PostgreSQL's own clock is asked, so that processes need not agree on theirs; SQLite's one process asks its own.
    """

    type = Double()
    inherit_cache = True


@compiles(now, "postgresql")
def _postgresql_now(*_: object, **__: object) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now, "sqlite")
def _sqlite_now(*_: object, **__: object) -> str:
    return "bot_now()"


_NOW = select(now())


def read_clock(connection: Connection) -> float:
    """Return the present, as Unix time in seconds."""
    return float(connection.execute(_NOW).scalar_one())


class Database:
    """Runs transactions in threads of its own, one connection each.

    SQLite has one thread that writes and one that reads, so an ack never waits for a long read. With PostgreSQL,
    heartbeats have a thread of their own, so that no queue of transactions lets a lease run out.

    Args:
        url: `sqlite:///path`, or a PostgreSQL URL as hosts hand it out. The driver itself reads the latter, so
            `sslmode=…` and a socket folder as `host=/dir` mean what they mean to every PostgreSQL client.
        seconds: how long a statement may take; a database that doesn't answer is given up soon after.
        migrations: the versions of the schema.

    Attributes:
        seconds: as above; a process that ends waits less.
        targets: who is told of events; set before the database is opened.
        under_way: the transactions that have not ended yet.
    """

    def __init__(
        self, url: str, clock: Clock | None = None, *, seconds: float = SECONDS, migrations: Path = MIGRATIONS
    ) -> None:
        self.seconds = seconds
        self._schema = Config()
        self._schema.set_main_option("script_location", str(migrations))
        self.is_sqlite = url.startswith(_SQLITE)
        self.targets: tuple[str, ...] = ()
        self.under_way: set[asyncio.Future[Any]] = set()
        self._running: WeakSet[_Running] = WeakSet()
        # Its real name, so that no symbolic link and no parameter of the URL make another one of it.
        self._path = Path(make_url(url).database or "").resolve() if self.is_sqlite else None
        self._owned: Sequence[int] = ()
        self._is_closed = False
        self._local = threading.local()
        self._connections: list[Connection] = []
        if self.is_sqlite:
            self._engine = _sqlite(url, clock or Clock())
            self._writer = self._pulse = ThreadPoolExecutor(1, "database-write")
            self._reader = ThreadPoolExecutor(1, "database-read")
        else:
            self._engine = _postgresql(url)
            self._writer = self._reader = ThreadPoolExecutor(_POSTGRESQL_THREADS, "database")
            self._pulse = ThreadPoolExecutor(1, "database-pulse")

    async def run(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that may write, and return its result.

        A thread isn't cancelled: a transaction that has begun is finished, even if its caller no longer waits.

        Raises:
            StorageUnavailable: the database didn't do it, or it isn't known whether it did.
            IntegrityError: a unique index refused it.
        """
        work = partial(_apply, function, args, kwargs)
        return await self._call(self._writer, "BEGIN IMMEDIATE", self.seconds, work, "write")

    async def keep(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what keeps a lease; like `run`, but behind no other transactions where the database takes several."""
        work = partial(_apply, function, args, kwargs)
        return await self._call(self._pulse, "BEGIN IMMEDIATE", self.seconds, work, "write")

    async def read(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that only reads; otherwise like `run`."""
        return await self._call(self._reader, "BEGIN", self.seconds, partial(_apply, function, args, kwargs), "read")

    async def open(self, *, migrate: bool = True) -> None:
        """Take the SQLite file for this process, and bring the schema up to date, one process at a time.

        Args:
            migrate: without it, nothing is made or taken; only look whether there is a schema that this program knows.

        Raises:
            StartError: the file belongs to another process, or the schema is newer than this program.
            StorageUnavailable: the database cannot be reached.
        """
        if self._path is not None:
            if not migrate:
                _must_exist(self._path)
            elif not self._owned:
                self._owned = _own(self._path)
        work = partial(_migrate if migrate else _look, self._schema)
        await self._call(self._writer, "BEGIN IMMEDIATE" if migrate else "BEGIN", MIGRATION_SECONDS, work, "migrate")

    def is_in_use(self) -> bool:
        """Return whether a process owns the SQLite file, where the system tells who holds which lock (Linux)."""
        locks = Path("/proc/locks")
        if self._path is None or not self._path.exists() or not locks.exists():
            return False
        return any(
            "FLOCK" in line and f":{self._path.stat().st_ino} " in line for line in locks.read_text().splitlines()
        )

    async def close(self) -> None:
        """Finish what has begun, close all connections, and give the file back."""
        self._is_closed = True
        threads = {self._writer, self._reader, self._pulse}
        ending = [asyncio.create_task(asyncio.to_thread(each.shutdown)) for each in threads]
        _, stuck = await asyncio.wait(ending, timeout=_CLOSE_SECONDS)
        if stuck:  # nothing waits for it any more
            for running in list(self._running):
                running.interrupt()
            await asyncio.wait(stuck)
        for connection in self._connections:
            connection.close()
        self._engine.dispose()
        for handle in self._owned:
            os.close(handle)
        self._owned = ()

    async def _call(
        self, threads: ThreadPoolExecutor, begin: str, seconds: float, function: Callable[[Connection], T], kind: str
    ) -> T:
        if self._is_closed:
            raise StorageUnavailable("closed")
        limit, loop = seconds * _OF_ALL, asyncio.get_running_loop()
        running = _Running(loop.time() + limit, loop.time)
        self._running.add(running)
        future = loop.run_in_executor(threads, self._transact, running, begin, seconds, function)
        self.under_way.add(future)
        future.add_done_callback(self.under_way.discard)
        giving_up = loop.call_later(limit, running.interrupt)  # also where nobody waits any more: the thread is needed
        try:
            with metrics.timed(metrics.DATABASE_SECONDS, kind):
                async with asyncio.timeout(limit + 1):
                    return await future
        except TimeoutError:
            metrics.DATABASE_FAILURES.inc()
            raise StorageUnavailable("no answer", in_doubt=not running.withdraw()) from None
        except StorageUnavailable:
            metrics.DATABASE_FAILURES.inc()
            raise
        finally:
            if future.done() and not future.cancelled():
                giving_up.cancel()

    def _transact(self, running: "_Running", begin: str, seconds: float, function: Callable[[Connection], T]) -> T:
        """Run a transaction in this thread.

        A connection that was cut before the commit has done nothing, nor has the loser of a deadlock, so the function
        runs again, twice at most.
        """
        if self._is_closed or not running.start():
            raise StorageUnavailable("closed")
        self._local.begin = begin if self.is_sqlite else _begin_within(seconds)
        for is_last in (False, False, True):
            is_committing = False
            try:
                connection = running.connection = self._connection()
                with connection.begin():
                    result = function(connection)
                    is_committing = True
            except _FAULTS:
                raise
            except DBAPIError as error:
                is_cut = error.connection_invalidated
                if is_cut:
                    self._drop()
                is_undone = is_cut or isinstance(error.orig, _UNDONE)
                if is_last or is_committing or not is_undone or running.is_over:
                    cause = type(error.orig or error).__name__
                    raise StorageUnavailable(cause, in_doubt=is_committing) from error
            except OSError as error:
                raise StorageUnavailable(type(error).__name__, in_doubt=is_committing) from error
            else:
                return result
            finally:
                running.ended()
        raise AssertionError("the last attempt returns or raises")

    def _connection(self) -> Connection:
        """This thread's own connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._engine.connect()
            connection.info[TARGETS] = self.targets
            self._connections.append(connection)
            event.listen(connection, "begin", self._begin)
        return connection

    def _begin(self, connection: Connection) -> None:
        connection.exec_driver_sql(self._local.begin)

    def _drop(self) -> None:
        """Forget this thread's connection, which is broken."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._connections.remove(connection)
            connection.close()


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Running:
    """A transaction in its thread, so that one that the database doesn't answer can be broken off from outside."""

    give_up_at: float
    time: Callable[[], float]
    connection: Connection | None = None
    has_begun: bool = False
    is_withdrawn: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        return self.time() >= self.give_up_at

    def start(self) -> bool:
        """Return whether it may begin: its time isn't over, and nobody has withdrawn it."""
        with self.lock:
            self.has_begun = not self.is_withdrawn and not self.is_over
            return self.has_begun

    def withdraw(self) -> bool:
        """Keep it from beginning. Returns whether that was in time."""
        with self.lock:
            self.is_withdrawn = not self.has_begun
            return self.is_withdrawn

    def ended(self) -> None:
        with self.lock:
            self.connection = None

    def interrupt(self) -> None:
        """Break the connection; the lock keeps it from being another transaction's by then."""
        with self.lock, suppress(psycopg.Error, sqlite3.Error, OSError):  # it has just ended otherwise
            raw = self.connection.connection.driver_connection if self.connection is not None else None
            if isinstance(raw, psycopg.Connection):
                with socket.socket(fileno=os.dup(raw.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
            elif raw is not None:
                raw.interrupt()


def _begin_within(seconds: float) -> str:
    """Return the BEGIN of a transaction that the server ends if the process freezes inside it."""
    limit = int(seconds * 1000)
    # In the same message, because a PgBouncer may give the next one to another connection.
    return f"BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}"


def _apply(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], connection: Connection) -> T:
    return function(connection, *args, **kwargs)


def check_writable(connection: Connection) -> None:
    """Write nothing, as somebody who may: a database that is read-only, or another's, refuses it."""
    connection.execute(_WRITE_NOTHING)


def lock_audit(connection: Connection) -> None:
    """Let one writer at a time append to the audit trail, until the transaction ends. SQLite has only one anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"key": _AUDIT_LOCK})


def lock_cluster(connection: Connection, cluster_id: str) -> None:
    """Let approvals of a cluster begin one after the other, so that the later one sees the earlier one."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_CLUSTER, {"key": _APPROVAL_LOCK, "cluster": cluster_id})


_WRITE_NOTHING = text("UPDATE decisions SET status = status WHERE id = ''")
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_CLUSTER = text("SELECT pg_advisory_xact_lock(:key, hashtext(:cluster))")


def _sqlite(url: str, clock: Clock) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("bot_now", 0, clock.now)

    return engine


def _postgresql(url: str) -> Engine:
    def connect() -> "psycopg.Connection[tuple[Any, ...]]":
        # No prepared statements and no session settings, so that a transaction-mode PgBouncer may stand in between.
        given = {"connect_timeout": 5, "tcp_user_timeout": 5000, "application_name": "remediation-bot"}
        kept = {name: value for name, value in given.items() if f"{name}=" not in url}
        return psycopg.connect(url, autocommit=True, prepare_threshold=None, **kept)  # type: ignore[arg-type] # libpq's own

    # The dialect's own look at the server would be a transaction of its own.
    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool, use_native_hstore=False)


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise StartError(f"DATABASE_URL: there is no {path}.")


def _own(path: Path) -> Sequence[int]:
    """Create the file for nobody else to read, and lock it for as long as this process lives."""
    names = [Path(f"{path}.lock")]
    if sys.platform == "linux":
        # The file itself too, which may have several names. Elsewhere this lock would get into the way of SQLite's own.
        names.append(path)
    handles: list[int] = []
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if each.exists():
                each.chmod(0o600)  # made by an earlier release
        for name in names:
            handles.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o600))
            fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        for handle in handles:
            os.close(handle)
        if not isinstance(error, BlockingIOError):
            raise StartError(f"DATABASE_URL: {path} can't be written: {error.strerror}.") from None
        raise StartError(
            f"Another process of the bot uses {path}. An SQLite file belongs to one process: stop the other one, "
            "or set DATABASE_URL to a PostgreSQL database to run several."
        ) from None
    return handles


def _look(schema: Config, connection: Connection) -> None:
    if _revision(schema, connection) is None:
        raise StartError("DATABASE_URL has no bot tables yet. Start the bot once to create them.")


def _revision(schema: Config, connection: Connection) -> str | None:
    """The version of the schema, None where there is none yet.

    Raises:
        StartError: this program does not know it.
    """
    present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(schema).walk_revisions()}
    if present is not None and present not in known:
        raise StartError(
            f"The database has schema {present}, which is newer than this version of the bot knows. "
            "Run the newer version, or restore a backup from before it."
        )
    return present


def _migrate(schema: Config, connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"key": _SCHEMA_LOCK})  # another replica may take long
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    _revision(schema, connection)
    schema.attributes["connection"] = connection
    command.upgrade(schema, "head")
