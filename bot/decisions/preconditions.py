"""What must hold before a decision is sent, and what to say when it doesn't; pure functions."""

from bot import cards
from bot.errors import WrongState
from bot.models import (
    BEGUN,
    CLOCKS_DIFFER_BY,
    PRECISION,
    RULES,
    DecidedBy,
    Job,
    Mode,
    Remediation,
    Request,
    SeenState,
    State,
    Verb,
    unix,
)
from bot.mrkdwn import ago, clean, escape

OPENED_AGAIN = "the remediation ended and opened again since you saw it"
_READ_TAKES = 5.0  # seconds; as much may pass around the moment that an answer of Together's names
_ONE_MOMENT = 0.1  # seconds between the times that Together writes for one change
_COMMENT_LIMIT = 700  # token, name, ID, and a reason of full length


def precondition_failure(
    job: Job, shown: SeenState, present: Remediation, decided: DecidedBy | None = None, changed: str = ""
) -> str:
    """Return why a decision must not be sent, as what was seen is what runs; empty when it may be sent."""
    request = job.request
    rule = request.rule
    if present.state in rule.effect and shown.state not in rule.effect:
        return too_late_notice(job, shown, present, decided)
    changed = changes(request, shown, present) or changed
    if not changed:
        return ""
    open_ = any(present.state in rule.allowed for rule in RULES.values())
    over = "There's nothing left to decide." if present.state in set(State) else "Check it in Together."
    next_step = "Review it and decide again." if open_ else over
    if present.state in rule.allowed:
        next_step = f"Review it and {request.verb} again."
    return f"{your(request)} wasn't sent: {changed}. {next_step}"


def changes(request: Request, shown: SeenState, present: Remediation) -> str:
    """Return how a remediation differs from what was seen, as the end of a sentence; empty where it may be decided."""
    # A button that does not say its state was in an alert that asked for approval.
    rule, shown_state = request.rule, shown.state or State.PENDING_APPROVAL
    differences: list[str] = []
    if present.state != shown_state:
        differences.append(f"the state changed from “{_state(shown_state)}” to “{_state(present.state)}”")
    suggested = request.instead_of or shown.mode
    if suggested and present.mode not in {suggested, ""}:
        differences.append(f"the repair changed from “{_mode(suggested)}” to “{_mode(present.mode)}”")
    if not differences and is_of_another_episode(request, shown, present):
        differences.append(OPENED_AGAIN)
    if request.verb is Verb.APPROVE and not present.mode:
        differences.append("Together doesn't say which repair would run")
    elif request.verb is Verb.APPROVE and not shown.mode:
        differences.append(f"the alert didn't say which repair would run. It's “{_mode(present.mode)}”")
    if not differences and present.state not in rule.allowed:
        differences.append(f"it's already “{_state(present.state)}” and can't be {rule.done}")
    return " and ".join(differences)


def is_of_another_episode(request: Request, shown: SeenState, present: Remediation) -> bool:
    """Return whether what was seen is an earlier incident under the same ID.

    Other tools' buttons don't say which they are of. The time of their message does, if Together says when this began.
    """
    if shown.episode is not None:
        return not present.is_of(shown.episode)
    seen_at = shown.at or request.place.clicked_at
    return seen_at is not None and seen_at < present.began_at - CLOCKS_DIFFER_BY


