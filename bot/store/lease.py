"""What only one process does at a time."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.errors import LeaseLost
from bot.store.engine import Database, now, to_the_end
from bot.store.tables import leases


class Lease:
    """The right to do something alone, for as long as it is renewed.

    Args:
        database: where it stands.
        name: of what only one process does.
        seconds: how long a silent process keeps it.
        clock: time.
    """

    def __init__(self, database: Database, name: str, seconds: float, clock: Clock) -> None:
        self.database = database
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._sure_until = 0.0
        self._mine = leases.c.name == name, leases.c.owner == self._owner

    def must_be_sure(self) -> None:
        """Make sure that nobody else can have it now, by this process's own clock; a second is kept in reserve.

        Raises:
            LeaseLost: somebody else may.
        """
        if self._clock.monotonic() >= self._sure_until - 1:
            raise LeaseLost

    @to_the_end
    async def take(self, *, at_start: bool = False) -> bool:
        """Take it where it is free or ours, and gives back whether it is ours now.

        Args:
            at_start: with SQLite, whoever had it is gone: the file belongs to one process.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        asked_at, present = self._clock.monotonic(), now(self.database, self._clock)
        insert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        values = {"owner": self._owner, "until": present + self._seconds}
        free = or_(leases.c.until < present, leases.c.owner == self._owner)
        if at_start and self.database.is_sqlite:
            free = or_(free, leases.c.owner != self._owner)
        wanted = insert(leases).values(name=self._name, **values)
        wanted = wanted.on_conflict_do_update(index_elements=["name"], set_=values, where=free)
        async with self.database.begin() as connection:
            taken = (await connection.execute(wanted.returning(leases.c.owner))).first() is not None
        self._sure_until = asked_at + self._seconds if taken else 0.0
        return taken

    async def check(self, connection: AsyncConnection) -> None:
        """Make sure, inside a transaction, that nobody else has it or gets it before the end of the transaction.

        Raises:
            LeaseLost: somebody else has it.
        """
        kept = await connection.execute(
            update(leases).where(*self._mine).values(owner=self._owner).returning(leases.c.owner)
        )
        if kept.first() is None:
            self._sure_until = 0.0
            raise LeaseLost

    @to_the_end
    async def give_back(self) -> None:
        """Let the next process have it at once.

        Raises:
            StoreUnavailable: it could not be written; it will run out by itself.
        """
        self._sure_until = 0.0
        async with self.database.begin() as connection:
            await connection.execute(update(leases).where(*self._mine).values(until=0.0))


class Leased:
    """Statements that only the process may run which has a lease.

    Args:
        database: where.
        clock: the clock of SQLite's one process. PostgreSQL's own clock is asked instead.
        lease: writes of a process that has lost it raise `LeaseLost`. None for what anybody may write.
    """

    def __init__(self, database: Database, clock: Clock, lease: Lease | None = None) -> None:
        self.database = database
        self._clock = clock
        self._lease = lease

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.database.begin() as connection:
            if self._lease:
                await self._lease.check(connection)
            yield connection
