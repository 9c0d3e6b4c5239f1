"""Who the bot is in Slack: asked at the start until Slack answers, then watched."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.clock import Clock, WaitReason
from bot.errors import StartError
from handlers.client import SlackFailure
from handlers.manifest import missing_scopes

RETRY_AFTER = (1.0, 2.0, 5.0, 10.0, 30.0)
CHECK_EVERY = 15.0  # with the 10 s that each of two calls may take, a Slack that hangs is noticed within 40 s
LOOK_AGAIN_AFTER = 2.0
_REINSTALL = "Update the app's manifest (python -m bot manifest) and reinstall it."

REMEDY = {
    "SLACK_BOT_TOKEN": "Copy the token again from the app's settings, and make sure the app is installed.",
    "SLACK_APP_TOKEN": "Create a new app-level token with the scope connections:write under “Basic Information”.",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The workspace and the user that the bot token belongs to; `url` may be empty."""

    team_id: str
    team_name: str
    bot_user_id: str
    url: str = ""


@dataclass(slots=True)
class Connection:
    """The bot's standing with Slack.

    Attributes:
        needed: the scopes without which nothing can be decided.
        report: told what keeps Slack from being usable, or "" when nothing does.
        warn: told which scopes the app lacks, or "" when it has them all; a reinstall gives them to the same token.
    """

    client: AsyncWebClient
    clock: Clock
    needed: frozenset[str]
    report: Callable[[str], None]
    warn: Callable[[str], None]
    _known: Identity = field(default=Identity("", "", ""), init=False)  # by the first answer

    async def identify(self) -> Identity:
        """Ask who the bot token belongs to, until Slack answers.

        Raises:
            StartError: Slack refuses the token, or it is one for a whole organization.
        """
        answer = await self._insist(self._ask, "SLACK_BOT_TOKEN")
        if answer.get("is_enterprise_install"):
            raise StartError(
                "The app is installed org-wide, which this bot doesn't support. "
                "Install it in one workspace and use that SLACK_BOT_TOKEN."
            )
        self.report("")
        url = str(answer.get("url") or "")
        if not url.startswith("https://") or ">" in url or "|" in url:
            url = ""
        team, user_id = str(answer.get("team") or ""), str(answer.get("user_id") or "")
        self._known = Identity(str(answer["team_id"]), team, user_id, url)
        return self._known

    async def check_app_token(self, app_token: str) -> None:
        """Make sure that Socket Mode can connect: the SDK would retry a refused token forever.

        Raises:
            StartError: Slack refuses the token.
        """
        await self._insist(lambda: self.client.apps_connections_open(app_token=app_token), "SLACK_APP_TOKEN")
        self.report("")

    async def keep_checking(self) -> None:
        """Report whether the token still works, again and again."""
        while True:
            await self.clock.sleep(CHECK_EVERY, WaitReason.SLACK_CHECK)
            error = await self._trouble()
            if isinstance(error, SlackFailure) and error.is_passing:
                await self.clock.sleep(LOOK_AGAIN_AFTER, WaitReason.RETRY)
                error = await self._trouble()
            self.report(f"Slack isn't usable: {error}." if error else "")

    async def _trouble(self) -> SlackFailure | str | None:
        """Return why Slack isn't usable. A bot that is told to ask less often is one that Slack answers."""
        try:
            answer = await self._ask()
        except SlackFailure as error:
            return None if error.code == "ratelimited" else error
        if answer["team_id"] != self._known.team_id:
            return "SLACK_BOT_TOKEN is another workspace's now"
        is_same = str(answer.get("user_id") or "") == self._known.bot_user_id
        return None if is_same else "SLACK_BOT_TOKEN is another app's now"

    async def _ask(self) -> AsyncSlackResponse:
        answer = await self.client.auth_test()
        granted = scopes_of(answer.headers)
        missing = "" if granted is None else missing_scopes(granted)
        rest = "Nothing can be decided." if self.needed - (granted or frozenset()) else "The rest works."
        self.warn(missing and f"The Slack app lacks {missing}. {rest} {_REINSTALL}")
        return answer

    async def _insist(self, call: Callable[[], Awaitable[Any]], variable: str) -> Any:  # noqa: ANN401 - Slack's answer
        waits = chain(RETRY_AFTER, repeat(RETRY_AFTER[-1]))
        while True:
            try:
                return await call()
            except SlackFailure as error:
                if not error.is_passing:  # any other refusal of a token is final (docs.slack.dev, auth.test)
                    raise StartError(f"Slack rejects {variable}: {error.code}. {REMEDY[variable]}") from error
                seconds = next(waits)
                self.report(f"Can't reach Slack ({error}); retrying in {seconds:g} s.")
                await self.clock.sleep(seconds, WaitReason.RETRY)


def scopes_of(headers: Mapping[str, str]) -> frozenset[str] | None:
    """Return what the token was granted, as Slack says beside each answer (docs.slack.dev, "Web API"); None if not."""
    scopes = headers.get("x-oauth-scopes")
    return None if scopes is None else frozenset(filter(None, (scope.strip() for scope in scopes.split(","))))
