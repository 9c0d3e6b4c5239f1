"""The simulation: it repeats itself exactly, it notices what is broken, and it counts steps."""

import asyncio
import os
import random
import subprocess
import sys
from dataclasses import replace

from tests.manual_clock import START
from tests.simulation import answers, checks, ending, fleet, tools, truth
from tests.simulation.__main__ import FIXED, shrink
from tests.simulation.ablations import EVERY
from tests.simulation.faults import EVERY as EVERY_FAULT
from tests.simulation.history import Asked, Sent, Told
from tests.simulation.names import CHANNEL, LEADS
from tests.simulation.run import play
from tests.simulation.steps import SEED, Steps, measure
from tests.simulation.world import opened
from tests.simulator.process import ROOT
from tests.simulator.slack import Ack

SOME = range(4, 8)  # of a world's acts: as many as can be halved twice
# What it takes today, with two or three callbacks in reserve; a step more has a reason.
BOUNDS = {
    "alert": Steps(30, 5, 2, functions=174, files=33, loads=1, draws=1),
    "click": Steps(50, 5, 4, functions=185, files=38, loads=0, draws=1),
    "typed cancel": Steps(42, 4, 2, functions=160, files=37, loads=0, draws=1),
}


def python(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run another Python, in which sets of words have the same order each time."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **FIXED}, capture_output=True, text=True, check=False)  # noqa: S603 - our own module


def test_seed_has_the_same_history_in_every_process() -> None:
    printed = []
    for seeds in ((13, 14), (14, 13)):
        words = f"from tests.simulation.run import play; print(sorted((seed, play(seed).hash) for seed in {seeds}))"
        printed.append(python("-c", words).stdout)
    assert printed[0] == printed[1] != ""


def test_missing_safeguard_is_found_played_again_and_shrunk() -> None:
    ablation = next(ablation for ablation in EVERY if ablation.name == "authority")
    with ablation.switched_off():
        played = (play(seed, without=EVERY_FAULT, acts=SOME) for seed in range(36, 136))  # what is first found is short
        found = next(result for result in played if result.problems)
        again = play(found.seed, without=EVERY_FAULT, acts=SOME)
        shrunk = shrink(found)
    assert (again.hash, again.problems) == (found.hash, found.problems)
    assert shrunk.problems
    assert len(shrunk.acts) < len(found.acts)
    assert play(found.seed, without=EVERY_FAULT, acts=SOME).problems == []


def test_every_ablation_names_what_is_there() -> None:
    for ablation in EVERY:
        with ablation.switched_off():
            pass


def test_decision_takes_no_more_steps_than_it_did() -> None:
    for name, steps in measure().items():
        assert all(taken <= bound for taken, bound in zip(steps, BOUNDS[name], strict=True)), (name, steps)


def test_judges_of_what_is_said_notice_what_is_untrue() -> None:
    with opened(SEED, without=EVERY_FAULT) as world:
        world.environ["BOT_AUTOMATIC_REPAIRS"] = "all"

        async def live() -> None:
            world.begin()
            fleet.fall_ill(world, random.Random(SEED), "c-a")  # noqa: S311 - repeatable, not secret
            await asyncio.sleep(120.0)
            await world.slack.open_home(truth.AT_HOME)
            await asyncio.sleep(10.0)
            truth.in_the_end(world, checks.rows)
            assert world.history.problems == []
            while world.bots:  # nobody draws what comes now
                world.kill(world.bots[0])
            world.together.resolve(("c-a", "i-0", "r-0"))

        world.loop.run_until_complete(live())
        world.slack.add("C0OPS", {"text": "⏳ <@U0BOB> is cancelling this…"})
        truth.in_the_end(world, checks.rows)
        truth.names_deciders(world, "r-0", "Approved by <@U0ALICE> and <@U0BOB>.")
        said_at = f"<!date^{START + 9:.0f}^TIME|03:00 UTC>"
        remark = f"⚠️ {said_at}, <@{{}}>'s approval: Couldn't reach Together. Nothing was sent."
        received = {"user_id": "U0BOB", "received_at": START}
        truth.denies(world, "1234abcd", received, remark.format("U0BOB"), "r-0")
        truth.denies(world, "5678abcd", received, remark.format("U0CAROL"), "r-0")
        truth.denies(world, "9abcdef0", received | {"received_at": START + 99}, remark.format("U0BOB"), "r-0")
        truth.denies(world, "12345678", None, "Your approval wasn't sent: the repair changed.", "r-0")
        for decision in ("1234abcd", "5678abcd", "9abcdef0", "12345678"):
            truth.after_a_no(world, Sent(0, 0, "", decision, "approve", ("c-a", "i-0", "r-0"), "", "", True))
        world.lists_read["bot-1", "c-a"] = [200.0, 220.0]
        world.loop.skip(500.0)
        truth.calls(world, "bot-1", "r-0", "gpu-0 has waited 15 min. <!subteam^S0ONCALL>")
    said = (
        "its card says",
        "Home says otherwise",
        "it still says",
        "isn't: Approved",
        "1234abcd takes effect after",
        "12345678 takes effect after",
        "are called",
    )
    found = [text for text, _ in world.history.problems]
    assert [any(words in text for text in found) for words in said] == [True] * len(said), found
    assert len(found) == len(said)


def test_judges_of_answers_calls_tools_and_the_trail_notice_what_is_untrue() -> None:
    with opened(SEED, without=EVERY_FAULT) as world:
        world.environ |= tools.everybody(world) | {"BOT_AUTOMATIC_REPAIRS": "all", "BOT_PAGERDUTY_WHEN": "opened"}
        world.environ |= {"BOT_REMIND_MINUTES": "15", "BOT_ESCALATE": f"{LEADS}/3", "BOT_SUMMARY": "03:07 UTC"}
        world.environ |= {"BOT_QUIET_HOURS": "22:00-03:10 UTC", "BOT_STORM_BRAKE": ""}
        first, second = (("c-a", f"i-{number}", f"r-{number}") for number in (0, 1))

        async def live() -> None:
            world.begin()
            for number in (0, 1, 2):
                ids = ("c-a", f"i-{number}", f"r-{number}")
                world.together.add(ids, instance_name=f"gpu-{number}", linked_alerts=fleet.XID)
            await asyncio.sleep(60.0)
            world.history.asked.append(Asked(0.0, "U0BOB", "cancel", ("c-a", "i-2", "r-2")))
            await world.slack.command("c-a i-2 r-2", user="U0BOB", channel=CHANNEL)
            await asyncio.sleep(1500.0)
            await world.slack.open_home(truth.AT_HOME)
            await answers.ask(world)
            answers.everybody_has_one(world)
            await ending.in_the_end(world, world.bots[0].database)
            assert world.history.problems == []
            assert [call["event_action"] for call in world.tools.pagerduty.calls[:3]] == ["trigger"] * 3
            while world.bots:  # what comes now is told to nobody
                world.kill(world.bots[0])
            world.together.resolve(first)
            world.together.remediations[second]["linked_alerts"] = fleet.WARNING
            answers.note(world, b"text=list&user_id=U0BOB", world.loop.time(), Ack(200, "", 0.0))
            answers.judge(world, "tonight", "Since yesterday: 2 new remediations. None ended.")
            answers.judge(world, "list", "")
            answers.judge(world, "history gpu-0", "gpu-0: 1 remediation")
            told = world.tools.told["/".join(first)]
            told.append({**told[0], "time": "2020-01-01T00:00:00Z"})
            tools.judge(world, "bot-1", told)
            world.tools.pagerduty.incidents["/".join(second)] = "resolved"
            world.history.sent.append(Sent(0, 0, "", "1234abcd", "approve", first, "", "", took_effect=False))
            answers.everybody_has_one(world)
            call = Told(30.0, "chat.postMessage", "1.2", "1.1", "", "r-1", "Since <!date: <@U0BOB>", checks.MENTION)
            world.history.told = [call, replace(call, to="U0BOB"), replace(call, ts="1.3")]
            world.raw.execute("UPDATE audit SET user_id = 'U0CAROL'")
            await ending.in_the_end(world, world.start().database)

        world.loop.run_until_complete(live())
    said = (
        "“tonight” says 0, it is 1",
        "“tonight” says {}, it is {'cancelled': 1, 'resolved on its own': 1}",
        "“tonight” says that U0BOB decided on 0",
        "“list” says 0, it is 1",
        "“history gpu-0” says {}",
        "“opened” comes after “reminded”",
        "“opened” is told 2 times",
        "U0BOB was told nothing",
        "the audit trail: Row 1 was changed",
        "1 POSTs of decision 1234abcd left",
        "its incidents are “triggered”",
        "its incident is “resolved”",
        "a thread is told twice",
        "calls in quiet hours",
        "the summary mentions somebody",
        "the channel had 2 summaries",
        "nobody was called",
        "nobody was reminded",
        f"{LEADS} weren't called",
    )
    found = [text for text, _ in world.history.problems]
    assert [words for words in said if not any(words in text for text in found)] == [], found
