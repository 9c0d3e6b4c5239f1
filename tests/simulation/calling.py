"""Who is called: never in quiet hours for a warning, nothing twice, and always where nobody decides."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.store.tables import alerts, audit, decisions, messages
from tests.manual_clock import START
from tests.simulation import fleet
from tests.simulation.checks import MENTION, STUCK, began_at, forgets_cards, rows
from tests.simulation.history import Told
from tests.simulation.names import LEADS
from tests.simulator.together import Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

QUIET_UNTIL = 600.0  # of the world's clock, where there are quiet hours
TWICE = 60.0  # seconds within which the same words are no reminder, but a repetition
PATIENCE = 300.0  # seconds for what is due, where nothing goes wrong
CALM = 900.0  # seconds in which what comes back calls nobody again
ALSO_IN_QUIET = ("failed", STUCK, "isn't running", "alone", "started automatically")
WAITS = re.compile(r"waiting .* for a decision|waits? for a decision|waited .* or more")


def in_the_end(world: "World") -> None:
    """Judge who was called."""
    told = [each for each in world.history.told if each.method == "chat.postMessage"]
    if not forgets_cards(world):
        twice(world, told)
    _in_quiet_hours(world, told)
    _summary(world, told)
    if forgets_cards(world) or world.deleted or "messages move" in world.history.marks:
        return
    verbs = decisions.c.verb.in_(("hold", "release"))
    held = {verb["remediation_id"] for verb in rows(world, select(decisions.c.remediation_id).where(verbs))}
    looked_at = {row["cluster_id"] for row in rows(world, select(audit).where(audit.c.event == "looking"))}
    of = select(alerts.c.remediation_id, alerts.c.cluster_id, messages.c.ts, messages.c.is_digest)
    for row in rows(world, of.join(messages, alerts.c.message_id == messages.c.id)):
        ids = next(ids for ids in world.together.remediations if ids[2] == row["remediation_id"])
        is_sure = ids[2] not in held and ids[0] not in looked_at and not world.losses[ids]
        if world.together.state(ids) == "PENDING_APPROVAL" and is_sure:
            roots = {row["ts"], *(card.ts for card in world.slack.cards(ids[2]))}
            links = [f"/p{ts.replace('.', '')}" for ts in roots & world.slack.locked]  # then the channel is told
            about = [each for each in told if each.root in roots or any(link in each.everything for link in links)]
            _waits(world, ids, about, is_alone=not row["is_digest"])


def _summary(world: "World", told: list[Told]) -> None:
    """Judge that the channel had one summary, which mentions nobody."""
    summaries = [each for each in told if each.text.startswith("Since <!date") and not each.to]
    for each in summaries:
        world.history.marks.add("a summary")
        if "<@" in each.text or "<!subteam" in each.text or '"type": "user' in each.everything:
            world.history.wrong(f"the summary mentions somebody: {each.text}")
    is_sure = not forgets_cards(world) and "messages move" not in world.history.marks
    if is_sure and len(summaries) != bool(world.environ["BOT_SUMMARY"]):
        world.history.wrong(f"the channel had {len(summaries)} summaries")


def _waits(world: "World", ids: Ids, told: list[Told], *, is_alone: bool) -> None:
    """Judge that people were called for what waits, and reminded of it; what joins a digest may wait for others."""
    began = began_at(world, ids) - START
    since, environ = world.loop.time() - began, world.environ
    told = [each for each in told if each.at >= began]
    is_called = not is_alone or any(MENTION in each.everything for each in told)
    if since > PATIENCE + bool(world.episodes[ids]) * CALM and not is_called:
        world.history.wrong(f"{ids[2]} waits for {since:.0f} s, and nobody was called", ids[2])
    seconds = float(environ["BOT_REMIND_MINUTES"]) * (60.0 if is_alone else 120.0)
    if seconds and since > seconds + PATIENCE and not any(WAITS.search(each.text) for each in told):
        world.history.wrong(f"{ids[2]} waits for {since:.0f} s, and nobody was reminded", ids[2])
    leads, _, minutes_to_them = environ.get("BOT_ESCALATE", "").partition("/")
    is_due = leads and since > float(minutes_to_them) * 60 + PATIENCE
    if is_due and not any(f"<!subteam^{LEADS}>" in each.everything for each in told):
        world.history.wrong(f"{ids[2]} waits for {since:.0f} s, and {leads} weren't called", ids[2])


def twice(world: "World", told: list[Told]) -> None:
    """Judge that no thread was told the same twice."""
    last: dict[tuple[str, str], float] = {}
    times = Counter[tuple[str, str]]()
    for each in told:
        words = each.root, each.text
        if each.root != each.ts and MENTION in each.everything and each.at - last.get(words, -TWICE) < TWICE:
            times[words] += 1
            is_half_again = "1 of 2" in each.text and _halves(world, each.text.partition(":")[0]) > 1  # after a cancel
            # What came before a call may seem to have come after it.
            if times[words] > (world.most_skew > 0) + is_half_again:
                world.history.wrong(f"a thread is told twice: {each.text}", each.about)
        last[words] = each.at


def _halves(world: "World", node: str) -> int:
    """Return how often somebody was the first of two to approve on a node."""
    on_it = [ids[2] for ids, told in world.together.remediations.items() if told.get("instance_name") == node]
    halves = audit.c.outcome == "first_of_two", audit.c.remediation_id.in_(on_it)
    return len(rows(world, select(audit.c.seq).where(*halves)))


def _in_quiet_hours(world: "World", told: list[Told]) -> None:
    """Judge that what was never more than a warning called nobody in quiet hours, as far as a card shows it."""
    together = world.together.remediations
    shown = together.keys() - world.told_oddly
    warnings = {ids[2] for ids in shown if together[ids].get("linked_alerts") == fleet.WARNING}
    for each in told if world.environ["BOT_QUIET_HOURS"] else ():
        calls = each.at < QUIET_UNTIL - world.most_skew and each.about in warnings and MENTION in each.everything
        if calls and not any(words in each.text for words in ALSO_IN_QUIET):
            world.history.wrong(f"{each.about} is a warning, and calls in quiet hours: {each.text}", each.about)
