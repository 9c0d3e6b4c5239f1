"""What people and Together do seldom: acts like those of `people`, which draws them."""

import asyncio
import json
from typing import TYPE_CHECKING

from bot.watcher.poller import CLUSTERS_FRESH_SECONDS
from tests.simulation import fleet
from tests.simulation.names import APPROVE, CANCEL, CHANNEL, CHANNELS, HOLD, MAY_ALONE
from tests.simulator.slack.workspace import BOT_USER, im_of
from tests.simulator.together import WORK, Ids

if TYPE_CHECKING:
    from tests.simulation.people import Act
    from tests.simulation.world import World
    from tests.simulator.slack import Posted

HOLDS = ("hold 1m", "hold 90m", "hold 24h", "hold 2h because the *job* of <team> & co. ends at 4", "hold 0m", "hold 2d")
TOLD_ALONE = ("ids", "history", "timeline", "support")  # choices of a card's menu
STOP, PAUSES = "digest:stop", {"approvals:pause-for", "approvals:resume-reason"}
WAITS = ("PENDING_APPROVAL",)
ODD: tuple[tuple[str, object, tuple[str, ...]], ...] = (
    ("state", "REMEDIATION_STATE_DRAINING", ("QUARANTINING", "QUARANTINED")),
    ("mode", "REMEDIATION_MODE_TURN_IT_OFF_AND_ON", WAITS),
    ("mode", None, WAITS),
    ("linked_alerts", [], WAITS),
    ("trigger", None, WAITS),
)
SHORTCUT, MORE, ALONE = "cancel_remediation", "remediation:more", '"value": "alone"'


async def starts_by_itself(act: "Act") -> None:
    """Together approves repairs itself, as a cluster's policy says; nobody is asked."""
    world, cluster = act.world, act.chance.choice(("c-a", "c-b"))
    for number in range(start := len(world.together.remediations), start + act.chance.choice((1, 1, 1, 7))):
        ids = world.together.add(
            (cluster, f"i-{number}", f"r-{number}"), "PENDING", instance_name=f"gpu-{number}",
            mode=act.chance.choice(("REMEDIATION_MODE_REBOOT_VM", "REMEDIATION_MODE_VM_ONLY")),
            requested_by="Together Health Checker", reviewed_by="Auto-Approved", review_time=world.together._time(),
            review_comment="auto-approved: approved",
        )  # fmt: skip
        world.history.note(world.loop.time(), f"{ids[2]} starts on its own", ids[2])


async def withdrawn(act: "Act") -> None:
    """Together finds a remediation no more, for a while."""
    if ids := act.ill("PENDING_APPROVAL"):
        world, seconds = act.world, act.chance.choice((15.0, 90.0, 400.0))
        world.together.lost.add(ids)
        world.losses[ids] += 1
        world.history.note(world.loop.time(), f"{ids[2]} can't be found", ids[2])
        world.loop.outside(seconds, _find_again, world, {ids}, world.loop.time() + seconds)
        world.loop.outside(seconds, world.history.note, world.loop.time() + seconds, f"{ids[2]} is found again", ids[2])


async def cluster_goes(act: "Act") -> None:
    """Together finds a cluster no more, with all that is in it, for a while."""
    world, cluster = act.world, act.chance.choice(("c-a", "c-b", "c-c"))
    if (called := world.together.clusters.pop(cluster, None)) is None:
        return
    gone = {ids for ids in world.together.remediations if ids[0] == cluster} - world.together.lost
    world.together.lost |= gone
    world.losses.update(gone)
    world.history.marks.add("a cluster goes")
    world.history.note(world.loop.time(), f"{cluster} can't be found")
    await asyncio.sleep(act.chance.choice((30.0, 200.0, 700.0)))
    world.together.clusters[cluster] = called
    _find_again(world, gone, world.loop.time())
    world.watched_by[cluster] = world.loop.time() + CLUSTERS_FRESH_SECONDS
    world.history.note(world.loop.time(), f"{cluster} is found again")


