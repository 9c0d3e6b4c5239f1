"""The fixtures that tests share, and how much Hypothesis tries."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.manual_clock import ManualClock
from tests.postgres import new_schema, serve_postgresql
from tests.simulator.receivers import PagerDuty, WebhookReceiver
from tests.watch import watching
from tests.world import World, world

settings.register_profile("tests", max_examples=int(os.environ.get("EXAMPLES", "25")), deadline=None)
settings.load_profile("tests")

# What mostly waits is spread over two thirds of the run: several at once leave the cores idle, as does one at the end.
WAITING = ("tests/test_chaos.py", "tests/browser/", "tests/test_simulation.py", "tests/test_bench.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that mostly wait among the others, the longest first."""
    waiting = [item for name in WAITING for item in items if item.nodeid.startswith(name)]
    others = [item for item in items if not item.nodeid.startswith(WAITING)]
    between = len(others) * 2 // 3 // max(1, len(waiting))
    items[:] = []
    for number, item in enumerate(waiting):
        items += [item, *others[number * between : (number + 1) * between]]
    items += others[len(waiting) * between :]


def pytest_collection_finish() -> None:
    """Let the garbage collector look seldom, and at nothing that lives as long as the run: it took a sixth of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


# What may keep the loop waiting inside the bot: its log, and what is done before the first request and after the last.
MAY_BLOCK = (
    ("logging/__init__.py", ("emit", "flush")),
    ("bot/settings.py", ("read_settings",)),  # a running bot reads them again in a thread
    ("bot/store/database.py", ("__init__", "close")),
    ("bot/store/sqlite.py", ("__init__", "own", "disown", "must_exist", "is_in_use")),
    ("prometheus_client/process_collector.py", ("collect",)),  # /proc answers at once
    ("tests/simulation/loop.py", ("work",)),  # its threads are the loop itself
    ("tests/simulation/checks.py", ("rows",)),
)


@pytest.fixture(scope="session", autouse=True)
def nothing_blocks() -> Iterator[None]:
    """Refuse files, locks, connections, and sleep where they would stop the bot's loop."""
    with blockbuster_ctx(["bot", "handlers"]) as watched:
        for name in ("os.path.abspath", "os.path.samestat"):
            watched.functions[name].deactivate()  # it waits for nothing
        for function in watched.functions.values():
            for file, functions in MAY_BLOCK:
                function.can_block_in(file, functions)
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as this worker's tests."""
    with serve_postgresql() as url:
        yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty schema in it."""
    return new_schema(postgresql_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    return str(request.getfixturevalue("postgresql")) if request.param == "postgresql" else sqlite_url(tmp_path)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/bot.db"


@pytest.fixture
async def webhook() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDuty]:
    async with PagerDuty() as receiver:
        yield receiver


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
def transport() -> str:
    """How Slack reaches the bot; tests marked with `both_transports` run once over each."""
    return "http"


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the bot's database; tests marked with `both_databases` run once on each."""
    is_sqlite = getattr(request, "param", "sqlite") == "sqlite"
    return sqlite_url(tmp_path) if is_sqlite else str(request.getfixturevalue("postgresql"))


@pytest.fixture
async def bot(request: pytest.FixtureRequest, transport: str, database: str) -> AsyncIterator[World]:
    """A running bot between the simulators. `pytest.mark.bot(…)` on a module or test says what it is like.

    The mark takes `watching=True` for one that watches, and otherwise what `world` and `watching` take.
    """
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("bot"))):
        options |= mark.kwargs
    start = watching if options.pop("watching", False) else world
    async with start(database=database, socket=transport == "socket", **options) as running:
        yield running
