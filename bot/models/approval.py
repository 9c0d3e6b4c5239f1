"""The first of two approvals."""

from dataclasses import dataclass
from datetime import datetime

from bot.models.remediation import PRECISION, Remediation

FIRST_APPROVAL_SECONDS = 8 * 3600  # so long, about a shift, the first of two approvals counts


@dataclass(frozen=True, slots=True)
class FirstApproval:
    """The first of two people who must approve.

    Attributes:
        at: Unix time in seconds.
        job_id: of that very click.
        episode: the remediation's own times then. It counts for that mode and episode only.
    """

    user_id: str
    mode: str
    at: float
    job_id: str = ""
    episode: str = ""

    def counts_for(self, remediation: Remediation) -> bool:
        """Return whether it was given for this very repair."""
        now, then = _times(remediation.episode), _times(self.episode)
        is_same = len(now) == len(then) and all(abs(a - b) <= PRECISION for a, b in zip(now, then, strict=True))
        return is_same and self.mode == remediation.mode

    def is_of(self, episode_key: str | None) -> bool:
        """Return whether it was given for the incident of a button, where both say when that began."""
        began_at = int(max(_times(self.episode)))
        if not (began_at and episode_key and episode_key.isdecimal() and int(episode_key)):
            return True
        return abs(began_at - int(episode_key)) <= PRECISION


def _times(episode: str) -> list[float]:
    return [datetime.fromisoformat(each).timestamp() if each[:1].isdigit() else 0.0 for each in episode.split("|")]
