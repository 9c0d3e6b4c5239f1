"""The dialog in which somebody reviews a digest: what waits, in groups to choose from, and what to do with it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from bot.cards import blocks, labels
from bot.cards.blocks import Element
from bot.cards.config import CardConfig
from bot.cards.evidence import fault
from bot.cards.groups import Firsts, Group, chosen, grouped, half_approved, value_of
from bot.cards.listing import blast_radius, cluster_of, mode_name, names, plural
from bot.models import Alert, Decidable, Json, RemediationRef, RepairLoad, Verb
from bot.mrkdwn import clean, escape

REVIEW = "digest:review"  # opens the dialog, and is its name
VERB, NODES, ALL, SOME = "review:verb", "review:nodes", "review:all", "review:some"
BOXES = 10  # options of checkboxes (docs.slack.dev, checkboxes element)
CHOICES = {Verb.APPROVE: "Approve", Verb.CANCEL: "Cancel these instead"}


@dataclass(frozen=True, slots=True)
class Review:
    """What a dialog knows: the digest that it is about, and the channel in which its result is told."""

    digest_id: str
    channel_id: str | None

    def dump(self) -> str:
        """Write it as a view's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, metadata: str) -> "Review":
        """Read it.

        Raises:
            ValueError, TypeError: it isn't one.
        """
        return cls(**json.loads(metadata))


def review_button(digest_id: str, count: int, where: str = "") -> Element:
    """Return the button that opens the dialog; `where` is raw, for a place with several."""
    label = clean(f"Review {count}{f' in {where}' if where else ''}…", blocks.MAX_OPTION_TEXT)
    return blocks.press(REVIEW, label, value=digest_id, style="primary")


def dialog(
    known: Review,
    waiting: Decidable,
    config: CardConfig,
    *,
    verb: Verb = Verb.APPROVE,
    only: Collection[RemediationRef] = (),
) -> Element:
    """Return the dialog.

    Args:
        only: what is chosen to begin with; empty for all.
    """
    alerts = waiting.alerts
    clusters = sorted({each.cluster_id for each in alerts})
    name, nodes = cluster_of(clusters[0], alerts) if len(clusters) == 1 else (f"{len(clusters)} clusters", None)
    count, called = len(alerts), names(alerts)
    is_part = waiting.total > count
    more = f" These are the {count} that have waited longest, of {waiting.total}." if is_part else ""
    title = f"Review {count} of {waiting.total}" if is_part else f"Review {count} {plural('repair', count)}"
    groups = grouped(alerts)  # what deletes data last
    deleting = sum(labels.deletes_data(each.mode) for each in groups)
    some = [_group(each, waiting.firsts, called, config, set(only)) for each in groups]
    if deleting:
        some.insert(len(groups) - deleting, [blocks.alarm("Approving what follows deletes the nodes' local data.")])
    verbs = [blocks.option(text, each.value) for each, text in CHOICES.items()]
    first = verbs[verb is Verb.CANCEL]
    what: Element = {"type": "radio_buttons", "action_id": VERB, "options": verbs, "initial_option": first}
    return blocks.modal(
        title,
        [
            blocks.statement(
                f"{blast_radius(alerts, nodes)} of {escape(name, 100)} need{'s' if count == 1 else ''} a decision.",
                f"You'll see what happens to which node before anything is sent.{more}",
            ),
            *([blocks.context(f"Cluster: {room(waiting.load, config)}.")] if waiting.load else []),
            blocks.field(VERB, "What to do", what, is_optional=False),
            *(block for each in some for block in each),
        ],
        name=REVIEW,
        private_metadata=known.dump(),
        submit="Next",
        close="Close",
    )


def room(load: RepairLoad, config: CardConfig, own: int | None = None) -> str:
    """Return how much of a cluster is in repair, and how many more the limit lets start."""
    left = config.limit.room(load)
    more = "" if left is None else f". The limit lets {left or 'no'} more start"
    return f"{labels.load(load, load.waiting if own is None else own)}{more}"


def _group(
    group: Group,
    firsts: Firsts,
    called: Mapping[RemediationRef, str],
    config: CardConfig,
    only: Collection[RemediationRef],
) -> list[Element]:
    """Return what is chosen from a group: a box for each node of a small one; of a large one all, or by search."""
    name, mine = group.value, [each for each in group.alerts if not only or each.ref in only]
    title = f"{'⚠️ ' if labels.deletes_data(group.mode) else ''}{clean(group.title, 150)} ({len(group.alerts)})"
    effect = labels.mode(group.mode).effect
    if len(group.alerts) <= BOXES:
        options = [_box(each, firsts, called, config) for each in group.alerts]
        first = [option for option, each in zip(options, group.alerts, strict=True) if each in mine]
        return [blocks.field(f"{NODES}:{name}", title, blocks.boxes(NODES, options, first), effect)]
    every = blocks.option(f"All {len(group.alerts)}", name)
    search: Element = {
        "type": "multi_external_select", "action_id": SOME, "min_query_length": 0,
        "placeholder": blocks.plain("Type a node"),
    }  # fmt: skip
    is_all = len(mine) == len(group.alerts)
    if mine and not is_all:
        search["initial_options"] = [_option(each, called) for each in mine[: blocks.MAX_OPTIONS]]
    tick = blocks.boxes(ALL, [every], [every] if is_all else [])
    return [
        blocks.field(f"{ALL}:{name}", title, tick, _marks(group, firsts, effect)),
        blocks.field(f"{SOME}:{name}", f"Or only some of those {len(group.alerts)}", search),
    ]


def _box(alert: Alert, firsts: Firsts, called: Mapping[RemediationRef, str], config: CardConfig) -> Element:
    """Return a node's box, with what changes the decision on it beneath."""
    half = half_approved([alert], firsts)
    told = [f"1 of 2 approvals: <@{first.user_id}>" for _, first in half]
    if not half and config.needs_two(alert.remediation.mode, alert.history):
        told.append("Needs two approvers")
    told += [f"On hold by <@{alert.hold.user_id}>"] if alert.hold else []
    option, fits = _option(alert, called), blocks.pages(told, " · ", blocks.MAX_OPTION_TEXT)[:1]
    return option | {"description": blocks.mrkdwn(fits[0])} if fits else option


def _option(alert: Alert, called: Mapping[RemediationRef, str]) -> Element:
    return blocks.option(called[alert.ref], value_of(alert))


def _marks(group: Group, firsts: Firsts, effect: str) -> str:
    """Return what a group does, raw, and how many of it are half approved or on hold."""
    half, held = len(half_approved(group.alerts, firsts)), sum(each.hold is not None for each in group.alerts)
    told = [f"{half} with 1 of 2 approvals" if half else "", f"{held} on hold" if held else ""]
    return " ".join([effect, *(f"{each}." for each in told if each)])


def options(alerts: Sequence[Alert], group: str, query: str) -> list[Json]:
    """Return the nodes of a group that a query matches; `group` is what choosing all of it is known by."""
    wanted, called = query.strip().casefold(), names(alerts)
    found = [each for each in chosen(alerts, [group]) if wanted in _searched(each, called)]
    return [_option(each, called) for each in found[: blocks.MAX_OPTIONS]]


def _searched(alert: Alert, called: Mapping[RemediationRef, str]) -> str:
    one = alert.remediation
    return f"{called[one.ref]} {mode_name(alert)} {one.cluster_id} {fault(one)}".casefold()
