"""Many at once: one message, a selection, a dialog, and each decision by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.store import Database
from bot.store.tables import audit
from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, World

SELECT, APPROVE_SELECTED, CANCEL_SELECTED = "digest:select", "digest:approve", "digest:cancel"
XID = [{"severity": "PHC_SEVERITY_CRITICAL", "annotation": {
    "title": "GPU has fallen off the bus",
    "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_FALLEN_OFF_BUS", "count": 3}]},
}}]  # fmt: skip


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with watching() as running:
        yield running


def storm(bot: World, count: int, *, start: int = 0, cluster: str = "cluster-1") -> list[Ids]:
    """Let so many nodes fall ill."""
    numbers = range(start, start + count)
    modes = ("REMEDIATION_MODE_REBOOT_VM", "REMEDIATION_MODE_VM_ONLY")
    return [
        bot.together.add(
            (cluster, f"instance-{number}", f"{cluster}-r{number:04d}-"),
            mode=modes[number % 4 == 3],
            instance_name=f"gpu-node-{number:04d}",
            linked_alerts=XID,
        )
        for number in numbers
    ]


async def began(bot: World) -> None:
    """Let the bot have had its first look, so that what comes now is no backlog."""
    bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
    await poll(bot)


async def digest(bot: World, words: str = "", number: int = 0) -> Posted:
    def look() -> Posted | None:
        found = bot.slack.digests()
        return found[number] if len(found) > number and words in found[number].everything else None

    return await until(bot, look)


async def choose(bot: World, message: Posted, *values: str, action: str = APPROVE_SELECTED) -> dict[str, object]:
    """Select, press, and give back the dialog that opens."""
    message.selected[SELECT] = list(values)
    await bot.slack.press(message, action)
    await until(bot, lambda: bot.slack.views)
    return dict(bot.slack.views[0])


async def test_five_at_once_have_cards_of_their_own(bot: World) -> None:
    await began(bot)
    storm(bot, 5)
    await until(bot, lambda: len(bot.slack.visible()) == 5)
    await pass_time(bot, 60)
    assert bot.slack.digests() == []


async def test_six_at_once_become_one_message_and_what_follows_joins_it(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    assert "6 remediations in cluster-1: 6 wait for approval" in message.text
    assert "*Mode*: 5 Reboot VM, 1 Replace VM" in message.everything
    assert "`gpu-node-0003`: Replace VM (Xid 79 GPU_FALLEN_OFF_BUS × 3)" in message.everything
    storm(bot, 4, start=6)
    await digest(bot, "10 remediations in cluster-1")
    assert bot.slack.visible() == [message]


async def test_a_storm_that_begins_slowly_has_cards_first_and_a_digest_for_the_rest(bot: World) -> None:
    await began(bot)
    storm(bot, 3)
    await until(bot, lambda: len(bot.slack.visible()) == 3)
    storm(bot, 4, start=3)
    await digest(bot, "4 remediations in cluster-1")
    assert len(bot.slack.visible()) == 4


async def test_more_than_a_minute_apart_is_no_storm(bot: World) -> None:
    await began(bot)
    for number in range(6):
        storm(bot, 1, start=number)
        await pass_time(bot, 30)
    await until(bot, lambda: len(bot.slack.visible()) == 6)
    assert bot.slack.digests() == []


async def test_a_backlog_at_the_first_start_becomes_one_message() -> None:
    async with watching() as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        message = await digest(bot)
        assert "8 remediations from before the bot began to watch: 8 wait for approval" in message.text
        await poll(bot)
        assert bot.slack.visible() == [message]
        storm(bot, 1, start=50)
        await card(bot, ("cluster-1", "instance-50", "cluster-1-r0050-"))


async def test_the_choices_are_all_a_mode_or_nodes_that_match(bot: World) -> None:
    await began(bot)
    storm(bot, 120)
    message = await digest(bot)
    everything = [option["text"]["text"] for option in await bot.slack.ask_for_options(message, SELECT)]
    assert everything[:3] == ["All that wait (120)", "All: Reboot VM (90)", "All: Replace VM (30)"]
    assert len(everything) == 100
    found = [option["text"]["text"] for option in await bot.slack.ask_for_options(message, SELECT, "node-0117")]
    assert found == ["gpu-node-0117 · Reboot VM"]
    assert await bot.slack.ask_for_options(message, SELECT, "nothing like it") == []


async def test_the_dialog_shows_what_will_happen_to_which_node(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    words = json.dumps(view)
    assert view["title"] == {"type": "plain_text", "text": "Approve 8 remediations", "emoji": True}
    assert "*Reboot VM* on 6: The VM reboots in place, on the same host. `gpu-node-0000` `gpu-node-0001`" in words
    assert "*Replace VM* on 2: The VM and its local data are deleted" in words
    assert bot.together.posts == []


async def test_a_batch_runs_one_after_the_other_and_tells_each_outcome(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, "mode:REMEDIATION_MODE_REBOOT_VM")
    bot.together.escalate(ids[1], "REMEDIATION_MODE_HOST_AWARE")
    ack = await bot.slack.submit(view)
    assert (ack.status, ack.body) == (200, "")
    await digest(bot, "6 of 6: 5 approved, 1 not approved")
    assert [call.ids for call in bot.together.posts] == [ids[0], ids[2], ids[4], ids[5], ids[6]]
    assert bot.together.state(ids[1]) == bot.together.state(ids[3]) == "PENDING_APPROVAL"
    report = await until(bot, lambda: bot.slack.replies(message))
    assert "`gpu-node-0000`: approved" in report[0].everything
    assert (
        "`gpu-node-0001`: Not approved. The mode was “Reboot VM” and is now “Move to another host”."
        in report[0].everything
    )
    rows = await outcomes(bot)
    assert sorted(rows) == ["approved"] * 5 + ["changed meanwhile"]
    assert bot.slack.visible("U0ALICE") == []


async def outcomes(bot: World) -> list[str]:
    """What the audit trail says of each decision that has come to its end."""
    database = Database(bot.settings.database_url)
    try:
        async with database.begin() as connection:
            rows = await connection.execute(select(audit.c.outcome).where(audit.c.event == "outcome"))
            return [str(each) for each in rows.scalars()]
    finally:
        await database.close()


async def test_a_batch_over_socket_mode() -> None:
    async with watching(socket=True) as bot:
        await began(bot)
        storm(bot, 7)
        message = await digest(bot)
        assert len(await bot.slack.ask_for_options(message, SELECT, "node")) == 7
        view = await choose(bot, message, "all")
        assert (await bot.slack.submit(view)).status == 200
        await digest(bot, "7 of 7: 7 approved")


async def test_a_batch_survives_the_end_of_its_process(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message, "all")
        decided = iter(range(100))
        with bot.together.paused("get"):
            bot.together.on_call["approve"] = lambda: None if next(decided) < 3 else bot.stop.set()
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
        await bot.running
        assert 0 < len(bot.together.posts) < 8
        del bot.together.on_call["approve"]
        async with bot.another():
            await digest(bot, "8 of 8: 8 approved")
        assert sorted(call.ids for call in bot.together.posts if call.ids) == sorted(ids)
        assert sorted(await outcomes(bot)) == ["approved"] * 8


async def test_a_batch_whose_process_was_killed_is_taken_over(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db", drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message, "all")
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            bot.app.tasks.limit = 0
            for task in asyncio.all_tasks():
                if getattr(task.get_coro(), "__qualname__", "") == "BatchRunner.run":
                    task.cancel()
            await bot.settle()
        async with bot.another():
            await digest(bot, "8 of 8: 8 approved")
        assert sorted(call.ids for call in bot.together.posts if call.ids) == sorted(ids)


async def test_who_may_no_longer_decide_when_it_is_confirmed_decides_nothing() -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as grouped:
        grouped.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(grouped)
        storm(grouped, 6)
        message = await digest(grouped)
        view = await choose(grouped, message, "all")
        grouped.slack.groups["S0ONCALL"] = []
        await pass_time(grouped, 310)
        await grouped.slack.submit(view)
        await digest(grouped, "Stopped: the person who asked may not decide.")
        assert "You may not approve remediations here." in (await grouped.whisper()).text
        assert grouped.together.posts == []


async def test_a_selection_in_which_nothing_waits_any_more_opens_no_dialog(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    (option, *_) = await bot.slack.ask_for_options(message, SELECT, "node-0002")
    bot.together.resolve(ids[2])
    await digest(bot, "1 Resolved by itself")
    message.selected[SELECT] = [option["value"]]
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "Nothing is selected that still waits" in (await bot.whisper()).text


async def test_a_dialog_that_cannot_be_opened_is_said(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "did not take this" in (await bot.whisper()).text
    assert bot.slack.views == []


async def test_cancel_selected_cancels(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    options = await bot.slack.ask_for_options(message, SELECT, "node-0002")
    view = await choose(bot, message, options[0]["value"], action=CANCEL_SELECTED)
    assert view["title"]["text"] == "Cancel 1 remediation"  # type: ignore[index] # a view is JSON
    await bot.slack.submit(view)
    await digest(bot, "1 of 1: 1 cancelled")
    assert bot.together.state(ids[2]) == "CANCELLED"
    assert len(bot.together.posts) == 1


async def test_what_is_selected_by_nobody_is_not_asked(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "Nothing is selected that still waits" in (await bot.whisper()).text
    assert bot.slack.views == []


async def test_who_may_not_decide_is_told_before_the_dialog(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    await bot.slack.press(message, APPROVE_SELECTED, user="U0CAROL")
    assert "You may not approve remediations here." in (await bot.whisper("U0CAROL")).text
    assert bot.slack.views == []


async def test_nobody_submits_somebody_elses_dialog_and_nobody_twice(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    ack = await bot.slack.submit(view, user="U0BOB")
    assert json.loads(ack.body)["response_action"] == "update"
    assert bot.together.posts == []
    await bot.slack.submit(view)
    await digest(bot, "6 of 6: 6 approved")
    ack = await bot.slack.submit(view)
    assert json.loads(ack.body)["response_action"] == "update"
    await quiet(bot)
    assert len(bot.together.posts) == 6


async def test_a_batch_stops_when_together_keeps_failing(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    bot.together.faults.append(Fault("rpc", verb="get", code=13, times=-1))
    await bot.slack.submit(view)
    await digest(bot, "Together has failed 3 times in a row.")
    assert "5 were not tried" in message.everything
    assert bot.together.posts == []


async def test_the_states_in_a_digest_are_followed_and_failures_call_whoever_approved(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, "all"))
    await digest(bot, "6 of 6: 6 approved")
    for each in ids:
        bot.together.remediations[each]["state"] = "RUNNING"
    await digest(bot, "*State*: 6 Running")
    bot.together.fail(ids[4], "no host left")
    for each in (ids[0], ids[1], ids[2], ids[3], ids[5]):
        bot.together.advance(each)
    await digest(bot, "5 Succeeded, 1 Failed")
    failed = await until(bot, lambda: [each for each in bot.slack.replies(message) if "failed" in each.text])
    assert failed[0].text.startswith(
        "<@U0ALICE>, repairs that you approved have failed:\n`gpu-node-0004`: no host left"
    )
    assert message.menus == {}
    calls = len(bot.together.calls)
    edits = message.edits
    await pass_time(bot, 600)
    assert [call.verb for call in bot.together.calls[calls:] if call.verb == "get"] == []
    assert message.edits == edits


async def test_reminders_of_a_digest_tell_how_many_wait(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    for each in ids[:2]:
        bot.together.review(each, "approve")
    await pass_time(bot, 16 * 60)
    told = [each.text for each in bot.slack.replies(message)]
    assert told == ["5 remediations of the list above have waited for 15 min or more, and nobody has decided."]
    for each in ids[2:]:
        bot.together.resolve(each)
    await pass_time(bot, 3600)
    assert len(bot.slack.replies(message)) == 1


@pytest.mark.parametrize("after", [True, False])
async def test_a_digest_stands_there_once_whether_or_not_its_post_arrived(bot: World, after: bool) -> None:  # noqa: FBT001 - pytest passes by position
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=after))
    storm(bot, 9)
    message = await digest(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [message]
    await bot.slack.submit(await choose(bot, message, "all"))
    await digest(bot, "9 of 9: 9 approved")


async def test_a_false_alarm_on_150_nodes_keeps_slacks_limits(bot: World) -> None:
    bot.slack.limits = Limits()
    await began(bot)
    ids = storm(bot, 150)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, "all", action=CANCEL_SELECTED))
    await until(bot, lambda: "150 of 150: 150 cancelled" in message.everything, 900)
    await until(bot, lambda: len(bot.slack.replies(message)) == 2)
    assert bot.slack.refused_for_limits == []
    assert {bot.together.state(each) for each in ids} == {"CANCELLED"}
    assert bot.slack.visible() == [message, *bot.slack.replies(message)]


async def test_a_click_on_a_card_beside_a_storm_is_not_held_back(bot: World) -> None:
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    storm(bot, 40, start=1)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, "all"))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    await digest(bot, "40 of 40: 40 approved")
