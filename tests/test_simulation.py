"""The simulation: it repeats itself exactly, it notices what is broken, and it counts steps."""

import os
import subprocess
import sys

import pytest

from tests.simulation.__main__ import shrink
from tests.simulation.ablations import EVERY
from tests.simulation.run import play
from tests.simulation.steps import Steps, measure
from tests.simulator.process import ROOT

# Seeds that found a defect, which is mended.
MENDED: tuple[int, ...] = ()
# A little above what it takes today; a step more has a reason.
BOUNDS = {
    "alert": Steps(400, 20, 8),
    "click": Steps(400, 20, 8),
    "typed cancel": Steps(400, 20, 8),
}


def test_seed_has_the_same_history_in_every_process() -> None:
    hashes = set()
    for salt in ("1", "2"):  # the order of a set of words depends on it
        words = "from tests.simulation.run import play; print(*[play(seed).hash for seed in (3, 11, 24)])"
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-c", words], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        hashes.add(done.stdout)
    assert len(hashes) == 1


@pytest.mark.parametrize("seed", MENDED)
def test_mended_seed_stays_mended(seed: int) -> None:
    assert play(seed).problems == []


def test_missing_safeguard_is_found_played_again_and_shrunk() -> None:
    ablation = next(each for each in EVERY if each.name == "two people")
    with ablation.switched_off():
        found = next(result for seed in range(100) if (result := play(seed)).problems)
        again, shrunk = play(found.seed), shrink(found)
    assert (again.hash, again.problems) == (found.hash, found.problems)
    assert shrunk.problems
    assert len(shrunk.acts) <= len(found.acts)
    assert play(found.seed).problems == []


def test_decision_takes_no_more_steps_than_it_did() -> None:
    for name, steps in measure().items():
        assert all(taken <= bound for taken, bound in zip(steps, BOUNDS[name], strict=True)), (name, steps)
