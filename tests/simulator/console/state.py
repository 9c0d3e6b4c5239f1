"""What the page shows, as plain values."""

from dataclasses import asdict
from typing import Any

from handlers.manifest import manifest
from tests.simulator.console.scenes import CONDITIONS, Scenes
from tests.simulator.listener import Exchange
from tests.simulator.slack import Posted, Slack
from tests.simulator.slack.workspace import BOT_USER, TEAM
from tests.simulator.together import TERMINAL, Together

SHOWN = 120  # remediations of a cluster


def workspace(slack: Slack, operators: set[str]) -> dict[str, Any]:
    """The channel, and the people to act as."""
    people = [
        {"id": value["id"], "name": value["name"], "role": _role(value, operators), "away": value["team_id"] != TEAM}
        for value in slack.users.values()
    ]
    channels = [{"id": name, "name": channel.name} for name, channel in slack.channels.items()]
    return {
        "people": people,
        "channels": channels,
        "bot": BOT_USER,
        "shortcuts": manifest()["features"]["shortcuts"],
        "groups": [{"id": group, "name": slack.group_names.get(group, group)} for group in slack.groups],
    }


def _role(user: dict[str, Any], operators: set[str]) -> str:
    if user["team_id"] != TEAM:
        return "guest of a connected workspace"
    return "operator" if user["id"] in operators else "not an operator"


def message(posted: Posted) -> dict[str, Any]:
    """A message, as much of it as a client is shown."""
    shown = ("channel", "ts", "text", "blocks", "attachments", "thread_ts", "only_for", "by", "edits", "broadcast")
    return {name: getattr(posted, name) for name in shown}


def views(slack: Slack) -> list[dict[str, Any]]:
    """The dialogs that are open, each with who sees it."""
    owners = [slack.viewers[view["id"]] for view in slack.views]
    return [{**view, "user": user, "client": client} for view, (user, client) in zip(slack.views, owners, strict=True)]


def service(together: Together, scenes: Scenes) -> dict[str, Any]:
    """The clusters with their nodes, and how the API is."""
    return {
        "condition": scenes.condition,
        "conditions": list(CONDITIONS),
        "advances": scenes.advances,
        "clusters": [_cluster(together, scenes, cluster) for cluster in _newest_first(together)],
    }


def _newest_first(together: Together) -> list[str]:
    """The clusters, the one with the latest remediation first."""
    latest = dict.fromkeys(ids[0] for ids in reversed(together.remediations))
    return list(latest | dict.fromkeys(together.clusters))


def _cluster(together: Together, scenes: Scenes, cluster: str) -> dict[str, Any]:
    newest_first = [(ids, item) for ids, item in reversed(together.remediations.items()) if ids[0] == cluster]
    broken = {ids[1] for ids, each in newest_first if each["state"] not in TERMINAL}
    return {
        "id": cluster,
        "name": together.clusters[cluster],
        "nodes": together.nodes.get(cluster, 0),
        "broken": len(broken),
        "more": max(0, len(newest_first) - SHOWN),
        "remediations": [
            {
                "ids": ids,
                "node": each.get("instance_name", ids[1]),
                "mode": each["mode"].removeprefix("REMEDIATION_MODE_"),
                "state": each["state"],
                "offered": scenes.offered(ids),
            }
            for ids, each in newest_first[:SHOWN]
        ],
    }


def calls(slack: Slack, together: Together) -> list[dict[str, Any]]:
    """The HTTP calls of both simulators, in the order in which they began, without their bodies."""
    found = sorted(_exchanges(slack, together), key=lambda each: each.number)
    return [{**asdict(exchange), "sent": None, "answered": None, "is_poll": exchange.is_poll} for exchange in found]


def bodies(slack: Slack, together: Together, number: int) -> dict[str, str]:
    """What was sent and answered in a call.

    Raises:
        KeyError: it is no longer known.
    """
    for exchange in _exchanges(slack, together):
        if exchange.number == number:
            return {"sent": exchange.sent, "answered": exchange.answered}
    raise KeyError(number)


def _exchanges(slack: Slack, together: Together) -> list[Exchange]:
    return [*slack.exchanges, *slack.polls, *together.exchanges, *together.polls]
