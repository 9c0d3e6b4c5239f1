"""What people agreed on before a decision: holds, first approvals, and what keeps nodes busy."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace

from sqlalchemy import and_, bindparam, func, insert, or_, select

from bot.alerts import Look, Tracked, held, outdated, released
from bot.errors import DOUBTFUL, OutcomeKind
from bot.models import (
    DOUBT_SECONDS,
    FINAL,
    RULES,
    Actor,
    AuditNote,
    CardContext,
    CardNote,
    DecidedBy,
    EventKind,
    FirstApproval,
    Hold,
    Job,
    Looked,
    Outcome,
    Remediation,
    RemediationRef,
    RepairLoad,
    Request,
    State,
    Verb,
    still_waiting,
)
from bot.store import audit, outbox, pauses
from bot.store.connection import Connection, now, read_clock
from bot.store.rows import (
    ALERTS,
    FIRST_APPROVAL,
    FIRST_COUNTS,
    WITHDRAWN,
    change_alert,
    forget_first_approval,
    readable_alert,
    readable_message,
    showing,
    to_first_approval,
    write,
)
from bot.store.tables import (
    ACTIVE,
    alerts,
    decisions,
    first_approvals,
    ids_in,
    ids_of,
    key_of,
    messages,
    one_remediation,
)

LISTED_SECONDS = 180.0  # cards that wait follow their cluster's load within this time
a, c = alerts.c, decisions.c
_DECIDES = [verb for verb, rule in RULES.items() if rule.decides]
_FIRST = select(*FIRST_APPROVAL).where(one_remediation(first_approvals.c), FIRST_COUNTS)
_INSERT_FIRST = insert(first_approvals)
_MINE = select(c.active_at).where(c.id == bindparam("b_id")).scalar_subquery()
_BEFORE_ME = or_(c.active_at < _MINE, and_(c.active_at == _MINE, c.id < bindparam("b_id")))
_IN_DOUBT = and_(c.outcome.in_(DOUBTFUL), c.answered_at > now() - DOUBT_SECONDS)
_DOUBTFUL_AT = select(func.max(c.answered_at)).where(one_remediation(c), c.verb.in_(_DECIDES), _IN_DOUBT)
_BODY = (
    select(
        a.body,
        a.message_id,
        messages.c.body.label("message"),
        now().label("present"),
        _DOUBTFUL_AT.scalar_subquery().label("doubtful_at"),
    )
    .outerjoin(messages, messages.c.id == a.message_id)
    .where(one_remediation(a))
)
_ALERT = ALERTS.where(one_remediation(a))
_APPROVALS = and_(c.verb == Verb.APPROVE, c.cluster_id == bindparam("b_cluster"))
_OTHERS = select(c.instance_id).where(_APPROVALS, c.id != bindparam("b_id"))
_ABOUT_TO_BE_IN_REPAIR = _OTHERS.where(c.status == ACTIVE, _BEFORE_ME).union_all(_OTHERS.where(_IN_DOUBT))
_OPEN = and_(a.cluster_id == bindparam("b_cluster"), a.is_open)
_AT_WORK = select(*ids_in(a)).where(_OPEN, a.state.not_in([State.PENDING_APPROVAL, WITHDRAWN, *sorted(FINAL)]))
_WAITING = select(a.instance_id).where(_OPEN, a.state == State.PENDING_APPROVAL)
_APPROVED_LATELY = select(*ids_in(c)).where(
    _APPROVALS, c.outcome == OutcomeKind.APPROVED.value, c.answered_at > now() - DOUBT_SECONDS
)


def hold(connection: Connection, ref: RemediationRef, actor: Actor, seconds: float, reason: str) -> Hold | None:
    """Keep the bot from reminding of a remediation. Returns until when; None where the bot does not track it."""

    def change(look: Look) -> Tracked:
        asked = Hold(actor.user_id, look.now + seconds, reason=reason, name=actor.name, since=look.now)
        return held(look.alert, look.message, asked)

    changed = change_alert(connection, ref, change)
    return changed.hold if changed else None


def release(connection: Connection, ref: RemediationRef, user_id: str, shown: AbstractSet[str] = frozenset()) -> bool:
    """End a hold. Returns False where there is none, or somebody has joined it since it was shown."""
    after = change_alert(connection, ref, lambda look: released(look.alert, look.message, user_id, look.now, shown))
    return after is not None


def mark_stale(connection: Connection, ref: RemediationRef, *, may_overwrite: bool = False) -> None:
    """Let an alert's card be drawn again, because what it shows isn't known, or may be overwritten yet."""
    change_alert(
        connection,
        ref,
        lambda look: (look.alert, outdated(look.message, look.now, may_overwrite=may_overwrite)),
    )


def contexts_now(connection: Connection, refs: Sequence[RemediationRef]) -> dict[RemediationRef, CardContext]:
    """Return `card_context` for each, with the cluster's load by now, where it is known."""
    found: dict[RemediationRef, CardContext] = {}
    loads: dict[tuple[str, RepairLoad], RepairLoad] = {}
    for ref in refs:
        about = card_context(connection, ref)
        if about.share:
            key = ref.cluster_id, about.share
            loads[key] = loads.get(key) or load_now(connection, *key)
            about = replace(about, share=loads[key])
        found[ref] = about
    return found


