"""Lists of many remediations: what each is called, and in which groups."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from bot.cards import blocks, labels
from bot.cards.blocks import MAX_OPTION_TEXT, Line, Parts, elements, units
from bot.cards.config import CardConfig
from bot.cards.labels import fault
from bot.models import (
    EVERYTHING,
    Alert,
    ClusterNames,
    FirstApproval,
    Message,
    Remediation,
    RemediationRef,
    RepairLoad,
    short_hash,
    unix,
    waiting,
)
from bot.mrkdwn import clean, escape, lasted, when

LISTED = 10
Firsts = Mapping[RemediationRef, FirstApproval]
Names = Mapping[RemediationRef, str]
MOST = 12  # groups; with more of them, faults aren't told apart
_NUMBERED = re.compile(r"(.*\D)(\d{1,15})")
_SHORTEST = 20  # characters of a name before an ID
_LONGEST = 2000  # characters of a piece of names, of the 3,000 that a text may have


def names(alerts: Sequence[Alert]) -> dict[RemediationRef, str]:
    """Return what each node is called in a list: its name, with its cluster or IDs where others look the same."""
    called = {alert.ref: alert.remediation.node for alert in alerts}
    if len(clusters := clusters_of(alerts)) > 1:
        called = {ref: blocks.before_name(name, " in ", clusters[ref.cluster_id]) for ref, name in called.items()}
    for part in ("instance_id", "remediation_id"):
        shown = {ref: clean(name, MAX_OPTION_TEXT) for ref, name in called.items()}
        counts = Counter(shown.values())
        if len(counts) == len(called):
            break
        called = {
            ref: _with(name, getattr(ref, part)) if counts[shown[ref]] > 1 else name for ref, name in called.items()
        }
    return called


def _with(name: str, part: str) -> str:
    """Return a name with an ID behind it, and so much of the name that a menu shows both."""
    return f"{clean(name, max(_SHORTEST, MAX_OPTION_TEXT - len(part) - 3))} ({part})"


def clusters_of(alerts: Sequence[Alert]) -> dict[str, str]:
    """Return what the clusters of these are called, raw, by their IDs: as the latest of each has it."""
    latest = {alert.cluster_id: alert for alert in sorted(alerts, key=lambda alert: alert.share_at)}
    called = {cluster_id: labels.cluster(alert.remediation, alert.share) for cluster_id, alert in latest.items()}
    # What was kept before another cluster had the same name, or by release 0.1.0, doesn't tell them apart.
    return called if len({*called.values()}) == len(called) else labels.clusters(called)


def by_name(alerts: Sequence[Alert], called: Names) -> list[Alert]:
    """Return these in the order of what they are called."""
    return sorted(alerts, key=lambda alert: _parts(called[alert.ref]))


def nodes_of(alerts: Sequence[Alert]) -> int:
    """Return on how many nodes these remediations are."""
    return len({(alert.cluster_id, alert.remediation.instance_id) for alert in alerts})


def blast_radius(alerts: Sequence[Alert], nodes: int | None) -> str:
    """Return on how many nodes of how many these remediations are: "4 of 64 nodes", "1 node"."""
    count = nodes_of(alerts)
    return f"{count} of {nodes} {plural('node', nodes)}" if nodes else f"{count} {plural('node', count)}"


def plural(noun: str, count: int) -> str:
    """Return a noun as it follows a number."""
    return noun if count == 1 else f"{noun}s"


def cluster_of(of_cluster: str | None, alerts: Sequence[Alert]) -> tuple[str, int | None]:
    """Return a cluster's name, raw, and how many nodes it has, None where that isn't known or can't be true.

    Several clusters have neither.
    """
    if of_cluster is None:
        return "", None
    shares = [alert.share for alert in alerts if alert.share]
    latest = max(shares, key=lambda share: share.at, default=RepairLoad(0, None, 0.0))
    # Together's list of a cluster's nodes may lag behind.
    nodes = latest.nodes if latest.nodes and latest.nodes >= nodes_of(alerts) else None
    return latest.cluster or of_cluster, nodes


def since(alert: Alert) -> float:
    """Return since when it waits, to sort by; in Unix time in seconds."""
    return unix(alert.remediation.create_time) or alert.seen_at


def mode_name(alert: Alert) -> str:
    """Return what the repair is called, raw."""
    return labels.mode(alert.remediation.mode).name


def counted(values: Sequence[str]) -> str:
    """Return how often each value is there, escaped: "24 Reboot, 6 Quick reprovision"."""
    shown = [f"{count} {escape(value, 120)}" for value, count in Counter(values).most_common(5)]
    more = len(set(values)) - len(shown)
    return f"{'; '.join(shown)}{f'; and {more} more kinds' if more > 0 else ''}"


def in_states(states: Iterable[str]) -> str:
    """Return how many are in which state, escaped: "12 cancelled, 5 resolved on their own"."""
    return ", ".join(
        f"{count} {state if count == 1 else state.replace('its own', 'their own')}"
        for state, count in Counter(states).most_common()
    )


def node(name: str) -> Parts:
    """Return a node's name, as code."""
    return elements(escape(name, 100) or "-", code=True)


