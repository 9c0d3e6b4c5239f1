"""The audit trail: append-only rows, each with the hash of the one before, how far it was copied, and signed heads."""

import hashlib
import hmac
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from bot.errors import DOUBTFUL
from bot.models import (
    DOUBT_SECONDS,
    RULES,
    AuditNote,
    DecidedBy,
    Job,
    Outcome,
    PastDecision,
    Remediation,
    RemediationRef,
    Verb,
    token_of,
    unix,
)
from bot.store.connection import Connection, Record, Rows, now, read_clock
from bot.store.database import Database
from bot.store.tables import audit, cursors, ids_of, key_of, one_remediation, signed_heads, upsert

OUTCOME = "outcome"
SEND, REPEAT = SENT = "send", "repeat"
_LOCK = text("SELECT pg_advisory_xact_lock(7265646502)")  # any number that nobody else in this database uses
GENESIS = "0" * 64
_BEFORE_ALL = 0, GENESIS
_PAGE = 1000
# Rows are numbered from 1: nobody but somebody else adds others.
_LATEST_FIRST = select(audit).where(audit.c.seq > 0).order_by(audit.c.seq.desc())
_LAST = _LATEST_FIRST.with_only_columns(audit.c.seq, audit.c.hash).limit(1)
_INSERT = insert(audit)
_OUTCOMES = [*(rule.done for rule in RULES.values() if rule.decides), *DOUBTFUL]
_WHO_DECIDED = _LATEST_FIRST.where(
    one_remediation(audit.c),
    or_(audit.c.outcome.in_(_OUTCOMES), audit.c.event.in_(SENT)),
    audit.c.verb.in_(list(Verb)),
)
_ENDED = _LATEST_FIRST.where(audit.c.event == OUTCOME, audit.c.verb != Verb.REFRESH).limit(bindparam("b_limit"))
_BY_USER, _ON_ONE = _ENDED.where(audit.c.user_id == bindparam("b_user")), _ENDED.where(one_remediation(audit.c))
_HASHED = [column.name for column in audit.columns if column.name != "hash"]
_COPY = "copy"
_COPIED = select(cursors.c.seq).where(cursors.c.name == _COPY).scalar_subquery()
_NEWS = select(audit).where(audit.c.seq > func.coalesce(_COPIED, 0)).order_by(audit.c.seq).limit(_PAGE)
_MOVE = upsert(cursors, where=cursors.c.seq < bindparam("b_seq"))
_SIGN = insert(signed_heads).values(at=now()).on_conflict_do_nothing()
_SIGNED = (
    select(signed_heads, audit.c.hash.label("there"), audit.c.at.label("there_at"))
    .outerjoin(audit, audit.c.seq == signed_heads.c.seq)
    .order_by(signed_heads.c.seq, signed_heads.c.at)
)
_UNSIGNED = select(func.min(audit.c.seq), func.max(audit.c.seq), func.max(audit.c.at) - func.min(audit.c.at)).where(
    audit.c.seq > bindparam("b_seq")
)
UNSIGNED_SECONDS = 7200.0  # of rows that the bot may leave unsigned: it signs every hour, at its start, and at its end
_SIGNED_AS = b"remediation-bot audit head 1\n"  # what is signed begins with what it is
_KEY_ID = b"remediation-bot audit key 1\n"


@dataclass(frozen=True, slots=True)
class TrailCheck:
    """What a check of the trail found.

    Attributes:
        rows: how many rows it has.
        head: the hash of the last one.
        problems: what is wrong, one sentence each; empty when the trail is intact.
    """

    rows: int
    head: str
    problems: Sequence[str]


def lock_trail(connection: Connection) -> Rows:
    """Ask for the last row, and let nobody else append one until the transaction ends. SQLite has one writer anyway."""
    if connection.is_postgresql:
        connection.execute(_LOCK)
    return connection.execute(_LAST)


def append(connection: Connection, fields: Record, end: Rows) -> int:
    """Append a row, inside the transaction of what it records. Returns its number.

    Args:
        fields: the columns, but for `seq`, `hash` and `previous`; those without a value may be missing.
        end: of the trail, as `lock_trail` says it, which may be asked together with something else.
    """
    seq, previous = end.first() or _BEFORE_ALL
    row = {name: storable(value) for name, value in fields.items()} | {"seq": seq + 1, "previous": previous}
    connection.execute(_INSERT, row, hash=digest(row))
    return seq + 1