def success_notice(request: Request, seen: SeenState, result: Remediation) -> str:
    """Return what to say about an answer that is not quite what was asked for; usually nothing.

    Args:
        seen: what the bot read before it decided; nothing for a typed command.
    """
    verb, rule = request.verb, request.rule
    if result.state not in rule.effect:
        return f"Together accepted the {rule.noun}, but the state is “{_state(result.state)}”."
    if verb is Verb.APPROVE and seen.mode and result.mode not in {seen.mode, ""}:
        return f"Approved, but the repair is now “{_mode(result.mode)}”. You approved “{_mode(seen.mode)}”."
    if request.instead_of is not None and seen.mode:
        return f"Approved “{_mode(seen.mode)}” instead of the suggested “{_mode(request.instead_of)}”."
    if seen.mode and result.mode not in {seen.mode, ""}:
        done = rule.done.capitalize()
        return f"{done}, but the repair had become “{_mode(result.mode)}”. You saw “{_mode(seen.mode)}”."
    # The command shows nothing first, and an approval may slip in between a button's read and its call.
    is_unseen = verb is Verb.CANCEL and seen.state in {None, State.PENDING_APPROVAL}
    if is_unseen and result.is_reviewed and _was_approved(seen, result) and not result.has_no_reviewer:
        is_approver = result.slack_reviewer == request.actor.user_id
        return "This had already been approved." + ("" if is_approver else " Let the approver know it's cancelled.")
    return ""


def too_late_notice(
    job: Job,
    seen: SeenState,
    present: Remediation,
    decided: DecidedBy | None,
    refusal: WrongState | None = None,
) -> str:
    """Return what to say when a decision came too late or was refused for the state.

    Args:
        seen: the remediation as it was seen before; nothing of it for a typed command.
    """
    request = job.request
    rule = request.rule
    is_undone = f"Not {rule.done}. It was already"
    if present.state == State.CANCELLED:
        if present.is_reviewed_with(job.token):
            return f"{your(request)} went through, but the remediation was cancelled afterward."
        # Together names the reviewer, who need not be the person who cancelled.
        already = "Already" if present.state in rule.effect else is_undone
        return f"{already} {RULES[decided.verb].done if decided else 'cancelled'}{_through_slack(decided)}."
    if present.state == State.AUTO_RESOLVED:
        is_own = request.verb is Verb.APPROVE and present.is_reviewed_with(job.token)
        done = f"{your(request)} went through, and then the" if is_own else f"Not {rule.done}. The"
        return f"{done} alert cleared and the remediation resolved on its own."
    if present.state in BEGUN and request.verb is not Verb.CANCEL:
        already = "Already" if request.verb is Verb.APPROVE else is_undone
        old = job.about.old_review
        present = present.seen_after(old) if old else present
        reviewer = cards.labels.reviewed_by(present)
        other_mode = ""
        shown = request.instead_of or seen.mode
        if shown and present.mode not in {shown, ""}:
            other_mode = f" The repair is “{_mode(present.mode)}”; you saw “{_mode(shown)}”."
        return f"{already} approved{_through_slack(decided) or (reviewer and f' {reviewer}')}.{other_mode}"
    if present.state in rule.allowed:
        said = f" Together: “{escape(refusal.quote, 300)}”." if refusal and refusal.quote else ""
        is_still = "the remediation is still waiting" if present.is_waiting else "it's still queued"
        return f"{your(request)} was refused by Together, but {is_still}.{said} Review it and decide again."
    return cards.too_late(request.verb, present.state)


def your(request: Request) -> str:
    """Return whose decision it is; in a batch's results, the person is named once for all of them."""
    noun = request.rule.noun
    return f"The {noun}" if request.batch_id else f"<@{request.actor.user_id}>, your {noun}"


def _through_slack(decided: DecidedBy | None) -> str:
    return f"{'' if decided.is_sure else ', apparently'} by {decided.people}, {ago(decided.at)}" if decided else ""


def took_effect(job: Job, present: Remediation, left_at: float) -> bool:
    """Return whether what was read back is this decision's effect, as far as that can be told.

    Args:
        left_at: when the decision was sent, by Together's clock, in Unix time in seconds.
    """
    request = job.request
    rule = request.rule
    seen = job.seen
    if request.verb is Verb.CANCEL:
        # Cancel leaves no comment, so only times and a review that was not there before can tell.
        is_older = 0 < present.changed_at < left_at - CLOCKS_DIFFER_BY
        was_waiting = seen.state == State.PENDING_APPROVAL
        return present.state in rule.effect and not is_older and not (was_waiting and ended_by_review(present))
    # What it leads to may have a name that this version doesn't know yet.
    is_effect = present.state in rule.effect or (request.verb is Verb.APPROVE and present.state not in set(State))
    return is_effect and present.is_reviewed_with(job.token)


