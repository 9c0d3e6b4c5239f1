"""`python -m bot doctor`: checks everything that the bot depends on, and says how to fix what is wrong.

It changes nothing, opens no Slack connection, and can run beside the bot. Only `--post` posts, and deletes it again.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Clock
from bot.errors import DirectoryUnavailable, InvalidId, NotReached, StartError, StorageUnavailable, TogetherError
from bot.findings import Finding, ok, problem, warning
from bot.logs import named
from bot.models import OPEN
from bot.policy import EVERYBODY
from bot.settings import Settings
from bot.store import Database
from bot.store.connection import check_writable, read_clock
from bot.store.health import closed_tables
from bot.surroundings import look_around
from bot.together import Timeouts, TogetherClient
from bot.wiring import slack_client, together_client, transport_to
from handlers.client import SlackFailure, slack_session
from handlers.connection import REMEDY, scopes_of
from handlers.directory import SlackDirectory
from handlers.manifest import SCOPES, missing_scopes, needed_scopes

SKEW_SECONDS = 30.0  # Slack's signatures are good for 300 s (docs.slack.dev, verifying requests)
INVITE = "Check the channel ID, and invite the bot: /invite @remediation-bot."
READ_SCOPES = "Add the scopes channels:read and groups:read, and reinstall the app."
TEST_CARD = "Test card from the doctor. It is deleted right away."
WAIT = Timeouts(get=8, attempt=4)


async def examine(
    settings: Settings, *, unknown: Sequence[str], posts: bool, clock: Clock | None = None
) -> list[Finding]:
    """Run every check."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(slack_session())
        transport = await stack.enter_async_context(transport_to(settings.together_base_url))
        slack, clock = slack_client(settings, session, reads_only=True), clock or Clock()
        together = together_client(settings, transport, clock, WAIT)
        directory = SlackDirectory(slack, clock)
        http = httpx.AsyncClient(transport=transport)
        doctor = Doctor(settings, slack, http, clock, together, directory, posts=posts)
        checks = doctor.workspace, doctor.slack_checks, doctor.listed, doctor.clusters, doctor.database, doctor.skew
        findings = [finding for check in checks async for finding in check()]
        return [_settings(unknown), *findings, *[finding async for finding in look_around(settings, session)]]


