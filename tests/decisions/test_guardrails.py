"""Guard rails before an approval: how many nodes at once, and two people."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot import cards
from bot.clock import WaitReason
from bot.decisions.guardrails import paused_error
from bot.models import Actor, Pause, Pauser
from bot.mrkdwn import when
from tests.deaths import died_while, left_behind
from tests.manual_clock import START
from tests.rows import outcomes_by_user, pause_beside
from tests.simulator.slack import Posted, SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.watch import HOLD, card, pass_time, poll, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, REJECT, World, as_alert, world


def busy(bot: World, count: int) -> None:
    """Let this many nodes of the cluster be in repair."""
    for number in range(count):
        bot.together.add(("cluster-1", f"busy-{number}", f"busy-{number}"), "RUNNING")


async def test_approval_beyond_the_limit_is_refused() -> None:
    async with world(BOT_MAX_IN_REPAIR="2") as bot:
        busy(bot, 2)
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        told = (await bot.reply_privately()).text
        assert told == (
            "Not approved: 2 nodes are already in repair, and the limit is 2. "
            "Try again when one finishes, or cancel this one."
        )
        assert bot.together.posts == []
        assert alert.edits == 0
        assert await outcomes_by_user(bot) == [("U0ALICE", "limit_reached")]
        bot.together.advance(("cluster-1", "busy-0", "busy-0"))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


async def test_refusal_says_how_many_must_finish_where_more_are_in_repair_than_may_be() -> None:
    """Together starts repairs too, and those don't ask for the limit: one that finishes then lets none start."""
    async with world(BOT_MAX_IN_REPAIR="2") as bot:
        busy(bot, 4)
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        assert (await bot.reply_privately()).text.endswith(" Try again when 3 finish, or cancel this one.")
        for number in range(3):
            bot.together.advance(("cluster-1", f"busy-{number}", f"busy-{number}"))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


async def test_node_itself_is_not_counted_against_the_limit() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add(("cluster-1", "instance-1", "another-repair-of-it"), "RUNNING")
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.parametrize(("percent", "count", "passes"), [("9", 2, False), ("10", 2, True), ("5", 1, False)])
async def test_approval_beyond_the_percentage_is_refused(percent: str, count: int, *, passes: bool) -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT=percent) as bot:
        bot.together.nodes["cluster-1"] = 30
        busy(bot, count)
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        if passes:
            await bot.edited(alert)
            assert bot.together.state(IDS) == "PENDING"
        else:
            told = (await bot.reply_privately()).text
            limit = f"the limit is {count}, {percent}% of 30 nodes"
            assert f"{count} of 30 nodes are already in repair, and {limit}" in told
            assert bot.together.posts == []


async def test_percentage_of_less_than_one_node_refuses_everything() -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT="10") as bot:
        bot.together.nodes["cluster-1"] = 8
        bot.together.add()
        await bot.slack.press(bot.alert(), APPROVE)
        assert (await bot.reply_privately()).text == (
            "Not approved: the repair limit (10% of 8 nodes) allows none. "
            "Use the Together console. The bot's admin can change the limit."
        )
        assert bot.together.posts == []


async def test_percentage_of_an_unknown_number_of_nodes_refuses_everything() -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT="10") as bot:
        bot.together.add()
        bot.together.faults.append(Fault("rpc", verb="cluster", code=5, times=-1))
        await bot.slack.press(bot.alert(), APPROVE)
        assert "Together doesn't say how many nodes it has" in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_percentage_of_a_cluster_whose_answer_is_large_lets_an_approval_pass() -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT="10") as bot:
        bot.together.nodes["cluster-1"] = 1000
        bot.together.kube_config = 2 * 1024 * 1024 * "x"  # as 1,000 nodes with a remediation each are
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


