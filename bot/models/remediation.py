"""Remediations as Together answers them."""

import math
import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, OnErrorOmit
from pydantic_core import CoreSchema, core_schema

from bot.models.ids import RemediationRef, VisibleName, folded
from bot.models.states import BEGUN, CALLED_OFF, FINAL, IN_REPAIR, Mode, State

_FIRST_YEAR, _LAST_YEAR = 1971, 9000
PRECISION = 1.0  # in seconds: a list may round times
FOLLOWS_SECONDS = 120.0  # within which a state follows the review that brings it about
_CLOCKS_DIFFER_BY = timedelta(minutes=1)  # of Together's hosts
T = TypeVar("T")


_BRIEF = 5  # Xid events that are kept
_AUTO_APPROVED = re.compile(r"\bauto(?:matic(?:ally)?)?[-_ ]?approv(?:ed|al|er)(?![a-z])", re.IGNORECASE)
# What the bot writes into Together's record: it names the person, where `reviewed_by` is the API key's owner.
OWN_COMMENT = re.compile(
    r"\[[0-9a-f]{8}\] (?P<told>(?P<done>Approved|Rejected) in Slack by .*?\((?P<user>[UW][A-Z0-9]+)\)(?:: .*)?)",
    re.DOTALL,
)
MILD = {"PHC_SEVERITY_WARNING", "PHC_SEVERITY_INFO"}


class Else(NamedTuple):
    """What a field is read as when it is not what was promised: it must not hide the decision's outcome."""

    value: object

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - any type
        return core_schema.with_default_schema(handler(source), default=self.value, on_error="default")


Lenient = Annotated[T | None, Else(None)]
Name = Lenient[VisibleName]  # else the ID is shown
_UNSAID = re.compile(r"\A.*_UNSPECIFIED\Z")  # the zero of one of Protobuf's enums says nothing
OpenText = Annotated[str, Else(""), AfterValidator(lambda text: _UNSAID.sub("", text))]
Many = Annotated[list[OnErrorOmit[T]], Else([])]


def _real(moment: datetime | None) -> datetime | None:
    """Return None for Protobuf's zero time, year 1, and for any other year that can't be meant."""
    if moment is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def unix(moment: datetime | None) -> float:
    """Return a moment as Unix time in seconds; 0 where Together says none."""
    return moment.timestamp() if moment else 0.0


Moment = Annotated[datetime | None, AfterValidator(_real), Else(None)]


def _worst_first(alerts: list["LinkedAlert"]) -> list["LinkedAlert"]:
    """Put first the alert that a card shows: one that fires, critical if possible; otherwise in Together's order."""
    return sorted(alerts, key=lambda alert: (alert.resolved_at is not None, not alert.is_critical))


