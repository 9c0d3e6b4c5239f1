"""The simulation: it repeats itself exactly, it notices what is broken, and it counts steps."""

import asyncio
import os
import random
import subprocess
import sys

from tests.simulation import checks, fleet, truth
from tests.simulation.__main__ import FIXED, shrink
from tests.simulation.ablations import EVERY
from tests.simulation.faults import EVERY as EVERY_FAULT
from tests.simulation.history import Sent
from tests.simulation.run import play
from tests.simulation.steps import SEED, Steps, measure
from tests.simulation.world import opened
from tests.simulator.process import ROOT

SOME = range(4, 8)  # of a world's acts: as many as can be halved twice
# A little above what it takes today; a step more has a reason.
BOUNDS = {
    "alert": Steps(60, 7, 3, functions=184, files=33, loads=1, draws=1),
    "click": Steps(65, 6, 5, functions=190, files=38, loads=0, draws=1),
    "typed cancel": Steps(55, 4, 3, functions=168, files=37, loads=0, draws=1),
}


def python(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python of its own, in which sets of words have the same order each time."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **FIXED}, capture_output=True, text=True, check=False)  # noqa: S603 - our own module


def test_seed_has_the_same_history_in_every_process() -> None:
    printed = []
    for seeds in ((13, 14), (14, 13)):
        words = f"from tests.simulation.run import play; print(sorted((seed, play(seed).hash) for seed in {seeds}))"
        printed.append(python("-c", words).stdout)
    assert printed[0] == printed[1] != ""


def test_missing_safeguard_is_found_played_again_and_shrunk() -> None:
    ablation = next(each for each in EVERY if each.name == "authority")
    with ablation.switched_off():
        played = (play(seed, without=EVERY_FAULT, acts=SOME) for seed in range(36, 136))  # what is first found is short
        found = next(each for each in played if each.problems)
        again = play(found.seed, without=EVERY_FAULT, acts=SOME)
        shrunk = shrink(found)
    assert (again.hash, again.problems) == (found.hash, found.problems)
    assert shrunk.problems
    assert len(shrunk.acts) < len(found.acts)
    assert play(found.seed, without=EVERY_FAULT, acts=SOME).problems == []


def test_every_ablation_names_what_is_there() -> None:
    for ablation in EVERY:
        with ablation.switched_off():
            pass


def test_decision_takes_no_more_steps_than_it_did() -> None:
    for name, steps in measure().items():
        assert all(taken <= bound for taken, bound in zip(steps, BOUNDS[name], strict=True)), (name, steps)


def test_judges_of_what_is_said_notice_what_is_untrue() -> None:
    with opened(SEED, without=EVERY_FAULT) as world:
        world.environ["BOT_AUTOMATIC_REPAIRS"] = "all"

        async def live() -> None:
            world.begin()
            fleet.fall_ill(world, random.Random(SEED), "c-a")  # noqa: S311 - repeatable, not secret
            await asyncio.sleep(120.0)
            await world.slack.open_home(truth.AT_HOME)
            await asyncio.sleep(10.0)
            truth.in_the_end(world, checks.rows)
            assert world.history.problems == []
            while world.bots:  # nobody draws what comes now
                world.kill(world.bots[0])
            world.together.resolve(("c-a", "i-0", "r-0"))

        world.loop.run_until_complete(live())
        world.slack.add("C0OPS", {"text": "⏳ <@U0BOB> is cancelling this…"})
        truth.in_the_end(world, checks.rows)
        truth.names_deciders(world, "r-0", "Approved by <@U0ALICE> and <@U0BOB>.")
        truth.denies(world, "1234abcd", "Your approval wasn't sent: the repair changed.", "r-0")
        truth.after_a_no(world, Sent(0, 0, "", "1234abcd", "approve", ("c-a", "i-0", "r-0"), "", "", True))
        world.lists_read["bot-1", "c-a"] = [200.0, 220.0]
        world.loop.skip(500.0)
        truth.calls(world, "bot-1", "r-0", "gpu-0 has waited 15 min. <!subteam^S0ONCALL>")
    said = (
        "its card says",
        "Home says otherwise",
        "it still says",
        "isn't: Approved",
        "takes effect after",
        "are called",
    )
    found = [text for text, _ in world.history.problems]
    assert [any(words in text for text in found) for words in said] == [True] * len(said), found
    assert len(found) == len(said)
