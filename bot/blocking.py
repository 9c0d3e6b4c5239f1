"""Calls that may hang forever, such as on a file: neither the event loop nor the end of the process waits for them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread of its own, which ends with the process.

    `asyncio.to_thread` would keep the process alive until the function returns.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # the function can't be stopped: what it returns when nobody waits is dropped

    def work() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)

    threading.Thread(target=work, name="blocking", daemon=True).start()
    return await asyncio.wrap_future(future)
