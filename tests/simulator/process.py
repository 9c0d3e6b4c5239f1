"""The unchanged bot as a process between the two simulators."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import aiohttp

from tests.simulator.slack import Slack
from tests.simulator.slack.workspace import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.simulator.together import API_KEY, Together

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS = 30.0  # the bot takes 25 at most to finish its work
KEPT = ("PATH", "PYTHON", "COVERAGE", "SYSTEMROOT")


def variables(slack: Slack, together: Together, *, use_socket: bool = False) -> dict[str, str]:
    """The bot's settings."""
    transport = {"SLACK_APP_TOKEN": APP_TOKEN} if use_socket else {"SLACK_SIGNING_SECRET": SIGNING_SECRET}
    return {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_API_URL": slack.api_url,
        "TOGETHER_API_KEY": API_KEY,
        "TOGETHER_BASE_URL": together.base_url,
        "BOT_OPERATORS": "U0ALICE,U0BOB",
        "HOST": "127.0.0.1",
        **transport,
    }


class Bot(subprocess.Popen[str]):
    """A bot in a separate process, which ends with its context also where a test fails in that."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            self.kill()  # or it would be waited for forever
        super().__exit__(kind, value, trace)


def start_bot(cwd: Path, settings: Mapping[str, str], *arguments: str, port: int = 0, log: Path | None = None) -> Bot:
    """Start `python -m bot` with these settings and nothing else of this machine's environment.

    Args:
        cwd: where it runs.
        settings: its environment.
        arguments: its words.
        port: where it serves HTTP.
        log: a file for what it logs; by default a pipe, which somebody must read.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    with ExitStack() as stack:
        return Bot(
            [sys.executable, "-m", "bot", *arguments],
            cwd=cwd,
            env={**kept, "PYTHONPATH": str(ROOT), **settings, "PORT": str(port)},
            stdout=subprocess.PIPE if log is None else subprocess.DEVNULL,
            stderr=subprocess.PIPE if log is None else stack.enter_context(log.open("a")),
            text=True,
        )


def free_port() -> int:
    """Return a port of those that no outgoing connection is given, which would take it before the bot listens."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)  # Linux gives out 32768 and more (ip(7), ip_local_port_range)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def ready(slack: Slack, port: int, *, started: int = 1) -> None:
    """Wait until a bot is ready, and let Slack send to it.

    Args:
        slack: which a bot asks who it is as soon as it listens.
        port: where the bot serves HTTP.
        started: how many bots were started until now; all of them must have asked.
    """
    await slack.until(lambda: [method for method, _ in slack.calls].count("auth.test") >= started)
    slack.bot_url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        while (await session.get(f"{slack.bot_url}/readyz")).status != 200:  # noqa: ASYNC110 - another process is
            await asyncio.sleep(0.05)  # the bot needs the CPU to begin


async def stop_bot(bot: "subprocess.Popen[str]") -> None:
    """Let a bot end the way its host does, while the simulators go on answering it."""
    bot.send_signal(signal.SIGTERM)
    await asyncio.to_thread(bot.wait, STOP_SECONDS)
