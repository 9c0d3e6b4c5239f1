"""Batches: confirmed selections, decided one at a time."""

import asyncio
import json
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bot.store.tables import audit, batches, decisions
from tests.manual_clock import HANGS_AFTER
from tests.rows import execute_beside, outcomes
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import XID, began, choose, digest, review, storm
from tests.watch import HOLD, card, pass_time, pause, thread, until, watching
from tests.world import World

pytestmark = pytest.mark.bot(watching=True)


async def test_batch_decides_one_at_a_time_and_reports_each_outcome(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, *(f"gpu-node-{number:04d}" for number in (0, 1, 2, 4, 5, 6)))
    bot.together.escalate(ids[1], "REMEDIATION_MODE_HOST_AWARE")
    ack = await bot.slack.submit(view)
    assert (ack.status, json.loads(ack.body)) == (200, {"response_action": "clear"})
    await digest(bot, "5 of 6 approved · 1 skipped")
    assert [call.ids for call in bot.together.posts] == [ids[0], ids[2], ids[4], ids[5], ids[6]]
    assert bot.together.state(ids[1]) == bot.together.state(ids[3]) == "PENDING_APPROVAL"
    report = await until(bot, lambda: bot.slack.replies(message))
    assert "Approved (5): `gpu-node-0000, 0002, 0004–0006`" in report[0].everything
    changed = "`gpu-node-0001`: The approval wasn't sent: the repair changed from “Reboot” to “Migrate to new host”"
    assert changed in report[0].everything
    rows = await outcomes(bot)
    assert sorted(rows) == ["approved"] * 5 + ["changed"]
    assert bot.slack.visible("U0ALICE") == []


async def test_batch_over_socket_mode() -> None:
    async with watching(socket=True) as bot:
        await began(bot)
        storm(bot, 7)
        message = await digest(bot)
        view = await choose(bot, message)
        assert (await bot.slack.submit(view)).status == 200
        await digest(bot, "7 of 7 approved")


async def test_batch_survives_the_end_of_its_process(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message)
        decided = iter(range(100))
        with ExitStack() as stack:

            def stop_at_the_third() -> None:
                if next(decided) == 2:
                    stack.enter_context(bot.together.paused("get"))

            bot.together.on_call["approve"] = stop_at_the_third
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        assert len(bot.together.posts) == 3
        del bot.together.on_call["approve"]
        async with bot.another():
            await digest(bot, "8 of 8 approved")
        assert sorted(call.ids for call in bot.together.posts if call.ids) == sorted(ids)
        assert sorted(await outcomes(bot)) == ["approved"] * 8


async def test_batch_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db", drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            bot.app.tasks.limit = 0
            for task in asyncio.all_tasks():
                if getattr(task.get_coro(), "__qualname__", "") == "DecisionService.handle":
                    task.cancel()
            await bot.settle()
        async with bot.another():
            await digest(bot, "8 of 8 approved")
        assert sorted(call.ids for call in bot.together.posts if call.ids) == sorted(ids)


async def test_person_who_lost_the_right_decides_nothing() -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as grouped:
        grouped.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(grouped)
        storm(grouped, 6)
        message = await digest(grouped)
        view = await choose(grouped, message)
        grouped.slack.groups["S0ONCALL"] = []
        await pass_time(grouped, 310)
        await grouped.slack.submit(view)
        await digest(grouped, "Stopped: @U0ALICE isn't allowed to decide these.")
        assert "Only operators can do this." in (await grouped.reply_privately()).text
        assert grouped.together.posts == []


@pytest.mark.parametrize(
    ("code", "why"), [(13, "Together had a server error"), (16, "Together rejected the bot's API key")]
)
async def test_batch_stops_when_its_decisions_keep_failing(bot: World, code: int, why: str) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.together.faults.append(Fault("rpc", verb="get", code=code, times=-1))
    await bot.slack.submit(view)
    await digest(bot, "Stopped: 3 decisions in a row failed. See why before you try the rest again.")
    assert why in message.everything
    assert "5 not attempted" in message.everything
    assert bot.together.posts == []


