"""Asks a service of the team's own who is affected by a broken node, for a line of a card: for 2 s at most."""

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from bot.clock import Clock
from bot.errors import DirectoryUnavailable
from bot.models import Impact, Json, Remediation
from bot.mrkdwn import clean

logger = logging.getLogger(__name__)

SECONDS = 2.0  # for all of an answer, with the owner's name
FRESH_SECONDS = 60.0
_BYTES = 65_536
_REMEMBERED = 1000
_FAILED = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError, RecursionError)
_SLACK_ID = re.compile(r"[UWS](?=[A-Z]*[0-9])[A-Z0-9]{2,20}")
_LONGEST = 500  # characters of what is kept of a text


@dataclass(slots=True)
class ImpactReader:
    """Reads it, at most once a minute for the same node.

    Attributes:
        link: fills in the address for a remediation.
        token: sent as a bearer token; empty for none.
        name_of: what Slack calls a user or a user group; may raise DirectoryUnavailable.
    """

    http: httpx.AsyncClient
    link: Callable[[Remediation], str]
    token: str
    clock: Clock
    name_of: Callable[[str], Awaitable[str]]
    _silent_until: float = field(default=0.0, init=False)
    _known: OrderedDict[str, tuple[float, Impact | None]] = field(default_factory=OrderedDict, init=False)

    async def of(self, remediation: Remediation) -> Impact | None:
        """Return who is affected; None where that isn't known."""
        url = self.link(remediation)
        known, now = self._known.get(url), self.clock.monotonic()
        if known and now - known[0] < FRESH_SECONDS:
            return known[1]
        if now < self._silent_until:
            return None  # cards are posted one after the other: each would wait
        try:
            async with self.clock.timeout(SECONDS):
                impact = await self._ask(url)
        except _FAILED as error:
            logger.warning("%s: can't read who is affected: %s", remediation.ref, type(error).__name__)
            impact = None
            if isinstance(error, TimeoutError):
                self._silent_until = self.clock.monotonic() + FRESH_SECONDS
        self._known[url] = now, impact
        self._known.move_to_end(url)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return impact

    async def _ask(self, url: str) -> Impact | None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content = b""
        async with self.http.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"HTTP {response.status_code}")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _BYTES:
                    raise ValueError("too long")
        said: Json = json.loads(content)
        if not isinstance(said["summary"], str):
            return None
        summary, where = clean(said["summary"], _LONGEST), str(said.get("url") or "")
        if not summary:
            return None
        return Impact(summary, await self._owner(said), where if _is_link(where) else "", self.clock.now())

    async def _owner(self, said: Json) -> str:
        owner = clean(str(said.get("owner") or ""), _LONGEST)
        if not _SLACK_ID.fullmatch(owner):
            return owner
        try:
            name = await self.name_of(owner)
        except DirectoryUnavailable:
            name = owner
        return owner if name == owner else f"@{name}"


def _is_link(url: str) -> bool:
    return urlsplit(url).scheme == "https" and re.fullmatch(r"[!-;=?-{}~]{1,500}", url) is not None  # no < > |
