"""Attack: what is found by a name, and what is said where nothing is found."""

from typing import Any

import pytest

from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault, Ids
from tests.test_flow_chooser import opened, shown_in
from tests.watch import card, poll, quiet, watching
from tests.world import OTHER, World, world

BOT = f"<@{BOT_USER}>"
MEANT: Ids = ("cluster-1", "instance-7", "r-7")
LONGER: Ids = ("cluster-1", "instance-70", "r-70")
NOTHING = "Nothing can be cancelled right now"


async def two_names(bot: World, **meant: Any) -> None:
    """gpu-node-70 has its card; gpu-node-7 opens a moment later, before the next poll."""
    await card(bot, bot.together.add(LONGER, instance_name="gpu-node-70"))
    bot.together.add(MEANT, instance_name="gpu-node-7", **meant)


async def test_full_name_of_a_node_that_has_just_opened_cancels_no_node_with_a_longer_name() -> None:
    """Typing a node's full name opens the dialog with another node in it, and submitting cancels that one.

    What happens: gpu-node-70 is tracked, gpu-node-7 opened seconds ago. `/cancel-remediation gpu-node-7` → the dialog
    is filled with gpu-node-70, ready to submit, without a word that this is only a partial match.
    Why it matters: a tired person who typed the full name submits, and the wrong node loses its repair for 30 min.
    Cause: bot/decisions/lookup.py:Lookup.find returns whatever `_matching` finds among what is tracked, also where it
    is only a prefix, before it looks whether Together has the exact name.
    Fix: return early from what is tracked (and from a copy of a scan) only for exact matches; take prefixes only after
    a scan as of now found nothing exact.
    """
    async with watching() as bot:
        await two_names(bot)
        view = await opened(bot, "gpu-node-7")
        if "submit" in view and "initial_option" in shown_in(view):
            await bot.slack.submit(view)
            await quiet(bot)
        assert bot.together.state(LONGER) == "PENDING_APPROVAL", "the wrong node's repair was cancelled"


async def test_full_name_of_a_node_that_is_already_running_offers_no_node_with_a_longer_name() -> None:
    """The bot knows the node that was named in full, and still offers another one for cancellation.

    What happens: gpu-node-7 is tracked and RUNNING, gpu-node-70 waits. `/cancel-remediation gpu-node-7` → a dialog
    filled with gpu-node-70. It should say that gpu-node-7's repair is already “Running”.
    Why it matters: as above; and it lasts for as long as gpu-node-7 is in repair, not only until the next poll.
    Cause: bot/decisions/lookup.py:_matching filters by state before it looks for exact names, so the exact match
    vanishes and the prefix wins.
    Fix: look for exact names among all that is open; filter by state only what remains, and let `_chosen` (which
    already says “Too late to cancel”) answer for one in another state.
    """
    async with watching() as bot:
        await card(bot, bot.together.add(LONGER, instance_name="gpu-node-70"))
        await card(bot, bot.together.add(MEANT, "RUNNING", instance_name="gpu-node-7"))
        assert "gpu-node-70" not in shown_in(await opened(bot, "gpu-node-7"))


async def test_running_repair_is_not_called_no_open_remediation() -> None:
    """“No open remediation matches” is said of a node whose repair is open, and running.

    What happens: gpu-node-7 is RUNNING. `/cancel-remediation gpu-node-7` → “No open remediation matches “gpu-node-7” in
    what this bot tracks or what Together lists. Check the name”. Both tracks and lists have it.
    Why it matters: the person believes the node isn't in repair (or retypes the name), while it's being rebooted;
    `status gpu-node-7` a second later says Running.
    Cause: handlers/chooser.py:_first_view asks `find` for CANCELLABLE states only, and `no_match` says “open”.
    Fix: find among OPEN and let `_chosen` say “Too late to cancel: it's already “Running””.
    """
    async with watching() as bot:
        await card(bot, bot.together.add())
        await card(bot, bot.together.add(MEANT, "RUNNING", instance_name="gpu-node-7"))
        assert "No open remediation matches" not in shown_in(await opened(bot, "gpu-node-7"))


async def test_mention_with_a_full_name_points_at_no_card_of_a_longer_name() -> None:
    """`@bot approve gpu-node-7` answers in the thread with the card of gpu-node-70, and asks to decide there.

    Why it matters: the link's card has the Approve button of another node; the asker expects their own.
    Cause: as above, bot/decisions/lookup.py:Lookup.find through handlers/mentions.py:_find.
    """
    async with watching() as bot:
        await two_names(bot)
        said = await bot.slack.say(f"{BOT} approve gpu-node-7", user="U0ALICE")
        await quiet(bot)
        assert not [each.text for each in bot.slack.replies(said) if "gpu-node-70" in each.text]