def entry(name: str, *told: str) -> Line:
    """Return a line about a node: its name, raw, and what is said of it, escaped."""
    return [*node(name), *elements(f"  {' · '.join(filter(None, told))}")]


NOT_CONFIRMED = "a decision isn't confirmed"  # in a list, of what may no longer be as it was read


def confirmed(at: float | None) -> str:
    """Return when Together last confirmed something, in Unix time; empty where that isn't long ago."""
    return f"last confirmed {when(at)}" if at else ""


def remediation_lines(
    remediations: Sequence[Remediation], most: int, cluster_names: ClusterNames, told: Callable[[Remediation], str]
) -> list[Line]:
    """Return a line for each of the first `most`, ending in what `told` says of it, and how many more there are.

    Args:
        cluster_names: the names of clusters.
    """
    lines = [
        _line(remediation, cluster_names[remediation.cluster_id], told(remediation))
        for remediation in remediations[:most]
    ]
    return with_rest(lines, len(remediations))


def with_rest(lines: list[Line], count: int) -> list[Line]:
    """Return lines about the first of `count` things, and how many more there are."""
    more = count - len(lines)
    return [*lines, f"…and {more} more"] if more > 0 else lines


def returned_lines(alerts: Sequence[Alert], most: int) -> list[Line]:
    """Return a line for each of the first `most` repairs whose fault came back, and how many more there are."""
    clusters = clusters_of(alerts)
    return with_rest([_returned_line(alert, clusters[alert.cluster_id]) for alert in alerts[:most]], len(alerts))


def _returned_line(alert: Alert, cluster: str) -> Line:
    repair, back = alert.remediation, alert.came_back
    parts = [escape(cluster, 60), escape(mode_name(alert), 60)]
    if back:
        did = "didn't stop" if back.was_firing else f"came back after {lasted(back.at - repair.succeeded_at)}"
        parts.append(f"{escape(back.fault, 60)} {did}")
    return entry(repair.node, *parts)


def _line(remediation: Remediation, cluster: str, told: str) -> Line:
    parts = [cluster, labels.mode(remediation.mode).name, fault(remediation, is_brief=True)]
    parts += [labels.state(remediation.state, reviewed=remediation.is_reviewed)[0].lower()]
    return entry(remediation.node, *(escape(part, 60) for part in parts), told)


def lines_message(head: str, lines: Sequence[Line]) -> Message:
    """Return a message of a heading and lines."""
    return message([elements(head, bold=True), *lines])


def message(lines: Sequence[Line]) -> Message:
    """Return a message of lines, but for empty ones."""
    lines = [line for line in lines if line]
    return Message(blocks.story(map(blocks.markup, lines)), blocks.rich_texts(lines)[: blocks.MAX_BLOCKS])


def first_of(names: Sequence[str], most: int, limit: int, beyond: int = 0) -> str:
    """Return the first of raw names, each of at most `limit` characters, and how many more and `beyond` there are."""
    more = max(0, len(names) - most) + beyond
    return f"{', '.join(escape(name, limit) for name in names[:most])}{f' and {more} more' if more > 0 else ''}"


