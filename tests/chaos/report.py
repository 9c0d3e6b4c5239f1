"""What a run of chaos has found."""

from collections import Counter
from dataclasses import dataclass


@dataclass
class Report:
    """What a run found."""

    counts: Counter[str]
    problems: list[str]

    def __str__(self) -> str:
        counts = [f"{count:6} {name}" for name, count in sorted(self.counts.items())]
        return "\n".join([*counts, *(f"PROBLEM {problem}" for problem in self.problems)])
