"""PostgreSQL, for several processes."""

import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from bot.store.connection import Connection, Driver, Rows, Values

_KNOWN = {
    "connect_timeout": 5, "tcp_user_timeout": 5000, "application_name": "remediation-bot", "client_encoding": "utf8",
}  # fmt: skip
_FRESH_SECONDS = 1.0
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # what waits for a lock must see what it waited for


class Awaited(Rows):
    """What a statement returns that may not be sent yet; looking at it sends the statement."""

    def __init__(self, send: Callable[[], None]) -> None:
        super().__init__()
        self._look = send

    def take(self, cursor: "psycopg.ClientCursor[Any]") -> None:
        """Take what the database has returned."""
        self._look = lambda: None  # what was sent isn't sent again
        super().take(cursor)

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def __iter__(self) -> Iterator[Any]:
        self._look()
        return super().__iter__()

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - a row, or some
        self._look()
        return super().__getitem__(place)


class Messages(Connection):
    """Sends statements together, once somebody looks at what one returns, or at the end: a message is a round trip."""

    _used_at = float("-inf")

    def begin(self, words: str, now: float) -> None:
        """Send with the first statement what begins a transaction."""
        self._is_fresh, self._used_at = now - self._used_at < _FRESH_SECONDS, now
        self._opening = words.split("; ")
        self._is_block, self._has_begun = words.startswith(_BEGIN), False
        self._unsent: list[tuple[str, Awaited | None]] = []

    def commit(self) -> None:
        """End the transaction, in one message with what is still unsent."""
        if self._is_block:
            self._unsent.append(("COMMIT", None))
        if self._unsent:
            self._send()

    def roll_back(self) -> None:
        """Undo what the transaction has done, and forget the rest of it."""
        self._unsent = []
        super().roll_back()

    def _run(self, sql: str, sets: Sequence[Values]) -> Rows:
        rows = Awaited(self._send)
        with psycopg.ClientCursor(self.raw) as cursor:
            self._unsent += [(cursor.mogrify(sql.encode(), values), rows) for values in sets]
        # A line that was idle may be dead, and a commit that went over it would be in doubt.
        if not (self._has_begun or self._is_fresh):
            self._send()
        return rows

    def _send(self) -> None:
        is_open = self._is_block and self._has_begun
        sent = [*(() if is_open else ((statement, None) for statement in self._opening)), *self._unsent]
        self._unsent, self._has_begun = [], True
        with psycopg.ClientCursor(self.raw) as cursor:
            cursor.execute("; ".join(text for text, _ in sent).encode(self.raw.info.encoding))
            for _, rows in sent:
                if rows is not None:
                    rows.take(cursor)
                cursor.nextset()


class PostgreSQL(Driver):
    """The driver. It reads the URL itself, so `sslmode=…` and `host=/dir` mean what they mean to every client."""

    api = psycopg
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    connection = Messages
    undone = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    misled = (psycopg.errors.ReadOnlySqlTransaction,)
    refusal_is_certain = True
    threads = 8
    # The server ends it if the process freezes inside it. In one message, because a PgBouncer may give the next one to
    # another connection. A read needs no block: each of its messages is a separate transaction.
    begin_write = (
        f"{_BEGIN}; SET LOCAL statement_timeout = {{limit}}; SET LOCAL idle_in_transaction_session_timeout = {{limit}}"
    )
    begin_read = "SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {limit}"

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect, or give up after five seconds."""
        # No prepared statements and no session settings, so that a transaction-mode PgBouncer may stand in between.
        kept = {name: value for name, value in _KNOWN.items() if f"{name}=" not in self._url}
        return psycopg.connect(self._url, autocommit=True, prepare_threshold=None, **kept)  # type: ignore[arg-type] # libpq's own

    def wrong_database(self, error: BaseException) -> str:
        """Return which right the role lacks, or what keeps the schema from an upgrade, in the server's own words."""
        match error:
            case psycopg.errors.InsufficientPrivilege():
                fix = "Grant the bot's role its rights again (docs/security.md)."
            case psycopg.errors.DuplicateTable() | psycopg.errors.DuplicateColumn() | psycopg.errors.DuplicateObject():
                fix = "A backup was restored over a newer schema: restore it into an empty one (docs/operations.md)."
            case _:
                return ""
        return f"{error.diag.message_primary}. {fix}"

    def reason(self, error: BaseException) -> str:
        """Return what the server or the network said; of an invalid URL nothing, since psycopg quotes it."""
        if not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None:
            return ""
        said, *_ = str(error).splitlines() or [""]
        return " ".join(said.rpartition("failed: ")[2].split())

    def is_refusal(self, error: BaseException) -> bool:
        """Return whether the server itself has said so, and not this program about what it has received."""
        return isinstance(error, psycopg.Error) and (error.sqlstate is not None and error.pgresult is not None)

    def is_cut(self, raw: "psycopg.Connection[Any]") -> bool:
        """Return whether a connection is lost."""
        return raw.closed

    def has_ended(self, raw: "psycopg.Connection[Any]") -> bool:
        """Return whether the server has ended an idle connection: nothing was asked, so only its end can be read."""
        readable = select.poll()
        readable.register(raw, select.POLLIN)
        return bool(readable.poll(0))

    def interrupt(self, raw: "psycopg.Connection[Any]") -> None:
        """Cut a connection: the thread that waits for an answer gets an error."""
        with socket.socket(fileno=os.dup(raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
