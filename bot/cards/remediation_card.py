"""The remediation card: one pure function from a `Remediation` to a Slack message."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from bot.cards import blocks, labels
from bot.cards.config import UNSET, CardConfig, link
from bot.cards.controls import actions
from bot.cards.labels import broken, fault
from bot.cards.pause import pause_line
from bot.models import (
    BEGUN,
    HISTORY_DAYS,
    IN_REPAIR,
    NEXT_STEP,
    NOTHING_KNOWN,
    OWN_COMMENT,
    RULES,
    Blocks,
    CardContext,
    DecidedBy,
    History,
    Hold,
    Impact,
    Looking,
    Message,
    Remediation,
    RemediationRef,
    RepairLoad,
    State,
    Verb,
    parts_of,
)
from bot.mrkdwn import ago, capital, clean, entities, escape, lasted, when

# Which of them the wait has isn't documented; in none of them has the repair begun.
_BEFORE_IT_RUNS = IN_REPAIR - {State.RUNNING}
_NOT_STARTED = {State.PENDING_APPROVAL, State.PENDING}
_HOLDS = 5  # that are shown
_TO_THE_NAME = re.compile(r":$|( of| on)$")  # what is left over where a title names no node
NOTICE = "notice-"  # begins the ID of a block that holds for now, by which it is taken away again
ON_CALL = "On call: "  # begins the line that mentions who is on call


def card(  # noqa: PLR0913 - what a card shows
    remediation: Remediation,
    *,
    decided: DecidedBy | None = None,
    notice: str = "",
    buttons: bool = True,
    about: CardContext = NOTHING_KNOWN,
    config: CardConfig = UNSET,
    is_beneath: bool = False,
) -> Message:
    """Draw a remediation in any state.

    Args:
        remediation: as Together answered it; every text in it is escaped and cut.
        decided: who brought it into its state through Slack, where that is known.
        notice: what the reader must know before anything else; trusted mrkdwn.
        buttons: whether what the state allows may be decided; otherwise it is in doubt.
        is_beneath: drawn beneath another tool's alert, which says what is broken.
    """
    if config.observed:
        about = replace(about, is_observed=config.observes(remediation.cluster_id))
    if about.old_review:
        remediation = remediation.seen_after(about.old_review)
    waits = remediation.is_waiting and not about.is_unlisted
    is_unasked = about.is_automatic and remediation.state in IN_REPAIR and not about.is_unlisted
    warnings = [*_warnings(remediation, notice, about, config, has_menu=buttons and not about.is_one_of_many)]
    agreed = [*_agreed(remediation, about, config)] if waits else []
    affected = _affected(about.impact) if waits and about.impact else ""
    shown, further = broken(remediation)
    risk, last = (_risk(remediation, about), _last_repair(about.history)) if waits else ("", "")
    rest = [*_people(remediation, decided, about), _effect(remediation, about, config)]
    rest += [on_call(about.mentioned)] if waits or is_unasked else []
    drawn = [
        blocks.title(
            _title(remediation, about, config, is_sure=buttons),
            link(config.console_url, remediation),
            clean(labels.cluster(remediation, about.share), 60),
        ),
        *(
            {**blocks.paragraph(warning, bold=True), "block_id": f"{NOTICE}{number}"}
            for number, warning in enumerate(warnings)
        ),
        *blocks.rich_texts(agreed),
        *blocks.paragraphs(affected),
        *blocks.rich_texts(() if is_beneath else shown),
        *blocks.paragraphs(risk, *rest),
        *actions(remediation, about, config, buttons=buttons),
        *_details(remediation, further, last),
    ]
    texts = [
        _push(remediation, about, config, is_asked=waits and buttons, is_unasked=is_unasked),
        *(*warnings, *agreed, affected, *shown, *further, risk, last, *rest),
        f"Cluster {escape(remediation.cluster_id, 250)}, instance {escape(remediation.instance_id, 250)}.",
        f"Remediation {escape(remediation.id, 250)}.",
    ]
    return Message(blocks.story(filter(None, texts)), drawn)


def brief(remediation: Remediation, about: CardContext, config: CardConfig) -> Message:
    """Draw a repair that began and ended before the bot saw it, in two lines: there is nothing to decide."""
    ended = f"Ended {when(remediation.ended_at)}, before the bot saw it."
    sentences = [*_people(remediation, None, about), ended, *chain(*broken(remediation))]
    if remediation.state == State.SUCCEEDED:
        sentences += _aftermath(remediation, about, config)
    is_as = escape(_title(remediation, about, config, is_named=False), 150)
    title, rest = f"{where(remediation, about.share)}: {is_as}", " ".join(sentences)
    return Message(blocks.story([title, rest]), [blocks.statement(title, rest)])


def ids(ref: RemediationRef) -> str:
    """Return the three IDs, each as code that can be copied, and as a whole what the command takes."""
    return " / ".join(f"`{escape(part, 898)}`" for part in parts_of(ref))


def where(remediation: Remediation, share: RepairLoad | None) -> str:
    """Return the node and its cluster, escaped, as a push notification begins."""
    return f"{escape(remediation.node, 100)} ({escape(labels.cluster(remediation, share), 100)})"


def _title(
    remediation: Remediation, about: CardContext, config: CardConfig, *, is_sure: bool = True, is_named: bool = True
) -> str:
    """Return the header: what is asked, or what has become of it.

    Args:
        is_sure: whether that is certain.
        is_named: whether it names the node; otherwise it comes after the name.
    """
    mode, node = labels.mode(remediation.mode), clean(remediation.node, 80) if is_named else ""
    state, symbol = labels.state(remediation.state, reviewed=remediation.is_reviewed)
    do = mode.do.format(node) if is_named else mode.noun
    match remediation.state:
        case _ if about.is_unlisted:
            (state, symbol), title = labels.WITHDRAWN, f"{labels.WITHDRAWN[0]}: {do}"
        case State.PENDING_APPROVAL if not is_sure:
            title, symbol = f"Not confirmed: {do}", "❔"
        case State.PENDING_APPROVAL if about.is_observed:
            title = f"Observing: {do}"
        case State.PENDING_APPROVAL:
            is_half = about.first and config.is_half_approved(remediation, about.first)
            asked = "1 more approval needed" if is_half else "Approval needed"
            title = f"On hold: {do}" if about.hold else f"{asked}: {do}"
        case State.PENDING if about.is_automatic:
            title = f"Started automatically: {do}"
        case State.AUTO_RESOLVED:
            title = f"{node} recovered on its own"
        case State.RUNNING:
            title = mode.doing.format(node)
        case State.SUCCEEDED if about.came_back or about.is_missing:
            done, symbol = _came_to_nothing(remediation, about)
            title = f"{done}: {node}"
        case State.SUCCEEDED:
            title = mode.done.format(node)
        case _:
            title = f"{state}: {do}"
    title = clean(title, 145) if is_named else _TO_THE_NAME.sub("", clean(title, 145))
    return f"{title} {symbol}"


def _came_to_nothing(remediation: Remediation, about: CardContext) -> tuple[str, str]:
    """Return what has become of a repair that succeeded, and of its node all the same, with a symbol."""
    noun = labels.mode(remediation.mode).noun
    if about.came_back is None:
        return f"Not running after {noun}", "⚠️"
    if about.came_back.was_firing:
        return f"{capital(noun)} didn't help", "🔁"
    return f"Fault came back after {lasted(about.came_back.at - remediation.succeeded_at)}", "🔁"


def _warnings(
    remediation: Remediation, notice: str, about: CardContext, config: CardConfig, *, has_menu: bool
) -> Iterator[str]:
    """Yield what must be known before anything else."""
    if notice:
        yield notice
    if about.as_of and not about.is_just_read:
        yield labels.as_of(about.as_of)
    if about.came_back:
        did = "didn't stop with this repair" if about.came_back.was_firing else "is back"
        is_known = about.came_back.is_suggested
        look = "see the node's next remediation" if is_known else "check the node and any new remediation"
        yield f"{escape(about.came_back.fault, 80)} {did}: {look}."
    elif about.is_missing:
        yield "The node wasn't running in the cluster after the repair. Check it."
    if not about.is_unlisted and config.stuck_at(remediation) <= about.now and remediation.under_way_since:
        yield labels.stuck(remediation.under_way_since, has_card=has_menu)


def _people(remediation: Remediation, decided: DecidedBy | None, about: CardContext) -> Iterator[str]:
    """Yield who asked for it and who decided, each once."""
    if about.is_automatic and not decided:
        yield f"Started automatically by {escape(remediation.requested_by or 'Together', 200)}: nobody was asked."
        return
    if remediation.requested_by:
        yield f"Requested by {escape(remediation.requested_by, 200)}."
    comment = escape(remediation.review_comment or "", 700) if remediation.is_reviewed else ""
    if decided:
        reason = f": “{escape(decided.reason, 600)}”" if decided.reason else "."
        did = RULES[decided.verb].done.capitalize()
        if decided.verb is Verb.APPROVE and remediation.mode and decided.mode not in {"", remediation.mode}:
            did += f" “{escape(labels.mode(decided.mode).name, 80)}”"
        yield f"{did}{'' if decided.is_sure else ', apparently'} by {decided.people}, {when(decided.at)}{reason}"
        if comment and decided.user_id not in comment:
            yield f"Review comment: “{comment}”"
    elif own := OWN_COMMENT.fullmatch(comment):
        yield f"{own['told']}."
    elif remediation.is_reviewed and remediation.has_no_reviewer:
        if remediation.state in BEGUN:
            yield "Approved automatically in Together."
    elif remediation.is_reviewed:
        did = "Approved" if remediation.state in BEGUN else "Reviewed"
        who = f" by {escape(remediation.reviewed_by, 200)}" if remediation.reviewed_by else ""
        yield f"{did}{who} in Together{f': “{comment}”' if comment else '.'}"


def _effect(remediation: Remediation, about: CardContext, config: CardConfig) -> str:
    """Return what the repair does, did or won't do to the node, by its state."""
    mode = labels.mode(remediation.mode)
    if about.is_unlisted:
        return (
            "Together no longer lists this remediation, so there's nothing to decide. This card will update if it "
            "comes back."
        )
    effect = escape(mode.effect, 600)
    match remediation.state:
        case State.PENDING_APPROVAL:
            where = "" if remediation.mode else " Approve it there."
            effect = escape(f"{mode.effect}{where} {labels.drain(config.wait_of(remediation.cluster_id))}", 600)
        case State.CANCELLED:
            effect = "This repair won't run. After a cancellation, Together suggests no other for about 30 minutes."
        case State.AUTO_RESOLVED:
            effect = "The alert cleared, so this repair won't run."
        case State.SUCCEEDED:
            effect = " ".join(filter(None, [mode.result, *_aftermath(remediation, about, config)]))
        case State.FAILED:
            effect = "The repair failed, and the node may be half-repaired. Check it."
        case state if state in _BEFORE_IT_RUNS and (since := remediation.under_way_since):
            wait = config.wait_of(remediation.cluster_id)
            effect = f"{labels.draining(wait, since, is_automatic=remediation.is_automatic)} {effect}"
    return effect


