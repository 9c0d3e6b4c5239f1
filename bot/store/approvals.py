"""What people agreed on before a decision: holds, who decided, and what keeps nodes busy."""

import math
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cache, partial

from sqlalchemy import and_, bindparam, select

from bot.alerts import AlertView, Tracked, held, released
from bot.errors import NotReadable, OutcomeKind
from bot.models import (
    DOUBT_SECONDS,
    FINAL,
    Actor,
    Alert,
    AuditNote,
    CardContext,
    Claim,
    DecidedBy,
    EventKind,
    Hold,
    Job,
    Looked,
    Remediation,
    RemediationRef,
    RepairLoad,
    State,
    Verb,
)
from bot.store import audit, outbox
from bot.store.connection import NOW_ONCE, Connection, is_among, json_list, read_clock
from bot.store.decisions import claimed_by
from bot.store.rows import (
    ALERTS,
    IN_DOUBT,
    WITHDRAWN,
    card_context,
    change_alert,
    doubt_of,
    readable_alert,
    showing,
    with_first,
    write,
)
from bot.store.tables import (
    ACTIVE,
    SET_ASIDE,
    alerts,
    decisions,
    ids_in,
    key_of,
    one_remediation,
    refs_in,
)

LISTED_SECONDS = 180.0  # cards that wait follow their cluster's load within this time
_ALERT = ALERTS.where(one_remediation(alerts.c))
_ON_NODE = ALERTS.where(alerts.c.cluster_id == bindparam("b_cluster"), alerts.c.instance_id == bindparam("b_instance"))
_OPEN = and_(alerts.c.cluster_id == bindparam("b_cluster"), alerts.c.is_open)
_AT_WORK = select(*ids_in(alerts.c)).where(_OPEN, alerts.c.state.not_in([State.PENDING_APPROVAL, WITHDRAWN, *FINAL]))
_WAITING = select(alerts.c.instance_id).where(_OPEN, alerts.c.state == State.PENDING_APPROVAL)
_IN_CLUSTERS = select(
    *ids_in(decisions.c), decisions.c.id, decisions.c.verb, decisions.c.status, decisions.c.active_at
).where(is_among("b_clusters", decisions.c.cluster_id))
_UNSETTLED = _IN_CLUSTERS.where(decisions.c.status == ACTIVE).union_all(
    _IN_CLUSTERS.where(IN_DOUBT),
    _IN_CLUSTERS.where(decisions.c.status == SET_ASIDE, decisions.c.sent_at > NOW_ONCE - DOUBT_SECONDS),
)
_APPROVED_LATELY = select(*ids_in(decisions.c)).where(
    decisions.c.verb == Verb.APPROVE,
    decisions.c.cluster_id == bindparam("b_cluster"),
    decisions.c.outcome == OutcomeKind.APPROVED.value,
    decisions.c.answered_at > NOW_ONCE - DOUBT_SECONDS,
)


def hold(  # noqa: PLR0913 - what a hold has
    connection: Connection,
    ref: RemediationRef,
    actor: Actor,
    seconds: float,
    reason: str,
    *,
    even_if_over: bool = False,
    is_at_least: bool = False,
    asked_at: float = math.inf,
) -> Hold | None:
    """Keep the bot from reminding of a remediation.

    Args:
        even_if_over: also where the bot knows that it ended: Together was asked again since, and says that it waits.
        is_at_least: an own hold that lasts longer stays as long.
        asked_at: when they asked: an own hold that they asked for since then stays as it is.

    Returns:
        Until when; None where the bot doesn't track it.
    """

    def change(view: AlertView) -> Tracked | None:
        is_waiting = view.alert.is_waiting and view.alert.as_told.is_waiting
        if not (is_waiting or even_if_over):
            return None
        own = [hold for hold in view.alert.holds if hold.user_id == actor.user_id]
        if any(hold.since > asked_at for hold in own):
            return view.alert, view.message
        until = max([view.now + seconds, *(hold.until for hold in own if is_at_least)])
        asked = Hold(actor.user_id, until, reason=reason, name=actor.name, since=view.now)
        return held(view, asked)

    changed = change_alert(connection, ref, change)
    return changed.hold if changed else None


def release(connection: Connection, ref: RemediationRef, user_id: str, shown: AbstractSet[str] = frozenset()) -> bool:
    """End a hold. Returns False without one, or where somebody has joined it since it was shown."""
    after = change_alert(connection, ref, partial(released, user_id=user_id, shown=shown))
    if after is None:
        return False
    outbox.happened(connection, EventKind.RELEASED, after, by=user_id)
    return True


def claim_and_context(connection: Connection, ref: RemediationRef) -> tuple[Claim | None, CardContext]:
    """Return who decides on a remediation, where somebody does, and what a card says beyond it."""
    return claimed_by(connection, ref), card_context(connection, ref)


def contexts_now(connection: Connection, refs: Sequence[RemediationRef]) -> dict[RemediationRef, CardContext]:
    """Return `card_context` for each, whether somebody decides, and its cluster's load by now, where it's confirmed."""
    contexts: dict[RemediationRef, CardContext] = {}
    load = cache(partial(load_now, connection))
    for ref in refs:
        claim, about = claim_and_context(connection, ref)
        about = replace(about, is_being_decided=claim is not None)
        if not about.followed and (doubt := doubt_of(connection, ref)):
            about = replace(about, doubt=doubt, now=read_clock(connection))
        if about.share and not about.as_of:
            about = replace(about, share=load(ref.cluster_id, about.share))
        contexts[ref] = about
    return contexts


