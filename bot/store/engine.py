"""The connection to the database: SQLite for one process, PostgreSQL for several."""

import asyncio
import fcntl
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import ColumnElement, Connection, Double, cast, event, extract, func, literal, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from bot.clock import Clock
from bot.errors import StartError, StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
_SCHEMA_LOCK, _AUDIT_LOCK = 7_265_646_501, 7_265_646_502  # any numbers that nobody else in this database uses
_FAILURES = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_SQLITE = "sqlite:///"
STATEMENT = "statement"  # the name of every task that works on the database
P = ParamSpec("P")
_APPROVAL_LOCK = 726_564_650
T = TypeVar("T")


class Database:
    """A pool of connections, and what differs between the two databases.

    Args:
        url: `sqlite:///path`, or a PostgreSQL URL as hosts hand it out. The driver itself reads the latter, so
            `sslmode=…` and a socket folder as `host=/dir` mean what they mean to every PostgreSQL client.
        seconds: how long one transaction may take.
    """

    def __init__(self, url: str, seconds: float = 5) -> None:
        self._seconds = seconds
        self.is_sqlite = url.startswith(_SQLITE)
        self._path = Path(url.removeprefix(_SQLITE)) if self.is_sqlite else None
        self._owned: int | None = None
        self._kept: set[asyncio.Task[Any]] = set()
        self._engine = _sqlite(url, seconds) if self.is_sqlite else _postgresql(url, seconds)
        single = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._single = self._engine.execution_options(**single)

    @asynccontextmanager
    async def begin(self, *, one_statement: bool = False) -> AsyncIterator[AsyncConnection]:
        """Run a transaction.

        Args:
            one_statement: PostgreSQL is spared BEGIN and COMMIT, two of three round trips: a statement commits itself.

        Raises:
            StoreUnavailable: the database did not do it. When the line broke in the last moment, it may have
                committed all the same.
            IntegrityError: a unique index refused it.
        """
        try:
            engine = self._single if one_statement else self._engine
            async with asyncio.timeout(self._seconds), engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except _FAILURES as error:
            raise StoreUnavailable(type(error).__name__) from error

    async def keep(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the database to its end, also when its caller is cancelled meanwhile.

        A transaction that is cancelled while its connection is being closed for another reason can wait for ever for
        the driver's thread (tried with SQLAlchemy 2.1 and aiosqlite 0.22), and then the process would not end.
        """
        task = asyncio.create_task(work, name=STATEMENT)
        self._kept.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._kept.discard(task)
        if not task.cancelled():
            task.exception()  # seen: where nobody waits any more, nobody needs to know

    async def lock_audit(self, connection: AsyncConnection) -> None:
        """Let one writer at a time append to the audit trail. SQLite has only one connection anyway."""
        if not self.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _AUDIT_LOCK})

    async def lock_cluster(self, connection: AsyncConnection, cluster_id: str) -> None:
        """Let approvals of a cluster begin one after the other, so that the later one sees the earlier one."""
        if not self.is_sqlite:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key, hashtext(:cluster))"),
                {"key": _APPROVAL_LOCK, "cluster": cluster_id},
            )

    async def open(self, *, migrate: bool = True) -> None:
        """Take the SQLite file for this process, and bring the schema up to date, one process at a time.

        Args:
            migrate: without it, nothing is made or taken; only look whether there is a schema that this program knows.

        Raises:
            StartError: the file belongs to another process, or the schema is newer than this program.
            StoreUnavailable: the database cannot be reached.
        """
        if self._path is not None:
            if not migrate:
                _must_exist(self._path)
            elif self._owned is None:
                self._owned = _own(self._path)
        async with self.begin() as connection:
            if not self.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            await connection.run_sync(_upgrade if migrate else _look)

    async def close(self) -> None:
        """Close all connections, and give the file back."""
        if self._kept:
            await asyncio.wait(self._kept)
        await self._engine.dispose()
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None


class OnDatabase(Protocol):
    """What has statements."""

    database: Database


S = TypeVar("S", bound=OnDatabase)


def to_the_end(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method's statements run to their end, also when its caller is cancelled."""

    @functools.wraps(method)
    async def kept(on: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await on.database.keep(method(on, *args, **kwargs))

    return kept


def now(database: Database, clock: Clock) -> ColumnElement[float]:
    """The present moment inside a statement, in seconds since 1970.

    Args:
        database: PostgreSQL's own clock is asked, so that processes need not agree on theirs.
        clock: the clock of SQLite's one process.
    """
    if database.is_sqlite:
        return literal(clock.now())
    return cast(extract("epoch", func.clock_timestamp()), Double)


async def read_clock(database: Database, clock: Clock, connection: AsyncConnection) -> float:
    """The present moment, in seconds since 1970; see `now`."""
    return float((await connection.execute(select(now(database, clock)))).scalar_one())


def _sqlite(url: str, seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url.replace(_SQLITE, "sqlite+aiosqlite:///", 1),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=seconds,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=3000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _postgresql(url: str, seconds: float) -> AsyncEngine:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=seconds)

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_size=10, pool_timeout=seconds, pool_pre_ping=True
    )


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise StartError(f"DATABASE_URL: there is no {path}.")


def _own(path: Path) -> int:
    """Lock a file beside the database for as long as this process lives."""
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(
            f"Another process of the bot uses {path}. An SQLite file belongs to one process: stop the other one, "
            "or set DATABASE_URL to a PostgreSQL database to run several."
        ) from None
    except OSError as error:
        raise StartError(f"DATABASE_URL: {path} cannot be written: {error.strerror}.") from None
    return handle


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


def _look(connection: Connection) -> None:
    if _revision(connection) is None:
        raise StartError("The database in DATABASE_URL has no tables of this bot yet; it makes them when it starts.")


def _revision(connection: Connection) -> str | None:
    """The version of the schema, None where there is none yet.

    Raises:
        StartError: this program does not know it.
    """
    present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts().walk_revisions()}
    if present is not None and present not in known:
        raise StartError(
            f"The database has schema {present}, which is newer than this version of the bot knows. "
            "Run the newer version, or restore a backup from before it."
        )
    return present


def _upgrade(connection: Connection) -> None:
    _revision(connection)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
