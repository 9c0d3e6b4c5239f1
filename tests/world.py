"""The bot, unchanged, between two simulators, in one process."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from bot.app import App
from bot.models import Remediation, button_value
from bot.settings import Settings, read_settings
from bot.store import Database
from bot.store.sqlite import BUSY_SECONDS
from bot.together import Timeouts
from tests.manual_clock import HANGS_AFTER, ON_THE_WAY, ManualClock
from tests.simulator.process import variables
from tests.simulator.slack import Posted, Slack
from tests.simulator.together import Ids, Together
from tests.sqlite import fill_sqlite

IDS = ("cluster-1", "instance-1", "remediation-1")
REF = "/".join(IDS)
OTHER = ("cluster-2", "instance-9", "remediation-9")
both_transports = pytest.mark.parametrize("transport", ["http", "socket"])
both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
APPROVE, REJECT, CANCEL, REFRESH = (f"remediation:{verb}" for verb in ("approve", "reject", "cancel", "refresh"))


@dataclass
class World:
    """Everything that a flow test touches."""

    slack: Slack
    together: Together
    time: ManualClock
    settings: Settings
    app: App
    stop: asyncio.Event
    running: "asyncio.Task[None]"
    others: list[App] = field(default_factory=list)

    def transactions(self) -> "set[asyncio.Future[Any]]":
        """What the databases of all bots work on right now."""
        return {each for app in (self.app, *self.others) if app.database for each in app.database.under_way}

    def alert(
        self,
        ids: Ids = IDS,
        *,
        channel: str = "C0OPS",
        mode: str | None = "",
        state: str | None = "",
        episode: str | None = "",
    ) -> Posted:
        """Post an alert with all buttons as another tool would; None leaves a part out of their value."""
        blocks = as_alert(self.together.remediations[ids])
        for button in blocks[1]["elements"]:
            value = json.loads(button["value"])
            given = {"mode": mode, "state": state, "episode": episode}
            left_out = [name for name, kept in given.items() if kept is None]
            button["value"] = json.dumps({name: value[name] for name in value if name not in left_out})
        return self.slack.post_as_tool(blocks, channel=channel)

    async def answer(self, count: int = 1) -> Posted:
        """Wait for the so-and-so-many-th message to everybody, and give it back."""
        return (await self.slack.until(lambda: visible if len(visible := self.slack.visible()) >= count else None))[-1]

    async def edited(self, message: Posted, edits: int = 1) -> Posted:
        """Wait until a message was changed so often."""
        await self.slack.until(lambda: message.edits >= edits)
        return message

    async def reply_privately(self, user: str = "U0ALICE", count: int = 1) -> Posted:
        """Wait for a message that one person alone sees."""
        return (await self.slack.until(lambda: seen if len(seen := self.slack.visible(user)) >= count else None))[-1]

    @asynccontextmanager
    async def another(self, settings: Settings | None = None) -> "AsyncIterator[App]":
        """Run one more process of the bot on the same database; Slack sends to it as long."""
        app = App(settings or self.settings, clock=self.time.clock)
        self.others.append(app)
        async with running(app, self.slack, socket=self.slack.use_socket):
            yield app

    async def press_until_progress(self, message: Posted, action_id: str) -> None:
        """Press a button whose call to Together is paused, until the message says who is on it."""
        await self.slack.press(message, action_id)
        await self.together.until(lambda: self.together.posts)
        await self.time.advance(1)
        await self.edited(message)

    async def settle(self) -> None:
        """Stop the bot, which first finishes all that it was told: nothing more can happen after this."""
        self.stop.set()
        await self.running


def as_alert(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of an alert with all buttons."""
    value = button_value(Remediation.model_validate(fields), is_first=False, holds=None)
    elements = [
        {"type": "button", "action_id": action, "text": {"type": "plain_text", "text": action}, "value": value}
        for action in (APPROVE, REJECT, CANCEL, REFRESH)
    ]
    words = {"type": "section", "text": {"type": "mrkdwn", "text": "GPU has fallen off the bus"}}
    return [words, {"type": "actions", "elements": elements}]


def button_row(action_id: str, **extra: Any) -> dict[str, Any]:
    """A row with one button."""
    button = {"type": "button", "action_id": action_id, "text": {"type": "plain_text", "text": "x"}, **extra}
    return {"type": "actions", "elements": [button]}


def settings_for(slack: Slack, together: Together, *, socket: bool = False, **environ: str) -> Settings:
    """Read the settings of a bot between two simulators."""
    return read_settings({**variables(slack, together, use_socket=socket), "PORT": "0", **environ})


@asynccontextmanager
async def world(
    *,
    socket: bool = False,
    patience: Timeouts | None = None,
    drain_seconds: float = 25,
    busy_seconds: float = BUSY_SECONDS,
    database: str | None = None,
    time: ManualClock | None = None,
    environ: Mapping[str, str] | None = None,
    clusters: Collection[str] = (),
    **more: str,
) -> AsyncIterator[World]:
    """Start everything, with a new SQLite file unless a database is given; stop it at the end."""
    time = time or ManualClock(ON_THE_WAY)
    with tempfile.TemporaryDirectory() as folder:
        url = database or f"sqlite:///{folder}/bot.db"
        await fill_sqlite(url)
        given = {**(environ or {}), **more, "DATABASE_URL": url}
        async with Slack(time.now) as slack, Together(time.now) as together:
            slack.ack_seconds = HANGS_AFTER
            together.clusters.update({cluster: f"{cluster} (H100)" for cluster in clusters})
            settings = settings_for(slack, together, socket=socket, **given)
            opened = partial(Database, busy_seconds=busy_seconds)
            app = App(settings, clock=time.clock, patience=patience, drain_seconds=drain_seconds, make_database=opened)
            async with running(app, slack, socket=socket) as (stop, task):
                yield World(slack, together, time, settings, app, stop, task)


@asynccontextmanager
async def running(
    app: App, slack: Slack, *, socket: bool = False
) -> "AsyncIterator[tuple[asyncio.Event, asyncio.Task[None]]]":
    """Run a bot until the context ends."""
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        await _ready(app, task)
        slack.bot_url, slack.use_socket = f"http://127.0.0.1:{app.port}", socket
        if socket:
            await slack.until(lambda: slack.sockets.open)
        yield stop, task
    finally:
        stop.set()
        await task


async def _ready(app: App, running: "asyncio.Task[None]") -> None:
    ready: asyncio.Task[Any] = asyncio.create_task(app.ready.wait())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if running.done():
        await running