class ApiModel(BaseModel):
    """What Together answers. Fields that this version does not know are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class XidEvent(ApiModel):
    """An NVIDIA Xid error code that was seen while the alert was firing."""

    xid_code: Lenient[str] = None
    mnemonic: Lenient[str] = None
    count: Lenient[int] = None


class Xid(ApiModel):
    """The Xid events of an alert."""

    events: Many[XidEvent] = []


class SlurmNodeUnavailable(ApiModel):
    """Why Slurm drained the node."""

    reason: Lenient[str] = None


class Annotation(ApiModel):
    """What an alert says about itself."""

    title: Lenient[str] = None
    xid: Lenient[Xid] = None
    slurm_node_unavailable: Lenient[SlurmNodeUnavailable] = None


class LinkedAlert(ApiModel):
    """A health check alert that led to a remediation. Evidence, so all that can be read of it is shown."""

    alert_name: Lenient[str] = None
    severity: Lenient[str] = None
    started_at: Moment = None
    resolved_at: Moment = None
    target_vm: Name = None
    annotation: Lenient[Annotation] = None
    passive_health_check_alert_id: Lenient[str] = None
    instance_id: Lenient[str] = None
    cluster_id: Lenient[str] = None

    @property
    def node(self) -> str:
        """The name of the node, or its ID; raw, and empty where Together names none."""
        return self.target_vm or self.instance_id or ""

    def brief(self) -> "LinkedAlert":
        """Return it with few events, and without what counts: it stays the same while the same is wrong."""
        about = self.annotation
        if about is None or about.xid is None:
            return self
        events = [event.model_copy(update={"count": None}) for event in about.xid.events[:_BRIEF]]
        xid = about.xid.model_copy(update={"events": events})
        return self.model_copy(update={"annotation": about.model_copy(update={"xid": xid})})

    @property
    def names(self) -> set[str]:
        """The names by which an open remediation refers to it: its own ID, and those of its node."""
        return {name for name in (self.passive_health_check_alert_id, self.instance_id, self.target_vm) if name}

    @property
    def is_critical(self) -> bool:
        """Whether its severity isn't known to be mild: a new one, or none, counts as critical."""
        return self.severity not in MILD

    @property
    def key(self) -> str:
        """The same for the same alert, whenever it is listed."""
        return self.passive_health_check_alert_id or f"{self.alert_name} {self.node} {self.started_at}"

    @property
    def xids(self) -> list[str]:
        """Its Xid codes, in Together's order."""
        events = self.annotation.xid.events if self.annotation and self.annotation.xid else []
        return [event.xid_code for event in events if event.xid_code]

    @property
    def is_cleared_warning(self) -> bool:
        """Whether it was a warning, and is over."""
        return self.resolved_at is not None and self.severity in MILD

    def fault_in(self, kinds: set[tuple[str | None, str | None]]) -> str:
        """Return the fault that others are about too, raw; empty for none. Where both have Xids, they share one."""
        name, xids = self.alert_name, self.xids
        shared = next((code for code in xids if (name, code) in kinds), "")
        if not name or not (shared or (name, "" if xids else None) in kinds):
            return ""
        return f"Xid {shared}" if shared else (self.annotation and self.annotation.title) or name


