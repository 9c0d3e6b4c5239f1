"""Many remediations in groups: those that do the same to nodes with the same fault."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.cards import labels
from bot.cards.blocks import Element, units
from bot.cards.evidence import fault
from bot.cards.listing import mode_name, since
from bot.models import EVERYTHING, Alert, FirstApproval, RemediationRef, key, short_hash, waiting
from bot.mrkdwn import clean

Firsts = Mapping[RemediationRef, FirstApproval]
MOST = 12  # groups; with more of them, faults aren't told apart
_NUMBERED = re.compile(r"(.*\D)(\d{1,15})")
_LONGEST = 2000  # characters of a piece of names, of the 3,000 that a text may have


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
    found = list(_by_fault(alerts, is_told=True))
    if len(found) > MOST:
        found = list(_by_fault(alerts, is_told=False))
    return sorted(found, key=lambda each: (labels.deletes_data(each.mode), -len(each.alerts)))


def _by_fault(alerts: Sequence[Alert], *, is_told: bool) -> Iterator[Group]:
    some: dict[tuple[str, str | None], list[Alert]] = {}
    for each in sorted(alerts, key=since):
        some.setdefault((each.remediation.mode, _fault(each) if is_told else None), []).append(each)
    for (mode, what), members in some.items():
        yield Group(mode, what, members)


def _fault(alert: Alert) -> str:
    return fault(alert.remediation, 60)


def _value(mode: str, what: str | None) -> str:
    return f"group:{short_hash([mode, what])}"


def value_of(alert: Alert) -> str:
    """Return what choosing this one alone is known by."""
    return f"one:{key(alert.remediation)}"


def chosen(alerts: Sequence[Alert], values: Collection[str]) -> list[Alert]:
    """Return those that wait and that chosen values mean, of this version's dialog or of release 0.1's menu."""
    wanted = set(values)
    return [
        each
        for each in waiting(alerts)
        if wanted
        & {
            value_of(each), _value(each.remediation.mode, _fault(each)), _value(each.remediation.mode, None),
            f"mode:{each.remediation.mode}", EVERYTHING,
        }
    ]  # fmt: skip


def half_approved(alerts: Sequence[Alert], firsts: Firsts) -> list[tuple[Alert, FirstApproval]]:
    """Return those that one of two people has approved."""
    found = ((each, firsts.get(each.ref)) for each in alerts)
    return [(each, first) for each, first in found if first and first.counts_for(each.remediation)]


def named(names: Sequence[str]) -> list[Element]:
    """Return names as code, in as many pieces as Slack's limit takes."""
    return [{"type": "text", "text": each, "style": {"code": True}} for each in ranges(names)]


def ranges(names: Sequence[str]) -> list[str]:
    """Return names in as few words as say them, in pieces of Slack's size: "gpu-node-2, 4–40"."""
    lines: list[str] = []
    before, size = "", 0
    for prefix, first, last in _runs(sorted((clean(each, 100) or "-" for each in names), key=_sorted_by)):
        numbers = first if first == last else f"{first}–{last}"
        word = numbers if prefix and prefix == before else f"{prefix}{numbers}"
        if lines and size + units(word) < _LONGEST:
            lines[-1] += f", {word}"
            size += units(f", {word}")
        else:
            lines.append(f"{prefix}{numbers}")
            size = units(lines[-1])
        before = prefix
    return lines


def _sorted_by(name: str) -> tuple[str, int, int, str]:
    prefix, number = _parts(name)
    return prefix, len(number) if number.startswith("0") else 0, int(number or 0), name


def _parts(name: str) -> tuple[str, str]:
    """Return a name without its number, and that; no number where something follows the node's own name."""
    found = None if " " in name else _NUMBERED.fullmatch(name)
    return (found[1], found[2]) if found else ("", "")


def _runs(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each run of numbers that follow each other: the prefix of their names, the first and the last."""
    run: tuple[str, str, str] | None = None
    for name in names:
        prefix, number = _parts(name)
        if run and number and prefix == run[0] and str(int(run[2]) + 1).zfill(len(run[2])) == number:
            run = (prefix, run[1], number)
            continue
        if run:
            yield run
        run = (prefix, number, number) if number else ("", name, name)
    if run:
        yield run
