"""Many decisions at once: the dialogs in which somebody reviews a digest, how a selection is going, and its results."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.cards import blocks, labels
from bot.cards.blocks import Element, Line, elements
from bot.cards.config import CardConfig
from bot.cards.controls import LOOKING
from bot.cards.labels import fault
from bot.cards.listing import (
    Firsts,
    Group,
    Names,
    blast_radius,
    by_name,
    chosen,
    cluster_of,
    grouped,
    half_approved,
    lines_message,
    mode_name,
    named,
    names,
    nodes_of,
    plural,
    value_of,
)
from bot.cards.pause import pause_buttons, pause_line
from bot.errors import DOUBTFUL, BotError, OutcomeKind
from bot.models import (
    RULES,
    TROUBLES,
    Alert,
    Batch,
    BatchItem,
    Blocks,
    CardContext,
    Decidable,
    Json,
    Message,
    Pause,
    RemediationRef,
    StopReason,
    TrackedMessage,
    Verb,
)
from bot.mrkdwn import capital, clean, escape, when

REVIEW = "digest:review"  # opens the dialog, and is its name
VERB = "review:verb"
NODES = "review:nodes"
ALL = "review:all"
SOME = "review:some"
BOXES = 10  # options of checkboxes (docs.slack.dev, checkboxes element)
CHOICES = {Verb.APPROVE: "Approve", Verb.CANCEL: "Cancel these instead"}
# The menu and the buttons of release 0.1's digests, which open the dialog with what was chosen there.
SELECT = "digest:select"
APPROVE = "digest:approve"
CANCEL = "digest:cancel"
VERBS: Mapping[str, Verb] = {APPROVE: Verb.APPROVE, CANCEL: Verb.CANCEL}
STOP = "digest:stop"
BATCH, WHY, IN_HOME = "batch", "batch:reason", " home"  # the last one follows the ID of what was begun there
SHOWN = 3  # kinds of results beneath a selection in the channel; the thread has all
REPORT_LINES = 12  # which may be of 2,000 characters each
_WHY = {
    StopReason.NOT_ALLOWED: "<@{person}> isn't allowed to decide these.",
    StopReason.NOT_CHECKED: "Slack didn't say whether <@{person}> is allowed to decide.",
    StopReason.REPAIR_LIMIT: "the cluster's repair limit let no more start.",
    StopReason.TROUBLE: f"{TROUBLES} decisions in a row {{failed}}. See why before you try the rest again.",
    StopReason.PAUSED: "approvals were paused.",
    StopReason.PERSON: "<@{stopped_by}> stopped it.",
    StopReason.TOO_OLD: "there was no progress for 10 min, so the rest expired.",
    StopReason.IN_DOUBT: "its start couldn't be recorded for certain.",
    StopReason.OTHER: "another version of the bot stopped it.",
}


@dataclass(frozen=True, slots=True)
class Review(blocks.Remembered):
    """What a dialog knows: its digest, the channel that gets the result, and whether it was opened in Home."""

    digest_id: str
    channel_id: str | None
    is_home: bool = False


def review_button(digest_id: str, count: int, where: str = "") -> Element:
    """Return the button that opens the dialog; `where` is raw, for a place with several."""
    label = clean(f"Review {count}{f' in {where}' if where else ''}…", blocks.MAX_OPTION_TEXT)
    return blocks.press(REVIEW, label, value=digest_id, style="primary")


def dialog(
    known: Review,
    waiting: Decidable,
    config: CardConfig,
    *,
    verb: Verb = Verb.APPROVE,
    only: Collection[RemediationRef] = (),
) -> Element:
    """Return the dialog.

    Args:
        only: what is chosen to begin with; empty for all.
    """
    alerts = waiting.alerts
    name, nodes = _clusters_of(alerts)
    count, called = len(alerts), names(alerts)
    is_part = waiting.total > count
    more = f" These are the {count} that have waited longest, of {waiting.total}." if is_part else ""
    title = f"Review {count} of {waiting.total}" if is_part else f"Review {count} {plural('repair', count)}"
    groups = grouped(alerts)  # what deletes data last
    deleting = sum(labels.deletes_data(group.mode) for group in groups)
    half = half_approved(alerts, waiting.firsts, config)
    parts = [_group(group, half, called, config, only) for group in groups]
    if deleting:
        parts.insert(len(groups) - deleting, [blocks.alarm("Approving what follows deletes the nodes' local data.")])
    needs = "needs" if nodes_of(alerts) == 1 else "need"
    verbs = [blocks.option(text, verb.value) for verb, text in CHOICES.items()]
    first = verbs[verb is Verb.CANCEL]
    radio: Element = {"type": "radio_buttons", "action_id": VERB, "options": verbs, "initial_option": first}
    return blocks.modal(
        title,
        [
            blocks.statement(
                f"{blast_radius(alerts, nodes)} of {escape(name, 100)} {needs} a decision.",
                f"You'll see what happens to which node before anything is sent.{more}",
            ),
            *_load(waiting.about, config),
            *_meanwhile(waiting),
            blocks.field(VERB, "What to do", radio, is_optional=False),
            *(block for drawn in parts for block in drawn),
        ],
        private_metadata=known.dump(),
        callback_id=REVIEW,
        submit="Next",
        close="Close",
    )


def _meanwhile(waiting: Decidable) -> Blocks:
    """Return what others are doing to the same nodes: have chosen, or decided in doubt; or have paused approvals."""
    lines = [line for batch in waiting.running for line in progress_lines(batch)[:1]]
    lines += [pause_line(waiting.pause)] if waiting.pause else []
    called = names(waiting.alerts) if waiting.unclear else {}
    unclear = [name for ref, name in called.items() if ref in waiting.unclear]
    title = f"Not confirmed, may still take effect ({len(unclear)}): "
    lines += [[*elements(title, bold=True), piece] for piece in named(unclear)[:1]]  # they are few
    return blocks.rich_texts(lines)


def _clusters_of(alerts: Sequence[Alert]) -> tuple[str, int | None]:
    """Return the name of their cluster, raw, and how many nodes it has; or how many clusters they are of."""
    several = {alert.cluster_id for alert in alerts}
    return cluster_of(alerts[0].cluster_id, alerts) if len(several) == 1 else (f"{len(several)} clusters", None)


def _load(about: CardContext, config: CardConfig, own: int | None = None) -> Blocks:
    """Return how much of a cluster is in repair, and how many more the limit lets start, where that is confirmed."""
    share = about.share
    if share is None:
        return []
    left = None if about.as_of else config.limit.room(share)
    more = "" if left is None else f". The limit lets {left or 'no'} more start"
    return [blocks.context(f"Cluster: {labels.load(share, about, share.waiting if own is None else own)}{more}.")]


def _group(group: Group, half: Firsts, called: Names, config: CardConfig, only: Collection[RemediationRef]) -> Blocks:
    """Return what is chosen from a group: a box for each node of a small one; of a large one all, or by search."""
    alerts = by_name(group.alerts, called)
    name, mine = group.value, [alert for alert in alerts if not only or alert.ref in only]
    title = f"{'⚠️ ' if labels.deletes_data(group.mode) else ''}{clean(group.title, 150)} ({len(group.alerts)})"
    effect = labels.mode(group.mode).effect
    if len(group.alerts) <= BOXES:
        offered = ([_box(alert, half, called, config) for alert in some] for some in (alerts, mine))
        return [blocks.field(f"{NODES}:{name}", title, blocks.boxes(NODES, *offered), effect)]
    every = blocks.option(f"All {len(group.alerts)}", name)
    search: Element = {
        "type": "multi_external_select", "action_id": SOME, "min_query_length": 0,
        "placeholder": blocks.plain("Type a node"),
    }  # fmt: skip
    is_all = len(mine) == len(group.alerts)
    if mine and not is_all:
        search["initial_options"] = [_option(alert, called) for alert in mine[: blocks.MAX_OPTIONS]]
    tick = blocks.boxes(ALL, [every], [every] if is_all else [])
    return [
        blocks.field(f"{ALL}:{name}", title, tick, _marks(group, half, effect)),
        blocks.field(f"{SOME}:{name}", f"Or only some of those {len(group.alerts)}", search),
    ]


def _box(alert: Alert, half: Firsts, called: Names, config: CardConfig) -> Element:
    """Return a node's box, with what changes the decision on it beneath."""
    marks = []
    if first := half.get(alert.ref):
        marks.append(f"1 of 2 approvals: <@{first.user_id}>")
    elif config.needs_two(alert.remediation.mode, alert.history):
        marks.append("Needs two approvers")
    marks += [f"On hold by <@{alert.hold.user_id}>"] if alert.hold else []
    option = _option(alert, called)
    if marks:
        option["description"] = blocks.mrkdwn(blocks.story(marks, " · ", blocks.MAX_OPTION_TEXT))
    return option


