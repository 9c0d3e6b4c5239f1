"""The short form of `make chaos`."""

from pathlib import Path

from tests.chaos.decisions import Chaos
from tests.chaos.watch import WatchChaos


async def test_chaos_on_sqlite(tmp_path: Path) -> None:
    report = await Chaos(f"sqlite:///{tmp_path}/bot.db", processes=1, seconds=6, seed=1).run()
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["answered"] == report.counts["acked"] > 20


async def test_chaos_with_two_replicas_on_postgresql(postgresql: str) -> None:
    report = await Chaos(postgresql, processes=2, seconds=6, seed=2).run()
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["answered"] == report.counts["acked"] > 20


async def test_chaos_for_the_watch_on_sqlite(tmp_path: Path) -> None:
    report = await WatchChaos(f"sqlite:///{tmp_path}/bot.db", processes=1, seconds=10, seed=3).run()
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["alerts"] >= 2


async def test_chaos_for_the_watch_with_two_replicas_on_postgresql(postgresql: str) -> None:
    report = await WatchChaos(postgresql, processes=2, seconds=10, seed=4).run()
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["alerts"] >= 2
