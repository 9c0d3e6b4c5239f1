"""What happened during the shift, and what was done to a node before: asked for by command or mention."""

from typing import Any

import pytest
from sqlalchemy import insert, update

from bot import cards
from bot.models import Alert
from bot.store.rows import alert_columns
from bot.store.tables import alerts, ids_of
from tests.rows import execute_beside
from tests.samples import remediation
from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault
from tests.storms import began
from tests.test_flow_home import opened, said
from tests.watch import card, carried_out, pass_time, poll, until, watching
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, REF, World

pytestmark = pytest.mark.bot(watching=True)
XID = [{"alert_name": "DmesgXidError", "annotation": {"title": "GPU has fallen off the bus"}}]


async def asked(bot: World, text: str, user: str = "U0ALICE") -> str:
    count = len(bot.slack.visible(user))
    await bot.slack.command(text, user=user)
    return (await bot.reply_privately(user, count + 1)).text


async def test_shift_with_all_that_happened_in_it(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
    await carried_out(bot)
    again = bot.together.add(
        ("cluster-1", "instance-1", "remediation-2"), instance_name="gpu-node-7", linked_alerts=XID
    )
    await bot.slack.press(await card(bot, again), CANCEL, user="U0BOB")
    await until(bot, lambda: "Cancelled" in bot.slack.cards(again[2])[0].text)
    failed = bot.together.add(("cluster-1", "instance-3", "remediation-3"), instance_name="gpu-node-9")
    await card(bot, failed)
    bot.together.review(failed, "approve")
    bot.together.advance(failed)
    bot.together.fail(failed, "host did not come back")
    bot.together.add(("cluster-1", "instance-4", "remediation-4"), instance_name="gpu-node-4")
    await card(bot, ("cluster-1", "instance-4", "remediation-4"))
    await poll(bot)
    told = await asked(bot, "tonight")
    assert told.splitlines()[0].startswith("Since <!date^")
    assert "4 new remediations. Ended: " in told
    assert "1 cancelled" in told
    assert "1 failed" in told
    assert "1 didn't help" in told
    assert "Waiting for approval: 1, oldest first" in told
    assert "gpu-node-4  cluster-1 (H100) · Reboot · since <!date^" in told
    assert "gpu-node-9  cluster-1 (H100) · Reboot · “host did not come back” · " in told
    assert "Decided by: " in told
    assert "<@U0ALICE> 1" in told
    assert "<@U0BOB> 1" in told
    assert "in Together 1" in told
    assert "More than once: gpu-node-7 (2)." in told
    assert "Didn't help" in told


async def test_shift_and_history_are_no_surer_than_the_card_of_who_decided(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    bot.together.faults.append(Fault("cut", verb="cancel", after=True))
    await bot.slack.command(REF)
    await card(bot, words="Cancelled, apparently by <@U0ALICE>")
    assert "Decided by: apparently <@U0ALICE> 1." in await asked(bot, "tonight")
    assert "cancelled · apparently <@U0ALICE>" in await asked(bot, "history gpu-node-7")


async def test_shift_in_which_nothing_happened_and_one_that_is_over(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.review(IDS, "cancel")
    await until(bot, lambda: "Cancelled" in bot.slack.cards(IDS[2])[0].text)
    assert "1 new remediation. Ended: 1 cancelled." in await asked(bot, "tonight")
    await pass_time(bot, 13 * 3600)
    told = await asked(bot, "tonight")
    assert "no new remediations. None ended." in told
    assert "Nothing is waiting for approval." in told


async def test_history_of_a_node_is_found_among_any_number_of_others(bot: World) -> None:
    bot.together.add(instance_name="gpu_node%7")
    await card(bot)
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled")
    later = bot.time.now() + 1
    others = [Alert(remediation(id=f"r-{number}", state="CANCELLED"), "", "m", later) for number in range(10_001)]
    database = bot.app.database
    assert database
    rows = [ids_of(alert.ref) | alert_columns(alert) for alert in others]
    await database.run(lambda connection: connection.execute(insert(alerts), rows))
    assert "gpu_node%7: 1 remediation" in await asked(bot, "history gpu_node%7")
    assert "has no record of a node" in await asked(bot, "history gpuxnode%7")


async def test_history_of_a_node_by_its_name_or_instance(bot: World) -> None:
    for number in range(1, 13):
        ids = bot.together.add(("cluster-1", "instance-1", f"r-{number}"), instance_name="gpu-node-7")
        await card(bot, ids)
        bot.together.review(ids, "cancel")
        await until(bot, lambda: "Cancelled" in bot.slack.cards(f"r-{number}")[0].text)  # noqa: B023 - it is awaited here
    told = await asked(bot, "history gpu-node-7")
    assert told.startswith("gpu-node-7: the last 10 of 12 remediations, latest first")
    assert told.count("Reboot · cancelled") == 10
    assert await asked(bot, "history INSTANCE-1") == told
    assert "gpu-node-8: the bot has no record of a node with" in await asked(bot, "history gpu-node-8")


async def test_history_by_the_id_of_a_remediation_leaves_out_no_other_of_its_node(bot: World) -> None:
    for number in range(3):
        ids = bot.together.add(("cluster-1", "instance-1", f"r-{number}"), instance_name="gpu-node-7")
        await card(bot, ids)
        bot.together.review(ids, "cancel")
        await card(bot, ids, words="Cancelled")
    assert (await asked(bot, "history r-1")).startswith("gpu-node-7: 3 remediations")


async def test_history_of_a_node_by_its_name_without_its_domain(bot: World) -> None:
    for number, domain in enumerate(["train.example", "train.example", "eval.example"]):
        ids = bot.together.add(
            ("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{7 + number // 2}.{domain}"
        )
        await card(bot, ids)
        bot.together.resolve(ids)
        await card(bot, ids, words="recovered on its own")
    assert "gpu-node-7.train.example: 2 remediations" in await asked(bot, "history gpu-node-7")
    other = bot.together.add(("cluster-1", "i-9", "r-9"), instance_name="gpu-node-7.eval.example")
    await card(bot, other)
    told = await asked(bot, "history gpu-node-7")
    assert told.splitlines()[1:] == ["gpu-node-7.eval.example", "gpu-node-7.train.example"]
    assert "no record" in await asked(bot, "history gpu-node")


async def test_repair_says_how_long_it_took_and_who_approved_it(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "RUNNING")
    await pass_time(bot, 300)
    bot.together.advance(IDS)
    await card(bot, words="Rebooted")
    line = (await asked(bot, "history gpu-node-7")).splitlines()[1]
    assert " · Reboot · succeeded · <@U0ALICE> · took 5 min" in line


async def test_what_was_cancelled_took_no_time_though_an_earlier_incident_under_its_id_ran(bot: World) -> None:
    bot.together.add(start_time="2026-11-23T03:00:00Z")
    alert = await card(bot)
    bot.together.review(IDS, "cancel")
    await until(bot, lambda: "Cancelled" in alert.text)
    assert "took" not in await asked(bot, f"history {IDS[1]}")
    assert "Decided by: in Together 1." in await asked(bot, "tonight")


async def test_mention_is_answered_too_and_other_words_are_no_request(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.say(f"<@{BOT_USER}> tonight", user="U0ALICE")
    assert "1 new remediation." in (await bot.reply_privately()).text
    await bot.slack.say(f"<@{BOT_USER}> history gpu-node-7", user="U0ALICE")
    assert "gpu-node-7: 1 remediation" in (await bot.reply_privately(count=2)).text
    await bot.slack.say(f"<@{BOT_USER}> tonight the cluster broke", user="U0ALICE")
    assert "Mention the bot" in (await bot.reply_privately(count=3)).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tonight gpu-1", "/cancel-remediation tonight takes no names."),
        ("history", "and a node name or an instance ID"),
    ],
)
async def test_what_cannot_be_read_says_so(bot: World, text: str, said: str) -> None:
    assert said in await asked(bot, text)


async def test_row_of_another_version_hides_no_other(bot: World) -> None:
    bot.together.add(("cluster-1", "i-2", "r-2"))
    bot.together.add()
    await card(bot)
    await card(bot, ("cluster-1", "i-2", "r-2"))
    await execute_beside(bot, update(alerts).where(alerts.c.remediation_id == "r-2").values(body="{}"))
    assert "1 new remediation." in await asked(bot, "tonight")


@pytest.mark.bot(watching=False)
async def test_bot_that_watches_nothing_says_so(bot: World) -> None:
    assert "The bot doesn't watch clusters" in await asked(bot, "tonight")


async def test_shift_and_history_say_what_was_answered_and_not_read_since(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await pass_time(bot, 120)
    assert "Ended: 1 cancelled" in await asked(bot, "tonight")
    assert "waiting for approval" not in await asked(bot, "history instance-1")


async def test_history_says_as_of_when_a_state_is_known_while_together_cannot_be_read(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", code=14, times=-1))
    await pass_time(bot, 1800)
    assert " · waiting for approval · last confirmed <!date^" in await asked(bot, f"history {IDS[1]}")


async def test_what_is_in_a_state_of_tomorrow_is_in_repair(bot: World) -> None:
    bot.together.add()
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "TOMORROW"
    await pass_time(bot, 60)
    assert "In repair now: 1" in await asked(bot, "tonight")
    assert "1 in repair" in said(await opened(bot))


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("typed", ["list", "tonight"])
async def test_what_a_decision_may_still_take_effect_on_is_not_just_waiting(bot: World, typed: str) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="it still might")
    await bot.slack.command(typed, user="U0BOB")
    assert "a decision isn't confirmed" in (await bot.reply_privately("U0BOB")).text


async def test_nobody_decided_on_what_waited_until_it_was_withdrawn(bot: World) -> None:
    await began(bot)
    await pass_time(bot, 3600)
    earlier: dict[str, Any] = {
        "review_time": moment(bot, -1850),
        "start_time": moment(bot, -1800),
        "end_time": moment(bot, -1700),
    }
    bot.together.add(linked_alerts=firing("79"), reviewed_by="eve@example.com", **earlier)  # of an earlier incident
    await card(bot)
    del bot.together.remediations[IDS]
    await card(bot, words="No longer listed")
    assert "Decided by" not in await asked(bot, "tonight")


async def test_timeline_has_no_repair_of_an_earlier_incident(bot: World) -> None:
    await began(bot)
    earlier: dict[str, Any] = {"review_time": "2026-11-23T02:59:00Z", "start_time": "2026-11-23T03:00:00Z"}
    bot.together.add(reviewed_by="eve@example.com", **earlier)
    alert = await card(bot)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await poll(bot)
    await bot.slack.press(alert, cards.MORE, choice=cards.TIMELINE)
    told = (await bot.reply_privately()).text
    assert "Repair started" not in told
    assert "eve@example.com" not in told


async def test_what_waits_again_has_not_waited_since_it_opened_first(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    bot.together.add(("cluster-1", "i-2", "r-2"))
    alert = await card(bot)
    await pass_time(bot, 3600)
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled")
    await pass_time(bot, 3600)
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await until(bot, lambda: APPROVE in alert.buttons)
    await pass_time(bot, 300)
    row = next(block for block in (await opened(bot))["blocks"] if "gpu-node-7" in str(block))
    assert " · waiting 5 min" in row["text"]["text"]
    line = next(line for line in (await asked(bot, "tonight")).splitlines() if line.startswith("gpu-node-7 "))
    assert int(line.partition("since <!date^")[2].partition("^")[0]) > bot.time.now() - 600


async def test_shift_is_not_sure_of_what_nobody_has_read_since_before_a_restart() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled")
        await pass_time(bot, 120)
        await bot.settle()
        await bot.time.advance(3600)
        bot.together.add(("cluster-1", "i-2", "r-2"))
        with bot.slack.paused("conversations.history"):
            async with bot.another():
                await bot.slack.until(lambda: bot.slack.is_waiting("conversations.history"))
                told = await asked(bot, "tonight")
                assert "Nothing is waiting for approval, as far as Together could be read." in told
        async with bot.another():
            await card(bot, ("cluster-1", "i-2", "r-2"))
            await poll(bot)
            assert "Couldn't read" not in await asked(bot, "tonight", "U0BOB")
