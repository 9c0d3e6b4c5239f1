"""What the rules need of the outside, as small protocols: `handlers/` implements those of Slack."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.models.ids import RemediationRef
from bot.models.remediation import Remediation
from bot.models.request import Message, ReplyTarget

HISTORY_BEFORE = 300.0  # the database's clock and Slack's may differ


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as Slack's `users.info` says it.

    Attributes:
        is_active: neither a bot nor deactivated, so that a mention reaches them: also a guest.
    """

    team_id: str | None
    is_full_member: bool
    name: str = ""
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """What of the bot's is in a channel.

    Attributes:
        messages: Slack's `ts` of each card and digest, the latest first: several of one that was posted twice.
        drawn: the fingerprint of what each `ts` shows.
        live: which of them offer a decision.
        marks: the `ts` of what else was posted there.
    """

    messages: dict[RemediationRef | str, list[str]] = field(default_factory=dict)
    drawn: dict[str, str] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    marks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What Slack made of an answer.

    Attributes:
        is_told: Slack took it.
        is_in_place: where it was to be.
        may_overwrite: an edit that failed may still arrive, over something newer.
    """

    is_told: bool = True
    is_in_place: bool = True
    may_overwrite: bool = False


class Messenger(Protocol):
    """How the bot says something. An implementation never raises: it tries one way after another."""

    async def progress(self, place: ReplyTarget, message: Message) -> ReplyTarget:
        """Say that somebody is on it, on the clicked message or to the person. Returns the place of the answer."""

    async def answer(self, place: ReplyTarget, message: Message, beside: Message | None = None) -> Delivery:
        """Show a card: in place of the clicked message, or to the channel.

        Args:
            beside: what is posted where Slack refuses the edit; the same unless given.
        """

    async def reply(self, place: ReplyTarget, message: Message, on_card: Message | None) -> Delivery:
        """Tell the channel of an error, in the thread of the clicked message.

        Args:
            on_card: what the clicked message shows from now on; None for what it did before.
        """

    async def reread(self, place: ReplyTarget) -> ReplyTarget:
        """Return the place with what another tool's alert shows now; unchanged where the bot can't read that."""

    async def reply_privately(self, place: ReplyTarget, message: Message, *, once: bool = False) -> bool:
        """Tell the person alone, for minutes if need be. Returns whether Slack took it.

        Args:
            once: don't try again: somebody else will, as it is in the database, or this process ends.
        """


class AlertChannels(Protocol):
    """The alert channel, at Slack's pace: wait for a turn, look whether it is still to be said, then say it.

    Raises:
        PostFailed: Slack certainly did not do it.
        PostUncertain: Slack may have done it.
    """

    async def turn_to_post(self, channel_id: str) -> None:
        """Wait until a message may be posted in a channel."""

    async def turn_to_update(self) -> None:
        """Wait until a message may be changed."""

    async def check(self, channel_id: str) -> None:
        """Raise PostFailed unless the bot may post in a channel, as far as Slack says."""

    async def post(  # noqa: PLR0913 - what a post has
        self,
        message: Message,
        *,
        channel_id: str,
        about: RemediationRef | str | None = None,
        mark: str = "",
        thread_ts: str | None = None,
        broadcast: bool = False,
    ) -> str:
        """Post a message, marked with the remediation or the ID of the digest that it is about. Returns its `ts`.

        `mark` identifies anything else, for `look_for`. `broadcast` shows a reply in the channel too.
        """

    async def update(
        self, ts: str, message: Message, channel_id: str, *, about: RemediationRef | str | None = None
    ) -> None:
        """Change a message, and mark it with what it is about; without that, `find` doesn't return it any more."""

    async def find(self, since: float, channel_id: str) -> Found | None:
        """Return what the bot has posted since then, in Unix time; None where it may not read the channel."""

    async def look_for(self, mark: str, channel_id: str, *, since: float = 0.0, thread_ts: str = "") -> str | None:
        """Return the `ts` of what was posted with this mark since a moment, or in a thread; empty where it isn't there.

        None where the bot can't read that, now or later.
        """


@dataclass(frozen=True, slots=True)
class Impact:
    """Who is affected by a broken node, as a service of the team's own says it; all of it raw.

    Attributes:
        summary: what runs there.
        owner: whose it is; may be empty.
        url: more of it, on https; may be empty.
        at: when it was read, as Unix time in seconds.
    """

    summary: str
    owner: str
    url: str
    at: float


class Impacts(Protocol):
    """Who is affected by a broken node."""

    async def of(self, remediation: Remediation) -> Impact | None:
        """Return who is affected, within seconds; None where that isn't known. Never raises."""


class Directory(Protocol):
    """Who somebody is, and who belongs to a group."""

    async def members(self, group_id: str) -> frozenset[str]:
        """Return the user IDs of a user group.

        Raises:
            DirectoryUnavailable: Slack cannot answer, and no recent answer is known.
        """

    async def name_of(self, some_id: str) -> str:
        """Return what Slack calls a user or a user group; the ID itself where Slack doesn't know it.

        Raises:
            DirectoryUnavailable: Slack cannot answer, and no recent answer is known.
        """

    async def person(self, user_id: str) -> Person:
        """Return who somebody is.

        Raises:
            DirectoryUnavailable: Slack cannot answer, and no recent answer is known.
        """
