"""Lists of many remediations: what each is called, and how the rest is counted."""

from collections import Counter
from collections.abc import Callable, Sequence

from bot.cards import blocks, labels
from bot.cards.blocks import Element, elements
from bot.cards.evidence import fault
from bot.models import Alert, Message, Remediation, RemediationRef, RepairLoad
from bot.mrkdwn import escape, lasted

LISTED = 10


def names(alerts: Sequence[Alert]) -> dict[RemediationRef, str]:
    """Return what each node is called in a list: its name, with its cluster or IDs where others have the same."""
    clusters = {each.cluster_id for each in alerts}
    called = {each.ref: each.remediation.node for each in alerts}
    if len(clusters) > 1:
        called = {ref: f"{name} in {ref.cluster_id}" for ref, name in called.items()}
    called = _distinct(called, lambda ref: ref.instance_id)
    return _distinct(called, lambda ref: ref.remediation_id)


def _distinct(called: dict[RemediationRef, str], part: Callable[[RemediationRef], str]) -> dict[RemediationRef, str]:
    twice = {name for name, count in Counter(called.values()).items() if count > 1}
    return {ref: f"{name} ({part(ref)})" if name in twice else name for ref, name in called.items()}


def nodes_of(alerts: Sequence[Alert]) -> int:
    """Return on how many nodes these remediations are."""
    return len({(each.cluster_id, each.remediation.instance_id) for each in alerts})


def blast_radius(alerts: Sequence[Alert], nodes: int | None) -> str:
    """Return on how many nodes of how many these remediations are: "4 of 64 nodes", "1 node"."""
    count = nodes_of(alerts)
    return f"{count} of {nodes} {plural('node', nodes)}" if nodes else f"{count} {plural('node', count)}"


def plural(noun: str, count: int) -> str:
    """Return a noun as it follows a number."""
    return noun if count == 1 else f"{noun}s"


def cluster_of(of_cluster: str | None, alerts: Sequence[Alert]) -> tuple[str, int | None]:
    """Return a cluster's name, raw, and how many nodes it has, as far as that is known and can be true."""
    shares = [each.share for each in alerts if each.share]
    latest = max(shares, key=lambda each: each.at, default=RepairLoad(0, None, 0.0))
    # Together's list of a cluster's nodes may lag behind.
    nodes = latest.nodes if latest.nodes and latest.nodes >= nodes_of(alerts) else None
    return latest.cluster or of_cluster or "", nodes


def since(alert: Alert) -> float:
    """Return since when it waits, to sort by; in Unix time in seconds."""
    created = alert.remediation.create_time
    return created.timestamp() if created else alert.seen_at


def mode_name(alert: Alert) -> str:
    """Return what the repair is called, raw."""
    return labels.mode(alert.remediation.mode).name


def counted(values: Sequence[str]) -> str:
    """Return how often each value is there, escaped: "24 Reboot, 6 Quick reprovision"."""
    shown = [f"{count} {escape(value, 120)}" for value, count in Counter(values).most_common(5)]
    more = len(set(values)) - len(shown)
    return f"{'; '.join(shown)}{f'; and {more} more kinds' if more > 0 else ''}"


def node(name: str) -> list[Element]:
    """Return a node's name, as code."""
    return elements(escape(name, 100) or "-", code=True)


def remediation_lines(
    found: Sequence[Remediation], most: int, when: Callable[[Remediation], str]
) -> list[list[Element]]:
    """Return a line for each of the first `most`, ending in what `when` says of it, and how many more there are."""
    return with_rest([_line(each, when(each)) for each in found[:most]], len(found))


def with_rest(lines: list[list[Element]], count: int) -> list[list[Element]]:
    """Return lines about the first of `count` things, and how many more there are."""
    more = count - len(lines)
    return [*lines, elements(f"…and {more} more")] if more > 0 else lines


def returned_lines(found: Sequence[Alert], most: int) -> list[list[Element]]:
    """Return a line for each of the first `most` repairs whose fault came back, and how many more there are."""
    return with_rest([_returned_line(each) for each in found[:most]], len(found))


def _returned_line(alert: Alert) -> list[Element]:
    one, back = alert.remediation, alert.came_back
    told = [escape(one.cluster_id, 60), escape(mode_name(alert), 60)]
    if back:
        did = "didn't stop" if back.was_firing else f"came back after {lasted(back.at - one.succeeded_at)}"
        told.append(f"{escape(back.fault, 60)} {did}")
    return [*node(one.node), *elements(f"  {' · '.join(told)}")]


def _line(each: Remediation, when: str) -> list[Element]:
    told = [each.cluster_id, labels.mode(each.mode).name, fault(each, is_brief=True)]
    told += [labels.state(each.state, reviewed=each.is_reviewed)[0].lower()]
    shown = [escape(part, 60) for part in told if part] + ([when] if when else [])
    return [*node(each.node), *elements(f"  {' · '.join(shown)}")]


def lines_message(head: str, lines: Sequence[Sequence[Element]]) -> Message:
    """Return a message of a heading and lines."""
    shown = blocks.rich_texts([elements(head, bold=True), *lines])
    return Message(blocks.story([head, *map(blocks.markup, lines)]), shown)
