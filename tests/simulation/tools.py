"""What other tools are told, events at a webhook and incidents at PagerDuty, and whether it is so."""

import json
from collections import defaultdict
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
from sqlalchemy import select

from bot.models import Target
from bot.store.tables import outbox
from tests.manual_clock import START
from tests.simulation import truth
from tests.simulator.receivers import ROUTING_KEY, SECRET, PagerDuty, WebhookReceiver
from tests.simulator.together import TERMINAL, Ids

if TYPE_CHECKING:
    from tests.simulation.loop import Process
    from tests.simulation.world import World

# What became of a remediation, as an event says it, and the states in which that is the last word.
LASTS = {
    "opened": {"PENDING_APPROVAL", "PENDING", "QUARANTINING", "QUARANTINED"},
    "running": {"RUNNING"},
    "succeeded": {"SUCCEEDED"},
    "failed": {"FAILED"},
    "resolved": {"CANCELLED", "AUTO_RESOLVED"},
}
OVERDUE = 60.0  # seconds after which what is due must have been sent, where nothing goes wrong


def settings(world: "World") -> dict[str, str]:
    """Return whom the bots of a world tell, which is nobody in most of them."""
    told = everybody(world)
    return told if world.streams["tools"].random() < 0.2 else dict.fromkeys(told, "")


def everybody(world: "World") -> dict[str, str]:
    return {
        "BOT_WEBHOOK_URL": "http://127.0.0.1/events",
        "BOT_WEBHOOK_SECRET": SECRET,
        "BOT_PAGERDUTY_KEY": ROUTING_KEY,
        "BOT_PAGERDUTY_URL": "http://127.0.0.1",
        "BOT_PAGERDUTY_WHEN": world.streams["when PagerDuty is told"].choice(("opened", "reminder")),
    }


class Webhook(WebhookReceiver):
    """Checks no signatures: worlds are played with what the bot itself needs, and tests check them."""

    def is_signed(self, headers: dict[str, str], body: bytes) -> bool:  # noqa: ARG002 - as it is asked
        return True