def load_now(connection: Connection, cluster_id: str, known: RepairLoad) -> RepairLoad:
    """Return how much of a cluster is in repair and waits by now, by what the bot tracks and has approved.

    Args:
        known: by Together's last list, as a card says it.
    """
    present = read_clock(connection)
    begun = [*at_work(connection, cluster_id), *approved_lately(connection, cluster_id)]
    in_repair = {each.instance_id for each in begun}
    waiting = set(connection.execute(_WAITING, b_cluster=cluster_id).scalars()) - in_repair
    # The list has repairs that the bot doesn't track, and is soon too old to say so.
    listed = (known.in_repair, known.waiting) if present - known.at < LISTED_SECONDS else (0, 0)
    return replace(known, in_repair=max(len(in_repair), listed[0]), waiting=max(len(waiting), listed[1]), at=present)


def card_context(connection: Connection, ref: RemediationRef) -> CardContext:
    """Return what a card of a remediation says beyond itself."""
    firsts = connection.execute(_FIRST, key_of(ref))
    bodies = connection.execute(_BODY, key_of(ref))
    pause = pauses.active(connection, [ref.cluster_id])
    first, row = to_first_approval(firsts.first()), bodies.first()
    alert = readable_alert(row) if row else None
    if alert is None:
        return CardContext(first=first, pause=pause)
    present = float(row.present)
    about = replace(alert.at(present).about(first), pause=pause, now=present)
    message = readable_message(row.message) if row and row.message else None
    if message is None:
        return about
    is_automatic = message.is_started and alert.remediation.is_automatic
    looking = message.at(present).looking if message.looking else ()
    about = replace(about, mentioned=message.mentioned, looking=looking, is_automatic=is_automatic)
    if message.is_digest:
        known = alert.remediation
        doubt = CardNote("", False, None, known.state, known.mode, row.doubtful_at) if row.doubtful_at else None
        return replace(about, is_one_of_many=True, doubt=about.doubt or doubt)
    return replace(about, channel_id=message.channel_id, ts=message.ts or "")


def who_decided(connection: Connection, present: Remediation) -> DecidedBy | None:
    """Return who decided, as `audit.who_decided` does, and with them the first of two where its alert names them."""
    rows = connection.execute(_ALERT, key_of(present.ref))
    decided, row = audit.who_decided(connection, present), rows.first()
    alert = readable_alert(row) if row and decided else None
    known = alert.decided if alert else None
    if decided and known and (known.verb, known.user_id) == (decided.verb, decided.user_id):
        return replace(decided, first_user=known.first_user)
    return decided


def first_and_now(connection: Connection, ref: RemediationRef) -> tuple[FirstApproval | None, float]:
    """Return the first of two approvals of a remediation, where there is one, and the present in Unix time."""
    return to_first_approval(connection.execute(_FIRST, key_of(ref)).first()), read_clock(connection)


def look_into(connection: Connection, about: RemediationRef | str, actor: Actor, channel_id: str | None) -> str:
    """Note that somebody looks into what a card, or the digest with an ID, shows; not into one node of many.

    Returns:
        What came of it, of `Looked`.
    """
    before = showing(connection, about, to_change=True)
    if before is None:
        return Looked.NOT_TRACKED
    if before.message.is_digest and not isinstance(about, str):
        return Looked.IS_ONE_OF_MANY
    waiting = still_waiting(before.alerts, before.batches)
    if not waiting:
        return Looked.NOTHING_WAITS
    write(connection, before, before.message.looked_into(actor.user_id, before.now))
    for cluster_id in sorted({each.cluster_id for each in waiting}):
        audit.note(connection, AuditNote("looking", actor, channel_id, cluster_id=cluster_id))
    for each in waiting:
        outbox.happened(connection, EventKind.LOOKING, each, by=actor.user_id)
    return Looked.NOTED


def note_first(connection: Connection, request: Request, outcome: Outcome) -> None:
    """Let a first approval count from now on, or no longer: it is used up, or its person decided otherwise since."""
    if outcome.first or outcome.kind is OutcomeKind.APPROVED:
        forget_first_approval(connection, request.ref)
    elif request.verb is not Verb.APPROVE:
        forget_first_approval(connection, request.ref, of=request.actor.user_id)
    if outcome.first:
        connection.execute(_INSERT_FIRST, asdict(outcome.first) | ids_of(request.ref))


def about_to_be_in_repair(connection: Connection, job: Job) -> set[str]:
    """Return the instances of a job's cluster that may go into repair, though no list of Together's says so yet.

    These are of approvals that began before this one and are not answered yet, or whose outcome was in doubt a
    moment ago.
    """
    rows = connection.execute(_ABOUT_TO_BE_IN_REPAIR, b_id=job.id, b_cluster=job.request.ref.cluster_id)
    return set(rows.scalars())


def approved_lately(connection: Connection, cluster_id: str) -> list[RemediationRef]:
    """Return what this bot approved within the last minute, which Together's lists may not show yet."""
    return [RemediationRef(*row) for row in connection.execute(_APPROVED_LATELY, b_cluster=cluster_id)]


def at_work(connection: Connection, cluster_id: str) -> list[RemediationRef]:
    """Return what the bot tracks in a cluster that was neither waiting nor over when it was last seen."""
    return [RemediationRef(*row) for row in connection.execute(_AT_WORK, b_cluster=cluster_id)]
