"""What people do beside the cards: in Home, by words, and in the dialogs of pauses; acts like those of `people`."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from bot.cards.home import CLUSTER, OPEN
from tests.simulation.names import APPROVE, CANCEL, CHANNEL, CHANNELS
from tests.simulation.rarities import PAUSES
from tests.simulator.slack.workspace import BOT_USER, PRESSED, im_of

if TYPE_CHECKING:
    from tests.simulation.history import Asked
    from tests.simulation.people import Act

LOOKING = "remediation:looking"
OF_MENU = {"reject": "reject", "mode": "approve", "alone": "approve"}
SAYS = (
    "tonight", "help", "list", "history {}", "status {}", "hold {}", "hold 2m {}", "hold {} because it's checkpointing",
    "approve {}", "cancel {}", "release {}", "what is {}?",
)  # fmt: skip


async def home(act: "Act") -> None:
    """Open Home, and press one thing after the other in it, as it was seen."""
    slack = act.world.slack
    await slack.open_home(act.user)
    for _ in range(act.chance.choice((1, 1, 2, 3, 4))):
        await asyncio.sleep(act.chance.uniform(1.0, 5.0))
        view = slack.homes.get(act.user, {"blocks": []})
        if found := _controls(view):
            opens = [each for each in found if each[1]["action_id"] == OPEN]
            decides = [each for each in found if each[1]["action_id"].startswith("remediation:")]
            likely = decides or opens
            block_id, seen = act.chance.choice(likely if likely and act.chance.random() < 0.6 else found)
            await _press(act, view, block_id, seen)


def _controls(view: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (block["block_id"], element)
        for block in view["blocks"]
        for element in [block.get("accessory", {}), *block.get("elements", [])]
        if element.get("type") in {*PRESSED, "overflow", "external_select"} and "url" not in element
    ]


async def _press(act: "Act", view: dict[str, Any], block_id: str, seen: dict[str, Any]) -> None:
    slack, choice = act.world.slack, ""
    if seen["action_id"] == CLUSTER:
        offered = await slack.ask_in_home(CLUSTER, user=act.user)
        if not offered:
            return
        choice = act.chance.choice(offered)["value"]
    elif "options" in seen:
        choice = act.chance.choice(seen["options"])["value"]
    await act.pause(20.0)
    asked = _asks(act, view, block_id, seen, choice)
    world = act.world
    world.history.note(
        world.loop.time(), f"{act.user} presses {seen['action_id']} {choice} in Home", asked.ids[2] if asked else ""
    )
    await slack.act_in_home(view, block_id, seen, user=act.user, choice=choice, client=act.client)
    await asyncio.sleep(act.chance.uniform(0.3, 2.5))
    for opened in act.opened():
        await act.fill_in(opened, asked)


def _asks(act: "Act", view: dict[str, Any], block_id: str, seen: dict[str, Any], choice: str) -> "Asked | None":
    """Note what a press in Home asks for, where it is a decision."""
    value, verb = seen.get("value", ""), {APPROVE: "approve", CANCEL: "cancel"}.get(seen["action_id"], "")
    if seen["action_id"] == "remediation:more":
        verb = OF_MENU.get(choice, "")
        values = [each.get("value", "") for b in view["blocks"] if b["block_id"] == block_id for each in b["elements"]]
        value = next((value for value in values if value.startswith('{"cluster_id"')), "")
    if not verb or not value.startswith("{"):
        return None
    told = json.loads(value)
    ids = (told["cluster_id"], told["instance_id"], told["remediation_id"])
    return act.ask(verb, ids, "" if choice == "mode" else told.get("mode", ""), told.get("episode", ""))


async def writes(act: "Act") -> None:
    """Ask the bot in words, in a channel or directly; some edit what they wrote, of which Slack tells again."""
    calls = sorted({str(value.get("instance_name", "")) for value in act.world.together.remediations.values()})
    words = act.chance.choice(SAYS).format(act.chance.choice(calls) if calls else "gpu-0")
    channel = act.chance.choice((CHANNEL, im_of(act.user)))
    text = words if channel != CHANNEL else f"<@{BOT_USER}> {words}"
    said = await act.world.slack.say(text, user=act.user, channel=channel)
    if act.chance.random() < 0.2:
        await act.pause(60.0)
        now = act.world.clock.now()
        event = {"type": "app_mention", "user": act.user, "text": f"{text}!", "ts": said.ts, "channel": CHANNEL}
        if channel == CHANNEL:
            await act.world.slack.tell({**event, "edited": {"user": act.user, "ts": f"{now:.6f}"}})


async def pauses(act: "Act") -> None:
    """Two people pause and resume approvals at about the same time, each in their Home."""
    rival = type(act)(act.world, 100_000 + act.chance.randrange(1_000_000), 0.0)
    rival.user = act.chance.choice(("U0ALICE", "U0BOB", "U0CAROL"))
    await asyncio.gather(*(_pause_in_home(each) for each in (act, rival)))


async def _pause_in_home(act: "Act") -> None:
    slack = act.world.slack
    for _ in range(act.chance.choice((1, 2, 3))):
        await slack.open_home(act.user)
        await asyncio.sleep(act.chance.uniform(1.0, 6.0))
        view = slack.homes.get(act.user, {"blocks": []})
        if found := [each for each in _controls(view) if each[1]["action_id"] in PAUSES]:
            await _press(act, view, *act.chance.choice(found))


async def looks(act: "Act") -> None:
    """Say that one looks into it, on a card or a digest, perhaps twice, perhaps as two people."""
    cards = [each for each in act.world.slack.messages if each.channel in CHANNELS and LOOKING in each.controls]
    if cards:
        card = act.chance.choice(cards)
        for user in act.chance.choice(((act.user,), (act.user, act.user), (act.user, "U0BOB"))):
            act.user = user
            if LOOKING in card.controls:
                await act.press(card, LOOKING, seen=card.controls[LOOKING])


async def halves(act: "Act") -> None:
    """Approve what takes two, cancel or approve it again, and let another person approve it."""
    cards = [each for each in act.world.slack.messages if each.channel in CHANNELS and APPROVE in each.controls]
    if not cards:
        return
    card = act.chance.choice(cards)
    steps = ((act.user, APPROVE), (act.user, act.chance.choice((APPROVE, CANCEL))), ("U0BOB", APPROVE))
    for user, name in steps:
        act.user = user
        if name in card.controls:
            seen = json.loads(json.dumps(card.controls[name]))
            await act.pause(10.0)
            await act.press(card, name, seen=seen)
