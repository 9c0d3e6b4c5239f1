"""Secrets that are in files, read again while the bot runs: a renewed key needs no restart."""

import logging
from collections.abc import Callable, Mapping

from bot.clock import Clock, WaitReason
from bot.environment import SECRETS, SettingsError
from bot.logs import add_secrets
from bot.settings import Settings
from bot.tasks import in_thread

logger = logging.getLogger(__name__)

LOOK_EVERY = 10.0
_NEEDS_RESTART = {"DATABASE_URL", "BOT_AUDIT_KEY", "BOT_IMPACT_TOKEN"}


async def use_renewed(
    settings: Settings, reread: Callable[[], Settings], clock: Clock, use: Callable[[Settings], None]
) -> None:
    """Look forever whether the settings have other secrets now. What can't be read, or hangs, leaves them as they are.

    Args:
        settings: as they were read at the start.
        use: has the parts use the secrets of new settings.
    """
    problem = ""
    while True:
        await clock.sleep(LOOK_EVERY, WaitReason.SECRETS)
        try:
            new = await in_thread(reread)
        except SettingsError as error:
            if str(error) != problem:
                why = str(error).removeprefix("The bot can't start: ")
                logger.error("New secrets can't be used, the old ones stay: %s", why)  # noqa: TRY400 - no bug
            problem = str(error)
            continue
        problem = ""
        before, after = _secrets(settings), _secrets(new)
        changed = [name for name in SECRETS if before[name] != after[name]]
        if not changed:
            continue
        settings = new
        add_secrets(new.secrets)
        use(new)
        for name in changed:
            # One that comes or goes turns something on or off, which only a start does.
            needs_restart = name in _NEEDS_RESTART or None in {before[name], after[name]}
            logger.info("%s is %s", name, "different now; restart the bot to use it" if needs_restart else "new")


def _secrets(settings: Settings) -> Mapping[str, object]:
    return {name: getattr(settings, name.lower()) for name in SECRETS}
