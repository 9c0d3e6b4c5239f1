"""What is tracked, in memory: the store knows better, and fills it when the watch begins."""

from collections.abc import Collection, Iterable

from bot.models import RemediationRef


class Index:
    """The tracked remediations, with the fingerprint of what was last seen of each, and when that was."""

    def __init__(self) -> None:
        self._fingerprints: dict[RemediationRef, str] = {}
        self._seen_at: dict[RemediationRef, float] = {}
        self._of_cluster: dict[str, set[RemediationRef]] = {}

    def __contains__(self, ref: object) -> bool:
        return ref in self._fingerprints

    def load(self, known: Iterable[tuple[RemediationRef, str]], at: float) -> None:
        """Begin with what is in the store."""
        for each in (self._fingerprints, self._seen_at, self._of_cluster):
            each.clear()
        for ref, fingerprint in known:
            self.note(ref, fingerprint, at)

    def note(self, ref: RemediationRef, fingerprint: str, at: float) -> None:
        """Remember what was seen, and when on this process's monotonic clock."""
        self._fingerprints[ref] = fingerprint
        self._seen_at[ref] = at
        self._of_cluster.setdefault(ref.cluster_id, set()).add(ref)

    def confirm(self, refs: Iterable[RemediationRef], at: float) -> None:
        """Remember that these are still what was seen last."""
        self._seen_at.update((ref, at) for ref in refs if ref in self._fingerprints)

    def mark_stale(self, ref: RemediationRef) -> None:
        """Let the next reading count as news, whatever it says."""
        if ref in self._fingerprints:
            self._fingerprints[ref] = ""

    def drop(self, ref: RemediationRef) -> None:
        """Track it no longer."""
        self._fingerprints.pop(ref, None)
        self._seen_at.pop(ref, None)
        self._of_cluster.get(ref.cluster_id, set()).discard(ref)

    def has_seen(self, ref: RemediationRef, fingerprint: str) -> bool:
        """Return whether this is what was seen last."""
        return self._fingerprints.get(ref) == fingerprint

    def seen_at(self, ref: RemediationRef) -> float:
        """Return when it was last confirmed."""
        return self._seen_at[ref]

    def of_cluster(self, cluster_id: str) -> Collection[RemediationRef]:
        """Return what is tracked in a cluster."""
        return tuple(self._of_cluster.get(cluster_id, ()))

    def older_than(self, moment: float) -> Collection[RemediationRef]:
        """Return what was last confirmed before a moment."""
        return [ref for ref, at in self._seen_at.items() if at < moment]

    @property
    def clusters(self) -> Collection[str]:
        """The clusters in which something is tracked."""
        return [cluster_id for cluster_id, refs in self._of_cluster.items() if refs]
