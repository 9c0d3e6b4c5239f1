"""Databases of earlier releases, recorded by `tests.recording` with those releases' own code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from bot.store.database import MIGRATIONS
from tests.engine import engine_of
from tests.schema_0_1 import create_tables

# One decision in each state (received; claimed; sent; outcome known but not told; done; void; sent, with "in progress"
# shown), an alert on hold, a digest of six, and a selection of two that is running.
RELEASE_0_1 = Path(__file__).parent / "data" / "release-0.1.json"
RESPONSE_URL = "https://hooks.slack.com/actions/T/1/secret"


def fill_like_release_0_1(url: str, texts: Mapping[str, str]) -> None:
    """Make the schema of release 0.1, and put in what was recorded, with some of its texts replaced."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine_of(url).begin() as connection:
        create_tables(connection)
        config.attributes["connection"] = connection
        command.stamp(config, "0001")
        _insert(connection, texts)


def _insert(connection: Connection, texts: Mapping[str, str]) -> None:
    recorded = RELEASE_0_1.read_text("utf-8")
    for old, new in texts.items():
        recorded = recorded.replace(old, new)
    tables: dict[str, list[dict[str, Any]]] = json.loads(recorded)
    for table, rows in tables.items():
        if rows:
            names = ", ".join(rows[0])
            values = ", ".join(f":{name}" for name in rows[0])
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), rows)  # noqa: S608 - our own names
