"""What people say in their own words: about another node, not now, a hold that is over, and what they paste."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER
from tests.storms import began, digest, storm
from tests.test_flow_chooser import shown_in
from tests.test_flow_second_requests import two_nodes
from tests.watch import HOLD, card, pass_time, quiet, until, watching
from tests.world import IDS, REF, World

BOT = f"<@{BOT_USER}>"
NO_SUCH = "no such remediation"
OTHERS = (
    "the other one", "2h the other one", "the second one", "the node gpu-node-2", "approval for gpu-node-2",
    "the reboot of gpu-node-2", "off approving gpu-node-2", "reboot on gpu-node-2", "the one on instance-2",
    "all of them", "both of them", "everything in cluster-1",
)  # fmt: skip
QUESTIONS = "?", " 2h?", " should we wait?"
UNREAD_LENGTHS = "'til 17:00", "’til 5", "(until 17:00)", "thru 17:00 today", "@17:00 job ends", "90 sec"
OVER = (
    "no longer needed", "not needed anymore", "isn’t needed anymore", "can be released", "was a mistake",
    "released by Bob",
)  # fmt: skip
NOT_NOW = (
    "not yet", "don't", "wait", "no", "never mind", "in 10 minutes", "tomorrow", "after 18:00",
    "if the job is still running", "only if approved", "unless Bob objects", "should I?", "is this still needed?",
    "(don't cancel gpu-node-1)", "dry run", "just testing",
)  # fmt: skip
SECONDS = (
    "(gpu-node-1) and gpu-node-2", "gpu-node-1 and gpu-node-2", "gpu-node-1 gpu-node-2", "gpu-node-1\ngpu-node-2",
    "on gpu-node-1 and gpu-node-2", "it and gpu-node-2", "this and gpu-node-2", "both this and gpu-node-2",
    "not gpu-node-1 but gpu-node-2", "gpu-node-1 is fine, cancel the one on gpu-node-2",
)  # fmt: skip
PASTED = (
    "Approval needed: reboot gpu-node-1 ⏳ · cluster-1 (H100)",  # the title of its card
    "gpu-node-1: 1 remediation",  # `history`
    "gpu-node-1: on hold until Nov 24 at 4:00 AM by @alice. See the card",  # the line behind a hold
    "gpu-node-1: Reboot (Xid 79)", "reboot of gpu-node-1", "the gpu-node-1 one", "the second one", "all of them",
    "cancel both nodes now", "what is waiting", "wait gpu-node-1 2h",
    "Node: gpu-node-1 Cluster: cluster-1 Instance: instance-1 Remediation: remediation-1",
)  # fmt: skip
IN_A_THREAD = (
    "cancel false alarm, cable swapped", "approve both of them", "approve the second one",
    "cancel it if it’s still waiting", "approve this one: job is done", "status of the node gpu-node-2",
)  # fmt: skip


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
        await bot.slack.say(f"{BOT} hold job is checkpointing", user="U0ALICE", thread=first)
        await until(bot, lambda: "job is checkpointing" in first.text)


@pytest.mark.parametrize("said", OVER)
async def test_who_says_that_a_hold_is_over_does_not_start_another(said: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await bot.slack.press(first, HOLD, choice="1800", user="U0BOB")
        await until(bot, lambda: "On hold until" in first.text)
        await pass_time(bot, 1500)
        await bot.slack.say(f"{BOT} hold {said}", user="U0ALICE", thread=first)
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
        "for cluster-1 2h", "2h cluster-1", "– cluster-1 2h",
    )  # fmt: skip
    typed = (
        "gpu-node-07 on cluster-1", "gpu-node-07 in cluster-1", "gpu-node-07 cluster-1",
        "cancel gpu-node-07 of cluster-1",
        "gpu-node-07  cluster-1 (H100) · Reboot · waiting for approval · opened 5 minutes ago",
    )  # fmt: skip
    async with namesakes() as (bot, other):
        for where in held:
            await bot.slack.say(f"{BOT} hold gpu-node-07 {where}", user="U0ALICE")
            await quiet(bot)
            assert "On hold" not in other.text, where
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


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_time_in_a_reason_is_no_length_of_a_hold(*, is_in_thread: bool) -> None:
    reasons = (
        "it rebooted 5 minutes ago", ", alert fired 2 min ago, let me look", "came back 10 min ago on its own",
        "job has been running for 3h already", "idle since 2h",
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
        for typed in ("list please", "tonight please", "history gpu-node-1 please", "list now"):
            refused = (await bot.slack.command(typed)).body
            assert "takes no names" not in refused, typed
            assert "one node name or instance ID" not in refused, typed
