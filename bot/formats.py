"""Reads and checks the values of settings, and says what is wrong with each."""

import base64
import difflib
import ipaddress
import re
import string
from collections.abc import Collection
from contextlib import suppress
from datetime import time
from typing import Annotated, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bot.daily import DailyTime, QuietHours
from bot.models import Mode, check_id

_MODE = "REMEDIATION_MODE_"
_PLACEHOLDERS = ("cluster_id", "instance_id", "remediation_id", "mode", "xid", "node")
_SWITCHES = {"*", "all", "any", "true", "yes", "on", "1", "false", "no", "off", "none", "0"}
_LONGEST_WAIT = 24 * 60  # minutes (docs.together.ai, "Node repair", wait policy)


def is_loopback(url: str) -> bool:
    """Return whether a URL points at this machine."""
    host = _split(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    """Split a URL; into nothing where Python can't, such as with a port that is no number."""
    with suppress(ValueError):
        parts = urlsplit(url)
        parts.port  # noqa: B018 - which raises it only now
        return parts
    return urlsplit("")


def proxy_for(url: str) -> str | None:
    """Return the proxy that `HTTPS_PROXY` or `ALL_PROXY` names for a URL, except on loopback and in `NO_PROXY`."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or is_loopback(url) or proxy_bypass(parts.hostname):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def url(value: str) -> str:
    """Check an address as `exact_url` does, and return it without a slash at its end: paths are appended to it."""
    return exact_url(value).rstrip("/")


def exact_url(value: str) -> str:
    """Check an address without query or password: https, or http on loopback."""
    parts = _split(value)
    extra = parts.query or parts.fragment or parts.username or parts.password
    if not re.fullmatch(r"[!-~]+", value) or not parts.hostname or parts.port == 0 or extra:
        raise ValueError("isn't a plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(value)):
        raise ValueError("must start with https:// (http:// only on loopback)")
    return value


def together_url(value: str) -> str:
    """Return the address with the version of the API."""
    return value if value.endswith("/v1") else f"{value}/v1"


def pagerduty_url(value: str) -> str:
    """Return the base of an address that may be one of PagerDuty's own docs, with the path of its Events API."""
    return value.removesuffix("/enqueue").removesuffix("/v2")


def secret(prefix: str) -> AfterValidator:
    """Return the check of a token that begins with a prefix."""

    def check(value: SecretStr) -> SecretStr:
        plain = value.get_secret_value()
        if not plain.startswith(prefix) or plain == prefix:
            raise ValueError(f"must start with {prefix}")
        if not plain.isascii() or not plain.isprintable() or " " in plain:
            raise ValueError("contains a character not allowed in a token")
        return value

    return AfterValidator(check)


def webhook_secret(value: SecretStr) -> SecretStr:
    """Check a key as the Standard Webhooks specification writes it: 24 to 64 bytes."""
    plain = value.get_secret_value()
    try:
        key = base64.b64decode(plain.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not plain.startswith("whsec_") or not 24 <= len(key) <= 64:  # noqa: PLR2004 - the specification's
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return value


def audit_key(value: SecretStr) -> SecretStr:
    """Check a key for signatures: 32 characters or more."""
    if len(value.get_secret_value()) < 32:  # noqa: PLR2004 - as many as a SHA-256 has bytes
        raise ValueError("must have at least 32 characters")
    return value


def pagerduty_key(value: SecretStr) -> SecretStr:
    """Check an integration key of PagerDuty's Events API v2."""
    _match(r"[A-Za-z0-9]{32}", value.get_secret_value(), "must have 32 letters and digits")
    return value


def items(value: str) -> list[str]:
    """Split what is separated by commas. A list of nothing would mean everything, or switch a guard rail off."""
    if parts := [item.strip() for item in value.split(",") if item.strip()]:
        return parts
    raise ValueError("lists nothing")


def each_is(pattern: str, what: str) -> AfterValidator:
    """Return the check that an item matches a pattern; `what` it is, for the error."""

    def check(value: str) -> str:
        # A token that was pasted into the wrong line must not be printed.
        shown = "a token" if value.startswith(("xox", "xapp")) else f"“{value[:40]}”"
        return _match(pattern, value, f"contains {shown}, which isn't a {what}")[0]

    return AfterValidator(check)


def _match(pattern: str, value: str, problem: str) -> re.Match[str]:
    """Return the match of a whole value, or say what is wrong with it."""
    match = re.fullmatch(pattern, value)
    if not match:
        raise ValueError(problem)
    return match


def channel(value: str) -> str:
    """Check a channel's ID."""
    return _match(r"[CGD][A-Z0-9]+", value, "isn't a channel ID")[0]


def oncall(value: str) -> str:
    """Check the ID of a user or a user group."""
    return _match(r"[UWS][A-Z0-9]+", value, "isn't a user ID or user group ID")[0]


def escalation(value: str) -> tuple[str, float]:
    """Read whom to call, and after how many seconds: `ID/MINUTES`."""
    who, _, minutes = value.partition("/")
    if not _is_minutes(minutes) or int(minutes) == 0:
        raise ValueError(f"isn't an ID and 1 to {_LONGEST_WAIT} minutes")
    return oncall(who), 60.0 * int(minutes)


def _is_minutes(text: str) -> bool:
    return re.fullmatch("[0-9]{1,4}", text) is not None and int(text) <= _LONGEST_WAIT


def mode(value: str) -> str:
    """Read a mode with or without its prefix. The set is open, but a misspelled one would switch the rail off."""
    known = [mode.removeprefix(_MODE) for mode in Mode]
    wrong = f"contains “{value[:40]}”, which isn't a mode"
    name = _match(r"[A-Z][A-Z0-9_]*", value, wrong)[0].removeprefix(_MODE)
    if name.lower() in _SWITCHES:
        raise ValueError(wrong)
    if name not in known:
        alike = [mode for mode in known if sorted(mode.replace("_", "")) == sorted(name.replace("_", ""))]
        alike += [mode for mode in known if mode.startswith(f"{name}_")]
        alike += difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if alike:
            raise ValueError(f"contains “{value[:40]}” (did you mean {alike[0]}?)")
    return f"{_MODE}{name}"


def routes(value: str) -> dict[str, tuple[str, str]]:
    """Read the channel and the on-call of clusters: `cluster=channel` or `cluster=channel/oncall`."""
    by_cluster: dict[str, tuple[str, str]] = {}
    for item in items(value):
        cluster_id, equals, target = item.partition("=")
        channel_id, slash, called = target.partition("/")
        if not equals or (slash and not called):
            raise ValueError(f"contains “{item[:60]}”, which isn't cluster=channel or cluster=channel/oncall")
        _check_new(cluster(cluster_id), by_cluster)
        try:
            by_cluster[cluster_id] = channel(channel_id), called and oncall(called)
        except ValueError as error:
            raise ValueError(f"contains “{item[:60]}”, part of which {error}") from None
    return by_cluster


def waits(value: str) -> dict[str, int]:
    """Read the minutes of clusters: `cluster=minutes`, `*=minutes` for all others, or the minutes of all."""
    if _is_minutes(value):
        return {"*": int(value)}
    by_cluster: dict[str, int] = {}
    for item in items(value):
        cluster_id, _, minutes = item.partition("=")
        if not _is_minutes(minutes):
            raise ValueError(f"contains “{item[:60]}”, which isn't cluster=minutes, from 0 to {_LONGEST_WAIT}")
        _check_new(cluster_or_all(cluster_id), by_cluster)
        by_cluster[cluster_id] = int(minutes)
    return by_cluster


def _check_new(cluster_id: str, known: Collection[str]) -> None:
    if cluster_id in known:
        raise ValueError(f"contains {cluster_id[:60]} twice")


def per_node(value: str) -> tuple[int, float]:
    """Read a number of repairs, and within how many seconds: `3/24h`."""
    match = _match("([1-9][0-9]?)/([1-9][0-9]{0,2})[Hh]", value, "isn't repairs/hours, such as 3/24h")
    return int(match[1]), 3600.0 * int(match[2])


def storm_brake(value: str) -> tuple[int, bool]:
    """Read a number of nodes, and whether it is a percentage."""
    wrong = "isn't a percentage such as 20%, or a number of nodes, 2 at least"
    match = _match("([1-9][0-9]?|100)%|([2-9]|[1-9][0-9]{1,4})", value, wrong)
    return int(match[1] or match[2]), bool(match[1])


def placeholders(template: str) -> list[str]:
    """Return the names in braces of a template.

    Raises:
        ValueError: its braces don't match, or hold more than a name.
    """
    try:
        parsed = [*string.Formatter().parse(template)]
    except ValueError:  # in Python's words
        raise ValueError("has a brace without the one that belongs to it") from None
    names = []
    for _, name, spec, conversion in parsed:
        if name is None:
            continue
        if spec or conversion:
            raise ValueError("has more than a name in braces")
        names.append(name)
    return names


def template(value: str) -> str:
    """Check a link with placeholders. A placeholder in the host could send a click anywhere."""
    unknown = [name for name in placeholders(value) if name not in _PLACEHOLDERS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
        raise ValueError(f"contains {{{unknown[0][:40]}}}, which isn't one of {known}")
    parts = _split(value)
    if parts.scheme != "https" or not parts.hostname or "{" in parts.netloc or not re.fullmatch(r"[!-~]+", value):
        raise ValueError("must be a link that starts with https:// and a host")
    if ends := re.search(r"[<>|]", value):  # docs.slack.dev, links in text objects
        raise ValueError(f"contains “{ends[0]}”, which ends a link in Slack. Write it as %{ord(ends[0]):X}")
    return value


def impact(value: str) -> str:
    """Check a service's address with placeholders: https, or http on loopback."""
    is_local = value.startswith("http://") and is_loopback(value)
    template(value.replace("http://", "https://", 1) if is_local else value)
    return value


def console(value: str) -> str:
    """Read a link with placeholders, or `off` for none."""
    return "" if value.lower() == "off" else template(value)


def quiet_hours(value: str) -> QuietHours:
    """Read hours in a time zone: `22:00-07:00 Europe/Berlin`."""
    match = _match(r"(\d\d:\d\d)-(\d\d:\d\d)\s+(\S+)", value, "must be two times and a time zone")
    begin, end = _time(match[1]), _time(match[2])
    if begin == end:
        raise ValueError("must start and end at different times")
    return QuietHours(begin, end, _zone(match[3]))


def daily_time(value: str) -> DailyTime:
    """Read a time of day in a time zone: `08:00 Europe/Berlin`."""
    match = _match(r"(\d\d:\d\d)\s+(\S+)", value, "must be a time and a time zone")
    return DailyTime(_time(match[1]), _zone(match[2]))


def _time(value: str) -> time:
    hour, _, minute = value.partition(":")
    try:
        return time(int(hour), int(minute))
    except ValueError:
        raise ValueError("contains a time that doesn't exist") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"contains “{name[:40]}”, which isn't a time zone") from None


def cluster(value: str) -> str:
    """Check a cluster's ID. A word that means all or none would name a cluster that isn't there."""
    # A list takes commas, and no pattern; word processors turn quotes and dashes into others.
    if value.lower() in _SWITCHES or re.search("[;*]", value) or not value.isascii():
        raise ValueError(f"contains “{value}”, which isn't a cluster ID")
    return check_id("cluster", value)


def cluster_or_all(value: str) -> str:
    """Check a cluster's ID; `*` is all."""
    return value if value == "*" else cluster(value)


def password_of(url: str) -> str:
    """Return the password of a PostgreSQL URL as libpq reads it; empty where it has none.

    Raises:
        psycopg.Error: it can't be read.
        ValueError: the password's end was read as that of a host or database.
    """
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - a bot on SQLite doesn't load the driver

    read = conninfo_to_dict(url)
    if any("@" in str(read.get(name)) for name in ("host", "dbname")):
        raise ValueError("“@” or “/” in the password")
    return str(read.get("password") or "")


def database(value: str) -> str:
    """Check a database URL; what is wrong with it must not print its password."""
    if not re.match(r"sqlite:///.|postgres(ql)?://", value):
        raise ValueError("must start with sqlite:///, postgres://, or postgresql://")
    if not value.startswith("sqlite:"):
        import psycopg  # noqa: PLC0415 - a bot on SQLite doesn't load the driver

        try:
            password_of(value)
        except (psycopg.Error, ValueError):  # it quotes what it could not read, and with it the password
            raise ValueError("can't be read; percent-encode special characters in its user name and password") from None
    return value


T = TypeVar("T")
Items = Annotated[tuple[T, ...], BeforeValidator(items)]
People = Items[Annotated[str, each_is(r"\*|[UWS][A-Z0-9]+", "user ID, user group ID, or *")]]
Minutes = Annotated[int, Field(ge=0, le=7 * 24 * 60)]
Token = Annotated[SecretStr, secret("")]
Url = Annotated[str, AfterValidator(url)]
ExactUrl = Annotated[str, AfterValidator(exact_url)]
Upper = BeforeValidator(str.upper)
Lower = BeforeValidator(str.lower)
