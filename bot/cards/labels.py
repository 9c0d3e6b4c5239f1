"""What states, modes, and faults are called, and what a mode does to the node."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count

from bot.models import CardContext, ClusterNames, LinkedAlert, Mode, Remediation, RepairLoad, State
from bot.mrkdwn import ago, clean, clock_time, escape, lasted, plain_when, when

RULES_PASSED = "the two-person rule or the repair limit"  # by who approves alone
OBSERVED = "The bot only observes this cluster: decide in Together."
UNCONFIRMED = "Somebody has decided; the result isn't confirmed yet."
IF_STUCK = "Check the node in Together. “Copy for Together support” is in the card's menu."
_LOSE = "lose work since their last checkpoint"
USUAL_WAIT = 30  # minutes, where a cluster's wait was never set in Together (docs.together.ai, "Node repair")
_UNSET = f"the cluster's wait ({USUAL_WAIT} min unless set)"
COOLDOWN = "Together won't suggest another repair for about 30 minutes."
MAX_ALERTS = 3
_FRESH_SECONDS = 600.0  # within which a load isn't old
MAX_XIDS = 4
_NAME, _PART, _SHOWN = 40, 8, 58  # characters of a name, of the ID behind it that tells it apart, and of both
# Before what is repaired.
_IN_A_WORD: dict[str, str] = {State.RUNNING: "For", State.SUCCEEDED: "Was", State.AUTO_RESOLVED: "Was"}
_FILLER = {
    "a", "an", "and", "at", "by", "for", "has", "in", "is", "of", "on", "seen", "the", "time", "times", "was", "with",
    "x",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModeLabels:
    """How a mode is spoken of; `{}` in a phrase is the node.

    Attributes:
        name: as Together's console has it.
        noun: as in "approve reboot".
        do: an order, such as "reboot {}".
        doing: in progress.
        done: finished.
        effect: what it does to the node.
        result: what it did.
        confirm: the button that starts it in the dialog; at most 30 characters.
        is_destructive: it deletes the node's local data.
    """

    name: str
    noun: str
    do: str
    doing: str
    done: str
    effect: str
    result: str
    confirm: str
    is_destructive: bool = False


# Names and what survives: docs.together.ai, "Node repair". VM_ONLY's host is "any available" in the API reference and
# "the same" on that page, and what a power cycle keeps isn't documented, so neither is said.
MODES: Mapping[str, ModeLabels] = {
    Mode.VM_ONLY: ModeLabels(
        name="Quick reprovision",
        noun="quick reprovision",
        do="reprovision {}",
        doing="Reprovisioning {}",
        done="Reprovisioned {}",
        effect="Replaces the VM: all local data of the node is deleted.",
        result="The VM was replaced, and its local data deleted.",
        confirm="Delete data, reprovision",
        is_destructive=True,
    ),
    Mode.HOST_AWARE: ModeLabels(
        name="Migrate to new host",
        noun="migration",
        do="migrate {} to a new host",
        doing="Migrating {} to a new host",
        done="Migrated {} to a new host",
        effect="Cordons the host and replaces the VM on another: all local data is deleted.",
        result="The VM was replaced on another host, and its local data deleted.",
        confirm="Delete data, migrate",
        is_destructive=True,
    ),
    Mode.EVICT_WITHOUT_REPLACEMENT: ModeLabels(
        name="Remove",
        noun="removal",
        do="remove {} (no replacement)",
        doing="Removing {}",
        done="Removed {}",
        effect="Removes the node and its local data without a replacement.",
        result="The node was removed without a replacement. The cluster is one node smaller.",
        confirm="Remove, no replacement",
        is_destructive=True,
    ),
    Mode.REBOOT_VM: ModeLabels(
        name="Reboot",
        noun="reboot",
        do="reboot {}",
        doing="Rebooting {}",
        done="Rebooted {}",
        effect="Reboots the VM. It keeps /scratch and /tmp.",
        result="",
        confirm="Approve reboot",
    ),
    Mode.HOST_POWER_CYCLE: ModeLabels(
        name="Power cycle",
        noun="power cycle",
        do="power-cycle the host of {}",
        doing="Power-cycling the host of {}",
        done="Power-cycled the host of {}",
        effect="Cordons and power-cycles the host: running jobs end. The node keeps its name and ID.",
        result="The node kept its name and ID.",
        confirm="Approve power cycle",
    ),
}

STATES: Mapping[str, tuple[str, str]] = {
    State.PENDING_APPROVAL: ("Waiting for approval", "⏳"),
    State.PENDING: ("Queued", "🕓"),
    State.QUARANTINING: ("Cordoning the host", "🚧"),
    State.QUARANTINED: ("Host cordoned", "🚧"),
    State.RUNNING: ("Running", "🔧"),
    State.SUCCEEDED: ("Succeeded", "✅"),
    State.FAILED: ("Failed", "❌"),
    State.CANCELLED: ("Cancelled", "🚫"),
    State.AUTO_RESOLVED: ("Resolved on its own", "💤"),
}
WITHDRAWN = "No longer listed", "💨"

TRIGGERS: Mapping[str, str] = {
    "REMEDIATION_TRIGGER_AUTOMATED": "automatic",
    "REMEDIATION_TRIGGER_MANUAL": "manual",
}

SEVERITIES: Mapping[str, str] = {
    "PHC_SEVERITY_CRITICAL": "Critical",
    "PHC_SEVERITY_WARNING": "Warning",
    "PHC_SEVERITY_INFO": "Info",
}


def still_unconfirmed(notice: str, looked_at: float) -> str:
    """Return what is said of a decision in doubt, with when somebody looked last; times in Unix time."""
    return f"{notice or UNCONFIRMED} Checked at {clock_time(looked_at)}: no change yet. Check again in 2 min."


def drain(wait: int | None, node: str = "it") -> str:
    """Return what becomes of a node's jobs after an approval.

    Args:
        wait: how many minutes its cluster waits before it drains a busy node; None where that isn't known.
    """
    if wait == 0:
        return f"Once approved, {node} is drained at once: running jobs {_LOSE}."
    limit = _UNSET if wait is None else lasted(wait * 60)
    return f"Once approved, {node} takes no new jobs and drains when idle, or after {limit}: jobs then {_LOSE}."


def draining(wait: int | None, since: datetime, *, is_automatic: bool) -> str:
    """Return what becomes of the jobs of a node whose repair was approved at a moment, or began automatically."""
    if wait == 0:
        return f"The node is drained at once: running jobs {_LOSE}."
    # A cluster that repairs automatically doesn't wait at all unless it's set.
    unset = f"the cluster's wait ({USUAL_WAIT} min or none unless set)" if is_automatic else _UNSET
    limit = f"after {unset}"
    if wait is not None:
        limit = f"once the cluster's wait is over ({when(since + timedelta(minutes=wait))})"
    return f"The node takes no new jobs. It drains when idle, or {limit}."


def stuck(since: datetime, *, has_card: bool) -> str:
    """Return that a repair which has been under way since a moment may be stuck."""
    return f"May be stuck: under way since {when(since)}. {IF_STUCK if has_card else 'Check the node in Together.'}"


def load(share: RepairLoad, about: CardContext, own: int = 1, tell: Callable[[float], str] = when) -> str:
    """Return how much of a cluster is in repair, and how many nodes wait beside the `own` ones that this is about.

    Args:
        about: says whether that is confirmed; if it isn't, and is old, the result says as of when it is.
        tell: returns a moment in words, as it is written here.
    """
    of = f"{share.in_repair} of {share.nodes}" if share.nodes else f"{share.in_repair}"
    nodes = "node" if (share.nodes or share.in_repair) == 1 else "nodes"
    more = f", {share.waiting - own} more waiting" if share.waiting > own else ""
    is_old = about.as_of and about.now - share.at > _FRESH_SECONDS  # else each list confirms it
    return f"{of} {nodes} in repair{more}{f' (as of {tell(share.at)})' if is_old else ''}"


def cluster(remediation: Remediation, share: RepairLoad | None) -> str:
    """Return what a remediation's cluster is called, raw: by its ID where nothing says."""
    return (share.cluster if share else "") or remediation.cluster_id