def _option(alert: Alert, called: Names) -> Element:
    return blocks.option(called[alert.ref], value_of(alert))


def _marks(group: Group, half: Firsts, effect: str) -> str:
    """Return what a group does, raw, and how many of it are half approved or on hold."""
    approved = sum(alert.ref in half for alert in group.alerts)
    held = sum(alert.hold is not None for alert in group.alerts)
    marks = [f"{approved} with 1 of 2 approvals." if approved else "", f"{held} on hold." if held else ""]
    return " ".join([effect, *filter(None, marks)])


def options(alerts: Sequence[Alert], group: str, query: str) -> Blocks:
    """Return the nodes of a group that a query matches; `group` is what choosing all of it is known by."""
    wanted, called = query.strip().casefold(), names(alerts)
    matching = [
        alert
        for alert in chosen(alerts, [group])
        if wanted in f"{called[alert.ref]} {mode_name(alert)} {alert.cluster_id} {fault(alert.remediation)}".casefold()
    ]
    return [_option(alert, called) for alert in by_name(matching, called)[: blocks.MAX_OPTIONS]]


def stop_button(batch: Batch) -> Json:
    """Return the button that stops a selection; a row takes one."""
    return blocks.press(STOP, "Stop", value=batch.id)


def controls(of: TrackedMessage, count: int, decidable: int, running: Batch | None, pause: Pause | None) -> Blocks:
    """Return what can be done with what waits, and with a selection that runs.

    Args:
        decidable: how many of those that wait are in clusters that the bot doesn't only observe.
    """
    buttons = [stop_button(running)] if running else []
    buttons += [review_button(of.id, decidable)] if decidable else []
    buttons += [blocks.press(LOOKING, "I'm looking", value=of.id)] if count else []
    buttons += pause_buttons(of.cluster_id, pause) if count and decidable else []
    return [blocks.actions(buttons)] if buttons else []


