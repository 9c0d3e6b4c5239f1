"""Logs for people on a terminal and for machines elsewhere, with every secret taken out.

For people, structlog formats all lines, the libraries' too; for machines a few lines here do, at a fifth of the cost.
Inside `about_decision` each says which decision it is of.
"""

import json
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import structlog
from structlog.typing import EventDict

from bot.models import Request

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
    r"(hooks\.slack(?:-gov)?\.com/|/response/|[?&](?:ticket|app_id|token)=)[^\s\"'>)&\\]+|\bx(?:ox[a-z]|app)-[\w-]+"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_FIELDS = ("outcome", "attempt")
_SHORTEST_SECRET = 6  # shorter ones would black out ordinary words


class _Redaction:
    """Replaces secrets in every part of a line."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def add(self, secrets: Sequence[str]) -> None:
        written = [form for each in secrets for form in (each, _in_json(each))]  # in a text, and in JSON
        long_enough = [each for each in written if len(each) >= _SHORTEST_SECRET]
        self._secrets = list(dict.fromkeys([*self._secrets, *long_enough]))

    def redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return _CAPABILITY.sub(lambda found: f"{found[1] or ''}[secret]", text)

    def __call__(self, _logger: object, _method: str, line: EventDict) -> EventDict:
        return {name: self.redact(value) if isinstance(value, str) else value for name, value in line.items()}


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _in_capitals(_logger: object, _method: str, line: EventDict) -> EventDict:
    return {**line, "level": line["level"].upper()}


_redaction = _Redaction()


def about_decision(job_id: str, request: Request) -> AbstractContextManager[None]:
    """Put a decision's short ID, its reference, the verb, and who asked on every line that is logged inside."""
    return structlog.contextvars.bound_contextvars(
        decision=job_id[:8], remediation=str(request.ref), verb=request.verb.value, by=request.actor.user_id
    )


def add_secrets(secrets: Sequence[str]) -> None:
    """Replace these wherever they turn up from now on, besides those that are known."""
    _redaction.add(secrets)


def configure_logs(level: str, style: str | None, secrets: Sequence[str]) -> None:
    """Send all logs to standard error.

    Args:
        level: of the bot's own logs. Libraries that would print payloads stay above DEBUG in any case.
        style: "text" or "json"; None picks text on a terminal and JSON elsewhere.
    """
    add_secrets(secrets)
    handler = logging.StreamHandler()
    as_text = style == "text" or (style is None and sys.stderr.isatty())
    handler.setFormatter(_for_people() if as_text else _JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, floor in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(floor, logging.getLevelName(level)))


def _as_one_entry(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Keep somebody's words from drawing a line of their own, and a terminal from obeying them."""
    return {
        name: _CONTROL.sub(lambda found: repr(found[0])[1:-1], value).replace("\n", "\n    ")
        if isinstance(value, str)
        else value
        for name, value in line.items()
    }


class _JsonLines(logging.Formatter):
    """A JSON object a line, in which secrets are looked for once."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {
            "message": record.getMessage(),
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            **structlog.contextvars.get_contextvars(),
            **{name: value for name in _FIELDS if (value := record.__dict__.get(name)) is not None},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _redaction.redact(json.dumps(line, ensure_ascii=False, default=str))


def _for_people() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", key="time"),
            structlog.stdlib.add_log_level,
            _in_capitals,
            structlog.stdlib.add_logger_name,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(_FIELDS),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redaction,
            _as_one_entry,
            structlog.dev.ConsoleRenderer(
                colors=False, timestamp_key="time", pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )
