"""Many remediations in one message: the list, the selection, the dialog before a batch, its progress and its report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from bot.cards import parts, words
from bot.cards.pause import pause_button, pause_line
from bot.cards.remediation_card import first_evidence
from bot.errors import BotError
from bot.models import (
    EVERYTHING,
    RULES,
    TROUBLES,
    Alert,
    Batch,
    BatchItem,
    Blocks,
    FirstApproval,
    Message,
    Pause,
    RemediationRef,
    State,
    StopReason,
    TrackedMessage,
    Verb,
    decided_in,
    key,
    still_waiting,
    waiting,
)
from bot.mrkdwn import clean, code, escape, lasted, when

SELECT, APPROVE, CANCEL, STOP = "digest:select", "digest:approve", "digest:cancel", "digest:stop"
VERBS: Mapping[str, Verb] = {APPROVE: Verb.APPROVE, CANCEL: Verb.CANCEL}
BATCH = "batch"
MAX_OPTIONS = 100  # of a select menu (docs.slack.dev, select menu element)
MAX_OPTION_TEXT = 75  # docs.slack.dev, option object
MAX_TITLE = 24  # of a view (docs.slack.dev, modal views)
MAX_LISTED = 40
BAR = 20
REPORT_LINES = 100


def names(alerts: Sequence[Alert]) -> dict[RemediationRef, str]:
    """What each node is called in a list, so that no two are called the same: by name, with its cluster, or its ID."""
    clusters = {each.remediation.cluster_id for each in alerts}
    called = {each.remediation.ref: words.node(each.remediation) for each in alerts}
    if len(clusters) > 1:
        called = {ref: f"{name} in {ref.cluster_id}" for ref, name in called.items()}
    twice = {name for name, count in Counter(called.values()).items() if count > 1}
    return {ref: f"{name} ({ref.instance_id})" if name in twice else name for ref, name in called.items()}


def digest(
    of: TrackedMessage, alerts: Sequence[Alert], batches: Sequence[Batch], pause: Pause | None = None
) -> Message:
    """The message of a digest.

    Args:
        of: the digest.
        alerts: what stands in it.
        batches: what people have asked for on it.
        pause: approvals are paused.
    """
    done, open_ones = decided_in(batches), still_waiting(alerts, batches)
    where = f"in {clean(of.cluster_id, 60)}" if of.cluster_id else "from before the bot began to watch"
    wait = "waits" if len(open_ones) == 1 else "wait"
    title = f"{len(alerts)} remediations {where}: {len(open_ones)} {wait} for approval"
    symbol = "🌩️" if open_ones else "✅"
    progress = [_progress(each) for each in batches]
    counts = [
        _counted("State", [_state(each, done)[0] for each in alerts]),
        _counted("Mode", [_mode(each) for each in alerts]),
    ]
    evidence = [found for each in alerts if (found := first_evidence(each.remediation))]
    if evidence:
        counts.append(_counted("Evidence", evidence))
    listed = sorted(alerts, key=_urgency)[:MAX_LISTED]
    called = names(alerts)
    lines = [_line(each, called[each.remediation.ref], _state(each, done)) for each in listed]
    if more := len(alerts) - len(listed):
        lines.append(f"… and {more} more: search for them in the selection.")
    running = [each for each in batches if each.is_running]
    controls = _controls(of, len(open_ones), running[-1:], pause) if open_ones else _stop(running[-1:])
    ages = [each.as_of for each in alerts if each.as_of]
    aged = [words.as_of(min(ages))] if ages else []
    aged += [pause_line(pause)] if pause and open_ones else []
    blocks = [
        {"type": "header", "text": parts.plain(clean(f"{title} {symbol}", 150))},
        *(parts.section(f"*{each}*") for each in aged),
        *(parts.section(each) for each in progress[-3:]),
        parts.section("\n".join(counts)),
        *(parts.section(page) for page in parts.pages(lines)),
        *controls,
    ]
    told = [title + ".", *aged, *progress[-1:], *counts, *lines[:10]]
    return Message(text=parts.story(told), blocks=blocks)


def _urgency(alert: Alert) -> int:
    if alert.remediation.state == State.FAILED:
        return 0
    if alert.remediation.state == State.PENDING_APPROVAL:
        return 1
    return 3 if alert.is_closed else 2


def _state(alert: Alert, done: Mapping[RemediationRef, State]) -> tuple[str, str]:
    """The words and the symbol for the state of one among many."""
    remediation = alert.remediation
    if alert.vanished:
        return "Withdrawn", "💨"
    if alert.waits and alert.is_stale and (state := done.get(remediation.ref)):
        return words.state_words(state, reviewed=state is State.PENDING)
    return words.state_words(remediation.state, reviewed=remediation.is_reviewed)


def _mode(alert: Alert) -> str:
    return words.mode_words(alert.remediation.mode).name


def _counted(label: str, values: Sequence[str]) -> str:
    shown = [f"{count} {escape(value, 120)}" for value, count in Counter(values).most_common(5)]
    more = len(set(values)) - len(shown)
    return f"*{label}*: {', '.join(shown)}{f', and {more} others' if more > 0 else ''}"


def _line(alert: Alert, name: str, state: tuple[str, str]) -> str:
    remediation = alert.remediation
    found = first_evidence(remediation)
    evidence = f" ({escape(found, 100)})" if found else ""
    said, symbol = state
    if alert.hold:
        others = "".join(f", <@{each.user_id}> until {when(each.until)}" for each in alert.hold.others)
        symbol = f"{symbol} <@{alert.hold.user_id}> asks to wait until {when(alert.hold.until)}{others}"
    return f"{code(name, 60)}: {escape(_mode(alert), 60)}{evidence}: {escape(said, 60)} {symbol}"


def _progress(batch: Batch) -> str:
    """A bar, and how many came out how."""
    rule, known = RULES[batch.verb], [each for each in batch.items if each.outcome is not None]
    well = len([each for each in known if each.outcome == rule.done])
    if batch.is_running:
        said = rule.doing.capitalize()
    elif well == len(batch.items):
        said = rule.done.capitalize()
    else:
        said = f"Not all {rule.done}" if well else f"None {rule.done}"
    lines = [f"*{said}, as <@{batch.actor.user_id}> asked {when(batch.asked_at)}*", _bar(batch)]
    if batch.stopped:
        left = sum(each.is_left for each in batch.items)
        lines.append(f"*Stopped: {_why(batch, batch.stopped)}* {left} not attempted.")
    failed = [each for each in known if each.outcome != rule.done]
    lines += [_outcome(each, batch.verb) for each in failed[:5]]
    if len(failed) > 5:  # noqa: PLR2004 - as many as fit at a glance
        lines.append(f"… and {len(failed) - 5} more; the thread lists all when it is done.")
    return "\n".join(lines)


def _why(batch: Batch, stopped: StopReason) -> str:
    match stopped:
        case StopReason.NOT_ALLOWED:
            return f"couldn't confirm that <@{batch.actor.user_id}> is allowed to decide."
        case StopReason.REPAIR_LIMIT:
            return "the cluster reached its repair limit."
        case StopReason.TROUBLE:
            return f"Together failed {TROUBLES} times in a row."
        case StopReason.PAUSED:
            return "approvals are paused."
        case StopReason.PERSON:
            return f"<@{batch.stopped_by}> stopped it."
        case StopReason.TOO_OLD:
            return "there was no progress for 10 min, so the rest expired."
        case _:
            assert_never(stopped)


def _bar(batch: Batch) -> str:
    """How many came out how, in one line."""
    done = RULES[batch.verb].done
    known = [each.outcome for each in batch.items if each.outcome is not None]
    filled = BAR * len(known) // max(1, len(batch.items))
    well = known.count(done)
    others = f", {len(known) - well} not {done}" if len(known) > well else ""
    return f"{'█' * filled}{'░' * (BAR - filled)} {len(known)} of {len(batch.items)}: {well} {done}{others}"


def _outcome(item: BatchItem, verb: Verb) -> str:
    """What has come of one decision, in a line."""
    rule = RULES[verb]
    if item.outcome is None:
        return f"{code(item.node, 60)}: not attempted"
    if item.outcome == rule.done and not item.summary:
        return f"{code(item.node, 60)}: {rule.done}"
    return f"{code(item.node, 60)}: {item.summary or escape(item.outcome, 100)}"


def report(batch: Batch) -> list[Message]:
    """The outcome of every decision of a batch, for the thread, in as few messages as hold them."""
    lines = [_outcome(each, batch.verb) for each in batch.items]
    chunks = [lines[start : start + REPORT_LINES] for start in range(0, len(lines), REPORT_LINES)]
    told = []
    for number, chunk in enumerate(chunks, start=1):
        of = f" ({number} of {len(chunks)})" if len(chunks) > 1 else ""
        head = f"<@{batch.actor.user_id}>, what has come of it{of}:"
        whole = [head, *chunk]
        told.append(Message(parts.story(whole), [parts.section(page) for page in parts.pages(whole)]))
    return told


def failures(alerts: Sequence[Alert], firsts: Mapping[RemediationRef, FirstApproval]) -> Message:
    """Which repairs of a digest have failed, and whom it concerns.

    Args:
        alerts: of what has failed.
        firsts: the first of two approvals, where there was one.
    """
    approved = [each for each in alerts if each.decided and each.decided.verb is Verb.APPROVE]
    first_ones = [(each.remediation.mode, firsts.get(each.remediation.ref)) for each in approved]
    people = sorted(
        {each.decided.user_id for each in approved if each.decided}
        | {first.user_id for mode, first in first_ones if first and first.mode == mode}
    )
    who = f"{' '.join(f'<@{each}>' for each in people[:10])}, repairs that you approved have failed" if people else ""
    head = f"{who or 'Repairs have failed'}:"
    lines = [
        f"{code(words.node(each.remediation), 60)}: {escape(each.remediation.error_message or 'no reason', 200)}"
        f"{_console_approval(each)} ❌"
        for each in alerts[:REPORT_LINES]
    ]
    if (more := len(alerts) - len(lines)) > 0:
        lines.append(f"… and {more} more")
    told = [head, *lines]
    return Message(parts.story(told), [parts.section(page) for page in parts.pages(told)])


def _console_approval(alert: Alert) -> str:
    """Who approved it, where that was not through Slack."""
    reviewer = alert.remediation.reviewed_by
    return f" (approved by {escape(reviewer, 100)})" if reviewer and alert.decided is None else ""


def digest_reminder(count: int, oncall: str, waited: float) -> Message:
    """That nobody has decided on some of a digest.

    Args:
        count: how many wait.
        oncall: mention of whom to call, or "".
        waited: seconds.
    """
    some = "1 remediation of the list above has" if count == 1 else f"{count} remediations of the list above have"
    text = f"{oncall}{some} waited for {lasted(waited)} or more, and nobody has decided."
    return Message(text=text, blocks=[parts.section(text)])


def _controls(of: TrackedMessage, count: int, running: Sequence[Batch], pause: Pause | None) -> Blocks:
    select = {
        "type": "multi_external_select",
        "action_id": SELECT,
        "placeholder": parts.plain("Choose nodes"),
        "min_query_length": 0,
    }
    which = f"among the {count} that wait" if count > 1 else "the one that waits"
    choose = parts.section(f"Choose {which}, then press a button. It first shows what would happen.")
    approve: dict[str, Any] = {
        "type": "button",
        "action_id": APPROVE,
        "text": parts.plain("Approve selected"),
        "value": of.id,
    }
    cancel = {**approve, "action_id": CANCEL, "text": parts.plain("Cancel selected")}
    # The block's ID stays the same, so that an edit of the message does not take away what somebody is choosing.
    return [
        # A long list hides its head: how far a batch is stands beside the controls too.
        *_stop(running),
        {**choose, "block_id": of.id, "accessory": select},
        parts.actions([{**approve, "style": "primary"}, cancel, pause_button(of.cluster_id, pause)]),
    ]


def _stop(running: Sequence[Batch]) -> Blocks:
    """How far a batch is, and the button that leaves the rest alone."""
    stop = {"type": "button", "action_id": STOP, "text": parts.plain("Stop")}
    return [
        block for each in running for block in (parts.context(_bar(each)), parts.actions([{**stop, "value": each.id}]))
    ]


def options(alerts: Sequence[Alert], query: str) -> list[dict[str, Any]]:
    """The choices of the selection: all, all of a mode, and the nodes that a query matches."""
    open_ones = waiting(alerts)
    if not open_ones:
        return []
    found: list[dict[str, Any]] = []
    wanted = query.strip().casefold()
    if wanted in "all that wait":
        found.append(_option(f"All that wait ({len(open_ones)})", EVERYTHING))
    by_mode = Counter(each.remediation.mode for each in open_ones)
    found += [
        _option(f"All: {words.mode_words(mode).name} ({count})", f"mode:{mode}")
        for mode, count in by_mode.most_common(10)
        if wanted in f"all: {words.mode_words(mode).name}".casefold() and len(mode) + len("mode:") <= MAX_OPTION_TEXT
    ]
    called = names(alerts)
    for each in open_ones:
        text = f"{called[each.remediation.ref]} · {_mode(each)}"
        if wanted in f"{text} {each.remediation.cluster_id} {first_evidence(each.remediation) or ''}".casefold():
            found.append(_option(text, f"one:{key(each.remediation)}"))
    return found[:MAX_OPTIONS]


def _option(text: str, value: str) -> dict[str, Any]:
    return {"text": parts.plain(clean(text, MAX_OPTION_TEXT)), "value": value}


def dialog(batch: Batch, alerts: Sequence[Alert], called: Mapping[RemediationRef, str]) -> dict[str, Any]:
    """The view that shows what will happen to which node, before a batch is begun.

    Args:
        batch: what is asked.
        alerts: what it is about, at most `MAX_CHOSEN`.
        called: what the nodes are called in the list.
    """
    rule, count = RULES[batch.verb], len(alerts)
    noun = "remediation" if count == 1 else "remediations"
    # "Cancel" alone could be taken for the way out of the dialog.
    ask, submit, close = (
        (f"Approve {count} {noun}", f"Approve {count}", "Not now")
        if batch.verb is Verb.APPROVE
        else (f"Cancel {count} {noun}", f"Cancel {count} {noun}", "Keep it" if count == 1 else "Keep them")
    )
    stays = "The nodes stay as they are, broken or not, and Together recommends nothing for them for about 30 minutes."
    drains = "Approving drains the nodes: jobs that have not checkpointed lose their work."
    head = drains if batch.verb is Verb.APPROVE else stays
    return {
        "type": "modal",
        "callback_id": BATCH,
        "private_metadata": batch.id,
        "title": parts.plain(ask if len(ask) <= MAX_TITLE else submit),
        "submit": parts.plain(submit),
        "close": parts.plain(close),
        "blocks": [
            parts.section(f"*{escape(head, 500)}*"),
            *(parts.section(page) for page in _nodes(batch.verb, alerts, called)),
            parts.context(
                f"They are {rule.done} one after the other. Whatever has changed until its turn comes is left alone, "
                "and the message says so."
            ),
        ],
    }


def _nodes(verb: Verb, alerts: Sequence[Alert], called: Mapping[RemediationRef, str]) -> Iterator[str]:
    """Which mode runs on which nodes, in pages."""
    for mode in sorted({each.remediation.mode for each in alerts}):
        mine = [each for each in alerts if each.remediation.mode == mode]
        does = words.mode_words(mode)
        what = escape(does.consequence, 250) if verb is Verb.APPROVE else "It will not run."
        held = len([each for each in mine if each.hold])
        wait = f" For {held} of them somebody asked to wait." if held and verb is Verb.APPROVE else ""
        head = f"*{escape(does.name, 80)}* on {len(mine)}: {what}{wait}"
        yield from parts.pages([head, *(code(called[each.remediation.ref], 100) for each in mine)], " ")


def refusal(error: BotError) -> dict[str, Any]:
    """The view in place of a dialog whose batch cannot be begun."""
    return {
        "type": "modal",
        "title": parts.plain("Not taken"),
        "close": parts.plain("Close"),
        "blocks": [parts.section(f"*{error.sentence}* {error.next_step}")],
    }
