"""Records what Slack sends for every way in, and a database, as test data for later releases.

Before the release X.Y: `python -m tests.recording payloads > tests/data/payloads-X.Y.json`, and with `database` to
`tests/data/release-X.Y.json`.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Boolean, Table, select

from bot import cards
from bot.cards import chooser, home
from bot.errors import OutcomeKind
from bot.models import (
    Actor,
    Alert,
    Answer,
    Hold,
    Message,
    Outcome,
    RemediationRef,
    ReplyKind,
    ReplyTarget,
    Request,
    SeenState,
    TrackedMessage,
    Verb,
)
from bot.store import batches, messages, pauses
from bot.store.tables import metadata
from handlers.payloads import SHORTCUT
from tests.manual_clock import START, ManualClock
from tests.releases import RESPONSE_URL
from tests.rows import execute
from tests.samples import DIGEST, alerts, batch, remediation
from tests.simulator.slack.workspace import BOT_USER, im_of
from tests.store.examples import ANSWER, APPROVED, open_store, received
from tests.watch import card, quiet, watching
from tests.world import CANCEL, IDS, REF, REFRESH, World


async def every_way_in(bot: World) -> None:
    """Use each control once; nothing of it decides, so that each finds the remediation as it was."""
    slack, bot_name = bot.slack, f"<@{BOT_USER}>"
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    foreign = bot.alert()
    for text in ("help", "list", "tonight", "history gpu-node-7", "status gpu-node-7", "gpu-node-7", "two words"):
        await slack.command(text)
        await quiet(bot)
    await slack.press(alert, REFRESH, button={**alert.buttons[CANCEL], "action_id": REFRESH})
    await slack.press(foreign, REFRESH)
    await slack.press(alert, "remediation:hold", choice="1800")
    await slack.press(alert, "remediation:hold", choice="3600")
    await slack.press(alert, "remediation:hold", choice=cards.WITH_REASON)
    await quiet(bot)
    await slack.submit(slack.views.pop(), reason="why")
    await slack.press(alert, cards.LOOKING)
    await quiet(bot)
    for choice in (cards.REJECT, cards.OTHER_MODE, cards.COPY_IDS, cards.HISTORY, cards.TIMELINE):
        await slack.press(alert, cards.MORE, choice=choice)
        await quiet(bot)
    await slack.use_shortcut(alert, SHORTCUT)
    await quiet(bot)
    dialog = dict(slack.views[-1])
    (option, *_) = await slack.ask_in_view(dialog, chooser.REMEDIATION)
    await slack.pick(dialog, chooser.REMEDIATION, option)
    await slack.open_home()
    await quiet(bot)
    await slack.press_home(home.UPDATE)
    await slack.press_home(home.TONIGHT)
    await slack.ask_in_home(home.CLUSTER)
    await slack.press_home(cards.PAUSE_DIALOG)
    await quiet(bot)
    await slack.submit(slack.views.pop())
    await quiet(bot)
    await slack.press_home(cards.RESUME)
    for text in (f"{bot_name} help", f"{bot_name} status {REF}", f"{bot_name} cancel {REF}"):
        await slack.say(text, user="U0ALICE")
        await quiet(bot)
    await slack.say("list", user="U0ALICE", channel=im_of("U0ALICE"))
    # What decides: refused, since it isn't what is there any more, so that the order does not matter.
    bot.together.review(IDS, "cancel")
    reject, other_mode = [view for view in slack.views if view["callback_id"] == cards.REASON]
    await slack.submit(reject, reason="why")
    await slack.submit(other_mode, reason="why", mode="REMEDIATION_MODE_VM_ONLY")
    await quiet(bot)


async def record() -> list[dict[str, Any]]:
    """Return every payload with its kind."""
    async with watching() as bot:
        await every_way_in(bot)
        return [{"kind": kind, "payload": payload} for kind, payload in bot.slack.delivered]


async def record_database() -> dict[str, list[dict[str, Any]]]:
    """Return the tables with a decision in each state, an alert on hold, a digest of six, and a running selection."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{folder}/bot.db", ManualClock()) as store:
            jobs = {number: await received(store, _click(number), f"job-{number}") for number in range(1, 8)}
            for number in (2, 3, 4, 7):
                await store.claim(jobs[number])
            for number in (3, 4, 7):
                jobs[number].seen = SeenState("REMEDIATION_MODE_REBOOT_VM", "PENDING_APPROVAL")
                await store.record_send(jobs[number])
            await store.record_outcome(jobs[4], APPROVED, ANSWER)
            refused = Outcome(OutcomeKind.NOT_ALLOWED)
            await store.record_outcome(jobs[5], refused, Answer(ReplyKind.WHISPER, ANSWER.message))
            await store.finish(jobs[5])
            await store.void(jobs[6].request, jobs[6].id)
            await store.set_place(jobs[7], replace(jobs[7].request.place, in_progress=True))
            hold = Hold("U0ALICE", START + 1800, reason="why", name="alice")
            card = TrackedMessage("m", False, "c-7f2", "C0OPS", START, ts="9.0", posted_at=START, content_hash="x")
            await store.database.run(messages.add_cards, [(Alert(remediation(), "", "m", START, hold=hold), card)], 0)
            await store.database.run(pauses.begin, "c-7f2", 3600.0, batch(0).actor, "C0OPS", "why")
            digest_id = await store.database.run(messages.gather, DIGEST, alerts(6), 60, 0)
            asked = replace(batch(0, 2), digest_id=digest_id)
            await store.database.run(batches.ask, asked)
            await store.confirm(asked.id, asked.actor.user_id, "")
            return {
                table.name: [_as_postgresql_has_it(table, row) for row in await execute(store.database, select(table))]
                for table in metadata.sorted_tables
            }


def _as_postgresql_has_it(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of SQLite, which has no booleans, as both databases take it."""
    flags = {column.name for column in table.columns if isinstance(column.type, Boolean)}
    return {name: bool(value) if name in flags and value is not None else value for name, value in row.items()}


def _click(number: int) -> Request:
    """Return the click on the card of a remediation; the seventh cancels."""
    verb = Verb.CANCEL if number == 7 else Verb.APPROVE
    ref = RemediationRef("cluster-1", f"instance-{number}", f"remediation-{number}")
    original = Message("alert", [{"type": "divider"}])
    place = ReplyTarget(
        "C0OPS", "U0ALICE", response_url=RESPONSE_URL, message_ts=f"{number}.0", is_button=True, original=original
    )
    shown = SeenState("REMEDIATION_MODE_REBOOT_VM", "PENDING_APPROVAL")
    actor = Actor("U0ALICE", "alice", "T0HOME", home_team_id="T0HOME")
    return Request(verb, ref, actor, place, shown=shown, trigger_id=f"trigger-{number}", asked_at=START)


if __name__ == "__main__":
    recorded: Coroutine[Any, Any, Any] = record_database() if sys.argv[1] == "database" else record()
    json.dump(asyncio.run(recorded), sys.stdout, separators=(",", ":"))
