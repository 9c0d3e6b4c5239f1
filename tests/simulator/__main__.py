"""`make demo`: both simulators, the unchanged bot as a process, and a tour through it in the terminal."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.simulator.tour import ALERT_CHANNEL, WATCHED, Tour


async def main() -> int:
    """Run the tour. The exit status is 0 only if each step ended as it was told."""
    async with Slack() as slack, Together(slack.now) as together:
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            together.clusters[WATCHED] = "H100"
            watched = {"BOT_ALERT_CHANNEL": ALERT_CHANNEL, "BOT_CLUSTERS": WATCHED, "BOT_POLL_SECONDS": "1"}
            bot = start_bot(Path(folder), {**variables(slack, together), **watched}, port=port)
            try:
                await ready(slack, port)
                failed = await Tour(slack, together).run()
            finally:
                bot.send_signal(signal.SIGTERM)
                _, log = bot.communicate(timeout=30)
    if failed or bot.returncode:
        print(f"\nThe bot ended with status {bot.returncode}. Its log:\n{log}")
        return 1
    print("\nEvery step ended as told. The bot finished its work and stopped by itself.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--tour", action="store_true", help="the tour in the terminal, which ends by itself (default)")
    parser.parse_args()
    sys.exit(asyncio.run(main()))
