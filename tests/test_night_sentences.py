"""Sentences that people type at night: what is a reason, and what is a second request."""

import pytest

from tests.deaths import free_the_lease
from tests.decisions.test_break_glass import approve_alone
from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault
from tests.storms import began
from tests.test_flow_chooser import shown_in
from tests.test_night_words import URL, two_nodes
from tests.watch import LOOKING, card, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, IDS, REF

BOT = f"<@{BOT_USER}>"
SECOND = (IDS[0], IDS[1], "remediation-2")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
async def test_repair_that_together_dropped_days_ago_does_not_count_forever(state: str) -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        bot.together.review(IDS, "approve", "by hand")
        bot.together.remediations[IDS] |= {"state": state}
        await until(bot, lambda: "Approve reboot?" not in alert.text)
        await poll(bot)
        del bot.together.remediations[IDS]
        await card(bot, words="No longer listed: reboot")
        await pass_time(bot, 5 * 86_400)
        bot.together.add(SECOND, create_time=moment(bot), linked_alerts=firing("94"))
        second = await card(bot, SECOND)
        await poll(bot)
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == 1, second.text


@pytest.mark.parametrize("rest", ["gpu-node-2", ", gpu-node-2", "remediation-2", "“gpu-node-2”"])
async def test_two_names_are_not_one_and_a_reason(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"gpu-node-1 {rest}")
        await quiet(bot)
        assert not bot.slack.views, shown_in(list(bot.slack.views)[-1])


@pytest.mark.parametrize("rest", ["please", "again", "now"])
async def test_status_of_a_node_offers_no_cancellation(rest: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        await bot.slack.command(f"status gpu-node-1 {rest}")
        await quiet(bot)
        assert not bot.slack.views, shown_in(list(bot.slack.views)[-1])


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING"])
async def test_ids_of_another_repair_in_a_thread_hold_not_the_thread_s_own(state: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        bot.together.add(("cluster-1", "instance-3", "remediation-3"), state, instance_name="gpu-node-3")
        await bot.slack.say(f"{BOT} hold 2h cluster-1 instance-3 remediation-3", user="U0ALICE", thread=first)
        await quiet(bot)
        assert "On hold until" not in first.text, first.text


async def test_own_ids_in_a_thread_are_not_the_reason_of_a_hold() -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold 2h {' '.join(IDS)}", user="U0ALICE", thread=first)
        await pass_time(bot, 5)
        assert "On hold until" in first.text
        assert "remediation-1”" not in first.text, first.text


@pytest.mark.parametrize(
    "reason",
    [
        "needed to release gpu-node-2 first",
        "the gpu-node-2 alert is the real one",
        "now gpu-node-2 runs the job",
        "rebooting won't help gpu-node-2 is the culprit",
        "see the status of gpu-node-2",
        "don't stop gpu-node-2 job",
    ],
)
@pytest.mark.parametrize("first", [REF, "gpu-node-1"])
async def test_reason_that_mentions_another_node_is_a_reason(first: str, reason: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"{first} {reason}")).body
        assert "is another node" not in told, told


async def test_approval_alone_whose_answer_is_lost_names_nobody_else() -> None:

    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_BREAK_GLASS="U0ALICE") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="1 of 2 approvals")
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        with bot.together.paused("approve"):
            await approve_alone(bot, alert)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.together.faults += [Fault("rpc", verb=verb, times=-1, code=13) for verb in ("get", "list")]
        await card(bot, words="may have gone through")
        bot.together.faults.clear()
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "and <@U0ALICE>" not in alert.text, alert.text


async def test_approval_alone_with_a_clear_answer() -> None:

    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_BREAK_GLASS="U0ALICE") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="1 of 2 approvals")
        await approve_alone(bot, alert)
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "and <@U0ALICE>" not in alert.text, alert.text


async def test_queued_repair_that_was_called_off_in_the_console_is_no_repair() -> None:
    """The list that the limit itself has just read says so; the cluster as a whole can't be read for a while."""
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(SECOND, linked_alerts=firing("94"))
        _, second = await card(bot), await card(bot, SECOND)
        bot.together.review(IDS, "approve", "by hand")
        await card(bot, words="Approved")
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, instance="-"))
        await pass_time(bot, 1200)
        bot.together.review(IDS, "cancel")
        await pass_time(bot, 600)
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == 1, second.text


