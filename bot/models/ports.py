"""What the rules need of Slack, as two small protocols; `handlers/` implements them."""

from dataclasses import dataclass
from typing import Protocol

from bot.models.request import Message, Place


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as Slack's `users.info` says it."""

    team_id: str | None
    is_full_member: bool


class Messenger(Protocol):
    """How the bot says something. An implementation never raises: it tries another way, then logs."""

    async def progress(self, place: Place, message: Message) -> Place:
        """Say that somebody is on it. The place that is given back is where the answer goes."""

    async def answer(self, place: Place, message: Message) -> None:
        """Show a card: in place of the clicked message, or to the channel."""

    async def reply(self, place: Place, message: Message) -> None:
        """Tell the channel of an error: in the clicked message's thread, or as a message."""

    async def whisper(self, place: Place, message: Message) -> None:
        """Tell the person alone."""


class Directory(Protocol):
    """Who somebody is, and who belongs to a group."""

    async def members(self, group_id: str) -> frozenset[str]:
        """The user IDs of a user group.

        Raises:
            DirectoryUnavailable: Slack cannot answer, and no recent answer is known.
        """

    async def person(self, user_id: str) -> Person:
        """Who somebody is.

        Raises:
            DirectoryUnavailable: Slack cannot answer, and no recent answer is known.
        """
