"""What only one process does at a time."""

from collections.abc import Awaitable, Callable

from sqlalchemy import BindParameter, ColumnElement, Executable, and_, bindparam, or_, update
from sqlalchemy.dialects.postgresql import insert

from bot.clock import Clock, WaitReason
from bot.errors import LeaseLost, StorageUnavailable
from bot.models import new_id
from bot.store.connection import Connection, T, now
from bot.store.database import Database, P, Transaction
from bot.store.tables import leases

RENEWED_AFTER = 0.3  # of a lease, so that it survives two renewals that fail
_TRIES, _PAUSE = 3, 1.0  # of a transaction that certainly did nothing, and the seconds between two of them
LONGEST_LEASE = 900.0  # more than BOT_LEASE_SECONDS may be, and than the longest pause before an answer is told again
OWNER: BindParameter[str] = bindparam("b_owner")
LEASE_UNTIL = now() + bindparam("b_lease")


def is_free(until: ColumnElement[float]) -> ColumnElement[bool]:
    """Build the clause that a lease has run out. A clock that was set back makes a dead process's impossibly long."""
    return or_(until < now(), until > now() + LONGEST_LEASE)


_MINE = and_(leases.c.name == bindparam("b_name"), leases.c.owner == OWNER)
_HELD = {"owner": OWNER, "until": LEASE_UNTIL}
_FREE = or_(is_free(leases.c.until), leases.c.owner == OWNER, bindparam("b_all"))
_ACQUIRE = (
    insert(leases)
    .values(name=bindparam("b_name"), **_HELD)
    .on_conflict_do_update(index_elements=["name"], set_=_HELD, where=_FREE)
    .returning(leases.c.owner)
)
_CHANGE = update(leases).where(_MINE).returning(leases.c.owner)
_CHECK = _CHANGE.values(owner=OWNER)
_RENEW = _CHANGE.values(until=LEASE_UNTIL)


class Lease:
    """The right to do something alone, for as long as it is renewed; each call may raise StorageUnavailable.

    Args:
        name: of what only one process does.
    """

    def __init__(self, database: Database, name: str, seconds: float, clock: Clock) -> None:
        self.database = database
        self._seconds = seconds
        self._clock = clock
        self._keys = {"b_name": name, "b_owner": new_id(), "b_lease": seconds}
        self._sure_until = self._no_later_than = 0.0
        self._is_new = True

    def ensure_held(self) -> None:
        """Make sure that nobody else can have it now, by this process's own clocks; a second is kept in reserve.

        Of the two clocks, one stops while the machine sleeps, and the other can be set back.

        Raises:
            LeaseLost: somebody else may.
        """
        if self._clock.monotonic() >= self._sure_until - 1 or self._clock.now() >= self._no_later_than - 1:
            raise LeaseLost

    async def acquire(self) -> bool:
        """Take it where it is free or ours, and return whether it is ours now."""
        # At the start, its last owner is gone with SQLite: the file belongs to one process.
        is_ours = await self._keep(_ACQUIRE, b_all=self._is_new and self.database.is_sqlite)
        self._is_new = False
        return is_ours

    async def renew(self) -> bool:
        """Keep it, and return whether it is ours still: nobody else has had it since we took it."""
        return await self._keep(_RENEW)

    async def _keep(self, statement: Executable, **more: object) -> bool:
        asked_at, present = self._clock.monotonic(), self._clock.now()
        is_ours = bool(await self.database.keep(Connection.execute, statement, self._keys, **more))
        self._sure_until = asked_at + self._seconds if is_ours else 0.0
        self._no_later_than = present + self._seconds
        return is_ours

    async def release(self) -> None:
        """Let the next process have it at once.

        Raises:
            StorageUnavailable: it could not be written; it will run out.
        """
        self._sure_until = 0.0
        await self.database.run(Connection.execute, _CHANGE, self._keys, until=0.0)


class LeasedDatabase(Lease):
    """The database of a process that has a lease: its writes raise `LeaseLost` once the process has lost it.

    Call `ensure_held` before writing anything elsewhere, such as in a channel.
    """

    async def read(self, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that only reads; like `Database.read`, but tried again like `run`."""
        return await self._try(lambda: self.database.read(function, *args, **kwargs))

    async def run(self, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that may write; like `Database.run`, but tried again where it did nothing."""
        return await self._try(lambda: self.database.run(self._checked, function, *args, **kwargs))

    async def _try(self, transact: Callable[[], Awaitable[T]]) -> T:
        """Run a transaction, three times at most: one that fails now and then must not end the watch."""
        for _ in range(_TRIES - 1):
            try:
                return await transact()
            except StorageUnavailable as error:
                if error.in_doubt:
                    raise
                await self._clock.sleep(_PAUSE, WaitReason.WATCH_AGAIN)
        return await transact()

    def _checked(self, connection: Connection, function: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make sure that nobody else has the lease or gets it before the end of the transaction."""
        if connection.execute(_CHECK, self._keys).first() is None:
            self._sure_until = 0.0
            raise LeaseLost
        return function(connection, *args, **kwargs)
