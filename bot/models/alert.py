"""Alerts: what the bot knows of the remediations that it follows, and what a card says beyond them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from bot.models.guardrails import Override, Pause, RepairLoad
from bot.models.ids import RemediationRef, short_hash
from bot.models.outcome import CardNote, DecidedBy, Doubt, FirstApproval
from bot.models.ports import Impact
from bot.models.remediation import Remediation
from bot.models.request import Request
from bot.models.states import CALLED_OFF, FINAL, RAN, State

HOLD_SECONDS = 30 * 60
MAX_HOLD_SECONDS = 24 * 3600.0
HOLD_ENDS_SOON_SECONDS = 120.0  # so long before a hold ends, its person learns it
HISTORY_DAYS = 7
LOOKING_SECONDS = 15 * 60.0
_DAY = 86_400.0
_NEVER_RAN = CALLED_OFF | {State.PENDING_APPROVAL}


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody asked to wait, for a job that must checkpoint first.

    Attributes:
        until: Unix time in seconds.
        others: who asked for it too, and until when; none of them is later than this one.
        reason: as it was typed; may be empty.
        name: of who asked, for texts without mentions; may be empty.
        since: when they asked, as Unix time in seconds; 0 where that isn't known.
    """

    user_id: str
    until: float
    others: "tuple[Hold, ...]" = ()
    reason: str = ""
    name: str = ""
    since: float = 0.0

    def at(self, now: float) -> "Hold | None":
        """Return what of it holds at a moment; None when it is over."""
        if self.until <= now:
            return None
        return replace(self, others=tuple(hold for hold in self.others if hold.until > now))

    @property
    def keys(self) -> frozenset[str]:
        """What each person's is known by, in a button."""
        return frozenset(map(_key_of, (self, *self.others)))

    @property
    def key_of_all(self) -> str:
        """What all of them are known by, where there is no room for each."""
        return short_hash(sorted(self.keys))

    def unseen(self, request: Request) -> str:
        """Return who asked to wait, and wasn't shown to who approves, or is them and did so since; "" for nobody."""
        own, asked_at = request.actor.user_id, request.asked_at
        # A selection knows all that was on hold when it was chosen, and gets its turn long after that.
        new = (hold for hold in (self, *self.others) if _key_of(hold) not in (request.saw.holds or ()))
        by = (hold.user_id for hold in new if hold.user_id != own or request.batch_id or 0 < asked_at < hold.since)
        return next(by, "")

    def joined(self, other: "Hold") -> "Hold":
        """Return this hold with another person's: it extends it, and never shortens or hides it.

        Who asks again without a reason still has the one that they gave before.
        """
        before = next((hold.reason for hold in (self, *self.others) if hold.user_id == other.user_id), "")
        other = replace(other, reason=other.reason or before)
        kept = [hold for hold in (replace(self, others=()), *self.others) if hold.user_id != other.user_id]
        first, *rest = sorted([*kept, replace(other, others=())], key=lambda hold: -hold.until)
        return replace(first, others=tuple(rest))


def _key_of(hold: Hold) -> str:
    return short_hash([hold.user_id, hold.until], 8)


@dataclass(frozen=True, slots=True)
class Looking:
    """Somebody has said that they look into what a message shows, so nobody is reminded of it for a while.

    Attributes:
        since: when they said so the last time, as Unix time in seconds.
    """

    user_id: str
    since: float

    @property
    def until(self) -> float:
        """Until when that counts, as Unix time in seconds."""
        return self.since + LOOKING_SECONDS


class Looked(StrEnum):
    """The result of saying that one looks into something."""

    NOTED = "noted"
    NOTHING_WAITS = "nothing waits"
    OPENED_AGAIN = "opened again"
    IS_ONE_OF_MANY = "is one of many"
    NOT_TRACKED = "not tracked"


@dataclass(frozen=True, slots=True)
class History:
    """A node's repairs of the last seven days, before this one; times in Unix time in seconds.

    Attributes:
        repairs: also those that were under way; what is said of the last one is of those that had ended.
        same: repairs of the last 24 hours in the mode `same_mode`, the one suggested then, for the same fault.
        same_fault: that fault, raw.
        lately: repairs within the time of BOT_MAX_REPAIRS_PER_NODE, also those that are still open.
    """

    repairs: int
    last_mode: str | None = None
    last_state: str | None = None
    last_at: float | None = None
    same: int = 0
    same_mode: str = ""
    same_fault: str = ""
    lately: int = 0


