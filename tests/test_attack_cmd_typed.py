"""Attack: what people type."""

import pytest

from tests.simulator.slack.workspace import BOT_USER
from tests.watch import card, quiet, watching
from tests.world import IDS

BOT = f"<@{BOT_USER}>"
NONE = "Together has no such remediation"


@pytest.mark.parametrize("typed", ["gpu-node-7 fixed by hand", "gpu-node-7 is fine now"])
async def test_name_with_a_reason_is_not_sent_as_three_ids(typed: str) -> None:
    """`/cancel-remediation gpu-node-7 fixed by hand` calls Together for cluster “gpu-node-7”, instance “fixed”, “by”.

    What happens: the usage shows NODE alone, and `CLUSTER INSTANCE REMEDIATION [reason]`, so NODE and a reason is what
    people type next. The channel then reads “fixed, cancellation: Together has no such remediation on that cluster and
    instance. Check the three IDs and their order”. (With a reason of one word the bot says privately what it read.)
    Why it matters: to a tired person that says that gpu-node-7 has no remediation; its reboot goes ahead. And a POST
    left on words that are no IDs.
    Cause: bot/parsing.py:_from_words takes any three words for three IDs, and for a typed command nothing is read first.
    Fix: where the first word is the name or ID of something open (Lookup.find, exact), open the dialog with it and the
    rest as the reason; or answer a NotFound of space-separated words with what was read (“Read “gpu-node-7” as the
    cluster…”) and “Type just the node”.
    """
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        await bot.slack.command(typed)
        await quiet(bot)
        assert bot.together.posts == []
        assert not [each.text for each in bot.slack.visible() if NONE in each.text]


@pytest.mark.parametrize(
    "said", ["hold gpu-node-7 until 3pm", "hold gpu-node-7 driver reboot 30m", "cancel gpu-node-7 on cluster-1"]
)
async def test_sentence_about_a_node_is_not_read_as_three_ids(said: str) -> None:
    """The same in a mention: `@bot hold gpu-node-7 until 3pm` → “Together has no such remediation …”, in the channel.

    Why it matters: gpu-node-7 waits, with its card right above. The answer says that it doesn't exist, not that
    “until 3pm” wasn't understood, and the hold isn't there.
    Cause: bot/parsing.py:_of → parse → _from_words, as above. Fix: as above; in a mention, take three words for IDs only
    where they are joined by “/”, come as a URL or with keys, or the first is a known cluster.
    """
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE")
        await quiet(bot)
        told = [*bot.slack.visible(), *bot.slack.visible("U0ALICE")]
        assert not [each.text for each in told if NONE in each.text]


@pytest.mark.parametrize("between", ["\n", ", ", "; "])
async def test_second_reference_is_no_reason(between: str) -> None:
    """Two references in one command: the first is cancelled, the second becomes its reason.

    What happens: pasted lines `cluster instance remediation` twice → “Cancelled by Alice: “cluster-1 instance-2
    remediation-2””. A second reference with slashes is refused (“it was not meant as a reason”, `_NO_REASON`), one with
    spaces, the documented form, isn't. (With “; ” the third ID becomes “remediation-1;”, and nothing is found.)
    Why it matters: the person believes that both are cancelled; the second node is repaired after all.
    Cause: bot/parsing.py:_NO_REASON and _reason. Fix: refuse a command with a line break between IDs and words, and a
    reason that begins with the same cluster ID; strip “;” from IDs.
    """
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        second = bot.together.add(("cluster-1", "instance-2", "remediation-2"), instance_name="gpu-node-8")
        await card(bot)
        await bot.slack.command(f"{' '.join(IDS)}{between}{' '.join(second)}")
        await quiet(bot)
        assert bot.together.posts == [] or bot.together.state(second) == "CANCELLED"


async def test_hold_of_an_hour_and_a_half_is_not_one_of_an_hour() -> None:
    """`@bot hold gpu-node-7 for 1 h 30 min` holds for one hour, with the reason “30 min”.

    Why it matters: on-call is called half an hour too early, and the card gives Alice's reason as “30 min”. (“1h30m” is
    read as an ID, and answered with “no such remediation”.)
    Cause: bot/parsing.py:_LENGTH and _hold take the first length alone. Fix: let _LENGTH take hours and minutes
    together, and refuse what begins with another length behind it.
    """
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-7 for 1 h 30 min", user="U0ALICE")
        await quiet(bot)
        assert "“30 min”" not in alert.text
