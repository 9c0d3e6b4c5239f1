"""The short form of `make chaos`."""

from pathlib import Path

from tests.chaos import Chaos, describe


async def test_chaos_on_sqlite(tmp_path: Path) -> None:
    report = await Chaos(f"sqlite:///{tmp_path}/bot.db", processes=1, seconds=6, seed=1).run()
    print(describe(report))  # noqa: T201 - the figures are the result
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["answered"] == report.counts["acked"] > 20


async def test_chaos_with_two_replicas_on_postgresql(postgresql: str) -> None:
    report = await Chaos(postgresql, processes=2, seconds=6, seed=2).run()
    print(describe(report))  # noqa: T201 - the figures are the result
    assert report.problems == []
    assert report.counts["kills"] >= 2
    assert report.counts["answered"] == report.counts["acked"] > 20
