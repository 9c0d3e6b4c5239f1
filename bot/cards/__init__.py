"""What people see: pure functions from values to Slack messages. Escaping, limits and fallback text are theirs."""

from bot.cards import digest as many
from bot.cards.notes import USAGE, failure, in_progress, private, usage
from bot.cards.pause import ALL_CLUSTERS, PAUSE, RESUME, paused, resumed
from bot.cards.remediation_card import RELEASE, card
from bot.cards.thread import hold_ends, lines, mention, readable, reminder, transition, unreadable, unwatched
from bot.cards.words import mode_words, node, state_words

__all__ = [
    "ALL_CLUSTERS",
    "PAUSE",
    "RELEASE",
    "RESUME",
    "USAGE",
    "card",
    "failure",
    "hold_ends",
    "in_progress",
    "lines",
    "many",
    "mention",
    "mode_words",
    "node",
    "paused",
    "private",
    "readable",
    "reminder",
    "resumed",
    "state_words",
    "transition",
    "unreadable",
    "unwatched",
    "usage",
]
