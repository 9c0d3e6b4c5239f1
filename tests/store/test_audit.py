"""The audit trail: append-only, and every change to it is found."""

from pathlib import Path

import pytest
from sqlalchemy import text

from bot.models import (
    RemediationRef,
)
from bot.store import DecisionStore, audit
from tests.manual_clock import ManualClock
from tests.rows import execute
from tests.store.examples import ANSWER, APPROVED, open_store, received, request


async def trail(store: DecisionStore, length: int = 5) -> None:
    for number in range(length):
        asked = request(f"t{number}", f"U{number}", RemediationRef("c", "i", f"r{number}"))
        job = await received(store, asked, f"job-{number}")
        await store.record_outcome(job, APPROVED, ANSWER)


async def spoil(store: DecisionStore, statement: str) -> list[str]:
    await execute(store.database, *map(text, statement.split(";")))
    return list((await audit.verify(store.database)).problems)


async def test_intact_trail_verifies(store: DecisionStore) -> None:
    assert (await store.database.read(audit.last_row))[1] == audit.GENESIS
    await trail(store)
    verdict = await audit.verify(store.database)
    assert (verdict.rows, verdict.problems, verdict.head) == (5, [], (await store.database.read(audit.last_row))[1])


SPOILT = {
    "a changed row": ("UPDATE audit SET user_id = 'U9' WHERE seq = 3", ["Row 3 was changed."]),
    "a changed time": ("UPDATE audit SET at = at + 1 WHERE seq = 5", ["Row 5 was changed."]),
    "a time before all others": ("UPDATE audit SET at = -1 WHERE seq = 5", ["Row 5 was changed."]),
    "a missing row": ("DELETE FROM audit WHERE seq = 3", ["Row 3 is missing."]),
    "missing rows": ("DELETE FROM audit WHERE seq IN (1, 2)", ["Rows 1 to 2 are missing."]),
    "reordered rows": (
        "UPDATE audit SET seq = -seq WHERE seq IN (2, 3);UPDATE audit SET seq = 5 + seq WHERE seq < 0",
        [
            "Row 2 does not follow row 1: one of them was replaced or moved.",
            "Row 2 was changed.",
            "Row 3 does not follow row 2: one of them was replaced or moved.",
            "Row 3 was changed.",
            "Row 4 does not follow row 3: one of them was replaced or moved.",
        ],
    ),
}


@pytest.mark.parametrize(("statement", "problems"), SPOILT.values(), ids=SPOILT)
async def test_spoilt_trail_is_found_and_named(store: DecisionStore, statement: str, problems: list[str]) -> None:
    await trail(store)
    assert await spoil(store, statement) == problems


async def test_row_with_bytes_in_it_is_named(tmp_path: Path, time: ManualClock) -> None:
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store:  # PostgreSQL takes none for text
        await trail(store)
        assert await spoil(store, "UPDATE audit SET reason = x'00' WHERE seq = 3") == ["Row 3 was changed."]


async def test_expected_head_finds_a_truncated_and_a_rewritten_trail(store: DecisionStore) -> None:
    await trail(store)
    _, noted = await store.database.read(audit.last_row)
    await trail_more(store)
    assert (await audit.verify(store.database, noted)).problems == []
    assert await spoil(store, "DELETE FROM audit WHERE seq >= 5") == []
    (problem,) = (await audit.verify(store.database, noted)).problems
    assert problem.startswith("The expected head is in no row")


async def trail_more(store: DecisionStore) -> None:
    job = await received(store, request("more", ref=RemediationRef("c", "i", "more")), "job-more")
    await store.record_outcome(job, APPROVED, ANSWER)


async def test_trail_is_read_by_time_remediation_and_user(store: DecisionStore) -> None:
    await trail(store)
    assert [row["seq"] async for row in audit.rows(store.database, user="U2")] == [3]
    assert [row["seq"] async for row in audit.rows(store.database, remediation="r4")] == [5]
    last = [row["at"] async for row in audit.rows(store.database)][-1]
    assert [row["seq"] async for row in audit.rows(store.database, since=last + 1)] == []
