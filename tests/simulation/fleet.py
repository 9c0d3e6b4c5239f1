"""What happens at Together: nodes break, repairs go on and end, and people decide in its console."""

import asyncio
import random
from copy import deepcopy
from typing import TYPE_CHECKING

from tests.simulator.together import WORK, Ids, RpcError

if TYPE_CHECKING:
    from tests.simulation.people import Act
    from tests.simulation.world import World

MODES = ("REMEDIATION_MODE_REBOOT_VM", "REMEDIATION_MODE_REBOOT_VM", "REMEDIATION_MODE_VM_ONLY")
ALL_MODES = (
    *MODES,
    *(f"REMEDIATION_MODE_{each}" for each in ("HOST_POWER_CYCLE", "HOST_AWARE", "EVICT_WITHOUT_REPLACEMENT")),
)
XID = [
    {
        "alert_name": "GpuFallenOffBus",
        "severity": "PHC_SEVERITY_CRITICAL",
        "annotation": {"title": "GPU has fallen off the bus"},
    }
]
WARNING = [{**XID[0], "severity": "PHC_SEVERITY_WARNING"}]


def fall_ill(world: "World", chance: random.Random, cluster: str) -> Ids:
    together = world.together
    number = len(together.remediations)
    ids = together.add(
        (cluster, f"i-{number}", f"r-{number}"), mode=chance.choice(world.modes), instance_name=f"gpu-{number}",
        linked_alerts=chance.choice((XID, XID, WARNING)), state=chance.choice(("PENDING_APPROVAL",) * 9 + ("PENDING",)),
    )  # fmt: skip
    world.history.note(world.loop.time(), f"{ids[2]} is proposed: {together.remediations[ids]['mode']}", ids[2])
    return ids


def break_first_nodes(world: "World") -> None:
    """Let there be something to decide from the beginning."""
    chance = world.streams["first nodes"]
    for _ in range(chance.randint(1, 4)):
        fall_ill(world, chance, chance.choice(("c-a", "c-b")))


async def broken(act: "Act") -> None:
    fall_ill(act.world, act.chance, act.chance.choice(("c-a", "c-a", "c-b")))


async def storm(act: "Act") -> None:
    if act.world.database_is or any(running.line for running in act.world.bots):
        act.world.history.marks.add("storm during an outage")
    for _ in range(act.chance.randint(6, 9)):
        fall_ill(act.world, act.chance, "c-a")


async def escalate(act: "Act") -> None:
    if ids := act.ill("PENDING_APPROVAL"):
        worsen(act.world, act.chance, ids)


def worsen(world: "World", chance: random.Random, ids: Ids) -> None:
    present = world.together.remediations[ids]["mode"]
    mode = chance.choice([mode for mode in sorted(set(world.modes)) if mode != present])
    world.together.escalate(ids, mode)
    world.together.remediations[ids]["linked_alerts"] = XID
    world.escalations[ids] += 1
    world.escalated_at[ids] = world.loop.time()
    world.history.note(world.loop.time(), f"{ids[2]} escalates to {mode}", ids[2])


def change(world: "World", ids: Ids) -> None:
    """Let something happen to a remediation that waits, while a bot decides on it."""
    chance = world.streams["changes"]
    if world.together.remediations.get(ids, {}).get("state") != "PENDING_APPROVAL":
        return
    what = chance.choice(("escalate", "escalate", "approve", "cancel"))
    if what == "escalate":
        worsen(world, chance, ids)
    else:
        decide_in_console(world, ids, what)


async def resolve(act: "Act") -> None:
    if ids := act.ill("PENDING_APPROVAL"):
        clear_up(act.world, ids)


def clear_up(world: "World", ids: Ids) -> None:
    """Let a remediation that waits end on its own."""
    if world.together.state(ids) == "PENDING_APPROVAL":
        world.together.resolve(ids)
        world.history.note(world.loop.time(), f"{ids[2]} resolves", ids[2])


async def work(act: "Act") -> None:
    """Repairs move forward, one may fail."""
    for _ in range(act.chance.randint(1, 4)):
        if ids := act.ill(*WORK[:-1]):
            try:
                move(act.world, ids, fails=act.chance.random() < 0.2)
            except RpcError:
                continue
        await asyncio.sleep(act.chance.uniform(0.0, 60.0))


