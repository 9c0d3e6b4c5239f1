"""The database: SQLite for one process, PostgreSQL for several. A transaction is a plain function, run in a thread."""

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec
from weakref import WeakSet

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bot import metrics
from bot.clock import Clock
from bot.errors import StartError, StorageUnavailable
from bot.store.connection import Connection, Driver, Running, T
from bot.store.groups import Groups, Member
from bot.store.pool import Pool
from bot.store.schema import upgrade
from bot.store.sqlite import BUSY_SECONDS, SCHEME, SQLiteFile

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_SECONDS = 600.0
SECONDS = 5.0  # a statement, or an idle moment inside a transaction: the server itself ends what takes longer
_OF_ALL = 1.6  # times that long, a whole transaction may take with its wait for a thread
_CLOSE_SECONDS = 1.0
_RIGHT_TO_CREATE = text(
    "SELECT current_schema() AS schema, current_user AS role, "
    "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS is_there"
)
_OWNS = text(
    "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'alembic_version'::regclass"
)
_VERSION = text("SELECT version_num FROM alembic_version")
_OURS = re.compile(r"\d{4}")
_HAS_VERSION = {
    "sqlite": text("SELECT name FROM sqlite_master WHERE name = 'alembic_version'"),
    "postgresql": text("SELECT to_regclass('alembic_version')"),
}
P = ParamSpec("P")
Transaction = Callable[Concatenate[Connection, P], T]


class Conflict(Exception):
    """A unique index refused what was to be written."""


