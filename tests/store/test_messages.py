"""The statements of messages and alerts, on both databases."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import text

from bot.models import Actor, Alert, History, Learned, Remediation, Snapshot, TrackedMessage
from bot.store import Approvals, Database, Messages
from bot.store.connection import Connection
from tests.manual_clock import ManualClock
from tests.samples import DIGEST, remediation


async def test_more_alerts_than_fit_into_one_statement_are_added_once(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Messages(database)
    many = [Alert(each, "") for each in remediations(1001)]
    digest_id = await store.gather(DIGEST, many, 60)
    assert await store.gather(DIGEST, many[400:], 60) == digest_id
    snapshot = await store.load(digest_id)
    await database.close()
    assert snapshot is not None
    assert [each.remediation.id for each in snapshot.alerts] == [each.remediation.id for each in many]


async def test_stuck_messages_keep_no_others_waiting(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Messages(database)
    cards = [
        (Alert(each, ""), TrackedMessage(each.id, is_digest=False, cluster_id="c", channel_id="C0OPS"))
        for each in remediations(501)
    ]
    await store.add_cards(cards)
    last = cards[-1][1].id
    due = [await store.due() for _ in range(100)]  # it is not among 500 of 501 once in 501 times
    await database.close()
    assert any(last in each for each in due)


async def test_cards_that_are_not_posted_yet_go_into_the_digest(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Messages(database)
    one, two = (Alert(each, "") for each in remediations(2))
    await store.add_cards([(one, TrackedMessage("m", False, DIGEST.cluster_id, "C0OPS"))])
    digest_id = await store.gather(DIGEST, [two], 60)
    snapshot = await store.load(digest_id)
    card = await store.load("m")
    await database.close()
    assert card is None
    assert snapshot is not None
    assert [each.remediation.id for each in snapshot.alerts] == ["r-0000", "r-0001"]


def remediations(count: int) -> list[Remediation]:
    return [remediation(id=f"r-{number:04}") for number in range(count)]


async def test_message_is_not_forgotten_while_something_of_it_waits(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Messages(database)
    over = Alert(remediation(state="CANCELLED"), "")
    waits = Alert(remediation(id="r-0001"), "")
    digest_id = await store.gather(DIGEST, [over, waits], 60)
    kept = await store.forget(digest_id)
    await store.add_cards([(Alert(remediation(id="r-0002", state="CANCELLED"), ""), card_of("m"))])
    dropped = await store.forget("m")
    await database.close()
    assert kept == []
    assert [each.remediation_id for each in dropped] == ["r-0002"]


def card_of(message_id: str) -> TrackedMessage:
    return TrackedMessage(message_id, is_digest=False, cluster_id="c-7f2", channel_id="C0OPS")


async def test_change_that_a_hold_overtakes_is_made_on_what_is_there(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    store, approvals, one = Messages(database), Approvals(database), remediation()
    await store.add_cards([(Alert(one, ""), card_of("m"))])
    loaded = await store.load("m")
    assert loaded
    await approvals.hold(one.ref, Actor("U0ALICE", "alice", "T0HOME"), 1800)
    seen: list[Snapshot] = []

    def leaving(snapshot: Snapshot) -> TrackedMessage:
        seen.append(snapshot)
        return replace(snapshot.message, posted_at=snapshot.now)

    changed = await store.change(loaded, leaving, learned=Learned(History(0)))
    kept = await store.load("m")
    await database.close()
    assert [each.alerts[0].hold is not None for each in seen] == [False, True]
    assert changed
    assert kept
    assert kept.message == changed.message
    assert kept.message.posted_at
    assert (kept.alerts[0].history, kept.alerts[0].hold is not None) == (History(0), True)


class Busy(Messages):
    """What is loaded is out of date at once."""

    async def load(self, message_id: str) -> Snapshot | None:
        loaded = await super().load(message_id)
        await Approvals(self.database).hold(remediation().ref, Actor("U0ALICE", "alice", "T0HOME"), 1800)
        return loaded


async def test_message_that_never_stands_still_is_changed_all_the_same(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    store, tries = Busy(database), []
    await store.add_cards([(Alert(remediation(), ""), card_of("m"))])
    changed = await store.change("m", lambda each: tries.append(each.version) or replace(each.message, ts="1.0"))  # type: ignore[func-returns-value] # it counts
    await database.close()
    assert changed
    assert changed.message.ts == "1.0"
    assert len(tries) == 4


async def test_deadlock_is_survived(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    await Messages(database).add_cards([(Alert(remediation(), ""), card_of("m"))])
    met = threading.Barrier(2)

    def update(connection: Connection, tables: Sequence[str]) -> None:
        for table in tables:
            connection.execute(text(f"UPDATE {table} SET body = body"))  # noqa: S608 - our own tables
            with suppress(threading.BrokenBarrierError):
                met.wait(0.5)

    await asyncio.gather(
        database.run(update, ("messages", "alerts")), database.run(update, ("alerts", "messages"))
    )  # fmt: skip
    await database.close()
    assert met.broken  # one of them was alone at its end
