"""Events as a webhook and PagerDuty expect them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

from bot.cards import labels
from bot.models import Event, EventKind, Json, short_hash

PREFIX = "whsec_"
_TYPE = "com.github.remediation-bot"
_MAX_SUMMARY = 1024  # PagerDuty, Events API v2, payload.summary
_MAX_KEY = 255  # PagerDuty, Events API v2, dedup_key
_ACTIONS = {
    EventKind.REMINDED: "trigger",
    EventKind.FAILED: "trigger",
    EventKind.STUCK: "trigger",
    EventKind.HELD: "acknowledge",
    EventKind.LOOKING: "acknowledge",
    EventKind.SUCCEEDED: "resolve",
    EventKind.RESOLVED: "resolve",
}


def cloud_event(event: Event) -> bytes:
    """Return a CloudEvent 1.0 in structured JSON (github.com/cloudevents/spec, JSON format)."""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": "/remediation-bot",
        "type": f"{_TYPE}.{event.kind}",
        "time": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {name: value for name, value in event.data.items() if value is not None},
    }
    if event.subject:
        envelope["subject"] = event.subject
    return json.dumps(envelope, ensure_ascii=False).encode()


def signed(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of the Standard Webhooks specification (github.com/standard-webhooks/standard-webhooks).

    Args:
        secret: `whsec_…`.
        at: of this attempt, in Unix time in seconds.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    proof = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(proof).decode()}",
    }


def incident(event: Event, routing_key: str, *, at_once: bool) -> Json | None:
    """Return the event for PagerDuty's Events API v2; None where it isn't told of that.

    It learns of what nobody has decided by the first reminder, and of a repair that failed or may be stuck; again is
    the same incident. A repair that vanishes midway may be listed again, so its incident stays open.

    Args:
        at_once: it learns of what is critical as soon as it waits for approval, or becomes so while it waits.
    """
    is_new = event.kind in {EventKind.OPENED, EventKind.WORSENED}
    is_urgent = at_once and is_new and not event.data.get("is_warning")
    action = "trigger" if is_urgent else _ACTIONS.get(event.kind)
    if action is None or event.data.get("is_midway"):
        return None
    key = event.subject
    if len(key) > _MAX_KEY:
        end = short_hash(key)
        key = key[: _MAX_KEY - len(end)] + end
    body: Json = {"routing_key": routing_key, "event_action": action, "dedup_key": key}
    if action != "trigger":
        return body
    node = event.data.get("node")
    cluster = event.data.get("cluster_name") or event.data.get("cluster_id")
    xid = f": Xid {event.data['xid']}" if event.data.get("xid") else ""
    mode = labels.mode(str(event.data.get("mode") or "")).name
    said = {EventKind.FAILED: f"repair failed ({mode})", EventKind.STUCK: f"repair may be stuck ({mode})"}
    summary = said.get(event.kind, f"{mode} is waiting for approval")
    return body | {
        "client": "Remediation bot",
        "payload": {
            "summary": f"{node} ({cluster}){xid}. {summary[0].upper()}{summary[1:]}."[:_MAX_SUMMARY],
            "source": str(node),
            "severity": "warning" if event.data.get("is_warning") else "critical",
            "component": str(event.data.get("cluster_id")),
            "class": mode,
            "custom_details": {name: value for name, value in event.data.items() if value is not None},
        },
    }
