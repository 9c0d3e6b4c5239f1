"""A bot that runs for weeks without a restart."""

from typing import Any

import pytest
from sqlalchemy import update

from bot.models import TrackedMessage
from bot.store import messages
from bot.store.tables import alerts
from tests.rows import execute_beside
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault
from tests.storms import REVIEW, began, digest, storm
from tests.watch import card, pass_time, poll, thread, until
from tests.watcher.test_verification import CALL, DAY, firing, moment, repaired, running
from tests.world import APPROVE, IDS, World

watched = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")


def not_running(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if "isn't running" in line]


async def repaired_again(bot: World, alert: Posted) -> None:
    """The next incident of the node under the same ID, approved, and succeeded."""
    bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
    await card(bot, words="Approve reboot?")
    await poll(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
    await pass_time(bot, 60)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await until(bot, lambda: "Watched until" in alert.text)


def blink(bot: World) -> dict[str, Any]:
    """Let the next answer about the cluster alone say that the node doesn't run yet."""
    seen = {"answers": 0}
    bot.together.node_status["instance-1"] = "NODE_PHASE_BOOTING"

    def asked() -> None:
        seen["answers"] += 1
        if seen["answers"] == 2:
            bot.together.node_status.pop("instance-1", None)

    bot.together.on_call["cluster"] = asked
    return seen


@watched
@pytest.mark.parametrize("before", ["nothing", "late", "missing"])
async def test_one_answer_that_lacks_a_node_is_not_believed_in_its_next_incident_either(
    bot: World, before: str
) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), "RUNNING")
    alert = await repaired(bot)
    if before == "late":
        blink(bot)
    elif before == "missing":
        bot.together.node_status["instance-1"] = "NODE_PHASE_BOOTING"
    await pass_time(bot, 1800)
    first = len(not_running(bot, alert))
    assert first == (before == "missing")
    bot.together.on_call.clear()
    bot.together.node_status.pop("instance-1", None)
    await pass_time(bot, 20 * DAY)
    await repaired_again(bot, alert)
    seen = blink(bot)
    await pass_time(bot, 1800)
    assert seen["answers"] >= 1
    assert not_running(bot, alert)[first:] == []


@watched
@pytest.mark.parametrize("hours", [20, 30])
async def test_who_approved_learns_of_a_failure_while_the_bot_was_off(bot: World, hours: int) -> None:
    alert = await running(bot)
    await bot.settle()
    bot.together.fail(IDS, "the host is dead")
    await bot.time.advance(hours * 3600.0)
    said = len(thread(bot, alert))
    async with bot.another():
        await card(bot, words="Failed")
        await pass_time(bot, 600)
        told = thread(bot, alert)[said:]
        assert [line for line in told if "<@U0ALICE>" in line and "failed" in line], told


@watched
async def test_who_approved_learns_of_a_failure_while_the_channel_was_closed_over_the_weekend(bot: World) -> None:
    alert = await running(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "not_in_channel", times=-1))
    bot.slack.faults.append(SlackFault("chat.update", "not_in_channel", times=-1))
    bot.together.fail(IDS, "the host is dead")
    await pass_time(bot, 30 * 3600)
    bot.slack.faults.clear()
    await card(bot, words="Failed", seconds=3600)
    await pass_time(bot, 1800)
    assert [line for line in thread(bot, alert) if "<@U0ALICE>" in line and "failed" in line]


@watched
async def test_sum_of_a_shift_names_each_time_in_which_nothing_was_read(bot: World) -> None:
    await poll(bot)
    await pass_time(bot, 3600)
    await bot.settle()
    await bot.time.advance(2 * 3600.0)
    async with bot.another():
        await pass_time(bot, 3600)
        await bot.slack.command("tonight")
        one = (await bot.reply_privately()).text
        assert "wasn't always read between" in one
    await bot.time.advance(3600.0)
    async with bot.another():
        await pass_time(bot, 1200)
        await bot.slack.command("tonight")
        two = (await bot.reply_privately("U0ALICE", 2)).text
    assert "wasn't always read between" in two
    begins = one.partition("wasn't always read between ")[2].partition(" and ")[0]
    assert begins in two, two