def clusters(names: Mapping[str, str]) -> ClusterNames:
    """Return what clusters are called: by name, where several look the same, with part of its ID."""
    called = ClusterNames(names)
    alike: dict[str, list[str]] = {}
    for cluster_id, name in called.items():
        alike.setdefault(clean(name, _NAME).casefold(), []).append(cluster_id)
    for ids in alike.values():
        size = next(size for size in count(_PART) if len({cluster_id[:size] for cluster_id in ids}) == len(ids))
        for cluster_id in ids if len(ids) > 1 else ():
            name = clean(called[cluster_id], max(_NAME // 2, _SHOWN - size))
            called[cluster_id] = f"{name} {cluster_id[:size]}{'…' if len(cluster_id) > size else ''}".strip()
    return called


def stayed_away(seconds: float) -> str:
    """Return that the fault of a repaired node has stayed away."""
    return f"Lasted {lasted(seconds)}: Together suggested no other repair for this fault."


def deletes_data(value: str) -> bool:
    """Return whether a mode deletes the node's local data; an unknown one may."""
    return mode(value).is_destructive or value not in set(Mode)


def mode(value: str) -> ModeLabels:
    """Return what a mode is called; an unknown one is called what it is, with a warning for its effect."""
    if known := MODES.get(value):
        return known
    name = clean(value.removeprefix("REMEDIATION_MODE_"), 60) or "unknown repair"
    spoken = name.replace("{", "(").replace("}", ")")
    unknown = "Together doesn't say which repair this is."
    if value:
        unknown = "The bot doesn't recognize this repair type. Check Together's docs before approving."
    return ModeLabels(
        name=name,
        noun=name,
        do=f"run {spoken} on {{}}",
        doing=f"Running {spoken} on {{}}",
        done=f"Ran {spoken} on {{}}",
        effect=unknown,
        result="",
        confirm="Approve",
    )


def state(value: str, *, reviewed: bool = False) -> tuple[str, str]:
    """Return what a state is called, and its symbol.

    Args:
        reviewed: whether somebody approved it: a queued one may also have been requested by hand.
    """
    if value == State.PENDING and reviewed:
        return "Approved, queued", STATES[value][1]
    return STATES.get(value) or (f"State {clean(value, 60) or 'unknown'}", "❔")


def reviewed_by(remediation: Remediation) -> str:
    """Return who decided on it as Together's record says, such as "by eve in Together"; empty where it doesn't."""
    if user_id := remediation.slack_reviewer:
        return f"by <@{user_id}>"
    if remediation.reviewer and remediation.has_no_reviewer:
        return "automatically"
    return f"by {escape(remediation.reviewer, 100)} in Together" if remediation.reviewer else ""


def as_of(moment: float, problem: str = "read it from Together") -> str:
    """Return the warning that what is shown may be out of date; `moment` in Unix time."""
    return f"Last confirmed {when(moment)}. Can't {problem} now."


def ordinal(number: int) -> str:
    """Return a number's place in a row: "2nd", "11th"."""
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in {11, 12, 13} else "th"
    return f"{number}{suffix}"


def fault(remediation: Remediation, limit: int = 80, *, is_brief: bool = False) -> str:
    """Return what is broken in a few raw words, the same for the same fault; empty where nothing says."""
    alert = next(iter(remediation.linked_alerts), None)
    if alert is None:
        return clean(remediation.reason or "", limit)
    words = _what(alert, counts=False)
    return _joined(words[:1] if is_brief else words, limit)


@lru_cache(200)  # in a storm it's the same a thousand times
def _joined(words: Sequence[str], limit: int) -> str:
    return clean(", ".join(words), limit)


def common_fault(alerts: Iterable[LinkedAlert]) -> str:
    """Return what alerts have in common, escaped; empty where they are about different faults."""
    faults = {", ".join(_what(alert, counts=False)) for alert in alerts}
    return escape(faults.pop(), 80) if len(faults) == 1 else ""


def most_common_fault(remediations: Iterable[Remediation], alerts: Iterable[LinkedAlert] = ()) -> tuple[str, int]:
    """Return what most of these are about, raw, and how many; empty and 0 where nothing says.

    Args:
        alerts: those of nodes without a remediation.
    """
    counted = Counter(words for remediation in remediations if (words := fault(remediation, is_brief=True)))
    nodes = {(_joined(_what(alert, counts=False)[:1], 80), alert.node) for alert in alerts}
    counted.update(words for words, _ in nodes)
    return next(iter(counted.most_common(1)), ("", 0))


def broken(remediation: Remediation) -> tuple[list[str], list[str]]:
    """Return what is broken, with one alert in a line, and the lines of further alerts.

    A warning that has cleared doesn't count while another alert fires. While it is repaired, one line says what is
    broken, and afterward what it was, and that it cleared where that is known.
    """
    error = remediation.error_message if remediation.state == State.FAILED else ""
    shown = [f"Error: “{escape(error, 600)}”"] if error else []
    if remediation.linked_alerts and (word := _IN_A_WORD.get(remediation.state)):
        cleared_at = remediation.linked_alerts[0].resolved_at  # none fires then: one that does would be first
        cleared = f", cleared {ago(cleared_at)}" if cleared_at and remediation.state != State.RUNNING else ""
        return [*shown, f"{word}: {escape(fault(remediation, 400), 400)}{cleared}"], []
    fires = any(alert.resolved_at is None for alert in remediation.linked_alerts)
    alerts = [alert for alert in remediation.linked_alerts if not (fires and alert.is_cleared_warning)]
    lines = [_evidence(alert) for alert in alerts[:MAX_ALERTS]]
    if (left := len(alerts) - MAX_ALERTS) > 0:
        lines.append(f"…and {more_alerts(left)}")
    if lines:
        shown.append(f"{lines[0]} · {more_alerts(len(alerts) - 1)}" if len(alerts) > 1 else lines[0])
    if remediation.reason and not _repeats(remediation):
        shown.append(f"Reason: “{escape(remediation.reason, 400)}”")
    return shown, lines[1:]


def more_alerts(count: int) -> str:
    """Return how many alerts are not shown."""
    return f"{count} more alert{'s' if count > 1 else ''}"


def _evidence(alert: LinkedAlert) -> str:
    """Return an alert in a line: severity, what is wrong, since when."""
    if alert.resolved_at:
        span = f"cleared {ago(alert.resolved_at)}"
    else:
        span = f"started {ago(alert.started_at)}" if alert.started_at else "still firing"
    return f"{severity_and_fault(alert)}, {span}"


def severity_and_fault(alert: LinkedAlert) -> str:
    """Return how bad an alert is, and what is wrong; escaped."""
    severity = SEVERITIES.get(alert.severity or "", escape(alert.severity or "Alert", 30))
    return f"{severity}: {escape(alert_line(alert), 400)}"


def plain_alerts(remediation: Remediation) -> Iterator[str]:
    """Yield each alert in a raw line with its times, for those who look for it elsewhere."""
    for alert in remediation.linked_alerts:
        moments = (("from", alert.started_at), ("to", alert.resolved_at))
        times = "".join(f" {word} {plain_when(moment)}" for word, moment in moments if moment)
        name, severity = alert.alert_name or "without a name", alert.severity or "no severity"
        yield f"{name} ({severity}){times}: {alert_line(alert)}"


def alert_line(alert: LinkedAlert) -> str:
    """Return what an alert says is wrong, raw, on one line."""
    return ", ".join(_what(alert))


def _what(alert: LinkedAlert, *, counts: bool = True) -> Sequence[str]:
    """Return what an alert says is wrong, raw: Xid codes, its title, why the node was drained."""
    about = alert.annotation
    xids = [
        (event.xid_code or "?", event.mnemonic or "", (counts and event.count) or 0)
        for event in (about.xid.events if about and about.xid else ())
    ]
    drained = about.slurm_node_unavailable if about else None
    return _told((about and about.title) or alert.alert_name, tuple(xids), drained and drained.reason)


@lru_cache(200)
def _told(name: str | None, xids: Sequence[tuple[str, str, int]], drained: str | None) -> Sequence[str]:
    title = clean(name or "Unnamed alert", 120)
    words = [_xid(code, mnemonic, title, count) for code, mnemonic, count in xids[:MAX_XIDS]]
    words += [f"{len(xids) - MAX_XIDS} more Xids"] if len(xids) > MAX_XIDS else []
    return *words, title, *([clean(f"drained: {drained}", 120)] if drained else [])


def _xid(code: str, mnemonic: str, title: str, count: int) -> str:
    meaning = f" {mnemonic}" if _tokens(mnemonic) - _tokens(title) else ""
    return clean(f"Xid {code}{meaning}{f' ×{count}' if count > 1 else ''}", 80)


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def _repeats(remediation: Remediation) -> bool:
    """Return whether the reason says no more than the evidence."""
    known = _tokens(" ".join(" ".join(_what(alert)) for alert in remediation.linked_alerts).replace("×", " "))
    return bool(known) and _tokens((remediation.reason or "")[:2000]) <= known | _FILLER
