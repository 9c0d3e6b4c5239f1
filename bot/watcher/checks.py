"""What time alone says of a repair, so that Together is asked before it is told. Times are Unix times.

May it be stuck? Is the node back in its cluster? Has its fault stayed away?
"""

import math
from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from bot import alerts, cards
from bot.models import IN_REPAIR, Alert, Cluster, EventKind, Message, Mode, Remediation, RemediationRef, Snapshot
from bot.watcher.config import WatchConfig
from bot.watcher.threads import PendingReply

GATHERED_SECONDS = 600.0  # what is due in a digest is told together, at the next full ten minutes
BACK_SECONDS = 900.0  # within which a repaired node is to run again
# What is looked for so long after its moment says nothing of the repair any more.
LATE_BACK_SECONDS, LATE_SECONDS = 3600.0, 86_400.0
# Of what replaces the VM, neither its new ID nor its name is known before; and what is removed is not to come back.
_KEEP_THE_NODE = {Mode.REBOOT_VM, Mode.HOST_POWER_CYCLE}


class Check(Enum):
    """What is looked for, in this order: what can't be read keeps nothing waiting that can."""

    STUCK = "stuck"
    LASTS = "lasts"
    BACK = "back"

    def key(self, alert: Alert) -> str:
        """Return as what it is remembered that this was looked for."""
        key = f"{self.value} {alerts.episode_of(alert)}"
        return f"{key} {alert.remediation.under_way_since}" if self is Check.STUCK else key


# The cluster for nodes that are to be back; what is still under way, for what may be stuck; else a list of repairs.
Found = Cluster | Collection[RemediationRef] | Collection[Remediation]


class Due(NamedTuple):
    """A check that is yet to be made, and when."""

    check: Check
    alert: Alert
    at: float

    @property
    def place(self) -> tuple[Check, str]:
        """What is the same for those that one answer of Together's settles."""
        return self.check, self.alert.cluster_id


def missing_key(alert: Alert) -> str:
    """Return as what it is remembered that a node wasn't back in its cluster."""
    return f"missing {alerts.episode_of(alert)}"


def outstanding(snapshot: Snapshot, config: WatchConfig) -> Iterator[Due]:
    """Yield the checks that are yet to be made."""
    for alert in snapshot.alerts:
        is_sure = not (alert.is_waiting or alert.is_unlisted or alert.is_stale)
        for check, at in _moments(alert, config, snapshot.now).items() if is_sure else ():
            if at < math.inf and check.key(alert) not in snapshot.message.announced:
                gathered = math.ceil(at / GATHERED_SECONDS) * GATHERED_SECONDS
                yield Due(check, alert, gathered if snapshot.message.is_digest else at)


def _moments(alert: Alert, config: WatchConfig, now: float) -> dict[Check, float]:
    ended, watched = alert.remediation.succeeded_at, config.cards.verify_seconds
    if not ended or now > ended + watched + LATE_SECONDS or not watched:
        return {Check.STUCK: config.cards.stuck_at(alert.remediation)}
    moments = {Check.BACK: ended + BACK_SECONDS, Check.LASTS: ended + watched}
    is_out_of_date = now > ended + BACK_SECONDS + LATE_BACK_SECONDS
    if alert.came_back or is_out_of_date or alert.remediation.mode not in _KEEP_THE_NODE:
        del moments[Check.BACK]
    if alert.came_back or not alert.remediation.is_fault_known:
        del moments[Check.LASTS]
    return moments


def due(snapshot: Snapshot, config: WatchConfig) -> Sequence[Due]:
    """Return the checks that are to be made now, as far as one answer of Together's settles them."""
    now = sorted(
        (each for each in outstanding(snapshot, config) if each.at <= snapshot.now),
        key=lambda each: list(Check).index(each.check),
    )
    return [each for each in now if each.place == now[0].place]


def reply(made: Sequence[Due], found: Found, snapshot: Snapshot, config: WatchConfig) -> PendingReply | None:
    """Return what the thread is told after checks of one place; None where there is nothing to tell."""
    some, cluster_id = [each.alert for each in made], snapshot.message.cluster_id
    keys = {each.check.key(each.alert) for each in made}
    if isinstance(found, Cluster):
        missing = [each for each in some if not _is_back(each.remediation, found)]
        said = cards.not_back(missing, config.on_call(missing, cluster_id), snapshot.now)
        keys |= {missing_key(each) for each in missing}
        return _reply(said, keys, EventKind.NOT_BACK, missing) if missing else None
    if made[0].check is Check.LASTS:
        well = [each for each in some if missing_key(each) not in snapshot.message.announced]
        said = cards.lasted_repairs([each.remediation for each in well], config.cards.verify_seconds)
        return _reply(said, keys, EventKind.LASTED, well) if well else None
    slow = [each for each in some if each.ref in found]
    repairs, has_card = [each.remediation for each in slow], not snapshot.message.is_digest
    said = cards.stuck(repairs, config.on_call(slow, cluster_id), snapshot.now, has_card=has_card)
    return _reply(said, {Check.STUCK.key(each) for each in slow}, EventKind.STUCK, slow)


def _reply(said: Message, keys: Collection[str], event: EventKind, some: Sequence[Alert]) -> PendingReply:
    refs = tuple(each.ref for each in some)
    return PendingReply(said, frozenset(keys), broadcast=event is not EventKind.LASTED, event=event, about=refs)


def _is_back(one: Remediation, cluster: Cluster) -> bool:
    """Return whether a node runs again, or Together's answer doesn't say that it doesn't."""
    nodes = [each for each in cluster.gpu_worker_nodes or () if each]
    own = [each for each in nodes if each.is_of(one)]
    if not own:
        return not any(each.instance_id for each in nodes)  # which is optional in that answer
    latest = [each.latest_remediation for each in own if each.latest_remediation]
    is_in_repair_again = any(each.id != one.id and each.state in IN_REPAIR for each in latest)
    return is_in_repair_again or any(each.is_running for each in own)