@dataclass(slots=True)
class Doctor:
    """Runs the checks, one after the other.

    Attributes:
        posts: a test card to each alert channel.
    """

    settings: Settings
    slack: AsyncWebClient
    http: httpx.AsyncClient
    clock: Clock
    together: TogetherClient
    directory: SlackDirectory
    posts: bool
    _team_id: str = field(default="", init=False)
    _posts_anywhere: bool = field(default=True, init=False)  # False where Slack lets it post only where it is a member
    _clocks: dict[str, float] = field(default_factory=dict, init=False)  # by how many seconds each is ahead of ours

    async def workspace(self) -> AsyncIterator[Finding]:
        """Check the bot token, whose workspace the other checks of Slack need."""
        try:
            answer = await self.slack.auth_test()
        except SlackFailure as error:
            yield _refused("Slack token", error, REMEDY["SLACK_BOT_TOKEN"])
            return
        self._note_clock("Slack", answer.headers.get("Date"))
        if answer.get("is_enterprise_install"):
            yield problem("Slack token", "the app is installed org-wide", "Install it in one workspace.")
            return
        self._team_id = str(answer["team_id"])
        yield ok("Slack token", f"workspace {answer.get('team')} ({self._team_id})")
        if answer.get("enterprise_id"):  # such an app gets no events there (Slack CLI 4.12.0, which refuses it)
            detail = "the workspace belongs to an Enterprise organization; events come only with org_deploy_enabled"
            yield warning(
                "Slack events", detail, "Set org_deploy_enabled: true in the app's manifest, and reinstall it."
            )
        if (granted := scopes_of(answer.headers)) is not None:
            self._posts_anywhere = "chat:write.public" in granted
            yield _scopes(granted, needed_scopes(self.settings.bot_operators))

    async def slack_checks(self) -> AsyncIterator[Finding]:
        """Check the other secret, and the channels."""
        settings = self.settings
        if not self._team_id:
            return
        if settings.slack_app_token:
            try:
                await self.slack.apps_connections_open(app_token=settings.slack_app_token.get_secret_value())
            except SlackFailure as error:
                yield _refused("Slack app token", error, REMEDY["SLACK_APP_TOKEN"])
            else:
                yield ok("Slack app token", "Socket Mode can connect")
        else:
            yield ok("signing secret", "set: HTTP mode")
        routed = [channel_id for channel_id, _ in settings.bot_routes.values()]
        for channel_id in dict.fromkeys(filter(None, [settings.bot_alert_channel, *routed])):
            yield await self._channel(channel_id)
            if self.posts:
                yield await self._test_card(channel_id)
        if settings.bot_channels:
            yield await self._channels()
        if settings.bot_observe:
            where = "any cluster" if "*" in settings.bot_observe else ", ".join(settings.bot_observe)
            yield warning("observing", f"the bot decides nothing in {where}", "Unset BOT_OBSERVE to let it decide.")

    async def listed(self) -> AsyncIterator[Finding]:
        """Look up everybody whom the settings list."""
        settings = self.settings
        if not self._team_id:
            return
        oncall = [settings.bot_oncall, *(called_id for _, called_id in settings.bot_routes.values())]
        listed = {
            "operators": settings.bot_operators,
            "break glass": settings.bot_break_glass,
            "escalation": (settings.bot_escalate or ())[:1],
            "on-call": list(dict.fromkeys(filter(None, oncall))),
        }
        for check, ids in listed.items():
            if ids:
                yield await self._people(check, ids, decides=check in {"operators", "break glass"})
        called = {cluster_id for cluster_id, (_, oncall_id) in settings.bot_routes.items() if oncall_id}
        is_each_called = settings.bot_clusters and called.issuperset(settings.bot_clusters)
        if settings.bot_alert_channel and not settings.bot_oncall and not is_each_called:
            where = f"alerts of clusters other than {', '.join(sorted(called))}" if called else "alerts"
            yield warning("on-call", f"{where} mention nobody", "Set BOT_ONCALL to a user or user group ID.")

    async def _channel(self, channel_id: str) -> Finding:
        check = f"alert channel {channel_id}"
        try:
            info = (await self.slack.conversations_info(channel=channel_id))["channel"]
        except SlackFailure as error:
            return _not_shown(check, error)
        name, is_member = f"#{info.get('name')}", info.get("is_member")
        if info.get("is_archived"):
            return problem(check, f"{name} is archived", "Choose another channel.")
        if not is_member and (info.get("is_private") or not self._posts_anywhere):
            return problem(check, f"the bot isn't in {name}", INVITE)
        if info.get("is_ext_shared"):
            fix = "People outside can read alerts there, but not decide. Use a channel of your own workspace."
            return warning(check, f"{name} is shared with other organizations", fix)
        if not is_member:
            return warning(check, f"the bot isn't in {name}", "Invite it, so that it finds its alerts after a crash.")
        return ok(check, f"the bot is in {name}")

    async def _channels(self) -> Finding:
        """Look whether Slack knows where the bot may act: a misspelled channel refuses everybody in the right one."""
        check, unknown = "channels", []
        for channel_id in self.settings.bot_channels:
            try:
                await self.slack.conversations_info(channel=channel_id)
            except SlackFailure as error:
                if error.code != "channel_not_found":
                    return _not_shown(check, error)
                unknown.append(channel_id)
        if unknown:
            fix = "Check BOT_CHANNELS, and invite the bot where a channel is private."
            return warning(check, f"Slack doesn't show the bot {', '.join(unknown)}", fix)
        return ok(check, f"Slack knows all {len(self.settings.bot_channels)}")

    async def _test_card(self, channel_id: str) -> Finding:
        check = f"test card in {channel_id}"
        try:
            posted = await self.slack.chat_postMessage(channel=channel_id, text=TEST_CARD)
        except SlackFailure as error:
            return _refused(check, error, "Invite the bot, and check who can post in the channel.")
        try:
            await self.slack.chat_delete(channel=channel_id, ts=str(posted.get("ts")))
        except SlackFailure as error:
            return warning(check, f"posted, but not deleted: {error}", "Delete it in Slack.")
        return ok(check, "posted and deleted")

    async def _people(self, check: str, ids: Sequence[str], *, decides: bool) -> Finding:
        if EVERYBODY in ids:
            everybody = "every full member of the workspace"
            others = ", ".join(operator for operator in ids if operator != EVERYBODY)
            fix = "Remove *, or the others."
            return warning(check, f"{everybody}, not only {others}", fix) if others else ok(check, everybody)
        described: list[str] = []
        bad: list[str] = []
        deciding = await self._deciding() if check == "break glass" else None
        for called_id in ids:
            is_group = called_id[0] == "S"
            try:
                members = await self._members(called_id)
                people = [await self.directory.person(member) for member in sorted(members)]
            except DirectoryUnavailable:
                bad.append(f"{called_id} can't be looked up")
                continue
            can_decide = [person.team_id == self._team_id and person.is_full_member for person in people]
            active = sum(can_decide if decides else [person.is_active for person in people])
            described.append(f"{called_id} ({active} active)" if is_group else called_id)
            if not active:
                nobody = "isn't an active full member" if decides else "isn't a person with an active account"
                bad.append(f"{called_id} {'has no active members' if is_group else nobody}")
            elif deciding is not None and deciding.isdisjoint(members):
                bad.append(f"{called_id} {'has nobody' if is_group else 'is not'} in BOT_OPERATORS")
        if not bad:
            return ok(check, ", ".join(described))
        fix = "Replace or remove these IDs."
        if any("BOT_OPERATORS" in line for line in bad):
            fix = "Only operators can approve: list them in BOT_OPERATORS too, or replace or remove these IDs."
        if any("looked up" in line for line in bad):
            fix = "Run the doctor again in a minute. If it stays, check the scopes users:read and usergroups:read."
        is_nobody = len(bad) == len(ids)
        return (problem if is_nobody and check == "operators" else warning)(check, "; ".join(bad), fix)

    async def _deciding(self) -> frozenset[str] | None:
        """Return who may decide at all; None for everybody, or where Slack doesn't say."""
        ids = self.settings.bot_operators
        with suppress(DirectoryUnavailable):
            return None if EVERYBODY in ids else frozenset().union(*[await self._members(each) for each in ids])
        return None

    async def _members(self, called_id: str) -> frozenset[str]:
        return await self.directory.members(called_id) if called_id[0] == "S" else frozenset({called_id})

    async def clusters(self) -> AsyncIterator[Finding]:
        """Check what the API key may read."""
        settings, check = self.settings, "Together API key"
        try:
            clusters, _ = await self.together.list_clusters()
        except NotReached as error:
            fix = "Check TOGETHER_BASE_URL, the network, and the proxy in HTTPS_PROXY."
            yield problem(check, f"can't reach Together ({named(error.__cause__ or error)})", fix)
            return
        except TogetherError as error:
            yield problem(check, error.why, error.next_step)
            return
        with suppress(httpx.HTTPError):
            self._note_clock("Together", (await self.http.head(settings.together_base_url)).headers.get("Date"))
        names = [cluster.cluster_id for cluster in clusters]
        if not names:
            yield warning(check, "the key sees no clusters", "Use a key of the project that owns the clusters.")
            return
        yield ok(check, f"sees {len(names)}: {', '.join(names[:5])}{'…' if len(names) > 5 else ''}")  # noqa: PLR2004 - shown
        unknown = {name: {*named}.difference(names) for name, named in settings.named_clusters.items()}
        if not_listed := sorted(set[str]().union(*unknown.values())):
            fix = f"Use cluster IDs in {', '.join(filter(unknown.get, unknown))}."
            yield warning("clusters", f"Together doesn't list {', '.join(not_listed)}", fix)
        watched = [cluster_id for cluster_id in settings.bot_clusters if cluster_id in names] or names
        yield await self._remediation(watched)
        yield await self._firing(watched[0])

    async def _remediation(self, clusters: Sequence[str]) -> Finding:
        """Read one that is open, as the bot does before it decides."""
        check, count = "remediations", 0
        try:
            for cluster_id in clusters:
                listed = await self.together.list_remediations(cluster_id, states=OPEN)
                count += len(listed)
                if listed:
                    await self.together.get(listed[0].ref)
        except (TogetherError, InvalidId) as error:
            return problem(check, str(error), "The bot can't decide without reading. Check the API key's permissions.")
        return ok(check, f"can be read; {count} open" if count else "can be listed; none is open")

    async def _firing(self, cluster_id: str) -> Finding:
        """Read the alerts that fire in a cluster: not every key may."""
        check = "firing alerts"
        try:
            firing, is_whole = await self.together.firing(cluster_id)
        except (TogetherError, InvalidId) as error:
            fix = "Faults without a repair aren't shown. Give the API key the right to list alerts, if you can."
            return warning(check, f"can't be listed: {error}", fix)
        return ok(check, f"can be listed; {len(firing)}{'' if is_whole else ' or more'} in {cluster_id}")

    async def database(self) -> AsyncIterator[Finding]:
        """Check that the database can be read and written, without making one."""
        check = "database"
        database = Database(self.settings.database_url, self.clock)
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        try:
            await database.open(migrate=False)
            await database.run(check_writable)
            closed = ", ".join(await database.read(closed_tables))
            self._clocks["database"] = await database.read(read_clock) - self.clock.now()
        except StartError as error:
            said = str(error)
            is_new = ("no bot tables yet" in said or "there is no" in said) and "can't be written" not in said
            fix = "Start the bot once to create it." if is_new else "See docs/troubleshooting.md."
            yield (warning if is_new else problem)(check, said, fix)
        except StorageUnavailable as error:
            fix = f"Check DATABASE_URL and {'its disk' if database.is_sqlite else 'the server'}."
            yield problem(check, f"{kind} can't be reached or written ({error})", fix)
        else:
            owner = ", and a bot is running on it" if database.is_in_use() else ""
            fix = "Grant them again, as docs/security.md says."
            is_open = ok(check, f"{kind} can be read and written{owner}")
            yield problem(check, f"its role has no rights on {closed}", fix) if closed else is_open
        finally:
            await database.close()

    def _note_clock(self, whose: str, date: str | None) -> None:
        with suppress(TypeError, ValueError):
            self._clocks[whose] = parsedate_to_datetime(date or "").timestamp() - self.clock.now()

    async def skew(self) -> AsyncIterator[Finding]:
        """Compare the clocks that were met on the way."""
        for whose, seconds in self._clocks.items():
            check = f"clock against {whose}"
            if abs(seconds) <= SKEW_SECONDS:
                yield ok(check, f"{abs(seconds):.0f} s apart")
            else:
                fix = "Turn on time synchronization on this machine."
                yield warning(check, f"{abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead'}", fix)


