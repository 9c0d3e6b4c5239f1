"""Try many seeds, or one: `python -m tests.simulation --help`."""

import argparse
import gc
import itertools
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

from tests.simulation import faults
from tests.simulation.ablations import EVERY
from tests.simulation.run import Result, play
from tests.simulation.steps import describe

SOMETIMES = (
    "takeover with the POST in doubt",
    "takeover before the POST",
    "mode changed between look and POST",
    "commit cut before",
    "commit cut after",
    "several in one commit",
    "card deleted during its edit",
    "storm during an outage",
    "settings changed at a restart",
    "messages move",
    "process away for days",
    "slack channel closed",
    "slack away",
    "together unreadable cluster",
    "approved alone",
    "a suspended bot wakes after its work was taken over",
    "a selection is carried out",
    "a selection approves",
    "pause during a selection",
    "a decision on what came back",
    "a digest",
    "repair said to be stuck",
    "fault came back",
    "node not back",
    "fault without a repair",
    "audit braked",
    "audit released",
    "a list in pages",
    "pagerduty is told",
    "webhook is told",
    "a summary",
    "a cluster goes",
    "a selection is stopped",
    "a pause is told",
    "a pause is over",
    "somebody else's pause is ended",
    "a home is judged",
    "a list is judged",
    "a hold is shown in the end",
    "outcome released",
    "outcome first_of_two",
    "outcome already_in_flight",
    "outcome paused",
    "outcome limit_reached",
    "outcome not_allowed",
    "outcome changed",
    "outcome not_in_effect",
    "outcome too_late",
)
FIXED = {"PYTHONHASHSEED": "0"}
RARE = ("outcome expired", "a repair has lasted")  # only many thousand seeds show these for certain
PROGRESS = 500  # seeds between two lines that say how far a campaign is
FOR_SOMETIMES = 500  # seeds after which each must have happened


