"""`make bench`: the ack, a cycle of the watch, and a storm."""

import asyncio
import sys

from tests.bench import ack, watch


async def main() -> int:
    """Measure and print all. The exit status is 1 when the ack is too slow or Slack's limits are exceeded."""
    is_slow = await ack.main()
    await watch.cycles()
    keeps_limits = await watch.storm()
    return int(bool(is_slow) or not keeps_limits)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
