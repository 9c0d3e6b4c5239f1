"""The app's home: what waits with its buttons, what runs, what failed, and the person's own decisions."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bot.cards import blocks, faults
from bot.cards.blocks import elements
from bot.cards.chooser import not_read
from bot.cards.config import CardConfig
from bot.cards.controls import actions
from bot.cards.history import line as past_line
from bot.cards.listing import plural, remediation_lines, returned_lines
from bot.cards.pause import ALL_CLUSTERS, pause_buttons, pause_line
from bot.cards.remediation_card import summary
from bot.errors import BotError
from bot.models import PER_PAGE, Blocks, CardContext, FaultReport, Overview, Remediation
from bot.mrkdwn import ago, clean, clock_time, escape

CLUSTER, UPDATE, PREVIOUS, NEXT = "home:cluster", "home:update", "home:previous", "home:next"
TONIGHT = "shift:tonight"  # sums up the last shift
LISTED = 15
ALL = "All clusters"
_ITEM = 200_000 // PER_PAGE  # characters of JSON; a view may have 250,000 in all (docs.slack.dev, views)


@dataclass(frozen=True, slots=True)
class Filter:
    """What somebody looks at: a cluster, or all where it is empty, and which page of what waits, from 0."""

    cluster_id: str = ""
    page: int = 0

    def dump(self) -> str:
        """Write it as a view's metadata."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def load(cls, metadata: str) -> "Filter":
        """Read it; what isn't one is all clusters from the beginning."""
        try:
            known = json.loads(metadata)
            return cls(str(known["cluster_id"]), max(0, int(known["page"])))
        except (ValueError, KeyError, TypeError):
            return cls()


def loading() -> dict[str, Any]:
    """Return the view for somebody who opens it for the first time, until it is read."""
    return _view([blocks.paragraph("Looking for remediations…")], Filter())


def problem(error: BotError, looks_at: Filter) -> dict[str, Any]:
    """Return the view that says why nothing is shown."""
    return _view([blocks.statement(error.sentence, error.next_step), blocks.actions([_update()])], looks_at)


def home(shown: Overview, looks_at: Filter, config: CardConfig, now: float) -> dict[str, Any]:
    """Return the view; `now` in Unix time in seconds."""
    cluster_id = looks_at.cluster_id
    may_decide = shown.refused is None
    controls = [_cluster_menu(cluster_id), _update()]
    if shown.failed is not None:
        controls.append({"type": "button", "action_id": TONIGHT, "text": blocks.plain("Tonight")})
    if may_decide:
        controls += pause_buttons(cluster_id or None, shown.pause)
    drawn = [
        _heading("Remediations" + (f" in {cluster_id}" if cluster_id else "")),
        blocks.paragraph(_counts(shown), bold=True),
        blocks.actions(controls),
        *map(blocks.paragraph, _notes(shown)),
        _heading(_count(shown)),
        *(block for each in shown.waiting for block in _waiting(each, shown, config, may_decide=may_decide)),
        *_pages(shown),
        *_faults(shown.faults),
        *_list(f"Running: {len(shown.running)}", shown.running, lambda each: _since(each, config, now)),
        *_list(f"Failed in the last 24 h: {len(shown.failed or ())}", shown.failed or (), _last_change),
    ]
    if shown.returned:
        drawn.append(_heading(f"Didn't help, last 24 h: {len(shown.returned)}"))
        drawn += blocks.rich_texts(returned_lines(shown.returned, LISTED))
    if shown.mine:
        drawn.append(_heading("Your last decisions"))
        named = ((each, shown.names.get(each.ref, each.ref.instance_id)) for each in shown.mine)
        drawn += blocks.rich_texts(past_line(*each) for each in named)
    drawn.append(blocks.context(f"Updated at {clock_time(now)}"))
    return _view(drawn, Filter(cluster_id, shown.page))


