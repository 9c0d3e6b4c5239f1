"""Text that is safe to show in Slack: the one place where outside words are cleaned, cut and escaped.

Slack gives a meaning to `&`, `<` and `>` only; escaping those three disarms mentions, links and `<!channel>`
(docs.slack.dev, "Formatting message text"). Cutting comes before escaping, so that no entity is cut in half.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_NONE: Mapping[int, str] = {}
_SPACES = re.compile(r"\s+")
_PLAIN = "%Y-%m-%d %H:%M:%S UTC"
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_HOURS_WITH_MINUTES = 10


def clean(value: str, limit: int, escapes: Mapping[int, str] = _NONE) -> str:
    """Return one line without control and direction characters, at most `limit` characters after `escapes`."""
    # Every character yields at least one, so what lies far behind the limit need not be read.
    line = value[: limit * 4]
    if "  " in line or not line.isprintable():
        line = _SPACES.sub(" ", line)
    line = line.strip()
    if not (line.isascii() and line.isprintable()):
        line = "".join(character for character in line if unicodedata.category(character) not in {"Cc", "Cf", "Cs"})
    elif len(value) <= limit and len(whole := line.translate(escapes) if escapes else line) <= limit:
        return whole  # nearly every text, at a twentieth of the cost
    out: list[str] = []
    size = 0
    ends = 0  # how many pieces still leave room for the ellipsis
    for character in line:
        piece = character.translate(escapes)
        # Whether Slack counts characters or UTF-16 units is not documented: the larger number is safe.
        size += len(piece) + (character > "\uffff")
        if size > limit:
            return "".join(out[:ends]) + "…"
        out.append(piece)
        if size < limit:
            ends = len(out)
    return "".join(out) + ("…" if len(value) > limit * 4 and ends == len(out) else "")


def escape(value: str, limit: int) -> str:
    """Return one line for `mrkdwn`, at most `limit` characters after escaping."""
    return clean(value, limit, _ENTITIES)


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def entities(value: str) -> str:
    """Return text with nothing but Slack's three control characters escaped."""
    return value.translate(_ENTITIES)


def when(moment: datetime | float, form: str = "{date_short_pretty} at {time}", plain: str = _PLAIN) -> str:
    """Return a moment in the reader's own time zone and words, with UTC for clients that can't; Unix time or a time."""
    utc = _utc(moment)
    return f"<!date^{int(utc.timestamp())}^{form}|{utc:{plain}}>"


def clock_time(moment: datetime | float) -> str:
    """Return the time of day of a moment that is less than a day away, in the reader's own time zone and words."""
    return when(moment, "{time}", "%H:%M UTC")


def ago(moment: datetime | float) -> str:
    """Return how long ago a moment was, which Slack keeps up to date in the reader's own words."""
    return when(moment, "{ago}")


def lasted(seconds: float) -> str:
    """Return a duration in one or two units: "45 s", "3 min", "2 h 5 min", "26 h", "4 days"."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{round(whole / _MINUTE)} min"
    if whole < _HOURS_WITH_MINUTES * _HOUR and whole % _HOUR >= _MINUTE:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    if whole < 3 * _DAY:
        return f"{whole // _HOUR} h"
    return f"{whole // _DAY} days"


def plain_when(moment: datetime | float) -> str:
    """Return a moment as UTC, for texts that are read aloud."""
    return f"{_utc(moment):{_PLAIN}}"


def _utc(moment: datetime | float) -> datetime:
    if isinstance(moment, datetime):
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.fromtimestamp(moment, UTC)