async def test_selection_that_stops_over_unclear_results_does_not_say_that_they_failed(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14, after=True, times=-1))

    def lose_the_result() -> None:
        bot.together.faults.append(
            Fault("rpc", verb="get", code=14, times=-1, instance=bot.together.posts[-1].instance)
        )

    bot.together.on_call["approve"] = lose_the_result
    await bot.slack.submit(view)
    await digest(bot, "3 decisions in a row failed or are unclear. See why before you try the rest again.")
    states = [bot.together.state(ids) for ids in bot.together.remediations]
    assert (states.count("PENDING"), states.count("PENDING_APPROVAL")) == (3, 5), "each of them went through"


async def test_result_in_doubt_points_to_no_button_that_a_digest_does_not_have(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "gpu-node-0003")
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.submit(view)
    await digest(bot, "The approval hadn't taken effect as of")
    assert "Check it in Together before you decide anything else." in message.everything
    assert "Check again" not in message.everything
    line = "gpu-node-0003: <@U0ALICE>, your approval hasn't taken effect. Decide again."
    await until(bot, lambda: line in "".join(thread(bot, message)))


@pytest.mark.parametrize("is_sent", [True, False])
async def test_odd_row_of_a_batch_is_set_aside_and_the_rest_is_decided(*, is_sent: bool) -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        await pass_time(bot, 700)
        ids = storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        sent_at = bot.time.now() if is_sent else None
        odd = update(decisions).where(decisions.c.batch_number == 0).values(request="{}", sent_at=sent_at)
        await execute_beside(bot, odd)
        async with bot.another():
            await digest(bot, f"5 of 6 approved · 1 {'unclear' if is_sent else 'skipped'}")
            assert [call.ids for call in bot.together.posts] == ids[1:]
            assert ("Not confirmed" in str(await review(bot, message))) is is_sent
            await pass_time(bot, 150)
            bot.slack.views.clear()
            assert "Not confirmed" not in str(await review(bot, message))


async def test_batch_is_not_resumed_after_hours() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        await bot.time.advance(7200)
        async with bot.another():
            await digest(bot, "Stopped: there was no progress for 10 min")
            await pass_time(bot, 60)
        assert bot.together.posts == []


@pytest.mark.bot(busy_seconds=0.1)
async def test_batch_that_was_reported_as_not_started_never_runs(bot: World, tmp_path: Path) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    async with locked(tmp_path / "bot.db"):
        ack = await bot.slack.submit(view)
        assert "can't reach its database" in ack.body
    await pass_time(bot, 300)
    assert bot.together.posts == []


