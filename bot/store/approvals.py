"""What people agreed on before a decision: holds, first approvals, and what keeps nodes busy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Select, and_, bindparam, insert, or_, select

from bot.alerts import Look, Tracked, held, outdated, released
from bot.errors import OutcomeKind
from bot.models import (
    DOUBT_SECONDS,
    FINAL,
    Actor,
    AuditNote,
    CardContext,
    FirstApproval,
    Hold,
    Job,
    Looked,
    RemediationRef,
    RepairLoad,
    State,
    Verb,
    still_waiting,
)
from bot.store import audit, outbox
from bot.store.connection import Connection, now, read_clock
from bot.store.database import Database
from bot.store.pauses import active_pause
from bot.store.rows import (
    FIRST_APPROVAL,
    FIRST_COUNTS,
    PLACE,
    WITHDRAWN,
    change_alert,
    forget_first_approval,
    load,
    readable_alert,
    readable_message,
    to_first_approval,
    write,
)
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    DONE,
    DOUBTFUL,
    UNDELIVERED,
    alerts,
    decisions,
    first_approvals,
    ids_of,
    key_of,
    messages,
    one_remediation,
)

LISTED_SECONDS = 180.0  # cards that wait follow their cluster's load within this time
_FIRST = select(*FIRST_APPROVAL).where(one_remediation(first_approvals.c), FIRST_COUNTS)
_INSERT_FIRST = insert(first_approvals)
_BODY = (
    select(alerts.c.body, alerts.c.message_id, messages.c.body.label("message"))
    .outerjoin(messages, messages.c.id == alerts.c.message_id)
    .where(one_remediation(alerts.c))
)
c = decisions.c
_MINE = select(c.active_at).where(c.id == bindparam("b_id")).scalar_subquery()
_BEFORE_ME = or_(c.active_at < _MINE, and_(c.active_at == _MINE, c.id < bindparam("b_id")))
_IN_DOUBT = and_(
    c.status.in_((ANSWERED, DONE, UNDELIVERED)),
    c.outcome.in_(DOUBTFUL),
    c.answered_at > now() - DOUBT_SECONDS,
)
_OTHERS = select(c.instance_id).where(
    c.verb == Verb.APPROVE, c.cluster_id == bindparam("b_cluster"), c.id != bindparam("b_id")
)
_ABOUT_TO_BE_IN_REPAIR = _OTHERS.where(c.status == ACTIVE, _BEFORE_ME).union_all(_OTHERS.where(_IN_DOUBT))
_AT_WORK = select(alerts.c.cluster_id, alerts.c.instance_id, alerts.c.remediation_id).where(
    alerts.c.cluster_id == bindparam("b_cluster"),
    alerts.c.is_open,
    alerts.c.state.not_in([State.PENDING_APPROVAL, WITHDRAWN, *sorted(FINAL)]),
)
_WAITING = select(alerts.c.instance_id).where(
    alerts.c.cluster_id == bindparam("b_cluster"), alerts.c.is_open, alerts.c.state == State.PENDING_APPROVAL
)
_APPROVED_LATELY = select(c.cluster_id, c.instance_id, c.remediation_id).where(
    c.verb == Verb.APPROVE,
    c.cluster_id == bindparam("b_cluster"),
    c.outcome == OutcomeKind.APPROVED.value,
    c.answered_at > now() - DOUBT_SECONDS,
)


@dataclass(slots=True)
class Approvals:
    """The transactions, which any process may run. Each may raise StorageUnavailable."""

    database: Database

    async def about(self, ref: RemediationRef) -> CardContext:
        """Return what a card of a remediation says beyond itself."""
        return await self.database.read(card_context, ref)

    async def about_now(self, refs: Sequence[RemediationRef]) -> dict[RemediationRef, CardContext]:
        """Return `about` for each, with how much of the cluster is in repair and waits by now, as far as is known."""
        return await self.database.read(_contexts_now, refs)

    async def load_now(self, cluster_id: str, known: RepairLoad | None) -> RepairLoad | None:
        """Return how much of a cluster is in repair and waits by now, by what the bot tracks and has approved.

        Args:
            known: by Together's last list, as a card says it; None where that isn't known.
        """
        return await self.database.read(_load_now, cluster_id, known) if known else None

    async def hold(self, ref: RemediationRef, actor: Actor, seconds: float, reason: str = "") -> Hold | None:
        """Keep the bot from reminding of a remediation. Returns until when; None where the bot does not track it."""

        def hold(look: Look) -> Tracked:
            asked = Hold(actor.user_id, look.now + seconds, reason=reason, name=actor.name)
            return held(look.alert, look.message, asked, look.now)

        changed = await self.database.run(change_alert, ref, hold)
        return changed.hold if changed else None

    async def release(self, ref: RemediationRef, user_id: str) -> bool:
        """End a hold. Returns False where there is none."""

        def release(look: Look) -> Tracked | None:
            return released(look.alert, look.message, user_id, look.now)

        return await self.database.run(change_alert, ref, release) is not None

    async def mark_stale(self, ref: RemediationRef, *, may_overwrite: bool = False) -> None:
        """Let an alert's card be drawn again, because what it shows isn't known, or may be overwritten yet."""

        def stale(look: Look) -> Tracked:
            return look.alert, outdated(look.message, look.now, may_overwrite=may_overwrite)

        await self.database.run(change_alert, ref, stale)

    async def first(self, ref: RemediationRef) -> tuple[FirstApproval | None, float]:
        """Return the first of two approvals of a remediation, where there is one, and the present in Unix time."""
        return await self.database.read(_first_and_now, ref)

    async def about_to_be_in_repair(self, job: Job) -> set[str]:
        """Return the instances of a job's cluster that may go into repair, though no list of Together's says so yet.

        These are of approvals that began before this one and are not answered yet, or whose outcome was in doubt a
        moment ago.
        """
        return await self.database.read(_about_to_be_in_repair, job)

    async def approved_lately(self, cluster_id: str) -> list[RemediationRef]:
        """Return what this bot approved within the last minute, which Together's lists may not show yet."""
        return await self.database.read(_refs, _APPROVED_LATELY, cluster_id)

    async def at_work(self, cluster_id: str) -> list[RemediationRef]:
        """Return what the bot tracks in a cluster that was neither waiting nor over when it was last seen."""
        return await self.database.read(_refs, _AT_WORK, cluster_id)


