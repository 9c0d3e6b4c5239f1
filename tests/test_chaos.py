"""The short form of `make chaos`: it ends after some kills and answers, however long they take.

Only what takes real processes and PostgreSQL; kills on SQLite are left to the simulation, and to `make chaos`.
"""

from tests.chaos.decisions import DecisionChaos, OutageChaos
from tests.chaos.watch import WatchChaos, WatchOutageChaos

DECISIONS = {"kills": 2, "acked": 25, "faults": 10}
WATCH = {"kills": 2, "broken nodes": 3, "changes": 4, "alerts": 2}


async def test_every_acked_decision_is_answered_by_two_replicas_on_postgresql(postgresql: str) -> None:
    report = await DecisionChaos(postgresql, processes=2, seed=2, until=DECISIONS).run()
    assert report.problems == []
    assert report.counts["answered"] == report.counts["acked"]


async def test_nobody_is_told_no_and_gets_a_yes_while_lines_are_cut(postgresql: str) -> None:
    report = await OutageChaos(postgresql, processes=2, seed=5, until={"kills": 2, "acked": 20, "cut lines": 5}).run()
    assert report.problems == []
    assert report.counts["answered"] == report.counts["acked"]


async def test_every_card_is_true_in_the_end_with_two_replicas_on_postgresql(postgresql: str) -> None:
    report = await WatchChaos(postgresql, processes=2, seed=4, until=WATCH).run()
    assert report.problems == []


async def test_every_card_is_true_in_the_end_although_lines_are_cut(postgresql: str) -> None:
    report = await WatchOutageChaos(postgresql, processes=2, seed=6, until=WATCH | {"cut lines": 5}).run()
    assert report.problems == []
