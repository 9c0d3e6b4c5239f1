"""Together's answers: what they say, and which error an answer is that is no success."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from bot.errors import (
    InvalidId,
    InvalidIds,
    KeyRefused,
    NotFound,
    RateLimited,
    RequestRefused,
    ServerError,
    TogetherError,
    UnreadableAnswer,
    WrongState,
)
from bot.models import Remediation, RemediationRef

M = TypeVar("M", bound=BaseModel)

_HALF_ESCAPED = rb"\ud"
_HALF = re.compile("[\ud800-\udfff]")


def read_json(body: bytes) -> Any:  # noqa: ANN401 - anything the server sent
    """Return an answer's body as JSON; None where it isn't JSON."""
    try:
        answer = json.loads(body)
        return _whole(answer) if _HALF_ESCAPED in body.lower() else answer
    except (ValueError, RecursionError):
        return None


def moment(date: str) -> float | None:
    """Return the date in a header as Unix time (RFC 9110, Date); None where it can't be read."""
    try:
        when = parsedate_to_datetime(date)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()  # the obsolete form is UTC too
    except (ValueError, OverflowError):  # a year or zone out of range
        return None


def _whole(answer: Any) -> Any:  # noqa: ANN401 - any JSON
    """Replace halves of characters: a lone surrogate is valid JSON, but nothing can store, show or send it."""
    if isinstance(answer, str):
        return _HALF.sub("\ufffd", answer)
    if isinstance(answer, list):
        return [_whole(item) for item in answer]
    if isinstance(answer, dict):
        return {name: _whole(value) for name, value in answer.items()}
    return answer


_OF_A_PAGE = {"has_next", "next_page_token", "total_count", "total_size", "http_status", "request_id", "answered_at"}


def items(page: Mapping[str, Any], name: str) -> list[Any]:
    """Return the list under a name of a page.

    Raises:
        UnreadableAnswer: it isn't a list, or the page is something else.
    """
    listed = page.get(name)
    if listed is None and page.keys() - {name} <= _OF_A_PAGE:
        return []  # a server generated from proto leaves an empty list out, and Go's own JSON has null for it
    if not isinstance(listed, list):
        raise UnreadableAnswer(f"{name} isn't a list")
    return listed


def parse(model: type[M], answer: object) -> M:
    """Read an answer as a model.

    Raises:
        UnreadableAnswer: it can't be read as one.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise UnreadableAnswer(f"not a {model.__name__.lower()}") from error


def remediation(answer: object, ref: RemediationRef, *, is_done: bool = False) -> Remediation:
    """Read an answer as the remediation that was asked for.

    Args:
        is_done: it was decided on. Whether Together tells apart IDs that differ in case isn't documented, and anybody
            may type one; but what bears on a decision is known by its exact IDs, so none is made by others.

    Raises:
        UnreadableAnswer: it can't be read as one, or is another one.
    """
    read = parse(Remediation, answer)
    with suppress(InvalidId):
        if read.ref == ref or (is_done and str(read.ref).casefold() == str(ref).casefold()):
            return read
    raise UnreadableAnswer("about another remediation")


# google.rpc.Code, as the gateway maps it to HTTP: 400 alone means two things, and only the code tells them apart.
_BY_CODE: Mapping[int, type[InvalidIds | NotFound | WrongState]] = {
    3: InvalidIds,
    5: NotFound,
    6: WrongState,
    9: WrongState,
    10: WrongState,
}
_KEY_STATUS, _KEY_CODES = 401, {7, 16}
_RATE_STATUS, _RATE_CODE = 429, 8
# These say that a wait ended or that something broke inside, not that nothing was done.
_UNCLEAR_STATUSES, _UNCLEAR_CODES = {408, 499}, {1, 2, 4, 13, 14, 15}


def refusal(reply: httpx.Response, answer: object, now: float) -> TogetherError:
    """Name an answer that is not a success. The status decides between unclear and refused, the code says why."""
    fields = answer if isinstance(answer, dict) else {}
    code, words, details = (fields.get(name) for name in ("code", "message", "details"))
    error = _named(reply, code if isinstance(code, int) else 0, words if isinstance(words, str) else "", now)
    error.details = details if isinstance(details, list) else ()
    return error


def _named(reply: httpx.Response, code: int, words: str, now: float) -> TogetherError:
    status = reply.status_code
    if reply.is_redirect:
        return UnreadableAnswer("a redirect")
    if not reply.is_client_error or status in _UNCLEAR_STATUSES or code in _UNCLEAR_CODES:
        return ServerError(status, quote=words)
    if status == _KEY_STATUS or code in _KEY_CODES or (status == httpx.codes.FORBIDDEN and words):
        return KeyRefused(status, quote=words)
    if status == _RATE_STATUS or code == _RATE_CODE:
        return RateLimited(_retry_after(reply.headers.get("retry-after"), now), quote=words)
    if kind := _BY_CODE.get(code):
        return kind(quote=words)
    # A 403 or 404 without words or code isn't the service's: a firewall, a proxy, or a wrong base URL says it too.
    return WrongState(quote=words) if status == httpx.codes.CONFLICT else RequestRefused(status, quote=words)


def _retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:6])  # longer than a week is as good as never
    when = moment(value)
    return None if when is None else max(0.0, when - now)
