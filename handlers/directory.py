"""Slack's user groups and people, cached: the `Directory` that the policy asks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Clock
from bot.errors import DirectoryUnavailable
from bot.logs import lasting
from bot.models import Json, Person
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300
USABLE_SECONDS = 3600
LOOKUP_SECONDS = 5
PATIENCE_SECONDS = 0.5  # with Slack, by somebody about whom an older answer is known
SLACKBOT = "USLACKBOT"  # of every workspace; its `is_bot` is false (github.com/slackapi/bolt-js, issue 794)
FAILED_SECONDS = 30  # so long a failed look-up isn't tried again
T = TypeVar("T")


class SlackDirectory:
    """Asks Slack, at most once in five minutes about the same group or person.

    When Slack can't answer at once, the last answer serves for an hour; without one, `DirectoryUnavailable` is raised.

    Args:
        client: a client that may repeat a call after a dropped connection, since it only reads here.
    """

    def __init__(self, client: AsyncWebClient, clock: Clock) -> None:
        self._client = client
        self.members = _Remembered(self._ask_members, clock).get
        self.person = _Remembered(self._ask_person, clock).get
        self._handle = _Remembered(self._ask_handle, clock).get

    async def name_of(self, some_id: str) -> str:
        """Return what Slack calls a user or a user group; the ID itself where Slack doesn't know it."""
        name = await self._handle(some_id) if some_id[0] == "S" else (await self.person(some_id)).name
        return name or some_id

    async def _ask_handle(self, group_id: str) -> str:
        groups: list[Json] = (await self._client.usergroups_list())["usergroups"]
        return next((str(group.get("handle") or "") for group in groups if group.get("id") == group_id), "")

    async def _ask_members(self, group_id: str) -> frozenset[str]:
        """Return the members of a user group; nobody where the group is disabled or does not exist."""
        try:
            answer = await self._client.usergroups_users_list(usergroup=group_id)
        except SlackFailure as error:
            if error.code == "no_such_subteam":
                return frozenset()
            raise
        return frozenset(answer["users"])

    async def _ask_person(self, user_id: str) -> Person:
        """Return who somebody is; nobody of ours where Slack does not know them."""
        try:
            answer = await self._client.users_info(user=user_id)
        except SlackFailure as error:
            if error.code in {"user_not_found", "user_not_visible"}:
                return Person(team_id=None, is_full_member=False, is_active=False)
            raise
        user: Json = answer["user"]
        is_active = not (user.get("deleted") or user.get("is_bot") or user_id == SLACKBOT)
        is_foreign = any(user.get(flag) for flag in ("is_restricted", "is_ultra_restricted", "is_stranger"))
        profile: Json = user.get("profile") or {}
        name = str(profile.get("display_name") or user.get("real_name") or user.get("name") or "")
        return Person(user.get("team_id"), is_active and not is_foreign, name, is_active)


class _Remembered(Generic[T]):
    """Answers by key. Each is asked for once at a time, and a slow Slack holds nobody up who has an answer already."""

    def __init__(self, ask: Callable[[str], Awaitable[T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._answers: dict[str, tuple[float, T]] = {}
        self._failed: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str) -> T:
        known, now = self._answers.get(key), self._clock.monotonic()
        if known and now - known[0] < FRESH_SECONDS:
            return known[1]
        if known and now - known[0] >= USABLE_SECONDS:
            known = None
        try:
            if now - self._failed.get(key, -FAILED_SECONDS) < FAILED_SECONDS:
                raise DirectoryUnavailable  # noqa: TRY301 - as if it were asked
            if not (asking := self._asking.get(key)):
                # Of no decision: others wait for it too, and its lines would name the first one's.
                asking = asyncio.create_task(self._look_up(key), name=f"look up {key}", context=Context())
                asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # who still waits is told
                self._asking[key] = asking
            async with self._clock.timeout(PATIENCE_SECONDS if known else LOOKUP_SECONDS):
                return await asyncio.shield(asking)
        except (TimeoutError, DirectoryUnavailable) as error:
            if known:
                return known[1]
            raise DirectoryUnavailable from error

    async def _look_up(self, key: str) -> T:
        try:
            async with self._clock.timeout(LOOKUP_SECONDS):
                answer = await self._ask(key)
        except (SlackFailure, TimeoutError) as error:
            logger.warning("Could not look up %s: %s", key, str(error) or "no answer in time", extra=lasting())
            self._failed[key] = self._clock.monotonic()
            raise DirectoryUnavailable from error
        finally:
            del self._asking[key]
        now = self._clock.monotonic()
        self._failed = {other: at for other, at in self._failed.items() if other != key and now - at < FAILED_SECONDS}
        self._answers = {key: known for key, known in self._answers.items() if now - known[0] < USABLE_SECONDS}
        self._answers[key] = now, answer
        return answer
