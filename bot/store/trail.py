"""What makes the audit trail outlive its database: copies of its rows, and signatures of its head."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from bot.store.audit import last_row
from bot.store.connection import Connection, Record, now
from bot.store.tables import audit, cursors, signed_heads, upsert

_CURSOR = select(cursors.c.seq).where(cursors.c.name == bindparam("b_name"))
_AFTER = select(audit).where(audit.c.seq > bindparam("b_seq")).order_by(audit.c.seq).limit(bindparam("b_limit"))
_MOVE = upsert(cursors, where=cursors.c.seq < bindparam("b_seq"))
_SIGN = insert(signed_heads).values(at=now()).on_conflict_do_nothing()
_SIGNED = (
    select(signed_heads, audit.c.hash.label("there"))
    .outerjoin(audit, audit.c.seq == signed_heads.c.seq)
    .order_by(signed_heads.c.seq, signed_heads.c.at)
)
_SIGNED_AS = b"remediation-bot audit head 1\n"  # what is signed begins with what it is
_KEY_ID = b"remediation-bot audit key 1\n"


def news(connection: Connection, name: str, limit: int) -> Sequence[Record]:
    """Return the rows that a copy doesn't have yet."""
    seq = connection.execute(_CURSOR, b_name=name).scalar() or 0
    return connection.execute(_AFTER, b_seq=seq, b_limit=limit).mappings()


def copied(connection: Connection, name: str, seq: int) -> None:
    """Note that a copy has all rows up to one."""
    connection.execute(_MOVE, name=name, seq=seq, b_seq=seq)


def sign(connection: Connection, key: str) -> tuple[int, str] | None:
    """Sign the head, once for each head. Returns its number and signature; None for an empty trail."""
    seq, digest = last_row(connection)
    if not seq:
        return None
    made = signature(key, seq, digest)
    connection.execute(_SIGN, seq=seq, hash=digest, signature=made, key_id=key_id(key))
    return seq, made


def signature(key: str, seq: int, digest: str) -> str:
    """Return the signature of a head."""
    return hmac.new(key.encode(), _SIGNED_AS + f"{seq}:{digest}".encode(), hashlib.sha256).hexdigest()


def key_id(key: str) -> str:
    """Return what tells a key from others, and nothing about it."""
    return hmac.new(key.encode(), _KEY_ID, hashlib.sha256).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Signatures:
    """What a check of the signed heads found.

    Attributes:
        problems: one sentence each.
        signed_at: when a head was signed last with one of the keys, in Unix time in seconds; None for never.
        unchecked: how many heads were signed with keys that weren't given, by the IDs of those.
    """

    problems: Sequence[str]
    signed_at: float | None
    unchecked: Mapping[str, int]


def check_signatures(connection: Connection, keys: Sequence[str]) -> Signatures:
    """Compare the signed heads with the trail."""
    known = {key_id(key): key for key in keys}
    problems: list[str] = []
    unchecked: Counter[str] = Counter()
    signed_at: float | None = None
    for row in connection.execute(_SIGNED):
        if row.key_id not in known:
            unchecked[row.key_id] += 1
            continue
        if not hmac.compare_digest(row.signature, signature(known[row.key_id], row.seq, row.hash)):
            problems.append(f"The signature of row {row.seq} isn't of this key: it was forged, or the key is another.")
            continue
        signed_at = max(row.at, signed_at or row.at)
        if row.there is None:
            problems.append(f"Row {row.seq} was signed and is missing: the trail was truncated.")
        elif row.there != row.hash:
            problems.append(f"Row {row.seq} isn't what was signed: the trail was rewritten.")
    if unchecked and signed_at is None:
        problems.append("No head was signed with a key that was given: pass the right ones, or somebody replaced them.")
    return Signatures(problems, signed_at, unchecked)
