"""What people say in their own words: about another node, not now, a hold that is over, and what they paste."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from bot.cards.listing import ranges
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER
from tests.storms import began, digest, storm
from tests.test_flow_chooser import opened, shown_in
from tests.test_flow_second_requests import two_nodes
from tests.test_flow_shortcuts import URL, used
from tests.watch import HOLD, card, pass_time, quiet, until, watching
from tests.world import IDS, REF, World

BOT = f"<@{BOT_USER}>"
NO_SUCH = "no such remediation"
OTHERS = (
    "the other one", "2h the other one", "the second one", "the node gpu-node-2", "approval for gpu-node-2",
    "the reboot of gpu-node-2", "off approving gpu-node-2", "reboot on gpu-node-2", "the one on instance-2",
    "all of them", "both of them", "everything in cluster-1", "this and the other one", "this one and the next one 2h",
    "its neighbour too", "two of them", "gpu-node-1 and the other one", "node 2", "number 2", "2h node 2",
    "gpu node 2", "the 2 one", "the other node", "another node", "next node", "the one below", "1 and 2", "these two",
    "those two", "both nodes", "them both for 2h", "all nodes", "every node", "the whole cluster",
    "it and its neighbor", "not this one", "neither of them", "gpu-node-9 is training",
)  # fmt: skip
REASONS = (
    "node is still training", "no spare node right now", "not drained yet", "all GPUs are busy", "is still training",
    "next checkpoint is soon", "other team is debugging", "last checkpoint is too old", "8 GPUs still busy",
    "Xid 2 is harmless here", "any loss of it kills the run",
)  # fmt: skip
REASONS_BEHIND_A_NAME = (
    "in a maintenance window", "after 3 reboots still broken", "when idle it recovers", "second time today",
    "waiting for a second opinion", "once more a false alarm", "for 2h now, job is running", "checkpointing",
)  # fmt: skip
CANCELS = (
    "in a maintenance window", "after 2 reboots it is fine", "when rebooted it came back", "once again a false alarm",
    "at 2am the link came back", "false alarm, see https://wiki.example/t?1", "reason=not yet", "no longer an issue",
    "not needed", "can be done by hand", "fixed, not urgent", "job finished at 16:00", "after reboot by hand",
    "waiting for a part", "same switch as gpu-node-2", "and rebooted by hand", "should have been closed",
    "it is the cable, not the GPU",
)  # fmt: skip
QUESTIONS = "?", " 2h?", " should we wait?"
UNREAD_LENGTHS = (
    "90", "45.", "90, training", "2 ours", "5 mi", "2 hour's", "'til 17:00", "’til 5", "(until 17:00)",
    "thru 17:00 today", "@17:00 job ends", "90 sec",
)  # fmt: skip
OVER = (
    "no longer needed", "not needed anymore", "isn’t needed anymore", "can be released", "was a mistake",
    "released by Bob", "lifted by Bob", "should be released now", "expired, go ahead", "must be removed",
    "my mistake, approve it", "is over", "this is over", "has ended", "is off", "is cancelled", "no more", "no longer",
    "can end", "not required any more", "is done, go ahead", "job finished, approve it", "never mind",
)  # fmt: skip
NOT_NOW = (
    "not yet", "don't", "wait", "no", "never mind", "in 10 minutes", "tomorrow", "after 18:00",
    "if the job is still running", "only if approved", "unless Bob objects", "should I?", "is this still needed?",
    "(don't cancel gpu-node-1)", "dry run", "just testing", "not yet, please", "pls not yet", "no thanks", "… not yet",
    "wait a minute", "not just yet", "in ten minutes", "in half an hour", "only after the job", "not before 18:00",
    "not until Bob agrees", "hang on", "nvm", "no, not yet", "wait, no", "should I do this or not",
    "if it’s still running, wait", "not yet, job still running", "not yet. waiting for checkpoint", "don’t do it",
    "don't do it yet", "wait, job still running", "wait until 5", "if the job runs", "later, job running",
    "tomorrow 9am", "tonight at 10", "maybe later", "after the checkpoint", "until the job ends", "when drained",
    "at 16:00", "should not be cancelled", "do nothing",
)  # fmt: skip
SECONDS = (
    "(gpu-node-1) and gpu-node-2", "gpu-node-1 and gpu-node-2", "gpu-node-1 gpu-node-2", "gpu-node-1\ngpu-node-2",
    "on gpu-node-1 and gpu-node-2", "it and gpu-node-2", "this and gpu-node-2", "both this and gpu-node-2",
    "not gpu-node-1 but gpu-node-2", "gpu-node-1 is fine, cancel the one on gpu-node-2", "and number 2",
    "along with gpu-node-2", "und auch gpu-node-2", "and its neighbour gpu-node-2", "I mean gpu-node-2",
    "no wait, gpu-node-2", "actually gpu-node-2", "node gpu-node-2 as well", "fixed by hand, gpu-node-2 as well",
    "fixed by hand and gpu-node-2", "fixed, also do gpu-node-2", "both", "and all the others", "and its neighbour",
    "the other one", "not this one", "node 2 too",
)  # fmt: skip
PASTED = (
    "Approval needed: reboot gpu-node-1 ⏳ · cluster-1 (H100)",  # the title of its card
    "gpu-node-1: 1 remediation",  # `history`
    "gpu-node-1: put on hold until Nov 24 at 4:00 AM by @alice. See the card",  # the line behind a hold
    "gpu-node-1: Reboot (Xid 79)", "reboot of gpu-node-1", "the gpu-node-1 one", "the second one", "all of them",
    "cancel both nodes now", "what is waiting", "wait gpu-node-1 2h",
    "Node: gpu-node-1 Cluster: cluster-1 Instance: instance-1 Remediation: remediation-1",
)  # fmt: skip
IN_A_THREAD = (
    "cancel false alarm, cable swapped", "approve both of them", "approve the second one",
    "cancel it if it’s still waiting", "approve this one: job is done", "status of the node gpu-node-2",
)  # fmt: skip


def said_on(alert: Posted, words: str) -> bool:
    return words in alert.text


def is_cancelled(bot: World, ids: tuple[str, str, str]) -> bool:
    return bot.together.state(ids) == "CANCELLED"


def told(bot: World, words: str) -> list[str]:
    return [message.text for message in bot.slack.messages if words in message.text]


async def test_hold_in_a_thread_that_may_mean_another_node_several_or_none_holds_nothing() -> None:
    async with watching() as bot:
        first, second = await two_nodes(bot)
        for said in (
            *(f" {words}" for words in OTHERS),
            *QUESTIONS,
            *(f" gpu-node-1 {words}" for words in UNREAD_LENGTHS),
        ):
            await bot.slack.say(f"{BOT} hold{said}", user="U0ALICE", thread=first)
            await quiet(bot)
            assert "On hold" not in first.text + second.text, said
        for number, (why, thread) in enumerate(
            [(why, first) for why in REASONS] + [(why, None) for why in REASONS_BEHIND_A_NAME]
        ):
            name = "" if thread else " gpu-node-1"
            await bot.slack.say(f"{BOT} hold{name} {why} #{number}", user="U0ALICE", thread=thread)
            await until(bot, partial(said_on, first, f"#{number}"))
        assert "On hold" not in second.text


async def test_who_says_that_a_hold_is_over_does_not_start_another() -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.press(first, HOLD, choice="1800", user="U0BOB")
        await until(bot, lambda: "On hold until" in first.text)
        await pass_time(bot, 1500)
        held = first.text
        for words, thread in [(said, first) for said in OVER] + [(f"gpu-node-1 {said}", None) for said in OVER]:
            await bot.slack.say(f"{BOT} hold {words}", user="U0ALICE", thread=thread)
            await quiet(bot)
            assert first.text == held, words
        await pass_time(bot, 600)
        assert "On hold until" not in first.text


async def test_words_behind_ids_that_say_not_now_or_add_a_node_cancel_nothing() -> None:
    async with watching() as bot:
        await two_nodes(bot)
        for rest in (*NOT_NOW, *SECONDS):
            await bot.slack.command(f"{REF} {rest}")
            await quiet(bot)
            assert bot.together.posts == [], rest
        await bot.slack.command(f"{REF} not yet drained")  # which is a reason
        await card(bot, words="not yet drained")
        for number, why in enumerate(CANCELS):
            ids = bot.together.add(("cluster-1", f"instance-3{number}", f"remediation-3{number}"))
            await bot.slack.command(f"{'/'.join(ids)} {why}")
            await until(bot, partial(is_cancelled, bot, ids))


async def test_signs_around_and_behind_ids_are_none_of_theirs() -> None:
    url = "https://api.together.ai/v1/compute/clusters/cluster-1/instances/instance-1/remediations/remediation-1"
    async with watching() as bot:
        spaced, options = " ".join(IDS), "cluster=cluster-1 instance=instance-1 remediation=remediation-1."
        behind = (f"{spaced}.", f"{REF}.", f"{spaced}!", f"{spaced}: fixed", f"{REF}; fixed")
        for number, typed in enumerate((*behind, f"({spaced})", options, f"{url}."), 1):
            bot.together.add()
            await bot.slack.command(typed)
            await until(bot, partial(is_cancelled, bot, IDS))
            assert len(bot.together.posts) == number, typed
        await quiet(bot)
        assert told(bot, NO_SUCH) == []


async def test_thread_s_own_node_is_it_and_this() -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        for said in ("hold it", "hold this.", "cancel it", "approve this one pls", "status it"):
            await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=first)
            await quiet(bot)
            assert told(bot, "No open remediation matches") == [], said
        assert "On hold until" in first.text
        assert bot.together.posts == []


async def test_second_node_is_not_left_out_where_names_have_a_domain() -> None:
    async with watching() as bot:
        for number in (1, 2):
            ids = "cluster-1", f"instance-{number}", f"remediation-{number}"
            await card(bot, bot.together.add(ids, instance_name=f"gpu-node-{number}.train.example"))
        for rest in (*SECONDS, "and 2"):
            await bot.slack.command(f"{REF} {rest}")
            await quiet(bot)
            assert bot.together.posts == [], rest


async def test_second_node_is_not_left_out_where_a_digest_shortens_it_to_a_longer_number() -> None:
    assert ranges(["gpu-node-9", "gpu-node-12"]) == ["gpu-node-9, 12"]
    async with watching() as bot:
        cards = {}
        for number in (9, 12):
            ids = "cluster-1", f"instance-{number}", f"remediation-{number}"
            cards[number] = await card(bot, bot.together.add(ids, instance_name=f"gpu-node-{number}"))
        for said in (
            "gpu-node-9 and 12 2h", "2h gpu-node-9 and 12", "gpu-node-12 and 9 for 2h", "gpu-node-9 through 12 2h",
        ):  # fmt: skip
            await bot.slack.say(f"{BOT} hold {said}", user="U0ALICE")
            await quiet(bot)
            assert not [each for each in cards.values() if "On hold" in each.text], said
        for rest in ("and 12", ", 12", "& 12", "12"):
            await bot.slack.command(f"cluster-1/instance-9/remediation-9 {rest}")
            await quiet(bot)
            assert bot.together.posts == [], rest
        for typed in ("gpu-node-9, 12", "gpu-node-9, 12–13"):
            await bot.slack.command(typed)
            await quiet(bot)
        assert not [view for view in map(shown_in, bot.slack.views) if "reboot gpu-node-9" in view]


async def test_words_are_neither_sent_as_ids_nor_said_to_be_unknown_to_together() -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        for typed in PASTED:
            await bot.slack.command(typed)
            await quiet(bot)
        for said in IN_A_THREAD:
            await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=first)
            await quiet(bot)
        for rest in ("2h+ job", "2h! job running", "2h—job running", "2h… job", "1-2h job"):
            await bot.slack.say(f"{BOT} hold gpu-node-1 {rest}", user="U0ALICE")
            await quiet(bot)
        bot.together.add(("cluster-1", "instance-3", "remediation-3"), instance_name="gpu-node-3")
        await bot.slack.command("gpu-node-3 fixed by hand")  # which isn't tracked yet
        await quiet(bot)
        assert bot.together.posts == []
        assert told(bot, NO_SUCH) == []


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_second_node_as_a_digest_shortens_it_is_not_left_out(*, is_in_thread: bool) -> None:
    lists = (
        "gpu-node-0000 and 0002 2h", "2h gpu-node-0000 and 0002", "gpu-node-0000 & 0002 1h", "2h gpu-node-0000, 0002",
        "gpu-node-0000 plus 0002 for 2h", "gpu-node-0000 0002 2h", "2h gpu-node-0000, 0002, 0004–0005",
        "gpu-node-0000 to 0002 for 2h", "gpu-node-0000 - 0002 for 2h", "gpu-node-0000 – 0002 2h",
    )  # fmt: skip
    async with watching() as bot:
        await began(bot)
        made = storm(bot, 6)
        message = await digest(bot)
        for said in lists:
            await bot.slack.say(f"{BOT} hold {said}", user="U0ALICE", thread=message if is_in_thread else None)
            await quiet(bot)
            assert "on hold by" not in message.text, said
        for rest in ("and 0002", ", 0002", "& 0002", "and 0004–0005"):
            await bot.slack.command(f"{'/'.join(next(iter(made)))} {rest}")
            await quiet(bot)
        for typed in ("gpu-node-0000, 0002, 0004–0005", "gpu-node-0004–0005", "gpu-node-0000, 0002"):
            await bot.slack.command(typed)
            await quiet(bot)
        assert bot.together.posts == []
        assert told(bot, NO_SUCH) == []


@asynccontextmanager
async def namesakes() -> AsyncIterator[tuple[World, Posted]]:
    """gpu-node-07 of cluster-1 is over, the one of cluster-2 waits."""
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07")
        await card(bot)
        there = bot.together.add(("cluster-2", "instance-7", "remediation-7"), instance_name="gpu-node-07")
        other = await card(bot, there, seconds=900)
        bot.together.resolve(IDS)
        await card(bot, words="recovered on its own")
        yield bot, other


async def test_node_that_is_named_with_its_cluster_is_none_of_its_namesake_in_another() -> None:
    held = (
        "cluster-1 2h", "(cluster-1) 2h", "cluster-1 flaky nic", ", cluster-1, flaky nic", "· cluster-1 · flaky nic",
        "for cluster-1 2h", "2h cluster-1", "– cluster-1 2h", "in cluster-1 2h",
    )  # fmt: skip
    typed = (
        "gpu-node-07 on cluster-1", "gpu-node-07 in cluster-1", "gpu-node-07 cluster-1",
        "cancel gpu-node-07 of cluster-1",
        "gpu-node-07  cluster-1 (H100) · Reboot · waiting for approval · opened 5 minutes ago",
    )  # fmt: skip
    async with namesakes() as (bot, other):
        for said in (*(f"gpu-node-07 {where}" for where in held), "2h gpu-node-07 on cluster-1"):
            await bot.slack.say(f"{BOT} hold {said}", user="U0ALICE")
            await quiet(bot)
            assert "On hold" not in other.text, said
        for where in ("on cluster-1 please", "in cluster-1", "(cluster-1) now", "of cluster-1, it is fine"):
            for verb in ("cancel", "approve"):
                await bot.slack.say(f"{BOT} {verb} gpu-node-07 {where}", user="U0ALICE")
                await quiet(bot)
                assert told(bot, "asked to") == [], where
        for words in typed:
            await bot.slack.command(words)
            await quiet(bot)
            assert not [view for view in map(shown_in, bot.slack.views) if "reboot gpu-node-07" in view], words
        await bot.slack.say(f"{BOT} hold gpu-node-07 in cluster-2 2h", user="U0ALICE")
        await until(bot, lambda: "On hold" in other.text)


async def test_reason_that_begins_with_a_word_as_which_a_cluster_is_called_holds_its_node() -> None:
    reasons = "prod traffic is on it", "2h because prod launch", "because dev is using it", "for the dev team"
    async with watching() as bot:
        bot.together.clusters.update({"cluster-1": "research", "cluster-2": "prod", "cluster-3": "dev"})
        await pass_time(bot, 700)
        first, _ = await two_nodes(bot)
        for number, why in enumerate(reasons):
            await bot.slack.say(f"{BOT} hold gpu-node-1 {why} #{number}", user="U0ALICE")
            await until(bot, partial(said_on, first, f"#{number}"))


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_time_in_a_reason_is_no_length_of_a_hold(*, is_in_thread: bool) -> None:
    reasons = (
        "it rebooted 5 minutes ago", ", alert fired 2 min ago, let me look", "came back 10 min ago on its own",
        "job has been running for 3h already", "idle since 2h", "it rebooted 2h 30m ago", "no errors in the last 2h",
        "it rebooted 1 hour and 5 minutes ago", "idle since about 2h", "idle since  2h", "it flaps every 10 minutes",
    )  # fmt: skip
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        for why in reasons:
            said = f"hold {why}" if is_in_thread else f"hold gpu-node-1 {why}"
            await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=first if is_in_thread else None)
            await quiet(bot)
            assert "On hold" not in first.text, why


async def test_what_phones_put_behind_a_name_makes_no_node_unknown_and_courtesy_is_no_name() -> None:
    async with watching() as bot:
        await two_nodes(bot)
        for typed in ("gpu-node-1.", "gpu-node-1:", "status gpu-node-1.", "history gpu-node-1.", "cancel gpu-node-1."):
            await bot.slack.command(typed)
            await quiet(bot)
        shown = [message.text for message in bot.slack.messages if message.by == BOT_USER]
        shown += map(shown_in, bot.slack.views)
        assert not [text for text in shown if "No open remediation matches" in text or "has no record" in text]
        for typed in ("list please", "tonight please", "history gpu-node-1 please", "list now", "list.", "tonight."):
            refused = (await bot.slack.command(typed)).body
            assert "takes no names" not in refused, typed
            assert "one node name or instance ID" not in refused, typed


@pytest.mark.parametrize("said", ["cancel no longer needed", "approve node is drained", "cancel other team fixed it"])
async def test_who_cancels_or_approves_in_a_thread_is_not_told_how_to_hold(said: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=first)
        await quiet(bot)
        assert told(bot, "Release hold") == []


async def test_message_that_names_two_remediations_is_not_told_that_neither_can_be_cancelled_unread() -> None:
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add(("cluster-1", "instance-9", "remediation-9")))
        await opened(bot)
        for cluster in ("cluster-1", "cluster-2"):
            urls = [
                URL.replace("cluster-1", cluster)
                .replace("instance-1", f"instance-{number}")
                .replace("tion-1", f"tion-{number}")
                for number in (1, 2)
            ]
            for number in (1, 2):
                bot.together.add((cluster, f"instance-{number}", f"remediation-{number}"))
            said = shown_in(await used(bot, await bot.slack.say(" and ".join(urls), user="U0BOB")))
            assert "None of them can be cancelled" not in said


@pytest.mark.parametrize("is_over", [False, True])
async def test_three_ids_in_a_message_are_not_taken_for_the_namesake_of_the_last_in_another_cluster(
    *, is_over: bool
) -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        first = await card(bot, bot.together.add(instance_name="gpu-node-7"))
        bot.together.add(("cluster-2", "instance-9", IDS[2]), instance_name="gpu-node-9")
        await pass_time(bot, 60)
        if is_over:
            bot.together.resolve(IDS)
            await until(bot, lambda: "recovered on its own" in first.text)
        said = shown_in(await used(bot, await bot.slack.say(f"look at {REF}, it flaps", user="U0BOB")))
        assert "reboot gpu-node-9" not in said
        assert "names 2 remediations" not in said
