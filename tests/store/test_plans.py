"""What the statements cost once a year of decisions and alerts is in the tables."""

import re
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.storms import CANCEL_SELECTED, began, choose, digest, storm
from tests.watch import HOLD, card, pass_time, quiet, watching
from tests.world import APPROVE, REF, World

TABLES = "decisions|alerts|messages|audit|inbox"
TOO_MUCH = re.compile(rf"SCAN ({TABLES})|SEARCH ({TABLES}) .*\(cluster_id=\?\)$")
Statements = dict[str, Any]


async def test_no_statement_reads_a_growing_table_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    statements: Statements = {}
    async with watching(f"sqlite:///{path}", BOT_REMIND_MINUTES="15", BOT_MAX_IN_REPAIR="5") as bot:
        assert bot.app.database
        event.listen(
            bot.app.database._engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, parameters, _context, is_many: statements.setdefault(
                statement, parameters[0] if is_many else parameters
            ),
        )
        await use_everything(bot)
    assert len(statements) > 50
    assert scans(path, statements) == []


async def use_everything(bot: World) -> None:
    """Let the bot do what it does every day."""
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await pass_time(bot, 3600)
    await bot.slack.press(alert, APPROVE)
    storm(bot, 8)
    await choose(bot, await digest(bot), "all", action=CANCEL_SELECTED)
    await bot.slack.submit(bot.slack.views[0])
    await pass_time(bot, 3600)
    for words in ("", "list", REF):
        await bot.slack.command(words)
    await bot.slack.open_home()
    await bot.slack.say("<@U0BOT> hold", user="U0ALICE", thread=alert)
    await quiet(bot)
    await bot.app._measure()
    await pass_time(bot, 90_000)


def scans(path: Path, statements: Statements) -> list[str]:
    """The statements for which SQLite reads a whole table or all of a cluster, but for the first row of a table."""
    found = []
    with sqlite3.connect(path) as connection:
        connection.create_function("bot_now", 0, lambda: 0.0)
        for statement, parameters in statements.items():
            if statement.startswith("BEGIN") or ("LIMIT ? OFFSET" in statement and "WHERE" not in statement):
                continue
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            found += [f"{step}: {statement}" for *_, step in plan if TOO_MUCH.match(step)]
    return found
