"""Secrets that are in files, read again while the bot runs: a renewed key needs no restart."""

import logging
from collections.abc import Callable

from bot import blocking
from bot.clock import Clock, Pause
from bot.logs import add_secrets
from bot.settings import SECRETS, Settings, SettingsError

logger = logging.getLogger(__name__)

LOOK_EVERY = 10.0
_NEEDS_RESTART = {"DATABASE_URL", "BOT_AUDIT_KEY"}


class Renewal:
    """Looks whether the settings have other secrets now, and hands them over.

    Args:
        settings: as the bot started.
        reread: reads them again.
        clock: time.
    """

    def __init__(self, settings: Settings, reread: Callable[[], Settings], clock: Clock) -> None:
        self._settings = settings
        self._reread = reread
        self._clock = clock
        self._users: list[Callable[[Settings], None]] = []
        self._problem = ""

    def hand_to(self, use: Callable[[Settings], None]) -> None:
        """Call this with the new settings whenever a secret has changed."""
        self._users.append(use)

    async def run(self) -> None:
        """Look forever."""
        while True:
            await self._clock.sleep(LOOK_EVERY, Pause.SECRETS)
            await self.look()

    async def look(self) -> None:
        """Look once. What can't be read, or hangs, leaves the secrets as they are."""
        try:
            new = await blocking.call(self._reread)
        except SettingsError as error:
            if str(error) != self._problem:
                logger.error("New secrets can't be used, the old ones stay: %s", error)  # noqa: TRY400 - no bug
            self._problem = str(error)
            return
        self._problem = ""
        changed = [name for name in SECRETS if _value(new, name) != _value(self._settings, name)]
        if not changed:
            return
        self._settings = new
        add_secrets(new.secrets)
        for use in self._users:
            use(new)
        for name in changed:
            logger.info("%s is new%s", name, "; restart the bot to use it" if name in _NEEDS_RESTART else "")


def _value(settings: Settings, name: str) -> object:
    return getattr(settings, name.lower())
