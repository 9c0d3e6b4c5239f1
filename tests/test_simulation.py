"""The simulation: it repeats itself exactly, it notices what is broken, and it counts steps."""

import os
import subprocess
import sys

from tests.simulation.__main__ import FIXED, shrink
from tests.simulation.ablations import EVERY
from tests.simulation.faults import EVERY as EVERY_FAULT
from tests.simulation.run import play
from tests.simulation.steps import Steps, measure
from tests.simulator.process import ROOT

SOME = range(4, 8)  # of a world's acts: as many as can be halved twice
# A little above what it takes today; a step more has a reason.
BOUNDS = {
    "alert": Steps(60, 7, 3, functions=190, files=36, loads=1, draws=2),
    "click": Steps(65, 6, 5, functions=219, files=42, loads=0, draws=1),
    "typed cancel": Steps(55, 4, 3, functions=191, files=39, loads=0, draws=1),
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
