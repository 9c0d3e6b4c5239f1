"""Many at once: one message about them, and no flood."""

import pytest

from bot.cards.digest import draw
from tests.deaths import kill_the_watch
from tests.simulation.steps import Trace
from tests.simulator.slack.workspace import SlackFault
from tests.storms import REVIEW, began, choose, digest, storm
from tests.watch import card, enforce_slacks_limits, pass_time, poll, quiet, thread, until
from tests.world import APPROVE, World

pytestmark = pytest.mark.bot(watching=True)


async def test_digest_is_drawn_once_for_a_change(bot: World) -> None:
    await began(bot)
    first, *_ = storm(bot, 12)
    message = await digest(bot, "12 nodes")
    await pass_time(bot, 60)
    edits = message.edits
    with Trace() as trace:
        bot.together.resolve(first)
        await digest(bot, "11 nodes")
        await pass_time(bot, 60)
    assert message.edits == edits + 1
    assert trace.count(draw) == 1


async def test_five_at_once_get_cards_of_their_own(bot: World) -> None:
    await began(bot)
    storm(bot, 5)
    await until(bot, lambda: len(bot.slack.visible()) == 5)
    await pass_time(bot, 60)
    assert bot.slack.digests() == []


async def test_six_at_once_become_one_message_that_later_ones_join(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    assert "6 nodes in cluster-1 (H100) need a decision" in message.text
    assert "6 nodes in cluster-1 (H100) need a decision" in message.everything
    assert "Quick reprovision · Xid 79, GPU has fallen off the bus (1): gpu-node-0003" in message.text
    storm(bot, 4, start=6)
    await digest(bot, "10 nodes in cluster-1 (H100)")
    assert bot.slack.visible() == [message]


async def test_slow_storm_gets_cards_first_and_a_digest_for_the_rest(bot: World) -> None:
    await began(bot)
    storm(bot, 3)
    await until(bot, lambda: len(bot.slack.visible()) == 3)
    storm(bot, 4, start=3)
    await digest(bot, "4 nodes in cluster-1 (H100)")
    assert len(bot.slack.visible()) == 4


async def test_more_than_a_minute_apart_is_not_a_storm(bot: World) -> None:
    await began(bot)
    for number in range(6):
        storm(bot, 1, start=number)
        await pass_time(bot, 30)
    await until(bot, lambda: len(bot.slack.visible()) == 6)
    assert bot.slack.digests() == []


async def test_card_that_cannot_be_posted_is_not_a_storm(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "not_in_channel", times=8))
    storm(bot, 1)
    await pass_time(bot, 120, longest=0)
    assert bot.slack.digests() == []
    assert len(bot.slack.visible()) == 1


async def test_card_that_was_not_posted_before_a_storm_is_in_the_digest_only(bot: World) -> None:
    await began(bot)
    with bot.slack.paused("chat.postMessage"):
        first = storm(bot, 3)
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        storm(bot, 4, start=3)
        await poll(bot)
    await pass_time(bot, 40)
    assert [len(bot.slack.cards(ids[2])) for ids in first] == [1, 0, 0]
    assert "6 nodes in cluster-1 (H100) need a decision" in (await digest(bot)).text


async def test_digest_follows_states_and_failures_mention_the_approver(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "6 of 6 approved")
    for each in ids:
        bot.together.remediations[each]["state"] = "RUNNING"
    await digest(bot, "In all: 6 running.")
    bot.together.fail(ids[4], "no host left")
    for each in (ids[0], ids[1], ids[2], ids[3], ids[5]):
        bot.together.advance(each)
    await digest(bot, "In all: 5 succeeded, 1 failed.")
    failed = await until(bot, lambda: [reply for reply in bot.slack.replies(message) if "failed" in reply.text])
    assert failed[0].text.startswith(
        "<@U0ALICE>, these repairs you approved failed:\ngpu-node-0004: Reboot failed, “no host left”"
    )
    assert failed[0].broadcast
    assert REVIEW not in message.buttons
    calls = len(bot.together.calls)
    edits = message.edits
    await pass_time(bot, 600)
    assert [call.verb for call in bot.together.calls[calls:] if call.verb == "get"] == []
    assert message.edits == edits


@pytest.mark.parametrize("after", [True, False])
async def test_digest_is_posted_once_whether_or_not_its_post_arrived(bot: World, *, after: bool) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=after))
    storm(bot, 9)
    message = await digest(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [message]
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "9 of 9 approved")


async def test_false_alarm_on_150_nodes_stays_within_slacks_limits(bot: World) -> None:
    enforce_slacks_limits(bot)
    await began(bot)
    ids = storm(bot, 150)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, verb="cancel"))
    await until(bot, lambda: "150 of 150 cancelled" in message.everything, 900)
    await until(bot, lambda: len(bot.slack.replies(message)) == 1)
    assert bot.slack.refused_for_limits == []
    assert {bot.together.state(ids) for ids in ids} == {"CANCELLED"}
    assert bot.slack.visible() == [message, *bot.slack.replies(message)]