def record(  # noqa: PLR0913, PLR0917 - what has happened to what, when, and after what
    connection: Connection, job: Job, event: str, outcome: Outcome | None, at: float, end: Rows
) -> int:
    """Append what happened to a decision at a moment, in Unix time in seconds; like `append`."""
    request = job.request
    fields = {
        "at": at,
        "event": event,
        "decision_id": job.id,
        "team_id": request.actor.team_id,
        "channel_id": request.place.channel_id,
        "user_id": request.actor.user_id,
        "verb": request.verb.value,
        **ids_of(request.ref),
        "shown_mode": request.saw.mode,
        "shown_state": request.saw.state,
        "reason": request.reason or None,
    }
    if outcome:
        fields |= {"outcome": outcome.kind.value, "state": outcome.state}
    if outcome and outcome.settled_by:
        fields |= {"http_status": outcome.settled_by.http_status, "request_id": outcome.settled_by.request_id}
    return append(connection, fields, end)


def note(connection: Connection, noted: AuditNote) -> None:
    """Append what is about no decision."""
    fields = {
        "at": read_clock(connection),
        "event": noted.event,
        "decision_id": noted.batch_id,
        "team_id": noted.actor.team_id,
        "channel_id": noted.channel_id,
        "user_id": noted.actor.user_id,
        "verb": noted.verb.value if noted.verb else "",
        "outcome": noted.kind.value if noted.kind else None,
        "cluster_id": noted.cluster_id,
        "instance_id": "",
        "remediation_id": "",
        "reason": noted.reason or None,
    }
    append(connection, fields, lock_trail(connection))


def last_row(connection: Connection) -> tuple[int, str]:
    """Return the number and the hash of the last row; 0 and `GENESIS` for an empty trail."""
    seq, hashed = connection.execute(_LAST).first() or _BEFORE_ALL
    return seq, hashed


def who_decided(connection: Connection, present: Remediation) -> DecidedBy | None:
    """Return who brought a remediation into its state through this bot, where that is known.

    A decision whose outcome stayed in doubt counts when Together's own record is of it; a cancellation, which leaves no
    comment, counts as apparently theirs when the times agree, unless it was seen as somebody else's before it was sent.
    """
    in_doubt: DecidedBy | None = None
    lasted = present.changed_at - unix(present.create_time)
    found = connection.execute(_WHO_DECIDED, key_of(present.ref))
    sent = defaultdict[str, list[float]](list)
    for row in found:
        if row.event in SENT:
            sent[row.decision_id].append(row.at)
    for row in found:
        rule = RULES[Verb(row.verb)]
        sent_at = sent[row.decision_id] or [row.at]  # its outcome may have been recorded much later
        is_of_another = max(sent_at) < unix(present.create_time) - DOUBT_SECONDS
        if row.event in SENT or present.state not in rule.effect or is_of_another:
            continue
        is_own = present.is_reviewed_with(token_of(row.decision_id))
        is_cancel = row.verb == Verb.CANCEL
        # Else somebody else has decided after that.
        is_as_left = unix(present.end_time if is_cancel else present.review_time) < row.at + DOUBT_SECONDS
        is_done = row.outcome == rule.done and is_as_left
        is_sure = is_own or (is_done and not (is_cancel and row.http_status is None))  # else it was only read back
        # It ended when a decision in doubt was on its way: cancel leaves no other trace.
        ended_then = any(abs(present.changed_at - at) < DOUBT_SECONDS for at in sent_at)
        if not (is_sure or is_done or (is_cancel and ended_then)):
            continue
        mode = row.shown_mode or ""
        decided = DecidedBy(
            Verb(row.verb), row.user_id, row.at, row.reason or "", is_sure=is_sure, mode=mode,
            was_in_doubt=row.outcome in DOUBTFUL,
        )  # fmt: skip
        if is_sure or is_done:
            # It can't have opened again between two decisions that are closer than it has lasted.
            was_over = in_doubt is None or (ended_then and in_doubt.at - row.at < lasted)
            return decided if was_over else in_doubt
        # Of several, the first that was recorded once it had ended.
        if in_doubt is None or row.at >= present.changed_at:
            in_doubt = decided
    return in_doubt


def storable(value: Any) -> Any:  # noqa: ANN401 - of any column
    """Take out of a text what UTF-8 or PostgreSQL can't hold: lone surrogates and NUL."""
    return value.encode(errors="replace").decode().replace("\0", "\ufffd") if isinstance(value, str) else value


def digest(row: Record) -> str:
    """Return the hash of a row: over every column but the hash itself, and so over the row before."""
    columns = {name: row.get(name) for name in _HASHED}
    return hashlib.sha256(json.dumps(columns, sort_keys=True, ensure_ascii=True, default=repr).encode()).hexdigest()


