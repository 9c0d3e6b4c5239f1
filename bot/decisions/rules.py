"""The rules of a decision, as pure functions over what was asked, what was seen and what is now."""

from bot import cards
from bot.errors import WrongState
from bot.models import RULES, Mode, Remediation, Request, Shown, State, Verb
from bot.mrkdwn import clean, escape

_COMMENT_LIMIT = 700  # name, ID and a reason of full length


def why_not(request: Request, shown: Shown, present: Remediation) -> str:
    """Why a decision must not be sent: what you saw is what runs. Empty when it may be sent.

    Args:
        request: what was asked.
        shown: what was seen when it was asked.
        present: the remediation as it is now.
    """
    verb, rule = request.verb, RULES[request.verb]
    # A button that does not say its state stood in an alert that asked for approval.
    shown_state = shown.state or State.PENDING_APPROVAL
    changes: list[str] = []
    if present.state != shown_state:
        was, now = cards.state_words(shown_state)[0], cards.state_words(present.state)[0]
        changes.append(f"The state was “{escape(was, 90)}” and is now “{escape(now, 90)}”.")
    if shown.mode is not None and present.mode != shown.mode:
        changes.append(f"The mode was “{_mode(shown.mode)}” and is now “{_mode(present.mode)}”.")
    if shown.mode is None and verb is Verb.APPROVE:
        changes.append(f"The button did not say what would run: it is “{_mode(present.mode)}”.")
    if not changes and present.state not in rule.allowed:
        state, _ = cards.state_words(present.state)
        changes.append(f"It is “{escape(state, 90)}” and can no longer be {rule.done}.")
    if not changes:
        return ""
    open_ = any(present.state in each.allowed for each in RULES.values())
    next_step = "Look again, then decide." if open_ else "Nothing is left to decide."
    return " ".join([f"Not {rule.done}.", *changes, next_step])


def success_notice(request: Request, seen: Shown | None, result: Remediation) -> str:
    """What to say about an answer that is not quite what was asked for. Usually nothing.

    Args:
        request: what was asked.
        seen: what the bot read before it decided; None for a typed command.
        result: what Together answered.
    """
    verb, rule = request.verb, RULES[request.verb]
    if result.state not in rule.effect:
        state, _ = cards.state_words(result.state)
        return f"Together took the {rule.noun}, but the state is “{escape(state, 90)}”."
    if verb is Verb.APPROVE and seen and seen.mode and seen.mode != result.mode:
        return f"{rule.done.capitalize()}, but the mode is now “{_mode(result.mode)}”; you saw “{_mode(seen.mode)}”."
    if verb is Verb.CANCEL and seen and seen.state == State.PENDING_APPROVAL and result.review_time:
        return "It was approved in the very moment in which it was cancelled. Tell whoever approved it."
    return ""


def already(verb: Verb, present: Remediation, refusal: WrongState | None = None) -> str:
    """What to say when a decision came too late or was refused for the state.

    Args:
        verb: what was asked.
        present: the remediation as it is now.
        refusal: what Together answered, when it did.
    """
    rule = RULES[verb]
    by = f" by {escape(present.reviewed_by, 100)}" if present.reviewed_by else ""
    said = f" Together says: “{escape(refusal.quote, 300)}”" if refusal and refusal.quote else ""
    if present.state == State.CANCELLED:
        kept = "Nothing left to do" if present.state in rule.effect else f"Not {rule.done}"
        return f"{kept}: it was already cancelled{by}."
    if present.state == State.AUTO_RESOLVED:
        return f"Not {rule.done}: it has resolved by itself, because the alert cleared."
    if present.state in RULES[Verb.APPROVE].effect and verb is not Verb.CANCEL:
        return f"Not {rule.done} by you: it was already approved{by}."
    if present.state in rule.allowed:
        return f"Not {rule.done}: Together refused, though it is still waiting.{said} Look again, then decide."
    state, _ = cards.state_words(present.state)
    return f"Not {rule.done}: it is too late for that. The state is “{escape(state, 90)}”."


def is_anothers(request: Request, seen: Shown | None, present: Remediation) -> bool:
    """Whether an effect that was read back is certainly somebody else's decision."""
    if request.verb is Verb.CANCEL:
        return False
    if request.verb is Verb.APPROVE and (sent := mode_to_send(seen)) and present.mode != sent:
        return True
    return present.review_comment is not None and request.actor.user_id not in present.review_comment


def mode_to_send(seen: Shown | None) -> str | None:
    """The mode that an approval names, so that an escalation in the last moment is not approved unseen."""
    # Approve refuses HOST_POWER_CYCLE as an override, so it runs as suggested (docs.together.ai/reference).
    return None if seen is None or seen.mode == Mode.HOST_POWER_CYCLE else seen.mode


def comment(request: Request) -> str:
    """What Together stores: its own `reviewed_by` names the API key's owner, not the person in Slack."""
    actor = request.actor
    who = f"{RULES[request.verb].done.capitalize()} in Slack by {clean(actor.name, 80)} ({actor.user_id})"
    return clean(f"{who}: {request.reason}" if request.reason else who, _COMMENT_LIMIT)


def _mode(mode: str) -> str:
    return escape(cards.mode_words(mode).name, 80)
