"""Finds what waits for a human, tells it once, and follows it to its end.

`Watcher` is the one process that does so. `poll` reads Together, `follow` says what becomes of an alert, `writer` keeps
each card and thread true, `storm` does the same for many at once, and `outages` tells when Together cannot be read.
"""

from bot.watcher.rules import WatchRules
from bot.watcher.watcher import Watcher

__all__ = ["WatchRules", "Watcher"]