async def rows(
    database: Database, *, since: float = 0, remediation: str | None = None, user: str | None = None
) -> AsyncIterator[Record]:
    """Read the trail, oldest first, a page at a time.

    Args:
        since: Unix time in seconds; 0 for all, also those whose time somebody has set before that.
        remediation: only rows about this remediation ID.
        user: only rows of this Slack user ID.
    """
    chosen: Select[Any] = select(audit).order_by(audit.c.seq).limit(_PAGE)
    if since:
        chosen = chosen.where(audit.c.at >= since)
    if remediation is not None:
        chosen = chosen.where(audit.c.remediation_id == remediation)
    if user is not None:
        chosen = chosen.where(audit.c.user_id == user)
    after = chosen
    while True:
        page = (await database.read(Connection.execute, after)).mappings()
        for row in page:
            yield row
        if len(page) < _PAGE:
            return
        after = chosen.where(audit.c.seq > page[-1]["seq"])


async def outcomes(database: Database, of: RemediationRef | str, limit: int) -> Sequence[PastDecision]:
    """Return how the last decisions ended, the latest first: those on a remediation, or of a Slack user ID."""
    chosen, values = (_BY_USER, {"b_user": of}) if isinstance(of, str) else (_ON_ONE, key_of(of))
    past = await database.read(Connection.execute, chosen, values, b_limit=limit)
    return [
        PastDecision(
            RemediationRef(row.cluster_id, row.instance_id, row.remediation_id),
            Verb(row.verb),
            row.user_id,
            row.at,
            row.outcome or "",
            row.reason or "",
            is_sure=not (row.outcome == RULES[Verb.CANCEL].done and row.http_status is None),
        )
        for row in past
        if row.verb in set(Verb)
    ]


async def verify(database: Database, expected: str | None = None) -> TrailCheck:
    """Find every changed, missing or reordered row.

    Args:
        expected: a head that was noted earlier; when no row has it any more, the trail was truncated or rewritten.
    """
    problems: list[str] = []
    previous = GENESIS
    seq = 0
    seen = {GENESIS}
    async for row in rows(database):
        if row["seq"] < 1:
            problems.append(f"Row {row['seq']} isn't of the trail, which begins with row 1: somebody else added it.")
            continue
        if row["seq"] != seq + 1:
            missing = f"Row {seq + 1} is" if row["seq"] == seq + 2 else f"Rows {seq + 1} to {row['seq'] - 1} are"
            problems.append(f"{missing} missing.")
        elif row["previous"] != previous:
            problems.append(f"Row {row['seq']} does not follow row {seq}: one of them was replaced or moved.")
        if row["hash"] != digest(row):
            problems.append(f"Row {row['seq']} was changed.")
        previous, seq = row["hash"], row["seq"]
        seen.add(previous)
    if expected is not None and expected not in seen:
        problems.append("The expected head is in no row: the trail was truncated or rewritten.")
    return TrailCheck(rows=seq, head=previous, problems=problems)


def news(connection: Connection) -> Sequence[Record]:
    """Return the next rows that the copy doesn't have yet."""
    return connection.execute(_NEWS).mappings()


def copied(connection: Connection, seq: int) -> None:
    """Note that the copy has all rows up to one."""
    connection.execute(_MOVE, name=_COPY, seq=seq, b_seq=seq)


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
        signed_at: the time of the last row whose hash was signed with one of the keys, in Unix time in seconds, which
            nobody can change without the key; None for none.
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
    signed = 0
    for row in connection.execute(_SIGNED):
        if row.key_id not in known:
            unchecked[row.key_id] += 1
            continue
        made = signature(known[row.key_id], row.seq, row.hash)
        if not hmac.compare_digest(str(row.signature).encode(), made.encode()):  # of texts it takes ASCII alone
            problems.append(f"The signature of row {row.seq} isn't of this key: it was forged, or the key is another.")
            continue
        signed_at, signed = row.there_at if row.there == row.hash else signed_at, row.seq
        if row.there is None:
            problems.append(f"Row {row.seq} was signed and is missing: the trail was truncated.")
        elif row.there != row.hash:
            problems.append(f"Row {row.seq} isn't what was signed: the trail was rewritten.")
    first, last, seconds = connection.execute(_UNSIGNED, b_seq=signed).first()
    why = "BOT_AUDIT_KEY wasn't set for the bot, or somebody removed signatures."
    if not signed and (first or unchecked):
        problems.append(f"No head was signed with a key that was given: {why}")
    elif first and seconds > UNSIGNED_SECONDS:
        problems.append(f"Rows {first} to {last} aren't signed with a key that was given: {why}")
    return Signatures(problems, signed_at, unchecked)
