"""Time as a value, so that tests decide when it passes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class WaitReason(StrEnum):
    """Why the bot waits. Tests let a pause pass by its reason, never by its length."""

    RETRY = "retry"
    WATCH_AGAIN = "another attempt of the watch"
    READ_BACK = "read back"
    PROGRESS = "progress"
    SLACK_LIMIT = "Slack's rate limit"
    TELL_AGAIN = "another attempt to answer"
    HEARTBEAT = "heartbeat"
    RECOVERY = "recovery"
    TIDY = "stuck selections and old response URLs"
    DAILY = "what is done once a day"
    LEASE = "lease"
    POLL = "poll"
    TICK = "tick"
    COMPARE = "comparison with Slack"
    SLACK_CHECK = "check of Slack"
    SOCKET_CHECK = "check of the socket"
    OUTBOX = "outbox"
    SECRETS = "look at the files with secrets"
    AUDIT = "audit"


# Linux's CLOCK_MONOTONIC stops while the machine is suspended, and leases and clicks would look younger than they are.
_monotonic = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


@dataclass(frozen=True, slots=True)
class Clock:
    """The four ways in which the bot meets time.

    Attributes:
        now: Unix time in seconds, for what people read.
        monotonic: seconds since any moment, for durations and expiry; time in which the machine is suspended counts.
        sleep: wait that many seconds, for a reason.
        timeout: raise TimeoutError after that many seconds, like `asyncio.timeout`.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = _monotonic
    sleep: Callable[[float, WaitReason], Awaitable[None]] = lambda seconds, _why: asyncio.sleep(seconds)
    timeout: Callable[[float], AbstractAsyncContextManager[object]] = asyncio.timeout
