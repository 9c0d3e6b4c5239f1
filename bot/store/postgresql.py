"""PostgreSQL, for several processes."""

import os
import socket
from typing import Any

import psycopg
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

_KNOWN = {"connect_timeout": 5, "tcp_user_timeout": 5000, "application_name": "remediation-bot"}


class PostgreSQL:
    """The driver. It reads the URL itself, so `sslmode=…` and `host=/dir` mean what they mean to every client."""

    dialect: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    Error: type[Exception] = psycopg.Error
    conflict: type[Exception] = psycopg.IntegrityError
    faults: tuple[type[Exception], ...] = (psycopg.DataError, psycopg.NotSupportedError, psycopg.ProgrammingError)
    undone: tuple[type[Exception], ...] = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    threads = 8
    # The server ends it if the process freezes inside it. In one message, because a PgBouncer may give the next one to
    # another connection.
    begin_write = begin_read = (
        "BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}"
    )

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect, or give up after five seconds."""
        # No prepared statements and no session settings, so that a transaction-mode PgBouncer may stand in between.
        kept = {name: value for name, value in _KNOWN.items() if f"{name}=" not in self._url}
        return psycopg.connect(self._url, autocommit=True, prepare_threshold=None, **kept)  # type: ignore[arg-type] # libpq's own

    def is_cut(self, raw: "psycopg.Connection[Any]") -> bool:
        """Return whether a connection is lost."""
        return raw.closed

    def interrupt(self, raw: "psycopg.Connection[Any]") -> None:
        """Cut a connection: the thread that waits for an answer gets an error."""
        with socket.socket(fileno=os.dup(raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
