"""`make bench`: the bot beside its peers, a cycle of the watch, and a storm."""

import asyncio
import sys

import uvloop

from bench import compare, watch


async def main() -> int:
    """Measure and print all. The exit status is 1 when the ack is too slow or Slack's limits are exceeded."""
    is_quick = await compare.main()
    await watch.cycles()
    keeps_limits = await watch.storm()
    return int(not is_quick or not keeps_limits)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main()))