class Tools:
    """The tools of a world, and what they were told.

    Attributes:
        told: events by their subject, each once, in the order in which they came.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.webhook, self.pagerduty = Webhook(), PagerDuty()
        self.told: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._known: set[str] = set()

    def take(self, process: "Process", target: Target, request: httpx.Request) -> int:
        """Take what a bot tells, and judge it."""
        world, body = self._world, request.content
        told = json.loads(body)
        if target is Target.PAGERDUTY:
            status = self.pagerduty.take(cast("Any", None), body)
            about = f"{told['event_action']} of {told['dedup_key']}"
        else:
            asked = SimpleNamespace(content_type="application/cloudevents+json", headers=request.headers)
            status = self.webhook.take(cast("Any", asked), body)
            about = f"{_kind(told)} of {told['subject']}"
        remediation = about.rpartition("/")[2]
        world.history.note(world.loop.time(), f"{process} tells {target}: {about}", remediation)
        world.history.marks.add(f"{target} is told")
        if refused := [*self.pagerduty.refused, *self.webhook.refused]:
            world.history.wrong(f"{target} refuses {refused[-1]}", remediation)
        if target is Target.WEBHOOK and told["id"] not in self._known:
            self._known.add(told["id"])
            self.told[told["subject"]].append(told)
            judge(world, str(process), self.told[told["subject"]])
        return status


def _kind(event: dict[str, Any]) -> str:
    return str(event["type"].rpartition(".")[2])


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp() - START


def judge(world: "World", process: str, told: list[dict[str, Any]]) -> None:
    """Judge the last event of a subject when it comes for the first time."""
    event, kind = told[-1], _kind(told[-1])
    ids = cast("Ids", tuple(event["subject"].split("/")))
    if len(told) > 1 and _at(event) < _at(told[-2]) - world.most_skew:
        world.history.wrong(f"“{kind}” comes after “{_kind(told[-2])}”, which is later", ids[-1])
    if ids not in world.together.remediations:
        return  # it is about a cluster
    count, lost = sum(_kind(each) == kind for each in told), world.losses[ids]
    again = world.episodes[ids] + lost
    state = event["data"].get("state")
    may_be = {
        "opened": 1 + again,
        "running": world.starts[ids] + lost,  # a tool was told that it is over while it wasn't listed
        "succeeded": world.successes[ids],
        "failed": world.failures[ids],
        "resolved": again + (world.together.state(ids) == state),
    }
    if count > may_be.get(kind, count):
        world.history.wrong(f"“{kind}” is told {count} times of {ids[2]}, {may_be[kind]} are right", ids[2])
    if kind == "decided" and event["data"]["decision"] in truth.DONE:
        did = truth.DONE[event["data"]["decision"]], event["data"]["by"], ids[2]
        if did not in world.effects and event["data"].get("is_sure", True):
            world.history.wrong(f"{did} is told to the webhook, and isn't so", ids[2])
    if kind == "reminded" and truth.is_known_to_be_over(world, process, ids, _at(event)):
        world.history.wrong(f"the webhook is reminded of {ids[2]}, which is {world.together.state(ids)}", ids[2])


def in_the_end(world: "World", rows: Any) -> None:
    """Judge what tools know of each remediation after half an hour without faults."""
    now = world.clock.now()
    waits = rows(world, select(outbox.c.subject, outbox.c.next_at, outbox.c.target).order_by(outbox.c.id.desc()))
    first = {(each["target"], each["subject"]): each for each in waits}  # what comes after it waits for it
    for value in first.values():
        if value["next_at"] < now - OVERDUE:
            about = value["subject"].rpartition("/")[2]
            world.history.wrong(f"an event of {value['subject']} is due and doesn't leave for {value['target']}", about)
    for ids, present in world.together.remediations.items():
        subject, state = "/".join(ids), present["state"]
        ways = [_kind(each) for each in world.tools.told[subject] if _kind(each) in LASTS]
        # What can't be found may end unseen; of what is found again, or waited again between two lists alone, no event
        # says that a repair is about to run.
        is_about_to_run = state in truth.IN_REPAIR - {"RUNNING"}
        is_uncertain = (world.episodes[ids] and (state in TERMINAL or is_about_to_run)) or (
            world.losses[ids] and state != "RUNNING"
        )
        if ways and (Target.WEBHOOK, subject) not in first and state not in LASTS[ways[-1]] and not is_uncertain:
            world.history.wrong(f"{ids[2]} is {state}, and the webhook was told last: {ways}", ids[2])
        if (Target.PAGERDUTY, subject) not in first:
            _incidents(world, ids)


def _incidents(world: "World", ids: Ids) -> None:
    subject, present = "/".join(ids), world.together.remediations[ids]
    wait, worse, stuck, repair = (
        world.tools.pagerduty.incidents.get(f"{subject}{ending}", "")
        for ending in ("", " critical", " stuck", " repair")
    )
    state, open_ones = present["state"], {"triggered", "acknowledged"}
    is_open = not open_ones.isdisjoint({wait, worse})
    if state in TERMINAL and (is_open or stuck in open_ones or (repair == "triggered") > (state == "FAILED")):
        incidents = ", ".join(f"“{each}”" for each in (wait, worse, stuck, repair))
        world.history.wrong(f"{ids[2]} is {state}, and its incidents are {incidents}", ids[2])
    is_critical = any(alert["severity"] == "PHC_SEVERITY_CRITICAL" for alert in present.get("linked_alerts", ()))
    pages_at_once = world.environ.get("BOT_PAGERDUTY_WHEN") == "opened" and bool(world.environ["BOT_PAGERDUTY_KEY"])
    began = datetime.fromisoformat(present["create_time"]).timestamp() - START
    told = world.tools.told[subject]
    # What is found again may be on hold still, and is then reminded of once that is over.
    began = max([began, *(_at(each) for each in told if _kind(each) == "opened")])
    is_reminded = any(_kind(each) == "reminded" and _at(each) > began for each in told)
    is_due = is_reminded or (pages_at_once and is_critical and all(_kind(each) != "held" for each in told))
    if is_due and state == "PENDING_APPROVAL" and not is_open:
        world.history.wrong(f"{ids[2]} waits, people were called, and its incident is “{worse or wait}”", ids[2])
