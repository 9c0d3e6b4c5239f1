"""What people do, and the table of all acts, each drawn from its own stream."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from tests.simulation import fleet, rarities, surfaces
from tests.simulation.history import Asked
from tests.simulation.names import APPROVE, CANCEL, CHANNEL, CHANNELS, HOLD, OPERATORS, REVIEW
from tests.simulator.slack import Posted
from tests.simulator.slack.limits import Refused
from tests.simulator.slack.workspace import BOT_USER, im_of
from tests.simulator.together import Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

PEOPLE = ("U0ALICE", "U0BOB", "U0CAROL", "U0DAVE")  # Dave may decide nothing
REASONS = ("job is checkpointing", "job is checkpointing", "*it's* <fine> & `done`\n> <@U0BOB> <!channel>")
PAUSE, RESUME = "approvals:pause-for", "approvals:resume-reason"
DECIDES = {"remediation:approve": "approve", "remediation:reject": "reject", "remediation:cancel": "cancel"}


class Act:
    """One act: what is done, when, and the chance by which it is done.

    Args:
        world: where.
        number: its place in the world's list; dropping another act doesn't change this one.
    """

    def __init__(self, world: "World", number: int, seconds: float) -> None:
        self.world = world
        self.chance = random.Random(f"{world.seed} act {number}")  # noqa: S311 - repeatable, not secret
        # People act in bursts.
        self.at = self.chance.choice((self.chance.uniform(0.0, seconds), round(self.chance.uniform(0.0, seconds), -1)))
        self.name, self._do = self.chance.choices(
            [(name, do) for _, name, do in TABLE], [weight for weight, _, _ in TABLE]
        )[0]
        self.user = self.chance.choice(PEOPLE)
        self.client = f"client {number}"  # in which this act's dialogs open, and no other's
        self._met: set[str] = set()

    async def run(self) -> None:
        await asyncio.sleep(self.at)
        self.world.history.note(self.world.loop.time(), f"# {self.user} or Together: {self.name}")
        await self._do(self)

    # What acts are made of.

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(self.chance.choice((0.0, 0.0, self.chance.uniform(0.0, seconds))))

    def ill(self, *states: str) -> Ids | None:
        found = [ids for ids, item in self.world.together.remediations.items() if not states or item["state"] in states]
        return self.chance.choice(found) if found else None

    def message(self) -> Posted | None:
        """Something with a control on it that this person sees."""
        own = [
            message
            for message in self.world.slack.messages
            if message.only_for in {None, self.user} and message.controls
        ]
        return self.chance.choice(own[-12:]) if own else None

    def opened(self) -> list[dict[str, Any]]:
        """The dialogs that have opened for this act since it last asked."""
        slack = self.world.slack
        mine = [view for view in slack.views if slack.viewers[view["id"]] == (self.user, self.client)]
        new = [each for each in mine if each["id"] not in self._met]
        self._met.update(each["id"] for each in new)
        return new

    async def press(
        self, message: Posted, name: str, *, seen: dict[str, Any], choice: str = "", twice: bool = False
    ) -> None:
        """Press a control as it was seen, and fill in the dialog that opens."""
        slack, world = self.world.slack, self.world
        if seen["type"] == "overflow" and name not in message.controls:
            return
        if "options" in seen and not choice:
            choice = self.chance.choice(seen["options"])["value"]
        try:
            payload = slack.click(message, name, user=self.user, client=self.client, button=seen, choice=choice)
        except StopIteration:
            return  # the menu has gone
        asked = self.asks(message, name, seen, choice)
        world.history.note(
            world.loop.time(), f"{self.user} presses {name} {choice} on {message.ts}", asked.ids[2] if asked else ""
        )
        acks = [slack.deliver("interactive", payload) for _ in range(2 if twice else 1)]
        done = await asyncio.gather(*acks)
        opens_dialog = choice == "alone"  # it is asked for once that is submitted
        if asked and not opens_dialog and any(ack.status == 200 for ack in done):
            asked.acked = True
        await asyncio.sleep(self.chance.uniform(0.3, 2.5))
        for view in self.opened():
            await self.fill_in(view, asked)

    def asks(self, message: Posted, name: str, seen: dict[str, Any], choice: str) -> Asked | None:
        """Note what a press asks for, where it is a decision."""
        verb = DECIDES.get(name, "")
        value = seen.get("value", "")
        if name == "remediation:more" and choice in {"reject", "mode", "alone"}:
            verb = "reject" if choice == "reject" else "approve"
            values = [value.get("value", "") for value in message.controls.values()]
            value = next((value for value in values if value.startswith('{"cluster_id"')), "")
        if not verb or not value.startswith("{"):
            return None
        told = json.loads(value)
        ids = (told["cluster_id"], told["instance_id"], told["remediation_id"])
        mode, episode, state = (told.get(name) or "" for name in ("mode", "episode", "state"))
        return self.ask(verb, ids, "" if choice == "mode" else mode, episode, state)

    def ask(self, verb: str, ids: Ids, mode: str = "", episode: str = "", state: str = "") -> Asked:
        asked = Asked(self.world.loop.time(), self.user, verb, ids, mode, episode, state)
        self.world.history.asked.append(asked)
        return asked

    async def fill_in(self, view: dict[str, Any], asked: Asked | None) -> None:
        """Submit a dialog, perhaps late, perhaps not at all."""
        slack = self.world.slack
        await self.pause(self.chance.choice((60.0, 60.0, 900.0)))
        if self.chance.random() < 0.15 or view not in slack.views or "submit" not in view:
            return
        typed: dict[str, str] = {}
        for block in [block for block in view["blocks"] if block["type"] == "input"]:
            element = block["element"]
            if element["type"] == "plain_text_input":
                typed[block["block_id"]] = self.chance.choice(REASONS)[: element.get("max_length", 3000)]
            elif element["type"] == "static_select":
                typed[block["block_id"]] = self.chance.choice(element["options"])["value"]
            elif element["type"] == "checkboxes":
                ticked = [option["value"] for option in element["options"] if self.chance.random() < 0.7]
                typed[block["block_id"]] = " ".join(ticked)
            else:
                options = await slack.ask_in_view(view, element["action_id"], user=self.user)
                if not options:
                    return
                await slack.pick(view, element["action_id"], self.chance.choice(options), user=self.user)
        if view["callback_id"] == "chooser":
            for ids in self.world.together.remediations:
                self.ask("cancel", ids)
        if view["callback_id"] == "batch":
            words = json.dumps(view)
            verb = "approve" if "Approve" in words else "cancel"
            for ids in self.world.together.remediations:
                self.ask(verb, ids, self.world.together.remediations[ids]["mode"])
        self.world.history.note(self.world.loop.time(), f"{self.user} submits {view['callback_id']}")
        try:
            ack = await slack.submit(view, user=self.user, **typed)
        except Refused:
            return
        if asked:
            asked.acked = asked.acked or ack.status == 200
            self.ask(asked.verb, asked.ids, asked.mode, asked.episode, asked.state)


# People.


async def click(act: Act) -> None:
    if (message := act.message()) is None:
        return
    controls = json.loads(json.dumps(message.controls))
    name = act.chance.choice(sorted(controls))
    await act.pause(20.0)
    await act.press(message, name, seen=controls[name], twice=act.chance.random() < 0.2)


async def decide(act: Act) -> None:
    """Approve or cancel, on a card as it was seen."""
    slack = act.world.slack
    cards = [
        message
        for message in slack.messages
        if message.channel in CHANNELS and {APPROVE, CANCEL} & set(message.controls)
    ]
    if not cards:
        return
    message = act.chance.choice(cards)
    controls = json.loads(json.dumps(message.controls))
    remembered = act.world.remembered
    if remembered and act.chance.random() < 0.2:  # a phone that was offline shows an old card
        message, controls = act.chance.choice(remembered[-20:])
    remembered.append((message, controls))
    name = act.chance.choice(sorted({APPROVE, CANCEL} & set(controls)))
    await act.pause(20.0)
    others = act.chance.random()
    if others < 0.3 and act.user != "U0BOB":
        rival = Act(act.world, 100_000 + act.chance.randrange(1_000_000), 0.0)
        rival.user = "U0BOB"
        other = act.chance.choice(sorted({APPROVE, CANCEL} & set(controls)))
        await asyncio.gather(
            act.press(message, name, seen=controls[name]), rival.press(message, other, seen=controls[other])
        )
    else:
        await act.press(message, name, seen=controls[name], twice=others > 0.8)


async def while_drawn(act: Act) -> None:
    """Press something on a card in the moment in which the watch draws it again."""
    world = act.world
    cards = [
        message
        for message in world.slack.messages
        if message.channel in CHANNELS and {APPROVE, HOLD} <= set(message.controls)
    ]
    if not cards:
        return
    card = act.chance.choice(cards)
    cluster, instance, remediation = ids_on(card)
    controls = json.loads(json.dumps(card.controls))
    wait = world.listed_at.get(cluster, 0.0) + float(world.environ["BOT_POLL_SECONDS"]) - world.loop.time()
    await asyncio.sleep(max(0.0, wait - act.chance.uniform(0.0, 3.0)))
    world.slow |= {card.ts, remediation}
    world.loop.outside(act.chance.uniform(3.0, 6.0), fleet.clear_up, world, (cluster, instance, remediation))
    await act.press(card, HOLD, seen=controls[HOLD])


def ids_on(card: Posted) -> Ids:
    """Return which remediation the buttons of a card are about."""
    told = json.loads(card.controls[APPROVE]["value"])
    return told["cluster_id"], told["instance_id"], told["remediation_id"]


async def approve_two(act: Act) -> None:
    """Approve two nodes that broke together, at once or one shortly after the other."""
    slack, act.user = act.world.slack, "U0BOB"
    both = [fleet.fall_ill(act.world, act.chance, "c-c") for _ in range(2)]
    await asyncio.sleep(act.chance.uniform(60.0, 120.0))
    cards = [card for ids in both for card in slack.cards(ids[2]) if APPROVE in card.controls]
    wait = act.chance.choice((0.0, act.chance.uniform(0.0, 15.0)))
    if "lists lag" in act.world.faults.on and not act.world.faults.are_over:
        fleet.lag(act.world, 40.0)

    async def press(card: Posted, seconds: float) -> None:
        controls = json.loads(json.dumps(card.controls))
        await asyncio.sleep(seconds)
        await act.press(card, APPROVE, seen=controls[APPROVE])

    await asyncio.gather(*(press(card, wait * place) for place, card in enumerate(cards)))


async def decide_and_lose(act: Act) -> None:
    """Decide, and lose the right to do so before it is carried out, perhaps while all bots are replaced."""
    work = [decide(act), lose_right(act)]
    if "process killed" in act.world.faults.on and not act.world.faults.are_over:
        work.append(_replace_all(act))
    await asyncio.gather(*work)


async def _replace_all(act: Act) -> None:
    await asyncio.sleep(act.chance.uniform(0.1, 1.5))
    for running in [running for running in act.world.bots if not running.is_stopping]:
        act.world.kill(running)
        act.world.loop.outside(act.chance.uniform(4.0, 20.0), act.world.start)


async def redelivery(act: Act) -> None:
    """Slack sends something again, to whichever bot."""
    if act.world.slack.delivered:
        kind, payload = act.chance.choice(list(act.world.slack.delivered)[-6:])
        await act.world.slack.deliver(kind, payload)


async def typed(act: Act) -> None:
    if ids := act.ill():
        text = " ".join(ids) + act.chance.choice(("", " reason=checkpointing"))
        for _ in range(act.chance.choice((1, 1, 2))):
            asked = act.ask("cancel", ids)
            ack = await act.world.slack.command(text, user=act.user, channel=CHANNEL)
            asked.acked = asked.acked or ack.status == 200


async def mention(act: Act) -> None:
    if ids := act.ill():
        node = act.world.together.remediations[ids]["instance_name"]
        words = act.chance.choice(("cancel", "approve", "hold 5m", "hold 1h", "release", "status", "list"))
        text = f"<@{BOT_USER}> {words}" + ("" if words == "list" else f" {node}")
        await act.world.slack.say(text, user=act.user, channel=CHANNEL)


async def direct(act: Act) -> None:
    await act.world.slack.say(act.chance.choice(("list", "help", "cancel")), user=act.user, channel=im_of(act.user))


async def select(act: Act) -> None:
    """Review a digest, choose some or all of it, and confirm."""
    slack = act.world.slack
    digests = [message for message in slack.digests() if REVIEW in message.controls]
    if not digests:
        return
    digest = act.chance.choice(digests)
    await slack.press(digest, REVIEW, user=act.user, client=act.client)
    await asyncio.sleep(act.chance.uniform(0.3, 2.5))
    for view in [each for each in act.opened() if each.get("callback_id") == REVIEW]:
        verb = act.chance.choice(("approve", "cancel"))
        typed = {"review:verb": verb}
        for block in [block for block in view["blocks"] if block.get("element", {}).get("type") == "checkboxes"]:
            if act.chance.random() < 0.5:  # else all of it stays ticked
                options = block["element"]["options"]
                some = act.chance.sample(options, act.chance.randint(0, len(options)))
                typed[block["block_id"]] = " ".join(each["value"] for each in some)
        await act.pause(30.0)
        if view in slack.views:
            await slack.submit(view, user=act.user, **typed)
        for asked in act.opened():
            await act.fill_in(asked, None)
        await rarities.stop_perhaps(act, digest)
        if verb == "approve":
            await pause_meanwhile(act, digest)


async def pause_meanwhile(act: Act, digest: Posted) -> None:
    """Somebody pauses approvals while a selection runs, sometimes, and lets them resume."""
    chance, slack = act.world.streams["pause during a selection"], act.world.slack
    if chance.random() < 0.4:
        await asyncio.sleep(chance.uniform(0.05, 3.0))
        seconds, before = chance.uniform(30.0, 200.0), len(slack.views)
        if PAUSE in digest.controls:
            await slack.press(digest, PAUSE, user="U0BOB")
            await asyncio.sleep(1.0)
            for view in [view for view in slack.views[before:] if view.get("callback_id") == PAUSE]:
                await slack.submit(view, user="U0BOB")
        await asyncio.sleep(seconds)
        before = len(slack.views)
        if RESUME in digest.controls:
            await slack.press(digest, RESUME, user="U0BOB")
            await asyncio.sleep(1.0)
            for view in [view for view in slack.views[before:] if view.get("callback_id") == RESUME]:
                await slack.submit(view, user="U0BOB")


def of_the_bot(act: Act) -> Posted | None:
    """Return one of the bot's messages in the channels."""
    of = [each for each in act.world.slack.messages if each.channel in CHANNELS and each.by == BOT_USER]
    cards = [message for message in of if not message.thread_ts]
    return act.chance.choice(cards) if cards else None


