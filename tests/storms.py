"""Many broken nodes at once, and what people do with the message about them."""

from collections.abc import Collection
from typing import Any

from tests.simulator.slack import Posted, Slack
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Ids
from tests.watch import poll, until
from tests.world import World

REVIEW, SOME = "digest:review", "review:some"


XID = [{"severity": "PHC_SEVERITY_CRITICAL", "annotation": {
    "title": "GPU has fallen off the bus",
    "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_FALLEN_OFF_BUS", "count": 3}]},
}}]  # fmt: skip


def storm(bot: World, count: int, *, start: int = 0, cluster: str = "cluster-1") -> list[Ids]:
    """Let this many nodes break."""
    numbers = range(start, start + count)
    modes = ("REMEDIATION_MODE_REBOOT_VM", "REMEDIATION_MODE_VM_ONLY")
    return [
        bot.together.add(
            (cluster, f"instance-{number}", f"{cluster}-r{number:04d}-"),
            mode=modes[number % 4 == 3],
            instance_name=f"gpu-node-{number:04d}",
            linked_alerts=XID,
        )
        for number in numbers
    ]


async def began(bot: World) -> None:
    """Let the bot have had its first look, so that what comes now is no backlog."""
    bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
    await poll(bot)


async def unposted(bot: World) -> SlackFault:
    """Let a card be due that Slack doesn't take. Returns the fault, which lasts until it's removed."""
    await began(bot)
    refused = SlackFault("chat.postMessage", "not_in_channel", times=-1)
    bot.slack.faults.append(refused)
    bot.together.add()
    await poll(bot)
    return refused


async def digest(bot: World, words: str = "", number: int = 0) -> Posted:
    def look() -> Posted | None:
        found = bot.slack.digests()
        return found[number] if len(found) > number and words in found[number].everything else None

    return await until(bot, look)


async def review(bot: World, message: Posted, user: str = "U0ALICE") -> dict[str, Any]:
    """Press Review, and return the dialog that opens."""
    before = len(bot.slack.views)
    await bot.slack.press(message, REVIEW, user=user)
    await until(bot, lambda: len(bot.slack.views) > before)
    return dict(bot.slack.views[-1])


async def choose(
    bot: World, message: Posted, *nodes: str, verb: str = "approve", user: str = "U0ALICE"
) -> dict[str, Any]:
    """Choose some nodes, or all, and return the dialog that shows what would happen."""
    view = await review(bot, message, user)
    typed = await ticked(bot.slack, view, nodes, user) if nodes else {}
    await bot.slack.submit(view, user=user, **{"review:verb": verb}, **typed)
    return dict(bot.slack.views[-1])


async def ticked(slack: Slack, view: dict[str, Any], nodes: Collection[str], user: str = "U0ALICE") -> dict[str, str]:
    """Return what is typed into the dialog of a review to choose these nodes and no others."""
    typed: dict[str, str] = {}
    for block in [
        block for block in view["blocks"] if block["type"] == "input" and block["element"]["type"] != "radio_buttons"
    ]:
        offered = block["element"].get("options", [])
        if block["element"]["action_id"] == SOME:
            found = [await slack.ask_in_view(view, SOME, node, user=user, block_id=block["block_id"]) for node in nodes]
            offered = [option for options in found for option in options]
        typed[block["block_id"]] = " ".join(option["value"] for option in offered if option["text"]["text"] in nodes)
    return typed
