"""Both simulators, the unchanged bot as a process between them, and the page."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests.simulator.console import Console, Scenes
from tests.simulator.process import free_port, ready, start_bot, stop_bot, variables
from tests.simulator.slack import Channel, Slack
from tests.simulator.slack.limits import Limits
from tests.simulator.together import Together

CHANNEL = "C0OPS"
OPERATORS = {"U0ALICE", "U0BOB"}
ONCALL = "S0ONCALL"
PACE_SECONDS = 5.0


@dataclass
class Stage:
    """All that the page shows, and the settings of a bot for it."""

    slack: Slack
    together: Together
    scenes: Scenes
    console: Console
    settings: Mapping[str, str]


@dataclass
class Demo(Stage):
    """The same, with the process of the bot."""

    bot: "Popen[str]"
    log: Path
    bot_port: int


@asynccontextmanager
async def stage(port: int = 0) -> AsyncIterator[Stage]:
    """Start everything but the bot, and stop it at the end.

    Args:
        port: where the page is served; 0 takes a free one.
    """
    async with Slack() as slack, Together(slack.now) as together:
        slack.channels = {CHANNEL: Channel("gpu-oncall")}
        slack.add_user("U0DANA", "dana", team_id="T0PARTNER")
        slack.limits = Limits()
        scenes = Scenes(together, slack.now)
        slack.groups[ONCALL], slack.group_names[ONCALL] = ["U0ALICE"], "gpu-oncall"
        watch = {
            "BOT_ALERT_CHANNEL": CHANNEL,
            "BOT_POLL_SECONDS": "1",
            "BOT_OPERATORS": ",".join(sorted(OPERATORS)),
            "BOT_ONCALL": ONCALL,
            "BOT_REMIND_MINUTES": "1",
            "BOT_TWO_PEOPLE_MODES": "HOST_AWARE",
            "BOT_MAX_IN_REPAIR_PERCENT": "50",
            "BOT_STORM_BRAKE": "80%",
            "BOT_UNREPAIRED_MINUTES": "1",
            "BOT_STUCK_MINUTES": "1",
            "BOT_WAIT_MINUTES": "*=1",
            "BOT_RUNBOOK_URL": "https://docs.nvidia.com/deploy/xid-errors/index.html#xid-{xid}",
        }
        passing = asyncio.create_task(scenes.pass_time(PACE_SECONDS))
        try:
            async with Console(slack, together, scenes, OPERATORS, port) as console:
                yield Stage(slack, together, scenes, console, {**variables(slack, together), **watch})
        finally:
            passing.cancel()


@asynccontextmanager
async def demo(port: int = 0) -> AsyncIterator[Demo]:
    """Start everything, and stop it at the end.

    Args:
        port: where the page is served; 0 takes a free one.
    """
    async with stage(port) as on:
        with tempfile.TemporaryDirectory() as folder:
            log, bot_port = Path(folder) / "bot.log", free_port()
            bot = start_bot(Path(folder), on.settings, port=bot_port, log=log)
            try:
                try:
                    await ready(on.slack, bot_port)
                    await first_look(on)
                except TimeoutError:
                    raise SystemExit(f"The bot did not start. Its log:\n{log.read_text()}") from None
                yield Demo(on.slack, on.together, on.scenes, on.console, on.settings, bot, log, bot_port)
            finally:
                await stop_bot(bot)


async def first_look(on: Stage) -> None:
    """Wait until the bot has looked for the first time: what is there before is a backlog, and no alert."""
    await on.together.until(lambda: any(call.verb == "list" for call in on.together.calls))