async def test_hold_typed_for_a_node_while_another_cluster_cannot_be_read_by_its_remediation_id() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        await bot.slack.say(f"{BOT} hold {IDS[2]} 1h", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" in alert.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


async def test_hold_of_the_threads_own_node_by_name_while_another_cluster_cannot_be_read() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" in alert.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


@pytest.mark.parametrize(
    "rest",
    [
        "cancel it",
        "cancel this, job still running",
        "cancel: false alarm",
        "cancel, false alarm",
        "please release later",
        "now stop flapping",
    ],
)
async def test_cancel_with_its_own_verb_in_the_reason(rest: str) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add())
        await bot.slack.command(f"{REF} {rest}")
        await quiet(bot)
        assert bot.together.state(IDS) == "CANCELLED"


@pytest.mark.parametrize(
    "rest",
    [
        "and hold it, cancel gpu-node-2",
        "don't cancel it, and approve gpu-node-2",
        "please wait, then cancel gpu-node-2",
    ],
)
async def test_second_request_further_back_is_not_dropped(rest: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-1 2h {rest}", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in first.text


async def test_full_stop_behind_a_link_is_no_reason() -> None:

    async with watching() as bot:
        alert = await card(bot, bot.together.add())
        await bot.slack.command(f"<{URL}>.")
        await pass_time(bot, 5)
        assert "“.”" not in alert.text, alert.text


async def test_looking_that_was_taken_over_promises_no_more_minutes_than_it_lasts(database_url: str) -> None:
    async with watching(
        database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="2"
    ) as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            await bot.slack.press(alert, LOOKING, user="U0BOB")
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(500)
        async with bot.another():
            await until(
                bot, lambda: [m for m in bot.slack.visible("U0BOB") if "Nobody is reminded for 6 minutes" in m.text]
            )
            calls = len([line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line])
            await pass_time(bot, 5 * 60)
            after = [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line]
            assert len(after) == calls, after


@pytest.mark.parametrize(
    "reason",
    ["is fine, no need to cancel gpu-node-1", "please, the gpu-node-1 alert is stale", "now gpu-node-1 is fine"],
)
async def test_node_itself_in_its_reason_is_not_called_another_node(reason: str) -> None:
    async with watching() as bot:
        await two_nodes(bot)
        told = (await bot.slack.command(f"gpu-node-1 {reason}")).body
        await quiet(bot)
        assert "is another node" not in told, told
        assert bot.slack.views


async def test_queued_repair_that_was_called_off_within_one_poll_is_no_repair() -> None:
    """Nothing is broken: somebody cancels one in the console, and a colleague approves the other at once."""
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h", BOT_POLL_SECONDS="60") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(SECOND, linked_alerts=firing("94"))
        _, second = await card(bot), await card(bot, SECOND)
        bot.together.review(IDS, "approve", "by hand")
        await card(bot, words="Approved")
        await pass_time(bot, 300)
        bot.together.review(IDS, "cancel")
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 5)
        assert len(bot.together.posts) == 1, second.text


async def test_ids_of_another_tracked_repair_in_a_thread_hold_that_one() -> None:
    async with watching() as bot:
        first, second = await two_nodes(bot)
        await bot.slack.say(f"{BOT} hold 2h cluster-1 instance-2 remediation-2", user="U0ALICE", thread=first)
        await pass_time(bot, 5)
        assert "On hold until" in second.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


async def test_first_word_that_the_bot_does_not_track_yet_is_a_node() -> None:
    """It opened a moment ago, in its cluster that the bot reads: Together knows it."""
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        bot.together.add(("cluster-1", "instance-3", "remediation-3"), instance_name="gpu-node-3")
        await bot.slack.say(f"{BOT} hold 2h gpu-node-3 shares its job", user="U0ALICE", thread=first)
        await quiet(bot)
        assert "On hold until" not in first.text, first.text