def confirmation(batch: Batch, chosen: Decidable, called: Names, config: CardConfig) -> Json:
    """Return the view that shows what would happen to which node, before a batch is begun.

    Args:
        called: what nodes are called.
    """
    alerts = chosen.alerts
    count, is_approval = len(alerts), batch.verb is Verb.APPROVE
    needs_reason = batch.verb in config.asks_reason
    waits = {config.wait_of(alert.cluster_id) for alert in alerts}
    half = half_approved(alerts, chosen.firsts, config)
    name, nodes = _clusters_of(alerts)
    # "Cancel" alone could be taken for the way out of the dialog.
    submit = f"Approve {count}" if is_approval else f"Cancel {count} {plural('remediation', count)}"
    do = "Approves repairs" if is_approval else "Cancels the remediations"
    left = "The nodes are left as they are. Together won't suggest repairs for them for about 30 minutes."
    return blocks.modal(
        f"Approve {count} {plural('repair', count)}" if is_approval else submit,
        [
            blocks.statement(
                f"{do} on {blast_radius(alerts, nodes)} in {escape(name, 100)}.",
                labels.drain(waits.pop() if len(waits) == 1 else None, "each node") if is_approval else left,
            ),
            *(_load(chosen.about, config, nodes_of(alerts)) if is_approval else []),
            *_meanwhile(chosen),
            *(
                block
                for group in grouped(alerts)
                for block in blocks.rich_texts(_nodes(batch, group, called, half, config))
            ),
            blocks.context(
                f"{RULES[batch.verb].done.capitalize()} one at a time. "
                "Anything that changes before its turn is skipped and reported."
            ),
            blocks.reason_field(WHY, "Shown in the channel and kept in the audit trail.", is_optional=not needs_reason),
        ],
        private_metadata=f"{batch.id}{IN_HOME if batch.place.is_home else ''}",
        callback_id=BATCH,
        submit=submit,
    )


def _nodes(batch: Batch, group: Group, called: Names, half: Firsts, config: CardConfig) -> list[Line]:
    """Return what is done to which nodes, and what becomes of those that one approval isn't enough for."""
    is_approval, count = batch.verb is Verb.APPROVE, len(group.alerts)
    warning = "⚠️ " if is_approval and labels.deletes_data(group.mode) else ""
    head = f"{warning}{escape(group.title, 150)} ({blast_radius(group.alerts, None)}): "
    sentences = [escape(labels.mode(group.mode).effect, 250) if is_approval else "won't run."]
    if is_approval:
        holds = [alert.holds for alert in group.alerts if alert.hold]
        by = ", ".join(dict.fromkeys(f"<@{hold.user_id}>" for some in holds for hold in some))
        needing = (half.get(alert.ref) for alert in group.alerts if config.needs_two(group.mode, alert.history))
        two = sum(first is None or first.user_id == batch.actor.user_id for first in needing)
        sentences += [f"{len(holds)} {'is' if len(holds) == 1 else 'are'} on hold by {by}."] if holds else []
        sentences += [f"{two} of {count} need{'s' if two == 1 else ''} a second person's approval."] if two else []
    lines: list[Line] = [[*elements(head, bold=True), *elements(" ".join(sentences))]]
    return lines + [[piece] for piece in named([called[alert.ref] for alert in group.alerts])]


