"""The short form of `make chaos`: it ends after some kills and answers, however long they take.

Only what takes real processes and PostgreSQL; kills on SQLite are left to the simulation, and to `make chaos`.
"""

import pytest

from tests.chaos.decisions import DecisionChaos, OutageChaos
from tests.chaos.watch import WatchChaos, WatchOutageChaos
from tests.watch import pass_time
from tests.world import World

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


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("lost", [0, 1])
async def test_judge_counts_what_a_digest_of_several_clusters_has_no_room_to_name(bot: World, lost: int) -> None:
    """Where the first processes are killed before they have posted anything, all that waits is one digest."""

    def broken(number: int) -> tuple[str, str, str]:
        return bot.together.add((f"cluster-{number % 8}", f"node-{number}", f"remediation-{number:06d}-"))

    ids = [broken(number) for number in range(1, 11)]
    await pass_time(bot, 180)
    assert "10 nodes need a decision (open before monitoring started)" in bot.slack.digests()[0].text
    chaos = WatchChaos("", 1, 0)
    chaos.slack, chaos.together = bot.slack, bot.together
    chaos._ids = [*ids, *(broken(11 + number) for number in range(lost))]
    assert len(chaos.unsettled()) == lost
