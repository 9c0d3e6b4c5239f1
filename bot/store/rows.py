"""Alerts and messages as rows: read, loaded with all that they are drawn from, and changed together."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Executable, and_, bindparam, delete, exists, func, or_, select, update

from bot.alerts import AlertView, Tracked, outdated
from bot.errors import DOUBTFUL
from bot.models import (
    CALLED_OFF,
    CLOCKS_DIFFER_BY,
    DOUBT_SECONDS,
    FIRST_APPROVAL_SECONDS,
    RULES,
    Alert,
    CardContext,
    CardNote,
    DecidedBy,
    EventKind,
    FirstApproval,
    Learned,
    Remediation,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
)
from bot.store import batches, outbox, pauses
from bot.store.connection import NOW_ONCE, SELECT_NOW, Connection, Record, Rows, dump, now, read_clock, read_json
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    alerts,
    decisions,
    first_approvals,
    ids_in,
    key_of,
    messages,
    one_remediation,
    same_remediation,
)

logger = logging.getLogger(__name__)

_KEPT = 2048  # alerts that were read last: most of a digest is what it was when it was last drawn
Told = Mapping[RemediationRef, EventKind] | None  # to other tools
WITHDRAWN = "WITHDRAWN"  # in the column `state`, of what Together lists no longer
first = first_approvals.c
ALERTS = select(alerts.c.body, alerts.c.message_id)
_AHEAD_SECONDS = 60.0  # by which clocks may be corrected
_FIRST_APPROVAL = first.user_id, first.mode, first.at, first.job_id, first.episode
# One that lies ahead was given by a clock that has been set back since: nobody knows how old it is.
_FIRST_COUNTS = first.at.between(now() - FIRST_APPROVAL_SECONDS, now() + _AHEAD_SECONDS)
_DECIDING = exists().where(
    same_remediation(decisions.c, alerts.c),
    # Until its first delivery: the edit that answers somebody must not be followed by one that was drawn before it.
    or_(
        decisions.c.status == ACTIVE,
        and_(decisions.c.status == ANSWERED, decisions.c.active_at.is_not(None), decisions.c.deliveries == 0),
    ),
)
_WITH_FIRST = select(alerts.c.body, alerts.c.message_id, *_FIRST_APPROVAL, _DECIDING.label("deciding")).select_from(
    alerts.outerjoin(first_approvals, and_(same_remediation(first, alerts.c), _FIRST_COUNTS))
)
_PLACE = select(alerts.c.message_id).where(one_remediation(alerts.c))
_MESSAGE_ID = messages.c.id == bindparam("b_message")
_FIND = select(messages.c.body, messages.c.is_open, messages.c.version).where(_MESSAGE_ID)
_TO_CHANGE = _FIND.with_for_update()
_SHOWN = _WITH_FIRST.where(alerts.c.message_id == bindparam("b_message")).order_by(alerts.c.seen_at, *ids_in(alerts.c))
ALERT_TO_CHANGE = _WITH_FIRST.where(one_remediation(alerts.c)).with_for_update(of=alerts)
WRITE_MESSAGE = update(messages).where(_MESSAGE_ID).values(version=messages.c.version + 1)
_WRITE_SAME = WRITE_MESSAGE.where(messages.c.version == bindparam("b_version")).returning(messages.c.id)
WRITE_ALERT = update(alerts).where(one_remediation(alerts.c)).values(changed_at=now())
_DECIDES = [verb for verb, rule in RULES.items() if rule.decides]
_FIRST = select(*_FIRST_APPROVAL).where(one_remediation(first), _FIRST_COUNTS)


# Decisions whose outcome wasn't clear when they were answered, a moment ago.
IN_DOUBT = and_(decisions.c.outcome.in_(DOUBTFUL), decisions.c.answered_at > NOW_ONCE - DOUBT_SECONDS)
_DOUBTFUL_AT = select(func.max(decisions.c.answered_at)).where(
    one_remediation(decisions.c), decisions.c.verb.in_(_DECIDES), IN_DOUBT
)
_BODY = (
    select(
        alerts.c.body.label("alert"),
        alerts.c.message_id,
        messages.c.body,
        messages.c.is_open,
        now().label("present"),
        _DOUBTFUL_AT.scalar_subquery().label("doubtful_at"),
    )
    .outerjoin(messages, messages.c.id == alerts.c.message_id)
    .where(one_remediation(alerts.c))
)
_THEIRS = or_(bindparam("b_user") == "", first.user_id == bindparam("b_user"))  # or anybody's, where it is empty
FORGET_FIRST = delete(first_approvals).where(one_remediation(first), _THEIRS)


def load(connection: Connection, message_id: str, *, to_change: bool = False) -> Snapshot | None:
    """Return a message with everything that it is drawn from and that has not run out, inside a transaction."""
    rows = connection.execute(_TO_CHANGE if to_change else _FIND, b_message=message_id)
    clock, alerts_shown = connection.execute(SELECT_NOW), connection.execute(_SHOWN, b_message=message_id)
    own_row, present = rows.first(), float(clock.scalar())
    message = message_of(own_row)
    if message is None:
        return None
    message = message.at(present) if message.looking else message
    shown: list[Alert] = []
    firsts: dict[RemediationRef, FirstApproval] = {}
    is_being_decided = False
    for row in alerts_shown:
        if alert := readable_alert(row.body, row.message_id):
            shown.append(alert.at(present))
            is_being_decided |= bool(row.deciding) and not message.is_digest
            if approval := to_first_approval(row):
                firsts[alert.ref] = approval
    confirmed = batches.of_digest(connection, message_id) if message.is_digest else []
    clusters = {alert.cluster_id for alert in shown} | ({message.cluster_id} if message.cluster_id else set())
    pause = pauses.active(connection, clusters)
    return Snapshot(message, shown, firsts, confirmed, is_being_decided, present, own_row.version, pause)


def showing(connection: Connection, about: RemediationRef | str, *, to_change: bool = False) -> Snapshot | None:
    """Return the message that shows a remediation, or the digest with an ID; None where the bot has no such message."""
    message_id = about if isinstance(about, str) else connection.execute(_PLACE, key_of(about)).scalar()
    return load(connection, message_id, to_change=to_change) if message_id else None


def write(
    connection: Connection,
    before: Snapshot,
    after: TrackedMessage,
    learned: Learned | None = None,
    told: Told = None,
) -> Snapshot | None:
    """Write what a message has become, and what was learned for a card; None where it isn't what it was."""
    if not connection.execute(_WRITE_SAME, message_columns(after), b_message=after.id, b_version=before.version):
        return None
    for alert in before.alerts:
        if (kind := (told or {}).get(alert.ref)) and not (alert.is_closed and kind is EventKind.STUCK):
            outbox.told(connection, kind, alert)
    if learned and learned != Learned():
        alert = before.alerts[0]
        alert = replace(alert, history=learned.history or alert.history, impact=learned.impact or alert.impact)
        connection.execute(WRITE_ALERT, alert_columns(alert), **key_of(alert.ref))
        before = replace(before, alerts=[alert])
    return replace(before, message=after, version=before.version + 1)


