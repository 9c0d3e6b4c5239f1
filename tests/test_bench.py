"""The benchmarks still measure what they say."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.bench import scale, watch
from tests.bench.fleet import HOUR, Clusters, Fleet, Office
from tests.bench.virtual_time import VirtualLoop


async def test_storm_is_measured_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch.storm(30)
    assert "refused for its limits: 0" in capsys.readouterr().out


def test_simulated_fleet_breaks_is_decided_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        now = loop.clock.now
        fleet = Fleet(Clusters(2, now), Office(now), nodes=20, seed=1, alarm_every=HOUR)
        runner.run(scale.simulate(loop, 1, fleet, tmp_path / "bot.db"))
    told = capsys.readouterr().out
    assert {"SUCCEEDED", "CANCELLED", "AUTO_RESOLVED"} >= set(re.findall(r"'([A-Z_]+)': \d", told)) >= {"CANCELLED"}
    assert "refused for its limits: 0" in told
    assert "problems=[]" in told
