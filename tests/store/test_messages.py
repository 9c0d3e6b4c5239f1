"""The statements of messages and alerts, on both databases."""

import asyncio
import threading
from dataclasses import replace

from sqlalchemy import text

from bot.models import Alert, History, Remediation, Snapshot, TrackedMessage
from bot.store import Approvals, Database, Messages
from tests.manual_clock import ManualClock
from tests.rows import execute
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


async def test_deadlock_of_a_post_and_a_hold_is_survived(postgresql: str) -> None:
    database = Database(postgresql)
    await database.open()
    store, approvals, one = Messages(database), Approvals(database), remediation()
    await store.add_cards([(Alert(one, ""), TrackedMessage("m", False, one.cluster_id, "C0OPS"))])
    inside, go = threading.Event(), threading.Event()

    def leaving(snapshot: Snapshot) -> TrackedMessage:
        inside.set()
        go.wait(5)
        return replace(snapshot.message, posted_at=snapshot.now)

    post = asyncio.create_task(store.change("m", leaving, history=History(0)))
    await asyncio.to_thread(inside.wait)
    hold = asyncio.create_task(approvals.hold(one.ref, "U0ALICE", 1800))
    while not await execute(database, text("SELECT 1 FROM pg_locks WHERE NOT granted")):
        pass
    go.set()
    await asyncio.gather(post, hold)
    snapshot = await store.load("m")
    await database.close()
    assert snapshot is not None
    assert snapshot.message.posted_at
    assert snapshot.alerts[0].history == History(0)
    assert snapshot.alerts[0].hold is not None