def change_alert(
    connection: Connection,
    ref: RemediationRef,
    change: Callable[[AlertView], Tracked | None],
    *,
    found: Rows | None = None,
    unless_being_decided: bool = False,
) -> Alert | None:
    """Change an alert and its message, inside a transaction. Returns what the alert has become.

    Args:
        found: what `ALERT_TO_CHANGE` returned, where that was asked before, together with something else.
    """
    row = (connection.execute(ALERT_TO_CHANGE, key_of(ref)) if found is None else found).first()
    before = readable_alert(row.body, row.message_id) if row else None
    if before is None or (unless_being_decided and row.deciding):
        return None
    of_it = connection.execute(_TO_CHANGE, b_message=before.message_id)
    clock = connection.execute(SELECT_NOW)
    message = message_of(of_it.first())
    present = float(clock.scalar())
    first_one = to_first_approval(row)
    after = change(AlertView(before.at(present), message, None, present)) if message else None
    if after is None:
        return None
    alert, message = after
    is_news = alert.is_waiting and alert.remediation is not before.remediation
    # Without times, nothing tells an incident from the one before it.
    may_be_of_another = not (before.is_waiting or alert.remediation.began_at)
    is_over = alert.remediation.state in CALLED_OFF
    if first_one and (is_over or (is_news and (may_be_of_another or not first_one.counts_for(alert.remediation)))):
        connection.execute(FORGET_FIRST, key_of(ref), b_user="")
    connection.execute(WRITE_ALERT, alert_columns(alert), **key_of(ref))
    connection.execute(WRITE_MESSAGE, b_message=message.id, **message_columns(message))
    outbox.changed(connection, before, alert)
    return alert


def mark_stale(connection: Connection, ref: RemediationRef, *, may_overwrite: bool = False) -> None:
    """Have an alert's card drawn again, because what it shows isn't known, or may still be overwritten."""
    change_alert(
        connection, ref, lambda view: (view.alert, outdated(view.message, view.now, may_overwrite=may_overwrite))
    )


def first_and_now(connection: Connection, ref: RemediationRef) -> tuple[FirstApproval | None, float]:
    """Return the first of two approvals of a remediation, where there is one, and the present in Unix time."""
    return to_first_approval(connection.execute(_FIRST, key_of(ref)).first()), read_clock(connection)


def with_first(
    connection: Connection, decided: DecidedBy | None, alert: Alert, present: Remediation
) -> DecidedBy | None:
    """Return who decided with the first of two: no answer has named them where it wasn't clear what the second did."""
    is_alone = alert.override is not None and not alert.override.is_over
    if decided is None or not decided.is_approval or is_alone:
        return decided
    first, _ = first_and_now(connection, present.ref)
    is_its = first and first.mode == present.mode and present.began_at - CLOCKS_DIFFER_BY <= first.at <= decided.at
    return replace(decided, first_user=first.user_id) if first and is_its else decided


def card_context(connection: Connection, ref: RemediationRef) -> CardContext:
    """Return what a card of a remediation says beyond itself."""
    firsts = connection.execute(_FIRST, key_of(ref))
    bodies = connection.execute(_BODY, key_of(ref))
    pause = pauses.active(connection, [ref.cluster_id])
    first_one, row = to_first_approval(firsts.first()), bodies.first()
    alert = readable_alert(row.alert, row.message_id) if row else None
    if alert is None:
        return CardContext(first=first_one, pause=pause)
    present = float(row.present)
    about = replace(alert.at(present).about(first_one), pause=pause, now=present)
    message = message_of(row)
    if message is None:
        return about
    is_automatic = message.is_started and alert.remediation.is_automatic
    looking = message.at(present).looking if message.looking else ()
    about = replace(about, mentioned=message.mentioned, looking=looking, is_automatic=is_automatic)
    if message.is_digest:
        known = alert.remediation
        doubt = _doubt(row.doubtful_at, known.state, known.mode) if row.doubtful_at else None
        return replace(about, is_one_of_many=True, doubt=about.doubt or doubt)
    return replace(about, channel_id=message.channel_id, ts=message.ts or "")


def doubt_of(connection: Connection, ref: RemediationRef, mode: str = "") -> CardNote | None:
    """Return what a decision on what waits has left in doubt a moment ago, where no card of the bot's says so."""
    at = connection.execute(_DOUBTFUL_AT, key_of(ref)).scalar()
    return _doubt(at, State.PENDING_APPROVAL, mode) if at else None


def _doubt(at: float, state: str, mode: str) -> CardNote:
    return CardNote(notice="", buttons=False, decided=None, state=state, mode=mode, at=at)


def message_of(row: Any) -> TrackedMessage | None:  # noqa: ANN401 - a row of a select with these columns
    """Read the message of a row, with whether it is done; None where it has none, or one of another version."""
    message = read_json(TrackedMessage, row.body, "A message can't be read") if row and row.body else None
    return replace(message, done=not row.is_open) if message else None


def read_alerts(connection: Connection, statement: Executable, **values: object) -> list[Alert]:
    """Return the alerts of a statement that begins as `ALERTS`, but for those of another version."""
    return [
        alert for row in connection.execute(statement, **values) if (alert := readable_alert(row.body, row.message_id))
    ]


@lru_cache(_KEPT)
def readable_alert(body: str, message_id: str) -> Alert | None:
    """Read the alert of a row; None for one of another version: nothing else must fail for it."""
    alert = read_json(Alert, body, "An alert can't be read")
    return replace(alert, message_id=message_id) if alert else None


def to_first_approval(row: Any) -> FirstApproval | None:  # noqa: ANN401 - a row of any select with these columns
    """Read the first approval of a row that may be missing, or have none."""
    if row is None or row.user_id is None:
        return None
    return FirstApproval(row.user_id, row.mode, row.at, row.job_id, row.episode)


def alert_columns(alert: Alert) -> Record:
    """Return the columns of an alert, but for its IDs."""
    # What somebody was told counts for the repair limit, and as what waits no more, though no list says it yet.
    told = alert.remark.state if alert.remark and alert.is_stale and alert.is_waiting else ""
    return {
        "message_id": alert.message_id,
        "state": WITHDRAWN if alert.is_unlisted else told or alert.remediation.state,
        "is_open": not alert.is_closed,
        "seen_at": alert.seen_at,
        "fingerprint": alert.fingerprint,
        "body": dump(alert),
    }


def message_columns(message: TrackedMessage) -> Record:
    """Return the columns of a message, but for its ID and version."""
    return {
        "is_digest": message.is_digest,
        "cluster_id": message.cluster_id,
        "is_open": not message.done,
        "next_at": None if message.done else message.next_at,
        "ts": message.ts,
        "posted_at": message.posted_at,
        "last_added_at": message.last_added_at,
        "opened_at": message.opened_at,
        "body": dump(message),
    }
