"""The environment, read once: every bad variable is told at once, with what is wrong and an example."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bot import formats
from bot.daily import DailyTime, QuietHours
from bot.models import Mode, TwoPeople

_PREFIX = "BOT_"
DEFAULT_DATABASE = "sqlite:///remediation-bot.db"
EXAMPLES: Mapping[str, str] = {
    "SLACK_BOT_TOKEN": "xoxb-… (app settings, “OAuth & Permissions”)",
    "SLACK_SIGNING_SECRET": "32 characters (app settings, “Basic Information”)",
    "SLACK_APP_TOKEN": "xapp-… with the scope connections:write (app settings, “Basic Information”)",
    "SLACK_API_URL": "https://slack.com/api/",
    "TOGETHER_API_KEY": "a key from https://api.together.ai/settings/api-keys",
    "TOGETHER_BASE_URL": "https://api.together.xyz/v1",
    "BOT_OPERATORS": "U012ABCDEF,S0GROUP01",
    "BOT_CHANNELS": "C012ABCDEF,C034GHIJKL",
    "BOT_ALERT_CHANNEL": "C012ABCDEF",
    "BOT_CLUSTERS": "cluster-1,cluster-2",
    "BOT_OBSERVE": "* or cluster-1,cluster-2",
    "BOT_POLL_SECONDS": "15",
    "BOT_REMIND_MINUTES": "15 (0 for no reminders)",
    "BOT_ONCALL": "S0ONCALL or U012ABCDEF",
    "BOT_ESCALATE": "S0LEADS/30",
    "BOT_ROUTES": "c-train=C012ABCDEF/S0ONCALL,c-infer=C034GHIJKL",
    "BOT_CONSOLE_URL": "https://console.example.com/clusters/{cluster_id}/remediations/{remediation_id}, or off",
    "BOT_RUNBOOK_URL": "https://wiki.example.com/xid/{xid}",
    "BOT_IMPACT_URL": "https://jobs.example.com/nodes/{node}",
    "BOT_IMPACT_TOKEN": "a token without spaces",
    "BOT_QUIET_HOURS": "22:00-07:00 Europe/Berlin",
    "BOT_SUMMARY": "08:00 Europe/Berlin",
    "BOT_REASON": "never, cancel, or always",
    "BOT_MAX_IN_REPAIR": "4",
    "BOT_MAX_IN_REPAIR_PERCENT": "10",
    "BOT_TWO_PEOPLE_MODES": "HOST_POWER_CYCLE,EVICT_WITHOUT_REPLACEMENT",
    "BOT_MAX_REPAIRS_PER_NODE": "3/24h",
    "BOT_BREAK_GLASS": "U012ABCDEF,S0GROUP01",
    "BOT_AUTOMATIC_REPAIRS": "all, destructive, or none",
    "BOT_WAIT_MINUTES": "c-train=120,*=30",
    "BOT_STUCK_MINUTES": "90 (0 for never)",
    "BOT_UNREPAIRED_MINUTES": "15 (0 for never)",
    "BOT_STORM_BRAKE": "20%",
    "BOT_VERIFY_HOURS": "24 (0 for never)",
    "BOT_LEASE_SECONDS": "15",
    "BOT_WEBHOOK_URL": "https://events.example.com/remediations",
    "BOT_WEBHOOK_SECRET": "whsec_ and at least 24 bytes in base64, such as from: openssl rand -base64 32",
    "BOT_PAGERDUTY_KEY": "32 characters (the service's Events API v2 integration)",
    "BOT_AUDIT_KEY": "at least 32 characters, such as from: openssl rand -hex 32",
    "BOT_AUDIT_FILE": "/var/log/remediation-bot/audit.jsonl, or - for standard output",
    "BOT_PAGERDUTY_WHEN": "opened",
    "BOT_PAGERDUTY_URL": "https://events.pagerduty.com",
    "BOT_RETENTION_DAYS": "400",
    "DATABASE_URL": "sqlite:///remediation-bot.db",
    "HOST": "127.0.0.1",
    "PORT": "3000",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}


class SettingsError(Exception):
    """The environment isn't usable; `str(error)` names every bad variable."""


