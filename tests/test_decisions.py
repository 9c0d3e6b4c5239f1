"""When the database goes away in the middle, and when the bot itself is wrong."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from bot.clock import Pause
from bot.decisions import Decisions, Guards, Limits
from bot.models import Actor, Message, Place, RemediationRef, Request, Verb
from bot.policy import Policy
from bot.store import Database, Store
from bot.store.tables import decisions
from bot.together import TogetherClient
from handlers.directory import SlackDirectory
from tests.manual_clock import ON_THE_WAY, ManualClock
from tests.sqlite import locked
from tests.world import APPROVE, IDS, REF, REFRESH, World, world


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[World]:
    async with world(database=f"sqlite:///{tmp_path}/bot.db", drain_seconds=0.05) as running:
        yield running


async def test_a_decision_whose_row_cannot_be_written_is_not_carried_out(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        assert "The bot cannot reach its own database" in (await bot.whisper()).text
    await bot.settle()
    assert bot.together.posts == []
    assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_an_outcome_that_cannot_be_written_yet_is_told_all_the_same(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        await bot.edited(alert)
        assert "Approved in Slack by <@U0ALICE>" in alert.text
    await until_done(bot)
    assert alert.edits == 1


async def until_done(bot: World) -> None:
    """Wait until the bot has nothing in hand; it writes as soon as the database lets it."""
    await bot.app.tasks.drain(20)
    with sqlite3.connect(bot.settings.database_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT status, outcome FROM decisions").fetchall() == [("done", "approved")]


async def test_readyz_says_that_the_database_is_locked(bot: World, tmp_path: Path) -> None:
    async with locked(tmp_path / "bot.db"):
        await bot.time.end_pause(Pause.HEARTBEAT)
        async with httpx.AsyncClient(trust_env=False) as http:
            while (ready := await http.get(f"{bot.slack.bot_url}/readyz")).status_code == 200:
                pass
    assert ready.text.startswith("The database cannot be reached")


async def test_what_cannot_be_handed_back_is_answered_as_interrupted(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        async with locked(tmp_path / "bot.db"):
            await bot.settle()
    error = await bot.answer(2)
    assert "The bot was stopped while Together was working on the approval: it may have taken effect." in error.text
    assert list(error.buttons) == [REFRESH]


async def test_a_cancelled_statement_is_finished_and_the_process_can_end(tmp_path: Path) -> None:
    async with broken(tmp_path) as (_, store, _ear):
        async with locked(tmp_path / "bot.db"):
            task = asyncio.create_task(store.heartbeat(["job-1"]))
            await asyncio.wait({task}, timeout=0.05)
            task.cancel()
            await asyncio.wait({task})
            task.cancel()
        assert task.cancelled()


@dataclass
class Ear:
    """A Messenger that remembers what was said, and how."""

    said: list[tuple[str, str]] = field(default_factory=list)

    async def progress(self, place: Place, _message: Message) -> Place:
        return place

    async def answer(self, _place: Place, message: Message) -> bool:
        self.said.append(("answer", message.text))
        return True

    async def reply(self, _place: Place, message: Message) -> None:
        self.said.append(("reply", message.text))

    async def whisper(self, _place: Place, message: Message) -> None:
        self.said.append(("whisper", message.text))


@asynccontextmanager
async def broken(tmp_path: Path) -> AsyncIterator[tuple[Decisions, Store, Ear]]:
    """Decisions whose HTTP client was closed too early: a bug, not an outage."""
    time = ManualClock(ON_THE_WAY)
    database = Database(f"sqlite:///{tmp_path}/bot.db")
    await database.open()
    http = httpx.AsyncClient()
    await http.aclose()
    store, ear = Store(database, 15, time.clock), Ear()
    policy = Policy(("U0ALICE",), frozenset(), "T0HOME", SlackDirectory.__new__(SlackDirectory))
    together = TogetherClient(http, "http://127.0.0.1:1/v1", "key", clock=time.clock)
    try:
        guards = Guards(Limits(), together, store, policy, time.clock)
        yield Decisions(together, policy, guards, ear, store, time.clock), store, ear
    finally:
        await database.close()


def cancel() -> Request:
    actor = Actor("U0ALICE", "alice", "T0HOME", is_member=True)
    return Request(Verb.CANCEL, RemediationRef(*IDS), actor, Place("C0OPS", "U0ALICE"), trigger_id="t1")


async def test_a_bug_is_answered_and_says_what_may_have_happened(tmp_path: Path) -> None:
    async with broken(tmp_path) as (decide, _, ear):
        work = await decide.receive(cancel())
        assert work is not None
        await work
    ((how, text),) = ear.said
    assert how == "reply"
    assert "The bot itself failed; its log says why. The cancellation may have taken effect." in text


async def test_who_was_overtaken_says_nothing(tmp_path: Path) -> None:
    async with broken(tmp_path) as (decide, store, ear):
        work = await decide.receive(cancel())
        assert work is not None
        async with store.database.begin() as connection:
            await connection.execute(update(decisions).values(fence=2))
        await work
    assert ear.said == []


async def test_a_redelivery_after_a_restart_is_ignored(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    payload = bot.slack.click(alert, APPROVE)
    await bot.slack.deliver("interactive", payload)
    await bot.edited(alert)
    await bot.settle()
    async with bot.another():
        assert (await bot.slack.deliver("interactive", payload)).status == 200
        await bot.slack.command(f"{REF} to see that it works")
        await bot.answer(2)
    assert alert.edits == 1
