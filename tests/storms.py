"""Many broken nodes at once, and what people do with the message about them."""

from tests.simulator.slack import Posted
from tests.simulator.together import Ids
from tests.watch import poll, until
from tests.world import World

SELECT, APPROVE_SELECTED, CANCEL_SELECTED = "digest:select", "digest:approve", "digest:cancel"


XID = [{"severity": "PHC_SEVERITY_CRITICAL", "annotation": {
    "title": "GPU has fallen off the bus",
    "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_FALLEN_OFF_BUS", "count": 3}]},
}}]  # fmt: skip


def storm(bot: World, count: int, *, start: int = 0, cluster: str = "cluster-1") -> list[Ids]:
    """Let so many nodes fall ill."""
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


async def digest(bot: World, words: str = "", number: int = 0) -> Posted:
    def look() -> Posted | None:
        found = bot.slack.digests()
        return found[number] if len(found) > number and words in found[number].everything else None

    return await until(bot, look)


async def choose(bot: World, message: Posted, *values: str, action: str = APPROVE_SELECTED) -> dict[str, object]:
    """Select, press, and give back the dialog that opens."""
    message.selected[SELECT] = list(values)
    await bot.slack.press(message, action)
    await until(bot, lambda: bot.slack.views)
    return dict(bot.slack.views[0])
