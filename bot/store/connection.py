"""What runs statements: SQLAlchemy words them, each is compiled once, and the driver itself runs it.

Also the words that the two databases say differently, and the locks that only PostgreSQL needs.
"""

import json
import logging
import threading
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Dialect, Double, Executable, Text, bindparam, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from bot.errors import StorageUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
_KEPT = 1024  # compiled statements; the bot has about 200, each in one or two forms
_KEPT_ROWS = 256
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
Values = Mapping[str, Any]
NOTHING: Values = {}
Record = dict[str, Any]  # a row by the names of its columns


class Driver(Protocol):
    """What the two databases do differently.

    Attributes:
        api: the module that speaks with the database, with the names of PEP 249.
        dialect: how statements are worded.
        connection: runs statements.
        undone: the errors that say that a transaction did nothing.
        misled: those that say that the connection leads to a server that isn't, or is no longer, the right one.
        refusal_is_certain: whether what the database answers to a commit with an error wasn't done.
        threads: how many transactions at a time.
        begin_write, begin_read: what begins a transaction whose statements may take `{limit}` milliseconds.
    """

    api: Any
    dialect: Dialect
    connection: "type[Connection]"
    undone: tuple[type[Exception], ...] = ()
    misled: tuple[type[Exception], ...] = ()
    refusal_is_certain: bool
    threads: int
    begin_write: str
    begin_read: str

    def connect(self) -> Any:  # noqa: ANN401 - the driver's own connection
        """Open a connection on which what is written is kept; it commits each statement outside a transaction."""

    def commit(self, raw: Any) -> None:  # noqa: ANN401 - the driver's own connection
        """End the transaction of a connection."""
        raw.commit()

    def wrong_database(self, error: BaseException) -> str:
        """Return what is wrong where an error says that this isn't a database for the bot; else an empty text."""

    def reason(self, error: BaseException) -> str:
        """Return what went wrong, in the words of the file, the server, or the network; empty for what has none."""

    def unavailable(self, error: BaseException, *, in_doubt: bool = False) -> StorageUnavailable:
        """Return what an error means to who wanted something of the database."""
        named, reason = type(error).__name__, self.reason(error)
        return StorageUnavailable(f"{named}: {reason}" if reason else named, in_doubt=in_doubt)

    def is_refusal(self, error: BaseException) -> bool:
        """Return whether the database itself has said so, and not this program about what it has received."""
        return isinstance(error, self.api.Error)

    def may_pass(self, error: BaseException) -> bool:
        """Return whether an error may be cured by trying again."""
        api = self.api
        is_fault = isinstance(error, (api.DataError, api.IntegrityError, api.NotSupportedError, api.ProgrammingError))
        return isinstance(error, (api.Error, OSError)) and not is_fault

    def is_cut(self, raw: Any) -> bool:  # noqa: ANN401, ARG002 - the driver's own connection
        """Return whether a connection is lost; a file never is."""
        return False

    def has_ended(self, raw: Any) -> bool:  # noqa: ANN401 - the driver's own connection
        """Return whether a connection was ended while it was idle, or what is written on it isn't kept."""

    def interrupt(self, raw: Any) -> None:  # noqa: ANN401 - the driver's own connection
        """Break off what a connection does, from another thread."""


class Rows(list[Any]):
    """What a statement returned, each row as a named tuple."""

    def take(self, cursor: Any) -> None:  # noqa: ANN401 - the driver's own
        """Take what the database has returned."""
        if cursor.description:
            names = tuple(column[0] for column in cursor.description)
            self.extend(map(_row_of(names), cursor.fetchall()))

    def first(self) -> Any:  # noqa: ANN401 - a row
        """Return the first row; None for none."""
        return self[0] if self else None

    def scalar(self) -> Any:  # noqa: ANN401 - a value
        """Return the first value of the first row; None for none."""
        return self[0][0] if self else None

    def scalars(self) -> list[Any]:
        """Return the first value of each row."""
        return [row[0] for row in self]

    def mappings(self) -> list[Record]:
        """Return the rows by the names of their columns."""
        return [row._asdict() for row in self]