def repairs_since(
    listed: Iterable[Remediation], earlier: Iterable[Remediation], of: RemediationRef, since: float
) -> list[Remediation]:
    """Return a node's other repairs that are under way or ended since a moment, the latest last.

    What waits, was cancelled, or resolved isn't counted. Pages that shift while they are read list one twice.

    Args:
        earlier: those under IDs of the node that were used again: Together lists the last incident of each only.
    """
    each_once = {repair.id: repair for repair in listed if repair.state not in _NEVER_RAN}
    each_once.pop(of.remediation_id, None)
    recent = [repair for repair in each_once.values() if repair.state not in FINAL or repair.ended_at >= since]
    recent += [repair for repair in earlier if repair.ended_at >= since]
    return sorted(recent, key=lambda repair: repair.ended_at)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was read about a node before its card was posted; None for what couldn't be.

    Attributes:
        is_outdated: Together says by now that its remediation was decided, or is over.
    """

    history: History | None = None
    impact: Impact | None = None
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class CameBack:
    """The fault of a node that was repaired is back.

    Attributes:
        fault: what is broken, raw.
        at: when Together suggested the next repair for it, or its alert fired, in Unix time in seconds.
        was_firing: it was there before the repair ended, and didn't stop with it.
        is_suggested: Together suggests another repair for it.
        is_warning: it is only a warning now, even where the repair was for more.
    """

    fault: str
    at: float
    was_firing: bool = False
    is_suggested: bool = True
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class CardContext:
    """What a card says beyond the remediation itself.

    Attributes:
        followed: the bot tracks it, so that a hold can be kept and shown.
        is_unlisted: Together no longer lists it.
        as_of: when Together last said what the card shows, where that is too long ago; in Unix time in seconds.
        is_just_read: it is shown as Together has just answered it, though its cluster may not have been read.
        pause: approvals of its cluster are paused.
        mentioned: the user or group that its message called; empty for nobody.
        looking: who looks into it.
        channel_id, ts: where its own card is, and Slack's name of that message; empty where it has none.
        node, mode: its name, and its repair as it was last seen; empty where the bot doesn't track it.
        is_one_of_many: it is shown in a digest.
        is_automatic: Together began it with nobody asked.
        is_observed: the bot decides nothing in its cluster.
        now: the present, as Unix time in seconds; 0 where nothing is known of it.
        waiting_since: since when it waits again, where it had ended or vanished; else 0.
        doubt: what somebody was told of a decision that may still take effect; None for no such decision.
        is_being_decided: somebody else's decision has not been answered yet.
        old_review: it, as it was seen with a review that need not be an approval; None where that isn't so.
        came_back, has_lasted: its fault is back; it has stayed away.
        is_missing: its node wasn't back in the cluster when that was looked for.
        impact: who is affected.
        earlier: its repairs that are over: under the same ID, Together lists the last incident only.
    """

    history: History | None = None
    share: RepairLoad | None = None
    hold: Hold | None = None
    first: FirstApproval | None = None
    followed: bool = False
    is_unlisted: bool = False
    as_of: float | None = None
    is_just_read: bool = False
    pause: Pause | None = None
    mentioned: str = ""
    looking: tuple[Looking, ...] = ()
    channel_id: str = ""
    ts: str = ""
    node: str = ""
    mode: str = ""
    is_one_of_many: bool = False
    is_automatic: bool = False
    is_observed: bool = False
    now: float = 0.0
    waiting_since: float = 0.0
    doubt: CardNote | None = None
    is_being_decided: bool = False
    old_review: Remediation | None = None
    came_back: CameBack | None = None
    is_missing: bool = False
    has_lasted: bool = False
    impact: Impact | None = None
    earlier: tuple[Remediation, ...] = ()

    def is_in_doubt(self, remediation: Remediation, *, is_read_now: bool = True) -> bool:
        """Return whether a decision on what the remediation is now may still take effect.

        Args:
            is_read_now: it was just read from Together, which ends a doubt that is old enough.
        """
        if self.doubt is None or (is_read_now and self.doubt.settles_at <= self.now):
            return self.is_being_decided
        return self.is_being_decided or self.doubt.applies_to(remediation)


@dataclass(frozen=True, slots=True)
class Alert:
    """A remediation that the bot has announced. Times are Unix times in seconds.

    Attributes:
        remediation: as it was last seen.
        fingerprint: of Together's words about it.
        message_id: the message that shows it: a card, or a digest.
        seen_at, was_over: when it was first seen, and whether it had ended by then.
        is_unlisted: Together no longer lists it.
        decided_seq: the audit trail's row of the last decision on it: what was read before that is out of date.
        is_stale: an answer showed something other than `remediation`, so the card must not be drawn from it.
        waiting_since: since when it waits again, or its next incident runs, where it had ended or vanished; else 0.
        asked_since: since when people are asked again: it waits again, or a hold on it is over; else 0.
        worsened_at: when its fault was first seen to be more than a warning, after it had been one; else 0.
        missing_since: since when Together hasn't found it, where nothing has confirmed that yet; else 0.
        as_of: when Together last confirmed it, where that is too long ago.
        came_back: its fault is back.
        impact: who is affected, as of when its card was posted.
        override: the last approval by one person alone whose POST left.
        earlier: its earlier repairs under the same ID, with their results, the latest last.
        doubts: the decisions on it whose results aren't known yet.
    """

    remediation: Remediation
    fingerprint: str
    message_id: str = ""
    seen_at: float = 0.0
    was_over: bool = False
    history: History | None = None
    share: RepairLoad | None = None
    hold: Hold | None = None
    remark: CardNote | None = None
    decided: DecidedBy | None = None
    is_unlisted: bool = False
    decided_seq: int = 0
    is_stale: bool = False
    waiting_since: float = 0.0
    asked_since: float = 0.0
    worsened_at: float = 0.0
    missing_since: float = 0.0
    as_of: float | None = None
    came_back: CameBack | None = None
    impact: Impact | None = None
    override: Override | None = None
    earlier: "tuple[Alert, ...]" = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def ref(self) -> RemediationRef:
        """The remediation's IDs."""
        return self.remediation.ref

    @property
    def cluster_id(self) -> str:
        """Its cluster."""
        return self.remediation.cluster_id

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for approval."""
        return self.remediation.is_waiting and not self.is_unlisted

    @property
    def is_warning(self) -> bool:
        """Whether what asks for people now is only a warning."""
        return self.came_back.is_warning if self.came_back else self.remediation.is_warning

    @property
    def is_in_doubt(self) -> bool:
        """Whether a decision on it may still take effect."""
        return self.remark is not None and not self.remark.buttons and self.remark.applies_to(self.as_told)

    @property
    def as_told(self) -> Remediation:
        """The remediation as people were last told of it: as it was seen, or as somebody was answered since."""
        remark = self.remark
        if not self.is_stale or remark is None:
            return self.remediation
        updated = remark.updated or self.remediation.update_time
        answered = {"state": remark.state, "mode": remark.mode, "update_time": updated}
        shown = self.remediation.model_copy(update=answered)
        if remark.decided and remark.decided.is_approval and not (shown.review_time and shown.is_reviewed):
            # A review that it has is of an earlier incident.
            reviewed_at = datetime.fromtimestamp(remark.decided.at, UTC)
            shown = shown.model_copy(update={"reviewed_by": None, "review_comment": None, "review_time": reviewed_at})
        return shown

    @property
    def share_at(self) -> float:
        """When the load that it says was read, as Unix time in seconds; 0 for never."""
        return self.share.at if self.share else 0.0

    @property
    def holds(self) -> "tuple[Hold, ...]":
        """The holds of all who asked to wait, the longest first."""
        return (self.hold, *self.hold.others) if self.hold else ()

    @property
    def incident(self) -> str:
        """The key of what was said about it this time: it may wait, and fail, once more."""
        return f"{self.ref} {self.waiting_since:.0f}" if self.waiting_since else str(self.ref)

    @property
    def came_at(self) -> float:
        """When it began to wait, the last time."""
        return max(self.seen_at, self.waiting_since)

    @property
    def remind_from(self) -> float:
        """Since when somebody is asked to decide on it."""
        return max(self.seen_at, self.asked_since)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can happen to it any more, as far as Together says."""
        return self.is_unlisted or self.remediation.state in FINAL

    def at(self, now: float) -> "Alert":
        """Return it without what has run out at a moment: holds, and the line that an error left."""
        remark = self.remark.left_at(now, is_stale=self.is_stale) if self.remark else None
        if remark is self.remark and not self.hold:
            return self  # nearly every one of a digest's thousand
        return replace(self, hold=self.hold.at(now) if self.hold else None, remark=remark)

    def history_by(
        self, listed: Sequence[Remediation], earlier: Sequence[Remediation], now: float, seconds: float
    ) -> History:
        """Return what its node went through in the last days, and how many repairs within the last `seconds`."""
        lately = len(repairs_since(listed, earlier, self.ref, now - seconds))
        repairs = repairs_since(listed, earlier, self.ref, now - HISTORY_DAYS * _DAY)
        recent = [repair for repair in repairs if repair.state in FINAL or repair in earlier]
        if not recent:
            return History(len(repairs), lately=lately)
        of, last = self.remediation, recent[-1]
        today = [repair for repair in recent if repair.ended_at >= now - _DAY]
        faults = Counter(both[0] for repair in today if repair.mode == of.mode and (both := of.same_fault(repair)))
        fault, same = next(iter(faults.most_common(1)), ("", 0))
        last_mode = last.mode if last.state in FINAL else None  # how it ended wasn't always seen
        return History(len(repairs), last_mode, last.state, last.ended_at, same, of.mode, fault, lately)

    def about(self, first: FirstApproval | None) -> CardContext:
        """Return what its card says beyond the remediation."""
        over = (*self.earlier, self) if self.remediation.state in RAN else self.earlier
        return CardContext(
            self.history, self.share, self.hold, first, followed=True, is_unlisted=self.is_unlisted, as_of=self.as_of,
            node=self.remediation.node, doubt=self.remark if self.remark and not self.remark.buttons else None,
            mode=self.remediation.mode, old_review=self.remediation if self.remediation.has_old_review else None,
            came_back=self.came_back, impact=self.impact, earlier=tuple(alert.remediation for alert in over),
            waiting_since=self.waiting_since,
        )  # fmt: skip
