"""Who may do what, from where. Closed by default: what cannot be established is a no."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.errors import DirectoryUnavailable, NotAllowed, NotChecked, Observing
from bot.models import RULES, Actor, Directory, Person, Request, Verb

EVERYBODY = "*"
_LISTED_IN_A_REFUSAL = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one workspace.

    Attributes:
        operators: user IDs (`U…`, `W…`), user-group IDs (`S…`), or `*` for every full member.
        channels: channel IDs in which the bot acts; empty for all.
        observes: whether it decides nothing in a cluster.
    """

    operators: Sequence[str]
    channels: Collection[str]
    team_id: str
    directory: Directory
    observes: Callable[[str], bool]

    async def authorize_request(self, request: Request) -> None:
        """Check that the actor may still have what they asked for: reading what else matters may have taken long.

        Raises:
            NotAllowed: the actor may not.
            Observing: the bot decides nothing in this cluster, maybe since it was started again.
        """
        place = request.place
        # What the bot told somebody alone may ask them to look again.
        is_told_alone = request.rule.open_to_all and place.is_button and place.is_direct
        await self.authorize(request.verb, request.actor, place.channel_id, is_anywhere=is_told_alone)
        if request.rule.decides and self.observes(request.ref.cluster_id):
            raise Observing

    async def authorize(self, verb: Verb, actor: Actor, channel_id: str | None, *, is_anywhere: bool = False) -> None:
        """Check that the actor may do this, from this channel, now.

        A listed user ID is looked up like anybody else: the person may have left, or never have been a full member.
        Anybody may refresh a card who can see it, unless they belong to another workspace.

        Raises:
            NotAllowed: the actor may not; says why and who can.
            NotChecked: Slack couldn't say.
        """
        if actor.team_id != self.team_id:
            raise NotAllowed("The bot belongs to a different workspace.", self._who_can)
        if actor.home_team_id not in {None, self.team_id}:
            raise NotAllowed("Only members of this workspace can do this.", self._who_can)
        if self.channels and channel_id not in self.channels and not is_anywhere:
            raise NotAllowed("The bot isn't enabled here.", f"Use {self._where}.")
        try:
            if RULES[verb].open_to_all:
                if actor.home_team_id is None and not actor.is_member:  # an event doesn't say whose member somebody is
                    await self._require_member(actor.user_id)
                return
            if actor.user_id not in self.operators and not await self._in_a_group(actor.user_id):
                raise NotAllowed("Only operators can do this.", self._who_can)
            if not (await self._require_member(actor.user_id)).is_full_member:
                raise NotAllowed("Guests, bots, and deactivated users can't do this.", self._who_can)
        except DirectoryUnavailable:
            raise NotChecked(
                "Couldn't check your permissions with Slack.", f"Try again in a minute. {self._who_can}"
            ) from None

    async def authorize_overview(self, actor: Actor, channel_id: str | None) -> None:
        """Check that the actor may see all remediations: in the app's home, or by a command or mention.

        Where the bot acts in some channels only, who isn't a full member sees what is in those that they are in.

        Raises:
            NotAllowed: the actor may not; says why.
        """
        await self.authorize(Verb.REFRESH, actor, channel_id)
        if not self.channels:
            return
        try:
            person = await self._require_member(actor.user_id)
        except DirectoryUnavailable:
            raise NotChecked("Couldn't check with Slack who you are.", "Try again in a minute.") from None
        if not person.is_full_member:
            raise NotAllowed("Guests can't see what's in other channels.", f"Use {self._where}.")

    @property
    def _where(self) -> str:
        return " or ".join(f"<#{channel_id}>" for channel_id in sorted({*self.channels})[:_LISTED_IN_A_REFUSAL])

    @property
    def _who_can(self) -> str:
        if EVERYBODY in self.operators:
            return "Every full member of this workspace can decide."
        names = [f"<!subteam^{operator}>" if operator[0] == "S" else f"<@{operator}>" for operator in self.operators]
        more = len(names) - _LISTED_IN_A_REFUSAL
        shown = " or ".join(names[:_LISTED_IN_A_REFUSAL]) + (f" or {more} more" if more > 0 else "")
        return f"Ask {shown}."

    async def _in_a_group(self, user_id: str) -> bool:
        if EVERYBODY in self.operators:
            return True
        unavailable: DirectoryUnavailable | None = None
        for group in (operator for operator in self.operators if operator[0] == "S"):
            try:
                if user_id in await self.directory.members(group):
                    return True
            except DirectoryUnavailable as error:  # another group may still answer yes
                unavailable = error
        if unavailable:
            raise unavailable
        return False

    async def _require_member(self, user_id: str) -> Person:
        person = await self.directory.person(user_id)
        if person.team_id != self.team_id:
            raise NotAllowed("Only members of this workspace can do this.", self._who_can)
        return person
