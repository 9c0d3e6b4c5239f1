"""The tables of release 0.1, as it made them."""

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations


def create_tables(connection: sa.Connection) -> None:
    """Create the tables of release 0.1."""
    op = Operations(MigrationContext.configure(connection))
    op.create_table(
        "decisions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("dedup_key", sa.Text, nullable=False, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("cluster_id", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("remediation_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("request", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("active_at", sa.Double),
        sa.Column("sent_at", sa.Double),
        sa.Column("seen_mode", sa.Text),
        sa.Column("seen_state", sa.Text),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.Column("deliveries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("done_at", sa.Double),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("batch_id", sa.Text),
        sa.Column("batch_number", sa.Integer),
        sa.Column("summary", sa.Text),
    )
    op.create_index("decisions_by_status", "decisions", ["status", "cluster_id"])
    op.create_index("decisions_of_a_batch", "decisions", ["batch_id", "batch_number"])
    op.create_index("decisions_of_a_cluster", "decisions", ["cluster_id", "answered_at"])
    op.create_index("decisions_of_a_remediation", "decisions", ["cluster_id", "instance_id", "remediation_id"])
    op.create_index("finished_decisions", "decisions", ["done_at"])
    active = sa.text("status = 'active'")
    op.create_index(
        "one_active_decision_per_remediation",
        "decisions",
        ["cluster_id", "instance_id", "remediation_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("team_id", sa.Text),
        sa.Column("channel_id", sa.Text),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("cluster_id", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("remediation_id", sa.Text, nullable=False),
        sa.Column("shown_mode", sa.Text),
        sa.Column("shown_state", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("state", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("request_id", sa.Text),
    )
    op.create_index("audit_by_remediation", "audit", ["remediation_id"])
    op.create_index("audit_by_user", "audit", ["user_id"])
    op.create_table(
        "alerts",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, primary_key=True),
        sa.Column("remediation_id", sa.Text, primary_key=True),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("alerts_by_age", "alerts", ["seen_at"])
    op.create_index("alerts_by_state", "alerts", ["state", "seen_at"])
    op.create_index("alerts_of_a_message", "alerts", ["message_id"])
    op.create_index("open_alerts", "alerts", ["is_open", "cluster_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("is_digest", sa.Boolean, nullable=False),
        sa.Column("cluster_id", sa.Text),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("ts", sa.Text),
        sa.Column("posted_at", sa.Double, nullable=False),
        sa.Column("last_added_at", sa.Double, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("due_messages", "messages", ["is_open", "next_at"])
    op.create_index("messages_by_age", "messages", ["opened_at"])
    op.create_index("messages_by_ts", "messages", ["ts"])
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("stopped", sa.Text),
    )
    op.create_index("batches_of_a_digest", "batches", ["digest_id"])
    op.create_table(
        "first_approvals",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, primary_key=True),
        sa.Column("remediation_id", sa.Text, primary_key=True),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("episode", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "pauses",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "faults",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("brake", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("done_at", sa.Double),
    )
    op.create_index("inbox_by_end", "inbox", ["done_at", "lease_until"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_table(
        "outages",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("told", sa.Boolean, nullable=False),
        sa.Column("channel_id", sa.Text, nullable=False, server_default=""),
        sa.Column("ts", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("outbox_of_a_subject", "outbox", ["target", "subject", "id"])
    op.create_table(
        "signed_heads",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("signature", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
    )
