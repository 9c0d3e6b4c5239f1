"""The dialog in which somebody chooses what to cancel, and the private list of what is waiting."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydantic import ConfigDict

from bot.cards import blocks, faults, labels
from bot.cards.blocks import elements
from bot.cards.config import UNSET, CardConfig
from bot.cards.controls import question
from bot.cards.labels import fault
from bot.cards.listing import NOT_CONFIRMED, confirmed, first_of, lines_message, remediation_lines, returned_lines
from bot.cards.notices import unfollowed, without_header
from bot.models import (
    NOTHING_KNOWN,
    Alert,
    Blocks,
    CardContext,
    ClusterNames,
    FaultReport,
    Json,
    Message,
    Remediation,
    RemediationRef,
    Verb,
)
from bot.mrkdwn import ago, clean, entities, escape
from bot.parsing import MAX_REASON

CHOOSER = "chooser"
REMEDIATION, WHY = "chooser:remediation", "chooser:reason"
LISTED = 20


@dataclass(frozen=True, slots=True)
class Choice(blocks.Remembered):
    """What a dialog knows: where it was opened, and what was chosen.

    Attributes:
        channel_id: where the result goes.
        thread_ts: in which thread it goes there; None for the channel itself.
        only: the keys that the menu offers until something is typed into it; empty for all.
        remediation: its `key`, once it is shown; what the person saw is beside it.
        mode: as shown.
        state: as shown.
        episode: as shown: `Remediation.episode_key`.
        ids: of the remediation that is shown.
        round: grows with every choice, so that the menu begins afresh.
        reason: what was typed before the dialog was open.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    channel_id: str | None
    thread_ts: str | None = None
    only: tuple[str, ...] = ()
    remediation: str = ""
    mode: str = ""
    state: str = ""
    episode: str = ""
    ids: tuple[str, str, str] | None = None
    round: int = 0
    reason: str = ""


def loading() -> Json:
    """Return the view that is shown while remediations are looked up."""
    return blocks.modal(
        "Cancel remediation", [blocks.section("Looking for what can be cancelled…")], callback_id=CHOOSER
    )


def nothing(text: str) -> Json:
    """Return the view that says why there is nothing to choose; trusted markup."""
    return {**loading(), "blocks": [blocks.paragraph(text)]}


def chooser(  # noqa: PLR0913 - what is chosen, and all that is shown of it
    choice: Choice,
    note: str,
    shown: Remediation | None = None,
    about: CardContext = NOTHING_KNOWN,
    config: CardConfig = UNSET,
    *,
    cluster: str = "",
) -> Json:
    """Return the dialog, whose menu begins afresh.

    Args:
        note: what the person must know, as trusted markup.
        shown: the remediation that is chosen, as it was just read; its card is shown, and what cancelling it does.
        about: what that card says beyond it.
        cluster: what its own is called, raw.
    """
    choice = Choice(choice.channel_id, choice.thread_ts, choice.only, round=choice.round + 1, reason=choice.reason)
    if shown:
        choice = replace(
            choice,
            remediation=shown.ref.key,
            mode=shown.mode,
            state=shown.state,
            episode=shown.episode_key,
            ids=(shown.cluster_id, shown.instance_id, shown.id),
        )
    picked = option(shown, cluster) if shown else None
    remediation = {
        "type": "input",
        "block_id": f"{REMEDIATION}:{choice.round}",  # an input keeps what was chosen while its ID stays the same
        "dispatch_action": True,
        "label": blocks.plain("Remediation"),
        "element": blocks.search(REMEDIATION, "Type a node, fault, or cluster", picked),
    }
    typed = {
        "type": "plain_text_input",
        "action_id": WHY,
        "max_length": MAX_REASON,
        **({"initial_value": choice.reason} if choice.reason else {}),
    }
    reason = blocks.field(WHY, "Reason", typed, "Shown on the card and kept in the audit trail.")
    preview: Blocks = []
    if shown:
        drawn = unfollowed(shown, about, config)
        does = question(Verb.CANCEL, shown.mode, shown.node, wait=None, is_waiting=shown.is_waiting)
        preview = [*without_header(drawn), blocks.statement(entities(does.title), entities(does.text))]
    return {
        **loading(),
        "private_metadata": choice.dump(),
        "submit": blocks.plain("Cancel remediation"),
        "blocks": [*blocks.paragraphs(note), remediation, *preview, reason],
    }