async def test_number_of_nodes_is_read_once_in_ten_minutes() -> None:
    async with world(BOT_MAX_IN_REPAIR_PERCENT="50") as bot:
        bot.together.nodes["cluster-1"] = 8
        for number in range(3):
            ids = bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"))
            alert = bot.alert(ids)
            await bot.slack.press(alert, APPROVE)
            await bot.edited(alert)
        assert [call.verb for call in bot.together.calls].count("cluster") == 1
        await bot.time.advance(600)
        ids = bot.together.add(("cluster-1", "instance-3", "r-3"))
        alert = bot.alert(ids)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert [call.verb for call in bot.together.calls].count("cluster") == 2


async def test_two_approvals_at_once_do_not_pass_the_limit_together() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        both = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in (1, 2)]
        alerts = [bot.alert(ids) for ids in both]
        with bot.together.paused("list"):
            await bot.slack.press(alerts[0], APPROVE)
            await bot.slack.press(alerts[1], APPROVE, user="U0BOB")
            await bot.together.until(lambda: [call.verb for call in bot.together.calls].count("list") == 2)
        await bot.slack.until(lambda: bot.slack.visible("U0ALICE") or bot.slack.visible("U0BOB"))
        await bot.settle()
        assert len(bot.together.posts) == 1


async def test_clock_set_back_between_two_approvals_does_not_pass_the_limit() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        both = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in (1, 2)]
        alerts = [bot.alert(ids) for ids in both]
        with bot.together.paused("approve"):
            await bot.slack.press(alerts[0], APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.time.set_back += 30
            await bot.slack.press(alerts[1], APPROVE, user="U0BOB")
            assert (await bot.reply_privately("U0BOB")).text.startswith(
                "Not approved: 1 node is already in repair or about to"
            )
        await bot.settle()
        assert len(bot.together.posts) == 1


async def test_approval_in_doubt_counts_while_it_may_still_arrive() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        both = [bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}")) for number in (1, 2)]
        alerts = [bot.alert(ids) for ids in both]
        bot.together.faults.append(Fault("rpc", verb="approve", code=14))
        await bot.slack.press(alerts[0], APPROVE)
        await bot.edited(alerts[0])
        assert "hadn't taken effect as of" in alerts[0].text
        await bot.slack.press(alerts[1], APPROVE)
        assert (await bot.reply_privately()).text.startswith(
            "Not approved: 1 node is already in repair or about to be, and the limit is 1."
        )
        await bot.time.advance(61)
        await bot.slack.press(alerts[1], APPROVE)
        await bot.edited(alerts[1])
        assert bot.together.state(both[1]) == "PENDING"


async def test_tracked_node_in_an_unknown_state_counts(database_url: str) -> None:
    async with watching(database_url, BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        alert = await card(bot)
        await card(bot, other)
        bot.together.remediations[other]["state"] = "TOMORROW"
        await card(bot, other, "State TOMORROW")
        await bot.slack.press(alert, APPROVE)
        assert "1 node is already in repair" in (await bot.reply_privately()).text
        assert bot.together.posts == []
        bot.together.remediations[other]["state"] = "SUCCEEDED"
        await card(bot, other, "Rebooted")
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: bot.together.state(IDS) == "PENDING")


async def test_repeated_post_passes_the_limit_again() -> None:
    async with world(drain_seconds=0.05, BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            busy(bot, 1)
            async with bot.another():
                await bot.edited(alert)
        assert "your approval hadn't taken effect as of" in alert.text, "the first POST may still be on its way"
        assert "It wasn't sent again: 1 node is already in repair" in alert.text
        assert list(alert.buttons) == [REFRESH]
        assert bot.together.posts == []


async def test_rate_limited_post_passes_the_limit_again() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": "10"}))
        bot.together.before_decision = lambda _call: busy(bot, 1)
        await bot.slack.press(bot.alert(), APPROVE)
        assert "1 node is already in repair" in (await bot.reply_privately()).text
        await bot.settle()
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_node_that_just_entered_an_unknown_state_counts() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        alert = await card(bot)
        await card(bot, other)
        bot.together.remediations[other]["state"] = "RUNNING"
        await card(bot, other, "Rebooting")
        bot.together.remediations[other]["state"] = "TOMORROW"
        await bot.slack.press(alert, APPROVE)
        assert "1 node is already in repair" in (await bot.reply_privately()).text
        assert bot.together.posts == []


@pytest.mark.parametrize("two_people", ["", "EVICT_WITHOUT_REPLACEMENT"])
async def test_last_look_comes_right_before_the_post(tmp_path: Path, two_people: str) -> None:
    path = tmp_path / "bot.db"
    async with world(database=f"sqlite:///{path}", BOT_TWO_PEOPLE_MODES=two_people) as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        async with AsyncExitStack() as database:
            with bot.together.paused("get answered"):
                await bot.slack.press(alert, APPROVE)
                await bot.together.until(lambda: bot.together.is_waiting("get answered"))
                await database.enter_async_context(locked(path, "IMMEDIATE"))
            bot.together.escalate(IDS, "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT")
        await bot.edited(alert)
        assert "the repair changed from “Power cycle” to “Remove”." in alert.text
        assert bot.together.posts == []


async def test_unreadable_repair_load_refuses_the_approval() -> None:
    async with world(BOT_MAX_IN_REPAIR="5") as bot:
        bot.together.add()
        bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        error = await bot.answer(2)
        assert "Your approval wasn't sent" in error.text
        assert bot.together.posts == []


async def test_cancel_is_not_limited() -> None:
    async with world(BOT_MAX_IN_REPAIR="1", BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        busy(bot, 3)
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "CANCELLED"


async def test_slow_refusal_restores_the_card() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        busy(bot, 1)
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            await bot.time.until_sleeping(WaitReason.PROGRESS)
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            await bot.time.advance(1.0)
            await bot.edited(alert)
            assert "is approving this" in alert.everything
        await bot.reply_privately()
        await bot.edited(alert, 2)
        assert "is approving this" not in alert.everything
        assert APPROVE in alert.buttons


async def test_second_approver_must_be_another_person() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM,HOST_POWER_CYCLE") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.posts == []
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        assert "Someone else must approve too." in alert.text
        assert APPROVE in alert.buttons
        await poll(bot)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        await bot.slack.press(alert, APPROVE)
        told = (await bot.reply_privately()).text
        at = alert.text.partition("1 of 2 approvals: <@U0ALICE>, ")[2].partition(". Someone")[0]
        assert "date_short_pretty" in at, "a first approval counts for days"
        assert told.startswith(f"Not approved: this repair needs two approvers, and you already approved it {at}.")
        assert bot.together.posts == []
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        assert bot.together.state(IDS) == "PENDING"
        assert "Approved by <@U0ALICE> and <@U0BOB>" in alert.text
        assert "1 of 2 approvals" not in alert.text
        assert await outcomes_by_user(bot) == [
            ("U0ALICE", "first_of_two"),
            ("U0ALICE", "second_person_needed"),
            ("U0BOB", "approved"),
        ]


async def test_first_approval_does_not_count_for_another_mode() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM,VM_ONLY") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await card(bot, words="Approve quick reprovision?")
        assert "1 of 2 approvals" not in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "1 of 2 approvals: <@U0BOB>" in alert.text)
        assert bot.together.posts == []


async def test_first_approver_of_another_mode_is_not_named_with_who_approves_this_one_alone() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert)
        assert "Approved by <@U0BOB>" in alert.text
        assert "U0ALICE" not in alert.text


LATELY = "2026-11-23T20:00:00Z"


def repaired(bot: World, state: str, ended: str, number: int) -> None:
    bot.together.add(("cluster-1", "instance-1", f"before-{number}"), state, end_time=ended)


async def test_node_that_was_repaired_too_often_takes_two_people() -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="2/24h") as bot:
        repaired(bot, "SUCCEEDED", "2026-11-23T20:00:00Z", 1)
        repaired(bot, "FAILED", "2026-11-23T21:00:00Z", 2)
        bot.together.add()
        alert = await card(bot)
        assert "2 repairs of this node in 24 h" in alert.text
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "1 of 2 approvals: <@U0ALICE>" in alert.text)
        assert bot.together.posts == []
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "Approved by <@U0ALICE> and <@U0BOB>" in alert.text)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.parametrize(
    ("state", "ended"), [("SUCCEEDED", "2026-11-22T20:00:00Z"), ("CANCELLED", LATELY), ("AUTO_RESOLVED", LATELY)]
)
async def test_repair_of_another_day_and_one_that_never_ran_do_not_count(state: str, ended: str) -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        repaired(bot, state, ended, 1)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: bot.together.state(IDS) == "PENDING")


