"""The bot's database, read and changed beside it."""

from typing import Any

from sqlalchemy import Executable, Select, select

from bot.models import Actor
from bot.store import Database, pauses
from bot.store.connection import Connection, Record
from bot.store.tables import audit, decisions
from tests.world import World


async def execute(database: Database, *statements: Executable) -> list[Record]:
    """Run statements in one transaction, which keeps nobody out where all of them only read. Returns the last rows."""
    only_read = all(isinstance(statement, Select) for statement in statements)
    return await (database.read if only_read else database.run)(_execute, statements)


def _execute(connection: Connection, statements: tuple[Executable, ...]) -> list[Record]:
    return [connection.execute(statement) for statement in statements][-1].mappings()


async def execute_beside(bot: World, *statements: Executable) -> list[Record]:
    """Run statements on the bot's database, like another program."""
    database = Database(bot.settings.database_url, bot.time.clock)
    try:
        return await execute(database, *statements)
    finally:
        await database.close()


async def pause_beside(bot: World, by: Actor, *, url: str = "") -> None:
    """Pause all approvals, as another process does."""
    database = Database(url or bot.settings.database_url, bot.time.clock)
    try:
        await database.run(pauses.begin, "", 3600, by, "C0OPS")
    finally:
        await database.close()


async def column(bot: World, name: str) -> Any:
    """Return a column of the only decision."""
    (row,) = await execute_beside(bot, select(decisions.c[name]))
    return row[name]


async def outcomes_by_user(bot: World) -> list[tuple[str, str]]:
    """Who came to what, as the audit trail has it."""
    ended = select(audit.c.user_id, audit.c.outcome).where(audit.c.event == "outcome").order_by(audit.c.seq)
    return [(row["user_id"], row["outcome"]) for row in await execute_beside(bot, ended)]


async def outcomes(bot: World) -> list[str]:
    """What the audit trail says of each decision that has ended."""
    return [outcome for _, outcome in await outcomes_by_user(bot)]
