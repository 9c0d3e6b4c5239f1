"""What is tracked, cached in memory: filled from the store, which is right, when the watch begins."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from bot.models import RemediationRef


class TrackedIndex:
    """The tracked remediations, with the fingerprint of what was last seen of each, and when that was confirmed.

    A list confirms a whole cluster, except for what isn't listed: that is read alone.
    """

    def __init__(self) -> None:
        self._fingerprints: defaultdict[str, dict[RemediationRef, str]] = defaultdict(dict)  # by cluster
        self._confirmed: dict[str, float] = {}
        self._missed: dict[RemediationRef, float] = {}
        self._doubted: set[RemediationRef] = set()
        self._answered: set[RemediationRef] = set()

    def load(self, known: Mapping[RemediationRef, str], at: float) -> None:
        """Begin with what is in the store, as of a moment on this process's monotonic clock."""
        for kept in (self._fingerprints, self._confirmed, self._missed, self._doubted, self._answered):
            kept.clear()
        for ref, fingerprint in known.items():
            self.note(ref, fingerprint)
        self._confirmed |= dict.fromkeys(("", *self._fingerprints), at)  # "" until it is known which clusters are read

    def note(self, ref: RemediationRef, fingerprint: str) -> None:
        """Remember what was seen."""
        self._fingerprints[ref.cluster_id][ref] = fingerprint
        self._missed.pop(ref, None)
        self._answered.discard(ref)

    def confirm(self, cluster_id: str, unlisted: Iterable[RemediationRef], at: float) -> None:
        """Remember that a cluster was read, but for what wasn't listed."""
        before = self._confirmed.get(cluster_id, at)
        missed = {ref: self._missed.get(ref, before) for ref in unlisted}
        self._missed = {ref: at for ref, at in self._missed.items() if ref.cluster_id != cluster_id} | missed
        self._confirmed[cluster_id] = at

    def confirm_one(self, ref: RemediationRef) -> None:
        """Remember that one which wasn't listed was read alone since."""
        self._missed.pop(ref, None)

    def unlike(self, known: Mapping[RemediationRef, str]) -> list[RemediationRef]:
        """Forget what isn't in the store, and return what is there otherwise than here."""
        kept = {ref: fingerprint for refs in self._fingerprints.values() for ref, fingerprint in refs.items()}
        for ref in [ref for ref, fingerprint in kept.items() if fingerprint and ref not in known]:
            self.drop(ref)  # what is marked is read next, and may be over
        return [ref for ref, fingerprint in known.items() if self.seen(ref) != fingerprint]

    def mark_stale(self, ref: RemediationRef) -> None:
        """Treat the next reading as news, even if it says the same; what had ended is read again for that."""
        self._fingerprints[ref.cluster_id][ref] = ""

    def mark_answered(self, ref: RemediationRef) -> None:
        """Treat the next reading as news, since somebody was told something else than was read last."""
        self.mark_stale(ref)
        self._answered.add(ref)

    def answered(self, cluster_id: str) -> Sequence[RemediationRef]:
        """Return what was answered in a cluster: each is read alone, also where the list can't be read."""
        return [ref for ref in self._answered if ref.cluster_id == cluster_id]

    def doubt(self, ref: RemediationRef) -> None:
        """Have it read alone if the next list has it: that list may lag behind."""
        self._doubted.add(ref)

    def take_doubts(self, cluster_id: str) -> AbstractSet[RemediationRef]:
        """Return what is in doubt in a cluster, and forget that: it is read alone now, where it is listed."""
        taken = {ref for ref in self._doubted if ref.cluster_id == cluster_id}
        self._doubted -= taken
        return taken

    def drop(self, ref: RemediationRef) -> None:
        """Track it no longer."""
        self._fingerprints[ref.cluster_id].pop(ref, None)
        self._missed.pop(ref, None)
        self._answered.discard(ref)

    def seen(self, ref: RemediationRef) -> str | None:
        """Return the fingerprint of what was seen last; None where it is not tracked."""
        return self._fingerprints[ref.cluster_id].get(ref)

    def of_cluster(self, cluster_id: str) -> Collection[RemediationRef]:
        """Return what is tracked in a cluster."""
        return tuple(self._fingerprints[cluster_id])

    def confirmed_before(self, moment: float) -> Mapping[RemediationRef, float]:
        """Return what was last confirmed before a moment, and when."""
        old = {ref: at for ref, at in self._missed.items() if at < moment}
        for cluster_id, at in self._confirmed.items():
            if at < moment:
                old |= {ref: self._missed.get(ref, at) for ref in self._fingerprints[cluster_id]}
        return old

    def keep(self, clusters: Collection[str], at: float) -> None:
        """Note which clusters are read from a moment on, and forget when the others were."""
        at = self._confirmed.get("", at)  # the first ones that are known were to be read before
        self._confirmed = {cluster_id: self._confirmed.get(cluster_id, at) for cluster_id in clusters}

    def all_read_at(self, now: float) -> float:
        """Return when the longest unread cluster was read, or should have been first; `now` without any."""
        return min(self._confirmed.values(), default=now)

    @property
    def clusters(self) -> Collection[str]:
        """The clusters in which something is tracked."""
        return [cluster_id for cluster_id, refs in self._fingerprints.items() if refs]