def move(world: "World", ids: Ids, *, fails: bool) -> None:
    """Let a repair move forward, or fail."""
    if fails:
        world.together.fail(ids, "VM did not come up")
        world.failures[ids] += 1
    else:
        world.together.advance(ids)
    state = world.together.state(ids)
    world.starts[ids] += state == "RUNNING"
    if state == "SUCCEEDED":
        world.successes[ids] += 1
        relapse(world, ids)
    world.history.note(world.loop.time(), f"{ids[2]} is now {state}", ids[2])


def relapse(world: "World", ids: Ids) -> None:
    """Let a repair perhaps not have helped: its node isn't back, or its fault is after a while."""
    chance = world.streams["relapses"]
    if chance.random() < 0.5:
        world.together.node_status[ids[1]] = chance.choice(("", "NODE_PHASE_BOOTING"))
    if chance.random() < 0.4:
        world.loop.outside(chance.uniform(1.0, 1200.0), come_back, world, ids)
    elif chance.random() < 0.4:
        world.loop.outside(chance.uniform(1.0, 600.0), fire_again, world, ids)


def fire_again(world: "World", ids: Ids) -> None:
    """Let the alert of a repaired node fire again, for which Together suggests nothing, and perhaps clear."""
    repaired, alert, chance = world.together.remediations[ids], f"again-{ids[2]}", world.streams["relapses"]
    if repaired["state"] != "SUCCEEDED" or alert in world.together.alerts:
        return
    world.together.fire(alert, ids[0], repaired["instance_name"], **repaired["linked_alerts"][0])
    world.returned.add(ids[2])
    world.back_at[alert] = world.loop.time()
    world.history.note(world.loop.time(), f"the alert of {ids[2]} fires again", ids[2])
    if chance.random() < 0.6:
        world.loop.outside(chance.uniform(30.0, 600.0), world.together.alerts.pop, alert)


def come_back(world: "World", ids: Ids) -> None:
    before, again = world.together.remediations[ids], (*ids[:2], f"{ids[2]}-{len(world.together.remediations)}")
    if before["state"] == "SUCCEEDED":
        world.together.add(again, instance_name=before.get("instance_name"), linked_alerts=before["linked_alerts"])
        world.returned.add(ids[2])
        world.back_at[again[2]] = world.loop.time()
        world.history.note(world.loop.time(), f"the fault of {ids[2]} comes back as {again[2]}", ids[2])


async def console(act: "Act") -> None:
    """Somebody decides in Together's console."""
    if ids := act.ill("PENDING_APPROVAL"):
        decide_in_console(act.world, ids, act.chance.choice(("approve", "cancel", "reject")))


def lag(world: "World", seconds: float) -> None:
    """Let lists show for a while what was, while `get` shows what is."""
    world.together.lists_as.update(deepcopy(world.together.remediations))
    world.loop.outside(seconds, world.together.lists_as.clear)


def decide_in_console(world: "World", ids: Ids, verb: str) -> None:
    world.together.review(ids, verb)
    world.reviewed_at[ids] = world.loop.time()
    world.history.note(world.loop.time(), f"{verb} of {ids[2]} in Together's console", ids[2])


async def fires(act: "Act") -> None:
    """A health check fires for which Together suggests nothing, and perhaps clears."""
    world, number = act.world, act.world.fired
    world.fired += 1
    cluster = act.chance.choice(("c-a", "c-b"))
    world.together.fire(f"a-{number}", cluster, f"bad-{number}-", **XID[0])
    await asyncio.sleep(act.chance.choice((60.0, 400.0, 1200.0)))
    if act.chance.random() < 0.6:
        world.together.alerts.pop(f"a-{number}")
        world.cleared_at[f"bad-{number}-"] = cluster, world.loop.time()


async def opens_again(act: "Act") -> None:
    """An ended remediation waits again, under its own ID, perhaps with what Together noted of the incident before."""
    if ids := act.ill("AUTO_RESOLVED", "CANCELLED", "SUCCEEDED", "FAILED"):
        kept = act.world.together.remediations[ids]
        for name in ("end_time", "reviewed_by", "review_time", "review_comment", "start_time", "update_time"):
            if act.chance.random() < 0.7:
                kept.pop(name, None)
        if kept["state"] == "SUCCEEDED":
            act.world.returned.add(ids[2])
        kept.update(state="PENDING_APPROVAL", create_time=act.world.together._time())
        act.world.episodes[ids] += 1
        act.world.history.note(act.world.loop.time(), f"{ids[2]} is proposed again", ids[2])
