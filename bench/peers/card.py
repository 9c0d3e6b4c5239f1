"""What the two Python peers share: the call's address and the card."""

import os
from typing import Any


def url_of(text: str) -> str:
    """Return the address of the cancel call for what was typed."""
    cluster, instance, remediation = text.split(" ")
    base = os.environ["TOGETHER_BASE_URL"]
    return f"{base}/compute/clusters/{cluster}/instances/{instance}/remediations/{remediation}/cancel"


def headers() -> dict[str, str]:
    """Return the API's credentials."""
    return {"Authorization": f"Bearer {os.environ['TOGETHER_API_KEY']}"}


def message(remediation: dict[str, Any], user_id: str) -> dict[str, Any]:
    """Draw the card."""
    if remediation["state"] != "CANCELLED":
        raise ValueError(remediation["state"])
    title = f"Cancelled: {remediation['mode']} for {remediation['instance_name']}"
    ids = " ".join(remediation[name] for name in ("cluster_id", "instance_id", "id"))
    return {
        "text": f"{title} by <@{user_id}>",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"Cancelled by <@{user_id}>"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": ids}]},
        ],
    }
