"""The Slack app manifest: what the app must be allowed, in agreement with what the handlers use."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from bot.models import Json
from bot.parsing import COMMAND
from handlers.payloads import SHORTCUT
from handlers.server import SLACK_PATH

SCOPES: Mapping[str, str] = {
    "app_mentions:read": "answer when it's mentioned",
    "channels:history": "find alerts already posted, after a crash",
    "channels:read": "check alert channels",
    "chat:write": "cards and answers",
    "chat:write.public": "answer in public channels the bot hasn't joined",
    "commands": COMMAND,
    "groups:history": "find alerts already posted in private channels",
    "groups:read": "check private alert channels",
    "im:history": "answer direct messages",
    "usergroups:read": "operators by user group",
    "users:read": "tell guests, bots, and people of other workspaces apart",
}
_NEEDED_SCOPES = frozenset({"chat:write", "users:read"})
# message.im: direct messages. app_home_opened needs no scope.
EVENTS = ("app_home_opened", "app_mention", "message.im")


def missing_scopes(granted: Collection[str]) -> str:
    """Return what the bot was installed without, and for what; empty where nothing is missing."""
    return ", ".join(f"{name} ({use})" for name, use in SCOPES.items() if name not in granted)


def needed_scopes(operators: Collection[str]) -> frozenset[str]:
    """Return without which scopes nothing can be decided by these users and user groups."""
    is_groups = all(operator.startswith("S") for operator in operators)
    return _NEEDED_SCOPES | {"usergroups:read"} if is_groups else _NEEDED_SCOPES


def manifest(url: str | None = None) -> Json:
    """Write the manifest, in version 2 of Slack's schema.

    Args:
        url: the bot's public https URL, for HTTP mode; None for Socket Mode.

    Raises:
        ValueError: `url` isn't an https URL.
    """
    request_url = {} if url is None else {"request_url": _request_url(url)}
    command: Json = {
        "command": COMMAND,
        "description": "Cancel a Together AI node remediation",
        "usage_hint": "CLUSTER INSTANCE REMEDIATION [reason]",
        "should_escape": True,
    }
    interactivity: Json = {"is_enabled": True, **request_url}
    if request_url:
        command["url"] = interactivity["message_menu_options_url"] = request_url["request_url"]
    return {
        "_metadata": {"major_version": 2},
        "display_information": {
            "name": "Remediation bot",
            "description": "Approve or cancel Together AI node remediations from Slack.",
            "background_color": "#1f2d3d",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "remediation-bot", "always_online": True},
            "slash_commands": [command],
            "shortcuts": [
                {
                    "name": "Cancel remediation…",
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": "Find the remediation this message is about, and cancel it",
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS), **request_url},
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": url is None,
            "token_rotation_enabled": False,
        },
    }


def _request_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"--url must be the bot's public https URL, such as https://bot.example.com, not {url!r}.")
    return f"{url.rstrip('/').removesuffix(SLACK_PATH)}{SLACK_PATH}"