async def test_hold_with_a_full_name_is_not_asked_for_the_full_name() -> None:
    """`@bot hold gpu-node-7 1h` is answered “1 open remediation matches. Type the full node name”: it was typed.

    Why it matters: the person can't hold that node whatever they type, and sees gpu-node-70 in its place.
    Cause: as above, bot/decisions/lookup.py:Lookup.find.
    """
    async with watching() as bot:
        await two_names(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
        assert "Type the full node name" not in (await bot.reply_privately()).text


async def test_name_that_two_clusters_have_is_not_guessed_at() -> None:
    """Two clusters have a gpu-node-7; only one is tracked yet. The bot takes that one without asking.

    What happens: the dialog is filled with cluster-1's node, as though there was only one; when both are tracked it
    says “2 remediations match. Choose one.”
    Why it matters: node names repeat between clusters; who means cluster-2's cancels cluster-1's.
    Cause: bot/decisions/lookup.py:Lookup.find never looks at Together once anything tracked matches.
    Fix: scan in any case (it is remembered for 10 s), and merge by reference; or say in the dialog that only what is
    tracked was searched.
    """
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add(MEANT, instance_name="gpu-node-7"))
        bot.together.add(OTHER, instance_name="gpu-node-7")
        assert "2 remediations match" in shown_in(await opened(bot, "gpu-node-7"))


async def test_hold_of_a_name_that_two_clusters_have_holds_neither_unasked() -> None:
    """As above, but a hold acts at once: cluster-1's alert goes silent for two hours though cluster-2's was meant.

    Cause and fix: as above; handlers/mentions.py:_begin_hold relies on `find` to tell that a name is ambiguous.
    """
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        alert = await card(bot, bot.together.add(MEANT, instance_name="gpu-node-7"))
        bot.together.add(OTHER, instance_name="gpu-node-7")
        await bot.slack.say(f"{BOT} hold gpu-node-7 2h", user="U0ALICE")
        await quiet(bot)
        assert "On hold until" not in alert.text


@pytest.mark.parametrize("typed", ["list", ""])
async def test_automatic_repair_that_gets_no_card_can_still_be_cancelled(typed: str) -> None:
    """With BOT_AUTOMATIC_REPAIRS=none, “Nothing can be cancelled right now” is said for as long as one is pending.

    What happens: an automatic repair is PENDING (its node drains in 30 min), and cancel works on it: typing the node's
    name finds it. But `/cancel-remediation` and `/cancel-remediation list` say that nothing can be cancelled.
    Why it matters: who wants to save a training job in time is told, as a fact, that there is nothing to stop.
    Cause: bot/decisions/lookup.py:Lookup.open takes what has a card for all that is open (watcher/config.py lets no
    automatic one get a card), and `cancellable` looks at Together only where the bot doesn't watch.
    Fix: in `cancellable`, scan Together whenever nothing tracked can be cancelled, as `find` does, not only where
    `not is_watching`; or merge both.
    """
    async with watching(BOT_AUTOMATIC_REPAIRS="none") as bot:
        bot.together.add(MEANT, "PENDING", instance_name="gpu-node-7")
        await poll(bot)
        await poll(bot)
        if typed:
            await bot.slack.command(typed)
            text = (await bot.reply_privately()).text
        else:
            text = shown_in(await opened(bot))
        assert NOTHING not in text


async def test_nothing_is_called_certain_before_the_first_look() -> None:
    """Right after the start, while Together is slow, the bot says “Nothing can be cancelled right now.”: it knows nothing.

    What happens: the database is new (or the alerts are), the first list hasn't been answered, so there is no outage on
    record either. `/cancel-remediation list` → “Nothing can be cancelled right now.”
    Why it matters: after a deploy in the middle of an incident this is the first thing that somebody asks.
    Cause: bot/decisions/lookup.py:Lookup.open/cancellable: with the watch on, an empty table counts as knowledge.
    Fix: as above: where nothing tracked can be cancelled, ask Together before saying so.
    """
    async with watching() as bot:
        bot.together.faults.append(Fault("hang", verb="list", times=-1))
        bot.together.add()
        await bot.slack.command("list")
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


async def test_nothing_is_called_certain_between_two_polls() -> None:
    """With BOT_POLL_SECONDS=3600 the bot says “Nothing can be cancelled right now.” from a look of 17 min ago.

    Why it matters: “right now” is a claim about the present; without the watch, the same command looks at Together
    (`cancellable`: “that there is nothing isn't told from a copy”). With 15 s the same is true for 15 s.
    Cause and fix: as above, bot/decisions/lookup.py:Lookup.cancellable.
    """
    async with watching(BOT_POLL_SECONDS="3600") as bot:
        await quiet(bot)
        await bot.time.advance(1000)
        await quiet(bot)
        bot.together.add()
        await bot.slack.command("list")
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


