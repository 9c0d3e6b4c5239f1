"""A batch is decisions: each of its items becomes a row of `decisions`."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_IDS = ("cluster_id", "instance_id", "remediation_id")
_STOPPED = {"the person": "not allowed", "as many": "repair limit", "Together has": "trouble", "the bot": "too old"}


def upgrade() -> None:
    """Add the columns, and copy the items. What a running batch has not begun is not attempted any more."""
    op.add_column("decisions", sa.Column("batch_id", sa.Text))
    op.add_column("decisions", sa.Column("batch_number", sa.Integer))
    op.add_column("decisions", sa.Column("summary", sa.Text))
    op.create_index("decisions_of_a_batch", "decisions", ["batch_id", "batch_number"])
    queued = sa.text("status = 'queued'")
    op.create_index("queued_decisions", "decisions", ["batch_id"], sqlite_where=queued, postgresql_where=queued)
    op.drop_index("batches_by_status", "batches")
    op.drop_column("batches", "lease_until")
    op.add_column("batches", sa.Column("stopped", sa.Text))
    connection = op.get_bind()
    for batch in connection.execute(sa.text("SELECT id, status, asked_at, body FROM batches")).mappings().all():
        chosen = sa.text("SELECT * FROM batch_items WHERE batch_id = :id ORDER BY number")
        items = connection.execute(chosen, {"id": batch["id"]}).mappings().all()
        body = json.loads(batch["body"])
        said = body.pop("stopped", "")
        stopped = next((reason for words, reason in _STOPPED.items() if said.startswith(words)), None)
        if batch["status"] in {"running", "done"}:
            for item in items:
                connection.execute(sa.text(_MOVE), _decision(batch, body, item))
            if batch["status"] == "running":
                stopped = "too old"
        written = sa.text("""
            UPDATE batches SET body = :body, stopped = :stopped,
                status = CASE WHEN status IN ('running', 'done') THEN 'confirmed' ELSE status END
            WHERE id = :id
        """)
        body |= {"items": [_item(item) for item in items]}
        connection.execute(written, {"id": batch["id"], "body": json.dumps(body), "stopped": stopped})
    op.drop_table("batch_items")


_MOVE = """
    INSERT INTO decisions (id, dedup_key, status, verb, cluster_id, instance_id, remediation_id, user_id, received_at,
        done_at, repeats, deliveries, owner, lease_until, fence, batch_id, batch_number, summary)
    VALUES (:id, :key, 'void', :verb, :cluster_id, :instance_id, :remediation_id, :user_id, :at, :at, 0, 0, '', 0, 1,
        :batch_id, :number, :summary)
    ON CONFLICT (dedup_key) DO UPDATE SET batch_id = :batch_id, batch_number = :number, summary = :summary
"""


def _decision(batch: sa.RowMapping, body: dict[str, Any], item: sa.RowMapping) -> dict[str, Any]:
    return {
        "id": f"{batch['id']}-{item['number']}",
        "key": f"batch {batch['id']} {item['number']}",
        "verb": body["verb"],
        "user_id": body["actor"]["user_id"],
        "at": batch["asked_at"],
        "batch_id": batch["id"],
        "number": item["number"],
        "summary": item["summary"],
        **{name: item[name] for name in _IDS},
    }


def _item(item: sa.RowMapping) -> dict[str, Any]:
    return {
        "number": item["number"],
        "ref": {name: item[name] for name in _IDS},
        "node": item["node"],
        "shown": {"mode": item["shown_mode"], "state": item["shown_state"]},
    }
