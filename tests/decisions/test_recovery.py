"""Deaths and takeovers: what a dead process left is finished by another one, once."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from bot.cards import CardConfig
from bot.clock import WaitReason
from bot.decisions import DecisionService, Guardrails
from bot.decisions.executor import REPEAT_AFTER
from bot.errors import InternalError
from bot.models import Actor, Delivery, Message, Person, RemediationRef, ReplyTarget, Request, Verb
from bot.policy import Policy
from bot.store import Database, DecisionStore, audit
from bot.store.tables import decisions
from bot.together import TogetherClient
from bot.transport import AiohttpTransport
from tests.deaths import age_by, died_while, left_behind, own_comment
from tests.manual_clock import ON_THE_WAY, ManualClock
from tests.rows import column, execute, execute_beside
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, both_databases, world

pytestmark = pytest.mark.bot(drain_seconds=0.05)


@both_databases
async def test_post_that_never_arrived_is_repeated_once_and_counted(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"), bot.another():
        await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert len(bot.together.posts) == 1
    assert await column(bot, "repeats") == 1
    (waited,) = bot.time.slept(WaitReason.READ_BACK)
    assert 0 < waited <= REPEAT_AFTER


@both_databases
async def test_post_that_arrived_is_not_repeated(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"):
        bot.together.review(IDS, "approve", await own_comment(bot))
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "Approved by <@U0ALICE>" in alert.text
    assert await column(bot, "repeats") == 0


@both_databases
@pytest.mark.parametrize("change", ["mode", "state"])
async def test_post_is_not_repeated_when_the_remediation_has_changed(bot: World, change: str) -> None:
    bot.together.add()
    alert = await left_behind(bot, CANCEL)
    async with died_while(bot, at="sent"):
        if change == "mode":
            bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        else:
            bot.together.review(IDS, "approve")
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "your cancellation hadn't taken effect as of" in alert.text, "the first POST may still be on its way"
    assert "It wasn't sent again: the" in alert.text
    assert list(alert.buttons) == [REFRESH]
    assert await column(bot, "repeats") == 0


@both_databases
async def test_post_is_not_repeated_after_ten_minutes(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"):
        await age_by(bot, 601)
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "your approval hadn't taken effect as of" in alert.text
    assert "it still might. The bot was interrupted before it had Together's answer." in alert.text
    assert list(alert.buttons) == [REFRESH]


@both_databases
async def test_outcome_that_cannot_be_read_after_a_death_is_unknown(bot: World) -> None:
    bot.together.add()
    await left_behind(bot, APPROVE)
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    async with died_while(bot, at="sent"), bot.another():
        error = await bot.answer(2)
    told = "The approval may have gone through. The bot was interrupted before it had Together's answer. Checking"
    assert told in error.text
    assert bot.together.posts == []


@both_databases
async def test_decision_that_was_not_sent_is_sent_by_the_next_process(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="read"), bot.another():
        await bot.edited(alert)
    assert len(bot.together.posts) == 1
    assert await column(bot, "repeats") == 0


@both_databases
async def test_row_of_an_answered_decision_is_blanked_and_audited(bot: World) -> None:
    bot.together.add()
    await bot.slack.command(f"{REF} by hand")
    await bot.answer()
    await bot.settle()
    assert await column(bot, "status") == "done"
    assert await column(bot, "request") is None
    database = Database(bot.settings.database_url)
    rows = [dict(row) async for row in audit.rows(database)]
    verdict = await audit.verify(database)
    await database.close()
    assert [(row["event"], row["outcome"], row["state"]) for row in rows] == [
        ("send", None, None),
        ("outcome", "cancelled", "CANCELLED"),
    ]
    assert rows[0]["reason"] == "by hand"
    assert (rows[1]["http_status"], rows[1]["request_id"]) == (200, "req-1")
    assert verdict.problems == []
    for secret in ("/response/", "xoxb-", bot.settings.together_api_key.get_secret_value()):
        assert secret not in json.dumps(rows)


@both_databases
async def test_refusal_is_audited(bot: World) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await bot.settle()
    database = Database(bot.settings.database_url)
    (row,) = [row async for row in audit.rows(database)]
    await database.close()
    assert (row["event"], row["outcome"], row["user_id"], row["shown_state"]) == (
        "outcome",
        "not_allowed",
        "U0CAROL",
        "PENDING_APPROVAL",
    )


@both_databases
async def test_error_is_audited_with_status_and_request_id(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="cancel", code=7, headers={"x-request-id": "req-7"}))
    await bot.slack.command(REF)
    await bot.answer()
    await bot.settle()
    database = Database(bot.settings.database_url)
    rows = [row async for row in audit.rows(database)]
    await database.close()
    assert (rows[-1]["outcome"], rows[-1]["http_status"], rows[-1]["request_id"]) == ("key_refused", 403, "req-7")


async def test_two_replicas_and_two_people_at_once_cause_one_post(postgresql: str) -> None:
    rounds = 200
    async with world(database=postgresql) as bot, bot.another() as second:
        addresses = [f"http://127.0.0.1:{app.port}" for app in (bot.app, second)]
        posts: list[int] = []
        for number in range(rounds):
            ids = bot.together.add(("cluster-1", f"node-{number}", f"remediation-{number}"))
            alert = bot.alert(ids)
            alices, bobs = bot.slack.click(alert, APPROVE), bot.slack.click(alert, CANCEL, user="U0BOB")
            acks = await asyncio.gather(
                *(deliver(bot, payload, address) for payload in (alices, bobs) for address in addresses)
            )
            assert [ack.status for ack in acks] == [200] * 4
            await bot.edited(alert)
            posts.append(len([call for call in bot.together.posts if call.ids == ids]))
            assert bot.together.state(ids) in {"PENDING", "CANCELLED"}
        await bot.settle()
        assert posts == [1] * rounds


async def deliver(bot: World, payload: dict[str, Any], address: str) -> Any:
    bot.slack.bot_url = address
    return await bot.slack.deliver("interactive", payload)


async def test_living_replica_finishes_what_a_dead_one_left(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        async with bot.another() as survivor:
            bot.slack.bot_url = f"http://127.0.0.1:{bot.app.port}"
            alert = await left_behind(bot, APPROVE)
            await bot.time.end_pause(WaitReason.HEARTBEAT)
            await bot.edited(alert)
            assert bot.together.state(IDS) == "PENDING"
            assert survivor.tasks.accepting


class Members:
    """A directory in which everybody is a full member."""

    async def members(self, _group_id: str) -> frozenset[str]:
        return frozenset()

    async def person(self, _user_id: str) -> Person:
        return Person("T0HOME", is_full_member=True)

    async def name_of(self, some_id: str) -> str:
        return some_id


@dataclass
class Ear:
    """A Messenger that remembers what was said, and how."""

    said: list[tuple[str, str]] = field(default_factory=list)

    async def progress(self, place: ReplyTarget, _message: Message) -> ReplyTarget:
        return place

    async def reread(self, place: ReplyTarget) -> ReplyTarget:
        return place

    async def answer(self, _place: ReplyTarget, message: Message, _beside: Message | None = None) -> Delivery:
        self.said.append(("answer", message.text))
        return Delivery()

    async def reply(self, _place: ReplyTarget, message: Message, _on_card: Message | None) -> Delivery:
        self.said.append(("reply", message.text))
        return Delivery()

    async def reply_privately(self, _place: ReplyTarget, message: Message, *, once: bool = False) -> bool:  # noqa: ARG002 - as the port has it
        self.said.append(("whisper", message.text))
        return True


@asynccontextmanager
async def broken(tmp_path: Path) -> AsyncIterator[tuple[DecisionService, DecisionStore, Ear]]:
    """Decisions whose HTTP client was closed too early: a bug, not an outage."""
    time = ManualClock(ON_THE_WAY)
    database = Database(f"sqlite:///{tmp_path}/bot.db")
    await database.open()
    transport = AiohttpTransport(ssl.create_default_context(), limit=1, proxy=None)
    await transport.aclose()
    store, ear = DecisionStore(database, 15, time.clock), Ear()
    policy = Policy(("U0ALICE",), frozenset(), "T0HOME", Members(), CardConfig().observes)
    together = TogetherClient(transport, "http://127.0.0.1:1/v1", "key", clock=time.clock)
    try:
        guards = Guardrails(CardConfig(), together, database, policy, time.clock, None)
        yield DecisionService(guards, ear, store), store, ear
    finally:
        await database.close()


def cancel() -> Request:
    actor = Actor("U0ALICE", "alice", "T0HOME", is_member=True)
    return Request(Verb.CANCEL, RemediationRef(*IDS), actor, ReplyTarget("C0OPS", "U0ALICE"), trigger_id="t1")


async def test_bug_is_answered_and_says_what_may_have_happened(tmp_path: Path) -> None:
    async with broken(tmp_path) as (decide, _, ear):
        work = await decide.receive(cancel())
        assert asyncio.iscoroutine(work)
        await work
    ((how, text),) = ear.said
    assert how == "reply"
    assert "Something went wrong in the bot. Your cancellation may have gone through." in text


def test_bug_before_anything_was_sent_leaves_nothing_in_doubt() -> None:
    before, after = (InternalError("approval", sent=sent) for sent in (False, True))
    assert (before.code.is_doubtful, before.check_again) == (False, False)
    assert (after.code.is_doubtful, after.check_again) == (True, True)


async def test_process_that_was_overtaken_says_nothing(tmp_path: Path) -> None:
    async with broken(tmp_path) as (decide, store, ear):
        work = await decide.receive(cancel())
        assert asyncio.iscoroutine(work)
        await execute(store.database, update(decisions).values(fence=2))
        await work
    assert ear.said == []


async def test_cancelled_statement_is_finished_and_the_process_can_end(tmp_path: Path) -> None:
    async with broken(tmp_path) as (_, store, _ear):
        async with locked(tmp_path / "bot.db"):
            task = asyncio.create_task(store.heartbeat())
            await asyncio.wait({task}, timeout=0.05)
            task.cancel()
            await asyncio.wait({task})
            task.cancel()
        assert task.cancelled()


@both_databases
async def test_row_that_cannot_be_read_is_set_aside_and_the_bot_starts(
    bot: World, caplog: pytest.LogCaptureFixture
) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
    await execute_beside(bot, update(decisions).values(request='{"verb": "explode"}', lease_until=0.0))
    async with bot.another():
        await bot.slack.command(" ".join(other))
        await bot.answer(2)
        assert alert.edits == 0
    assert "can't be read and is set aside" in caplog.text
    rows = await execute_beside(bot, select(decisions.c.status).order_by(decisions.c.received_at))
    assert [row["status"] for row in rows] == ["set aside", "done"]


@both_databases
async def test_look_that_fails_before_a_repeat_after_a_death_is_not_called_unsent(bot: World) -> None:
    bot.together.add()
    await left_behind(bot, APPROVE)
    reads = iter(["the one after the death"])

    def fail_from_the_second_on() -> None:
        if next(reads, None) is None:
            bot.together.faults[:] = [Fault("rpc", verb="get", code=14, times=-1)]

    async with died_while(bot, at="sent"):
        await age_by(bot, 60)
        bot.together.on_call["get answered"] = fail_from_the_second_on
        bot.together.on_call["get"] = fail_from_the_second_on
        async with bot.another():
            error = await bot.answer(2)
    assert "The approval may have gone through." in error.text
    assert bot.together.posts == []


@pytest.mark.parametrize("action", [APPROVE, REFRESH])
async def test_decision_that_the_database_refuses_is_set_aside_and_answered(bot: World, action: str) -> None:
    bot.together.add()
    alert = bot.alert()
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'broken'); END"
    await execute_beside(bot, text(refuse))
    await bot.slack.press(alert, action)
    assert "Something went wrong in the bot" in (await bot.answer(2)).text
    await bot.settle()
    assert await column(bot, "status") == "set aside"
    assert bot.together.posts == []