class Connection:
    """One connection, for one transaction at a time.

    Attributes:
        raw: the driver's own.
        targets: who is told of events.
    """

    def __init__(self, raw: Any, driver: Driver, targets: Sequence[str] = ()) -> None:  # noqa: ANN401 - the driver's own
        self.raw = raw
        self.driver = driver
        self.targets = targets
        self.is_postgresql = driver.dialect.name == "postgresql"

    def begin(self, words: str, now: float) -> None:  # noqa: ARG002 - some send it later
        """Begin a transaction.

        Args:
            now: seconds on any clock that is never set.
        """
        self.raw.execute(words)

    def execute(self, statement: Executable, sets: Values | Sequence[Values] = NOTHING, /, **values: object) -> Rows:
        """Run a statement with these values, once with each set where a sequence of them is given.

        PostgreSQL may get it only once its rows are looked at, so callers ask for all they need before they look.
        """
        sets = [sets] if isinstance(sets, Mapping) else sets
        sql, constants = _compiled(statement, self.driver.dialect, (*sets[0], *values))
        return self._run(sql, [{**constants, **given, **values} for given in sets])

    def _run(self, sql: str, sets: Sequence[Values]) -> Rows:
        rows, cursor = Rows(), self.raw.cursor()
        for values in sets:
            cursor.execute(sql, values)
            rows.take(cursor)
        cursor.close()
        return rows

    def commit(self) -> None:
        """End the transaction."""
        self.driver.commit(self.raw)

    def roll_back(self) -> None:
        """Undo what the transaction has done."""
        self.raw.rollback()


@dataclass(eq=False, slots=True, weakref_slot=True)
class Running:
    """A transaction in its thread, so that one that the database doesn't answer can be broken off from outside."""

    driver: Driver
    give_up_at: float
    time: Callable[[], float]
    raw: Any = None
    has_begun: bool = False
    is_withdrawn: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, raw: Any = None) -> None:  # noqa: ANN401 - the driver's own connection
        """Begin, on its connection, unless its time is over or somebody has withdrawn it: nobody would break it off."""
        with self.lock:
            if self.is_withdrawn or self.time() >= self.give_up_at:
                raise StorageUnavailable("closed")
            self.has_begun, self.raw = True, raw

    def withdraw(self) -> bool:
        """Keep it from beginning. Returns whether that was in time."""
        with self.lock:
            self.is_withdrawn = not self.has_begun
            return self.is_withdrawn

    def ended(self) -> None:
        """Note that its connection may be another transaction's from now on."""
        with self.lock:
            self.raw = None

    def interrupt(self) -> None:
        """Break the connection; the lock keeps it from being another transaction's by then."""
        with self.lock, suppress(self.driver.api.Error, OSError):  # it has just ended otherwise
            if self.raw is not None:
                self.driver.interrupt(self.raw)