class Database:
    """Runs transactions in its own threads, one connection each.

    SQLite has one thread that writes and one that reads, so an ack never waits for a long read; what waits for the
    writer is committed together. With PostgreSQL, heartbeats have a separate thread, so that no queue of
    transactions lets a lease run out.

    Args:
        url: `sqlite:///path`, or a PostgreSQL URL as hosting providers supply it.
        seconds: how long a statement may take; a database that doesn't answer is given up soon after.
        busy_seconds: how long a transaction waits for an SQLite file that another program has locked.
        migrations: the versions of the schema.

    Attributes:
        seconds: as above.
        group_seconds: after which a group is committed, so that the first doesn't wait long for the last.
        under_way: the transactions that have not ended yet.
    """

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        seconds: float = SECONDS,
        busy_seconds: float = BUSY_SECONDS,
        migrations: Path = MIGRATIONS,
    ) -> None:
        self.seconds = seconds
        self.group_seconds = 0.05
        self.is_sqlite = url.startswith(SCHEME)
        self.under_way: set[asyncio.Future[Any]] = set()
        self._file: SQLiteFile | None = None
        self._driver: Driver
        if self.is_sqlite:
            self._driver = self._file = SQLiteFile(url, clock or Clock(), busy_seconds)
        else:
            from bot.store.postgresql import PostgreSQL  # noqa: PLC0415 - a bot on SQLite doesn't load the driver

            self._driver = PostgreSQL(url)
        self._migrations = migrations
        self._versions = sorted(path.name[:4] for path in (migrations / "versions").glob("[0-9]*.py"))
        self._running: WeakSet[Running] = WeakSet()
        self._is_closed = False
        self._pool = Pool(self._driver)
        self._writer = self._reader = self._pulse = ThreadPoolExecutor(self._driver.threads, "database-write")
        self._groups = Groups(self._writer, self._run_group)
        if self.is_sqlite:
            self._reader = ThreadPoolExecutor(1, "database-read")
        else:
            self._pulse = ThreadPoolExecutor(1, "database-pulse")

    def set_targets(self, targets: Sequence[str]) -> None:
        """Set who is told of events; call it before `open`."""
        self._pool.targets = targets

    async def run(self, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that may write, and return its result.

        A thread isn't cancelled: a transaction that has begun is finished, even if its caller no longer waits.

        Raises:
            StorageUnavailable: the database didn't do it, or it isn't known whether it did.
            Conflict: a unique index refused it.
        """
        return await self._call(self._writer, "write", lambda connection: function(connection, *args, **kwargs))

    async def keep(self, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what keeps a lease; like `run`, but behind no other transactions where the database takes several."""
        return await self._call(self._pulse, "write", lambda connection: function(connection, *args, **kwargs))

    async def read(self, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that only reads; otherwise like `run`."""
        return await self._call(self._reader, "read", lambda connection: function(connection, *args, **kwargs))

    async def open(self, *, migrate: bool = True) -> None:
        """Take the SQLite file for this process, and bring the schema up to date, one process at a time.

        Args:
            migrate: without it, nothing is made or taken; only look whether there is a schema that this program knows.

        Raises:
            StartError: the file belongs to another process, or the schema is newer than this program.
            StorageUnavailable: the database cannot be reached.
        """
        if self._file and not migrate:
            self._file.must_exist()
        elif self._file:
            self._file.own()
        try:
            await self._bring_up_to_date(migrate=migrate)
        except Exception as error:  # raised again, unless it can be said in words
            if why := self._driver.wrong_database(error.__cause__ or error):
                raise StartError(f"DATABASE_URL: {why}") from error
            raise

    async def _bring_up_to_date(self, *, migrate: bool) -> None:
        present = await self.read(_version)
        if present is not None and not _OURS.fullmatch(present):
            raise StartError(
                "DATABASE_URL: its schema has the tables of another program. "
                "Give the bot its own database or search_path."
            )
        if present is not None and present not in self._versions:
            raise StartError(
                f"The database has schema {present}, which is newer than this version of the bot knows. "
                "Run the newer version, or restore a backup from before it."
            )
        if present is None and not self.is_sqlite:
            right = (await self.read(Connection.execute, _RIGHT_TO_CREATE)).first()
            if not right.is_there:
                raise StartError(
                    "DATABASE_URL has no bot tables, and its role may not create them: "
                    f"GRANT CREATE ON SCHEMA {right.schema or 'public'} TO {right.role}."
                )
        if present is None and not migrate:
            raise StartError("DATABASE_URL has no bot tables yet. Start the bot once to create them.")
        is_older = present not in {None, self._versions[-1]}
        if is_older and not self.is_sqlite and not (await self.read(Connection.execute, _OWNS)).scalar():
            raise StartError(
                f"The database has schema {present}, and its role doesn't own the tables, so it can't bring them up to "
                "date. Start this version once as their owner, then grant the rights on them again."
            )
        if present != self._versions[-1] and migrate:
            start = asyncio.get_running_loop().run_in_executor
            await self._wait("migrate", MIGRATION_SECONDS, lambda running: start(self._writer, self._upgrade, running))

    def is_in_use(self) -> bool:
        """Return whether a process owns the SQLite file."""
        return self._file is not None and self._file.is_in_use()

    async def close(self) -> None:
        """Finish what has begun, close all connections, and give the file back."""
        self._is_closed = True
        for running in self._running:
            running.withdraw()
        self._groups.close()
        threads = {self._writer, self._reader, self._pulse}
        ending = [asyncio.create_task(asyncio.to_thread(pool.shutdown)) for pool in threads]
        _, stuck = await asyncio.wait(ending, timeout=_CLOSE_SECONDS)
        if stuck:  # nothing waits for it any more
            self._pool.refuse()
            for running in self._running:
                running.interrupt()
            await asyncio.wait(stuck)
        self._pool.close()
        if self._file:
            self._file.disown()

    async def _call(self, threads: ThreadPoolExecutor, kind: str, function: Callable[[Connection], T]) -> T:
        if threads is self._writer and self.is_sqlite:
            return await self._wait(kind, self.seconds, partial(self._groups.add, function))
        begin = self._driver.begin_write if kind == "write" else self._driver.begin_read
        work = partial(self._transact, function, begin.format(limit=int(self.seconds * 1000)))
        return await self._wait(kind, self.seconds, partial(asyncio.get_running_loop().run_in_executor, threads, work))

    async def _wait(self, kind: str, seconds: float, start: Callable[[Running], "asyncio.Future[T]"]) -> T:
        """Start what runs in a thread, and wait for it as long as it may take."""
        if self._is_closed:
            raise StorageUnavailable("closed")
        limit, loop = seconds * _OF_ALL, asyncio.get_running_loop()
        running = Running(self._driver, loop.time() + limit, loop.time)
        self._running.add(running)
        future = start(running)
        self.under_way.add(future)
        future.add_done_callback(self.under_way.discard)
        giving_up = loop.call_later(limit, running.interrupt)  # also where nobody waits any more: the thread is needed
        try:
            with metrics.DATABASE_SECONDS.labels(kind).time():
                async with asyncio.timeout(limit + 1):
                    return await future
        except TimeoutError:
            metrics.DATABASE_FAILURES.inc()
            raise StorageUnavailable("no answer", in_doubt=not running.withdraw()) from None
        except asyncio.CancelledError:
            running.withdraw()  # where it hasn't begun, it doesn't
            raise
        except StorageUnavailable:
            metrics.DATABASE_FAILURES.inc()
            raise
        finally:
            if future.done() and not future.cancelled():
                giving_up.cancel()

    def _run_group(self, members: Sequence[Member]) -> None:
        """Run transactions of SQLite in its thread: one, or several in one commit."""
        if len(members) > 1:
            self._commit_together(members)
            return
        (only,) = members
        try:
            only.result = self._transact(only.function, self._driver.begin_write, only.running)
        except BaseException as error:  # noqa: BLE001 - its caller gets it
            only.end(error)
        else:
            only.end()

    def _commit_together(self, members: Sequence[Member]) -> None:
        """Run several transactions in one commit, and in a savepoint each: what one refuses harms no other.

        Nobody learns of a result before the commit, as it may rest on what another one of the group has written. If
        the commit fails, it isn't known what became of any of them. If anything else does, nothing was done, and each
        is tried alone. What the group has no time for waits for the next one.
        """
        has_begun = is_committing = False
        connection = None
        in_time = members
        time = members[0].running.time
        try:
            connection = self._pool.take(members[0].running)
            connection.begin(self._driver.begin_write, time())
            has_begun, ends_at = True, time() + self.group_seconds
            for number, member in enumerate(members, start=1):
                self._run_member(connection, member)
                if time() > ends_at:
                    in_time = members[:number]
                    break
            is_committing = True
            connection.commit()
        except BaseException as error:  # noqa: BLE001 - also one that no driver should raise undoes all of it
            if connection:
                self._roll_back(connection, error)
            for member in in_time if is_committing else members:
                member.is_alone, member.error = True, None
                if is_committing or not has_begun:
                    member.end(self._driver.unavailable(error, in_doubt=is_committing))
        else:
            for member in in_time:
                member.end(member.error)
        finally:
            for member in members:
                member.running.ended()
            self._pool.give_back(connection)

    def _run_member(self, connection: Connection, member: Member) -> None:
        raw = connection.raw
        try:
            member.running.start(raw)
        except StorageUnavailable as error:
            member.error = error
            return
        raw.execute("SAVEPOINT member")
        try:
            member.result = member.function(connection)
        except Exception as error:  # its caller gets it, and the others of the group go on
            if self._driver.may_pass(error):
                raise
            raw.execute("ROLLBACK TO member")
            member.error = Conflict() if isinstance(error, self._driver.api.IntegrityError) else error
        raw.execute("RELEASE member")

    def _transact(self, function: Callable[[Connection], T], begin: str, running: Running) -> T:
        """Run a transaction in this thread.

        A connection that was cut before the commit has done nothing, nor has the loser of a deadlock, so the function
        runs again, twice at most.
        """
        driver = self._driver
        for is_last in (False, False, True):
            is_committing, connection = False, None
            try:
                connection = self._pool.take(running)
                running.start(connection.raw)
                connection.begin(begin, running.time())
                result = function(connection)
                is_committing = True
                connection.commit()
            except BaseException as error:
                is_cut = connection is not None and self._roll_back(connection, error)
                if isinstance(error, driver.api.IntegrityError):
                    raise Conflict from error
                if is_committing and not driver.is_refusal(error):
                    raise driver.unavailable(error, in_doubt=True) from error
                if not driver.may_pass(error):
                    raise
                in_doubt = is_committing and (is_cut or not driver.refusal_is_certain)
                is_undone = is_cut or isinstance(error, driver.undone)
                is_final = is_last or self._is_closed or running.time() >= running.give_up_at
                if is_final or in_doubt or not is_undone:
                    raise driver.unavailable(error, in_doubt=in_doubt) from error
            else:
                return result
            finally:
                running.ended()
                self._pool.give_back(connection)
        raise AssertionError("the last attempt returns or raises")

    def _roll_back(self, connection: Connection, error: BaseException) -> bool:
        """Undo what a transaction has begun. Returns whether the connection was lost; nobody gets it any more then."""
        with suppress(self._driver.api.Error):
            connection.roll_back()
        is_cut = self._driver.is_cut(connection.raw)
        is_misled = isinstance(error, self._driver.misled)
        if is_cut or is_misled:
            self._pool.drop(connection)
            self._pool.drop_idle()  # nor need the others be any better
        return is_cut

    def _upgrade(self, running: Running) -> None:
        running.start()
        try:
            with closing(self._driver.connect()) as running.raw:
                begin = self._driver.begin_write.format(limit=int(MIGRATION_SECONDS * 1000))
                newest = self._versions[-1]
                upgrade(running.raw, self._driver.dialect.name, self._migrations, newest, begin)
        except (self._driver.api.Error, DBAPIError) as error:
            cause = getattr(error, "orig", error)
            raise self._driver.unavailable(cause) from cause
        finally:
            running.ended()


def _version(connection: Connection) -> str | None:
    """Return the version of the schema, None if it has not been made yet."""
    is_there = connection.execute(_HAS_VERSION[connection.driver.dialect.name]).scalar()
    return connection.execute(_VERSION).scalar() if is_there else None
