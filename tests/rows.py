"""What is in the bot's database, read beside it."""

from typing import Any

from sqlalchemy import select

from bot.store import Database
from bot.store.tables import audit, decisions
from tests.world import World


async def column(bot: World, name: str) -> Any:
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        value = (await connection.execute(select(decisions.c[name]))).scalar_one()
    await database.close()
    return value


async def outcomes_by_user(bot: World) -> list[tuple[str, str]]:
    """Who came to what, as the audit trail has it."""
    database = Database(bot.settings.database_url)
    try:
        async with database.begin() as connection:
            rows = await connection.execute(
                select(audit.c.user_id, audit.c.outcome).where(audit.c.event == "outcome").order_by(audit.c.seq)
            )
            return [(row.user_id, row.outcome) for row in rows]
    finally:
        await database.close()


async def outcomes(bot: World) -> list[str]:
    """What the audit trail says of each decision that has come to its end."""
    database = Database(bot.settings.database_url)
    try:
        async with database.begin() as connection:
            rows = await connection.execute(select(audit.c.outcome).where(audit.c.event == "outcome"))
            return [str(each) for each in rows.scalars()]
    finally:
        await database.close()
