"""Clusters are called by their names wherever the bot speaks of them, and found by name and ID."""

import pytest

from bot import cards
from bot.cards import blocks, chooser, home, labels, listing
from bot.models import Alert, RepairLoad
from tests.samples import remediation
from tests.simulator.together import Fault
from tests.storms import XID
from tests.test_flow_chooser import offered
from tests.test_flow_chooser import opened as dialog
from tests.test_flow_home import opened, said, shown
from tests.watch import PAUSE_DIALOG, RESUME_DIALOG, card, ends, pass_time, poll, submit_pause, until
from tests.world import World

pytestmark = pytest.mark.bot(watching=True)


@pytest.fixture
async def train(bot: World) -> World:
    """A node of llama-train waits."""
    bot.together.clusters["c-7f2"] = "llama-train"
    await pass_time(bot, 620)
    await card(bot, bot.together.add(("c-7f2", "instance-1", "r-1"), instance_name="gpu-1"))
    return bot


async def test_pause_is_of_a_cluster_by_name(train: World) -> None:
    (alert,) = train.slack.cards("r-1")
    await train.slack.press(alert, cards.MORE, choice="pause")
    (view,) = await train.slack.until(lambda: list(train.slack.views))
    assert "Nobody can approve in llama-train through Slack until then." in said(view)
    await submit_pause(train)
    await until(train, lambda: "Approvals are paused in llama-train until" in alert.text)
    assert "Approvals are paused in llama-train until" in (await train.reply_privately()).text
    assert "Approvals are paused in llama-train until" in said(await opened(train, "U0BOB"))
    train.slack.views.clear()
    await train.slack.press(alert, cards.MORE, choice="resume", user="U0BOB")
    (view,) = await train.slack.until(lambda: list(train.slack.views))
    assert "Approvals in llama-train resume once" in said(view)
    await train.slack.submit(view, user="U0BOB", **{RESUME_DIALOG: "done"}, **ends(view))
    assert "Approvals resumed in llama-train." in (await train.reply_privately("U0BOB")).text
    told = await until(train, lambda: train.slack.direct("U0ALICE"))
    assert "ended your pause of approvals in llama-train: “done”" in told[-1].text


@pytest.mark.bot(BOT_STORM_BRAKE="2")
async def test_brake_is_of_a_cluster_by_name(train: World) -> None:
    (alert,) = train.slack.cards("r-1")
    train.together.add(("c-7f2", "instance-2", "r-2"))
    await until(train, lambda: "Approvals are paused in llama-train automatically" in alert.text)
    train.slack.views.clear()
    await train.slack.press(alert, cards.MORE, choice="resume")
    (view,) = await train.slack.until(lambda: list(train.slack.views))
    assert view["blocks"][1]["element"]["options"][0]["description"]["text"] == "llama-train"


async def test_outage_is_of_a_cluster_by_name_also_after_a_restart(train: World) -> None:
    train.together.faults += [
        Fault("rpc", verb="list", code=14, times=-1, cluster="c-7f2"),
        Fault("rpc", verb="clusters", code=14, times=-1),
    ]
    await train.settle()
    async with train.another():
        (told,) = await until(
            train,
            lambda: [message for message in train.slack.visible() if "Couldn't read cluster " in message.text],
            1300,
        )
        assert told.text.startswith("Couldn't read cluster llama-train from Together")
        assert "Couldn't read llama-train" in said(await opened(train))
        await train.slack.press(told, PAUSE_DIALOG)
        (view,) = await train.slack.until(lambda: list(train.slack.views))
        assert "Nobody can approve in llama-train through Slack until then." in said(view)
        train.together.faults.clear()
        again = "Cluster llama-train can be read from Together again"
        await until(train, lambda: [message for message in train.slack.visible() if again in message.text], 1300)
        assert told.text.startswith("Couldn't read cluster llama-train from ")


async def test_cluster_is_named_in_dialog_list_and_home_and_found_by_name_and_id(train: World) -> None:
    view = await dialog(train)
    for query in ("", "LLAMA", "c-7f2"):
        assert await offered(train, view, query) == ["gpu-1 · Reboot · llama-train"]
    await train.slack.command("list")
    assert "gpu-1  llama-train · Reboot" in (await train.reply_privately()).text
    seen = await opened(train)
    for query in ("llama", "C-7F2"):
        choices = await train.slack.ask_in_home(home.CLUSTER, query)
        assert [each["text"]["text"] for each in choices] == ["llama-train", "gpu-1 · Reboot · llama-train"]
    await train.slack.press_home(home.CLUSTER, choice="c-7f2")
    seen = await shown(train, version=seen["version"] + 1)
    assert "Remediations in llama-train" in said(seen)
    train.together.review(("c-7f2", "instance-1", "r-1"), "approve")
    await card(train, ("c-7f2", "instance-1", "r-1"), "Approved")
    assert "llama-train · Reboot · " in said(await opened(train))


@pytest.mark.bot(BOT_AUTOMATIC_REPAIRS="none")
async def test_dialog_names_the_cluster_of_what_the_bot_tells_nobody_of(train: World) -> None:
    await poll(train)
    ids = ("c-7f2", "instance-2", "r-2")
    train.together.add(ids, "PENDING", instance_name="gpu-2", trigger="REMEDIATION_TRIGGER_AUTOMATED")
    await poll(train)
    view = await dialog(train, "gpu-2")
    assert "'text': 'gpu-2 · Reboot · llama-train'" in str(view)


@pytest.mark.parametrize("node", ["gpu-1", "gpu-node-0007-in-rack-22-of-the-third-hall-behind-the-cooling-tower"])
@pytest.mark.parametrize("beginning", ["pretraining-", "pretraining-of-the-large-language-model-in-july-"])
def test_menus_keep_what_tells_two_clusters_of_one_name_apart(node: str, beginning: str) -> None:
    name = f"{beginning}h100"
    called = labels.clusters({"c-7f2aaaa-1": name, "c-9b3bbbb-1": name})
    both = [remediation(cluster_id=each, instance_name=node, linked_alerts=XID) for each in called]
    options = [*home.options(both, "", called)[1:], *chooser.option_groups(both, "", called, ())[0]["options"]]
    options += chooser.option_groups(both, "", called, ())[1]["options"]
    texts = [option["text"]["text"] for option in options]
    alerts = [
        Alert(remediation, "", share=RepairLoad(0, None, 0.0, called[remediation.cluster_id])) for remediation in both
    ]
    texts += listing.names(alerts).values()
    for text in texts:
        assert len(text) <= blocks.MAX_OPTION_TEXT
        assert node[:20] in text or "gpu" not in text
        assert any(part in text for part in ("c-7f2aaa", "c-9b3bbb")), text