async def test_nothing_is_approved_while_the_repairs_of_a_node_can_not_be_read() -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", "list", code=13, times=-1, instance="instance-1"))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "Your approval wasn't sent" in " ".join(thread(bot, alert)))
        assert bot.together.posts == []


async def test_nobody_alone_approves_another_mode_on_a_node_that_was_repaired_too_often() -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        bot.together.add()
        alert = await card(bot)
        repaired(bot, "SUCCEEDED", "2026-11-24T02:00:00Z", 1)  # since the card was drawn
        await bot.slack.press(alert, cards.MORE, choice=cards.OTHER_MODE)
        await until(bot, lambda: bot.slack.views)
        await bot.slack.submit(bot.slack.views[0], mode="REMEDIATION_MODE_VM_ONLY", reason="the disk is full")
        told = (await bot.reply_privately()).text
        assert "this needs two approvers, which the menu of other modes can't collect." in told
        assert bot.together.posts == []


async def test_mode_that_is_not_listed_needs_one_person() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.parametrize("mode", ["REMEDIATION_MODE_VM_ONLY", None])
async def test_first_approval_does_not_count_after_a_return(mode: str | None) -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        if mode:
            bot.together.escalate(IDS, mode)
            await card(bot, words="Approve quick reprovision?")
            bot.together.escalate(IDS, "REMEDIATION_MODE_REBOOT_VM")
        else:
            bot.together.resolve(IDS)
            await card(bot, words="recovered on its own")
            bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        await card(bot, words="Approve reboot?")
        assert "1 of 2 approvals" not in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "1 of 2 approvals: <@U0BOB>" in alert.text)
        assert bot.together.posts == []


