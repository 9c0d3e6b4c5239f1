"""The settings, read once: every bad variable is told at once, with what is wrong."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bot import formats
from bot.daily import DailyTime, QuietHours
from bot.environment import (
    EXAMPLES,
    SECRETS,
    Variables,
    read_files,
    read_one,
    read_secret,
    strangers,
    unusable,
)
from bot.models import Mode

_TOKEN = re.compile(r"\bx(?:ox[a-z]|app)-\w")
_LONG = 16  # characters of a secret that nothing else contains by chance
DEFAULT_DATABASE = "sqlite:///remediation-bot.db"


class Settings(BaseModel):
    """What the environment says. Names, meanings and defaults: docs/settings.md."""

    model_config = ConfigDict(frozen=True)

    slack_bot_token: Annotated[SecretStr, formats.secret("xoxb-")]
    slack_signing_secret: formats.Token | None = None
    slack_app_token: Annotated[SecretStr, formats.secret("xapp-")] | None = None
    slack_api_url: formats.Url = "https://slack.com/api"
    together_api_key: formats.Token
    together_base_url: Annotated[formats.Url, AfterValidator(formats.together_url)] = "https://api.together.xyz/v1"
    bot_operators: formats.People
    bot_channels: formats.Items[Annotated[str, formats.each_is(r"[CGD][A-Z0-9]+", "channel ID")]] = ()
    bot_alert_channel: Annotated[str, AfterValidator(formats.channel)] | None = None
    bot_clusters: formats.Items[Annotated[str, AfterValidator(formats.cluster)]] = ()
    bot_observe: formats.Items[Annotated[str, AfterValidator(formats.cluster_or_all)]] = ()
    bot_poll_seconds: Annotated[int, Field(ge=1, le=3600)] = 15
    bot_remind_minutes: formats.Minutes = 15
    bot_oncall: Annotated[str, AfterValidator(formats.oncall)] = ""
    bot_escalate: Annotated[tuple[str, float] | None, BeforeValidator(formats.escalation)] = None
    bot_routes: Annotated[dict[str, tuple[str, str]], BeforeValidator(formats.routes)] = {}
    bot_console_url: Annotated[str, AfterValidator(formats.console)] = "https://api.together.ai/clusters"
    bot_runbook_url: Annotated[str, AfterValidator(formats.template)] = ""
    bot_impact_url: Annotated[str, AfterValidator(formats.impact)] = ""
    bot_impact_token: formats.Token | None = None
    bot_quiet_hours: Annotated[QuietHours | None, BeforeValidator(formats.quiet_hours)] = None
    bot_summary: Annotated[DailyTime | None, BeforeValidator(formats.daily_time)] = None
    bot_reason: Annotated[Literal["never", "cancel", "always"], formats.Lower] = "never"
    bot_max_in_repair: Annotated[int | None, Field(ge=1)] = None
    bot_max_in_repair_percent: Annotated[int | None, Field(ge=1, le=100)] = None
    bot_two_people_modes: formats.Items[Annotated[str, AfterValidator(formats.mode)]] = ()
    bot_max_repairs_per_node: Annotated[tuple[int, float], BeforeValidator(formats.per_node)] = (0, 0.0)
    bot_break_glass: formats.People = ()
    bot_automatic_repairs: Annotated[Literal["all", "destructive", "none"], formats.Lower] = "all"
    bot_wait_minutes: Annotated[dict[str, int], BeforeValidator(formats.waits)] = {}
    bot_stuck_minutes: formats.Minutes = 90
    bot_storm_brake: Annotated[tuple[int, bool] | None, BeforeValidator(formats.storm_brake)] = None
    bot_unrepaired_minutes: formats.Minutes = 15
    bot_verify_hours: Annotated[int, Field(ge=0, le=168)] = 24
    bot_lease_seconds: Annotated[int, Field(ge=2, le=300)] = 15
    bot_webhook_url: formats.ExactUrl | None = None
    bot_webhook_secret: Annotated[SecretStr, AfterValidator(formats.webhook_secret)] | None = None
    bot_pagerduty_key: Annotated[SecretStr, AfterValidator(formats.pagerduty_key)] | None = None
    bot_pagerduty_when: Annotated[Literal["opened", "reminder"], formats.Lower] = "reminder"
    bot_pagerduty_url: Annotated[formats.Url, AfterValidator(formats.pagerduty_url)] = "https://events.pagerduty.com"
    bot_audit_key: Annotated[SecretStr, AfterValidator(formats.audit_key)] | None = None
    bot_audit_file: str = ""
    bot_retention_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    database_url: Annotated[str, AfterValidator(formats.database), Field(repr=False)] = DEFAULT_DATABASE
    host: str = "0.0.0.0"  # noqa: S104 - a server behind a router or balancer listens everywhere
    port: Annotated[int, Field(ge=0, le=65535)] = 3000
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], formats.Upper] = "INFO"
    log_format: Annotated[Literal["text", "json"], formats.Lower] | None = None

    @property
    def secrets(self) -> Sequence[str]:
        """What must never be logged."""
        secrets = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        if not self.database_url.startswith("sqlite:"):
            # As libpq reads it, and as a URL has it.
            password = formats.password_of(self.database_url)
            secrets += [form for form in (password, quote(password, safe="")) if form]
        return secrets

    @property
    def named_clusters(self) -> Mapping[str, Collection[str]]:
        """Which clusters settings name, by the settings."""
        return {
            "BOT_CLUSTERS": {*self.bot_clusters},
            "BOT_ROUTES": {*self.bot_routes},
            "BOT_OBSERVE": {*self.bot_observe} - {"*"},
            "BOT_WAIT_MINUTES": {*self.bot_wait_minutes} - {"*"},
        }

    def channel_for(self, cluster_id: str) -> str | None:
        """Return where the result goes of what was asked outside any channel; None where no channel is set."""
        default = self.bot_alert_channel or next(iter(self.bot_channels), None)
        return self.bot_routes.get(cluster_id, (default, ""))[0]

    @property
    def unknown_modes(self) -> tuple[str, ...]:
        """The modes in BOT_TWO_PEOPLE_MODES that this version doesn't know."""
        return tuple(mode for mode in self.bot_two_people_modes if mode not in set(Mode))


