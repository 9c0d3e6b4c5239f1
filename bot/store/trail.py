"""What makes the audit trail outlive its database: copies of its rows, and signatures of its head."""

import hashlib
import hmac
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from bot.store.audit import last_row
from bot.store.database import Database, now
from bot.store.tables import audit, cursors, signed_heads

_CURSOR = select(cursors.c.seq).where(cursors.c.name == bindparam("b_name"))
_AFTER = select(audit).where(audit.c.seq > bindparam("b_seq")).order_by(audit.c.seq).limit(bindparam("b_limit"))
_MOVE = (
    insert(cursors)
    .values(name=bindparam("b_name"), seq=bindparam("b_seq"))
    .on_conflict_do_update(index_elements=["name"], set_={"seq": bindparam("b_seq")})
)
_SIGN = insert(signed_heads).on_conflict_do_nothing()
_SIGNED = select(signed_heads).order_by(signed_heads.c.seq)
_SIGNED_AS = b"remediation-bot audit head 1\n"  # what is signed begins with what it is


class Trail:
    """The transactions. Each may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def news(self, name: str, limit: int) -> Sequence[RowMapping]:
        """Return the rows that a copy doesn't have yet."""
        return await self.database.read(_news, name, limit)

    async def copied(self, name: str, seq: int) -> None:
        """Note that a copy has all rows up to one."""
        await self.database.run(_copied, name, seq)

    async def sign(self, key: str) -> tuple[int, str] | None:
        """Sign the head, once for each head. Returns its number and signature; None for an empty trail."""
        return await self.database.run(_sign, key)


def _news(connection: Connection, name: str, limit: int) -> Sequence[RowMapping]:
    seq = connection.execute(_CURSOR, {"b_name": name}).scalar() or 0
    return connection.execute(_AFTER, {"b_seq": seq, "b_limit": limit}).mappings().all()


def _copied(connection: Connection, name: str, seq: int) -> None:
    connection.execute(_MOVE, {"b_name": name, "b_seq": seq})


def _sign(connection: Connection, key: str) -> tuple[int, str] | None:
    head = last_row(connection)
    if head is None:
        return None
    seq, digest = head
    made = signature(key, seq, digest)
    connection.execute(_SIGN.values(at=now()), {"seq": seq, "hash": digest, "signature": made})
    return seq, made


def signature(key: str, seq: int, digest: str) -> str:
    """Return the signature of a head."""
    return hmac.new(key.encode(), _SIGNED_AS + f"{seq}:{digest}".encode(), hashlib.sha256).hexdigest()


async def check_signatures(database: Database, key: str) -> tuple[list[str], float | None]:
    """Compare the signed heads with the trail.

    Returns:
        What is wrong, one sentence each, and when a head was signed last, in Unix time; None for never.

    Raises:
        StorageUnavailable: the database did not answer.
    """
    return await database.read(_check, key)


def _check(connection: Connection, key: str) -> tuple[list[str], float | None]:
    problems: list[str] = []
    signed = connection.execute(_SIGNED).all()
    for row in signed:
        there = connection.execute(select(audit.c.hash).where(audit.c.seq == row.seq)).scalar()
        if not hmac.compare_digest(row.signature, signature(key, row.seq, row.hash)):
            problems.append(f"The signature of row {row.seq} isn't of this key: it was forged, or the key is another.")
        elif there is None:
            problems.append(f"Row {row.seq} was signed and is missing: the trail was truncated.")
        elif there != row.hash:
            problems.append(f"Row {row.seq} isn't what was signed: the trail was rewritten.")
    return problems, signed[-1].at if signed else None