async def test_batch_confirmed_when_nothing_waits_is_answered(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    for each in ids:
        bot.together.resolve(each)
    await digest(bot, "Nothing left to decide")
    await pass_time(bot, 120)
    await bot.slack.submit(view)
    await digest(bot, "0 of 6 approved · 6 skipped")
    await until(bot, lambda: bot.slack.replies(message))
    assert bot.together.posts == []


async def test_batch_stops_when_the_person_cannot_be_looked_up() -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        storm(bot, 12)
        message = await digest(bot)
        view = await choose(bot, message)
        approved = iter(range(100))

        def lose_the_directory() -> None:
            if next(approved) == 2:
                bot.slack.faults += [SlackFault("usergroups.users.list", "internal_error", times=-1)]
            bot.time.seconds += 500

        bot.together.on_call["approve"] = lose_the_directory
        await bot.slack.submit(view)
        await until(bot, lambda: "Stopped: Slack didn't say whether @U0ALICE is allowed" in message.everything, 20_000)
        assert len(bot.together.posts) < 12
        assert f"{len(bot.together.posts)} of 12 approved · 1 skipped" in message.everything
        assert "Couldn't check your permissions with Slack." in (await bot.reply_privately()).text


async def test_batch_reports_that_a_second_person_is_needed() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM,VM_ONLY") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await digest(bot, "0 of 6 approved · 6 first approvals")
        assert "1 of 2 approvals (@U0ALICE)" in message.everything
        await until(bot, lambda: "1 of 2 approvals. Someone else must approve too." in str(thread(bot, message)))
        await bot.slack.submit(await choose(bot, message, user="U0BOB"), user="U0BOB")
        await digest(bot, "6 of 6 approved")


async def test_decision_under_way_in_an_expired_batch_is_reported_as_it_ends() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("approve answered"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("approve answered"))
            await bot.settle()
        await bot.time.advance(7200)
        async with bot.another():
            await digest(bot, "5 not attempted")
            told = await until(
                bot, lambda: [reply for reply in bot.slack.replies(message) if ", results" in reply.text]
            )
        assert "Approved: `gpu-node-0000`" in told[0].everything
        assert "Not attempted (5): `gpu-node-0001–0005`" in told[0].everything
        assert [call.ids for call in bot.together.posts] == ids[:1]


async def test_parts_of_a_report_are_posted_once(bot: World) -> None:
    await began(bot)
    for number in range(300):  # names in which nothing follows on, so that the report takes two messages
        name = f"{number}-{'x' * 80}-a"
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=name, linked_alerts=XID)
    message = await digest(bot)
    view = await choose(bot, message)
    await bot.slack.submit(view)
    await digest(bot, "300 of 300")
    await until(bot, lambda: bot.slack.replies(message))
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", times=2, retry_after=5))
    await until(bot, lambda: len(bot.slack.replies(message)) >= 2)
    await pass_time(bot, 60)
    assert [reply.text.splitlines()[0][12:28] for reply in bot.slack.replies(message)] == [
        "results (1 of 2)",
        "results (2 of 2)",
    ]