def _contexts_now(connection: Connection, refs: Sequence[RemediationRef]) -> dict[RemediationRef, CardContext]:
    known = {ref: card_context(connection, ref) for ref in refs}
    shares = {(ref.cluster_id, about.share) for ref, about in known.items() if about.share}
    loads: dict[tuple[str, RepairLoad | None], RepairLoad] = {
        (cluster_id, share): _load_now(connection, cluster_id, share) for cluster_id, share in shares
    }
    return {ref: replace(about, share=loads.get((ref.cluster_id, about.share))) for ref, about in known.items()}


def _load_now(connection: Connection, cluster_id: str, known: RepairLoad) -> RepairLoad:
    present = read_clock(connection)
    begun = [*_refs(connection, _AT_WORK, cluster_id), *_refs(connection, _APPROVED_LATELY, cluster_id)]
    in_repair = {each.instance_id for each in begun}
    waiting = set(connection.execute(_WAITING, {"b_cluster": cluster_id}).scalars()) - in_repair
    # The list has repairs that the bot doesn't track, and is soon too old to say so.
    listed = (known.in_repair, known.waiting) if present - known.at < LISTED_SECONDS else (0, 0)
    return replace(known, in_repair=max(len(in_repair), listed[0]), waiting=max(len(waiting), listed[1]), at=present)


def card_context(connection: Connection, ref: RemediationRef) -> CardContext:
    """Return what a card of a remediation says beyond itself, inside a transaction."""
    first, pause = _first_approval(connection, ref), active_pause(connection, [ref.cluster_id])
    row = connection.execute(_BODY, key_of(ref)).first()
    alert = readable_alert(row) if row else None
    if alert is None:
        return CardContext(first=first, pause=pause)
    present = read_clock(connection)
    about = replace(alert.at(present).about(first), pause=pause, now=present)
    message = readable_message(row.message) if row and row.message else None
    if message is None:
        return about
    is_automatic = message.is_started and alert.remediation.is_automatic
    looking = message.at(present).looking if message.looking else ()
    about = replace(about, mentioned=message.mentioned, looking=looking, is_automatic=is_automatic)
    return about if message.is_digest else replace(about, channel_id=message.channel_id, ts=message.ts or "")


def _first_approval(connection: Connection, ref: RemediationRef) -> FirstApproval | None:
    return to_first_approval(connection.execute(_FIRST, key_of(ref)).first())


def _first_and_now(connection: Connection, ref: RemediationRef) -> tuple[FirstApproval | None, float]:
    return _first_approval(connection, ref), read_clock(connection)


def look_into(connection: Connection, about: RemediationRef | str, actor: Actor, channel_id: str | None) -> str:
    """Note that somebody looks into what a card, or the digest with an ID, shows; not into one node of many.

    Returns:
        What came of it, of `Looked`.
    """
    message_id = about if isinstance(about, str) else connection.execute(PLACE, key_of(about)).scalar()
    before = load(connection, message_id, to_change=True) if message_id else None
    if before is None:
        return Looked.NOT_TRACKED
    if before.message.is_digest and not isinstance(about, str):
        return Looked.IS_ONE_OF_MANY
    waiting = still_waiting(before.alerts, before.batches)
    waiting = [each for each in waiting if each.as_told.state == State.PENDING_APPROVAL]
    if not waiting:
        return Looked.NOTHING_WAITS
    write(connection, before, before.message.looked_into(actor.user_id, before.now), None, None)
    for cluster_id in sorted({each.remediation.cluster_id for each in waiting}):
        audit.note(connection, AuditNote("looking", actor, channel_id, cluster_id=cluster_id))
    for each in waiting:
        outbox.looked_into(connection, each, actor.user_id)
    return Looked.NOTED


def keep_first(connection: Connection, ref: RemediationRef, first: FirstApproval) -> None:
    """Let a first approval count from now on, inside the transaction of its outcome."""
    forget_first_approval(connection, ref)
    connection.execute(_INSERT_FIRST, asdict(first) | ids_of(ref))


def _about_to_be_in_repair(connection: Connection, job: Job) -> set[str]:
    values = {"b_id": job.id, "b_cluster": job.request.ref.cluster_id}
    return set(connection.execute(_ABOUT_TO_BE_IN_REPAIR, values).scalars())


def _refs(connection: Connection, chosen: Select[Any], cluster_id: str) -> list[RemediationRef]:
    return [RemediationRef(*row) for row in connection.execute(chosen, {"b_cluster": cluster_id})]
