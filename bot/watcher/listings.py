"""What a list of Together's says, sorted by what it means to the watch."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from bot.errors import InvalidId, TogetherError
from bot.logs import lasting
from bot.models import Alert, LinkedAlert, Remediation, RemediationRef, State
from bot.models.remediation import MILD

logger = logging.getLogger(__name__)

CLUSTER_LIST = ""  # the list of clusters, in place of a cluster's ID
_NAMES = "passive_health_check_alert_id", "instance_id", "target_vm"  # of an alert
Raw = Mapping[str, Any] | Remediation


@dataclass(slots=True)
class UnderRepair:
    """What open remediations are about, by the IDs and names of nodes and alerts.

    Attributes:
        warned: what those are about that wait, and are for warnings alone.
    """

    names: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)

    def has(self, alert: LinkedAlert) -> bool:
        """Return whether a repair is open for an alert. One that waits for a warning isn't for a critical one."""
        return not alert.names.isdisjoint(self.names) if alert.is_critical else self.has_node(alert)

    def has_node(self, alert: LinkedAlert) -> bool:
        """Return whether a repair is open on its node, for this alert or another."""
        return not (alert.names.isdisjoint(self.names) and alert.names.isdisjoint(self.warned))

    def add(self, item: Mapping[str, Any]) -> None:
        """Add an open remediation, as it is listed."""
        linked = item.get("linked_alerts")
        alerts = [alert for alert in linked if isinstance(alert, Mapping)] if isinstance(linked, list) else []
        named = [(item, ("instance_id", "instance_name")), *((alert, _NAMES) for alert in alerts)]
        is_warning = bool(alerts) and all(str(alert.get("severity")) in MILD for alert in alerts)
        names = self.warned if is_warning and item["state"] == State.PENDING_APPROVAL else self.names
        names.update(str(of[name]) for of, keys in named for name in keys if isinstance(of.get(name), str | int))


@dataclass(slots=True)
class Listing:
    """What there is in a cluster now, or why that can't be read; or what became of one that no list has.

    Attributes:
        cluster_id: `CLUSTER_LIST` for the list of clusters itself.
        asked_at: when Together was asked, on this process's monotonic clock.
        sequence: the audit trail's last row before that.
        error: why nothing, or not all of it, could be read.
        is_gone: Together has deleted the cluster: nothing was read.
        new: what waits for approval and isn't tracked.
        changed: what is tracked and isn't what was seen last; None for what Together knows no longer.
        started_elsewhere: what others have begun, in the middle of its work, as it is listed.
        unconfirmed: what is tracked and isn't in it, or is in doubt: each is read alone, for a separate listing.
        in_repair: the instances in repair.
        waiting: the instances with a repair that waits for approval.
        under_repair: the nodes and alerts that open remediations are about.
        is_watched: whether what is new in it gets announced; otherwise it is read only for what was announced before.
        alone: what was read alone, and so is later than any list; None for a list, which may lag behind.
        read_at: when Together had answered, on the same clock as `asked_at`.
    """

    cluster_id: str
    asked_at: float
    sequence: int
    error: TogetherError | None = None
    is_gone: bool = False
    new: dict[RemediationRef, Alert] = field(default_factory=dict)
    changed: dict[RemediationRef, Alert | None] = field(default_factory=dict)
    started_elsewhere: dict[RemediationRef, Raw] = field(default_factory=dict)
    unconfirmed: set[RemediationRef] = field(default_factory=set)
    in_repair: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    under_repair: UnderRepair = field(default_factory=UnderRepair)
    is_watched: bool = True
    alone: RemediationRef | None = None
    read_at: float = 0.0


def reference_of(item: object, cluster_id: str) -> RemediationRef | None:
    """Return which remediation of the cluster an item of its list is; None where it isn't one."""
    if not isinstance(item, Mapping) or not isinstance(item.get("state"), str):
        return None
    try:
        ref = RemediationRef(str(item.get("cluster_id")), str(item.get("instance_id")), str(item.get("id")))
    except InvalidId as error:
        logger.warning("An item in the list of %s can't be read: %s", cluster_id, error, extra=lasting())
        return None
    return ref if ref.cluster_id == cluster_id else None


def alert_of(ref: RemediationRef, item: Raw, fingerprint: str = "") -> Alert | None:
    """Read what was listed; None where it can't be."""
    try:
        return Alert(Remediation.model_validate(item), fingerprint or fingerprint_of(item))
    except ValidationError:
        logger.warning("%s in the list of its cluster can't be read", ref, extra=lasting())
        return None


def fingerprint_of(item: Raw) -> str:
    """Return the same for the same words of Together's, read the same way: in a list, or alone."""
    without = {"http_status", "request_id", "answered_at", "has_old_review"}
    words = item.model_dump_json(exclude=without) if isinstance(item, Remediation) else json.dumps(item)
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