async def test_first_approval_does_not_count_after_a_return_that_nobody_saw() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.time.advance(60)
        bot.together.resolve(IDS)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        assert "the remediation ended and opened again since you saw it" in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 3)
        assert bot.together.posts == []
        assert "1 of 2 approvals: <@U0BOB>" in alert.text


async def test_first_approval_of_the_very_mode_that_the_poll_then_finds_counts() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM,VM_ONLY") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "Quick reprovision" in alert.text)
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "1 of 2 approvals: <@U0ALICE>" in alert.text)
        await poll(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "Approved by <@U0ALICE> and <@U0BOB>" in alert.text)
        assert bot.together.state(IDS) == "PENDING"


async def test_list_that_lags_behind_an_approval_lets_no_other_one_pass() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        bot.together.add()
        first, second = bot.alert(), bot.alert(other)
        bot.together.lists_as[IDS] = "PENDING_APPROVAL"
        await bot.slack.press(first, APPROVE)
        await bot.edited(first)
        await bot.slack.press(second, APPROVE)
        assert "1 node is already in repair" in (await bot.reply_privately()).text
        bot.together.remediations[IDS]["state"] = "SUCCEEDED"
        await bot.slack.press(second, APPROVE)
        await bot.edited(second)
        assert bot.together.state(other) == "PENDING"


async def test_first_approval_lapses_after_eight_hours() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await pass_time(bot, 8 * 3600 - 60)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        await pass_time(bot, 120)
        assert "1 of 2 approvals" not in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "1 of 2 approvals: <@U0BOB>" in alert.text)
        assert bot.together.posts == []


