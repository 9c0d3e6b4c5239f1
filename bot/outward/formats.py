"""Events as a webhook and PagerDuty expect them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

from bot.cards import labels
from bot.errors import OutcomeKind
from bot.models import ENDS, Event, EventKind, Json, short_hash

PREFIX = "whsec_"
_TYPE = "com.github.remediation-bot"
_MAX_SUMMARY = 1024  # PagerDuty, Events API v2, payload.summary
_MAX_KEY = 255  # PagerDuty, Events API v2, dedup_key
# The endings of the keys of a remediation's incidents.
_WAITS = _WAIT, _WORSE = "", " critical"
_STUCK, _REPAIR = " stuck", " repair"
_RESOLVED: dict[EventKind, tuple[str, ...]] = {
    **dict.fromkeys((EventKind.DECIDED, EventKind.STUCK), _WAITS),
    **dict.fromkeys((EventKind.RUNNING, EventKind.FAILED), (*_WAITS, _STUCK)),
    **dict.fromkeys(ENDS, (*_WAITS, _STUCK, _REPAIR)),
}
_TRIGGERED = {EventKind.FAILED: _REPAIR, EventKind.STUCK: _STUCK}
_OF_REPAIRS = {EventKind.FAILED: "Repair failed ({mode})", EventKind.STUCK: "Repair may be stuck ({mode})"}


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


def incidents(event: Event, routing_key: str, *, at_once: bool) -> list[Json]:
    """Return what PagerDuty's Events API v2 is told of an event; nothing of most.

    What is worse than what it called for is another incident: it calls nobody again for one that is acknowledged
    (support.pagerduty.com/docs/incidents).

    Args:
        at_once: it learns of what is critical as soon as it waits for approval, or becomes so while it waits.
    """
    kind, data = event.kind, event.data
    is_approval = data.get("decision") == OutcomeKind.APPROVED and data.get("is_sure") is not False
    # A repair that vanishes midway may be listed again.
    is_open = data.get("is_midway") or (kind is EventKind.DECIDED and not is_approval)
    resolved, triggered = () if is_open else _RESOLVED.get(kind, ()), _TRIGGERED.get(kind)
    is_new = at_once and kind is EventKind.OPENED and not (data.get("is_warning") or data.get("is_held"))
    if is_new or kind in {EventKind.WORSENED, EventKind.REMINDED}:
        triggered, resolved = (_WORSE, (_WAIT,)) if data.get("has_worsened") else (_WAIT, ())
    told = [("resolve", ending) for ending in resolved]
    told += [("acknowledge", ending) for ending in _WAITS if kind in {EventKind.HELD, EventKind.LOOKING}]
    told += [] if triggered is None else [("trigger", triggered)]
    return [
        {
            "routing_key": routing_key,
            "dedup_key": _fitting(event.subject + ending),
            "event_action": action,
            **(_described(event) if action == "trigger" else {}),
        }
        for action, ending in told
    ]


def _fitting(key: str) -> str:
    if len(key) <= _MAX_KEY:
        return key
    end = short_hash(key)
    return key[: _MAX_KEY - len(end)] + end


def _described(event: Event) -> Json:
    """Return what people whom PagerDuty calls are told."""
    node = event.data.get("node")
    cluster = event.data.get("cluster_name") or event.data.get("cluster_id")
    xid = f": Xid {event.data['xid']}" if event.data.get("xid") else ""
    mode = labels.mode(str(event.data.get("mode") or "")).name
    said = _OF_REPAIRS.get(event.kind, "{mode} is waiting for approval").format(mode=mode)
    return {
        "client": "Remediation bot",
        "payload": {
            "summary": f"{node} ({cluster}){xid}. {said[0].upper()}{said[1:]}."[:_MAX_SUMMARY],
            "source": str(node),
            "severity": "warning" if event.data.get("is_warning") else "critical",
            "component": str(event.data.get("cluster_id")),
            "class": mode,
            "custom_details": {name: value for name, value in event.data.items() if value is not None},
        },
    }
