"""Who may do what, from where. Closed by default: what cannot be established is a no."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from bot.errors import DirectoryUnavailable, NotAllowed, NotChecked
from bot.models import RULES, Actor, Directory, Person, Verb

EVERYBODY = "*"
_WORDS = {Verb.HOLD: "put repairs on hold", Verb.RELEASE: "release holds"}
_LISTED_IN_A_REFUSAL = 10


class Policy:
    """The rules of one workspace.

    Args:
        operators: user IDs (`U…`, `W…`), user-group IDs (`S…`), or `*` for every full member.
        channels: channel IDs in which the bot acts; empty for all.
    """

    def __init__(
        self, operators: Sequence[str], channels: AbstractSet[str], team_id: str, directory: Directory
    ) -> None:
        self._users = frozenset(each for each in operators if each[0] in "UW")
        self._groups = [each for each in operators if each[0] == "S"]
        self._everybody = EVERYBODY in operators
        self._channels = channels
        self._where = " or ".join(f"<#{each}>" for each in sorted(channels)[:_LISTED_IN_A_REFUSAL])
        self._team_id = team_id
        self._directory = directory
        self._who_can = _who_can(operators)

    async def authorize(self, verb: Verb, actor: Actor, channel_id: str | None) -> None:
        """Return when the actor may do this, from this channel, now.

        A listed user ID is looked up like anybody else: the person may have left, or never have been a full member.
        Anybody may refresh a card who can see it, unless they belong to another workspace.

        Raises:
            NotAllowed: the actor may not; says why and who can.
            NotChecked: Slack couldn't say.
        """
        if actor.team_id != self._team_id:
            raise NotAllowed("The bot belongs to a different workspace.", self._who_can)
        if actor.home_team_id not in {None, self._team_id}:
            raise NotAllowed("Only members of this workspace can do this.", self._who_can)
        if self._channels and channel_id not in self._channels:
            raise NotAllowed("The bot isn't enabled here.", f"Use {self._where}.")
        try:
            if RULES[verb].open_to_all:
                if actor.home_team_id is None and not actor.is_member:  # an event doesn't say whose member somebody is
                    await self._require_member(actor.user_id)
                return
            if actor.user_id not in self._users and not await self._in_a_group(actor.user_id):
                what = _WORDS.get(verb, f"{verb} remediations")
                raise NotAllowed(f"Only operators can {what}.", self._who_can)
            if not (await self._require_member(actor.user_id)).is_full_member:
                raise NotAllowed("Guests, bots, and deactivated users can't approve or cancel.", self._who_can)
        except DirectoryUnavailable:
            raise NotChecked(
                "Couldn't check your permissions with Slack.", f"Try again in a minute. {self._who_can}"
            ) from None

    async def authorize_home(self, actor: Actor, channel_id: str | None) -> None:
        """Return when the actor may see all remediations in the app's home.

        Where the bot acts in some channels only, who isn't a full member sees what is in those that they are in.

        Raises:
            NotAllowed: the actor may not; says why.
        """
        await self.authorize(Verb.REFRESH, actor, channel_id)
        if not self._channels:
            return
        try:
            person = await self._require_member(actor.user_id)
        except DirectoryUnavailable:
            raise NotAllowed("Couldn't check with Slack who you are.", "Try again in a minute.") from None
        if not person.is_full_member:
            raise NotAllowed("Guests can't see what's in other channels.", f"Use {self._where}.")

    async def _in_a_group(self, user_id: str) -> bool:
        if self._everybody:
            return True
        unavailable: DirectoryUnavailable | None = None
        for group in self._groups:
            try:
                if user_id in await self._directory.members(group):
                    return True
            except DirectoryUnavailable as error:  # another group may still answer yes
                unavailable = error
        if unavailable:
            raise unavailable
        return False

    async def _require_member(self, user_id: str) -> Person:
        person = await self._directory.person(user_id)
        if person.team_id != self._team_id:
            raise NotAllowed("Only members of this workspace can do this.", self._who_can)
        return person


def _who_can(operators: Sequence[str]) -> str:
    if EVERYBODY in operators:
        return "Every full member of this workspace can."
    names = [f"<!subteam^{each}>" if each[0] == "S" else f"<@{each}>" for each in operators]
    more = len(names) - _LISTED_IN_A_REFUSAL
    shown = " or ".join(names[:_LISTED_IN_A_REFUSAL]) + (f" or {more} more" if more > 0 else "")
    return f"Ask {shown}."