def _settings(unknown: Sequence[str]) -> Finding:
    if unknown:
        detail = f"{', '.join(unknown)} {'is no setting' if len(unknown) == 1 else 'are no settings'} of this version"
        return warning("settings", detail, "Check the spelling, or remove it. It does nothing.")
    return ok("settings", "all variables are valid")


def _refused(check: str, error: SlackFailure, fix: str) -> Finding:
    """Return what a refusal of Slack's means, or that it was only busy or out of reach."""
    if not error.is_passing:
        return problem(check, error.code, fix)
    if error.code:
        return warning(
            check, f"can't be checked: {error.code}", "That's Slack's own trouble. Run the doctor again in a minute."
        )
    fix = "Check the network, the proxy in HTTPS_PROXY, and Slack's status."
    return problem(check, f"can't reach Slack ({error})", fix)


def _not_shown(check: str, error: SlackFailure) -> Finding:
    """Return what it means that Slack doesn't show a channel: the bot can post where it can't look."""
    if error.code == "missing_scope":
        return warning(check, "can't be checked", READ_SCOPES)
    return _refused(check, error, INVITE)


def _scopes(granted: Collection[str], needed: frozenset[str]) -> Finding:
    missing = missing_scopes(granted)
    if not missing:
        return ok("Slack scopes", f"all {len(SCOPES)}")
    fix = "Update the app's manifest (python -m bot manifest) and reinstall the app."
    return (problem if needed.difference(granted) else warning)("Slack scopes", f"missing {missing}", fix)
