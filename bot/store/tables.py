"""The tables. A decision's row is at once the job, the key against duplicates and the anchor of its audit rows.

Times are Unix times in seconds on the database's clock, so that replicas need not agree on theirs.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from bot.models import RemediationRef

metadata = MetaData()
_IDS = ("cluster_id", "instance_id", "remediation_id")  # of a remediation


def _key(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _required(*names: str, kind: type[TypeEngine[Any]] = Text, **more: Any) -> list[Column[Any]]:  # noqa: ANN401 - what Column takes
    return [Column(name, kind, nullable=False, **more) for name in names]


def _times(*names: str, **more: str) -> list[Column[Any]]:
    return _required(*names, kind=Double, **more)


def _optional(*names: str, kind: type[TypeEngine[Any]] = Text) -> list[Column[Any]]:
    return [Column(name, kind) for name in names]


# A decision is received, claims its remediation (active), has an outcome that is yet to be delivered (answered), and is
# done, or given up (undelivered). Queued: it waits for its turn in a batch. Void: it was never begun. Set aside: no
# version that ran here could read it.
QUEUED = "queued"
RECEIVED = "received"
ACTIVE = "active"
ANSWERED = "answered"
DONE = "done"
UNDELIVERED = "undelivered"
VOID = "void"
SET_ASIDE = "set aside"

decisions = Table(
    "decisions",
    metadata,
    *_key("id"),
    *_required("dedup_key", unique=True),
    *_required("status", "verb", *_IDS, "user_id"),
    # What was asked and where its answer goes, as JSON; blanked when it is answered, since it holds a response_url.
    *_optional("request"),
    # What to tell, as JSON, from the moment in which the outcome is known until it is told.
    *_optional("answer", "outcome"),
    *_times("received_at"),
    *_optional("active_at", "sent_at", kind=Double),
    *_optional("seen_mode", "seen_state"),
    *_required("repeats", kind=Integer),
    *_optional("answered_at", kind=Double),
    *_required("deliveries", kind=Integer, server_default="0"),
    *_optional("done_at", kind=Double),
    # Who works on it, and until when without a sign of life; the fence grows with every change of hands.
    *_required("owner"),
    *_times("lease_until"),
    *_required("fence", kind=Integer),
    # Of a batch: which, its place in the order, and its result in a sentence.
    *_optional("batch_id"),
    *_optional("batch_number", kind=Integer),
    *_optional("summary"),
    Index("decisions_of_a_batch", "batch_id", "batch_number"),
    Index("decisions_by_status", "status", "cluster_id"),
    Index("decisions_of_a_remediation", *_IDS),
    Index("decisions_of_a_cluster", "cluster_id", "answered_at"),
    Index("finished_decisions", "done_at"),
    Index(
        "one_active_decision_per_remediation",
        *_IDS,
        unique=True,
        sqlite_where=text("status = 'active'"),
        postgresql_where=text("status = 'active'"),
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *_required("hash", "previous"),
    *_times("at"),
    *_required("event", "decision_id"),
    *_optional("team_id", "channel_id"),
    *_required("user_id", "verb", *_IDS),
    *_optional("shown_mode", "shown_state", "reason", "outcome", "state"),
    *_optional("http_status", kind=Integer),
    *_optional("request_id"),
    Index("audit_by_remediation", "remediation_id"),
    Index("audit_by_user", "user_id"),
)


# The body of an alert or message is the whole value as JSON; the columns beside it are those that are searched by.
alerts = Table(
    "alerts",
    metadata,
    *_key(*_IDS),
    *_required("message_id", "state"),
    *_required("is_open", kind=Boolean),
    *_times("seen_at"),
    *_times("changed_at", server_default="0"),
    *_required("fingerprint", "body"),
    Index("alerts_of_a_message", "message_id"),
    Index("open_alerts", "is_open", "cluster_id"),
    Index("alerts_by_state", "state", "changed_at"),
    Index("alerts_by_age", "seen_at"),
    Index("alerts_by_change", "changed_at"),
)

messages = Table(
    "messages",
    metadata,
    *_key("id"),
    *_required("is_digest", kind=Boolean),
    *_optional("cluster_id"),
    *_required("is_open", kind=Boolean),
    *_optional("next_at", kind=Double),
    *_optional("ts"),
    *_times("posted_at", "last_added_at", "opened_at"),
    *_required("version", kind=Integer),  # grows with each change of it or of what it shows
    *_required("body"),
    Index("due_messages", "is_open", "next_at"),
    Index("messages_by_ts", "ts"),
    Index("messages_by_age", "opened_at"),
)

# What was selected, and whose it is; the decisions hold what became of it.
batches = Table(
    "batches",
    metadata,
    *_key("id"),
    *_required("digest_id", "status"),
    *_times("asked_at"),
    *_required("body"),
    *_optional("stopped"),
    Index("batches_of_a_digest", "digest_id"),
)

first_approvals = Table(
    "first_approvals",
    metadata,
    *_key(*_IDS),
    *_required("mode", "user_id"),
    *_times("at"),
    *_required("job_id"),
    *_required("episode", server_default=""),
)

# Approvals are paused in a cluster, or in all where the ID is empty.
pauses = Table(
    "pauses",
    metadata,
    *_key("cluster_id"),
    *_required("user_id"),
    *_times("until"),
    *_required("reason", server_default=""),
    *_required("others", server_default="[]"),  # shorter pauses of other people
)

# What was acked that is no decision. The body is what was asked as JSON, until it is done; the result is its change's.
inbox = Table(
    "inbox",
    metadata,
    *_key("key"),
    *_optional("body", "result"),
    *_times("received_at"),
    *_required("owner"),
    *_times("lease_until"),
    *_optional("done_at", kind=Double),
    Index("inbox_by_end", "done_at", "lease_until"),
)

leases = Table(
    "leases",
    metadata,
    *_key("name"),
    *_required("owner"),
    *_times("until"),
)

outages = Table(
    "outages",
    metadata,
    *_key("cluster_id"),
    *_times("since"),
    *_required("told", kind=Boolean),
    *_required("channel_id", "ts", "mark", server_default=""),
    *_times("sent_at", server_default="0"),
    *_required("over_mark", server_default=""),
)

# The last edits that Slack hasn't taken yet, of messages that are left; the body is the message as JSON.
last_edits = Table("last_edits", metadata, *_key("channel_id", "ts"), *_required("body"))

# What is wrong in a cluster as a whole, and the message about it; `brake` says how much is broken, while it is latched.
faults = Table(
    "faults",
    metadata,
    *_key("cluster_id"),
    *_optional("brake"),
    *_required("body"),
)

# What clusters are called, as the watch knows it, and how many nodes they have.
clusters = Table("clusters", metadata, *_key("cluster_id"), *_required("name"), *_optional("nodes", kind=Integer))

# Events for other tools, in the order in which they are told.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    *_required("target", "subject", "body"),
    *_times("created_at", "next_at"),
    *_required("attempts", kind=Integer),
    Index("outbox_of_a_subject", "target", "subject", "id"),
    Index("due_events", "target", "next_at", "id"),
)

signed_heads = Table(
    "signed_heads",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *_key("signature"),
    *_required("hash"),
    *_times("at"),
    *_required("key_id", server_default=""),
)

# How far something has got in the audit trail.
cursors = Table("cursors", metadata, *_key("name"), *_required("seq", kind=Integer))


# So that the watch looks at messages now.
WAKE = update(messages).values(next_at=0.0, version=messages.c.version + 1)


def upsert(table: Table, where: ColumnElement[bool] | None = None) -> Insert:
    """Build the statement that writes a row, in place of the one with the same key; of that, only if `where` holds."""
    written = insert(table)
    values = {column.name: column for column in written.excluded if not column.primary_key}
    return written.on_conflict_do_update(index_elements=table.primary_key, set_=values, where=where)


def ids_in(columns: Any) -> list[Any]:  # noqa: ANN401 - of any table with the three IDs
    """Return the columns that `ids_of` has the values of."""
    return [columns[name] for name in _IDS]


def one_remediation(columns: Any) -> ColumnElement[bool]:  # noqa: ANN401 - of any table with the three IDs
    """Build the clause that chooses one remediation; its values come from `key_of`."""
    return and_(*(columns[name] == bindparam(f"b_{name}") for name in _IDS))


def same_remediation(columns: Any, others: Any) -> ColumnElement[bool]:  # noqa: ANN401 - of any tables with the three IDs
    """Build the clause that joins rows about the same remediation."""
    return and_(*(columns[name] == others[name] for name in _IDS))


def key_of(ref: RemediationRef) -> dict[str, str]:
    """Return the values for `one_remediation`."""
    return {f"b_{name}": value for name, value in ids_of(ref).items()}


def refs_in(rows: Iterable[Any]) -> list[RemediationRef]:
    """Return the remediations of rows that begin with the columns of `ids_in`."""
    return [RemediationRef(*row[:3]) for row in rows]


def ids_of(ref: RemediationRef) -> dict[str, str]:
    """Return the three columns of a remediation."""
    return {"cluster_id": ref.cluster_id, "instance_id": ref.instance_id, "remediation_id": ref.remediation_id}
