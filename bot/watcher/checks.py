"""What time alone says of a repair, so that Together is asked before it is told. Times are Unix times.

May it be stuck? Is the node back in its cluster? Has its fault stayed away?
"""

import math
from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from bot import alerts, cards
from bot.models import Alert, Cluster, EventKind, Message, Mode, RemediationRef, Snapshot
from bot.watcher.config import WatchConfig
from bot.watcher.threads import PendingReply

GATHERED_SECONDS = 600.0  # what is due in a digest is told together, at the next full ten minutes
BACK_SECONDS = 900.0  # within which a repaired node is to run again
LATE_SECONDS = 86_400.0  # what is looked for later than that says nothing any more


class Check(Enum):
    """What is looked for."""

    STUCK = "stuck"
    BACK = "back"
    LASTS = "lasts"

    def key(self, alert: Alert) -> str:
        """Return as what it is remembered that this was looked for."""
        key = f"{self.value} {alerts.episode_of(alert)}"
        return f"{key} {alert.remediation.under_way_since}" if self is Check.STUCK else key


class Due(NamedTuple):
    """A check that is yet to be made, and when."""

    check: Check
    alert: Alert
    at: float

    @property
    def place(self) -> tuple[Check, str]:
        """What is the same for those that one answer of Together's settles."""
        return self.check, self.alert.remediation.cluster_id


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
    if alert.remediation.mode == Mode.EVICT_WITHOUT_REPLACEMENT:
        del moments[Check.BACK]  # it never comes back
    if alert.came_back:
        del moments[Check.LASTS]
    return moments


def due(snapshot: Snapshot, config: WatchConfig) -> Sequence[Due]:
    """Return the checks that are to be made now, as far as one answer of Together's settles them."""
    now = [each for each in outstanding(snapshot, config) if each.at <= snapshot.now]
    return [each for each in now if each.place == now[0].place]


def reply(
    made: Sequence[Due], found: Cluster | Collection[RemediationRef], snapshot: Snapshot, config: WatchConfig
) -> PendingReply | None:
    """Return what the thread is told after checks; None where there is nothing to tell.

    Args:
        made: checks of one place.
        found: the cluster for nodes that are to be back; for what may be stuck, what is still under way.
    """
    some, cluster_id = [each.alert for each in made], snapshot.message.cluster_id
    keys = {each.check.key(each.alert) for each in made}
    if isinstance(found, Cluster):
        missing = [each for each in some if not _is_back(each, found)]
        said = cards.not_back(missing, config.on_call(missing, cluster_id))
        keys |= {missing_key(each) for each in missing}
        return _reply(said, keys, EventKind.NOT_BACK, missing) if missing else None
    if made[0].check is Check.LASTS:
        said = cards.lasted_repairs([each.remediation for each in some], config.cards.verify_seconds)
        return _reply(said, keys, EventKind.LASTED, some)
    slow = [each for each in some if each.remediation.ref in found]
    repairs, has_card = [each.remediation for each in slow], not snapshot.message.is_digest
    said = cards.stuck(repairs, config.on_call(slow, cluster_id), snapshot.now, has_card=has_card)
    return _reply(said, {Check.STUCK.key(each) for each in slow}, EventKind.STUCK, slow)


def _reply(said: Message, keys: Collection[str], event: EventKind, some: Sequence[Alert]) -> PendingReply:
    refs = tuple(each.remediation.ref for each in some)
    return PendingReply(said, frozenset(keys), broadcast=event is not EventKind.LASTED, event=event, about=refs)


def _is_back(alert: Alert, cluster: Cluster) -> bool:
    """Return whether a node runs again, as far as Together's list says.

    A VM that was replaced has another ID, and perhaps another name: then as many nodes run as when its alert came.
    """
    one, running = alert.remediation, [each for each in cluster.gpu_worker_nodes or () if each.is_running]
    if cluster.gpu_worker_nodes is None or any(each.is_of(one) for each in running):
        return True
    before = alert.share.nodes if alert.share else None
    is_replaced = one.mode not in {Mode.REBOOT_VM, Mode.HOST_POWER_CYCLE}
    return is_replaced and (before is None or len(running) >= before)
