"""Connections to the database: each transaction borrows one."""

import threading
from collections.abc import Sequence

from bot.store.connection import Connection, Driver, Running


class Pool:
    """Opens connections as they are needed, and waits for one where the server grants no more.

    Attributes:
        targets: who is told of events.
    """

    def __init__(self, driver: Driver) -> None:
        self.targets: Sequence[str] = ()
        self._driver = driver
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._changed = threading.Condition()
        self._is_closed = False

    def take(self, running: Running) -> Connection:
        """Return a connection that no other transaction has, the one that was used last.

        Raises:
            Exception: the driver's own, where none can be opened, and none is given back in time.
        """
        driver = self._driver
        while True:
            with self._changed:
                idle = self._idle.pop() if self._idle else None
            if idle:
                if not driver.has_ended(idle.raw):
                    return idle
                self.drop(idle)
                continue
            try:
                connection = driver.connection(driver.connect(), driver, self.targets)
            except driver.api.Error:
                if not self._is_given_back(running):
                    raise
                continue  # what was given back may have ended by then
            with self._changed:
                self._open.add(connection)
            return connection

    def _is_given_back(self, running: Running) -> bool:
        """Wait for another transaction's connection, while there may be one in time."""
        with self._changed:
            while not self._idle:
                left = running.give_up_at - running.time()
                if self._is_closed or not self._open or not self._changed.wait(left):
                    return False
            return True

    def give_back(self, connection: Connection | None) -> None:
        """Let others have a connection, unless it was dropped."""
        with self._changed:
            if connection in self._open:
                self._idle.append(connection)
                self._changed.notify()

    def drop(self, connection: Connection) -> None:
        """Close a connection that is of no use any more."""
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()
        connection.raw.close()

    def drop_idle(self) -> None:
        """Close what isn't in use."""
        while True:  # one at a time: where closing it fails, the others are still there
            with self._changed:
                if not self._idle:
                    return
                idle = self._idle.pop()
            self.drop(idle)

    def refuse(self) -> None:
        """Wake those who wait for a connection: they get none."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Close all connections, once no thread uses one."""
        for connection in self._open:
            connection.raw.close()
