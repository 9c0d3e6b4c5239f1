"""What a request has come to at Together, before anybody is told."""

from dataclasses import dataclass

from bot.errors import OutcomeKind
from bot.models import CardContext, DecidedBy, FirstApproval, Outcome, Remediation


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is so now, and what to say of it.

    Attributes:
        kind: how it ended, for the audit trail.
        present: the remediation, as it was read last.
        decided: who brought it into its state through Slack, where that is known.
        notice: what must be said beyond the remediation, as trusted markup; may be empty.
        summary: what the card shows anyway, in a sentence, for an answer without a card; may be empty.
        buttons: whether what the state allows may be decided; otherwise it is in doubt.
        is_late: it was so before a command asked for it, so its card stays as it is.
        first: the first of two approvals, which counts from the moment in which this is recorded.
        about: what its card says beyond the remediation, where that was read on the way.
        http_status, request_id: of the answer that settled it, where there was one.
    """

    kind: OutcomeKind
    present: Remediation
    decided: DecidedBy | None = None
    notice: str = ""
    summary: str = ""
    buttons: bool = True
    is_late: bool = False
    first: FirstApproval | None = None
    about: CardContext | None = None
    http_status: int | None = None
    request_id: str | None = None

    @property
    def outcome(self) -> Outcome:
        """For the audit trail."""
        return Outcome(self.kind, self.present.state, self.http_status, self.request_id, self.first)
