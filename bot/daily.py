"""Times of day: when warnings call nobody, and when the daily summary is sent."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from zoneinfo import ZoneInfo

_EVENING = time(18)
_MINUTE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class DailyTime:
    """A time of day, in a time zone: one that a change of clocks leaves out is an hour later, and none counts twice."""

    at: time
    zone: ZoneInfo

    def last(self, moment: float) -> tuple[float, date]:
        """Return its last time at or before a moment, both in Unix time, and the day that it belongs to."""
        # Where the clocks go forward at midnight, even yesterday's may be yet to come.
        today = datetime.fromtimestamp(moment, self.zone).date()
        days = [today - timedelta(number) for number in (0, 1, 2)]
        times = [(datetime.combine(day, self.at, self.zone).timestamp(), day) for day in days]
        return max(time for time in times if time[0] <= moment)

    def shift_began(self, moment: float) -> float:
        """Return when 18:00 of the day before a moment was, both in Unix time."""
        yesterday = datetime.fromtimestamp(moment, self.zone).date() - timedelta(1)
        return datetime.combine(yesterday, _EVENING, self.zone).timestamp()


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
        """Return when they end next after a moment, in Unix time: clocks change at whole minutes too."""
        return _end_after(self, int(moment // _MINUTE))


@lru_cache(maxsize=8)
def _end_after(hours: QuietHours, minute: int) -> float:
    return next(at for at in count((minute + 1) * _MINUTE, _MINUTE) if not hours.cover(at))
