"""Secrets that are in files, read again while the bot runs: a renewed key needs no restart."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from bot import blocking
from bot.clock import Clock, WaitReason
from bot.environment import SECRETS, SettingsError
from bot.logs import add_secrets
from bot.settings import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY = 10.0
_NEEDS_RESTART = {"DATABASE_URL", "BOT_AUDIT_KEY", "BOT_IMPACT_TOKEN"}


@dataclass(slots=True)
class Renewal:
    """Looks whether the settings have other secrets now, and has them used."""

    settings: Settings
    reread: Callable[[], Settings]
    clock: Clock
    use: Callable[[Settings], None]
    _problem: str = field(default="", init=False)

    async def run(self) -> None:
        """Look forever."""
        while True:
            await self.clock.sleep(LOOK_EVERY, WaitReason.SECRETS)
            await self.look()

    async def look(self) -> None:
        """Look once. What can't be read, or hangs, leaves the secrets as they are."""
        try:
            new = await blocking.call(self.reread)
        except SettingsError as error:
            if str(error) != self._problem:
                why = str(error).removeprefix("The bot can't start: ")
                logger.error("New secrets can't be used, the old ones stay: %s", why)  # noqa: TRY400 - no bug
            self._problem = str(error)
            return
        self._problem = ""
        before = self.settings
        changed = [name for name in SECRETS if _value(new, name) != _value(before, name)]
        if not changed:
            return
        self.settings = new
        add_secrets(new.secrets)
        self.use(new)
        for name in changed:
            # One that comes or goes turns something on or off, which only a start does.
            needs_restart = name in _NEEDS_RESTART or None in {_value(before, name), _value(new, name)}
            logger.info("%s is %s", name, "different now; restart the bot to use it" if needs_restart else "new")


def _value(settings: Settings, name: str) -> object:
    return getattr(settings, name.lower())
