"""Logs for people on a terminal and for machines elsewhere, with every secret taken out."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

# At DEBUG these print bodies and statements, and with them response_urls and tokens; Bolt 1.30 does so at INFO.
_TALKATIVE = {
    "slack_bolt": logging.ERROR,
    "slack_sdk": logging.WARNING,
    "aiohttp": logging.WARNING,
    "alembic": logging.WARNING,
    "psycopg": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "asyncio": logging.WARNING,
}
_CAPABILITY = re.compile(
    r"(hooks\.slack(?:-gov)?\.com/|/response/|[?&](?:ticket|app_id|token)=)[^\s\"'>)&]+|\bx(?:ox[a-z]|app)-[\w-]+"
)


_decision: ContextVar[tuple[str, str]] = ContextVar("decision", default=("", ""))
_SHORTEST_SECRET = 6  # shorter ones would black out ordinary words


class _Redacting(logging.Formatter):
    def __init__(self, pattern: str | None, secrets: Sequence[str]) -> None:
        super().__init__(pattern)
        self._secrets = [each for each in secrets if len(each) >= _SHORTEST_SECRET]

    def add(self, secrets: Sequence[str]) -> None:
        self._secrets += [each for each in secrets if len(each) >= _SHORTEST_SECRET and each not in self._secrets]

    def redact(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "[secret]")
        return _CAPABILITY.sub(lambda found: f"{found[1] or ''}[secret]", line)

    def format(self, record: logging.LogRecord) -> str:
        decision = " ".join(filter(None, _decision.get()))
        record.decision = f"[{decision}] " if decision else ""
        return self.redact(super().format(record))


class _Json(_Redacting):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.redact(record.getMessage()),
        }
        about = zip(("decision", "remediation"), map(self.redact, _decision.get()), strict=True)
        line |= {name: value for name, value in about if value}
        if record.exc_info:
            line["exception"] = self.redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def about_decision(job_id: str, ref: object) -> Iterator[None]:
    """Put a decision's short ID and reference on every line that is logged inside, by any part."""
    token = _decision.set((job_id[:8], str(ref)))
    try:
        yield
    finally:
        _decision.reset(token)


def add_secrets(secrets: Sequence[str]) -> None:
    """Replace these wherever they turn up from now on, besides those that are known."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Redacting):
            handler.formatter.add(secrets)


def configure_logs(level: str, style: str | None, secrets: Sequence[str]) -> None:
    """Send all logs to standard error.

    Args:
        level: of the bot's own logs. Libraries that would print payloads stay above DEBUG whatever it is.
        style: "text" or "json"; None picks text on a terminal and JSON elsewhere.
        secrets: values that are replaced wherever they turn up.
    """
    as_text = style == "text" or (style is None and sys.stderr.isatty())
    handler = logging.StreamHandler()
    pattern = "%(asctime)s %(levelname)-7s %(name)s: %(decision)s%(message)s"
    handler.setFormatter(_Redacting(pattern, secrets) if as_text else _Json(None, secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, floor in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(floor, logging.getLevelName(level)))