def load_now(connection: Connection, cluster_id: str, known: RepairLoad) -> RepairLoad:
    """Return how much of a cluster is in repair and waits by now, by what the bot tracks and has approved.

    Args:
        known: by Together's last list, as a card says it.
    """
    present = read_clock(connection)
    begun = [*at_work(connection, cluster_id), *approved_lately(connection, cluster_id)]
    in_repair = {ref.instance_id for ref in begun}
    waiting = set(connection.execute(_WAITING, b_cluster=cluster_id).scalars()) - in_repair
    # The list has repairs that the bot doesn't track, and is soon too old to say so.
    listed = (known.in_repair, known.waiting) if present - known.at < LISTED_SECONDS else (0, 0)
    return replace(known, in_repair=max(len(in_repair), listed[0]), waiting=max(len(waiting), listed[1]), at=present)


def who_decided(connection: Connection, present: Remediation) -> DecidedBy | None:
    """Return who decided, as `audit.who_decided` does, and with them the first of two where its alert names them."""
    rows = connection.execute(_ALERT, key_of(present.ref))
    decided, row = audit.who_decided(connection, present), rows.first()
    alert = readable_alert(row.body, row.message_id) if row and decided else None
    known = alert.decided if alert else None
    if decided and known and (known.verb, known.user_id) == (decided.verb, decided.user_id) and known.first_user:
        return replace(decided, first_user=known.first_user)
    return with_first(connection, decided, alert, present) if alert else decided


def look_into(  # noqa: PLR0913, PLR0917 - into what, who, where, and when
    connection: Connection, about: RemediationRef | str, episode: str, actor: Actor, channel_id: str | None, age: float
) -> str:
    """Note that somebody looks into what a card, or the digest with an ID, shows; not into one node of many.

    Args:
        episode: of a remediation as they saw it; empty where nobody knows.
        age: how many seconds ago they said so: a next incident since isn't what they look into.

    Returns:
        The result, as a value of `Looked`.
    """
    before = showing(connection, about, to_change=True)
    if before is None:
        return Looked.NOT_TRACKED
    if before.message.is_digest and not isinstance(about, str):
        return Looked.IS_ONE_OF_MANY
    waiting = before.undecided
    if not waiting:
        return Looked.NOTHING_WAITS
    if episode and not waiting[0].remediation.is_of(episode):
        return Looked.OPENED_AGAIN
    write(connection, before, before.message.looked_into(actor.user_id, before.now - age))
    for cluster_id in sorted({alert.cluster_id for alert in waiting}):
        audit.note(connection, AuditNote("looking", actor, channel_id, cluster_id=cluster_id))
    for alert in waiting:
        outbox.happened(connection, EventKind.LOOKING, alert, by=actor.user_id)
    return Looked.NOTED


def about_to_be_in_repair(connection: Connection, job: Job) -> list[RemediationRef]:
    """Return what may go into repair in a job's cluster, though no list of Together's says so yet.

    That is what approvals are of that began before this one and are not answered yet, or whose outcome was in doubt a
    moment ago.
    """
    rows = connection.execute(_UNSETTLED, b_clusters=json_list([job.request.ref.cluster_id]))
    own_turn = next(((row.active_at, row.id) for row in rows if row.id == job.id), (math.inf, ""))
    others = [row for row in rows if row.verb == Verb.APPROVE and row.id != job.id]
    return refs_in(row for row in others if row.status != ACTIVE or (row.active_at, row.id) < own_turn)


def may_run(connection: Connection, job: Job) -> set[RemediationRef]:
    """Return what else is approved on a job's node, or may be, though no list of Together's may say so yet."""
    ref = job.request.ref
    found = (*about_to_be_in_repair(connection, job), *approved_lately(connection, ref.cluster_id))
    return {other for other in found if other.instance_id == ref.instance_id and other != ref}


def of_node(connection: Connection, ref: RemediationRef) -> list[Alert]:
    """Return the alerts of a remediation's node, with what ran before under their IDs.

    Raises:
        NotReadable: another version wrote one.
    """
    rows = connection.execute(_ON_NODE, b_cluster=ref.cluster_id, b_instance=ref.instance_id)
    found = [readable_alert(row.body, row.message_id) for row in rows]
    if None in found:
        raise NotReadable
    return [alert for alert in found if alert]


def unsettled(connection: Connection, clusters: Collection[str]) -> set[RemediationRef]:
    """Return on which remediations of clusters a decision isn't answered yet, or may still take effect."""
    return set(refs_in(connection.execute(_UNSETTLED, b_clusters=json_list(clusters))))


def approved_lately(connection: Connection, cluster_id: str) -> list[RemediationRef]:
    """Return what this bot approved within the last minute, which Together's lists may not show yet."""
    return refs_in(connection.execute(_APPROVED_LATELY, b_cluster=cluster_id))


def at_work(connection: Connection, cluster_id: str) -> list[RemediationRef]:
    """Return what the bot tracks in a cluster that was neither waiting nor over when it was last seen."""
    return refs_in(connection.execute(_AT_WORK, b_cluster=cluster_id))
