"""The simulation's judges of pauses, holds, first approvals, lists, and homes notice what is untrue."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from bot.models import RemediationRef
from bot.store.tables import audit
from tests.manual_clock import START
from tests.simulation import calling, checks, fleet, saying
from tests.simulation.faults import EVERY as EVERY_FAULT
from tests.simulation.history import Told
from tests.simulation.names import APPROVE, CHANNEL
from tests.simulation.periods import CLOCK_STEPS, DATABASE_STEPS
from tests.simulation.steps import SEED
from tests.simulation.world import World, opened
from tests.simulator.slack.workspace import BOT_USER

FIRST = ("c-a", "i-0", "r-0")
PAUSED = "Approvals are paused in c-a until <!date^{}^{{time}}|04:00 UTC> by <@{}>. You can still cancel."


@pytest.fixture
def world() -> Iterator[World]:
    """A world in which two nodes wait, one of them on hold, the other with a first approval, and Bob has paused."""
    with opened(SEED, without=EVERY_FAULT) as world:
        world.environ |= {"BOT_AUTOMATIC_REPAIRS": "all", "BOT_TWO_PEOPLE_MODES": "REBOOT_VM", "BOT_OBSERVE": ""}
        world.environ |= {"BOT_REASON": "never", "BOT_STORM_BRAKE": "", "BOT_MAX_IN_REPAIR": ""}

        async def live() -> None:
            world.begin()
            for number in (0, 1):
                ids = ("c-a", f"i-{number}", f"r-{number}")
                world.together.add(ids, "PENDING_APPROVAL", instance_name=f"gpu-{number}", linked_alerts=fleet.XID)
            await asyncio.sleep(100.0)
            (card,) = world.slack.cards("r-0")
            await world.slack.press(card, APPROVE, user="U0BOB")
            await world.slack.say(f"<@{BOT_USER}> hold 1h gpu-1", user="U0ALICE", channel=CHANNEL)
            await world.slack.open_home("U0BOB")
            await asyncio.sleep(10.0)
            await world.slack.press_home("approvals:pause-for", user="U0BOB")
            await asyncio.sleep(2.0)
            await world.slack.submit(world.slack.views[-1], user="U0BOB")
            await asyncio.sleep(600.0)
            await world.slack.open_home("U0BOB")
            await world.slack.command("list", user="U0BOB", channel=CHANNEL)
            await asyncio.sleep(20.0)

        world.loop.run_until_complete(live())
        saying.in_the_end(world, checks.rows)
        assert world.history.problems == []
        yield world


def problems(world: World) -> list[str]:
    found = [text for text, _ in world.history.problems]
    world.history.problems.clear()
    return found


def say(world: World, method: str, **body: Any) -> list[str]:
    saying.judge(world, method, body, "", checks.rows)
    return problems(world)


def test_pause_must_be_made_and_not_be_over(world: World) -> None:
    (made,) = checks.rows(world, select(audit.c.at).where(audit.c.event == "paused"))
    right = f"{made['at'] + 3600:.0f}"
    assert say(world, "chat.postEphemeral", text=PAUSED.format(right, "U0BOB")) == []
    assert "U0CAROL made no such pause" in say(world, "chat.update", text=PAUSED.format(right, "U0CAROL"))[0]
    assert "U0BOB made no such pause" in say(world, "chat.update", text=PAUSED.format("1795499999", "U0BOB"))[0]
    assert "pause approvals, and this" in say(world, "chat.postEphemeral", text="Approvals resumed in all clusters.")[0]
    world.raw.execute("UPDATE pauses SET until = 0")
    assert "is over, and is told" in say(world, "chat.postEphemeral", text=PAUSED.format(right, "U0BOB"))[0]
    assert say(world, "chat.update", text=PAUSED.format(right, "U0BOB")) == []
    assert say(world, "chat.postEphemeral", text="Approvals resumed in all clusters.") == []


def test_first_approval_must_have_been_made(world: World) -> None:
    assert say(world, "chat.postMessage", channel=CHANNEL, text="gpu-0: 1 of 2 approvals, by <@U0BOB>.") == []
    told = say(world, "chat.postMessage", channel=CHANNEL, text="1 of 2 approvals: <@U0CAROL>, today.")
    assert "U0CAROL gave no first approval" in told[0]


def test_home_must_show_what_is_so(world: World) -> None:
    view = world.slack.homes["U0BOB"]
    assert say(world, "views.publish", user_id="U0BOB", view=view) == []
    assert "Dave may decide nothing" in say(world, "views.publish", user_id="U0DAVE", view=view)[0]

    def changed(old: str, new: str) -> list[str]:
        drawn = json.dumps(view, ensure_ascii=False)
        assert old in drawn
        return say(world, "views.publish", user_id="U0BOB", view=json.loads(drawn.replace(old, new)))

    assert "pause approvals, and U0BOB's home" in changed("Approvals are paused", "Approvals are fine")[0]
    assert "between 2 and 2 wait" in changed("2 waiting · ", "3 waiting · ")[0]
    assert "r-1 is held until" in changed(" · on hold", "")[0]
    assert "nobody has approved r-1" in changed(" · on hold", " · on hold · 1 of 2 approvals")[0]
    assert "home says what isn't so" in changed(" · approve: first of 2 approvals", " · approved")[0]
    world.together.resolve(FIRST)
    assert changed("Decide", "Decide") == []
    world.loop.skip(900.0)
    world.lists_read["bot-1", "c-a"] += [world.loop.time() - 850.0, world.loop.time() - 800.0]
    assert any("r-0 is AUTO_RESOLVED for long" in text for text in changed("Decide", "Decide"))
    assert RemediationRef(*FIRST).key in json.dumps(view)
    (listed,) = [each.text for each in world.slack.messages if each.only_for == "U0BOB" and "waiting for" in each.text]
    assert "don't wait for long, and are listed" in say(world, "chat.postEphemeral", text=listed)[0]


def test_cards_must_show_the_holds_and_first_approvals_that_count(world: World) -> None:
    for ids, old, new, words in (
        ("r-1", "<@U0ALICE>", "<@U0CAROL>", "between {'U0ALICE'} and {'U0ALICE'}"),
        ("r-0", "<@U0BOB>", "<@U0CAROL>", "no first approval of U0CAROL counts"),
        ("r-0", "Critical:", "Looking into it: <@U0BOB> since now.\nCritical:", "between set() and set()"),
        ("r-0", "Critical:", "2 of 2 approved · <@U0BOB>, <!date^1^x|y>\nCritical:", "no selection of U0BOB came to 2"),
    ):
        (card,) = world.slack.cards(ids)
        text, drawn = card.text, card.blocks
        card.text, card.blocks = text.replace(old, new), drawn[:1]
        saying.in_the_end(world, checks.rows)
        card.text, card.blocks = text, drawn
        assert any(words in problem for problem in problems(world)), words


def test_what_was_asked_for_must_end_and_be_told(world: World) -> None:
    told, world.history.told = world.history.told, []
    at = START + world.loop.time()
    world.raw.execute("UPDATE inbox SET done_at = NULL")
    values = ["Tr9 U0CAROL c-a", "true", at, "", 0.0, at]
    world.raw.execute(
        "INSERT INTO inbox (key, result, received_at, owner, lease_until, done_at) VALUES (?,?,?,?,?,?)", values
    )
    saying.in_the_end(world, checks.rows)
    found = problems(world)
    for words in ("a request is open", "U0BOB paused approvals, and wasn't", "U0CAROL wasn't told that their pause"):
        assert any(words in text for text in found), words
    world.history.told = told
    world.history.told.append(
        Told(
            0,
            "chat.postMessage",
            "",
            "",
            "U0CAROL",
            "",
            "<@U0CAROL>, <@U0BOB> ended your pause of approvals in c-a.",
            "",
        )
    )
    world.raw.execute("UPDATE inbox SET done_at = 1")
    saying.in_the_end(world, checks.rows)
    assert problems(world) == []


def test_who_paused_may_be_told_that_the_pause_is_over(world: World) -> None:
    """Slack may take the answer only after they have ended it."""
    said = "Your pause of approvals in c-a is over."
    since = world.loop.time()
    for text, wrong in (said, []), ("Your pause ends soon.", ["U0BOB paused approvals, and wasn't told that they are"]):
        world.history.told = [Told(since, "chat.postMessage", "", "", "U0BOB", "", text, "")]
        saying.in_the_end(world, checks.rows)
        assert problems(world) == wrong


def test_selection_must_be_reported(world: World) -> None:
    world.raw.execute(
        "INSERT INTO batches (id, digest_id, status, asked_at, body) VALUES ('b', 'd', 'confirmed', 1, '{}')"
    )
    world.raw.execute("UPDATE decisions SET batch_id = 'b' WHERE user_id = 'U0BOB' AND verb = 'approve'")
    saying.in_the_end(world, checks.rows)
    assert "a selection came to ('U0BOB', 0, 1, 'approved')" in problems(world)[0]


def test_same_call_may_come_again_once_where_a_clock_was_wrong(world: World) -> None:
    call = Told(30.0, "chat.postMessage", "1.2", "1.1", "", "r-0", "gpu-0 is critical now", checks.MENTION)
    calls = [call, replace(call, at=80.0), replace(call, at=130.0)]
    calling.twice(world, calls[:2])
    assert problems(world) == [f"a thread is told twice: {call.text}"]
    world.faults.on.append(CLOCK_STEPS if world.is_alone else DATABASE_STEPS)
    calling.twice(world, calls[:2])
    assert problems(world) == []
    calling.twice(world, calls)
    assert problems(world) == [f"a thread is told twice: {call.text}"]


def test_first_of_two_approvals_is_told_twice_only_where_it_was_given_twice(world: World) -> None:
    told = Told(30.0, "chat.postMessage", "1.2", "1.1", "", "r-0", "gpu-0: 1 of 2 approvals", checks.MENTION)
    calling.twice(world, [told, replace(told, at=40.0)])
    assert problems(world) == [f"a thread is told twice: {told.text}"]