def _aftermath(remediation: Remediation, about: CardContext, config: CardConfig) -> Iterator[str]:
    """Yield whether the repair has helped, as far as is known, where nothing else says so."""
    until = remediation.succeeded_at + config.verify_seconds
    if about.has_lasted:
        yield labels.stayed_away(config.verify_seconds)
    elif about.followed and not about.came_back and remediation.can_be_watched and about.now < until:
        yield f"Watched until {when(until)}, in case the fault comes back."


def _risk(remediation: Remediation, about: CardContext) -> str:
    """Return what is at risk: the node's history and the cluster's share in repair."""
    parts = [_history(remediation, about.history)] if about.history else []
    parts += [labels.load(about.share, about)] if about.share else []
    return " · ".join(parts)


def _history(remediation: Remediation, history: History) -> str:
    """Return how often the node was repaired; or that this was tried for this fault, and what would come after it."""
    if history.repairs == 0:
        return f"First repair here in {HISTORY_DAYS} days"
    if not history.same or history.same_mode != remediation.mode:
        return f"{labels.ordinal(history.repairs + 1)} repair in {HISTORY_DAYS} days"
    fault = escape(history.same_fault, 80)
    which = f"{labels.ordinal(history.same + 1)} {escape(labels.mode(remediation.mode).noun, 80)} within 24 h"
    following = NEXT_STEP.get(remediation.mode)
    after = f". Together's next step: {labels.mode(following).noun}" if following else ""
    return f"{which}{f' for {fault}' if fault else ''}{after}"


