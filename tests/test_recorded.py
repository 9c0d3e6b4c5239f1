"""What Slack sent to earlier releases is understood by this one: their buttons and dialogs keep working."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.process import ROOT
from tests.watch import card, quiet, watching
from tests.world import IDS

DECIDES = '{"verb":"approve"', '{"verb":"reject"'  # as these dialogs begin what they remember
DATA = ROOT / "tests" / "data"
RECORDED = [
    (path.stem, number, each)
    for path in sorted(DATA.glob("payloads-*.json"))
    for number, each in enumerate(json.loads(Path(path).read_text("utf-8")))
]


def name_of(recorded: tuple[str, int, dict[str, Any]]) -> str:
    release, number, each = recorded
    payload = each["payload"]
    action = (payload.get("actions") or [{}])[0].get("action_id") or (payload.get("event") or {}).get("type")
    return f"{release}-{number}-{action or payload.get('type') or payload.get('text')}"


@pytest.mark.parametrize("recorded", RECORDED, ids=name_of)
async def test_recorded_payload_is_understood(recorded: tuple[str, int, dict[str, Any]]) -> None:
    _, _, each = recorded
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        ack = await bot.slack.deliver(each["kind"], each["payload"])
        await quiet(bot)
        assert ack.status == 200
        told = "".join(message.text for message in bot.slack.messages) + ack.body
        assert not [words for words in ("doesn't recognize", "malformed", "Something went wrong") if words in told]
        view = each["payload"].get("view") or {}
        if each["payload"].get("type") == "view_submission" and view["private_metadata"].startswith(DECIDES):
            assert len(bot.together.posts) == 1, "the dialog still decides"
        else:
            assert bot.together.state(IDS) == "PENDING_APPROVAL"
