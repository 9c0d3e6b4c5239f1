"""The statements of alerts and digests, on both databases."""

from dataclasses import replace

from bot.models import Alert, Remediation
from bot.store import Alerts, Database, Digests
from tests.manual_clock import START, ManualClock
from tests.samples import DIGEST, remediation


async def test_more_alerts_than_fit_into_one_statement_are_added_once(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Digests(database)
    many = [Alert(each, "", "C0OPS", seen_at=0.0, next_at=None) for each in remediations(1001)]
    await store.add(DIGEST, many)
    await store.add(DIGEST, many[400:])
    look = await store.look(DIGEST.id)
    await database.close()
    assert look is not None
    assert [each.remediation.id for each in look.alerts] == [each.remediation.id for each in many]


async def test_stuck_alerts_keep_no_others_waiting(database_url: str) -> None:
    database = Database(database_url, ManualClock().clock)
    await database.open()
    store = Alerts(database)
    stuck = [Alert(each, "", "C0OPS", seen_at=0.0, next_at=0.0) for each in remediations(501)]
    last = replace(stuck.pop(), next_at=START - 1)
    await store.add([*stuck, last])
    due = [await store.due() for _ in range(100)]  # it is not among 500 of 501 once in 501 times
    await database.close()
    assert any(last.remediation.ref in each for each in due)


def remediations(count: int) -> list[Remediation]:
    return [remediation(id=f"r-{number:04}") for number in range(count)]