def _last_repair(history: History | None) -> str:
    """Return what was tried on the node before, as a line."""
    if history is None or history.last_mode is None:
        return ""
    mode = labels.mode(history.last_mode).noun
    state = labels.state(history.last_state or "")[0].lower()
    at = f" {ago(history.last_at)}" if history.last_at else ""
    return f"Last repair: {escape(mode, 80)}, {escape(state, 80)}{at}"


def _agreed(remediation: Remediation, about: CardContext, config: CardConfig) -> Iterator[str]:
    """Yield what changes the decision on a repair that waits: what people have said, and who must."""
    if about.is_observed:
        url = link(config.console_url, remediation)
        yield labels.OBSERVED.replace("in Together", f"<{entities(url)}|in Together>") if url else labels.OBSERVED
    elif about.pause:
        yield pause_line(about.pause)
    if about.hold:
        holds = (about.hold, *about.hold.others)
        for hold in holds[:_HOLDS]:
            yield f"On hold until {when(hold.until)} by {asked_to_wait(hold)}"
        if len(holds) > _HOLDS:
            yield f"{len(holds) - _HOLDS} more people asked to wait."
    if about.looking:
        yield looking_line(about.looking)
    if not about.is_observed:  # there, Together asks for one person
        yield from _approvers(remediation, about, config)


