"""The message shortcut: what a message names is a suggestion, read from Together before it is shown."""

from typing import Any

import pytest

from handlers.payloads import SHORTCUT, find_references
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, storm
from tests.test_flow_chooser import filled, shown_in
from tests.watch import card, pass_time, poll, until, watching
from tests.world import IDS, REF, World, both_transports, world

URL = f"https://api.together.xyz/v1/compute/clusters/{IDS[0]}/instances/{IDS[1]}/remediations/{IDS[2]}"


async def used(bot: World, message: Posted, user: str = "U0ALICE") -> dict[str, Any]:
    bot.slack.views.clear()
    await bot.slack.use_shortcut(message, SHORTCUT, user=user)
    return await filled(bot)


@both_transports
@pytest.mark.parametrize("text", [f"look at {URL}", f"<{URL}|the node>", f"`{'` / `'.join(IDS)}`"])
async def test_message_of_anybody_opens_the_dialog_filled_in(bot: World, text: str) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add(instance_name="gpu-node-7")
    said = await bot.slack.say(text, user="U0BOB")
    view = await used(bot, said)
    assert "Approval needed: reboot gpu-node-7" in shown_in(view)
    assert bot.together.posts == []
    await bot.slack.submit(view)
    posted = await bot.slack.until(lambda: bot.slack.replies(said))
    assert "Cancelled by <@U0ALICE>" in posted[0].text
    assert bot.together.state(IDS) == "CANCELLED"


@pytest.mark.parametrize("text", ["is gpu-node-7 down?", "GPU-NODE-7: no ping", "(instance-1)"])
async def test_node_that_somebody_speaks_of_is_recognized(text: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        bot.together.add(("cluster-1", "i-70", "r-70"), instance_name="gpu-node-70")
        await card(bot)
        view = await used(bot, await bot.slack.say(text, user="U0BOB"))
        assert "Approval needed: reboot gpu-node-7" in shown_in(view)


async def test_refusal_of_the_dialog_is_not_hidden_in_a_thread_that_nobody_began(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    view = await used(bot, await bot.slack.say(URL, user="U0BOB"))
    await bot.slack.submit(view, user="U0CAROL")
    told = await bot.reply_privately("U0CAROL")
    assert "Only operators can do this." in told.text
    assert told.thread_ts is None


async def test_own_card_and_another_tools_alert_are_recognized() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        for message in (await card(bot), bot.alert()):
            assert "reboot gpu-node-7" in shown_in(await used(bot, message))


async def test_what_a_message_claims_is_not_believed(bot: World) -> None:
    said = await bot.slack.say(f"{URL} is waiting, honestly", user="U0BOB")
    view = await used(bot, said)
    assert "Together has no such remediation on that cluster and instance." in shown_in(view)
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add(state="RUNNING")
    view = await used(bot, said)
    assert "Too late to cancel: it's already “Running”." in shown_in(view)


async def test_message_that_names_nothing_or_several_lets_the_person_choose() -> None:
    async with watching() as bot:
        for number in (1, 2):
            bot.together.add(("cluster-1", f"instance-{number}", f"remediation-{number}"))
            await card(bot, ("cluster-1", f"instance-{number}", f"remediation-{number}"))
        view = await used(bot, await bot.slack.say("hello", user="U0BOB"))
        assert "This message names no remediation. Choose one." in shown_in(view)
        other = URL.replace("instance-1", "instance-2").replace("remediation-1", "remediation-2")
        view = await used(bot, await bot.slack.say(f"{URL} and {other}", user="U0BOB"))
        assert "This message names 2 remediations; can be cancelled: 2. Choose one." in shown_in(view)
        bot.together.review(IDS, "approve")
        await card(bot, words="Approved, queued: reboot")
        view = await used(bot, await bot.slack.say(f"{URL} and {other}", user="U0BOB"))
        assert "2 remediations; can be cancelled: 2. Choose one." in shown_in(view), "one of them doesn't wait any more"
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled: reboot")
        view = await used(bot, await bot.slack.say(f"{URL} and {other}", user="U0BOB"))
        assert "reboot instance-2" in shown_in(view)


async def test_message_that_names_several_is_not_sure_of_those_that_cannot_be_read() -> None:
    async with world() as bot:
        for cluster in ("cluster-1", "cluster-2"):
            bot.together.add((cluster, "instance-1", "remediation-1"))
        bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1, cluster="cluster-2"))
        said = await bot.slack.say(f"{URL} and {URL.replace('cluster-1', 'cluster-2')}", user="U0BOB")
        shown = shown_in(await used(bot, said))
        assert "2 remediations; can be cancelled: 1. Choose one. Couldn't read cluster-2 from Together" in shown


@pytest.mark.parametrize(
    "message",
    [
        {"text": f"please look at {REF}."},
        {"text": f"({REF}) is waiting since 1/2/2026, see https://a/b/c"},
        {"text": "alert", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": f"*Node:* `{REF}`"}}]},
        {"text": "", "attachments": [{"fallback": "x", "text": f"Remediation {REF}"}]},
        {"text": f"what about {IDS[2]}?"},
    ],
)
@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING"])
async def test_ids_in_the_words_of_a_message_are_recognized(bot: World, message: dict[str, Any], state: str) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add(state=state, instance_name="gpu-node-7")
    bot.together.add(("cluster-1", "instance-2", "remediation-2"))
    said = await bot.slack.say("x", user="U0BOB")
    said.text, said.blocks = message["text"], message.get("blocks", [])
    said.attachments = message.get("attachments", [])
    view = await used(bot, said)
    words = "reboot gpu-node-7" if state == "PENDING_APPROVAL" else "Too late to cancel: it's already “Running”."
    assert words in shown_in(view)


async def test_path_that_is_no_remediation_lets_the_person_choose(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    view = await used(bot, await bot.slack.say("see docs/runbooks/gpu", user="U0BOB"))
    assert "This message names no remediation. Choose one." in shown_in(view)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"text": None, "blocks": [1, None, {"elements": "x"}], "attachments": {"a": []}},
        {"metadata": {"event_payload": {"cluster_id": "../x", "instance_id": "i", "remediation_id": "r"}}},
        {"blocks": [{"elements": [{"value": "{}"}, {"value": "[" * 5000}]}]},
        {"text": "compute/clusters/%2e%2e/instances/i/remediations/r"},
    ],
)
def test_odd_messages_name_nothing(message: dict[str, Any]) -> None:
    assert find_references(message) == []