async def delete_card(act: Act) -> None:
    """Somebody with the right to do so deletes one of the bot's messages."""
    slack = act.world.slack
    if gone := of_the_bot(act):
        slack.messages.remove(gone)
        about = (gone.metadata or {}).get("event_payload", {}).get("remediation_id", "")
        act.world.deletions[about] += 1
        act.world.deleted.add(gone.ts)
        act.world.history.note(act.world.loop.time(), f"somebody deletes {gone.ts}", about)


async def lock_thread(act: Act) -> None:
    if card := of_the_bot(act):
        act.world.slack.locked.add(card.ts)
        act.world.history.note(act.world.loop.time(), f"the thread of {card.ts} is locked")


async def close_to_edits(act: Act) -> None:
    """A workspace may let nothing be edited that is older than it has set."""
    if card := of_the_bot(act):
        act.world.slack.too_old.add(card.ts)
        act.world.deletions[(card.metadata or {}).get("event_payload", {}).get("remediation_id", "")] += 1
        act.world.history.note(act.world.loop.time(), f"{card.ts} takes no edits")


async def lose_right(act: Act) -> None:
    group = act.world.slack.groups[OPERATORS]
    await act.pause(3.0)
    if act.user in group:
        group.remove(act.user)
        act.world.lost_right_at[act.user] = act.world.loop.time()
        await asyncio.sleep(act.chance.uniform(60.0, 900.0))
        group.append(act.user)
        act.world.lost_right_at.pop(act.user)