def refusal(error: BotError) -> Json:
    """Return the view in place of a dialog whose batch can't be begun."""
    return blocks.modal(error.title, [blocks.statement(error.sentence, error.next_step)], close="Close")


def progress_lines(batch: Batch, waiting: Collection[RemediationRef] | None = None) -> list[Line]:
    """Return how it goes or went, in a line, and what wasn't done and why.

    Args:
        waiting: what waits still; what no longer does is not named any more, nor what was approved as the first of
            two, which the digest says for as long as that counts. None names all.
    """
    rule, known = RULES[batch.verb], [item for item in batch.items if item.outcome is not None]
    why = f" (“{escape(batch.reason, 200)}”)" if batch.reason else ""
    asked = f"<@{batch.actor.user_id}>, {when(batch.asked_at)}{why}"
    head = f"{_counts(batch)} · {asked}"
    if batch.is_running:
        so_far = [f"{_well(batch)} {rule.done}", *_others(batch), f"{len(batch.items) - len(known)} to go"]
        head = f"{rule.doing.capitalize()} {len(batch.items)}, started by {asked}: {', '.join(so_far)}"
    lines: list[Line] = [elements(head, bold=True)]
    if stopped := _stopped(batch):
        lines.append(elements(stopped, bold=True))
    well = {rule.done} if waiting is None else {rule.done, OutcomeKind.FIRST_OF_TWO}
    failed = [item for item in known if item.outcome not in well and (waiting is None or item.ref in waiting)]
    results = _results(failed)
    lines += results[:SHOWN]
    if len(results) > SHOWN:
        lines.append(f"…and {len(results) - SHOWN} more results. All are in the thread when it has finished.")
    return lines


def _well(batch: Batch) -> int:
    return sum(item.outcome == RULES[batch.verb].done for item in batch.items)


def _counts(batch: Batch) -> str:
    """Return how many came out how."""
    return " · ".join([f"{_well(batch)} of {len(batch.items)} {RULES[batch.verb].done}", *_others(batch)])


def _others(batch: Batch) -> list[str]:
    known = [item.outcome for item in batch.items if item.outcome is not None]
    halves = known.count(OutcomeKind.FIRST_OF_TWO)
    unclear = sum(item.outcome in DOUBTFUL for item in batch.items)
    skipped = len(known) - _well(batch) - halves - unclear
    counts = [f"{halves} {plural('first approval', halves)}"] if halves else []  # true later too
    counts += [f"{unclear} unclear"] if unclear else []
    return counts + ([f"{skipped} skipped"] if skipped else [])


def _stopped(batch: Batch) -> str:
    """Return why the rest was left alone, and what can be done; empty where nothing was."""
    if not batch.stopped:
        return ""
    failed = "failed or are unclear" if any(item.outcome in DOUBTFUL for item in batch.items) else "failed"
    why = _WHY[batch.stopped].format(person=batch.actor.user_id, stopped_by=batch.stopped_by, failed=failed)
    return f"Stopped: {why} {sum(item.is_left for item in batch.items)} not attempted."


def _results(items: Sequence[BatchItem]) -> list[Line]:
    """Return results, a line for all that have the same: the result first where it is short, else the nodes."""
    nodes_by_result: dict[str, list[str]] = {}
    for item in items:
        nodes_by_result.setdefault(_said(item), []).append(item.node)
    return [_result(said, len(nodes), names) for said, nodes in nodes_by_result.items() for names in named(nodes)]


def _result(said: str, count: int, names: Element) -> Line:
    many = f" ({count})" if count > 1 else ""
    if said.endswith("."):
        return [names, *elements(f"{many}: {said}")]
    return [*elements(f"{capital(said)}{many}: "), names]


def _said(item: BatchItem) -> str:
    """Return the result of one decision, as trusted markup."""
    if item.outcome is None:
        return "not attempted"
    return item.summary or escape(item.outcome.replace("_", " "), 100)


def report(batch: Batch) -> list[Message]:
    """Return the result of every decision of a batch, for the thread, in as few messages as hold them."""
    done = RULES[batch.verb].done
    items = sorted(batch.items, key=lambda item: (item.outcome == done, item.number))  # what needs a look comes first
    lines = _results(items)
    chunks = [lines[start : start + REPORT_LINES] for start in range(0, len(lines), REPORT_LINES)]
    stopped = f" {_stopped(batch)}" if batch.stopped else ""
    messages = []
    for number, chunk in enumerate(chunks, start=1):
        of = f" ({number} of {len(chunks)})" if len(chunks) > 1 else ""
        head = f"<@{batch.actor.user_id}>, results{of}: {_counts(batch)}.{stopped}"
        messages.append(lines_message(head, chunk))
    return messages