@dataclass(frozen=True, slots=True)
class Group:
    """Some of what waits, the oldest first.

    Attributes:
        fault: what they have in common, raw; empty where nothing says, None where faults aren't told apart.
    """

    mode: str
    fault: str | None
    alerts: Sequence[Alert]

    @property
    def value(self) -> str:
        """What choosing all of it is known by."""
        return _value(self.mode, self.fault)

    @property
    def title(self) -> str:
        """What is done to nodes with which fault, raw."""
        return " · ".join(part for part in (mode_name(self.alerts[0]), self.fault) if part)


def grouped(alerts: Sequence[Alert]) -> list[Group]:
    """Return groups, the largest first, and last what deletes data."""
    groups = list(_by_fault(alerts, is_told=True))
    if len(groups) > MOST:
        groups = list(_by_fault(alerts, is_told=False))
    return sorted(groups, key=lambda group: (labels.deletes_data(group.mode), -len(group.alerts)))


def _by_fault(alerts: Sequence[Alert], *, is_told: bool) -> Iterator[Group]:
    groups: dict[tuple[str, str | None], list[Alert]] = {}
    for alert in sorted(alerts, key=since):
        groups.setdefault((alert.remediation.mode, _fault(alert) if is_told else None), []).append(alert)
    for (mode, words), members in groups.items():
        yield Group(mode, words, members)


def _fault(alert: Alert) -> str:
    return fault(alert.remediation, 60)


def _value(mode: str, words: str | None) -> str:
    return f"group:{short_hash([mode, words])}"


def value_of(alert: Alert) -> str:
    """Return what choosing this one alone is known by."""
    return f"one:{alert.remediation.ref.key}"


def chosen(alerts: Sequence[Alert], values: Collection[str]) -> list[Alert]:
    """Return those that wait and that chosen values mean, of this version's dialog or of release 0.1's menu."""
    wanted = set(values)
    return [
        alert
        for alert in waiting(alerts)
        if wanted
        & {
            value_of(alert), _value(alert.remediation.mode, _fault(alert)), _value(alert.remediation.mode, None),
            f"mode:{alert.remediation.mode}", EVERYTHING,
        }
    ]  # fmt: skip


def half_approved(alerts: Sequence[Alert], firsts: Firsts, config: CardConfig) -> Firsts:
    """Return the first approvals of those that one of two people has approved."""
    approved = ((alert, firsts.get(alert.ref)) for alert in alerts)
    return {
        alert.ref: first for alert, first in approved if first and config.is_half_approved(alert.remediation, first)
    }


def named(names: Sequence[str]) -> Parts:
    """Return names as code, in as many pieces as Slack's limit takes."""
    return [{"type": "text", "text": piece, "style": {"code": True}} for piece in ranges(names)]


def ranges(names: Sequence[str]) -> list[str]:
    """Return names in as few words as say them, in pieces of Slack's size: "gpu-node-2, 4–40"."""
    lines: list[str] = []
    before, size = "", 0
    numbered = enumerate(sorted(_parts(clean(name, 100) or "-") for name in names))
    # Numbers that follow each other are as far from their places.
    for (prefix, _, _), run in groupby(numbered, key=lambda entry: (*entry[1][:2], entry[1][2] - entry[0])):
        ends = [text for _, (_, _, _, text) in run]
        numbers = ends[0] if len(ends) == 1 else f"{ends[0]}–{ends[-1]}"
        word = numbers if prefix and prefix == before else f"{prefix}{numbers}"
        if lines and size + units(word) < _LONGEST:
            lines[-1] += f", {word}"
            size += units(f", {word}")
        else:
            lines.append(f"{prefix}{numbers}")
            size = units(lines[-1])
        before = prefix
    return lines


def _parts(name: str) -> tuple[str, int, int, str]:
    """Return what a name is sorted by: all but its number, how wide that is with zeros before it, and the number.

    What has something behind the node's own name has no number.
    """
    match = None if " " in name else _NUMBERED.fullmatch(name)
    if match is None:
        return "", 0, 0, name
    prefix, number = match.groups()
    return prefix, len(number) if number.startswith("0") and number != "0" else 0, int(number), number