async def test_first_approver_must_still_be_an_operator() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE", "U0BOB"]
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.slack.groups["S0ONCALL"] = ["U0BOB"]
        await pass_time(bot, 4000)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "1 of 2 approvals: <@U0BOB>" in alert.text)
        assert bot.together.posts == []


async def test_unnamed_mode_is_read_again_after_the_guard_rails() -> None:
    async with world(BOT_MAX_IN_REPAIR="5", BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        bot.together.on_call["list"] = lambda: bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "the repair changed from “Power cycle” to “Quick reprovision”." in alert.text
        assert bot.together.posts == []


@pytest.mark.parametrize("refusal", [8, 14])
async def test_unnamed_mode_is_read_again_before_a_second_attempt(refusal: int) -> None:
    async with world(BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()

        def escalate() -> None:
            bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"

        bot.together.on_call["approve"] = escalate
        bot.together.faults.append(Fault("rpc", verb="approve", code=refusal, headers={"Retry-After": "10"}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING_APPROVAL"
        assert len(bot.together.posts) == 1
        if refusal == 8:
            assert "the repair changed from “Power cycle” to “Quick reprovision”." in alert.text


async def test_second_attempt_without_a_look_is_not_made() -> None:
    async with world() as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        bot.together.on_call["approve"] = lambda: bot.together.faults.append(
            Fault("rpc", verb="get", code=14, times=-1)
        )
        bot.together.faults.append(Fault("rpc", verb="approve", code=8))
        await bot.slack.press(alert, APPROVE)
        assert "Your approval wasn't sent" in (await bot.answer(2)).text
        assert len(bot.together.posts) == 1


async def test_pause_that_was_confirmed_while_the_limit_was_read_holds() -> None:
    async with world(BOT_MAX_IN_REPAIR="5") as bot:
        bot.together.add()
        with bot.together.paused("list"):
            await bot.slack.press(bot.alert(), APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            bob = Actor("U0BOB", "bob", "T0HOME")
            await pause_beside(bot, bob)
        assert "Not approved: <@U0BOB> paused approvals until" in (await bot.reply_privately()).text
        await bot.settle()
        assert bot.together.posts == []


async def test_person_who_loses_the_right_while_the_limit_is_read_approves_nothing() -> None:
    async with world(BOT_MAX_IN_REPAIR="5") as bot:
        bot.together.add()
        with bot.together.paused("list"):
            await bot.slack.press(bot.alert(), APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            bot.slack.users["U0ALICE"]["deleted"] = True
            bot.time.seconds += 301  # what Slack said of somebody counts for five minutes
        assert "deactivated users can't do this" in (await bot.reply_privately()).text
        await bot.settle()
        assert bot.together.posts == []


@pytest.mark.parametrize("odd", ["another object", "no node", "a node without a name", "no object"])
async def test_limit_that_cannot_be_counted_refuses_the_approval(odd: str) -> None:
    async with world(BOT_MAX_IN_REPAIR="2") as bot:
        busy(bot, 2)
        bot.together.add()
        if odd == "another object":
            bot.together.faults.append(Fault("other", verb="list", times=-1))
        elif odd == "no node":
            bot.together.lists_extra = [{"id": "r", "cluster_id": "cluster-1", "state": "RUNNING"}]
        elif odd == "a node without a name":
            bot.together.lists_extra = [{"id": "r", "cluster_id": "cluster-1", "instance_id": "", "state": "RUNNING"}]
        else:
            bot.together.lists_extra = ["busy-0", "busy-1"]
        await bot.slack.press(bot.alert(), APPROVE)
        assert "Together sent an unexpected response" in (await bot.answer(2)).text
        assert bot.together.posts == []


async def test_first_approval_is_kept_while_slack_cannot_say_who_gave_it() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await pass_time(bot, 4000)
        fault = SlackFault("users.info", "internal_error", times=-1, user="U0ALICE")
        bot.slack.faults.append(fault)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        told = (await bot.reply_privately("U0BOB")).text
        assert told == (
            "Not approved: Slack couldn't say whether <@U0ALICE>, who approved first, still can. Try again in a minute."
        )
        bot.slack.faults.clear()
        await pass_time(bot, 60)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")


@pytest.mark.parametrize("action", [CANCEL, REJECT])
async def test_repair_that_nobody_saw_is_not_cancelled(tmp_path: Path, action: str) -> None:
    path = tmp_path / "bot.db"
    async with world(database=f"sqlite:///{path}") as bot:
        bot.together.add()
        alert = bot.alert()
        async with AsyncExitStack() as database:
            with bot.together.paused("get answered"):
                await bot.slack.press(alert, action)
                await bot.together.until(lambda: bot.together.is_waiting("get answered"))
                await database.enter_async_context(locked(path, "IMMEDIATE"))
            bot.together.escalate(IDS, "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT")
        await bot.edited(alert)
        assert "the repair changed from “Reboot” to “Remove”." in alert.text
        assert bot.together.posts == []


async def test_cancellation_says_what_the_repair_had_become() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.before_decision = lambda _call: bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert "Cancelled, but the repair had become “Quick reprovision”. You saw “Reboot”." in alert.text


def test_refusal_says_of_nobody_that_they_paused_for_longer_than_they_did() -> None:
    mine, theirs = Pauser("U0ALICE", START + 14_400, "c-1", "switch upgrade"), Pauser("U0BOB", START + 1800, "c-1")
    why = paused_error(Pause((mine, theirs)), "U0ALICE").why
    assert f"<@U0BOB> paused approvals until {when(mine.until)}" not in why, why


async def test_repair_that_shifting_pages_list_twice_counts_once() -> None:
    async with world(BOT_MAX_REPAIRS_PER_NODE="2/24h") as bot:
        for name, state in (("cancelled", "CANCELLED"), ("repaired", "SUCCEEDED")):
            bot.together.add(("cluster-1", "instance-1", name), state, end_time=bot.together._time())
        bot.together.add()
        bot.together.max_page, bot.together.repeated = 2, 1
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


def in_capitals(bot: World) -> Posted:
    """Another tool's alert about the repair, which names it by IDs in another case; Together takes them as the same."""
    bot.together.folds_ids = True
    cluster, instance, remediation = (part.upper() for part in IDS)
    fields = bot.together.remediations[IDS] | {"cluster_id": cluster, "instance_id": instance, "id": remediation}
    return bot.slack.post_as_tool(as_alert(fields), channel="C0OPS")


async def pressed(bot: World) -> list[str]:
    """Press Approve on the other tool's alert; return what was sent."""
    await bot.slack.press(in_capitals(bot), APPROVE)
    await pass_time(bot, 30)
    return [call.verb for call in bot.together.posts]


async def test_hold_keeps_an_approval_by_ids_in_another_case() -> None:

    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await until(bot, lambda: "On hold until" in alert.text)
        assert await pressed(bot) == [], alert.text


async def test_decision_under_way_keeps_another_by_ids_in_another_case() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("cancel"):
            await bot.slack.press(alert, CANCEL, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
            await bot.slack.press(in_capitals(bot), APPROVE)
            await pass_time(bot, 3)
            sent = [call.verb for call in bot.together.posts]
        assert sent in ([], ["cancel"]), sent


async def test_who_was_told_that_nothing_changed_is_the_first_approver_still() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_CHANNELS="C0OPS") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        await bot.slack.command(REF, channel="C0OTHER")
        assert "The bot isn't enabled here. Nothing changed." in (await bot.reply_privately()).text
        await pass_time(bot, 20)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await quiet(bot)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.bot(watching=True, BOT_MAX_IN_REPAIR="4")
async def test_number_for_a_node_keeps_nobody_from_approving_others(bot: World) -> None:
    busy = "cluster-1", "7", "r-7"
    bot.together.add(busy, state="RUNNING")
    bot.together.remediations[busy]["instance_id"] = 7
    bot.together.add()
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    assert bot.together.state(IDS) == "PENDING"
