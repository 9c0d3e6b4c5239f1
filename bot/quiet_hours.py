"""When warnings call nobody."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """When warnings call nobody: from one time of day to another, which may be after midnight, in a time zone."""

    begin: time
    end: time
    zone: ZoneInfo

    def cover(self, moment: float) -> bool:
        """Return whether a moment, in Unix time, is within them."""
        at = datetime.fromtimestamp(moment, self.zone).time()
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end

    def end_after(self, moment: float) -> float:
        """Return when they end next after a moment, both in Unix time."""
        today = datetime.fromtimestamp(moment, self.zone).date()
        # In autumn a time of day may come twice. In spring it may be left out: then they end when the clocks change.
        ends = (
            datetime.combine(today + timedelta(days), self.end, self.zone).replace(fold=fold).timestamp()
            for days in (0, 1, 2)
            for fold in (0, 1)
        )
        end = min(each for each in ends if each > moment and not self.cover(each))
        return end if self.cover(end - 1) else self._change_of_clocks(moment, end)

    def _change_of_clocks(self, covered: float, later: float) -> float:
        """Return when they end between a moment that they cover and a later one, to the second."""
        first, last = int(covered), int(later)
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (middle, last) if self.cover(middle) else (first, middle)
        return float(last)
