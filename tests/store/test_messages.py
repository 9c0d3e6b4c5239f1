"""The statements of messages and alerts, on both databases."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from bot.models import Actor, Alert, History, Learned, Remediation, Snapshot, TrackedMessage
from bot.store import Database, LeasedDatabase, approvals, ended, messages, rows
from bot.store.connection import Connection
from tests.manual_clock import ManualClock
from tests.postgres import until_one_waits
from tests.samples import DIGEST, remediation

ALICE = Actor("U0ALICE", "alice", "T0HOME")


async def test_more_alerts_than_fit_into_one_statement_are_added_once(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    many = [Alert(remediation, "") for remediation in remediations(1001)]
    digest_id = await database.run(messages.gather, DIGEST, many, 60, 0)
    assert await database.run(messages.gather, DIGEST, many[400:], 60, 0) == digest_id
    snapshot = await database.read(rows.load, digest_id)
    await database.close()
    assert snapshot is not None
    assert [alert.remediation.id for alert in snapshot.alerts] == [alert.remediation.id for alert in many]


async def test_stuck_messages_keep_no_others_waiting(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    cards = [
        (Alert(remediation, ""), TrackedMessage(remediation.id, is_digest=False, cluster_id="c", channel_id="C0OPS"))
        for remediation in remediations(501)
    ]
    await database.run(messages.add_cards, cards, 0)
    last = cards[-1][1].id
    due = [await database.read(messages.due) for _ in range(100)]  # it is not among 500 of 501 once in 501 times
    await database.close()
    assert any(last in each for each in due)


async def test_cards_that_are_not_posted_yet_go_into_the_digest(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    one, two = (Alert(remediation, "") for remediation in remediations(2))
    await database.run(messages.add_cards, [(one, TrackedMessage("m", False, DIGEST.cluster_id, "C0OPS"))], 0)
    digest_id = await database.run(messages.gather, DIGEST, [two], 60, 0)
    snapshot = await database.read(rows.load, digest_id)
    card = await database.read(rows.load, "m")
    await database.close()
    assert card is None
    assert snapshot is not None
    assert [alert.remediation.id for alert in snapshot.alerts] == ["r-0000", "r-0001"]


@pytest.mark.parametrize("name", ["GPU_1%!", 'a"b\\', "Knoten-Ä", "i-0042"])
async def test_repairs_of_a_node_are_found_by_its_name_or_id_whatever_is_in_it(database_url: str, name: str) -> None:
    database = Database(database_url)
    await database.open()
    ids = {"instance_id": name} if name == "i-0042" else {"instance_name": name}
    mine, other = remediation(**ids), remediation(id="r-2", instance_id="i-2", instance_name="GPUx1xx")
    await database.run(messages.add_cards, [(Alert(mine, ""), card_of("m")), (Alert(other, ""), card_of("n"))], 0)
    found = await database.read(ended.of_node, name.swapcase(), 60)
    await database.close()
    assert [alert.remediation.id for alert in found] == [mine.id]


async def test_repair_answers_for_nothing_where_that_is_switched_off(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    ended_at = datetime.now(UTC) + timedelta(seconds=5)
    one = remediation(state="SUCCEEDED", end_time=ended_at)
    await database.run(messages.add_cards, [(Alert(one, ""), card_of("m"))], 0)
    known = {"resolved_at": None, "target_vm": one.node, "started_at": ended_at, "passive_health_check_alert_id": "x"}
    firing = one.linked_alerts[0].model_copy(update=known)
    assert await database.run(messages.note_firing, one.cluster_id, [firing], 0.0) == (set(), set())
    kept = await database.read(rows.load, "m")
    await database.close()
    assert kept
    assert kept.alerts[0].came_back is None


async def test_history_of_a_node_reads_no_other_alerts(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    many = [remediation(id=f"r-{number}", instance_id=f"i-{number}", instance_name="e") for number in range(3)]
    other = remediation(id="r-x", instance_id="i-x", instance_name="node-e")
    await database.run(
        messages.add_cards, [(Alert(remediation, ""), card_of(remediation.id)) for remediation in [*many, other]], 0
    )
    read = await database.read(ended.naming, "e", 0.0)
    await database.close()
    assert len(read) == 3


def remediations(count: int) -> list[Remediation]:
    return [remediation(id=f"r-{number:04}") for number in range(count)]


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING", "SUCCEEDED"])
async def test_message_is_not_forgotten_while_something_of_it_waits_or_has_begun(database_url: str, state: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    over = Alert(remediation(state="CANCELLED"), "")
    other = Alert(remediation(id="r-0001", state=state), "")
    digest_id = await database.run(messages.gather, DIGEST, [over, other], 60, 0)
    kept = await database.run(messages.forget, digest_id)
    await database.run(messages.add_cards, [(Alert(remediation(id="r-0002", state="CANCELLED"), ""), card_of("m"))], 0)
    dropped = await database.run(messages.forget, "m")
    await database.close()
    assert kept == []
    assert [ref.remediation_id for ref in dropped] == ["r-0002"]


def card_of(message_id: str) -> TrackedMessage:
    return TrackedMessage(message_id, is_digest=False, cluster_id="c-7f2", channel_id="C0OPS")


async def test_change_that_a_hold_overtakes_is_made_on_what_is_there(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    one = remediation()
    await database.run(messages.add_cards, [(Alert(one, ""), card_of("m"))], 0)
    loaded = await database.read(rows.load, "m")
    assert loaded
    await database.run(approvals.hold, one.ref, ALICE, 1800, "")
    seen: list[Snapshot] = []

    def leaving(snapshot: Snapshot) -> TrackedMessage:
        seen.append(snapshot)
        return replace(snapshot.message, posted_at=snapshot.now)

    changed = await messages.change(await watched(database), loaded, leaving, learned=Learned(History(0)))
    kept = await database.read(rows.load, "m")
    await database.close()
    assert [snapshot.alerts[0].hold is not None for snapshot in seen] == [False, True]
    assert changed
    assert kept
    assert kept.message == changed.message
    assert kept.message.posted_at
    assert (kept.alerts[0].history, kept.alerts[0].hold is not None) == (History(0), True)


async def watched(database: Database) -> LeasedDatabase:
    leased = LeasedDatabase(database, "watch", 60, ManualClock().clock)
    await leased.acquire()
    return leased


class Busy(LeasedDatabase):
    """What is loaded is out of date at once."""

    async def read(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        loaded = await super().read(function, *args, **kwargs)
        await self.database.run(approvals.hold, remediation().ref, ALICE, 1800, "")
        return loaded


async def test_message_that_never_stands_still_is_changed_all_the_same(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    busy, tries = Busy(database, "watch", 60, ManualClock().clock), list[int]()
    await busy.acquire()
    await database.run(messages.add_cards, [(Alert(remediation(), ""), card_of("m"))], 0)

    def change(loaded: Snapshot) -> TrackedMessage:
        tries.append(loaded.version)
        return replace(loaded.message, ts="1.0")

    changed = await messages.change(busy, "m", change)
    await database.close()
    assert changed
    assert changed.message.ts == "1.0"
    assert len(tries) == 4


async def test_deadlock_is_survived(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    await database.run(messages.add_cards, [(Alert(remediation(), ""), card_of("m"))], 0)
    met = threading.Barrier(2)

    def update(connection: Connection, tables: Sequence[str]) -> None:
        for table in tables:
            assert connection.execute(text(f"UPDATE {table} SET body = body RETURNING 1"))  # noqa: S608 - our own tables
            with suppress(threading.BrokenBarrierError):
                met.wait(0.5)

    await asyncio.gather(
        database.run(update, ("messages", "alerts")), database.run(update, ("alerts", "messages"))
    )  # fmt: skip
    await database.close()
    assert met.broken  # one of them was alone at its end


async def test_who_looks_into_a_card_that_is_not_posted_yet_still_does_once_there_is_a_digest(
    database_url: str,
) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    one, two = (Alert(remediation, "") for remediation in remediations(2))
    await database.run(messages.add_cards, [(one, TrackedMessage("m", False, DIGEST.cluster_id, "C0OPS"))], 0)
    assert await database.run(approvals.look_into, one.ref, "", ALICE, "C0OPS", 0.0) == "noted"
    await database.run(messages.gather, DIGEST, [two], 60, 0)
    shown = await database.read(rows.showing, one.ref)
    await database.close()
    assert shown is not None
    assert [looker.user_id for looker in shown.message.looking] == ["U0ALICE"]


async def test_who_looks_into_a_card_just_as_it_goes_into_a_digest_still_does(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    one, two = (Alert(remediation, "") for remediation in remediations(2))
    await database.run(messages.add_cards, [(one, TrackedMessage("m", False, DIGEST.cluster_id, "C0OPS"))], 0)
    written, may_commit = threading.Event(), threading.Event()

    def look_into(connection: Connection) -> str:
        result = approvals.look_into(connection, one.ref, "", ALICE, "C0OPS", 0.0)
        written.set()
        assert may_commit.wait(5)
        return result

    looking = asyncio.ensure_future(database.run(look_into))
    assert await asyncio.to_thread(written.wait, 5)
    gathering = asyncio.ensure_future(database.run(messages.gather, DIGEST, [two], 60, 0))
    await until_one_waits(postgresql)
    may_commit.set()
    assert await looking == "noted"
    await gathering
    shown = await database.read(rows.showing, one.ref)
    await database.close()
    assert shown is not None
    assert [looker.user_id for looker in shown.message.looking] == ["U0ALICE"]