def has_opened_again(seen: SeenState, present: Remediation, left_at: float) -> bool:
    """Return whether what a decision was sent for has ended, and the remediation is another incident's since.

    Args:
        seen: the remediation as the bot read it before; nothing of it for a typed command.
        left_at: when the decision was sent, by Together's clock, in Unix time in seconds.
    """
    opened = unix(present.create_time)
    if seen.began_at is not None:
        return 0 < seen.began_at < opened - PRECISION
    return opened > left_at + may_be_off(present)


def ended_by_review(present: Remediation) -> bool:
    """Return whether a rejection ended a remediation: it is one moment, but an approval comes before a cancellation."""
    return present.review_time is not None and present.changed_at - unix(present.review_time) < _ONE_MOMENT


def may_be_off(present: Remediation) -> float:
    """Return by how many seconds a moment of this bot's may be off by Together's clock, as an answer says it."""
    return _READ_TAKES if present.answered_at else CLOCKS_DIFFER_BY


def _was_approved(seen: SeenState, cancelled: Remediation) -> bool:
    """Return whether a cancelled remediation that was reviewed had been approved before, in the same incident."""
    if ended_by_review(cancelled) and not cancelled.is_approved_by_bot:
        return False
    reviewed_at = unix(cancelled.review_time)
    if unix(cancelled.start_time) >= reviewed_at:
        return False  # only an earlier incident has run: what has begun can't be cancelled
    return reviewed_at > (seen.began_at or 0) + PRECISION


def changes_since(request: Request, typed_at: float, present: Remediation) -> str:
    """Return what happened to a remediation since a command was typed, as `changes`.

    A command shows nothing first, so its repeat can only be held against that.

    Args:
        typed_at: by Together's clock, which says whole seconds.
    """
    if present.state in request.rule.allowed and present.began_at > typed_at + PRECISION:
        return "the remediation ended and opened again since you typed the command"
    if present.is_waiting:  # its state may follow a review
        is_reviewed = unix(present.review_time) > typed_at + PRECISION
        return "somebody has reviewed the remediation since you typed the command" if is_reviewed else ""
    if unix(present.review_time) <= typed_at - CLOCKS_DIFFER_BY:
        return ""
    return changes(request, SeenState(None, State.PENDING_APPROVAL), present)


def mode_to_send(seen: SeenState) -> str | None:
    """Return the mode that an approval names, so that an escalation in the last moment is not approved unseen."""
    # Approve refuses HOST_POWER_CYCLE as an override, so it runs as suggested (docs.together.ai/reference).
    return None if seen.mode == Mode.HOST_POWER_CYCLE else seen.mode


def body_to_send(job: Job) -> dict[str, str]:
    """Return what Together stores of a review, and the mode that is approved.

    The comment names the person in Slack: Together's own `reviewed_by` is the API key's owner.
    """
    request = job.request
    actor = request.actor
    name = clean(actor.name, 80).translate(dict.fromkeys(map(ord, "()")))  # only the ID is in parentheses
    who = f"{request.rule.done.capitalize()} in Slack by {name} ({actor.user_id})"
    said = f"[{job.token}] {who}: {request.reason}" if request.reason else f"[{job.token}] {who}"
    mode = mode_to_send(job.seen) if request.verb is Verb.APPROVE else None
    return {"comment": clean(said, _COMMENT_LIMIT), **({} if mode is None else {"mode": mode})}


def _mode(mode: str) -> str:
    return escape(cards.labels.mode(mode).name, 80)


def _state(state: str) -> str:
    return escape(cards.labels.state(state)[0], 90)