def _find_again(world: "World", lost: set[Ids], at: float) -> None:
    world.together.lost -= lost
    world.found_at.update(dict.fromkeys(lost, at))


async def other_tool(act: "Act") -> None:
    """Another tool posts an alert with this bot's token; people decide on it, perhaps at once, perhaps late."""
    world, ids = act.world, act.ill("PENDING_APPROVAL")
    if ids is None:
        return
    present = world.together.remediations[ids]
    value = dict(zip(("cluster_id", "instance_id", "remediation_id"), ids, strict=True))
    if act.chance.random() < 0.7:
        value |= {"mode": present["mode"], "state": present["state"]}
    buttons = [
        {"type": "button", "action_id": name, "text": {"type": "plain_text", "text": name}, "value": json.dumps(value)}
        for name in (APPROVE, CANCEL)
    ]
    words = {"type": "section", "text": {"type": "mrkdwn", "text": "GPU has fallen off the bus"}}
    posted = world.slack.post_as_tool([words, {"type": "actions", "elements": buttons}], channel=CHANNEL)
    seen = json.loads(json.dumps(posted.controls))
    await asyncio.sleep(act.chance.choice((2.0, act.chance.uniform(0.0, 300.0))))
    await act.press(posted, act.chance.choice((APPROVE, CANCEL)), seen=seen[APPROVE], twice=act.chance.random() < 0.2)


async def alone(act: "Act") -> None:
    """Approve over the two-person rule and the limit, where a card offers that."""
    cards = [message for message in act.world.slack.messages if ALONE in json.dumps(message.controls.get(MORE))]
    if cards:
        card = act.chance.choice(cards)
        act.user = act.chance.choice((act.user, MAY_ALONE, MAY_ALONE))
        await act.press(card, MORE, seen=card.controls[MORE], choice="alone")


async def in_thread(act: "Act") -> None:
    """Mention the bot in an alert's thread, where it needs no name."""
    cards = [
        message for message in act.world.slack.messages if message.channel in CHANNELS and APPROVE in message.controls
    ]
    if cards:
        words = act.chance.choice((*HOLDS, "release", "status", "approve", "cancel"))
        text = f"<@{BOT_USER}> {words}"
        card = act.chance.choice(cards)
        await act.world.slack.say(text, user=act.user, channel=card.channel, thread=card)


async def odd_hold(act: "Act") -> None:
    """Hold by name, for an odd while, in a channel or directly."""
    if ids := act.ill("PENDING_APPROVAL"):
        words, _, why = act.chance.choice(HOLDS).partition(" because ")
        text = f"{words} {act.world.together.remediations[ids]['instance_name']}{f' because {why}' if why else ''}"
        if act.chance.random() < 0.3:
            await act.world.slack.say(text, user=act.user, channel=im_of(act.user))
        else:
            await act.world.slack.say(f"<@{BOT_USER}> {text}", user=act.user, channel=CHANNEL)


async def shortcut(act: "Act") -> None:
    """Use the shortcut of a message, and cancel through the dialog."""
    slack = act.world.slack
    found = [message for message in slack.messages if message.channel in CHANNELS and message.only_for is None]
    if found:
        await slack.use_shortcut(act.chance.choice(found[-20:]), SHORTCUT, user=act.user, client=act.client)
        await asyncio.sleep(act.chance.uniform(1.0, 4.0))
        for view in act.opened():
            await act.fill_in(view, None)


async def asks(act: "Act") -> None:
    """Ask for a list, for the shift, or for what there is of a node; where a dialog opens, cancel through it."""
    calls = sorted({str(value.get("instance_name", "")) for value in act.world.together.remediations.values()})
    node = act.chance.choice(calls) if calls else "gpu-0"
    words = act.chance.choice(("list", "tonight", "help", "", node, f"history {node}", f"status {node}"))
    await act.world.slack.command(words, user=act.user, channel=CHANNEL, client=act.client)
    await asyncio.sleep(act.chance.uniform(0.3, 4.0))
    for view in act.opened():
        await act.fill_in(view, None)


