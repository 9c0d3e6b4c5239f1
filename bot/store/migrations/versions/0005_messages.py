"""Cards and digests are messages: what they show stays in `alerts`, where they are goes into `messages`."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_IDS = ("cluster_id", "instance_id", "remediation_id")
_KEPT = ("channel_id", "ts", "drawn", "remind_from", "reminders", "next_at", "done")


def upgrade() -> None:
    """Make a message of each digest, and one for each alert that has a card of its own."""
    op.create_table(
        "messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("is_digest", sa.Boolean, nullable=False),
        sa.Column("cluster_id", sa.Text),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("ts", sa.Text),
        sa.Column("posted_at", sa.Double, nullable=False),
        sa.Column("grown_at", sa.Double, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("due_messages", "messages", ["is_open", "next_at"])
    op.add_column("alerts", sa.Column("message_id", sa.Text, nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("state", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT * FROM digests")).mappings().all():
        body = json.loads(row["body"])
        told = [*body.get("failures", []), *body.get("reported", [])]
        more = {"is_digest": True, "cluster_id": body["cluster_id"], "told": told}
        _add(connection, row, body, more | {name: body[name] for name in ("grown_at", "posted_at")})
    for row in connection.execute(sa.text("SELECT * FROM alerts")).mappings().all():
        body = json.loads(row["body"])
        ids = {name: row[name] for name in _IDS}
        message_id = row["digest_id"] or hashlib.blake2b(json.dumps(ids).encode(), digest_size=16).hexdigest()
        if not row["digest_id"]:
            # One that isn't known to be in the channel may be there all the same, and is looked for.
            more = {"lines": body["lines"], "is_frozen": body.get("is_lost", False), "posted_at": row["seen_at"]}
            more |= {"is_digest": False, "cluster_id": row["cluster_id"]}
            _add(connection, {**row, "id": message_id}, body, more)
        state = "WITHDRAWN" if body["vanished"] else body["remediation"]["state"]
        moved = sa.text("""
            UPDATE alerts SET message_id = :message_id, state = :state, is_open = :is_open, body = :body
            WHERE cluster_id = :cluster_id AND instance_id = :instance_id AND remediation_id = :remediation_id
        """)
        is_open = state not in {"WITHDRAWN", "SUCCEEDED", "FAILED", "CANCELLED", "AUTO_RESOLVED"}
        body["message_id"] = message_id
        connection.execute(
            moved, {"message_id": message_id, "state": state, "is_open": is_open, "body": json.dumps(body), **ids}
        )
    for name in ("due_alerts", "alerts_of_a_digest"):
        op.drop_index(name, "alerts")
    for name in ("digest_id", "next_at", "version", "ts"):
        op.drop_column("alerts", name)
    op.create_index("alerts_of_a_message", "alerts", ["message_id"])
    op.drop_table("digests")


def _add(connection: sa.Connection, row: Mapping[Any, Any], body: dict[str, Any], more: dict[str, Any]) -> None:
    message = {"id": row["id"], "opened_at": row["seen_at"], "grown_at": 0.0, **more}
    message |= {name: body[name] for name in _KEPT}
    # What was written without the body counts.
    message |= {"next_at": row["next_at"], "done": not row["is_open"]}
    columns = {name: row[name] for name in ("id", "is_open", "next_at", "ts")} | {
        name: message[name] for name in ("is_digest", "cluster_id", "posted_at", "grown_at", "opened_at")
    }
    written = sa.text("""
        INSERT INTO messages (id, is_digest, cluster_id, is_open, next_at, ts, posted_at, grown_at, opened_at, body)
        VALUES (:id, :is_digest, :cluster_id, :is_open, :next_at, :ts, :posted_at, :grown_at, :opened_at, :body)
    """)
    connection.execute(written, {**columns, "body": json.dumps(message)})
