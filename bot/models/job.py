"""An unfinished decision, as the store keeps it."""

from dataclasses import dataclass

from bot.models.alert import CardContext
from bot.models.outcome import Answer, token_of
from bot.models.request import NOTHING_SEEN, Request, SeenState

NOTHING_KNOWN = CardContext()


@dataclass(slots=True)
class Job:
    """One request, from its receipt to its answer.

    Attributes:
        fence: grows each time it changes hands.
        received_at: Unix time in seconds, on the database's clock.
        received_mono: when this process received it or took it over, on its monotonic clock.
        leased_until: until when no other process can have it, on the same clock, with a second in reserve.
        sending_mono: when this process last began to record that a POST leaves, on the same clock; None for never.
        is_active: its decision was allowed and claimed.
        seen: the remediation as the bot read it before the first POST; nothing of it for a typed command.
        sent_at: when its POST may have left, like `received_at`; None for never.
        about: what a card says beyond the remediation, as of the claim.
        answer: its outcome is recorded, and this must still be delivered; None too where a digest shows it.
        answered_at: when the outcome was recorded, as Unix time in seconds on the database's clock.
        failed_deliveries: how often Slack did not take the answer.
        taken_over: another process began it.
    """

    id: str
    request: Request
    fence: int
    received_at: float
    received_mono: float = 0.0
    leased_until: float = 0.0
    sending_mono: float | None = None
    is_active: bool = False
    seen: SeenState = NOTHING_SEEN
    sent_at: float | None = None
    about: CardContext = NOTHING_KNOWN
    answer: Answer | None = None
    answered_at: float = 0.0
    failed_deliveries: int = 0
    taken_over: bool = False

    @property
    def token(self) -> str:
        """What this decision is known by in Together's own record, and in the log."""
        return token_of(self.id)