def _approvers(remediation: Remediation, about: CardContext, config: CardConfig) -> Iterator[str]:
    """Yield who is the first of two to approve, and what must follow; nothing where one person is enough."""
    first, rule, lately = about.first, config.two_people, about.history.lately if about.history else 0
    too_often, repairs = "", "repair" if lately == 1 else "repairs"
    if rule.is_too_often(lately):
        too_often = f" {lately} {repairs} of this node in {lasted(rule.seconds)}: another one may not help."
    if first is None or not first.counts_for(remediation):
        if config.needs_two(remediation.mode, about.history):
            yield f"Needs two approvers.{too_often}"
    elif config.may_need_two(first.mode):
        yield f"1 of 2 approvals: <@{first.user_id}>, {when(first.at)}. Someone else must approve too.{too_often}"
    else:  # the settings were others before a restart
        was = f"<@{first.user_id}> approved {when(first.at)}, when two approvers were needed."
        yield f"{was} One is enough now: approve again."


def _affected(impact: Impact) -> str:
    """Return who is affected, as of when that was read: a job may have ended since."""
    summary = escape(impact.summary, 300)
    owner = f", owner {escape(impact.owner, 100)}" if impact.owner else ""
    linked = f"<{entities(impact.url)}|{summary}>" if impact.url else summary  # no bar can be in the URL
    return f"Affects: {linked}{owner} (as of {when(impact.at)})"


def asked_to_wait(hold: Hold) -> str:
    """Return who put something on hold, and why, as the end of a sentence."""
    return f"<@{hold.user_id}>{f': “{escape(hold.reason, 300)}”' if hold.reason else '.'}"


def looking_line(looking: Sequence[Looking]) -> str:
    """Return who looks into something, and since when."""
    return f"Looking into it: {', '.join(f'<@{looker.user_id}> since {when(looker.since)}' for looker in looking)}."


def on_call(called: str) -> str:
    """Return the line that says whom a message called; empty for nobody."""
    return f"{ON_CALL}{mention(called)}" if called else ""


def calling_line(said: str, called: str) -> Message:
    """Return a line that ends with a call to users and groups, if any."""
    return blocks.line(f"{said} {mention(called)}".strip())


def mention(called: str) -> str:
    """Mention space-separated user and group IDs; nobody for an empty text."""
    return " ".join(
        f"<!subteam^{called_id}>" if called_id[0] == "S" else f"<@{called_id}>" for called_id in called.split()
    )


def _details(remediation: Remediation, further: Sequence[str], last: str) -> Blocks:
    """Return small print, and what decides nothing, folded away."""
    trigger = labels.TRIGGERS.get(remediation.trigger) or escape(remediation.trigger, 60)
    is_by_people = remediation.is_reviewed and not remediation.is_automatic
    is_approved = is_by_people and remediation.state in BEGUN
    moments = (  # what hasn't happened yet has its moment from an earlier incident
        ("ended", remediation.ended),
        ("started", remediation.start_time if remediation.state not in _NOT_STARTED else None),
        ("approved", remediation.review_time if is_approved else None),
        ("opened", remediation.create_time),
    )
    latest = next((f"{label} {ago(moment)}" for label, moment in moments if moment), "")
    facts = " · ".join(filter(None, [trigger, latest]))
    title = "Last repair, IDs" if last else "IDs"
    if further:
        title = "More alerts, last repair, IDs" if last else "More alerts, IDs"
    inside = [*map(blocks.literal, filter(None, [*further, last])), blocks.context(ids(remediation.ref))]
    small = [blocks.context(facts)] if facts else []
    return [*small, blocks.folded(title, inside)]


def _push(remediation: Remediation, about: CardContext, config: CardConfig, *, is_asked: bool, is_unasked: bool) -> str:
    """Return what a push notification shows: node and fault first, then what is asked or what has become of it."""
    node = where(remediation, about.share)
    if not is_asked:
        is_surprise = is_unasked and labels.mode(remediation.mode).is_destructive  # so on-call is mentioned
        data = " Deletes local data." if is_surprise else ""
        return f"{node}: {escape(_title(remediation, about, config, is_sure=False, is_named=False), 150)}{data}"
    noun, fails = escape(labels.mode(remediation.mode).noun, 80), escape(fault(remediation), 100)
    asked = f"Together asks to approve: {noun}."
    if about.pause and not about.is_observed:
        asked += " Approvals are paused."
    elif remediation.mode and not about.is_observed:
        asked = f"Approve {noun}?"
    history = f" {_history(remediation, about.history)}." if about.history and about.history.repairs else ""
    return f"{node}: {f'{fails}. ' if fails else ''}{asked}{history}"
