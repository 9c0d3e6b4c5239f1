"""The work queue, and the two small machines that tell a few from many."""

import asyncio

from bot.models import Alert, RemediationRef
from bot.watcher.intake import BACKLOG_LASTS, BURST, BURST_SECONDS, Backlog, Bursts
from bot.watcher.workqueue import Lane, WorkQueue
from tests.manual_clock import ManualClock
from tests.samples import remediation


async def test_key_waits_once_and_is_looked_at_again_after_what_was_put_meanwhile() -> None:
    queue = WorkQueue(ManualClock().clock.monotonic)
    queue.put("a")
    queue.put("a")
    queue.put("b")
    assert await queue.get(Lane.LOOK) == "a"
    queue.put("a")
    assert await queue.get(Lane.LOOK) == "b"
    queue.done("b")
    queue.done("a")
    assert await queue.get(Lane.LOOK) == "a"
    queue.done("a", Lane.EDIT)
    assert await queue.get(Lane.EDIT) == "a"


async def test_what_waits_in_a_line_is_not_looked_at_again_for_three_seconds() -> None:
    time = ManualClock()
    queue = WorkQueue(time.clock.monotonic)
    queue.put("digest")
    await queue.get(Lane.LOOK)
    queue.put("digest")  # one more of its nodes is written down
    queue.done("digest", Lane.EDIT)
    queue.put("digest")  # and one more
    assert queue.waiting(Lane.LOOK) == 0
    await time.advance(3)
    queue.put("digest")  # it may have become urgent
    assert queue.waiting(Lane.LOOK) == queue.waiting(Lane.EDIT) == 1


async def test_worker_waits_until_something_is_put_into_its_lane() -> None:
    queue = WorkQueue(ManualClock().clock.monotonic)
    waiting = asyncio.ensure_future(queue.get(Lane.POST))
    queue.put("a", Lane.EDIT)
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.put("b", Lane.POST)
    assert await waiting == "b"


async def test_failure_keeps_a_key_out_of_its_lane_for_longer_each_time() -> None:
    time = ManualClock()
    queue = WorkQueue(time.clock.monotonic)
    waits = []
    for _ in range(6):
        queue.failed("a", Lane.EDIT)
        began = time.seconds
        while queue_is_empty(queue, "a"):
            await time.advance(1)
        waits.append(time.seconds - began)
        assert await queue.get(Lane.EDIT) == "a"
        queue.done("a")
    assert waits == [5, 10, 20, 40, 60, 60]
    queue.failed("a", Lane.EDIT)
    queue.put("a", Lane.REPLY)
    assert await queue.get(Lane.REPLY) == "a"


def queue_is_empty(queue: WorkQueue, key: str) -> bool:
    queue.put(key, Lane.EDIT)
    return not queue.waiting(Lane.EDIT)


def refs(count: int, cluster: str = "c") -> list[RemediationRef]:
    return [RemediationRef(cluster, f"i{number}", "r") for number in range(count)]


def test_next_watch_begins_without_the_failures_of_the_one_before() -> None:
    queue = WorkQueue(ManualClock().clock.monotonic)
    for _ in range(3):
        queue.failed("a", Lane.EDIT)
    queue.put("b", Lane.POST, "C0OPS")
    queue.closed("C0OPS", Lane.POST)
    queue.clear()
    assert not queue.is_stuck("a", Lane.EDIT)
    queue.put("a", Lane.EDIT)
    queue.put("b", Lane.POST, "C0OPS")
    assert queue.waiting(Lane.EDIT) == queue.waiting(Lane.POST) == 1


def test_storm_is_more_than_five_of_a_cluster_within_a_minute() -> None:
    storms = Bursts()
    many = refs(BURST + 1)
    assert not storms.count("c", many[:BURST], 0)
    assert not storms.count("other", many[BURST:], 1)
    assert storms.count("c", many[BURST:], BURST_SECONDS)
    assert not storms.count("c", [RemediationRef("c", "late", "r")], 2 * BURST_SECONDS + 1)


def waiting(count: int, cluster: str) -> list[Alert]:
    ids = [{"instance_id": ref.instance_id, "id": ref.remediation_id} for ref in refs(count, cluster)]
    return [Alert(remediation(cluster_id=cluster, **each), "") for each in ids]


def test_backlog_is_held_until_every_cluster_was_read() -> None:
    backlog = Backlog(0, is_over=False)
    backlog.names = ["a", "b"]
    assert backlog.take("a", waiting(4, "a"), 0)
    assert backlog.release(1, 10) == []
    assert backlog.take("b", waiting(4, "b"), 2)
    assert len(backlog.release(2, 10)) == 8
    assert backlog.is_many
    assert backlog.is_over
    assert not backlog.take("a", waiting(1, "a"), 3)


def test_backlog_does_not_wait_for_a_slow_cluster() -> None:
    backlog = Backlog(0, is_over=False)
    backlog.names = ["a", "b"]
    backlog.take("a", waiting(2, "a"), 0)
    assert len(backlog.release(10, 10)) == 2
    assert not backlog.is_over
    assert backlog.take("b", waiting(2, "b"), 300)
    assert len(backlog.release(300, 10)) == 2
    assert not backlog.is_many
    backlog = Backlog(0, is_over=False)
    backlog.names = ["a", "b"]
    backlog.release(BACKLOG_LASTS + 1, 10)
    assert backlog.is_over
