"""Draws what people are told: a verdict or an error, as a card, a line, or both."""

import logging
from dataclasses import dataclass, replace

from bot import cards
from bot.clock import Clock
from bot.decisions.storing import or_none
from bot.decisions.verdict import Verdict
from bot.errors import BotError, NotAttempted, TogetherError
from bot.models import (
    Answer,
    CardContext,
    CardNote,
    Job,
    Message,
    Outcome,
    Remediation,
    ReplyKind,
    ReplyTarget,
    SeenState,
)
from bot.mrkdwn import escape
from bot.store import Database, approvals

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Answers:
    """Says a verdict in the place where it was asked for."""

    database: Database
    clock: Clock
    config: cards.CardConfig

    async def of(self, job: Job, verdict: Verdict, claimed: CardContext | None) -> Answer:
        """Draw a verdict with all that the bot knows about the remediation, as of the claim where nothing is newer."""
        request, place, present = job.request, job.request.place, verdict.present
        about = verdict.about or claimed or await or_none(self.database.read(approvals.card_context, present.ref))
        if verdict.is_late:
            said = f"{verdict.notice[0].lower()}{verdict.notice[1:]}"
            return Answer(ReplyKind.CARD, self._line(present, said, about, place), summary=verdict.notice)
        if about:
            about = replace(about, is_unlisted=False, hold=None if verdict.decided else about.hold)
        note = CardNote(verdict.notice, verdict.buttons, verdict.decided, present.state, present.mode, self.clock.now())
        summary = verdict.notice or verdict.summary
        answer = Answer(ReplyKind.CARD, self._card(place, verdict, about), note, summary=summary)
        if about is None or not _links_to_card(about, place):
            return answer
        if not request.rule.decides and (place.is_home or place.thread_ts == about.ts):
            return replace(answer, card_ts=about.ts)  # the card says it, and its thread
        done = f"{request.rule.done} by <@{request.actor.user_id}>." if verdict.decided else ""
        said = summary or done or f"{cards.labels.state(present.state)[0]}."
        return replace(answer, card_ts=about.ts, line=self._line(present, said, about, place))

    def of_failure(self, job: Job, error: BotError, about: CardContext | None = None) -> tuple[Answer, Outcome]:
        """Draw an error, and a line for the card: it must not look untouched, also where something else was clicked."""
        request, rule = job.request, job.request.rule
        if isinstance(error, NotAttempted):
            return Answer(ReplyKind.WHISPER, cards.private(error), summary=error.sentence), Outcome(error.code)
        logger.warning("%s", error)
        outcome = Outcome(error.code)
        if isinstance(error, TogetherError):
            outcome = replace(outcome, http_status=error.http_status, request_id=error.request_id)
        console = cards.link(self.config.console_url, request.ref)
        told = cards.failure(error, request, about.node if about else "", console)
        answer = Answer(ReplyKind.ERROR, told, summary=error.sentence)
        if not rule.decides or not job.is_active or request.batch_id:
            return answer, outcome
        now, shown = self.clock.now(), request.shown or SeenState(None, None)
        is_here = about is not None and about.channel_id == request.place.channel_id
        card_ts = about.ts if about and is_here and not request.place.is_button else ""
        note = CardNote(
            cards.failed(request, error, now), not error.check_again, None, shown.state or "", shown.mode or "", now,
            is_error=True,
        )  # fmt: skip
        return replace(answer, remark=note, card_ts=card_ts), outcome

    def _card(self, place: ReplyTarget, verdict: Verdict, about: CardContext | None) -> Message:
        is_linked = about is not None and _links_to_card(about, place)
        is_copy = place.is_home and not is_linked
        if about and not is_linked and (about.channel_id, about.ts) != (place.channel_id, place.message_ts):
            is_copy = is_copy or bool(about.ts)
            about = replace(about, mentioned="")  # another message than the one that called calls nobody
        alert = place.original if place.is_foreign else None
        card = cards.card(
            verdict.present, decided=verdict.decided, notice=verdict.notice, buttons=verdict.buttons, about=about,
            config=self.config, is_beneath=alert is not None,
        )  # fmt: skip
        if alert:
            return cards.decision_beneath(alert, card)
        return cards.without_decisions(card) if is_copy else card  # only the card itself is kept current

    def _line(self, present: Remediation, said: str, about: CardContext | None, place: ReplyTarget) -> Message:
        """Return a result in a line, with a link to the card where that is in the same channel."""
        link = self.config.permalink(about.channel_id, about.ts) if about and _has_card(about, place) else ""
        return cards.line(f"{escape(present.node, 100)}: {said}{f' <{link}|See the card>' if link else ''}")


def _links_to_card(about: CardContext, place: ReplyTarget) -> bool:
    """Return whether the answer is a line that points at the remediation's own card, which is drawn again."""
    return not place.is_button and _has_card(about, place)


def _has_card(about: CardContext, place: ReplyTarget) -> bool:
    """Return whether a remediation's own card is in the channel of a place."""
    return bool(about.ts) and about.channel_id == place.channel_id
