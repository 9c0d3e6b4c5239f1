"""Where settings come from: variables, a `.env` file, and files with secrets."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv.parser import Binding, parse_stream

_PREFIX = "BOT_"
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
SECRETS = (
    "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN", "TOGETHER_API_KEY", "BOT_WEBHOOK_SECRET",
    "BOT_PAGERDUTY_KEY", "BOT_AUDIT_KEY", "BOT_IMPACT_TOKEN", "DATABASE_URL",
)  # fmt: skip
_NAMES = (*EXAMPLES, *(f"{name}_FILE" for name in SECRETS))
Variables = Mapping[str, str | None]
_NAME = re.compile(r"[^\W\d]\w*|bot[\w-]*", re.IGNORECASE)  # BOT-OBSERVE too, for which BOT_OBSERVE is suggested
_MAX_SECRET = 65_536  # bytes of a file


class SettingsError(Exception):
    """The environment isn't usable; `str(error)` names every bad variable."""


def read_variables(environ: Mapping[str, str], dotenv: Path) -> Variables:
    """Return all variables, the real ones before those of a `.env` file.

    Raises:
        SettingsError: the file can't be read. A line that is left out or overridden may be a guard rail.
    """
    try:
        with dotenv.open(encoding="utf-8-sig") as file:
            lines = [*parse_stream(file)]  # without interpolation: a secret may contain ${…}
        values: dict[str, str] = {}  # an empty one counts as not set, so another line's stays
        for binding in lines:
            if not _is_whole(binding):
                why = "isn't NAME=value. Correct it, or begin it with #"
            elif binding.key and binding.value and values.setdefault(binding.key, binding.value) != binding.value:
                why = f"sets {binding.key} to something else than an earlier line. Keep one"
            else:
                continue
            text, line = binding.original
            blank = text.removesuffix(text.lstrip()).count("\n")  # dotenv counts from the blank lines before it
            why = f"line {line + blank} {why}"
            break
        else:
            return {**values, **environ}
    except (FileNotFoundError, IsADirectoryError):
        return environ
    except UnicodeDecodeError as error:
        why = f"byte {error.object[error.start]:#04x} isn't UTF-8. Save the file as UTF-8"
    except OSError as error:
        why = f"{error.strerror or type(error).__name__}. Let the bot's user read the file"
    raise SettingsError(f"The bot can't start: {dotenv.absolute()} can't be read: {why}.")


def _is_whole(line: Binding) -> bool:
    """Return whether a line is a setting, a comment, or blank; not one at which a list continues, as of BOT_ROUTES."""
    return not line.error and (line.key is None or (line.value is not None and _NAME.fullmatch(line.key) is not None))


def strangers(values: Variables) -> dict[str, str]:
    """Return the variables that begin like a setting and aren't one, with the one that each resembles, or "" for none.

    A misspelled guard rail would be off without anybody noticing.
    """
    known = {name.removeprefix(_PREFIX): name for name in _NAMES if name.startswith(_PREFIX)}
    resembled: dict[str, str] = {}
    for name, value in values.items():
        as_meant = name.upper().replace("-", "_")
        rest = as_meant.removeprefix(_PREFIX)
        if as_meant == rest or (name == as_meant and rest in known) or not (value or "").strip():
            continue
        begun = [rest] if rest in known else [name for name in known if rest and name.startswith(f"{rest}_")]
        alike = begun or difflib.get_close_matches(rest, known, n=1, cutoff=0.75)
        resembled[name] = known[alike[0]] if alike else ""
    return resembled


def unknown_names(values: Variables, environ: Mapping[str, str]) -> Sequence[str]:
    """Return the variables that look like settings, as all in a `.env` file do, and that this version doesn't know."""
    resembling = strangers(values)
    ours = {name for name, meant in resembling.items() if not meant}
    in_dotenv = values.keys() - environ.keys()
    return sorted(ours | (in_dotenv - resembling.keys()).difference(_NAMES))


def secret_files(values: Variables, names: Sequence[str] = SECRETS) -> Mapping[str, Path]:
    """Return the files that secrets are read from, by the names of their variables."""
    return {name: Path(path) for name in names if (path := (values.get(f"{name}_FILE") or "").strip())}


def read_files(values: Variables, names: Sequence[str] = SECRETS) -> tuple[dict[str, str], dict[str, str]]:
    """Return the secrets that are in files, and what is wrong with those."""
    secrets_read: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name, path in secret_files(values, names).items():
        if (values.get(name) or "").strip():
            problems[name] = f"and {name}_FILE are both set; keep one"
            continue
        try:
            secrets_read[name] = read_secret(path)
        except (OSError, UnicodeDecodeError) as error:
            problems[name] = f"can't be read from {name}_FILE ({type(error).__name__})"
        except ValueError as error:
            problems[name] = f"{error} in {name}_FILE"
    return secrets_read, problems


def read_secret(path: Path) -> str:
    """Read a file no further than a secret is long: a path such as /dev/zero has no end."""
    with path.open("rb") as file:
        content = file.read(_MAX_SECRET + 1)
    secret = content.decode().strip()
    if not secret or len(content) > _MAX_SECRET:
        raise ValueError("is empty or too long")
    return secret


def read_one(name: str, values: Variables) -> str:
    """Return one variable, also from its file; empty where it isn't set."""
    from_files, problems = read_files(values, (name,))
    if problems:
        raise unusable(problems)
    return (from_files.get(name) or values.get(name) or "").strip()


def unusable(problems: Mapping[str, str]) -> SettingsError:
    """Return what is wrong with variables, by their names, as an error with an example of each."""
    lines = [
        f"  {name} {problem}." + (f" Example: {EXAMPLES[name]}" if name in EXAMPLES else "")
        for name, problem in problems.items()
    ]
    count = "One variable is" if len(lines) == 1 else f"{len(lines)} variables are"
    return SettingsError(
        "\n".join([f"The bot can't start: {count} missing or invalid.", *lines, "See docs/settings.md."])
    )
