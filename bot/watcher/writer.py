"""What all share that write in the alert channels."""

from dataclasses import dataclass

from bot.clock import Clock
from bot.models import AlertChannels
from bot.store import LeasedDatabase
from bot.watcher.config import WatchConfig
from bot.watcher.workqueue import WorkQueue


@dataclass(slots=True)
class Writer:
    """What they work with."""

    database: LeasedDatabase
    channels: AlertChannels
    queue: WorkQueue
    config: WatchConfig
    clock: Clock