def option_groups(
    remediations: Sequence[Remediation], query: str, cluster_names: ClusterNames, only: Collection[str]
) -> Blocks:
    """Return the choices of the menu that hold each word of a query, else `only` some, grouped by cluster.

    Args:
        cluster_names: the names of clusters.
    """
    if only and not query.split():
        remediations = [remediation for remediation in remediations if remediation.ref.key in only]
    clusters: dict[str, Blocks] = {}
    for remediation, cluster in matching(remediations, query, cluster_names)[: blocks.MAX_OPTIONS]:
        clusters.setdefault(cluster, []).append(option(remediation, cluster))
    return [
        {"label": blocks.plain(clean(cluster, blocks.MAX_OPTION_TEXT) or "-"), "options": options}
        for cluster, options in sorted(clusters.items())
    ]


def matching(
    remediations: Sequence[Remediation], query: str, cluster_names: ClusterNames
) -> list[tuple[Remediation, str]]:
    """Return what holds each word of a query, with what its cluster is called."""
    named = ((remediation, cluster_names[remediation.cluster_id]) for remediation in remediations)
    return [
        (remediation, cluster)
        for remediation, cluster in named
        if matches(query, f"{_searched(remediation)} {cluster}")
    ]


def _searched(remediation: Remediation) -> str:
    ids = remediation.instance_id, remediation.cluster_id, remediation.id
    return " ".join([remediation.node, *ids, labels.mode(remediation.mode).name, fault(remediation)])


def matches(query: str, text: str) -> bool:
    """Return whether a text holds each word of a query."""
    return all(word in text.casefold() for word in query.casefold().split())


def option(remediation: Remediation, cluster: str, prefix: str = "") -> Json:
    """Return a remediation as a choice of a menu; `cluster` is what its own is called, raw."""
    return blocks.option(blocks.before_name(in_a_line(remediation), " · ", cluster), f"{prefix}{remediation.ref.key}")


def in_a_line(remediation: Remediation) -> str:
    """Return a remediation in a raw line: node, repair, and fault."""
    parts = remediation.node, labels.mode(remediation.mode).name, fault(remediation, 30, is_brief=True)
    return " · ".join(part for part in parts if part)


def waiting_list(  # noqa: PLR0913 - what is listed, and what is told beside it
    remediations: Sequence[Remediation],
    unreadable: Sequence[str],
    cluster_names: ClusterNames,
    title: str,
    *,
    doubted: Collection[RemediationRef] = (),
    old: Mapping[RemediationRef, float] = MappingProxyType({}),
    broken: Sequence[FaultReport] = (),
    returned: Sequence[Alert] = (),
) -> Message:
    """Return remediations as a private list, oldest first.

    Args:
        unreadable: the names of clusters that couldn't be read; "" for the list of clusters.
        cluster_names: the names of clusters.
        title: what they are, without a full stop.
        doubted: those whose last decision isn't confirmed.
        old: when Together last confirmed those that it hasn't for long, as Unix time in seconds.
        broken: what fires without a repair.
        returned: the repairs of the last day that didn't help.
    """
    alike = Counter(remediation.node for remediation in remediations)

    def rest(remediation: Remediation) -> str:
        ids = f"IDs: {escape(str(remediation.ref), 650)}" if alike[remediation.node] > 1 else ""
        doubt = NOT_CONFIRMED if remediation.ref in doubted else ""
        return " · ".join(filter(None, (_opened(remediation), confirmed(old.get(remediation.ref)), doubt, ids)))

    lines = remediation_lines(remediations, LISTED, cluster_names, rest)
    if note := not_read(unreadable):
        lines.append(note)
    if broken:
        heading, more = faults.listed(broken, LISTED)
        lines += [elements(f"{heading}.", bold=True), *more]
    if returned:
        lines += [elements(f"Didn't help, last 24 h: {len(returned)}.", bold=True), *returned_lines(returned, LISTED)]
    return lines_message(f"{title}.", lines)


def _opened(remediation: Remediation) -> str:
    return f"opened {ago(remediation.create_time)}" if remediation.create_time else ""


def not_read(unreadable: Sequence[str]) -> str:
    """Return which clusters couldn't be read, as trusted markup; empty for none."""
    if not unreadable:
        return ""
    named = first_of([name for name in unreadable if name], 5, 60)
    missing = " or ".join(filter(None, [named, "the list of clusters" if "" in unreadable else ""]))
    return f"Couldn't read {missing} from Together, so some may be missing or out of date."


def places(within: Sequence[str]) -> str:
    """Return which clusters were searched, of those that the bot is set to read; trusted markup, empty for all."""
    if len(within) == 1:
        return f"{escape(within[0], 60)}, the only cluster that this bot reads"
    return f"the {len(within)} clusters that this bot reads" if within else ""