@pytest.mark.parametrize("missing", ["mode", "cluster"])
async def test_what_cannot_be_read_is_not_called_nothing(missing: str) -> None:
    """An item (or a cluster) that this version can't read is dropped silently, and “Nothing can be cancelled” is said.

    Why it matters: Together has added fields and renamed some; the day it does again, the list says with certainty
    that nothing waits. For a cluster that can't be *reached* the bot says “some may be missing”.
    Cause: bot/decisions/lookup.py:_scan_clusters (`if (each := _read(item))`) and bot/together/client.py:list_clusters.
    Fix: count a cluster with an unreadable item among `unreadable`; let `list_clusters` tell that it dropped some.
    """
    async with world() as bot:
        if missing == "mode":
            bot.together.clusters["cluster-1"] = "one"
            names = {"id": "r-7", "cluster_id": "cluster-1", "instance_id": "instance-7"}
            bot.together.lists_extra.append({**names, "state": "PENDING_APPROVAL", "trigger": "x"})
        else:
            bot.together.add()
            describe = bot.together.describe
            bot.together.describe = lambda cluster: {"id": describe(cluster)["cluster_id"]}  # type: ignore[method-assign]
        await bot.slack.command("list")
        assert not (await bot.reply_privately()).text.startswith(NOTHING)


async def test_cluster_that_is_not_searched_is_not_said_to_list_nothing() -> None:
    """With BOT_CLUSTERS=cluster-1: “No open remediation matches … in … what Together lists”, though Together lists it.

    Why it matters: the bot cancels in cluster-2 when the three IDs are typed, so people use it there; by name it claims
    that Together has no such thing, where it didn't look.
    Cause: handlers/chooser.py:no_match says “what Together lists”; bot/decisions/lookup.py:_scan_clusters reads only
    BOT_CLUSTERS.
    Fix: name what was searched (“in cluster-1, the only cluster that this bot reads”), or search all.
    """
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        await quiet(bot)
        bot.together.add(OTHER, instance_name="gpu-node-9")
        assert "or what Together lists" not in shown_in(await opened(bot, "gpu-node-9"))


async def test_remediation_on_two_pages_of_a_list_is_listed_once() -> None:
    """A list whose pages shift while it is read shows a remediation twice: “4 remediations can be cancelled” of 3.

    Why it matters: a count that is wrong, and one node twice, look like two repairs of one node.
    Cause: bot/decisions/lookup.py:_scan_clusters doesn't drop doubles (the watch does: store/messages.py:gather).
    Fix: `{each.ref: each for …}.values()` before `oldest_first`.
    """
    async with world() as bot:
        bot.together.max_page, bot.together.repeated = 2, 1
        for number in (1, 2, 3):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        await bot.slack.command("list")
        assert (await bot.reply_privately()).text.startswith("3 remediations can be cancelled")


async def test_full_name_that_is_on_two_pages_is_not_called_ambiguous() -> None:
    """`@bot cancel gpu-2` → “2 open remediations match. Type the full node name, or its instance ID.”: it's one, twice.

    Why it matters: typing the full name (as told) or the instance ID gives the same answer again: no way out.
    Cause and fix: as above, bot/decisions/lookup.py:_scan_clusters.
    """
    async with world() as bot:
        bot.together.max_page, bot.together.repeated = 2, 1
        for number in (1, 2, 3):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        await bot.slack.say(f"{BOT} cancel gpu-2", user="U0ALICE")
        await quiet(bot)
        assert not [each.text for each in bot.slack.visible("U0ALICE") if "2 open remediations match" in each.text]


async def test_matches_say_that_a_cluster_could_not_be_read() -> None:
    """“2 open remediations match.” is said as a fact while cluster-2 hasn't been readable for minutes.

    Why it matters: `list` says “Couldn't read cluster-2 …, so some may be missing”; `status gpu-node`, `cancel`, `hold`
    and the dialog don't, though they choose from the same half of the truth.
    Cause: bot/decisions/lookup.py:Lookup.find returns `LookupResult(found)` without `unreadable`, which is on record
    (`Lookup.unreadable`).
    Fix: `LookupResult(found, await self.unreadable())`.
    """
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        for number in (1, 2):
            ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
            await card(bot, ids)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        for _ in range(8):
            await poll(bot)
        await bot.slack.command("list")
        assert "Couldn't read cluster-2" in (await bot.reply_privately()).text
        await bot.slack.command("status gpu-node")
        assert "Couldn't read cluster-2" in (await bot.reply_privately(count=2)).text
