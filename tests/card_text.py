"""Cards as text, compared with the snapshots, and the worst input they may get."""

import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from bot.models import (
    Message,
    Mode,
    State,
)
from tests.simulator.render import confirmation, render

SNAPSHOTS = Path(__file__).parent / "snapshots"


def drawn(message: Message) -> str:
    """The message, its dialogs and its text for a screen reader."""
    buttons = [element for block in message.blocks if block["type"] == "actions" for element in block["elements"]]
    dialogs = [confirmation(button) for button in buttons if "confirm" in button]
    return "\n\n".join([render(message.text, message.blocks), *dialogs, f"Read aloud: {message.text}"]) + "\n"


def compare(name: str, actual: str) -> None:
    """Compare with the snapshot. To accept a change, delete the file and run the tests again: that run fails once."""
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.write_text(actual, encoding="utf-8")
        pytest.fail(f"{path.name} did not exist; it is written now: read it, then commit it")
    assert actual == path.read_text(encoding="utf-8"), f"{path.name} differs: delete it and run twice to accept"


def texts(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for each in node for found in texts(each)]
    if not isinstance(node, dict):
        return []
    here = [node] if node.get("type") in {"mrkdwn", "plain_text"} else []
    return here + [found for value in node.values() for found in texts(value)]


# The worst that the outside may say: long, full of markup, invisible, astral.
NASTY = st.sampled_from([
    "<!channel> <@U1> <https://evil.example|click> & " * 400,
    "&" * 9000,
    "`" * 300 + "\n> fake quote\n*Error*\nnothing",
    "\U0001f4a5" * 9000,
    "\u202e\u2066reversed\x00\x07" * 50,
    "",
    " ",
    "x",
]) | st.text(max_size=50)  # fmt: skip


LONG_IDS = st.sampled_from(["x", "\U0001f4a5" * 200, "&" * 200, "ä" * 200])


MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC)) | st.just("nonsense")


EVENT = st.fixed_dictionaries({}, optional={"xid_code": NASTY, "mnemonic": NASTY, "count": st.integers() | NASTY})


ALERT = st.fixed_dictionaries({}, optional={
    "alert_name": NASTY,
    "severity": NASTY,
    "started_at": MOMENTS,
    "resolved_at": MOMENTS,
    "annotation": st.fixed_dictionaries({}, optional={
        "title": NASTY,
        "xid": st.fixed_dictionaries({"events": st.lists(EVENT, max_size=9)}),
        "slurm_node_unavailable": st.fixed_dictionaries({"reason": NASTY}),
    }),
})  # fmt: skip


WORDS = ("instance_name", "reason", "requested_by", "reviewed_by", "review_comment", "error_message")


OPTIONAL = dict.fromkeys(WORDS, NASTY)


TIMES = dict.fromkeys(("create_time", "review_time", "start_time", "end_time", "update_time"), MOMENTS)


WORST = st.fixed_dictionaries(
    {
        "id": LONG_IDS,
        "cluster_id": LONG_IDS,
        "instance_id": LONG_IDS,
        "mode": st.sampled_from([*Mode]) | NASTY,
        "trigger": NASTY,
        "state": st.sampled_from([*State]) | NASTY,
    },
    optional={**OPTIONAL, **TIMES, "linked_alerts": st.lists(ALERT, max_size=30)},
)


MARKUP = re.compile(r"<(?!!date\^\d+\^|@U0ALICE>)")