def options(clusters: Sequence[str], query: str) -> list[dict[str, Any]]:
    """Return the choices of the menu of clusters."""
    wanted = query.strip().casefold()
    found = [] if wanted not in ALL.casefold() else [blocks.option(ALL, ALL_CLUSTERS)]
    # An option's value may have 75 characters, and a cluster's ID more: such a one can't be chosen here.
    fitting = [each for each in clusters if wanted in each.casefold() and len(each) <= blocks.MAX_OPTION_TEXT]
    return [*found, *(blocks.option(each, each) for each in fitting)][: blocks.MAX_OPTIONS]


def _view(drawn: Blocks, looks_at: Filter) -> dict[str, Any]:
    return {"type": "home", "private_metadata": looks_at.dump(), "blocks": drawn}


def _heading(text: str) -> dict[str, Any]:
    return {"type": "header", "text": blocks.plain(clean(text, 145))}


def _update() -> dict[str, Any]:
    return {"type": "button", "action_id": UPDATE, "text": blocks.plain("Refresh")}


def _cluster_menu(cluster_id: str) -> dict[str, Any]:
    name, value = (cluster_id, cluster_id[: blocks.MAX_OPTION_TEXT]) if cluster_id else (ALL, ALL_CLUSTERS)
    return {
        "type": "external_select",
        "action_id": CLUSTER,
        "placeholder": blocks.plain("Cluster"),
        "min_query_length": 0,
        "initial_option": blocks.option(name, value),
    }


def _notes(shown: Overview) -> Iterator[str]:
    if shown.refused:
        yield f"View only. {shown.refused.next_step}"
    if shown.pause:
        yield pause_line(shown.pause)
    if note := not_read(list(shown.unreadable)):
        yield note


def _waiting(each: Remediation, shown: Overview, config: CardConfig, *, may_decide: bool) -> Blocks:
    about = replace(shown.about.get(each.ref, CardContext()), is_observed=config.observes(each.cluster_id))
    is_sure = each.ref not in shown.unconfirmed
    title, *lines = summary(each, about, config, is_sure=is_sure)
    opened = f" · opened {ago(each.create_time)}" if each.create_time else ""
    where = f"{escape(each.cluster_id, 100)}{opened}"
    if not is_sure:
        lines.insert(0, "Decided a moment ago; the result isn't confirmed yet.")
    drawn = blocks.rich_texts([elements(title, bold=True), *map(elements, lines), elements(where)])
    controls = actions(each, about, config, buttons=is_sure) if may_decide else []
    if len(json.dumps([*drawn, *controls])) > _ITEM:
        drawn, controls = [blocks.statement(title, "Open its card to decide: its names are too long here.")], []
    return [*drawn, *controls, {"type": "divider"}]


def _counts(shown: Overview) -> str:
    """Return in one line how much there is of what needs somebody."""
    returned, unrepaired = len(shown.returned), sum(each.count for each in shown.faults)
    told = [f"{shown.count} waiting", f"{len(shown.running)} in repair"]
    told += [f"{len(shown.failed)} failed"] if shown.failed else []
    told += [f"{returned} didn't help"] if returned else []
    told += [f"{unrepaired} {plural('alert', unrepaired)} without a repair"] if unrepaired else []
    return " · ".join(told)


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
    buttons = [
        {"type": "button", "action_id": name, "text": blocks.plain(text)} for name, text, is_there in turns if is_there
    ]
    return [blocks.context(f"Page {shown.page + 1} of {shown.pages}"), blocks.actions(buttons)]


def _faults(reports: Sequence[FaultReport]) -> Blocks:
    if not reports:
        return []
    heading, lines = faults.listed(reports, LISTED)
    return [_heading(heading), *blocks.rich_texts(lines)]


def _list(heading: str, found: Sequence[Remediation], when: Callable[[Remediation], str]) -> Blocks:
    if not found:
        return []
    return [_heading(heading), *blocks.rich_texts(remediation_lines(found, LISTED, when))]


def _since(each: Remediation, config: CardConfig, now: float) -> str:
    return f"{'may be stuck · ' if config.stuck_at(each) <= now else ''}{_last_change(each)}"


def _last_change(each: Remediation) -> str:
    moment = each.end_time or each.start_time or each.create_time
    return ago(moment) if moment else ""
