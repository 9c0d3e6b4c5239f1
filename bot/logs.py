"""Logs for people on a terminal and for machines elsewhere, with every secret taken out.

All lines, the libraries' too, are formatted here. Inside `about_decision` each says which decision it is of.
"""

import json
import logging
import re
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

logger = logging.getLogger(__name__)

# What is put on every line that is logged inside.
LOG_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("log context", default=MappingProxyType({}))
# At DEBUG these print bodies and statements, and with them response_urls and tokens; Bolt 1.30 does so at INFO.
_TALKATIVE = {"slack_bolt": logging.ERROR} | dict.fromkeys(
    ("slack_sdk", "aiohttp", "alembic", "psycopg", "sqlalchemy", "httpx", "httpcore", "asyncio"), logging.WARNING
)
_CAPABILITY = re.compile(
    r"(hooks\.slack(?:-gov)?\.com/|/response/|[?&](?:ticket|app_id|token)=)[^\s\"'>)&\\]+|\bx(?:ox[a-z]|app)-[\w-]+"
    r"|(?<=://)[^\s/]+(?=@)"  # such as of the proxy in HTTPS_PROXY, which aiohttp names with its password
)
# In all that this finds: to look for it takes half of a line's time, and nearly no line has one of these.
_SIGNS = ("hooks.slack", "/response/", "ticket=", "app_id=", "token=", "xox", "xapp-", "://")
_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_FIELDS = ("outcome", "attempt")
SHORTEST_SECRET = 6  # shorter ones would black out ordinary words
LASTING_SECONDS = 3600.0
_REMEMBERED = 1000  # things that last
_TOGETHER_SECONDS = 0.02  # to wake a thread for each line costs a tenth of a command's CPU
_LAST_SECONDS = 1.0  # for the lines that still wait at the end

_secrets: dict[str, None] = {}  # in the order in which they are looked for


def add_secrets(secrets: Sequence[str]) -> None:
    """Replace these wherever they turn up from now on, besides those that are known."""
    for secret in secrets:
        in_json = json.dumps(secret, ensure_ascii=False)[1:-1]
        _secrets.update(dict.fromkeys(form for form in (secret, in_json) if len(form) >= SHORTEST_SECRET))


def _redacted(text: str) -> str:
    for secret in list(_secrets):  # others may be added by the thread of the event loop
        text = text.replace(secret, "[secret]")
    if not any(sign in text for sign in _SIGNS):
        return text
    return _CAPABILITY.sub(lambda found: f"{found[1] or ''}[secret]", text)


def configure_logs(level: str, style: str | None, secrets: Sequence[str], writer: "LineWriter | None" = None) -> None:
    """Send all logs to standard error.

    Args:
        level: of the bot's own logs. Libraries that would print payloads stay above DEBUG in any case.
        style: "text" or "json"; None picks text on a terminal and JSON elsewhere.
        writer: writes the lines; None where each caller may wait for that.
    """
    add_secrets(secrets)
    handler = logging.StreamHandler(writer)
    handler.addFilter(_Lasting())
    as_text = style == "text" or (style is None and sys.stderr.isatty())
    handler.setFormatter(_TextLines() if as_text else _JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, floor in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(floor, logging.getLevelName(level)))


def lasting(*about: object) -> Mapping[str, object]:
    """Return the `extra` of a line about what may last for days, so that it's written once an hour, not with each poll.

    Args:
        about: what it is about, where its words differ each time.
    """
    return {"lasting": about}


def named(error: BaseException) -> str:
    """Return the name of an exception with its words, if it has any."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class LineWriter:
    """Writes lines in a separate thread, several at a time: a log that nobody reads must keep no ack waiting.

    Args:
        waiting: how many lines wait while nobody reads them.
    """

    def __init__(self, stream: TextIO, waiting: int = 10_000) -> None:
        self._stream = stream
        self._waiting = waiting
        self._lines = deque[str]()
        self._dropped = 0
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Write a line soon; where too many wait, it's only counted."""
        if len(self._lines) < self._waiting:
            self._lines.append(line)
        else:
            self._dropped += 1
        if not self._news.is_set():
            self._news.set()

    def flush(self) -> None:
        """Do nothing: each line is flushed once it's written."""

    def close(self) -> None:
        """Write what waits, if somebody reads it."""
        self._closing.set()
        self._news.set()
        self._thread.join(_LAST_SECONDS)

    def _write(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._news.wait()
            self._closing.wait(_TOGETHER_SECONDS)
            self._news.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            with suppress(OSError):  # there is nowhere else to say it
                self._stream.write("".join(lines))
                self._stream.flush()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                logger.warning("%d lines of this log were dropped, since nobody read it", dropped)


class _Lasting(logging.Filter):
    """Lets a line about what lasts pass once an hour; each decision has its own."""

    def __init__(self) -> None:
        super().__init__()
        self._said: OrderedDict[object, float] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        about = getattr(record, "lasting", None)
        if about is None:
            return True
        error = record.exc_info and record.exc_info[0]
        key = record.msg, about or record.getMessage(), error, *LOG_CONTEXT.get().values()
        if 0 <= record.created - self._said.get(key, -LASTING_SECONDS) < LASTING_SECONDS:
            return False
        self._said[key] = record.created
        self._said.move_to_end(key)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        return True


class _TextLines(logging.Formatter):
    """A line for people. Somebody's words begin no new line, and no terminal obeys them."""

    def format(self, record: logging.LogRecord) -> str:
        details = "".join(f" {name}={value}" for name, value in sorted(_details(record).items()))
        entry = [f"{_time(record)} [{record.levelname:9}] {record.getMessage()} [{record.name}]{details}"]
        if record.exc_info:
            entry.append(self.formatException(record.exc_info))
        return "\n".join(_CONTROL.sub(_escaped, _redacted(line)) for line in entry)


def _escaped(match: re.Match[str]) -> str:
    return "\n    " if match[0] == "\n" else repr(match[0])[1:-1]


class _JsonLines(logging.Formatter):
    """A JSON object a line, in which secrets are looked for once."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "message": record.getMessage(),
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            **_details(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _redacted(_as_json(line))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")


def _details(record: logging.LogRecord) -> dict[str, object]:
    """Return which decision a line is of, and what it says of it beside its message."""
    named = {name: value for name in _FIELDS if (value := record.__dict__.get(name)) is not None}
    return {**LOG_CONTEXT.get(), **named}
