"""Requests that aren't decisions: the row is the key against duplicates, and what another process needs to do it.

The owner is a new token whenever a request changes hands, so a process that was thought dead changes nothing any more.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from sqlalchemy import Executable, and_, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.errors import BotError, LeaseLost, RequestExpired
from bot.models import LIFETIME, AuditNote, Entry, new_id
from bot.store import audit
from bot.store.connection import Connection, dump, is_among, json_list, now, read_json
from bot.store.database import Database, P, Transaction
from bot.store.lease import LEASE_UNTIL, OWNER, is_free
from bot.store.tables import inbox

_UNREADABLE_SECONDS = 600.0  # until a request of another version is looked at again
KEPT_SECONDS = 2 * 86_400.0  # Slack repeats an event for a day at most (docs.slack.dev, Events API)
T = TypeVar("T", bool, float, str)
_ONE = inbox.c.key == bindparam("b_key")
_MINE = and_(_ONE, inbox.c.owner == OWNER)
_OPEN = inbox.c.done_at.is_(None)
_ENDED = {"done_at": now(), "body": None}
_INSERT = insert(inbox).values(key=bindparam("b_key"), owner=OWNER, received_at=now(), lease_until=LEASE_UNTIL)
_RECEIVE = _INSERT.on_conflict_do_nothing(index_elements=["key"]).returning(inbox.c.key)
_LEAVE = _RECEIVE.values(result="true")
_VOID = (
    _INSERT.values(done_at=now())
    .on_conflict_do_update(
        index_elements=["key"], set_=_ENDED, where=and_(inbox.c.owner == OWNER, inbox.c.result.is_(None))
    )
    .returning(inbox.c.key)
)
_AGE = (now() - inbox.c.received_at).label("age")
_HELD = select(inbox.c.result, _AGE).where(_MINE, _OPEN).with_for_update()
_IS_THERE = select(inbox.c.key).where(_ONE)
_CHANGE = update(inbox).where(_MINE)
_KEEP = _CHANGE.values(lease_until=LEASE_UNTIL)
_REFUSE = _KEEP.where(inbox.c.result.is_(None)).returning(inbox.c.key)
_FINISH = _CHANGE.values(_ENDED)
# Nobody's from then on: a heartbeat that is on its way must not keep it.
_RELEASE = _CHANGE.where(_OPEN).values(owner="", lease_until=now() + bindparam("b_seconds"))
_HEARTBEAT = update(inbox).where(is_among("b_owners", inbox.c.owner), _OPEN).values(lease_until=LEASE_UNTIL)
_LEFT = or_(is_free(inbox.c.lease_until), and_(bindparam("b_all"), ~is_among("b_owners", inbox.c.owner)))
_TAKE_OVER = (
    update(inbox)
    .where(
        inbox.c.key
        == select(inbox.c.key).where(_OPEN, _LEFT).limit(1).with_for_update(skip_locked=True).scalar_subquery()
    )
    .values(owner=OWNER, lease_until=LEASE_UNTIL)
    .returning(inbox.c.key, inbox.c.body, inbox.c.result, _AGE)
)


class Taken(NamedTuple):
    """A request that another process left behind.

    Attributes:
        entry: None where this version can't read it.
        is_acted: what it changes is changed already.
        refusal: why it isn't carried out, and what to do now; None where that wasn't recorded.
        age: in seconds.
    """

    owner: str
    entry: Entry | None
    is_acted: bool
    refusal: tuple[str, str] | None
    age: float


@dataclass(slots=True)
class InboxStore:
    """The transactions. Each may raise StorageUnavailable; what needs a request that was taken over, LeaseLost."""

    database: Database
    lease_seconds: float

    async def receive(self, entry: Entry, owner: str) -> bool:
        """Write down what was asked. Returns False for a redelivery."""
        return await self._write(_RECEIVE, entry.key, owner, body=dump(entry))

    async def leave(self, entry: Entry) -> None:
        """Write down what follows from a change that was made, for the next round of any process."""
        await self._write(_LEAVE, entry.key, "", body=dump(entry), b_lease=0.0)

    async def void(self, entry: Entry, owner: str) -> bool:
        """Make sure that a row whose commit is in doubt isn't worked on. False: another process has taken it."""
        return await self._write(_VOID, entry.key, owner)

    async def _write(self, statement: Executable, key: str, owner: str, **values: object) -> bool:
        """Write to the row of a request. Returns whether the statement has returned it."""
        values = {"b_lease": self.lease_seconds, **values}
        return bool(await self.database.run(Connection.execute, statement, b_key=key, b_owner=owner, **values))

    async def act(self, key: str, owner: str, change: Transaction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a change once, and remember its result; the result alone where it was made before.

        Raises:
            RequestExpired: it was asked too long ago.
        """

        def work(connection: Connection) -> T:
            mine = {"b_key": key, "b_owner": owner}
            held = connection.execute(_HELD, mine).first()
            if held is None:
                raise LeaseLost
            if held.result is not None:
                return json.loads(held.result)  # type: ignore[no-any-return] # what was stored below
            if held.age > LIFETIME:
                raise RequestExpired
            result = change(connection, *args, **kwargs)
            connection.execute(_KEEP, mine, result=json.dumps(result), b_lease=self.lease_seconds)
            return result

        return await self.database.run(work)

    async def refuse(self, key: str, owner: str, error: BotError, noted: AuditNote | None) -> None:
        """Record that a request isn't carried out, unless its change was made: no process may change its mind.

        Args:
            noted: what the audit trail gets of it, where it isn't there yet.
        """
        mine = {"b_key": key, "b_owner": owner}
        refused = json.dumps({"refused": [error.sentence, error.next_step]})

        def work(connection: Connection) -> None:
            if connection.execute(_REFUSE, mine, result=refused, b_lease=self.lease_seconds).first():
                if noted:
                    audit.note(connection, noted)
            elif not connection.execute(_HELD, mine).first():
                raise LeaseLost  # the process that has it now may carry it out

        await self.database.run(work)

    async def is_gone(self, key: str) -> bool:
        """Return whether the database has lost a request, as one does that took over and lacks the last commits."""
        return not await self.database.read(Connection.execute, _IS_THERE, b_key=key)

    async def finish(self, key: str, owner: str) -> None:
        """Close a request that was answered."""
        await self._write(_FINISH, key, owner)

    async def release(self, key: str, owner: str, seconds: float = 0.0) -> None:
        """Let any process continue with a request, after `seconds`."""
        await self._write(_RELEASE, key, owner, b_seconds=seconds)

    async def heartbeat(self, owners: Collection[str]) -> None:
        """Keep what this process works on."""
        await self.database.keep(Connection.execute, _HEARTBEAT, b_owners=json_list(owners), b_lease=self.lease_seconds)

    async def take_over(self, owners: Collection[str], *, at_start: bool) -> Taken | None:
        """Take a request that another process has left behind.

        Args:
            at_start: with SQLite, take any of another owner: only one process uses the file.
        """
        take_all = at_start and self.database.is_sqlite
        return await self.database.run(self._take_over, owners, take_all=take_all)

    def _take_over(self, connection: Connection, owners: Collection[str], *, take_all: bool) -> Taken | None:
        owner = new_id()
        row = connection.execute(
            _TAKE_OVER, b_owner=owner, b_owners=json_list(owners), b_all=take_all, b_lease=self.lease_seconds
        ).first()
        if row is None:
            return None
        entry = read_json(Entry, row.body, f"Request {row.key} can't be read and is left for another version")
        if entry is None:
            statement = _FINISH if row.age > KEPT_SECONDS else _KEEP
            connection.execute(statement, b_key=row.key, b_owner=owner, b_lease=_UNREADABLE_SECONDS)
        result = json.loads(row.result or "null")
        refusal = tuple(result["refused"]) if isinstance(result, dict) else None
        return Taken(owner, entry, row.result is not None, refusal, row.age)