async def test_click_on_a_card_beside_a_storm_is_not_delayed(bot: World) -> None:
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    storm(bot, 40, start=1)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await bot.slack.press(alert, APPROVE)
    await bot.slack.until(lambda: "Approved by <@U0ALICE>" in alert.text)
    await digest(bot, "40 of 40 approved")


async def test_deleted_digest_is_given_up_and_its_batch_still_runs(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.slack.messages.remove(message)
    await bot.slack.submit(view)
    await until(bot, lambda: all(bot.together.state(ids) == "PENDING" for ids in ids))
    await pass_time(bot, 120, longest=0)
    edits = [method for method, _ in bot.slack.calls].count("chat.update")
    assert edits <= 3


async def test_digest_reposted_during_a_death_is_not_posted_a_third_time(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    storm(bot, 6)
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        await kill_the_watch(bot)
        async with bot.another():
            await pass_time(bot, 6)
    await quiet(bot)
    assert len(bot.slack.digests()) == 1


@pytest.mark.parametrize("other", ["other", "same"])
async def test_remediation_approved_before_its_post_is_told_without_buttons(bot: World, other: str) -> None:
    await began(bot)
    with bot.slack.paused("chat.postMessage"):
        bot.together.add(("cluster-1", "i-0", "r-0"))
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        started = bot.together.add(("cluster-1", "i-1", "same"))
        bot.together.add(("cluster-1", "i-2", other))
        await poll(bot)
        bot.together.review(started, "approve")
        await poll(bot)
    await pass_time(bot, 60)
    (told,) = [
        message
        for message in bot.slack.visible()
        if message.text.startswith("i-1 (cluster-1 (H100)): Approved, queued")
    ]
    assert APPROVE not in told.buttons


async def test_review_says_the_load_of_the_cluster_with_what_was_approved_a_moment_ago(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 64
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    storm(bot, 7, start=1)
    message = await digest(bot)
    await pass_time(bot, 600)  # the list of clusters says by then how many nodes there are
    storm(bot, 1, start=20)
    other = await card(bot, ("cluster-1", "instance-20", "cluster-1-r0020-"))
    lists = sum(call.verb == "list" for call in bot.together.calls)
    await bot.slack.press(alert, APPROVE)
    await bot.slack.until(lambda: "Approved by <@U0ALICE>" in alert.text)
    view = await choose(bot, message)
    assert "Cluster: 1 of 64 nodes in repair, 1 more waiting." in str(view["blocks"])
    assert sum(call.verb == "list" for call in bot.together.calls) == lists, "no list says so yet"
    await bot.slack.open_home()
    await bot.slack.until(lambda: "cluster-1 (H100): 1 of 64 nodes in repair" in str(bot.slack.homes.get("U0ALICE")))
    assert other.buttons


async def test_one_that_waits_gets_a_card_though_many_began_before_a_restart(bot: World) -> None:
    await began(bot)
    for number in range(5):
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}-"), state="PENDING", instance_name=f"busy-{number}")
    await pass_time(bot, 20)
    await bot.settle()
    async with bot.another():
        bot.together.add()
        await card(bot)
        assert [message.text for message in bot.slack.digests() if "decision" in message.text] == []


async def test_digest_says_how_large_its_cluster_is_by_now(bot: World) -> None:
    await began(bot)
    bot.together.nodes["cluster-1"] = 16
    await pass_time(bot, 700)
    storm(bot, 6)
    message = await digest(bot)
    assert "6 of 16 nodes" in message.text
    bot.together.nodes["cluster-1"] = 64
    await pass_time(bot, 1800)
    assert "6 of 64 nodes" in message.text


async def test_digest_of_what_runs_calls_its_cluster_by_its_present_name(bot: World) -> None:
    await began(bot)
    for number in range(6):
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}-"), state="PENDING", instance_name=f"busy-{number}")
    message = await digest(bot)
    bot.together.clusters["cluster-1"] = "renamed"
    await pass_time(bot, 1800)
    assert "renamed" in message.text


async def test_reminder_calls_a_cluster_by_its_present_name(bot: World) -> None:
    await began(bot)
    *_, last = storm(bot, 6)
    message = await digest(bot)
    bot.together.clusters["cluster-1"] = "renamed"
    await pass_time(bot, 700)
    bot.together.review(last, "cancel")
    await pass_time(bot, 1500)
    reminders = [line for line in thread(bot, message) if "for a decision" in line]
    assert reminders
    assert all("in renamed" in line for line in reminders)
