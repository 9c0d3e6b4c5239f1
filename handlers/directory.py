"""Slack's user groups and people, cached: the `Directory` that the policy asks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Clock
from bot.errors import DirectoryUnavailable
from bot.models import Person
from handlers.failures import ODD_ANSWERS, SLACK_FAILURES, describe, error_code

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300
USABLE_SECONDS = 3600
LOOKUP_SECONDS = 5
T = TypeVar("T")


class SlackDirectory:
    """Asks Slack, at most once in five minutes about the same group or person.

    When Slack cannot answer, the last answer serves for an hour; without one, `DirectoryUnavailable` is raised.

    Args:
        client: a client that may repeat a call after a dropped connection, since it only reads here.
        clock: for the age of answers.
    """

    def __init__(self, client: AsyncWebClient, clock: Clock) -> None:
        self._client = client
        self._members = _Remembered(self._ask_members, clock)
        self._people = _Remembered(self._ask_person, clock)

    async def members(self, group_id: str) -> frozenset[str]:
        """The members of a user group; nobody where the group is disabled or does not exist."""
        return await self._members.get(group_id)

    async def person(self, user_id: str) -> Person:
        """Who somebody is; nobody of ours where Slack does not know them."""
        return await self._people.get(user_id)

    async def _ask_members(self, group_id: str) -> frozenset[str]:
        try:
            answer = await self._client.usergroups_users_list(usergroup=group_id)
        except SLACK_FAILURES as error:
            if error_code(error) == "no_such_subteam":
                return frozenset()
            raise
        return frozenset(answer.get("users") or [])

    async def _ask_person(self, user_id: str) -> Person:
        try:
            answer = await self._client.users_info(user=user_id)
        except SLACK_FAILURES as error:
            if error_code(error) in {"user_not_found", "user_not_visible"}:
                return Person(team_id=None, is_full_member=False)
            raise
        user: dict[str, Any] = answer.get("user") or {}
        excluded = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")
        return Person(user.get("team_id"), is_full_member=not any(user.get(flag) for flag in excluded))


class _Remembered(Generic[T]):
    """Answers by key, asked for once at a time."""

    def __init__(self, ask: Callable[[str], Awaitable[T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._answers: dict[str, tuple[float, T]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, key: str) -> T:
        async with self._asking.setdefault(key, asyncio.Lock()):
            known = self._answers.get(key)
            age = self._clock.monotonic() - known[0] if known else 0.0
            if known and age < FRESH_SECONDS:
                return known[1]
            try:
                async with self._clock.timeout(LOOKUP_SECONDS):
                    answer = await self._ask(key)
            except (*SLACK_FAILURES, *ODD_ANSWERS) as error:
                logger.warning("Slack could not say who %s is: %s", key, describe(error))
                if known and age < USABLE_SECONDS:
                    return known[1]
                raise DirectoryUnavailable from error
            self._answers[key] = (self._clock.monotonic(), answer)
            return answer
