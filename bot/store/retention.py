"""Deleting what is old, a little at a time: no ack waits long for it. The audit trail stays."""

from collections import Counter

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Executable,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    or_,
    select,
    true,
    tuple_,
    update,
)

from bot.store import outbox
from bot.store.batches import ASKED
from bot.store.connection import NOW_ONCE, Connection, read_clock
from bot.store.database import Database
from bot.store.inbox import KEPT_SECONDS
from bot.store.ownership import UNFINISHED
from bot.store.tables import SET_ASIDE, alerts, batches, decisions, first_approvals, inbox, leases, messages, pauses

_DAY = 86_400.0
_URL_SECONDS = 1800.0  # docs.slack.dev, "Handling user interaction": 30 minutes
_AT_ONCE = 500
_URL = '"response_url": "'


def _old_urls(
    open_rows: ColumnElement[bool], key: Column[str], request: Column[str]
) -> tuple[Select[str, str], Update]:
    """Build what finds requests with an old response_url, and what writes one without it."""
    is_old = key.table.c.received_at < NOW_ONCE - _URL_SECONDS
    # Its owner may have finished it since it was read, and dropped the request.
    one = update(key.table).where(key == bindparam("b_id"), request == bindparam("b_before"))
    old = select(key.label("id"), request.label("request")).where(open_rows, is_old, request.contains(_URL))
    return old, one.values({request: bindparam("b_request")})


_OLD_URLS = (
    _old_urls(or_(UNFINISHED, decisions.c.status == SET_ASIDE), decisions.c.id, decisions.c.request),
    _old_urls(inbox.c.done_at.is_(None), inbox.c.key, inbox.c.body),
)


def _some(table: Table, *where: ColumnElement[bool]) -> Executable:
    """Build the deletion of some of what is old."""
    key = list(table.primary_key)
    # Locked, or PostgreSQL would delete what is opened again as it waits: it looks at that by its key alone.
    ids = select(*key).where(*where).limit(_AT_ONCE).with_for_update(skip_locked=True)
    return delete(table).where(tuple_(*key).in_(ids)).returning(*key)


_OLDEST: BindParameter[float] = bindparam("b_oldest")
_FEW = (
    delete(first_approvals).where(first_approvals.c.at < _OLDEST),
    delete(leases).where(leases.c.name.startswith("process "), leases.c.until < NOW_ONCE - _DAY),
    delete(pauses).where(pauses.c.until < NOW_ONCE - _DAY),
    delete(inbox).where(inbox.c.done_at < NOW_ONCE - KEPT_SECONDS),
    delete(batches).where(
        or_(batches.c.asked_at < _OLDEST, and_(batches.c.asked_at < NOW_ONCE - _DAY, batches.c.status == ASKED))
    ),
)
_OLD_DECISIONS = _some(
    decisions,
    or_(decisions.c.done_at < _OLDEST, and_(decisions.c.status == SET_ASIDE, decisions.c.received_at < _OLDEST)),
)
_OLD = (
    _OLD_DECISIONS,
    # Worded so that SQLite looks by age: almost all rows are closed.
    _some(
        alerts,
        alerts.c.is_open.is_distinct_from(true()),
        alerts.c.changed_at < _OLDEST,
        alerts.c.seen_at < _OLDEST,  # release 0.1 writes 0 for the other, also after a newer one has made the column
        ~exists().where(messages.c.id == alerts.c.message_id, messages.c.is_open),  # a repair may be watched still
    ),
    _some(
        messages,
        messages.c.is_open.is_distinct_from(true()),
        messages.c.opened_at < _OLDEST,
        ~exists().where(alerts.c.message_id == messages.c.id),  # what waits again is told there
    ),
)


async def purge(database: Database, days: int) -> int:
    """Delete finished decisions, alerts, and batches that are older. Returns how many decisions.

    Raises:
        StorageUnavailable: some of it may be deleted.
    """
    oldest = await database.read(read_clock) - days * _DAY
    await database.run(_purge_few, oldest)
    purged = Counter[Executable]()
    for statement in _OLD:
        count = _AT_ONCE
        while count == _AT_ONCE:
            count = len(await database.run(Connection.execute, statement, b_oldest=oldest))
            purged[statement] += count
    return purged[_OLD_DECISIONS]


def _purge_few(connection: Connection, oldest: float) -> None:
    outbox.drop_old(connection)
    for statement in _FEW:
        connection.execute(statement, b_oldest=oldest)


def drop_old_response_urls(connection: Connection) -> None:
    """Forget response_urls that Slack no longer takes, inside a transaction."""
    for find, rewrite in _OLD_URLS:
        for row in connection.execute(find):
            head, _, rest = row.request.partition(_URL)
            after = f'{head}"response_url": null{rest.partition(chr(34))[2]}'
            connection.execute(rewrite, b_id=row.id, b_before=row.request, b_request=after)
