"""Answers of Slack that lack what was asked for: they say nothing, so nothing is concluded from them."""

import asyncio

import pytest

from bot.clock import WaitReason
from handlers.client import SlackClient
from handlers.connection import Connection
from tests.manual_clock import ManualClock
from tests.simulator.slack import Slack
from tests.simulator.slack.workspace import BOT_TOKEN, TEAM, SlackFault
from tests.storms import began
from tests.test_doctor import found
from tests.watch import pass_time, until
from tests.world import APPROVE, OTHER, REFRESH, World, world

MOVING = ("team_added_to_org", "org_login_required")  # while the workspace moves into an Enterprise organization


@pytest.mark.parametrize(("method", "operators"), [("users.info", "U0ALICE"), ("usergroups.users.list", "S0OPS")])
async def test_answer_of_slack_without_what_was_asked_is_no_answer(method: str, operators: str) -> None:
    async with world(BOT_OPERATORS=operators) as bot:
        bot.slack.groups["S0OPS"] = ["U0ALICE"]
        bot.together.add()
        alert = bot.alert()
        bot.slack.faults.append(SlackFault(method, "nothing"))
        await bot.slack.press(alert, APPROVE)
        told = (await bot.reply_privately()).text
        assert "Couldn't check your permissions" in told, told


async def test_known_operator_stays_one_through_an_empty_answer() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, REFRESH)
        await bot.edited(alert)
        bot.together.add(OTHER)
        other = bot.alert(OTHER)
        await bot.slack.press(other, APPROVE)
        await bot.edited(other)
        await bot.time.advance(301)
        bot.slack.faults.append(SlackFault("users.info", "nothing"))
        await bot.slack.press(alert, APPROVE)
        await bot.slack.until(lambda: bot.slack.visible("U0ALICE") or alert.edits > 1)
        assert [m.text for m in bot.slack.visible("U0ALICE")] == []


@pytest.mark.parametrize("kind", ["nothing", *MOVING])
async def test_start_waits_for_an_answer_that_names_the_workspace(kind: str) -> None:
    time = ManualClock()
    async with Slack(time.now) as slack:
        client = SlackClient(BOT_TOKEN, base_url=slack.api_url)
        client.proxy = None
        slack.faults.append(SlackFault("auth.test", kind))
        said: list[str] = []
        connection = Connection(client, time.clock, frozenset(), said.append, said.append)

        task = asyncio.create_task(connection.identify())
        await time.end_pause(WaitReason.RETRY)
        identity = await task
        assert identity.team_id == TEAM, identity


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("kind", ["nothing", *MOVING])
async def test_history_without_messages_is_no_proof_that_a_card_is_not_there(bot: World, kind: str) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", after=True))
    bot.together.add()
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    bot.slack.faults.append(SlackFault("conversations.history", kind, times=2))
    await pass_time(bot, 300)
    assert "conversations.history" in [c[0] for c in bot.slack.calls]
    assert len(bot.slack.cards("remediation-1")) == 1


async def test_doctor_takes_an_empty_answer_for_no_answer(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.slack.faults.append(SlackFault("users.info", "nothing", times=2))
    assert "isn't an active full member" not in (await found(bot))["operators"].detail
