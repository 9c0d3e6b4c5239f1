"""The tables. A decision's row is at once the job, the key against duplicates and the anchor of its audit rows.

Times are seconds since 1970 on the database's clock, so that replicas need not agree on theirs.
"""

from sqlalchemy import Column, Double, Index, Integer, MetaData, Table, Text

metadata = MetaData()

RECEIVED, ACTIVE, DONE, VOID = "received", "active", "done", "void"

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
    Column("done_at", Double),
    # Who works on it, and until when without a sign of life; the fence grows with every change of hands.
    Column("owner", Text, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("fence", Integer, nullable=False),
)

Index(
    "one_active_decision_per_remediation",
    decisions.c.cluster_id,
    decisions.c.instance_id,
    decisions.c.remediation_id,
    unique=True,
    sqlite_where=decisions.c.status == ACTIVE,
    postgresql_where=decisions.c.status == ACTIVE,
)
Index(
    "unfinished_decisions",
    decisions.c.lease_until,
    sqlite_where=decisions.c.status.in_((RECEIVED, ACTIVE)),
    postgresql_where=decisions.c.status.in_((RECEIVED, ACTIVE)),
)
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
