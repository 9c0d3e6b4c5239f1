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
        local = datetime.fromtimestamp(moment, self.zone)
        ends = (datetime.combine(local.date() + timedelta(days), self.end, self.zone) for days in (0, 1, 2))
        return next(end for each in ends if (end := each.timestamp()) > moment)
