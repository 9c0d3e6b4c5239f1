"""What the doctor's checks found, and how it's printed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_LEVELS = tuple(Status)  # the place of each is the exit status, and that of its sign


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name.
        detail: what is there.
        fix: what to do; empty where all is well.
    """

    check: str
    status: Status
    detail: str
    fix: str = ""


def ok(check: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Status.OK, detail)


def warning(check: str, detail: str, fix: str) -> Finding:
    """Return that something will not work as expected."""
    return Finding(check, Status.WARNING, detail, fix)


def problem(check: str, detail: str, fix: str) -> Finding:
    """Return that something will not work."""
    return Finding(check, Status.PROBLEM, detail, fix)


def report(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print what was found. Returns the exit status: 0, 1 for warnings, 2 where something will not work."""
    is_plain = not _shows("✓✗→")
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=is_plain, indent=2))
    else:
        width = max(len(finding.check) for finding in findings)
        signs, arrow = ("+!x", "->") if is_plain else ("✓!✗", "→")
        for finding in findings:
            print(f"{signs[_LEVELS.index(finding.status)]} {finding.check:{width}}  {finding.detail}")
            if finding.fix:
                print(f"  {'':{width}}  {arrow} {finding.fix}")
    return max(_LEVELS.index(finding.status) for finding in findings)


def _shows(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
