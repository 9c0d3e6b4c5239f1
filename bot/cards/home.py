"""The app's home: what waits, a row each, what runs, what failed, and the person's own decisions."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.cards import blocks, faults, labels
from bot.cards.blocks import Element, Line
from bot.cards.chooser import in_a_line, matches, matching, not_read, option
from bot.cards.config import CardConfig
from bot.cards.handover import decision
from bot.cards.listing import NOT_CONFIRMED, confirmed, plural, remediation_lines, returned_lines
from bot.cards.notices import without_header
from bot.cards.pause import ALL_CLUSTERS, pause_buttons, pause_line
from bot.cards.remediation_card import card
from bot.cards.review import review_button
from bot.errors import BotError, NotAllowed
from bot.models import (
    Alert,
    Blocks,
    CardContext,
    ClusterNames,
    FaultReport,
    Json,
    PastDecision,
    Pause,
    Remediation,
    RemediationRef,
    unix,
)
from bot.mrkdwn import ago, clean, clock_time, escape, lasted

CLUSTER = "home:cluster"
UPDATE = "home:update"
PREVIOUS = "home:previous"
NEXT = "home:next"
OPEN = "home:open"  # shows a node's controls, or hides them again
TONIGHT = "shift:tonight"  # sums up the last shift
PER_PAGE = 15  # of what waits
LISTED = 15
ALL = "All clusters"
_NODE = "node "  # begins the choice of a node; no cluster's ID has a space
_ITEM = 150_000  # characters of JSON; a view may have 250,000 in all (docs.slack.dev, views)
_LOADS = 3  # clusters that have a line


@dataclass(frozen=True, slots=True)
class Filter(blocks.Remembered):
    """What somebody looks at.

    Attributes:
        cluster_id: empty for all clusters.
        page: of what waits, from 0.
        only: the `key` of what is shown alone while it waits; empty for all.
        opened: the `key` of what has its controls shown; empty for nothing.
    """

    cluster_id: str = ""
    page: int = 0
    only: str = ""
    opened: str = ""

    @classmethod
    def load(cls, metadata: str) -> "Filter":
        """Read it; what isn't one is all clusters from the beginning."""
        try:
            return super(Filter, cls).load(metadata)
        except ValueError:
            return cls()


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown, of one cluster or of all.

    Attributes:
        waiting: what waits for approval on this page, oldest first.
        count: how many wait in all.
        page: which page this is, from 0.
        running: what is being repaired.
        faults: what fires without a repair, by cluster.
        failed: what failed within the last day; None where the bot doesn't watch, and so doesn't know.
        returned: repairs whose fault came back, or didn't stop, within the last day.
        mine: the person's last decisions, the latest first.
        names: the names of their nodes, where those are known.
        about: what the bot knows of what waits on this page.
        unconfirmed: what of that, or of what runs, couldn't be read or is in doubt, though it isn't what it was.
        old: when Together last confirmed what it hasn't for long, as Unix time in seconds.
        pause: approvals are paused.
        digests: the messages with more than one that waits: their IDs, how many, and their cluster; empty for several.
        cluster_names: the names of clusters.
        unreadable: the names of the clusters that couldn't be read; "" for the list of clusters.
        refused: why the person can't decide; None if they can.
    """

    waiting: Sequence[Remediation]
    count: int
    page: int
    running: Sequence[Remediation]
    failed: Sequence[Remediation] | None
    mine: Sequence[PastDecision]
    names: Mapping[RemediationRef, str]
    faults: Sequence[FaultReport]
    returned: Sequence[Alert]
    about: Mapping[RemediationRef, CardContext]
    unconfirmed: Collection[RemediationRef]
    old: Mapping[RemediationRef, float]
    pause: Pause | None
    digests: Sequence[tuple[str, int, str]]
    cluster_names: ClusterNames
    unreadable: Collection[str]
    refused: NotAllowed | None

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.count // PER_PAGE))


def loading() -> Json:
    """Return the view for somebody who opens it for the first time, until it is read."""
    return _view([blocks.paragraph("Looking for remediations…")], Filter())


def problem(error: BotError, looks_at: Filter) -> Json:
    """Return the view that says why nothing is shown."""
    return _view([blocks.statement(error.sentence, error.next_step), blocks.actions([_update()])], looks_at)


def home(shown: Overview, looks_at: Filter, config: CardConfig, now: float) -> Json:
    """Return the view; `now` in Unix time in seconds."""
    cluster_id, cluster = looks_at.cluster_id, shown.cluster_names[looks_at.cluster_id]
    may_decide = shown.refused is None
    failed = shown.failed or ()
    named = shown.names.get

    def listed(remediations: Sequence[Remediation], when: Callable[[Remediation], str]) -> list[Line]:
        return remediation_lines(remediations, LISTED, shown.cluster_names, when)

    def since(remediation: Remediation) -> str:
        stuck = "may be stuck" if config.stuck_at(remediation) <= now else ""
        doubt = NOT_CONFIRMED if remediation.ref in shown.unconfirmed else ""
        return " · ".join(
            filter(None, (stuck, _last_change(remediation), confirmed(shown.old.get(remediation.ref)), doubt))
        )

    controls = [_menu(looks_at, shown), _update()]
    if shown.failed is not None:
        controls.append(blocks.press(TONIGHT, "Tonight"))
    if may_decide:
        controls += pause_buttons(cluster_id or None, shown.pause)
    drawn = [
        blocks.header("Remediations" + (f" in {cluster}" if cluster else "")),
        blocks.paragraph(_counts(shown), bold=True),
        blocks.actions(controls),
        *map(blocks.paragraph, _notes(shown)),
        blocks.header(_count(shown)),
        *(_reviews(shown) if may_decide else ()),
        *(
            block
            for remediation in shown.waiting
            for block in _waiting(remediation, shown, looks_at.opened, config, now)
        ),
        *(() if any(remediation.ref.key == looks_at.only for remediation in shown.waiting) else _pages(shown)),
        *_part(*faults.listed(shown.faults, LISTED)),
        *_part(f"In repair: {len(shown.running)}", listed(shown.running, since)),
        *_part(f"Failed in the last 24 h: {len(failed)}", listed(failed, _last_change)),
        *_part(f"Didn't help, last 24 h: {len(shown.returned)}", returned_lines(shown.returned, LISTED)),
        *_part("Your last decisions", [decision(one, named(one.ref, one.ref.instance_id)) for one in shown.mine]),
        blocks.context(f"Updated at {clock_time(now)}"),
    ]
    return _view(drawn, replace(looks_at, page=shown.page))


def options(remediations: Sequence[Remediation], query: str, cluster_names: ClusterNames) -> list[Json]:
    """Return the choices of the menu: all, the clusters in which something is open, and the nodes that wait.

    Args:
        cluster_names: the names of clusters.
    """
    clusters = sorted(
        (cluster_names[cluster_id], cluster_id)
        for cluster_id in {remediation.cluster_id for remediation in remediations}
    )
    # An option's value may have 75 characters, and a cluster's ID more: such a one can't be chosen here.
    drawn = [
        blocks.option(name, value)
        for name, value in [(ALL, ALL_CLUSTERS), *clusters]
        if matches(query, f"{name} {value}") and len(value) <= blocks.MAX_OPTION_TEXT
    ]
    waiting = [remediation for remediation in remediations if remediation.is_waiting]
    return [*drawn, *(option(*choice, _NODE) for choice in matching(waiting, query, cluster_names))][
        : blocks.MAX_OPTIONS
    ]


def chosen(value: str) -> Filter:
    """Return what a choice of that menu looks at."""
    if value.startswith(_NODE):
        return Filter(only=value.removeprefix(_NODE))
    return Filter(value.removeprefix(ALL_CLUSTERS))


def _view(drawn: Blocks, looks_at: Filter) -> Json:
    return {"type": "home", "private_metadata": looks_at.dump(), "blocks": drawn}


def _update() -> Json:
    return blocks.press(UPDATE, "Refresh")


def _menu(looks_at: Filter, shown: Overview) -> Json:
    cluster_id = looks_at.cluster_id
    first = blocks.option(shown.cluster_names[cluster_id] or ALL, cluster_id[: blocks.MAX_OPTION_TEXT] or ALL_CLUSTERS)
    alone = next((remediation for remediation in shown.waiting if remediation.ref.key == looks_at.only), None)
    chosen = option(alone, shown.cluster_names[alone.cluster_id], _NODE) if alone else first
    return blocks.search(CLUSTER, "Cluster or node", chosen)


def _notes(shown: Overview) -> Iterator[str]:
    if shown.refused:
        yield f"View only. {shown.refused.next_step}"
    if shown.pause:
        yield pause_line(shown.pause)
    if note := not_read(list(shown.unreadable)):
        yield note
    if len(shown.waiting) > 1:  # one alone has it among its lines
        known = ((about.share, ref.cluster_id, about) for ref, about in shown.about.items() if about.share)
        best = sorted(known, key=lambda entry: entry[0].nodes or 0)  # the one that knows how many nodes there are
        loads = {cluster_id: (share, about) for share, cluster_id, about in best}
        for cluster_id, (share, about) in list(loads.items())[:_LOADS]:
            yield f"{escape(shown.cluster_names[cluster_id], 100)}: {labels.load(share, about, share.waiting)}"


def _reviews(shown: Overview) -> Blocks:
    """Return the buttons that review what waits in one message."""
    buttons = [
        review_button(digest_id, count, shown.cluster_names[cluster_id] or "several clusters")
        for digest_id, count, cluster_id in shown.digests
    ]
    return [blocks.actions([button]) for button in buttons]


def _waiting(remediation: Remediation, shown: Overview, opened: str, config: CardConfig, now: float) -> Blocks:
    """Return what waits as a row, and with its controls where that is what somebody opened, or there is no other."""
    if len(shown.waiting) == 1:
        return _opened(remediation, shown, config)
    is_open = remediation.ref.key == opened
    return [
        _row(remediation, shown, config, now, is_open=is_open),
        *(_opened(remediation, shown, config) if is_open else ()),
    ]


def _row(remediation: Remediation, shown: Overview, config: CardConfig, now: float, *, is_open: bool) -> Element:
    """Return what waits in two lines, drawn literally, with a button for the rest."""
    about = shown.about[remediation.ref]
    old = shown.old.get(remediation.ref)
    since = about.waiting_since or unix(remediation.create_time)
    parts = (
        clean(shown.cluster_names[remediation.cluster_id], 60),
        f"waiting {lasted(now - since)}" if since else "",
        "warning" if remediation.is_warning else "",
        f"last confirmed {lasted(now - old)} ago" if old else "",
        "not confirmed" if remediation.ref in shown.unconfirmed else "",
        "observing" if config.observes(remediation.cluster_id) else "",
        "on hold" if about.hold else "",
        "1 of 2 approvals" if about.first and config.is_half_approved(remediation, about.first) else "",
    )
    lines = clean(in_a_line(remediation), 300), " · ".join(filter(None, parts))
    label = "Close" if is_open else "Show" if shown.refused or config.observes(remediation.cluster_id) else "Decide"
    aloud = clean(f"{label} {remediation.node}", blocks.MAX_OPTION_TEXT)
    button = blocks.press(OPEN, label, value=remediation.ref.key, accessibility_label=aloud)
    return {"type": "section", "text": blocks.plain("\n".join(lines)), "accessory": button}


def _opened(remediation: Remediation, shown: Overview, config: CardConfig) -> Blocks:
    """Return its card."""
    is_sure = remediation.ref not in shown.unconfirmed
    notice, about = "" if is_sure else labels.UNCONFIRMED, shown.about[remediation.ref]
    drawn = without_header(card(remediation, notice=notice, buttons=is_sure, about=about, config=config))
    if shown.refused:
        drawn = [*blocks.without_controls(drawn)]
    if len(json.dumps(drawn)) > _ITEM:
        drawn = [drawn[0], blocks.paragraph("Open its card to decide: its names are too long here.")]
    return [*drawn, {"type": "divider"}]


def _counts(shown: Overview) -> str:
    """Return in one line how much there is of what needs somebody."""
    returned, unrepaired = len(shown.returned), sum(report.count for report in shown.faults)
    parts = (
        f"{shown.count} waiting",
        f"{len(shown.running)} in repair",
        f"{len(shown.failed)} failed" if shown.failed else "",
        f"{returned} didn't help" if returned else "",
        f"{unrepaired} {plural('alert', unrepaired)} without a repair" if unrepaired else "",
    )
    return " · ".join(filter(None, parts))


def _count(shown: Overview) -> str:
    if shown.count:
        return f"Waiting for approval: {shown.count}"
    return (
        "Nothing is waiting, as far as Together could be read"
        if shown.unreadable
        else "Nothing is waiting for approval"
    )


def _pages(shown: Overview) -> Blocks:
    if shown.pages == 1:
        return []
    turns = [(PREVIOUS, "Previous", shown.page > 0), (NEXT, "Next", shown.page < shown.pages - 1)]
    buttons = [blocks.press(name, text) for name, text, is_there in turns if is_there]
    return [blocks.context(f"Page {shown.page + 1} of {shown.pages}"), blocks.actions(buttons)]


def _part(heading: str, lines: Sequence[Line]) -> Blocks:
    return [blocks.header(heading), *blocks.rich_texts(lines)] if lines else []


def _last_change(remediation: Remediation) -> str:
    moment = remediation.ended or remediation.under_way_since
    return ago(moment) if moment else ""