async def menu(act: "Act") -> None:
    """Choose something in the menu of a card, in the channel or in a thread."""
    cards = [
        message
        for message in act.world.slack.messages
        if MORE in message.controls and message.only_for in {None, act.user}
    ]
    if cards:
        card = act.chance.choice(cards)
        await act.press(card, MORE, seen=card.controls[MORE], choice=act.chance.choice(("", *TOLD_ALONE)))


async def hold_and_release(act: "Act") -> None:
    """Hold, and release that again or somebody else's hold, perhaps while a third one joins it."""
    cards = [
        message for message in act.world.slack.messages if message.channel in CHANNELS and HOLD in message.controls
    ]
    if not cards:
        return
    card = act.chance.choice(cards)
    for choice in ("14400", act.chance.choice(("", "1800", "86400")), "release"):
        if choice and HOLD in card.controls:
            seen = json.loads(json.dumps(card.controls[HOLD]))
            offered = [option["value"] for option in seen["options"]]
            await act.pause(20.0)
            if chosen := [option for option in offered if option.partition(":")[0] == choice]:
                await act.press(card, HOLD, seen=seen, choice=chosen[0], twice=act.chance.random() < 0.2)
        act.user = act.chance.choice(("U0ALICE", "U0BOB", act.user))


async def stop_perhaps(act: "Act", digest: "Posted") -> None:
    """Stop a selection while it is carried out, sometimes; it may be somebody else's."""
    chance = act.world.streams["stops a selection"]
    if chance.random() < 0.6:
        await asyncio.sleep(chance.uniform(0.5, 6.0))
        if STOP in digest.controls:
            await act.press(digest, STOP, seen=digest.controls[STOP], twice=chance.random() < 0.2)


async def pause_or_resume(act: "Act") -> None:
    """Pause approvals, or end pauses, by the menu of a card or by a digest."""
    found = []
    for each in act.world.slack.messages:
        found += [(each, name, "") for name in PAUSES & set(each.controls)]
        choices = [option["value"] for option in each.controls.get(MORE, {}).get("options", ())]
        found += [(each, MORE, choice) for choice in choices if choice in {"pause", "resume"}]
    if found:
        message, name, choice = act.chance.choice(found)
        await act.press(message, name, seen=message.controls[name], choice=choice)


async def over_at_once(act: "Act") -> None:
    """A repair begins and ends on its own within seconds, mostly between two lists."""
    world, number = act.world, len(act.world.together.remediations)
    ids = world.together.add(
        (act.chance.choice(("c-a", "c-b")), f"i-{number}", f"r-{number}"), "PENDING", instance_name=f"gpu-{number}",
        reviewed_by="Auto-Approved", review_time=world.together._time(), review_comment="auto-approved: approved",
    )  # fmt: skip
    world.history.note(world.loop.time(), f"{ids[2]} starts on its own", ids[2])
    while world.together.state(ids) in WORK[:-1]:
        await asyncio.sleep(act.chance.uniform(0.0, 6.0))
        if world.together.state(ids) in WORK[:-1]:
            fleet.move(world, ids, fails=world.together.state(ids) == "RUNNING" and act.chance.random() < 0.2)


async def oddly_told(act: "Act") -> None:
    """For a while, Together tells a state or mode that the bot doesn't know, or leaves out what is known."""
    world, (name, value, states) = act.world, act.chance.choice(ODD)
    if ids := act.ill(*states):
        told = world.together.remediations[ids]
        if (before := told.get(name)) in [odd for _, odd, _ in ODD]:
            return  # it is odd already
        told[name] = value
        world.told_oddly.add(ids)
        world.history.note(world.loop.time(), f"{ids[2]} has the {name} {value}, instead of {before}", ids[2])
        await asyncio.sleep(act.chance.choice((20.0, 90.0, 400.0)))
        if told.get(name) == value:
            told[name] = before
        world.history.note(world.loop.time(), f"{ids[2]} has the {name} {told[name]} again", ids[2])
