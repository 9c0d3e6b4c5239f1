"""SQLAlchemy's own engine on the bot's database, a second opinion on how the bot runs its statements."""

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool


def engine_of(url: str) -> Engine:
    """Return an engine for a URL as the bot takes it."""
    if url.startswith("sqlite:"):
        return create_engine(url, poolclass=NullPool)
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