SECRETS = (
    "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN", "TOGETHER_API_KEY", "BOT_WEBHOOK_SECRET",
    "BOT_PAGERDUTY_KEY", "BOT_AUDIT_KEY", "BOT_IMPACT_TOKEN", "DATABASE_URL",
)  # fmt: skip
_MAX_SECRET = 65_536  # bytes of a file


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
    bot_channels: Annotated[formats.Items, formats.each_is(r"[CGD][A-Z0-9]+", "channel ID")] = ()
    bot_alert_channel: Annotated[str, AfterValidator(formats.channel)] | None = None
    bot_clusters: Annotated[formats.Items, AfterValidator(formats.clusters)] = ()
    bot_observe: Annotated[formats.Items, AfterValidator(formats.observed)] = ()
    bot_poll_seconds: Annotated[int, Field(ge=1, le=3600)] = 15
    bot_remind_minutes: formats.Minutes = 15
    bot_oncall: Annotated[str, AfterValidator(formats.oncall)] = ""
    bot_escalate: Annotated[str, AfterValidator(formats.escalation)] | None = None
    bot_routes: Annotated[formats.Items, AfterValidator(formats.routes)] = ()
    bot_console_url: Annotated[str, AfterValidator(formats.console)] = "https://api.together.ai/clusters"
    bot_runbook_url: Annotated[str, AfterValidator(formats.template)] = ""
    bot_impact_url: Annotated[str, AfterValidator(formats.impact)] = ""
    bot_impact_token: formats.Token | None = None
    bot_quiet_hours: Annotated[QuietHours | None, BeforeValidator(formats.quiet_hours)] = None
    bot_summary: Annotated[DailyTime | None, BeforeValidator(formats.daily_time)] = None
    bot_reason: Annotated[Literal["never", "cancel", "always"], formats.Lower] = "never"
    bot_max_in_repair: Annotated[int | None, Field(ge=1)] = None
    bot_max_in_repair_percent: Annotated[int | None, Field(ge=1, le=100)] = None
    bot_two_people_modes: Annotated[formats.Items, AfterValidator(formats.modes)] = ()
    bot_max_repairs_per_node: Annotated[str, formats.Lower, AfterValidator(formats.per_node)] = ""
    bot_break_glass: formats.People = ()
    bot_automatic_repairs: Annotated[Literal["all", "destructive", "none"], formats.Lower] = "all"
    bot_wait_minutes: Annotated[formats.Items, AfterValidator(formats.waits)] = ()
    bot_stuck_minutes: formats.Minutes = 90
    bot_storm_brake: Annotated[str, AfterValidator(formats.storm_brake)] = ""
    bot_unrepaired_minutes: formats.Minutes = 15
    bot_verify_hours: Annotated[int, Field(ge=0, le=168)] = 24
    bot_lease_seconds: Annotated[int, Field(ge=2, le=300)] = 15
    bot_webhook_url: formats.Url | None = None
    bot_webhook_secret: Annotated[SecretStr, AfterValidator(formats.webhook_secret)] | None = None
    bot_pagerduty_key: Annotated[SecretStr, AfterValidator(formats.pagerduty_key)] | None = None
    bot_pagerduty_when: Annotated[Literal["opened", "reminder"], formats.Lower] = "reminder"
    bot_pagerduty_url: formats.Url = "https://events.pagerduty.com"
    bot_audit_key: Annotated[SecretStr, AfterValidator(formats.audit_key)] | None = None
    bot_audit_file: str = ""
    bot_retention_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    database_url: Annotated[str, AfterValidator(formats.database), Field(repr=False)] = DEFAULT_DATABASE
    host: str = "0.0.0.0"  # noqa: S104 - a server behind a router or balancer listens everywhere
    port: Annotated[int, Field(ge=0, le=65535)] = 3000
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], formats.Upper] = "INFO"
    log_format: Annotated[Literal["text", "json"], formats.Lower] | None = None

    @property
    def has_rules_to_pass(self) -> bool:
        """Whether there is anything that somebody could pass over by approving alone."""
        limits = self.bot_max_in_repair, self.bot_max_in_repair_percent
        return any(each is not None for each in limits) or bool(
            self.bot_two_people_modes or self.bot_max_repairs_per_node
        )

    @property
    def escalation(self) -> tuple[str, float] | None:
        """Whom else a reminder calls, and after how many seconds without a decision; None for nobody."""
        who, _, minutes = (self.bot_escalate or "").partition("/")
        return (who, 60.0 * int(minutes)) if who else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be logged."""
        kept = [getattr(self, name.lower()) for name in SECRETS]
        secrets = [each.get_secret_value() for each in kept if isinstance(each, SecretStr)]
        if not self.database_url.startswith("sqlite:"):
            # As libpq reads it, and as a URL has it.
            password = formats.password_of(self.database_url)
            secrets += [each for each in (password, quote(password, safe="")) if each]
        return tuple(dict.fromkeys(secrets))

    @property
    def named_clusters(self) -> Mapping[str, Collection[str]]:
        """Which clusters settings name, by the settings."""
        return {
            "BOT_CLUSTERS": {*self.bot_clusters},
            "BOT_ROUTES": {*self.routes},
            "BOT_OBSERVE": {*self.bot_observe} - {"*"},
            "BOT_WAIT_MINUTES": {*self.waits} - {"*"},
        }

    @property
    def routes(self) -> Mapping[str, tuple[str, str]]:
        """The channel and the on-call of clusters that have their own; without an on-call, BOT_ONCALL."""
        parted = (each.partition("=") for each in self.bot_routes)
        return {
            cluster_id: (target.partition("/")[0], target.partition("/")[2] or self.bot_oncall)
            for cluster_id, _, target in parted
        }

    @property
    def waits(self) -> Mapping[str, int]:
        """How many minutes clusters wait after an approval before they drain a busy node; "*" for all others."""
        parted = (each.partition("=") for each in self.bot_wait_minutes)
        return {cluster_id: int(minutes) for cluster_id, _, minutes in parted}

    @property
    def two_people(self) -> TwoPeople:
        """When two different people must approve."""
        repairs, _, hours = self.bot_max_repairs_per_node.removesuffix("h").partition("/")
        return TwoPeople(frozenset(self.bot_two_people_modes), int(repairs or 0), 3600.0 * int(hours or 0))

    def channel_for(self, cluster_id: str) -> str | None:
        """Return where the result goes of what was asked outside any channel; None where no channel is set."""
        default = self.bot_alert_channel or next(iter(self.bot_channels), None)
        return self.routes.get(cluster_id, (default, ""))[0]

    @property
    def unknown_modes(self) -> tuple[str, ...]:
        """The modes in BOT_TWO_PEOPLE_MODES that this version doesn't know."""
        return tuple(each for each in self.bot_two_people_modes if each not in set(Mode))


