"""`make chaos`: for decisions and for the watch, on SQLite with one process and on PostgreSQL with two."""

import argparse
import asyncio
import random
import sys
import tempfile

from tests.chaos.decisions import DecisionChaos, OutageChaos
from tests.chaos.lines import CutLines
from tests.chaos.watch import WatchChaos, WatchOutageChaos
from tests.postgres import new_schema, serve_postgresql


def main() -> int:
    """Run all. The exit status is 0 only if none found a problem."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    failed = False
    with tempfile.TemporaryDirectory() as folder, serve_postgresql() as server:
        for run in (DecisionChaos, OutageChaos, WatchChaos, WatchOutageChaos):
            for name, processes in (("SQLite", 1), ("PostgreSQL", 2)):
                if issubclass(run, CutLines) and name == "SQLite":
                    continue  # a file has no line that could be cut
                url = f"sqlite:///{folder}/{run.__name__}.db" if name == "SQLite" else new_schema(server)
                report = asyncio.run(run(url, processes, options.seed, seconds=options.seconds).run())
                print(f"\n{run.__name__}, {name}, {processes} process(es), {options.seconds:g} s\n{report}", flush=True)
                failed = failed or bool(report.problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
