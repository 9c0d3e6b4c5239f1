"""What a card says beyond the remediation: the node's history, and how much of the cluster is in repair."""

import logging
from datetime import UTC, datetime

from bot.clock import Clock
from bot.errors import TogetherError
from bot.models import HISTORY_DAYS, History, Remediation, RemediationRef, Share, State
from bot.together import TogetherClient
from bot.watcher.poller import Poller

logger = logging.getLogger(__name__)

HISTORY_SECONDS = 3.0  # for a nicety of the card, on which other cards wait
_DAY = 86_400.0
_REPAIRED = {State.SUCCEEDED, State.FAILED}


class Enricher:
    """Knows nodes and clusters.

    Args:
        together: lists what a node went through.
        poller: has read how many nodes each cluster has.
        clock: the present.

    Attributes:
        in_repair: how many nodes of a cluster are in repair, as far as it was read.
    """

    def __init__(self, together: TogetherClient, poller: Poller, clock: Clock) -> None:
        self._together = together
        self._poller = poller
        self._clock = clock
        self.in_repair: dict[str, int] = {}

    def share(self, cluster_id: str) -> Share | None:
        """Return how much of a cluster is in repair, as far as it was read."""
        in_repair = self.in_repair.get(cluster_id)
        if in_repair is None:
            return None
        cluster = self._poller.clusters.get(cluster_id)
        name, nodes = (cluster.cluster_name or "", cluster.nodes) if cluster else ("", None)
        return Share(in_repair, nodes, self._clock.now(), name)

    async def history(self, ref: RemediationRef) -> History | None:
        """Return what a node went through in the last days: one list, when its alert is first posted."""
        try:
            async with self._clock.timeout(HISTORY_SECONDS):
                all_of_it = await self._together.list_remediations(ref.cluster_id, ref.instance_id)
        except (TogetherError, TimeoutError) as error:
            logger.warning("%s: can't read the node's history: %s", ref, type(error).__name__)
            return None
        oldest = datetime.fromtimestamp(self._clock.now() - HISTORY_DAYS * _DAY, UTC)
        ended = [each for each in all_of_it if each.state in _REPAIRED and each.id != ref.remediation_id]
        recent = sorted((each for each in ended if _ended(each) >= oldest), key=_ended)
        if not recent:
            return History(0)
        last = recent[-1]
        return History(len(recent), last.mode, last.state, _ended(last).timestamp())


def _ended(remediation: Remediation) -> datetime:
    moment = remediation.end_time or remediation.update_time or remediation.create_time
    if moment is None:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
