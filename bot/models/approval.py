"""The first of two approvals."""

from dataclasses import dataclass

from bot.models.remediation import Remediation

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
        return (self.mode, self.episode) == (remediation.mode, remediation.episode)