class Remediation(ApiModel):
    """A remediation as Together answers it.

    Only its IDs and state can fail a parse; anything else that cannot be read counts as absent, as what waits must be
    announced. `mode`, `trigger` and `state` are texts, because the service adds values. `http_status`, `request_id`,
    and `answered_at` (Unix time, by Together's clock) are of the answer that it came in. `has_old_review` is the
    bot's own: before it ran, it was seen waiting or cancelled with the same review, which need not be an approval.
    """

    id: str
    cluster_id: str
    instance_id: str
    mode: OpenText = ""
    trigger: OpenText = ""
    state: str
    instance_name: Name = None
    reason: Lenient[str] = None
    requested_by: Lenient[str] = None
    create_time: Moment = None
    reviewed_by: Lenient[str] = None
    review_time: Moment = None
    review_comment: Lenient[str] = None
    start_time: Moment = None
    end_time: Moment = None
    update_time: Moment = None
    error_message: Lenient[str] = None
    linked_alerts: Annotated[Many[LinkedAlert], AfterValidator(_worst_first)] = []
    http_status: Lenient[int] = None
    answered_at: Lenient[float] = None
    request_id: Lenient[str] = None
    has_old_review: bool = False

    @cached_property
    def ref(self) -> RemediationRef:
        """The three IDs.

        Raises:
            InvalidId: Together answered with something that is no ID.
        """
        return RemediationRef(self.cluster_id, self.instance_id, self.id)

    @property
    def xid(self) -> str:
        """The first Xid code of its evidence; empty without any."""
        return next((code for alert in self.linked_alerts for code in alert.xids), "")

    @property
    def node(self) -> str:
        """The node's name, or its ID where it has none; raw."""
        return self.instance_name or self.instance_id

    def same_fault(self, other: "Remediation") -> tuple[str, LinkedAlert] | None:
        """Return the first fault that an alert of each is about, raw, with this one's alert."""
        kinds = other.kinds
        return next(((fault, mine) for mine in self.linked_alerts if (fault := mine.fault_in(kinds))), None)

    @property
    def kinds(self) -> set[tuple[str | None, str | None]]:
        """The names of its alerts, each with its Xid codes, with "" where it has none, and with None in any case."""
        # To compare thousands with thousands, each with each, would take minutes.
        return {(alert.alert_name, code) for alert in self.linked_alerts for code in (None, *(alert.xids or [""]))}

    @property
    def names(self) -> set[str]:
        """The names of what it is about: its node, and the alerts that led to it."""
        own = {self.instance_id, self.node}
        return own.union(*(alert.names for alert in self.linked_alerts))

    @property
    def can_be_watched(self) -> bool:
        """Whether it could be told that its fault is back: that is known, and the node wasn't removed."""
        return self.mode != Mode.EVICT_WITHOUT_REPLACEMENT and any(alert.alert_name for alert in self.linked_alerts)

    @property
    def is_warning(self) -> bool:
        """Whether all that is known of the fault is a warning."""
        severities = {alert.severity for alert in self.linked_alerts}
        return bool(severities) and severities <= MILD

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for approval."""
        return self.state == State.PENDING_APPROVAL

    @property
    def is_under_way(self) -> bool:
        """Whether it is being repaired, also in a state that this version doesn't know."""
        if self.is_waiting or self.state in FINAL:
            return False
        # A state of tomorrow may be an end, or follow one; an earlier incident's is older than this one's beginning.
        ended, last, began = self.end_time, self.update_time, self.under_way_since
        is_last = ended and last and abs(last - ended) <= _CLOCKS_DIFFER_BY
        is_of_this = ended and began and self.start_time and ended > began
        return self.state in IN_REPAIR or not (is_last or is_of_this)

    @property
    def is_reviewed(self) -> bool:
        """Whether somebody decided on this incident: a queued one may also have been made by hand."""
        opened = self.create_time
        reviewed = self.review_time
        is_earlier = self.is_waiting or (opened and reviewed and opened - reviewed > timedelta(minutes=1))
        own = OWN_COMMENT.fullmatch(self.review_comment or "")
        is_none = self.has_old_review or (self.state in BEGUN and own and own["done"] == "Rejected")
        return not is_earlier and not is_none and bool(self.reviewed_by or reviewed or self.review_comment)

    def seen_after(self, known: "Remediation") -> "Remediation":
        """Return it with whether it has begun with the review of before, which need not have been an approval."""
        is_same = (self.reviewed_by, self.review_comment) == (known.reviewed_by, known.review_comment)
        is_same &= abs(unix(self.review_time) - unix(known.review_time)) <= PRECISION  # a list may round it
        was_old = known.has_old_review or known.is_waiting or known.state in CALLED_OFF
        is_old = was_old and is_same and self.state not in CALLED_OFF and self.is_reviewed
        return self.model_copy(update={"has_old_review": True}) if is_old else self

    @property
    def reviewer(self) -> str:
        """Who decided on this incident, as Together's record names them, raw; empty where it doesn't."""
        return (self.is_reviewed and self.reviewed_by) or ""

    @property
    def slack_reviewer(self) -> str:
        """The Slack user ID of who decided on this incident, by the bot's comment in Together's record; else empty."""
        own = OWN_COMMENT.fullmatch(self.review_comment or "") if self.is_reviewed else None
        return own["user"] if own else ""

    @property
    def has_no_reviewer(self) -> bool:
        """Whether Together's record names no person who made or approved it.

        Its spelling of "auto-approved" isn't documented. In a person's comment the words may mean anything.
        """
        by, said = self.reviewed_by or "", self.review_comment or ""
        is_auto = _AUTO_APPROVED.search(by) if by else _AUTO_APPROVED.match(said)
        is_unreviewed = not (self.is_reviewed or self.has_old_review)
        return self.trigger == "REMEDIATION_TRIGGER_AUTOMATED" and (is_auto is not None or is_unreviewed)

    @property
    def is_automatic(self) -> bool:
        """Whether Together began it automatically."""
        return self.state in BEGUN and self.has_no_reviewer

    @property
    def is_approved_by_bot(self) -> bool:
        """Whether the review of this incident is an approval by this bot."""
        return bool(self.slack_reviewer) and (self.review_comment or "").partition("] ")[2].startswith("Approved")

    def is_called(self, text: str) -> bool:
        """Return whether a text is the whole name of its node, or one of its IDs."""
        return folded(text) in {folded(name) for name in (self.id, self.instance_id, self.node)}

    @property
    def node_names(self) -> list[str]:
        """Its node's name, also without its domain."""
        short = self.node.partition(".")[0]  # a number, where it is an address
        return [self.node] if short.isdecimal() else [self.node, short]

    def may_be_called(self, text: str) -> bool:
        """Return whether a text is one of its names, or its node's without its domain."""
        return self.is_called(text) or folded(text) in map(folded, self.node_names)

    def is_reviewed_with(self, token: str) -> bool:
        """Return whether Together's record is of one of this bot's decisions: its comment begins with that one's token.

        People's own words come after it, so nobody's reason can be taken for somebody else's decision.
        """
        return (self.review_comment or "").startswith(f"[{token}] ")

    @property
    def under_way_since(self) -> datetime | None:
        """When the repair started; until then when it was approved, or requested. None where Together doesn't say."""
        moments = [moment for moment in (self.create_time, self.review_time, self.start_time) if moment]
        return max(moments, default=None)

    @property
    def ended(self) -> datetime | None:
        """When it ended; None while Together's time is of an earlier incident: a state may show before it."""
        is_earlier = self.start_time and self.end_time and self.start_time - self.end_time > _CLOCKS_DIFFER_BY
        return self.end_time if self.state in FINAL and not is_earlier else None

    @property
    def ended_at(self) -> float:
        """When it ended, else last changed, else began, in Unix time in seconds; 0 where Together doesn't say."""
        return self.changed_at or unix(self.create_time)

    @property
    def changed_at(self) -> float:
        """When it ended, else last changed, in Unix time in seconds; 0 where Together doesn't say."""
        is_earlier = self.start_time and self.end_time and self.start_time - self.end_time > _CLOCKS_DIFFER_BY
        return unix((None if is_earlier else self.end_time) or self.update_time)

    @property
    def succeeded_at(self) -> float:
        """When it succeeded, in Unix time in seconds; 0 where it didn't, or Together doesn't say."""
        return self.changed_at if self.state == State.SUCCEEDED else 0.0

    @property
    def episode(self) -> str:
        """The remediation's own times: others after it has ended and come back."""
        return "|".join(str(moment) for moment in (self.create_time, self.review_time, self.start_time, self.end_time))

    @property
    def episode_key(self) -> str:
        """When this incident began, for a button."""
        return str(int(self.began_at))

    def is_of(self, episode_key: str) -> bool:
        """Return whether a button was about this incident, and not an earlier one under the same ID."""
        if not self.began_at or episode_key == "0":
            return True  # Together doesn't say
        return episode_key.isdecimal() and abs(int(episode_key) - int(self.began_at)) <= PRECISION

    @property
    def began_at(self) -> float:
        """When it began to wait, this time, as far as Together says; Unix time in seconds, else 0."""
        times = [self.create_time, self.end_time]
        if self.is_waiting:  # then they are of an earlier incident, unless the state is yet to follow
            latest = (self.answered_at or math.inf) - FOLLOWS_SECONDS
            times += [at for at in (self.review_time, self.start_time) if at and at.timestamp() <= latest]
        return max((moment.timestamp() for moment in times if moment), default=0.0)
