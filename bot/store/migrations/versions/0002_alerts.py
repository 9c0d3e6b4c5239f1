"""Alerts, digests, batches of decisions, first approvals, the lease of the watch, and outages."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _ids() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in ("cluster_id", "instance_id", "remediation_id")]


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "alerts",
        *_ids(),
        sa.Column("digest_id", sa.Text),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("ts", sa.Text),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("due_alerts", "alerts", ["is_open", "next_at"])
    op.create_index("alerts_of_a_digest", "alerts", ["digest_id"])
    op.create_index("alerts_by_age", "alerts", ["cluster_id", "seen_at"])
    op.create_table(
        "digests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("ts", sa.Text),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("due_digests", "digests", ["is_open", "next_at"])
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("batches_of_a_digest", "batches", ["digest_id"])
    op.create_index("batches_by_status", "batches", ["status", "lease_until"])
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("cluster_id", "instance_id", "remediation_id", "node")),
        sa.Column("shown_mode", sa.Text),
        sa.Column("shown_state", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("summary", sa.Text),
    )
    op.create_table(
        "first_approvals",
        *_ids(),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
    )
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
    )
