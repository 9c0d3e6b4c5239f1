"""Time as a value, so that tests decide when it passes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """The three ways in which the bot meets time.

    Attributes:
        now: seconds since 1970, for what people read.
        monotonic: seconds since any moment, for durations and expiry.
        sleep: waits for that many seconds.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
