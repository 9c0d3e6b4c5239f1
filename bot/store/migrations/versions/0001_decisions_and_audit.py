"""Decisions and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the two tables."""
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
        sa.Column("done_at", sa.Double),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
    )
    active, unfinished = sa.text("status = 'active'"), sa.text("status IN ('received', 'active')")
    op.create_index(
        "one_active_decision_per_remediation",
        "decisions",
        ["cluster_id", "instance_id", "remediation_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index(
        "unfinished_decisions", "decisions", ["lease_until"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_index("finished_decisions", "decisions", ["done_at"])
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
