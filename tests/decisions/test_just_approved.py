"""What was approved a moment ago or is in doubt counts for the guard rails, and holds that nobody was shown do too."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from bot.errors import StorageUnavailable
from bot.store import DecisionStore
from bot.store.tables import alerts
from tests.rows import execute_beside, outcomes_by_user
from tests.simulator.together import Fault
from tests.storms import began, digest, review, storm, ticked
from tests.watch import HOLD, card, pass_time, poll, quiet, until, watching
from tests.watcher.test_next_incident import opened_again
from tests.world import APPROVE, IDS, World, world


def unreadable_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database not answer for a moment when it is asked what was answered since."""
    read, times = DecisionStore.is_answered_since, iter([True])

    async def away(self: DecisionStore, *asked: Any) -> bool:
        if next(times, False):
            raise StorageUnavailable("OperationalError")
        return await read(self, *asked)

    monkeypatch.setattr(DecisionStore, "is_answered_since", away)


async def test_hold_is_not_confirmed_after_approval_whose_answer_cant_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreadable_once(monkeypatch)
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("get answered"):
            await bot.slack.press(alert, HOLD, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("get answered"))
            with bot.together.open_for_others("get answered"):
                await bot.slack.press(alert, APPROVE)
                await bot.slack.until(lambda: "Approved" in alert.everything)
        await quiet(bot)
        said = alert.text
        await pass_time(bot, 60)
        assert "On hold" not in said, said
        assert ("U0BOB", "held") not in await outcomes_by_user(bot)


async def test_hold_is_not_confirmed_where_an_approval_is_answered_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No database fails: Bob's look comes before the transaction of Alice's answer, and his hold waits for it."""
    read = DecisionStore.is_answered_since
    looked, go = asyncio.Event(), asyncio.Event()

    async def slowly(self: DecisionStore, *asked: Any) -> bool:
        answer = await read(self, *asked)
        if not looked.is_set():
            looked.set()
            await go.wait()
        return answer

    monkeypatch.setattr(DecisionStore, "is_answered_since", slowly)
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("approve"):
            with bot.together.paused("get answered"):
                await bot.slack.press(alert, HOLD, user="U0BOB")
                await bot.together.until(lambda: bot.together.is_waiting("get answered"))
                with bot.together.open_for_others("get answered"):
                    await bot.slack.press(alert, APPROVE)
                    await bot.together.until(lambda: bot.together.is_waiting("approve"))
            await asyncio.wait_for(looked.wait(), 5)
        await bot.slack.until(lambda: "Approved" in alert.everything)
        go.set()
        await quiet(bot)
        await pass_time(bot, 60)
        said = [body["text"] for method, body in bot.slack.calls if method == "chat.update"]
        assert not [text for text in said if "On hold" in text]
        assert ("U0BOB", "held") not in await outcomes_by_user(bot)


async def test_decision_that_is_set_aside_once_it_is_sent_counts_for_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = ("cluster-1", "instance-2", "remediation-2")

    async def odd(*_: Any) -> None:
        raise ValueError("the database refuses a value")

    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        bot.together.add(other)
        bot.together.lists_as[IDS] = "PENDING_APPROVAL"  # lists lag
        first, second = bot.alert(), bot.alert(other)
        with monkeypatch.context() as patch:
            patch.setattr(DecisionStore, "record_outcome", odd)
            await bot.slack.press(first, APPROVE)
            await bot.answer(3)
        assert bot.together.state(IDS) == "PENDING"
        await bot.slack.press(second, APPROVE, user="U0BOB")
        await quiet(bot)
        assert bot.together.state(other) == "PENDING_APPROVAL"


async def test_states_that_a_list_has_against_its_filter_are_no_repairs() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        done = bot.together.add(("cluster-1", "instance-2", "remediation-2"), "SUCCEEDED")
        bot.together.lists_extra = [bot.together.remediations[done]]
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await quiet(bot)
        assert bot.together.state(IDS) == "PENDING"


async def test_repair_that_somebody_was_just_told_of_counts_for_the_limit_though_lists_lag() -> None:
    """The first one was approved in Together's console, and Bob was just told so."""
    other = ("cluster-1", "instance-2", "remediation-2")
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        await began(bot)
        bot.together.add()
        bot.together.add(other)
        first, second = await card(bot), await card(bot, other)
        click = bot.slack.click(first, APPROVE, user="U0BOB")
        bot.together.lists_as[IDS] = dict(bot.together.remediations[IDS])  # lists lag
        bot.together.review(IDS, "approve")
        await bot.slack.deliver("interactive", click)
        await until(bot, lambda: "pproved" in first.text.splitlines()[0], 5)
        await bot.slack.press(second, APPROVE)
        await quiet(bot)
        assert bot.together.state(other) == "PENDING_APPROVAL", second.text


