"""Finds what waits for approval, posts it once, and follows it to its end, like a Kubernetes controller.

`poller` lists clusters, `intake` writes down what has changed and puts messages on the `workqueue`, and `reconciler`
makes each message say what `schedule`, `threads` and `calls` work out from the store.
"""

from bot.watcher.config import Route, StormBrake, WatchConfig, stale_after, unknown_clusters
from bot.watcher.watcher import Watcher