def revealed(secret: SecretStr | None) -> str:
    """Return a secret itself; empty where it isn't set."""
    return secret.get_secret_value() if secret else ""


def read_settings(environ: Mapping[str, str], dotenv: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: the real variables, which win. An empty one counts as not set.
        dotenv: a `.env` file, read when present.

    Raises:
        SettingsError: some are missing or wrong; the message lists them all.
    """
    values = _values(environ, dotenv)
    from_files, problems = _read_files(values)
    values |= from_files
    problems |= {name: f"isn't a setting; did you mean {meant}?" for name, meant in _strangers(values).items() if meant}
    given = {name.lower(): value for name in EXAMPLES if (value := (values.get(name) or "").strip())}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            name = str(each["loc"][0])
            problems.setdefault(name.upper(), _problem(name, each["type"], each["msg"], each.get("ctx", {})))
    problems = {**_contradictions(given, environ), **problems}
    if problems:
        raise SettingsError(_report(problems))
    return settings


def secret_files(environ: Mapping[str, str], dotenv: Path | None = None) -> Mapping[str, Path]:
    """Return the files that secrets are read from, by the names of their variables."""
    values = _values(environ, dotenv)
    return {name: Path(path) for name in SECRETS if (path := (values.get(f"{name}_FILE") or "").strip())}


def unknown_names(environ: Mapping[str, str], dotenv: Path | None = None) -> Sequence[str]:
    """Return the variables that look like settings and are none that this version knows."""
    return sorted(name for name, meant in _strangers(_values(environ, dotenv)).items() if not meant)


def _values(environ: Mapping[str, str], dotenv: Path | None) -> dict[str, str | None]:
    """Return all variables, the real ones before those of a `.env` file.

    Raises:
        SettingsError: the file can't be read. A line that is left out may be a guard rail.
    """
    if dotenv is None:
        return {**environ}
    try:
        with dotenv.open(encoding="utf-8-sig") as file:
            lines = [*parse_stream(file)]  # without interpolation: a secret may contain ${…}
        wrong = next((each.original.line for each in lines if each.error), None)
        if wrong is None:
            return {**{each.key: each.value for each in lines if each.key}, **environ}
        why = f"line {wrong} isn't NAME=value. Correct it, or begin it with #"
    except (FileNotFoundError, IsADirectoryError):
        return {**environ}
    except UnicodeDecodeError as error:
        why = f"byte {error.object[error.start]:#04x} isn't UTF-8. Save the file as UTF-8"
    except OSError as error:
        why = f"{error.strerror or type(error).__name__}. Let the bot's user read the file"
    raise SettingsError(f"The bot can't start: {dotenv.absolute()} can't be read: {why}.")


def _strangers(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the variables that begin like a setting and are none, with the one that each resembles, or "" for none.

    A misspelled guard rail would be off without anybody noticing.
    """
    known = {name.removeprefix(_PREFIX): name for name in EXAMPLES if name.startswith(_PREFIX)}
    known |= {f"{name.removeprefix(_PREFIX)}_FILE": f"{name}_FILE" for name in SECRETS if name.startswith(_PREFIX)}
    found: dict[str, str] = {}
    for name, value in values.items():
        as_meant = name.upper().replace("-", "_")
        rest = as_meant.removeprefix(_PREFIX)
        if as_meant == rest or (name == as_meant and rest in known) or not (value or "").strip():
            continue
        if rest in known:
            found[name] = as_meant
            continue
        begun = [each for each in known if rest and each.startswith(f"{rest}_")]
        alike = begun or difflib.get_close_matches(rest, known, n=1, cutoff=0.75)
        found[name] = known[alike[0]] if alike else ""
    return found


def _read_files(
    values: Mapping[str, str | None], names: Sequence[str] = SECRETS
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Return the secrets that are in files, and what is wrong with those."""
    found: dict[str, str | None] = {}
    problems: dict[str, str] = {}
    for name in names:
        path = (values.get(f"{name}_FILE") or "").strip()
        if not path:
            continue
        if (values.get(name) or "").strip():
            problems[name] = f"and {name}_FILE are both set; keep one"
            continue
        try:
            found[name] = _read_secret(Path(path))
        except (OSError, UnicodeDecodeError) as error:
            problems[name] = f"can't be read from {name}_FILE ({type(error).__name__})"
        except ValueError as error:
            problems[name] = f"{error} in {name}_FILE"
    return found, problems


def _read_secret(path: Path) -> str:
    """Read a file no further than a secret is long: a path such as /dev/zero has no end."""
    with path.open("rb") as file:
        content = file.read(_MAX_SECRET + 1)
    secret = content.decode().strip()
    if not secret or len(content) > _MAX_SECRET:
        raise ValueError("is empty or too long")
    return secret


def _contradictions(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with variables that are right on their own."""
    found: dict[str, str] = {}
    if "slack_app_token" not in given and "slack_signing_secret" not in given:
        found["SLACK_SIGNING_SECRET"] = "is missing (or set SLACK_APP_TOKEN to use Socket Mode)"  # noqa: S105 - a sentence, no secret
    channels, alert_channel = given.get("bot_channels"), given.get("bot_alert_channel")
    allowed = {each.strip() for each in channels.split(",")} if channels else None
    if allowed and alert_channel and alert_channel not in allowed:
        found["BOT_ALERT_CHANNEL"] = "must be one of BOT_CHANNELS; otherwise its buttons won't work"
    if routes := given.get("bot_routes"):
        routed = {each.partition("=")[2].partition("/")[0].strip() for each in routes.split(",") if each.strip()}
        if not alert_channel:
            found["BOT_ROUTES"] = "must come with BOT_ALERT_CHANNEL, for the clusters that have no route"
        elif allowed and not routed <= allowed:
            found["BOT_ROUTES"] = "must use channels of BOT_CHANNELS; otherwise its buttons won't work"
    for name, other in (("bot_webhook_url", "bot_webhook_secret"), ("bot_webhook_secret", "bot_webhook_url")):
        if name in given and other not in given:
            found[other.upper()] = f"is missing: {name.upper()} needs it"
    if environ.get("SLACK_CLIENT_ID") and environ.get("SLACK_CLIENT_SECRET"):
        found["SLACK_CLIENT_ID"] = "and SLACK_CLIENT_SECRET would turn on OAuth installs; unset both"
    return found


def read_database_url(environ: Mapping[str, str], dotenv: Path | None) -> str:
    """Read DATABASE_URL alone, for what needs no Slack and no Together.

    Raises:
        SettingsError: it is wrong.
    """
    try:
        return formats.database(_read_one("DATABASE_URL", environ, dotenv) or DEFAULT_DATABASE)
    except ValueError as error:
        raise SettingsError(_report({"DATABASE_URL": str(error)})) from None


def read_audit_keys(environ: Mapping[str, str], dotenv: Path | None, older: Sequence[Path]) -> Sequence[str]:
    """Read BOT_AUDIT_KEY alone, and the keys before it from files.

    Raises:
        SettingsError: one is missing or wrong.
    """
    keys: list[str] = []
    problems: dict[str, str] = {}
    for path in (None, *older):
        name = f"The key in {path}" if path else "BOT_AUDIT_KEY"
        try:
            found = _read_secret(path) if path else _read_one("BOT_AUDIT_KEY", environ, dotenv)
            keys.append(formats.audit_key(SecretStr(found)).get_secret_value())
        except OSError as error:
            problems[name] = f"can't be read ({type(error).__name__})"
        except ValueError as error:
            problems[name] = str(error)
    if problems:
        raise SettingsError(_report(problems))
    return keys


def _read_one(name: str, environ: Mapping[str, str], dotenv: Path | None) -> str:
    values = _values(environ, dotenv)
    from_files, problems = _read_files(values, (name,))
    if problems:
        raise SettingsError(_report(problems))
    return ((values | from_files).get(name) or "").strip()


def _problem(name: str, kind: str, message: str, limits: Mapping[str, Any]) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"must be {limits['expected'].replace(chr(39), '')}"
    if kind.startswith(("int_", "greater_", "less_")):
        return f"must be a whole number{_bounds(name)}"
    text = message.removeprefix("Value error, ").removesuffix(".")
    return text.removeprefix("The cluster ID ") if text.startswith("The cluster ID ") else text


def _bounds(name: str) -> str:
    """Return the range of a whole number, in words."""
    known = Settings.model_fields[name].metadata
    low, high = (next((getattr(each, end) for each in known if hasattr(each, end)), None) for end in ("ge", "le"))
    return f" of at least {low}" if high is None else f" from {low} to {high}"


def _report(problems: Mapping[str, str]) -> str:
    lines = [
        f"  {name} {problem}." + (f" Example: {EXAMPLES[name]}" if name in EXAMPLES else "")
        for name, problem in problems.items()
    ]
    count = "One variable is" if len(lines) == 1 else f"{len(lines)} variables are"
    return "\n".join([f"The bot can't start: {count} missing or invalid.", *lines, "See docs/settings.md."])