def campaign(seeds: Sequence[int], seconds: float, workers: int) -> Iterator[Result]:
    """Play seeds in several processes, until the time is up."""
    give_up_at, left = time.monotonic() + seconds, iter(seeds)
    with ProcessPoolExecutor(workers, initializer=_settle) as pool:
        running = {pool.submit(brief, seed) for seed in itertools.islice(left, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
            if time.monotonic() < give_up_at:
                running |= {pool.submit(brief, seed) for seed in itertools.islice(left, len(done))}


def _settle() -> None:
    gc.freeze()  # what is imported stays: a collection needn't look at it, which takes a tenth of a seed's time
    gc.set_threshold(50_000, 20, 100)


def brief(seed: int) -> Result:
    """Play a seed; its history is kept only where something is wrong."""
    result = play(seed)
    if not result.problems:
        result.history.lines.clear()
        result.history.told.clear()
        result.history.taken.clear()
    return result


def shrink(result: Result) -> Result:
    """Switch faults off and drop acts, until nothing can be left out of a failing world."""
    kind, best, without = _kind(result), result, set(faults.EVERY) - set(result.faults)

    def fails(off: set[str], acts: Sequence[int]) -> Result | None:
        tried = play(best.seed, without=off, acts=acts)
        return tried if kind & _kind(tried) else None

    for fault in best.faults:
        if found := fails({*without, fault}, list(best.acts)):
            without, best = {*without, fault}, found
            print(f"  without {fault}: it still fails", flush=True)
    size = max(1, len(best.acts) // 2)
    while True:
        acts = list(best.acts)
        for start in range(0, len(acts), size):
            kept = [each for each in acts if each in best.acts and each not in acts[start : start + size]]
            if len(kept) < len(best.acts) and (found := fails(without, kept)):
                best = found
                print(f"  with acts {kept}: it still fails", flush=True)
        if size == 1:
            return best
        size //= 2


def _kind(result: Result) -> set[str]:
    """Return what is wrong, without the names of what it is about."""
    return {re.sub(r"\b([0-9a-f]{8}|r-\d+|U0\w+|\d+)\b", "…", text) for text, _ in result.problems}


def report(result: Result) -> None:
    """Print what is wrong in a world, and how to see it again."""
    print(f"\nseed {result.seed} ({result.hash}): faults {', '.join(result.faults) or 'none'}")
    for text, _ in result.problems:
        print(f"  WRONG: {text}")
    for about in dict.fromkeys(about for _, about in result.problems):
        print(f"\n  what happened{f' to {about}' if about else ''}:")
        for line in result.history.about(about):
            print("   ", line.replace("\n", " / ")[:300])
    print(
        f"\n  Play it again: make simulate SEED={result.seed}, and ARGS=--shrink for the shortest world that fails",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="play one, and print its history")
    parser.add_argument("--shrink", action="store_true", help="with --seed: the shortest world that still fails")
    parser.add_argument("--seconds", type=float, default=86_400.0, help="begin no seed after so long")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ablations", action="store_true", help="switch each safeguard off, and see that it is found")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # else the order of a set of words differs from process to process
        os.execve(  # noqa: S606 - our own module
            sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, **FIXED}
        )
    if given.seed is not None:
        print(f"seed {given.seed}", flush=True)
        result = play(given.seed)
        if result.problems and given.shrink:
            result = shrink(result)
        report(result)
        return 1 if result.problems else 0
    if given.ablations:
        return ablate(range(given.start, given.start + given.seeds), given.workers)
    return many(range(given.start, given.start + given.seeds), given.seconds, given.workers)


def many(seeds: Sequence[int], seconds: float, workers: int) -> int:
    """Play seeds. Returns 1 where one fails, or where what must happen sometimes never did."""
    print(describe())
    began, cpu = time.monotonic(), os.times()
    marks, counts, failed, played = Counter[str](), Counter[str](), 0, 0
    for result in campaign(seeds, seconds, workers):
        played += 1
        marks.update(result.marks)
        counts.update(result.counts)
        if result.problems:
            failed += 1
            if failed <= 5:
                report(result)
            else:
                print(f"seed {result.seed}: {result.problems[0][0]}", flush=True)
        if played % PROGRESS == 0:
            print(f"{played} seeds, {failed} failed", flush=True)
    spent = time.monotonic() - began
    now = os.times()
    used = now.children_user - cpu.children_user
    print(
        f"\n{played} seeds in {spent:.0f} s, {played / spent:.1f} a second ({used / max(1, played):.2f} s of CPU each)"
    )
    print("each: " + ", ".join(f"{count / max(1, played):,.0f} {name}" for name, count in counts.items()))
    print("sometimes: " + ", ".join(f"{name} {marks[name]}" for name in (*SOMETIMES, *RARE)))
    never = [name for name in SOMETIMES if not marks[name]] if played >= FOR_SOMETIMES else []
    for name in never:
        print(f"NEVER happened: {name}")
    print(f"{failed} seeds failed")
    return 1 if failed or never else 0


def ablate(seeds: Sequence[int], workers: int) -> int:
    """Switch each safeguard off. Returns 1 where the simulation doesn't notice."""
    missed = 0
    with ProcessPoolExecutor(workers, initializer=_settle) as pool:
        found = pool.map(look_for, range(len(EVERY)), itertools.repeat(seeds))
        for ablation, (count, problem) in zip(EVERY, found, strict=True):
            how = f"found after {count} seeds: {problem}" if problem else f"NOT found in {count} seeds"
            print(f"{ablation.name}: {how}", flush=True)
            missed += not problem
    return 1 if missed else 0


def look_for(number: int, seeds: Sequence[int]) -> tuple[int, str]:
    """Return after how many seeds a safeguard that is switched off was missed, and what was wrong; "" if it wasn't."""
    for count, seed in enumerate(seeds, 1):
        if problems := EVERY[number].found_by(seed):
            return count, problems[0][0][:120]
    return len(seeds), ""


if __name__ == "__main__":
    sys.exit(main())
