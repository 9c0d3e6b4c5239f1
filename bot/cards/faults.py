"""What says that something is broken, and no repair is open."""

from collections.abc import Iterable, Sequence

from bot.cards import blocks, listing
from bot.cards.blocks import Element, elements
from bot.cards.evidence import common_fault, severity_and_fault
from bot.cards.remediation_card import mention
from bot.models import Fault, FaultReport, Message
from bot.mrkdwn import escape, lasted, when


def unrepaired(cluster: str, faults: Sequence[Fault], called: str) -> Message:
    """Return that critical alerts fire without a repair.

    Args:
        cluster: its name, raw.
        faults: at least one.
        called: a user or group ID to mention; empty for nobody.
    """
    where, count = escape(cluster, 100), len({each.alert.node for each in faults})
    pronoun = "it" if count == 1 else "them"
    what = common_fault(each.alert for each in faults) or "critical faults"
    head = f"{_nodes(faults)} ({where}): {what}, and no repair is open ⚠️"
    text = f"Check {pronoun}, or request a repair in Together. {mention(called)}".strip()
    return _message(head, [*_first(faults), elements(text)])


def more_unrepaired(faults: Sequence[Fault], seconds: float, called: str) -> Message:
    """Return, for the thread, that further ones have fired for `seconds` or longer too."""
    text = f"{_nodes(faults)}: critical for {lasted(seconds)} or longer, and no repair is open. {mention(called)}"
    return _message("", [elements(text.strip()), *_first(faults)])


def repaired(cluster: str, now: float) -> Message:
    """Return what the message says once none of them is left; `now` in Unix time in seconds."""
    return _message(f"{escape(cluster, 100)}: Together lists no critical fault without a repair, {when(now)} ✅", [])


def listed(reports: Sequence[FaultReport], most: int) -> tuple[str, list[list[Element]]]:
    """Return how many alerts fire without a repair, and a line for each of the first `most`, the oldest first."""
    found = sorted(((each.since, each, report.cluster) for report in reports for each in report.faults), key=_age)
    count = sum(each.count for each in reports)
    lines = [_line(each, cluster) for _, each, cluster in found[:most]]
    return f"Faults without a repair: {count}", listing.with_rest(lines, count)


def _age(found: tuple[float, Fault, str]) -> float:
    return found[0]


def _first(faults: Sequence[Fault]) -> list[list[Element]]:
    return listing.with_rest([_line(each) for each in faults[: listing.LISTED]], len(faults))


def _line(each: Fault, cluster: str = "") -> list[Element]:
    told = [escape(cluster, 60), severity_and_fault(each.alert), f"since {when(each.since)}"]
    return [*listing.node(each.alert.node or "unknown node"), *elements(f"  {' · '.join(filter(None, told))}")]


def _message(head: str, lines: Iterable[list[Element]]) -> Message:
    drawn = [*([elements(head, bold=True)] if head else []), *lines]
    return Message(blocks.story([blocks.markup(each) for each in drawn]), blocks.rich_texts(drawn))


def _nodes(faults: Sequence[Fault]) -> str:
    """Return the names of the first nodes, escaped."""
    names = list(dict.fromkeys(each.alert.node or "unknown node" for each in faults))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - of them fit into a notification
    return f"{', '.join(escape(each, 60) for each in names[:3])}{more}"
