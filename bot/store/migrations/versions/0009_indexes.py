"""What a statement reads must not grow with the years: each finds its rows through an index.

SQLite never used the partial index of unfinished decisions: its condition is a list, and statements have parameters.
"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Replace the partial indexes, and add what was missing."""
    op.drop_index("unfinished_decisions", "decisions")
    op.drop_index("queued_decisions", "decisions")
    op.drop_index("alerts_by_age", "alerts")
    op.create_index("decisions_by_status", "decisions", ["status", "cluster_id"])
    op.create_index("decisions_of_a_remediation", "decisions", ["cluster_id", "instance_id", "remediation_id"])
    op.create_index("decisions_of_a_cluster", "decisions", ["cluster_id", "answered_at"])
    op.create_index("open_alerts", "alerts", ["is_open", "cluster_id"])
    op.create_index("alerts_by_state", "alerts", ["state", "seen_at"])
    op.create_index("alerts_by_age", "alerts", ["seen_at"])
    op.create_index("messages_by_ts", "messages", ["ts"])
    op.create_index("messages_by_age", "messages", ["opened_at"])
    # Before 0003 an outcome had no moment but that of its end. What was never begun has none.
    op.execute(
        "UPDATE decisions SET answered_at = done_at WHERE answered_at IS NULL AND status IN ('done', 'undelivered')"
    )
