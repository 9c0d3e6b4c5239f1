"""Alerts: what the bot posts by itself and follows to its end, as the store keeps it."""

from dataclasses import dataclass, field, replace

from bot.models.job import Answer, Decided, Remark
from bot.models.remediation import Remediation, State
from bot.models.request import Request
from bot.models.verbs import RULES
from bot.mrkdwn import when

HOLD_SECONDS = 30 * 60
HISTORY_DAYS = 7
FIRST_APPROVAL_SECONDS = 8 * 3600  # so long, about a shift, the first of two approvals counts
HELD_AGAIN_SECONDS = 60.0  # a second press of the same person within these is the first one, pressed twice


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody asked to wait, for a job that must checkpoint first; `until` in seconds since 1970."""

    user_id: str
    until: float


@dataclass(frozen=True, slots=True)
class FirstApproval:
    """The first of two people who must approve a mode; `at` in seconds since 1970, `job_id` of that very click."""

    user_id: str
    mode: str
    at: float
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a cluster was in repair at a moment; `nodes` is None where their number is not known."""

    in_repair: int
    nodes: int | None
    at: float


@dataclass(frozen=True, slots=True)
class History:
    """A node's repairs of the last seven days, before this one; times in seconds since 1970."""

    repairs: int
    last_mode: str | None = None
    last_state: str | None = None
    last_at: float | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a card says beyond the remediation itself.

    Attributes:
        followed: the bot follows it, so that a hold can be kept and shown.
        vanished: Together knows it no longer.
    """

    history: History | None = None
    share: Share | None = None
    hold: Hold | None = None
    first: FirstApproval | None = None
    followed: bool = False
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """A remediation that the bot told of by itself. Times are in seconds since 1970.

    Attributes:
        remediation: as it was last seen.
        fingerprint: of Together's words about it.
        channel_id: where it was told.
        ts: Slack's name of its card; None while it is not known to stand there, and for one in a digest.
        digest_id: the digest that it stands in instead of having a card.
        seen_at: when it was first seen.
        version: grows with every write.
        drawn: the fingerprint of the message that stands in Slack.
        lines: what its thread is yet to be told.
        next_at: when something is to be done about it by itself: 0 for now, None for never.
        answered_at: when a decision on it was last answered: what was read before is out of date.
        is_stale: whoever was answered saw something else than `remediation`, so it is not to be drawn from that.
        remind_from: since when nobody has acted.
        waits_since: since when it waits anew, where it had ended or vanished before; else 0.
        reminders: how many were sent.
        is_lost: its card cannot be changed any more, since somebody has deleted it or Slack has frozen it.
        done: it has ended and all was told.
    """

    remediation: Remediation
    fingerprint: str
    channel_id: str
    seen_at: float
    ts: str | None = None
    digest_id: str | None = None
    version: int = 1
    drawn: str = ""
    lines: tuple[str, ...] = ()
    history: History | None = None
    share: Share | None = None
    hold: Hold | None = None
    remark: Remark | None = None
    decided: Decided | None = None
    vanished: bool = False
    answered_at: float = 0.0
    is_stale: bool = False
    next_at: float | None = 0.0
    remind_from: float = 0.0
    waits_since: float = 0.0
    reminders: int = 0
    is_lost: bool = False
    done: bool = False

    @property
    def waits(self) -> bool:
        """Whether it waits for a human."""
        return self.remediation.state == State.PENDING_APPROVAL and not self.vanished

    def about(self, first: FirstApproval | None) -> About:
        """What its card says beyond the remediation."""
        return About(self.history, self.share, self.hold, first, followed=True, vanished=self.vanished)


@dataclass(frozen=True, slots=True)
class Digest:
    """One message for many remediations. Times are in seconds since 1970.

    Attributes:
        cluster_id: None for the backlog that the bot found when it began to watch.
        grown_at: when the last one came in.
        posted_at: when it was last about to be posted.
        failures: which failures its thread was told of, by remediation ID.
    """

    id: str
    cluster_id: str | None
    channel_id: str
    seen_at: float
    grown_at: float
    posted_at: float = 0.0
    ts: str | None = None
    version: int = 1
    drawn: str = ""
    next_at: float | None = 0.0
    remind_from: float = 0.0
    reminders: int = 0
    failures: frozenset[str] = field(default_factory=frozenset)
    reported: frozenset[str] = field(default_factory=frozenset)
    done: bool = False


def answered(alert: Alert, request: Request, answer: Answer, at: float) -> Alert:
    """An alert about which somebody was answered: what the answer says must stay on its card.

    Args:
        alert: as it was.
        request: what was asked.
        answer: what is about to be told.
        at: the present, in seconds since 1970.
    """
    decides, remark = RULES[request.verb].decides, answer.remark
    known = alert.remediation.state, alert.remediation.mode
    is_stale = remark is not None and (alert.vanished or (remark.state, remark.mode) != known)
    place = request.place
    on_its_card = (
        remark is not None
        and alert.ts is not None
        and (alert.channel_id, alert.ts)
        == (
            place.channel_id,
            place.message_ts,
        )
    )
    changed = replace(
        alert,
        next_at=0.0,
        answered_at=at if decides else alert.answered_at,
        is_stale=alert.is_stale or is_stale,
        done=alert.done and not is_stale,
    )
    if remark and remark.decided:
        changed = replace(changed, hold=None, decided=remark.decided)
    if on_its_card and remark:
        return replace(changed, remark=replace(remark, at=at), drawn=answer.message.fingerprint)
    # "In progress" stands on the card: what stood there before is put back, and drawn anew in case that fails.
    return replace(changed, drawn="", done=False) if request.place.in_progress else changed


def held(alert: Alert, hold: Hold) -> Alert:
    """An alert that somebody asked to wait with. Who asks again at once is not told of again."""
    line = f"<@{hold.user_id}> asks to wait until {when(hold.until)}."
    before = alert.hold
    is_again = before and before.user_id == hold.user_id and hold.until - before.until < HELD_AGAIN_SECONDS
    lines = alert.lines if alert.digest_id or is_again else (*alert.lines, line)
    return replace(alert, hold=hold, next_at=0.0, lines=lines, done=False)
