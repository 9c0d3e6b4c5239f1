"""When warnings call nobody."""

from dataclasses import dataclass
from datetime import datetime, time
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
