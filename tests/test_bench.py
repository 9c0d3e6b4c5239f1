"""The benchmarks still measure what they say."""

import asyncio
import re
from pathlib import Path

import pytest
from sqlalchemy import select

from bench import growth, scale, watch
from bench.fleet import HOUR, Clusters, Fleet, Office
from bot.store.tables import audit, decisions
from tests.rows import execute_beside
from tests.simulation.loop import SeededLoop
from tests.watch import quiet
from tests.world import REF, World


async def test_storm_is_measured_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch.storm(30)
    assert "refused for its limits: 0" in capsys.readouterr().out


def test_simulated_fleet_is_decided_on_cards_and_digests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with asyncio.Runner(loop_factory=scale.seeded_loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SeededLoop)
        now = loop.clock.now
        fleet = Fleet(Clusters(2, now), Office(now), nodes=12_000, seed=1, alarm_every=1.5 * HOUR, alarm_nodes=10)
        runner.run(scale.simulate(loop, 1, fleet, tmp_path / "bot.db", hours=8))
    told = capsys.readouterr().out
    calls = {name: int(count) for name, count in re.findall(r"'(approve|cancel)': (\d+)", told)}
    assert calls["approve"] > 5
    assert calls["cancel"] > 10
    assert "refused for its limits: 0" in told
    assert "problems=[]" in told


async def test_bot_works_on_a_database_with_many_finished_decisions(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    await bot.slack.command(REF)
    await bot.answer()
    await bot.settle()
    rows = len(await execute_beside(bot, select(audit.c.seq)))
    growth.multiply(tmp_path / "bot.db", 50, age=401 * growth.DAY)
    assert len(await execute_beside(bot, select(decisions.c.id).where(decisions.c.status == "done"))) == 50
    assert len(await execute_beside(bot, select(audit.c.seq))) == 50 * rows
    async with bot.another():
        await bot.slack.command(REF)
        assert "already cancelled by <@U0ALICE>" in (await bot.answer(2)).text
        await quiet(bot)
    assert len(await execute_beside(bot, select(decisions.c.id))) == 2  # what was old was deleted