@watched
@pytest.mark.parametrize("is_too_old", [False, True])
async def test_node_of_an_old_storm_that_waits_again_can_be_decided_on_in_the_channel(
    bot: World, *, is_too_old: bool
) -> None:
    await began(bot)
    refs = storm(bot, 8)
    message = await digest(bot)
    for ref in refs:
        bot.together.review(ref, "approve")
        bot.together.advance(ref, "SUCCEEDED")
    await until(bot, lambda: "need a decision" not in message.text and REVIEW not in str(message.blocks))
    await pass_time(bot, 20 * DAY)
    if is_too_old:
        bot.slack.too_old.add(message.ts)  # as in a workspace with a limit for edits
    bot.together.add(refs[3], create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
    await pass_time(bot, 3600)
    assert [each for each in bot.slack.visible() if CALL in each.text]
    asking = [each for each in bot.slack.visible() if APPROVE in each.buttons or REVIEW in each.buttons]
    assert asking, [(e.ts, e.text[:150], list(e.buttons)) for e in bot.slack.visible()]


@watched
@pytest.mark.parametrize("hours", [30, 62])
async def test_node_that_never_came_back_is_told_of_after_a_weekend_without_the_bot(bot: World, hours: int) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), "RUNNING")
    alert = await repaired(bot)
    await bot.settle()
    bot.together.node_status["instance-1"] = "NODE_PHASE_BOOTING"
    await bot.time.advance(hours * 3600.0)
    async with bot.another():
        await pass_time(bot, 1800)
        assert len(not_running(bot, alert)) == 1


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_ESCALATE="S0LEADS/30")
async def test_what_is_remembered_of_reminders_does_not_grow_with_each(bot: World) -> None:
    bot.together.add(linked_alerts=firing("79"))
    await card(bot)
    await pass_time(bot, 4 * 3600)
    (before,) = await kept(bot)
    await pass_time(bot, 4 * 3600)
    (after,) = await kept(bot)
    assert after.reminded_at > before.reminded_at
    assert len(after.announced) <= len(before.announced) + 1


async def kept(bot: World) -> list[TrackedMessage]:
    assert bot.app.database
    return await bot.app.database.read(messages.in_channels, 0.0)


@watched
@pytest.mark.parametrize("waits", ["for six days", "for eight days", "again after 20 days"])
async def test_late_edit_does_not_stay_over_the_end_of_what_was_posted_long_ago(bot: World, waits: str) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    if waits == "again after 20 days":
        bot.together.resolve(IDS)
        await card(bot, words="recovered")
        await pass_time(bot, 20 * DAY)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
        await card(bot, words="Approve reboot?")
        await pass_time(bot, 1800)
    else:
        await pass_time(bot, {"for six days": 6 * DAY, "for eight days": 8 * DAY}[waits])
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    late = SlackFault("chat.update", "internal_error", late=True)
    bot.slack.faults.append(late)
    await until(bot, lambda: late.times == 0)
    bot.together.review(IDS, "cancel")
    await until(bot, lambda: "Cancelled" in alert.text)
    await pass_time(bot, 20)
    bot.slack.execute_late()
    assert APPROVE in alert.buttons
    await pass_time(bot, 600)
    await pass_time(bot, 2 * 3600 - 60)
    assert "Cancelled" in alert.text
    assert APPROVE not in alert.buttons


@watched
async def test_history_of_a_node_has_its_repair_of_yesterday_though_its_id_is_older_than_a_year(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, DAY)
    await execute_beside(bot, update(alerts).values(seen_at=bot.time.now() - 370 * DAY))
    await repaired_again(bot, alert)
    await pass_time(bot, 2 * DAY)
    await bot.slack.command("history instance-1")
    told = (await bot.reply_privately()).text
    assert "has no record of a node" not in told
    assert "2 remediations" in told or "1 remediation" in told


@watched
async def test_card_of_the_next_incident_names_who_is_on_call_now(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    bot.together.resolve(IDS)
    await card(bot, words="recovered")
    await pass_time(bot, 2 * DAY)
    await bot.settle()
    async with bot.another(bot.settings.model_copy(update={"bot_oncall": "S0NEWTEAM"})):
        await pass_time(bot, 20 * DAY)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)))
        await card(bot, words="Approve reboot?")
        await pass_time(bot, 1800)
        assert [line for line in thread(bot, alert) if "S0NEWTEAM" in line]
        assert CALL not in alert.text, alert.text


@watched
@pytest.mark.parametrize("how", ["gone from its cluster", "cluster deleted", "cluster forbidden"])
async def test_repaired_node_that_cannot_be_looked_for_is_not_looked_for_forever(bot: World, how: str) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), "RUNNING")
    alert = await repaired(bot)
    if how == "gone from its cluster":
        bot.together.node_status["instance-1"] = ""
        await bot.settle()
        await bot.time.advance(30 * DAY)
        async with bot.another():
            await pass_time(bot, 1800)
        assert not_running(bot, alert) == []
        return
    if how == "cluster deleted":
        bot.together.clusters = {"cluster-9": "cluster-9"}
        bot.together.remediations.clear()
    else:
        bot.together.faults.append(Fault("rpc", verb="cluster", code=7, times=-1))
    await pass_time(bot, 10 * DAY)
    asked = sum(call.verb == "cluster" for call in bot.together.calls)
    await pass_time(bot, 3600, longest=60)
    assert sum(call.verb == "cluster" for call in bot.together.calls) - asked <= 1
