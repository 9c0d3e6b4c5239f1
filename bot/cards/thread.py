"""What an alert's thread is told: changes, failures, reminders; and when Together cannot be read."""

from collections.abc import Sequence
from datetime import datetime

from bot.cards import parts, words
from bot.cards.pause import pause_button
from bot.models import RULES, Decided, Hold, Message, Remediation, State, Verb
from bot.mrkdwn import escape, lasted, when

_LISTED = 10


def transition(
    before: Remediation, after: Remediation, decided: Decided | None, now: float, first_user: str = ""
) -> list[str]:
    """A change of state or mode in a line each, with how long it took.

    Args:
        before: as it was last seen.
        after: as it is.
        decided: who brought it there through Slack, where that is known.
        now: seconds since 1970.
        first_user: who gave the first of two approvals; empty where one was enough.
    """
    told = []
    if after.mode != before.mode:
        was, is_now = (escape(words.mode_words(each.mode).name, 80) for each in (before, after))
        look = " Look again before you decide." if after.state == State.PENDING_APPROVAL else ""
        told.append(f"The mode has changed: it was “{was}” and is now “{is_now}”.{look}")
    if after.state != before.state:
        skipped = before.state == State.PENDING_APPROVAL and after.state in RULES[Verb.APPROVE].effect
        if skipped and after.state != State.PENDING:
            told.append(_approved(after, decided, now))
        told.append(_moved(before, after, decided, now, first_user))
    return told


def _approved(after: Remediation, decided: Decided | None, now: float) -> str:
    reviewer = f"by {escape(after.reviewed_by, 100)} outside this bot" if after.reviewed_by else ""
    by = f"by <@{decided.user_id}>" if decided and decided.verb is Verb.APPROVE else reviewer or "outside this bot"
    at = _approved_at(after, decided) or now
    waited = f" after {lasted(at - _seconds(after.create_time))}" if after.create_time else ""
    return f"Approved {by}{waited}. {words.state_words(State.PENDING)[1]}"


def _moved(before: Remediation, after: Remediation, decided: Decided | None, now: float, first_user: str) -> str:
    reviewed = after.is_reviewed
    state, symbol = words.state_words(after.state, reviewed=reviewed)
    state = escape(state, 90)
    approved_at = _approved_at(after, decided)
    since_approval = f", {lasted(_at(after, now) - approved_at)} after it was approved" if approved_at else ""
    waited = lasted(_at(after, now) - _seconds(after.create_time)) if after.create_time else ""
    match after.state:
        case State.PENDING if before.state == State.PENDING_APPROVAL:
            return _approved(after, decided, now)
        case State.CANCELLED:
            is_theirs = decided is not None and after.state in RULES[decided.verb].effect
            by = (
                f"{RULES[decided.verb].done} by <@{decided.user_id}>"
                if decided and is_theirs
                else "cancelled outside this bot"
            )
            return f"{by[0].upper()}{by[1:]}{f' after {waited}' if waited else ''}. {symbol}"
        case State.AUTO_RESOLVED:
            return f"Resolved by itself{f' after {waited}' if waited else ''}: the alert cleared. {symbol}"
        case State.FAILED:
            return f"{failure(after, decided, first_user)}{since_approval}.{_error(after)} {symbol}"
    return f"{state}{since_approval}. {symbol}"


def failure(remediation: Remediation, decided: Decided | None, first_user: str = "") -> str:
    """Who must hear of a failure, and that it is one."""
    if decided and decided.verb is Verb.APPROVE:
        first = f"<@{first_user}> and " if first_user and first_user != decided.user_id else ""
        return f"{first}<@{decided.user_id}>, the repair that you approved has failed"
    return "Failed" if not remediation.reviewed_by else f"Failed (approved by {escape(remediation.reviewed_by, 100)})"


def _error(remediation: Remediation) -> str:
    return f" Together says: “{escape(remediation.error_message, 500)}”" if remediation.error_message else ""


def _approved_at(remediation: Remediation, decided: Decided | None) -> float | None:
    if remediation.review_time:
        return _seconds(remediation.review_time)
    return decided.at if decided and decided.verb is Verb.APPROVE else None


def _at(remediation: Remediation, now: float) -> float:
    """When it came into its state, as far as Together says."""
    if remediation.end_time and remediation.state not in {State.PENDING, State.RUNNING}:
        return _seconds(remediation.end_time)
    if remediation.start_time and remediation.state == State.RUNNING:
        return _seconds(remediation.start_time)
    if remediation.review_time and remediation.state == State.PENDING:
        return _seconds(remediation.review_time)
    return now


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def lines(told: Sequence[str]) -> Message:
    """Several lines for a thread."""
    blocks = [parts.section(page) for page in parts.pages(told)[: parts.MAX_BLOCKS]]
    return Message(parts.story(told), blocks)


def reminder(remediation: Remediation, oncall: str, waited: float) -> Message:
    """That nobody has acted.

    Args:
        remediation: which waits.
        oncall: a user or group ID to mention; empty for nobody.
        waited: seconds.
    """
    mode, node = words.mode_words(remediation.mode).name, words.node(remediation)
    text = (
        f"{mention(oncall)}{escape(mode, 80)} for {escape(node, 200)} has waited for {lasted(waited)}, and nobody has "
        "decided. Approve, cancel or hold it on the card above."
    )
    return Message(text=text, blocks=[parts.section(text)])


def hold_ends(remediation: Remediation, hold: Hold) -> Message:
    """Tell the person who put a repair on hold that the hold ends soon."""
    node = escape(words.node(remediation), 200)
    text = f"<@{hold.user_id}>, your hold on {node} ends in 2 min. Hold it again on the card above to keep it."
    return Message(text, [parts.section(text)])


def mention(oncall: str) -> str:
    """Call a user or a group; nobody for an empty ID."""
    if not oncall:
        return ""
    return f"<!subteam^{oncall}> " if oncall[0] == "S" else f"<@{oncall}> "


def unreadable(clusters: Sequence[str], since: float, now: float) -> Message:
    """That Together cannot be read, and what that means.

    Args:
        clusters: their IDs; empty where not even the list of clusters can be read.
        since: seconds since 1970.
        now: likewise.
    """
    what = f"{_named(clusters)} cannot be read" if clusters else "The list of clusters cannot be read"
    text = (
        f"{what} from Together since {when(since)}, for {lasted(now - since)}: cards may be out of date, and new "
        "alerts may be missing. The bot goes on trying. Look into Together's own console meanwhile."
    )
    pause = pause_button(clusters[0] if len(clusters) == 1 else None, None)
    return Message(text=text, blocks=[parts.section(f"*{text}* ⚠️"), parts.actions([pause])])


def readable(clusters: Sequence[str], since: float, now: float) -> Message:
    """That Together can be read again.

    Args:
        clusters: their IDs; empty for the list of clusters.
        since: when it began, in seconds since 1970.
        now: likewise.
    """
    what = _named(clusters) if clusters else "The list of clusters"
    text = f"{what} can be read from Together again, after {lasted(now - since)}. The cards are up to date."
    return Message(text=text, blocks=[parts.section(f"{text} ✅")])


def unwatched(clusters: Sequence[str]) -> Message:
    """That clusters which could not be read are read no more."""
    text = f"{_named(clusters)} could not be read from Together, and is listed no more: the bot watches it no longer."
    return Message(text=text, blocks=[parts.section(text)])


def _named(clusters: Sequence[str]) -> str:
    named = ", ".join(escape(each, 200) for each in clusters[:_LISTED])
    more = len(clusters) - _LISTED
    return f"Cluster{'s' if len(clusters) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"
