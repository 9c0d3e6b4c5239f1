"""`make demo`: both simulators and the unchanged bot, on a page; with `--tour`, a walk through it in the terminal."""

import argparse
import asyncio
import errno
import signal
import sys
import tempfile
from pathlib import Path

from tests.simulator.demo import demo
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.simulator.tour import ALERT_CHANNEL, WATCHED, Tour

HIGHEST_PORT = 65_535


async def show(port: int) -> int:
    """Serve the page until Ctrl-C. The exit status is 0 unless the bot ended before."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    print("Starting…", flush=True)
    async with demo(port) as running:
        running.scenes.begin()
        print(f"Open {running.console.url}/ in your browser. Ctrl-C stops it.\nBot log: {running.log}", flush=True)
        ended = asyncio.create_task(asyncio.to_thread(running.bot.wait))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            print(f"The bot ended with status {running.bot.returncode}. Its log:\n{running.log.read_text()}")
            return 1
        print("\nStopping…", flush=True)
    await ended
    return 0


async def examine() -> int:
    """Run the doctor beside a bot between the simulators. The exit status is the doctor's."""
    async with demo() as running:
        settings = dict(running.settings)
        doctor = start_bot(running.log.parent, settings, "doctor", port=running.bot_port)
        told, wrong = await asyncio.to_thread(doctor.communicate)
    print(told + wrong, end="")
    return doctor.returncode


async def walk() -> int:
    """Run the tour. The exit status is 0 only if each step ended as it was told."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Slack() as slack, Together(slack.now) as together:
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            together.clusters[WATCHED] = "llama-train"
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
    print("\nEvery step passed. The bot finished its work and shut down cleanly.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--tour", action="store_true", help="run the tour in the terminal, then exit")
    parser.add_argument("--doctor", action="store_true", help="run the doctor beside the bot, then exit")
    parser.add_argument("--port", type=int, default=0, help="port of the page; default: any free port")
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= HIGHEST_PORT:
        parser.error(f"--port: a number from 0 to {HIGHEST_PORT}")
    try:
        shown = walk() if arguments.tour else examine() if arguments.doctor else show(arguments.port)
        sys.exit(asyncio.run(shown))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        sys.exit(f"Cannot listen on port {arguments.port}: {error.strerror or error}.")