def revealed(secret: SecretStr | None) -> str:
    """Return a secret itself; empty where it isn't set."""
    return secret.get_secret_value() if secret else ""


def read_settings(variables: Variables) -> Settings:
    """Read the settings. An empty variable counts as not set.

    Raises:
        SettingsError: some are missing or wrong; the message lists them all.
    """
    from_files, problems = read_files(variables)
    values = {**variables, **from_files}
    problems |= {name: f"isn't a setting (did you mean {meant}?)" for name, meant in strangers(values).items() if meant}
    given = {name.lower(): value for name in EXAMPLES if (value := (values.get(name) or "").strip())}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0])
            problems.setdefault(name.upper(), _problem(name, problem["type"], problem["msg"], problem.get("ctx", {})))
    problems = {**_contradictions(given), **_copied_over(given), **problems, **_misplaced(given)}
    problems = problems or _unusable_proxies(settings)
    if problems:
        raise unusable(problems)
    return settings


def _misplaced(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with somebody's secret in them that aren't one: they are printed, logged, and served."""
    secret = [(name, given[name.lower()]) for name in SECRETS if name != "DATABASE_URL" and name.lower() in given]
    problems: dict[str, str] = {}
    for name, value in given.items():
        if name.upper() in SECRETS:
            continue
        if _TOKEN.search(value):
            problems[name.upper()] = "contains a token"
        elif whose := next((of for of, each in secret if len(each) >= _LONG and each in value), None):
            problems[name.upper()] = f"contains the value of {whose}"
    return problems


def _copied_over(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with a copy of the audit trail that would be written over the database."""
    database = given.get("database_url", DEFAULT_DATABASE).removeprefix("sqlite:///").partition("?")[0]
    if (copy := given.get("bot_audit_file")) and Path(copy).resolve() == Path(database).resolve():
        return {"BOT_AUDIT_FILE": "must be another file than the database, which the copy would destroy"}
    return {}


def _contradictions(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with variables that are right on their own."""
    problems: dict[str, str] = {}
    if "slack_app_token" not in given and "slack_signing_secret" not in given:
        problems["SLACK_APP_TOKEN"] = "is missing (or set SLACK_SIGNING_SECRET for HTTP mode)"  # noqa: S105 - a sentence, no secret
    alert_channel = given.get("bot_alert_channel")
    allowed = {channel.strip() for channel in given.get("bot_channels", "").split(",")} - {""}
    if allowed and alert_channel and alert_channel not in allowed:
        problems["BOT_ALERT_CHANNEL"] = "must be one of BOT_CHANNELS; otherwise its buttons won't work"
    if routes := given.get("bot_routes"):
        routed = {route.partition("=")[2].partition("/")[0].strip() for route in routes.split(",") if route.strip()}
        if not alert_channel:
            problems["BOT_ROUTES"] = "must come with BOT_ALERT_CHANNEL, for the clusters that have no route"
        elif allowed and not routed <= allowed:
            problems["BOT_ROUTES"] = "must use channels of BOT_CHANNELS; otherwise its buttons won't work"
    if "bot_storm_brake" in given and not alert_channel:
        problems["BOT_STORM_BRAKE"] = "must come with BOT_ALERT_CHANNEL; otherwise the bot doesn't watch what is broken"
    for name, other in (("bot_webhook_url", "bot_webhook_secret"), ("bot_webhook_secret", "bot_webhook_url")):
        if name in given and other not in given:
            problems[other.upper()] = f"is missing: {name.upper()} needs it"
    if os.environ.get("SLACK_CLIENT_ID") and os.environ.get("SLACK_CLIENT_SECRET"):  # which Bolt reads itself
        problems["SLACK_CLIENT_ID"] = "and SLACK_CLIENT_SECRET would turn on OAuth installs; unset both"
    return problems


def _unusable_proxies(settings: Settings) -> dict[str, str]:
    """Return what is wrong with the environment's proxies, of those that are used."""
    used = [settings.slack_api_url, settings.together_base_url, settings.bot_impact_url]
    if settings.bot_webhook_url or settings.bot_pagerduty_key:  # whose key may also come with renewed secrets
        used += [settings.bot_webhook_url or "", settings.bot_pagerduty_url]
    proxies = filter(None, map(formats.proxy_for, used))
    with suppress(ValueError):  # an odd one is no URL
        if all(urlsplit(proxy).scheme in {"http", "https"} for proxy in proxies):
            return {}
    name = "HTTPS_PROXY" if getproxies().get("https") else "ALL_PROXY"  # all but loopback is https
    return {name: "must be an HTTP proxy, such as http://proxy:3128"}


def read_database_url(values: Variables) -> str:
    """Read DATABASE_URL alone, for what needs no Slack and no Together.

    Raises:
        SettingsError: it is wrong.
    """
    try:
        return formats.database(read_one("DATABASE_URL", values) or DEFAULT_DATABASE)
    except ValueError as error:
        raise unusable({"DATABASE_URL": str(error)}) from None


def read_audit_keys(values: Variables, older: Sequence[Path]) -> Sequence[str]:
    """Read BOT_AUDIT_KEY alone, and the keys before it from files.

    Raises:
        SettingsError: one is missing or wrong.
    """
    keys: list[str] = []
    problems: dict[str, str] = {}
    for path in (None, *older):
        name = f"The key in {path}" if path else "BOT_AUDIT_KEY"
        try:
            secret = read_secret(path) if path else read_one("BOT_AUDIT_KEY", values)
            keys.append(formats.audit_key(SecretStr(secret)).get_secret_value())
        except OSError as error:
            problems[name] = f"can't be read ({type(error).__name__})"
        except ValueError as error:
            problems[name] = str(error)
    if problems:
        raise unusable(problems)
    return keys


def _problem(name: str, kind: str, message: str, limits: Mapping[str, Any]) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"must be {limits['expected'].replace(chr(39), '')}"
    if kind.startswith(("int_", "greater_", "less_")):
        known = Settings.model_fields[name].metadata
        low, high = (
            next((getattr(bound, end) for bound in known if hasattr(bound, end)), None) for end in ("ge", "le")
        )
        return f"must be a whole number {f'of at least {low}' if high is None else f'from {low} to {high}'}"
    return message.removeprefix("Value error, ").removeprefix("The cluster ID ").removesuffix(".")
