"""The database of a world: SQLite in memory, shared by all bots, and what goes wrong with its transactions."""

import asyncio
import functools
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bot.errors import StorageUnavailable
from bot.store import Database
from bot.store.connection import Connection, Running
from bot.store.groups import Member
from bot.store.pool import Pool
from tests.simulation.faults import SUSPENDS
from tests.simulation.loop import Process
from tests.sqlite import fill_sqlite

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
MARKS = {"undone": "commit cut before", "lost": "commit cut after"}


class Line(Connection):
    """The one connection.

    Attributes:
        trouble: with the commit that comes next.
    """

    trouble = ""

    def commit(self) -> None:
        if self.trouble == "undone":
            self.roll_back()
        else:
            self.raw.commit()
        if self.trouble in MARKS:
            raise sqlite3.OperationalError("cut")


class _Shared(Pool):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def take(self, running: Running) -> Connection:  # noqa: ARG002 - it never waits
        return self.connection

    def give_back(self, connection: Connection | None) -> None:
        pass


class SharedDatabase(Database):
    """SQLite in memory, shared by all bots; its transactions alternate as the loop's threads do.

    A transaction is one step of the loop, so it is as serializable as PostgreSQL's locks make those that matter.
    """

    def __init__(self, world: "World", process: Process) -> None:
        self.world = world
        self.process = process
        super().__init__("sqlite:///", world.clock)
        self._line = Line(world.raw, self._driver)
        self._pool = _Shared(self._line)
        self.is_sqlite = world.is_alone  # only then the lease's last owner is gone for certain

    async def open(self, *, migrate: bool = True) -> None:
        pass

    def set_targets(self, targets: Sequence[str]) -> None:
        self._line.targets = targets

    def _transact(self, function: Callable[[Connection], T], begin: str, running: Any) -> T:
        with self._troubled() as is_reached:
            if is_reached:
                return super()._transact(function, begin, running)
        raise StorageUnavailable("cut")

    def _commit_together(self, members: Sequence[Member]) -> None:
        self.world.history.marks.add("several in one commit")
        with self._troubled() as is_reached:
            if is_reached:
                super()._commit_together(members)
                return
        for member in members:
            member.end(StorageUnavailable("cut"))

    @contextmanager
    def _troubled(self) -> Iterator[bool]:
        """Let something go wrong with a transaction, and count it. Yields whether the database is reached."""
        trouble = self._trouble()
        self._line.trouble = trouble
        if trouble == "before":
            yield False
        else:
            with self._counted():
                yield True

    def _trouble(self) -> str:
        world, bot = self.world, self.world.bot_of(self.process)
        if world.database_is == "away" or (bot and bot.line == "cut"):
            return "before"
        trouble = world.faults.of_transaction()
        if trouble in MARKS:
            world.history.marks.add(MARKS[trouble])
        return trouble

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a commit, and let the process stand still after one that records that a POST leaves."""
        world, bot = self.world, self.world.bot_of(self.process)
        world.transactions += 1
        may_suspend = bot and SUSPENDS in world.faults.on and not world.faults.are_over
        end = world.lock_trail() if may_suspend else 0
        yield
        if bot and may_suspend and world.a_post_leaves_since(end) and world.faults.strikes(SUSPENDS):
            world.suspend(bot)


@functools.cache
def schema() -> bytes:
    """Return an empty database of the present schema. It is migrated once, in a loop with threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.db"
        asyncio.run(fill_sqlite(f"sqlite:///{path}"))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # what is in memory has no WAL
        return path.read_bytes()