def test_each_reference_is_named_once() -> None:
    ids = dict(zip(("cluster_id", "instance_id", "remediation_id"), IDS, strict=True))
    message = {"text": f"{URL} {URL}", "metadata": {"event_payload": ids}}
    assert [str(ref) for ref in find_references(message)] == [REF]


async def test_shortcut_without_room_is_not_acknowledged(bot: World) -> None:
    bot.together.add()
    said = await bot.slack.say(URL, user="U0BOB")
    bot.app.tasks.limit = 1
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        assert (await bot.slack.use_shortcut(said, SHORTCUT)).status == 503
        assert bot.slack.views == []


async def test_shortcut_where_the_bot_may_not_act_says_so_in_the_dialog() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        view = await used(bot, await bot.slack.say(URL, user="U0BOB", channel="C0OTHER"))
        assert "The bot isn't enabled here." in shown_in(view)
        assert bot.together.posts == []


async def test_shortcut_on_a_digest_is_not_about_one_of_its_nodes() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 8)
        digest = await until(bot, lambda: next(iter(bot.slack.digests()), None))
        view = await used(bot, digest)
        assert "Cancel remediation for gpu-node-0003?" not in shown_in(view)


async def test_shortcut_says_that_a_cluster_could_not_be_read_as_the_typed_name_does() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await card(bot, bot.together.add(instance_name="gpu-node-7"))
        await poll(bot)
        bot.together.add(("cluster-2", "instance-7", "r-7"), instance_name="gpu-node-7")
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        await pass_time(bot, 20)
        view = await used(bot, await bot.slack.say("gpu-node-7 is broken again", user="U0BOB"))
        assert "Couldn't read two from Together" in shown_in(view)


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("", "gpu-node-2:9100 is down, same rack as gpu-node-1"),
        ("", "instance=gpu-node-2 alertname=GpuXid79 (gpu-node-1 is its neighbour)"),
        ("", "gpu-node-2/gpu3 fell off the bus; gpu-node-1 is fine"),
        ("", "gpu-node-2's GPU fell off the bus; gpu-node-1 is fine"),
        ("", "gpu-node-2’s GPU fell off the bus; gpu-node-1 is fine"),
        ("", "gpu-node-1 is fine, cancel gpu-node-2…"),
        ("", "gpu-node-1 ok → gpu-node-2— cancel"),
        (".train.example", "cancel gpu-node-2, gpu-node-1.train.example is fine"),
    ],
)
async def test_message_about_two_nodes_is_not_filled_in_with_the_one_that_is_spelt_plainly(
    domain: str, text: str
) -> None:
    async with watching() as bot:
        await card(bot, bot.together.add(instance_name=f"gpu-node-1{domain}"))
        await card(
            bot, bot.together.add(("cluster-1", "instance-2", "remediation-2"), instance_name=f"gpu-node-2{domain}")
        )
        view = await used(bot, await bot.slack.say(text, user="U0BOB"))
        said = shown_in(view)
        assert "Approval needed: reboot gpu-node-1" not in said, said[:300]


async def test_message_that_names_a_node_is_not_said_to_name_none() -> None:
    async with watching() as bot:
        for number in (1, 2):
            ids = ("cluster-1", f"instance-{number}", f"remediation-{number}")
            await card(bot, bot.together.add(ids, instance_name=f"gpu-node-{number}"))
        for text in ("instance=gpu-node-1", "gpu-node-1:9100 down", "gpu-node-1's GPU is gone", "host:gpu-node-1"):
            view = await used(bot, await bot.slack.say(text, user="U0BOB"))
            assert "names no remediation" not in shown_in(view), text


async def test_message_of_which_nothing_can_be_read_offers_no_other_node() -> None:
    async with world() as bot:
        for cluster, number in (("cluster-1", 3), ("cluster-2", 1), ("cluster-2", 2)):
            bot.together.add((cluster, f"instance-{number}", f"remediation-{number}"))
        bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1, cluster="cluster-2"))
        named = "cluster-2/instance-1/remediation-1 and cluster-2/instance-2/remediation-2"
        view = await used(bot, await bot.slack.say(named, user="U0BOB"))
        assert "None of them was found" in shown_in(view)
        assert "Couldn't read cluster-2 from Together" in shown_in(view)
        assert "submit" not in view


async def test_message_of_which_nothing_waits_offers_no_other_node() -> None:
    async with watching() as bot:
        made = [
            bot.together.add(("cluster-1", f"instance-{n}", f"remediation-{n}"), instance_name=f"gpu-node-{n}")
            for n in (1, 2, 3)
        ]
        for each in made:
            await card(bot, each)
        text = " and ".join("`" + "` / `".join(each) + "`" for each in made[:2])
        for each in made[:2]:
            bot.together.resolve(each)
            await card(bot, each, words="recovered on its own")
        view = await used(bot, await bot.slack.say(text, user="U0BOB"))
        assert "This message names 2 remediations. None of them was found among what can be cancelled." in shown_in(
            view
        )