@lru_cache(_KEPT)
def _compiled(statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return a statement as the driver takes it, and the values that are always the same."""
    compiled: SQLCompiler = statement.compile(dialect=dialect, column_keys=names or None)  # type: ignore[attr-defined] # all can be
    sql, params = compiled.string, compiled.params
    if compiled.post_compile_params:  # the members of a list that is always the same
        expanded = compiled.construct_expanded_state(params, escape_names=False)
        sql, params = expanded.statement, dict(expanded.parameters)
    given = {*names, *(name for name, bound in compiled.binds.items() if bound.required)}
    return sql, {name: value for name, value in params.items() if name not in given}


@lru_cache(_KEPT_ROWS)
def _row_of(names: tuple[str, ...]) -> Callable[[Iterable[Any]], Any]:
    """Return what makes a named tuple of a row with these columns."""
    row = namedtuple("Row", names, rename=True)  # type: ignore[misc] # noqa: PYI024 - its fields are a statement's columns
    return row._make


class now(FunctionElement[float]):  # noqa: N801 - reads like the SQL function that it is
    """The present inside a statement, as Unix time in seconds.

    PostgreSQL's own clock is asked, so that processes need not agree on theirs; SQLite's one process asks its own.
    """

    type = Double()
    inherit_cache = True


@compiles(now)
def _now(_element: now, compiler: SQLCompiler, **_: object) -> str:
    is_postgresql = compiler.dialect.name == "postgresql"
    return "extract(epoch from clock_timestamp())::double precision" if is_postgresql else "bot_now()"


class is_among(FunctionElement[Any]):  # noqa: N801 - reads like the operator that it is
    """Whether columns have the values of one of a `json_list`. The statement is the same for any list.

    Args:
        name: of the bound list.
        columns: of text.
    """

    inherit_cache = True

    def __init__(self, name: str, *columns: ColumnElement[Any]) -> None:
        super().__init__(*columns, bindparam(name, type_=Text()))


@compiles(is_among)
def _is_among(element: is_among, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ANN401 - the compiler's own
    *columns, bound = (compiler.process(clause, **kwargs) for clause in element.clauses)
    value, source = "json_extract(value, '$[{}]')", f"json_each({bound})"
    if compiler.dialect.name == "postgresql":
        value, source = "each ->> {}", f"json_array_elements(CAST({bound} AS json)) AS each"
    values = ", ".join(value.format(number) for number in range(len(columns)))
    return f"(({', '.join(columns)}) IN (SELECT {values} FROM {source}))"  # noqa: S608 - of parts that are compiled


def json_list(values: Iterable[str | tuple[str, ...]]) -> str:
    """Return the list that `is_among` looks in: texts for one column, tuples for several."""
    return json.dumps([[value] if isinstance(value, str) else value for value in values])


def dump(value: object) -> str:
    """Write a value as JSON."""
    # ASCII, because Slack's texts may hold what UTF-8 or PostgreSQL cannot: lone surrogates and NUL.
    return json.dumps(_adapter(type(value)).dump_python(value, mode="json"), ensure_ascii=True)


def read_json(kind: type[T], body: str, unreadable: str = "") -> T | None:
    """Return what `dump` has written, also half a character, which no other reader of JSON takes.

    Args:
        unreadable: what is logged where it can't be read.

    Returns:
        None where another version has written it: nothing else must fail for it.
    """
    adapter: TypeAdapter[T] = _adapter(kind)
    try:
        return adapter.validate_json(body)
    except ValueError:
        try:
            return adapter.validate_python(json.loads(body))
        except ValueError as error:
            if unreadable:
                logger.error("%s: %s", unreadable, type(error).__name__)  # noqa: TRY400 - it may hold outside words
            return None


SELECT_NOW = select(now())
# Asked once in a statement: PostgreSQL searches no index by a function that may return something else for each row.
NOW_ONCE = SELECT_NOW.scalar_subquery()
_WRITE = text("INSERT INTO leases (name, owner, until) VALUES ('doctor', :owner, 0)")
_DELETE = text("DELETE FROM leases WHERE name = 'doctor'")
_SOME = "." * 8192  # more than a full disk's last page has room for
# Any number that nobody else in this database uses.
_LOCK_CLUSTER = text("SELECT pg_advisory_xact_lock(726564650, hashtext(:cluster))")


def read_clock(connection: Connection) -> float:
    """Return the present, as Unix time in seconds."""
    return float(connection.execute(SELECT_NOW).scalar())


def check_writable(connection: Connection) -> None:
    """Write something, and delete it again: a database that is read-only, full, or another's, refuses it."""
    connection.execute(_DELETE)
    connection.execute(_WRITE, owner=_SOME)
    connection.execute(_DELETE)


def lock_cluster(connection: Connection, cluster_id: str) -> None:
    """Let approvals of a cluster begin one after the other, so that the later one sees the earlier one."""
    if connection.is_postgresql:
        connection.execute(_LOCK_CLUSTER, cluster=cluster_id)
