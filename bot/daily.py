"""Times of day: when warnings call nobody, and when the daily summary is sent."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_EVENING = time(18)


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
        """Return when they end next after a moment, both in Unix time."""
        today = datetime.fromtimestamp(moment, self.zone).date()
        # In autumn a time of day may come twice. In spring it may be left out: then they end when the clocks change.
        ends = (
            datetime.combine(today + timedelta(days), self.end, self.zone).replace(fold=fold).timestamp()
            for days in (0, 1, 2)
            for fold in (0, 1)
        )
        end = min(end for end in ends if end > moment and not self.cover(end))
        if self.cover(end - 1):
            return end
        seconds = range(int(moment), int(end))
        return float(seconds.start + bisect_left(seconds, True, key=lambda second: not self.cover(second)))