TABLE: Sequence[tuple[int, str, Callable[[Act], Awaitable[None]]]] = (
    (10, "a node breaks", fleet.broken),
    (3, "a storm", fleet.storm),
    (3, "it gets worse", fleet.escalate),
    (2, "it clears", fleet.resolve),
    (4, "repairs go on", fleet.work),
    (2, "decided in the console", fleet.console),
    (3, "it comes back", fleet.opens_again),
    (3, "a health check fires", fleet.fires),
    (24, "decides on a card", decide),
    (4, "presses while it is drawn", while_drawn),
    (5, "approves two", approve_two),
    (2, "decides and loses the right", decide_and_lose),
    (6, "presses something", click),
    (3, "is delivered again", redelivery),
    (5, "types a cancel", typed),
    (4, "mentions the bot", mention),
    (1, "writes directly", direct),
    (6, "uses Home", surfaces.home),
    (8, "selects", select),
    (1, "deletes a message", delete_card),
    (1, "locks a thread", lock_thread),
    (1, "lets no edit be made", close_to_edits),
    (1, "loses the right", lose_right),
    (2, "a repair starts on its own", rarities.starts_by_itself),
    (2, "Together loses it", rarities.withdrawn),
    (3, "decides on another tool's alert", rarities.other_tool),
    (3, "mentions the bot in a thread", rarities.in_thread),
    (2, "holds for an odd while", rarities.odd_hold),
    (2, "approves alone", rarities.alone),
    (2, "uses the shortcut", rarities.shortcut),
    (1, "a cluster goes", rarities.cluster_goes),
    (3, "asks for what there is", rarities.asks),
    (3, "opens the menu of a card", rarities.menu),
    (3, "holds, and releases it", rarities.hold_and_release),
    (2, "pauses or resumes approvals", rarities.pause_or_resume),
    (2, "a repair is over at once", rarities.over_at_once),
    (2, "writes otherwise", surfaces.writes),
    (2, "two pause and resume", surfaces.pauses),
    (2, "looks into it", surfaces.looks),
    (2, "approves as the first, and cancels", surfaces.halves),
    (2, "Together tells something odd", rarities.oddly_told),
)
