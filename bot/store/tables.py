"""The tables. A decision's row is at once the job, the key against duplicates and the anchor of its audit rows.

Times are Unix times in seconds on the database's clock, so that replicas need not agree on theirs.
"""

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
)

from bot.errors import OutcomeKind
from bot.models import RemediationRef

metadata = MetaData()

# A decision is received, claims its remediation (active), has an outcome that is yet to be delivered (answered), and is
# done, or given up (undelivered). Queued: it waits for its turn in a batch. Void: it was never begun. Set aside: no
# version that ran here could read it.
QUEUED = "queued"
RECEIVED, ACTIVE, ANSWERED, DONE = "received", "active", "answered", "done"
UNDELIVERED, VOID, SET_ASIDE = "undelivered", "void", "set aside"
DOUBTFUL = tuple(kind.value for kind in OutcomeKind if kind.is_doubtful)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("cluster_id", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("remediation_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    # What was asked and where its answer goes, as JSON; blanked when it is answered, since it holds a response_url.
    Column("request", Text),
    # What to tell, as JSON, from the moment in which the outcome is known until it is told.
    Column("answer", Text),
    Column("outcome", Text),
    Column("received_at", Double, nullable=False),
    Column("active_at", Double),
    Column("sent_at", Double),
    Column("seen_mode", Text),
    Column("seen_state", Text),
    Column("repeats", Integer, nullable=False, default=0),
    Column("answered_at", Double),
    Column("deliveries", Integer, nullable=False, server_default="0"),
    Column("done_at", Double),
    # Who works on it, and until when without a sign of life; the fence grows with every change of hands.
    Column("owner", Text, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("fence", Integer, nullable=False),
    # Of a batch: which, its place in the order, and its result in a sentence.
    Column("batch_id", Text),
    Column("batch_number", Integer),
    Column("summary", Text),
)

Index("decisions_of_a_batch", decisions.c.batch_id, decisions.c.batch_number)
Index(
    "one_active_decision_per_remediation",
    decisions.c.cluster_id,
    decisions.c.instance_id,
    decisions.c.remediation_id,
    unique=True,
    sqlite_where=decisions.c.status == ACTIVE,
    postgresql_where=decisions.c.status == ACTIVE,
)
Index("decisions_by_status", decisions.c.status, decisions.c.cluster_id)
Index("decisions_of_a_remediation", decisions.c.cluster_id, decisions.c.instance_id, decisions.c.remediation_id)
Index("decisions_of_a_cluster", decisions.c.cluster_id, decisions.c.answered_at)
Index("finished_decisions", decisions.c.done_at)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("team_id", Text),
    Column("channel_id", Text),
    Column("user_id", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("cluster_id", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("remediation_id", Text, nullable=False),
    Column("shown_mode", Text),
    Column("shown_state", Text),
    Column("reason", Text),
    Column("outcome", Text),
    Column("state", Text),
    Column("http_status", Integer),
    Column("request_id", Text),
)

Index("audit_by_remediation", audit.c.remediation_id)
Index("audit_by_user", audit.c.user_id)


_IDS = ("cluster_id", "instance_id", "remediation_id")


def _ids() -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in _IDS]


# The body of an alert or message is the whole value as JSON; the columns beside it are those that are searched by.
alerts = Table(
    "alerts",
    metadata,
    *_ids(),
    Column("message_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("body", Text, nullable=False),
)
Index("alerts_of_a_message", alerts.c.message_id)
Index("open_alerts", alerts.c.is_open, alerts.c.cluster_id)
Index("alerts_by_state", alerts.c.state, alerts.c.seen_at)
Index("alerts_by_age", alerts.c.seen_at)

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("is_digest", Boolean, nullable=False),
    Column("cluster_id", Text),
    Column("is_open", Boolean, nullable=False),
    Column("next_at", Double),
    Column("ts", Text),
    Column("posted_at", Double, nullable=False),
    Column("last_added_at", Double, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("version", Integer, nullable=False, default=0),  # grows with each change of it or of what it shows
    Column("body", Text, nullable=False),
)
Index("due_messages", messages.c.is_open, messages.c.next_at)
Index("messages_by_ts", messages.c.ts)
Index("messages_by_age", messages.c.opened_at)

# What was selected, and whose it is; the decisions hold what became of it.
batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("body", Text, nullable=False),
    Column("stopped", Text),
)
Index("batches_of_a_digest", batches.c.digest_id)

first_approvals = Table(
    "first_approvals",
    metadata,
    *_ids(),
    Column("mode", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("episode", Text, nullable=False, server_default=""),
)

# Approvals are paused in a cluster, or in all where the ID is empty.
pauses = Table(
    "pauses",
    metadata,
    Column("cluster_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("others", Text, nullable=False, server_default="[]"),  # shorter pauses of other people
)

# What was acked that is no decision. The body is what was asked as JSON, until it is done; the result is its change's.
inbox = Table(
    "inbox",
    metadata,
    Column("key", Text, primary_key=True),
    Column("body", Text),
    Column("result", Text),
    Column("received_at", Double, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("done_at", Double),
)
Index("inbox_by_end", inbox.c.done_at, inbox.c.lease_until)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
)

outages = Table(
    "outages",
    metadata,
    Column("cluster_id", Text, primary_key=True),
    Column("since", Double, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("channel_id", Text, nullable=False, server_default=""),
    Column("ts", Text, nullable=False, server_default=""),
)

# What is wrong in a cluster as a whole, and the message about it; `brake` says how much is broken, while it is latched.
faults = Table(
    "faults",
    metadata,
    Column("cluster_id", Text, primary_key=True),
    Column("brake", Text),
    Column("body", Text, nullable=False),
)

# Events for other tools, in the order in which they are told.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("target", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
)
Index("outbox_of_a_subject", outbox.c.target, outbox.c.subject, outbox.c.id)

signed_heads = Table(
    "signed_heads",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("signature", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("key_id", Text, nullable=False, server_default=""),
)

# How far something has got in the audit trail.
cursors = Table("cursors", metadata, Column("name", Text, primary_key=True), Column("seq", Integer, nullable=False))


def one_remediation(columns: Any) -> ColumnElement[bool]:  # noqa: ANN401 - of any table with the three IDs
    """Build the clause that chooses one remediation; its values come from `key_of`."""
    return and_(*(columns[name] == bindparam(f"b_{name}") for name in _IDS))


def key_of(ref: RemediationRef) -> dict[str, str]:
    """Return the values for `one_remediation`."""
    return {f"b_{name}": value for name, value in ids_of(ref).items()}


def ids_of(ref: RemediationRef) -> dict[str, str]:
    """Return the three columns of a remediation."""
    return {"cluster_id": ref.cluster_id, "instance_id": ref.instance_id, "remediation_id": ref.remediation_id}
