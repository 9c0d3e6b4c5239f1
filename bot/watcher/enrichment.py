"""What a card says beyond the remediation: the node's history, and who is affected."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from bot.clock import Clock
from bot.errors import TogetherError
from bot.models import (
    FINAL,
    HISTORY_DAYS,
    Alert,
    History,
    Impacts,
    Learned,
    TwoPeople,
    repairs_since,
)
from bot.together import TogetherClient

logger = logging.getLogger(__name__)

HISTORY_SECONDS = 3.0  # for a nicety of the card, on which other cards wait
_DAY = 86_400.0


@dataclass(slots=True)
class Enricher:
    """Knows nodes.

    Attributes:
        impacts: says who is affected; None where nothing does.
    """

    together: TogetherClient
    clock: Clock
    two_people: TwoPeople
    impacts: Impacts | None

    async def learn(self, alert: Alert) -> Learned:
        """Return what is said about a node when its alert is first posted, or waits again after a repair."""
        if self.impacts is None:
            return Learned(await self.history(alert))
        return Learned(*await asyncio.gather(self.history(alert), self.impacts.of(alert.remediation)))

    async def history(self, alert: Alert) -> History | None:
        """Return what a node went through in the last days: one list, and the earlier repairs under this ID."""
        of, earlier = alert.remediation, [each.remediation for each in alert.earlier]
        try:
            async with self.clock.timeout(HISTORY_SECONDS):
                all_of_it = await self.together.list_remediations(of.cluster_id, of.instance_id)
        except (TogetherError, TimeoutError) as error:
            logger.warning("%s: can't read the node's history: %s", of.ref, type(error).__name__)
            return None
        now = self.clock.now()
        lately_since, since = now - self.two_people.seconds, now - HISTORY_DAYS * _DAY
        lately = len(repairs_since(all_of_it, of.ref, lately_since))
        lately += sum(each.ended_at >= lately_since for each in earlier)
        recent = [each for each in repairs_since(all_of_it, of.ref, since) if each.state in FINAL]
        recent = sorted(
            [*recent, *(each for each in earlier if each.ended_at >= since)], key=lambda each: each.ended_at
        )
        if not recent:
            return History(0, lately=lately)
        last, today = recent[-1], [each for each in recent if each.ended_at >= now - _DAY]
        faults = Counter(both[0] for each in today if each.mode == of.mode and (both := of.same_fault(each)))
        fault, same = next(iter(faults.most_common(1)), ("", 0))
        last_mode = last.mode if last.state in FINAL else None  # how it ended wasn't always seen
        return History(len(recent), last_mode, last.state, last.ended_at, same, of.mode, fault, lately)