@pytest.mark.parametrize("is_listed", [True, False])
async def test_repair_that_was_approved_a_moment_ago_counts_for_its_node_though_lists_lag(*, is_listed: bool) -> None:
    next_one = ("cluster-1", "instance-1", "remediation-2")
    async with world(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        bot.together.add()
        bot.together.add(next_one, mode="REMEDIATION_MODE_VM_ONLY")
        first, second = bot.alert(), bot.alert(next_one)
        if not is_listed:
            bot.together.lists_as[IDS] = dict(bot.together.remediations[IDS])
        await bot.slack.press(first, APPROVE)
        await bot.edited(first)
        assert bot.together.state(IDS) == "PENDING"
        await bot.slack.press(second, APPROVE)
        await bot.edited(second)
        assert "1 of 2 approvals" in second.text
        assert bot.together.state(next_one) == "PENDING_APPROVAL"


async def test_two_approvals_at_once_on_one_node_do_not_pass_the_rule_of_its_repairs_together() -> None:
    next_one = ("cluster-1", "instance-1", "remediation-2")
    async with world(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        bot.together.add()
        bot.together.add(next_one, mode="REMEDIATION_MODE_VM_ONLY")
        first, second = bot.alert(), bot.alert(next_one)
        with bot.together.paused("approve"):
            await bot.slack.press(first, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            await bot.slack.press(second, APPROVE, user="U0BOB")
            await quiet(bot)
        await bot.edited(first)
        await quiet(bot)
        assert [bot.together.state(ids) for ids in (IDS, next_one)].count("PENDING") == 1, second.text


async def test_approval_in_doubt_counts_for_the_repairs_of_its_node() -> None:
    next_one = ("cluster-1", "instance-1", "remediation-2")
    async with world(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        bot.together.add()
        bot.together.add(next_one, mode="REMEDIATION_MODE_VM_ONLY")
        first, second = bot.alert(), bot.alert(next_one)
        bot.together.faults.append(Fault("late", verb="approve"))
        await bot.slack.press(first, APPROVE)
        await bot.slack.until(lambda: "but it still might" in first.everything)
        await bot.slack.press(second, APPROVE, user="U0BOB")
        await bot.edited(second)
        await bot.together.until(lambda: bot.together.state(IDS) == "PENDING")
        assert bot.together.state(next_one) == "PENDING_APPROVAL", second.text


@pytest.mark.parametrize("how", ["not found", "no nodes", "left out"])
async def test_size_of_a_cluster_that_was_not_there_for_a_moment_is_read_again(how: str) -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT="50") as bot:
        bot.together.nodes["cluster-1"] = 8
        bot.together.add()
        describe = bot.together.describe
        if how == "not found":
            bot.together.faults.append(Fault("rpc", verb="cluster", code=5))
        else:
            answers: Iterator[dict[str, Any]] = iter([{"gpu_worker_nodes": [] if how == "no nodes" else None}])
            bot.together.describe = lambda cluster: describe(cluster) | next(answers, {})  # type: ignore[method-assign] # what the simulator answers
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        said = [(await bot.reply_privately()).text]
        await bot.time.advance(300)
        await bot.slack.press(alert, APPROVE)
        await quiet(bot)
        said += [message.text for message in bot.slack.visible("U0ALICE")][1:]
        assert bot.together.state(IDS) == "PENDING", said


async def test_nodes_that_were_not_looked_at_are_not_said_to_be_in_repair() -> None:
    async with watching(BOT_MAX_IN_REPAIR="5") as bot:
        await began(bot)
        busy = [bot.together.add(("cluster-1", f"busy-{n}", f"busy-{n}"), "RUNNING") for n in range(30)]
        bot.together.add()
        alert = await card(bot)
        await poll(bot)
        for ids in busy:
            bot.together.advance(ids)
        before = len(bot.slack.visible("U0ALICE"))
        await bot.slack.press(alert, APPROVE)
        await quiet(bot)
        said = [message.text for message in bot.slack.visible("U0ALICE")[before:]]
        assert "10 nodes are already in repair or about to be" in str(said), said


async def test_hold_that_no_dialog_has_shown_is_not_passed_over() -> None:
    """Another tool's alert shows no holds, so the dialog is all that Alice sees; it names the longest one, her own."""
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="14400")
        await until(bot, lambda: "by <@U0ALICE>" in alert.text)
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await until(bot, lambda: "by <@U0BOB>" in alert.text)
        await bot.slack.press(bot.alert(), APPROVE)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        is_shown = "bob" in str(view["blocks"])
        await bot.slack.submit(view, reason="it's on fire")
        await pass_time(bot, 5)
        assert is_shown or bot.together.posts == []


async def test_hold_that_no_selection_has_shown_is_not_passed_over() -> None:
    """The confirmation says "1 is on hold", which Alice takes for her own."""
    async with watching() as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        held = "gpu-node-0003"
        await bot.slack.say(f"<@U0BOT> hold 4h {held}", user="U0ALICE")
        await until(bot, lambda: "on hold by <@U0ALICE>" in message.everything)
        view = await review(bot, message)
        typed = await ticked(bot.slack, view, [held])
        await bot.slack.say(f"<@U0BOT> hold 30m {held}", user="U0BOB")
        await until(bot, lambda: "on hold by <@U0BOB>" in message.everything)
        await bot.slack.submit(view, **{"review:verb": "approve"}, **typed)
        confirmation = dict(bot.slack.views[-1])
        assert "1 is on hold by" in str(confirmation)
        is_shown = "U0BOB" in f"{view}{confirmation}" or "bob" in f"{view}{confirmation}"
        await bot.slack.submit(confirmation)
        await pass_time(bot, 20)
        assert is_shown or bot.together.state(ids[3]) == "PENDING_APPROVAL", message.text


async def test_hold_that_another_version_wrote_is_not_passed_over() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        click = bot.slack.click(alert, APPROVE)
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await until(bot, lambda: "On hold until" in alert.text)
        await as_another_version(bot)
        await bot.slack.deliver("interactive", click)
        assert "another version of it wrote about this node" in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_earlier_repairs_that_another_version_wrote_down_are_not_passed_over() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        alert = await opened_again(bot)
        assert "Needs two approvers. 1 repair of this node in 24 h" in alert.text
        before = len(bot.together.posts)
        await as_another_version(bot)
        await bot.slack.press(bot.alert(), APPROVE)
        await pass_time(bot, 5)
        assert len(bot.together.posts) == before


async def as_another_version(bot: World) -> None:
    """Let another version have written an alert: a verb in it is new."""
    (row,) = await execute_beside(bot, alerts.select())
    body = row["body"].replace('"doubts": []', '"doubts": [{"verb": "drain", "user_id": "U0BOB", "at": 1.0}]')
    assert body != row["body"]
    await execute_beside(bot, update(alerts).values(body=body))
