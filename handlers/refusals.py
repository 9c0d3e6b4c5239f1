"""What the audit trail keeps of requests that never became decisions."""

from bot.errors import NotAttempted
from bot.models import Actor, AuditNote, OutcomeKind, Verb


def refusal(error: NotAttempted, actor: Actor, channel_id: str | None, verb: Verb | None = None) -> AuditNote:
    """Write for the audit trail what was refused before it became a decision."""
    return AuditNote("refused", actor, channel_id, verb, OutcomeKind(type(error).__name__))
