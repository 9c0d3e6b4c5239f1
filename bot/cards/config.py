"""The settings of cards, and when two people must approve."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import quote

from bot.cards import labels
from bot.daily import DailyTime
from bot.formats import placeholders
from bot.models import (
    IN_REPAIR,
    NEXT_STEP,
    OVERRIDES,
    FirstApproval,
    History,
    Remediation,
    RemediationRef,
    RepairLimit,
    State,
    Verb,
)

MAX_URL = 3000  # of a button (docs.slack.dev, button element)


@dataclass(frozen=True, slots=True)
class TwoPeople:
    """When two different people must approve.

    Attributes:
        modes: the modes of which each approval takes two.
        repairs: after this many of a node within `seconds`, the next one takes two; 0 for never.
    """

    modes: frozenset[str] = frozenset()
    repairs: int = 0
    seconds: float = 0.0

    def is_too_often(self, repairs: int) -> bool:
        """Return whether a node has had too many repairs for one person to approve the next one."""
        return 0 < self.repairs <= repairs


@dataclass(frozen=True, slots=True)
class CardConfig:
    """What cards are set to.

    Attributes:
        console_url: template of the link to Together's console; empty for none.
        runbook_url: template of the link "Runbook"; empty for none.
        asks_reason: the verbs whose button asks for a reason first.
        limit: how many nodes of a cluster may be in repair at once.
        two_people: when two different people must approve.
        waits: minutes that clusters wait after an approval before they drain a busy node; "*" for all others.
        stuck_minutes: how long after its wait a repair that hasn't ended may be stuck; 0 for never.
        verify_seconds: how long after its end a repair answers for its fault coming back; 0 for never.
        observed: the clusters in which the bot decides nothing, with their case folded; "*" for all.
        summary: when a shift is summed up in the alert channels; None for never.
        has_break_glass: some people may approve alone, over the two-person rule and the repair limit.
        workspace_url: where the workspace's messages are linked to; empty where that isn't known.
    """

    console_url: str = ""
    runbook_url: str = ""
    asks_reason: Collection[Verb] = frozenset()
    workspace_url: str = ""
    limit: RepairLimit = field(default_factory=RepairLimit)
    two_people: TwoPeople = field(default_factory=TwoPeople)
    waits: Mapping[str, int] = field(default_factory=dict)
    stuck_minutes: int = 0
    verify_seconds: float = 0.0
    observed: frozenset[str] = frozenset()
    summary: DailyTime | None = None
    has_break_glass: bool = False

    def observes(self, cluster_id: str) -> bool:
        """Return whether the bot decides nothing in a cluster."""
        # Whether Together tells apart IDs that differ in case isn't documented, and anybody may type one.
        return not self.observed.isdisjoint({cluster_id.casefold(), "*"})

    def wait_of(self, cluster_id: str) -> int | None:
        """Return how many minutes a cluster waits before it drains a busy node; None where that isn't known."""
        return self.waits.get(cluster_id, self.waits.get("*"))

    def stuck_at(self, remediation: Remediation) -> float:
        """Return from when on a repair under way may be stuck, in Unix time; infinity where it never is."""
        is_unknown = remediation.state not in set(State)
        is_at_work = remediation.is_under_way if is_unknown else remediation.state in IN_REPAIR
        if not (self.stuck_minutes and is_at_work and (since := remediation.under_way_since)):
            return math.inf
        wait = self.wait_of(remediation.cluster_id)
        return since.timestamp() + 60.0 * (self.stuck_minutes + (labels.USUAL_WAIT if wait is None else wait))

    def permalink(self, channel_id: str, ts: str) -> str:
        """Return the link to a message (docs.slack.dev, chat.getPermalink); empty where the workspace isn't known."""
        return f"{self.workspace_url}archives/{channel_id}/p{ts.replace('.', '')}" if self.workspace_url else ""

    def needs_two(self, mode: str, history: History | None) -> bool:
        """Return whether two people must approve a repair of a node, by what was known when its alert came."""
        return mode in self.two_people.modes or self.two_people.is_too_often(history.lately if history else 0)

    def may_need_two(self, mode: str) -> bool:
        """Return whether two people may have to approve a repair, however often its node was repaired."""
        return mode in self.two_people.modes or self.two_people.repairs > 0

    def is_half_approved(self, remediation: Remediation, first: FirstApproval) -> bool:
        """Return whether one of two people has approved a repair; not where a restart has ended that rule since."""
        is_observed = self.observes(remediation.cluster_id)
        return first.counts_for(remediation) and self.may_need_two(first.mode) and not is_observed

    def other_modes(self, suggested: str, history: History | None = None) -> Sequence[str]:
        """Return the modes that one person may approve in place of the suggested one, Together's next step first."""
        if not suggested or self.needs_two(suggested, history):
            return []
        others = [mode for mode in OVERRIDES if mode != suggested and mode not in self.two_people.modes]
        return sorted(others, key=lambda mode: mode != NEXT_STEP.get(suggested))


UNSET = CardConfig()


def link(template: str, of: Remediation | RemediationRef) -> str:
    """Return a link with what its placeholders stand for; empty for none, or one longer than Slack takes.

    Of a remediation that wasn't read, only the IDs are known: a template that needs more gives no link then.
    """
    if "{" not in template:
        return template
    values = asdict(of if isinstance(of, RemediationRef) else of.ref)
    if isinstance(of, Remediation):
        values |= {"mode": of.mode.removeprefix("REMEDIATION_MODE_"), "xid": of.xid, "node": of.node}
    elif not set(placeholders(template)) <= values.keys():
        return ""
    url = template.format_map({name: quote(value, safe="", errors="replace") for name, value in values.items()})
    return url if len(url) <= MAX_URL else ""
