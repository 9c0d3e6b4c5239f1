"""What is left of a message that another one replaces: one line that points there, and nothing to press."""

from collections.abc import Sequence

from bot.cards.blocks import line
from bot.models import Alert, Message
from bot.mrkdwn import escape


def moved(alerts: Sequence[Alert], channel_id: str) -> Message:
    """Return that a message is in another channel now."""
    return line(f"{_named(alerts)}: moved to <#{channel_id}>. Decide there.")


def moved_cluster(cluster: str, channel_id: str) -> Message:
    """Return that what is wrong in a cluster as a whole is told in another channel now."""
    return line(f"Cluster {escape(cluster, 100)}: moved to <#{channel_id}>.")


def posted_twice(alerts: Sequence[Alert], link: str) -> Message:
    """Return that there is another message about the same.

    Args:
        link: of the other message; empty where it isn't known.
    """
    where = f"<{link}|the other message>" if link else "the other message in this channel"
    return line(f"{_named(alerts)}: posted twice by mistake. Use {where}.")


def _named(alerts: Sequence[Alert]) -> str:
    """Return the nodes of a message: one by its name."""
    nodes = {each.remediation.node for each in alerts}
    return escape(nodes.pop(), 100) if len(nodes) == 1 else f"{len(nodes)} nodes"