async def test_finished_batch_keeps_no_response_url(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    (row,) = await execute_beside(bot, select(batches.c.body))
    place = json.loads(row["body"])["place"]
    assert place["user_id"] == "U0ALICE"
    assert (place["response_url"], place["original"]) == (None, None)


async def test_batch_stops_at_the_repair_limit() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await digest(bot, "Stopped: the cluster's repair limit let no more start. 6 not")
        assert len(bot.together.posts) == 1


async def test_batch_that_the_limit_never_lets_start_is_not_told_to_wait_for_a_repair() -> None:
    async with watching(BOT_MAX_IN_REPAIR_PERCENT="5") as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await digest(bot, "Stopped: the cluster's repair limit let no more start. 7 not")
        assert "the repair limit (5% of 8 nodes) allows none." in message.everything
        assert "finishes" not in message.everything


async def test_stopped_batch_leaves_alone_what_has_not_begun(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message)
    with bot.together.paused("get"):
        await bot.slack.submit(view)
        await bot.together.until(lambda: bot.together.is_waiting("get"))
        await until(bot, lambda: "digest:stop" in message.buttons)
        await bot.slack.press(message, "digest:stop", user="U0CAROL")
        assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
        await bot.slack.press(message, "digest:stop", user="U0BOB")
        await until(bot, lambda: "Stopped: @U0BOB stopped it. 7 not attempted." in message.everything)
    await digest(bot, "1 of 8 approved")
    assert [call.ids for call in bot.together.posts] == ids[:1]
    await until(bot, lambda: "digest:stop" not in message.buttons)
    events = select(audit.c.event, audit.c.user_id).where(audit.c.event == "stopped")
    assert await execute_beside(bot, events) == [{"event": "stopped", "user_id": "U0BOB"}]


async def test_stop_of_a_finished_batch_is_answered(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    with bot.together.paused("get"):
        await bot.slack.submit(view)
        await until(bot, lambda: "digest:stop" in message.buttons)
        payload = bot.slack.click(message, "digest:stop")
    await digest(bot, "6 of 6 approved")
    await bot.slack.deliver("interactive", payload)
    assert "nothing left to stop" in (await bot.reply_privately()).text


async def test_stop_during_the_last_decision_does_not_call_the_selection_finished(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "gpu-node-0003")
    with bot.together.paused("approve"):
        await bot.slack.submit(view)
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        await until(bot, lambda: "digest:stop" in message.buttons)
        await bot.slack.press(message, "digest:stop")
        told = (await bot.reply_privately()).text
    assert told == "This selection has nothing left to stop. The results are in the thread, or come there in a moment."


async def test_batch_without_progress_stops_on_its_own() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        c = decisions.c
        lost = update(decisions).where(c.status != "queued").values(status="set aside")
        await execute_beside(bot, lost, update(decisions).values(received_at=c.received_at - 601))
        async with bot.another():
            await until(bot, lambda: "Stopped: there was no progress for 10 min" in message.everything)
            await pass_time(bot, 60)
        assert bot.together.posts == []


async def test_node_that_waits_again_after_a_batch_can_be_decided_again(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    await pass_time(bot, 60)
    bot.together.remediations[ids[0]]["state"] = "RUNNING"
    await pass_time(bot, 60)
    bot.together.remediations[ids[0]] |= {"state": "PENDING_APPROVAL", "mode": "REMEDIATION_MODE_HOST_AWARE"}
    await digest(bot, "1 node in cluster-1 (H100) needs a decision")
    assert str(await review(bot, message)).count("'gpu-node-0000'") == 2  # a box, and that it is ticked


async def test_stopped_batch_approves_nothing_that_was_not_claimed(bot: World) -> None:
    await began(bot)
    (single,) = storm(bot, 1, start=50)
    alone = await card(bot, single)
    await pass_time(bot, 70)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    await pass_time(bot, 310)  # Alice is looked up again
    await bot.slack.press(alone, HOLD, user="U0BOB")
    await until(bot, lambda: "On hold" in alone.text)
    with bot.slack.paused("users.info"):
        await bot.slack.submit(view)
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        payload = bot.slack.click(message, "digest:review", user="U0BOB")
        payload["actions"][0] |= {"action_id": "digest:stop", "value": view["private_metadata"]}
        await bot.slack.deliver("interactive", payload)
        async with asyncio.timeout(HANGS_AFTER):
            while not any(row["stopped"] for row in await execute_beside(bot, select(batches.c.stopped))):
                pass
    await pass_time(bot, 30)
    assert bot.together.posts == []


async def test_pause_in_one_cluster_does_not_stop_a_selection_over_several(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    storm(bot, 4)
    storm(bot, 4, cluster="cluster-2")
    message = await digest(bot)
    storm(bot, 6, start=10)
    second = await digest(bot, number=1)
    await pause(bot, second)
    await digest(bot, "Approvals are paused in cluster-1")
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "4 of 8 approved · 4 skipped")


async def test_home_may_take_longer_to_read_a_digest_than_a_dialog(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    await digest(bot)
    assert bot.app.database
    reader, drawn = bot.app.database._reader, asyncio.create_task(bot.slack.until(lambda: home_says(bot, "Review 8")))
    is_free = threading.Event()
    reader.submit(is_free.wait)
    await bot.slack.open_home()
    while not drawn.done():
        await asyncio.wait([drawn, asyncio.create_task(reads(bot))], return_when=asyncio.FIRST_COMPLETED)
        await bot.time.advance(2.1)  # each read takes so long
        was_busy, is_free = is_free, threading.Event()
        reader.submit(is_free.wait)
        was_busy.set()
    is_free.set()
    await drawn


async def reads(bot: World) -> None:
    while not bot.transactions():  # noqa: ASYNC110 - nobody says when a read begins
        await asyncio.sleep(0)


def home_says(bot: World, words: str) -> bool:
    said = json.dumps(bot.slack.homes.get("U0ALICE"), ensure_ascii=False)
    assert "can't reach" not in said
    return words in said
