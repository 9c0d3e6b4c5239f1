"""The controls of a digest: what can be chosen, and the dialog before it is decided."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.cards import blocks, labels
from bot.cards.batch import progress_lines
from bot.cards.blocks import Element, elements
from bot.cards.config import CardConfig
from bot.cards.controls import LOOKING
from bot.cards.evidence import fault
from bot.cards.listing import LISTED, blast_radius, cluster_of, counted, mode_name, names, node, since
from bot.cards.pause import pause_button
from bot.errors import BotError
from bot.models import (
    EVERYTHING,
    RULES,
    Alert,
    Batch,
    Blocks,
    Pause,
    RemediationRef,
    RepairLoad,
    TrackedMessage,
    Verb,
    key,
    waiting,
)
from bot.mrkdwn import escape

SELECT, APPROVE, CANCEL, STOP = "digest:select", "digest:approve", "digest:cancel", "digest:stop"
VERBS: Mapping[str, Verb] = {APPROVE: Verb.APPROVE, CANCEL: Verb.CANCEL}
BATCH = "batch"


def controls(of: TrackedMessage, count: int, ended: int, pause: Pause | None, *, is_observed: bool) -> Blocks:
    """Return the menu of nodes, and what can be done with those that are chosen; not where the bot only observes."""
    select = {
        "type": "multi_external_select",
        "action_id": SELECT,
        "placeholder": blocks.plain("Choose nodes"),
        "min_query_length": 0,
    }
    which = f"Choose from the {count} waiting nodes." if count > 1 else "Choose the waiting node."
    choose = blocks.section(f"{which} You'll review before anything runs.")
    approve: dict[str, Any] = {
        "type": "button",
        "action_id": APPROVE,
        "text": blocks.plain("Approve selected"),
        "value": of.id,
    }
    cancel = {**approve, "action_id": CANCEL, "text": blocks.plain("Cancel remediations")}
    looking = {**approve, "action_id": LOOKING, "text": blocks.plain("I'm looking")}
    if is_observed:
        return [blocks.actions([looking, pause_button(of.cluster_id, pause)])]
    return [
        # An edit keeps what somebody is choosing as long as the block's ID stays; once a selection has run, it changes.
        {**choose, "block_id": f"{of.id}-{ended}" if ended else of.id, "accessory": select},
        blocks.actions([{**approve, "style": "primary"}, cancel, looking, pause_button(of.cluster_id, pause)]),
    ]


def digest_id(block_id: str) -> str:
    """Return of which digest a selection's block is."""
    return block_id.partition("-")[0]


def stop_controls(running: Sequence[Batch]) -> Blocks:
    """Return how a batch is going, and the button that leaves the rest alone."""
    stop = {"type": "button", "action_id": STOP, "text": blocks.plain("Stop")}
    return [
        block
        for each in running
        for block in (*blocks.rich_texts(progress_lines(each)), blocks.actions([{**stop, "value": each.id}]))
    ]


def options(alerts: Sequence[Alert], query: str) -> list[dict[str, Any]]:
    """Return the choices of the selection: all, all of a mode, and the nodes that a query matches."""
    open_ones = waiting(alerts)
    if not open_ones:
        return []
    found: list[dict[str, Any]] = []
    wanted = query.strip().casefold()
    if wanted in "all waiting":
        found.append(blocks.option(f"All waiting ({len(open_ones)})", EVERYTHING))
    by_mode = Counter(each.remediation.mode for each in open_ones)
    found += [
        blocks.option(f"All {labels.mode(mode).name} ({count})", f"mode:{mode}")
        for mode, count in by_mode.most_common(10)
        if wanted in f"all {labels.mode(mode).name}".casefold() and len(mode) + len("mode:") <= blocks.MAX_OPTION_TEXT
    ]
    called = names(alerts)
    for each in open_ones:
        text = f"{called[each.remediation.ref]} · {mode_name(each)}"
        if wanted in f"{text} {each.remediation.cluster_id} {fault(each.remediation)}".casefold():
            found.append(blocks.option(text, f"one:{key(each.remediation)}"))
    return found[: blocks.MAX_OPTIONS]


def dialog(
    batch: Batch,
    alerts: Sequence[Alert],
    called: Mapping[RemediationRef, str],
    load: RepairLoad | None,
    config: CardConfig,
) -> dict[str, Any]:
    """Return the view that shows what would happen to which node, before a batch is begun.

    Args:
        alerts: what it is about, at most `MAX_CHOSEN`.
        load: how much of their cluster is in repair; None where that isn't known, or they are of several.
    """
    count, is_approval = len(alerts), batch.verb is Verb.APPROVE
    clusters = {each.remediation.cluster_id for each in alerts}
    waits = {config.wait_of(each) for each in clusters}
    name, nodes = (
        cluster_of(next(iter(clusters)), alerts) if len(clusters) == 1 else (f"{len(clusters)} clusters", None)
    )
    # "Cancel" alone could be taken for the way out of the dialog.
    noun = "remediation" if count == 1 else "remediations"
    submit = f"Approve {count}" if is_approval else f"Cancel {count} {noun}"
    do = "Approves repairs" if is_approval else "Cancels the remediations"
    left = "The nodes are left as they are. Together won't suggest repairs for them for about 30 minutes."
    return {
        "type": "modal",
        "callback_id": BATCH,
        "private_metadata": batch.id,
        "title": blocks.plain(f"Approve {count} repair{'' if count == 1 else 's'}" if is_approval else submit),
        "submit": blocks.plain(submit),
        "close": blocks.plain("Go back"),
        "blocks": [
            blocks.statement(
                f"{do} on {blast_radius(alerts, nodes)} in {escape(name, 100)}.",
                labels.drain(waits.pop() if len(waits) == 1 else None, "each node") if is_approval else left,
            ),
            *([blocks.context(f"Cluster: {labels.load(load, count)}.")] if load and is_approval else []),
            *(block for each in _nodes(batch.verb, alerts, called) for block in blocks.rich_texts(each)),
            blocks.context(
                f"{RULES[batch.verb].done.capitalize()} one at a time. "
                "Anything that changes before its turn is skipped and reported."
            ),
        ],
    }


def _nodes(
    verb: Verb, alerts: Sequence[Alert], called: Mapping[RemediationRef, str]
) -> Iterator[list[Sequence[Element]]]:
    """Yield which mode runs on which nodes: the ten oldest of each, the rest counted."""
    for mode in sorted({each.remediation.mode for each in alerts}):
        mine = sorted((each for each in alerts if each.remediation.mode == mode), key=since)
        does = labels.mode(mode)
        what = escape(does.effect, 250) if verb is Verb.APPROVE else "won't run."
        held = len([each for each in mine if each.hold])
        wait = f" {held} {'is' if held == 1 else 'are'} on hold." if held and verb is Verb.APPROVE else ""
        nodes = f"({blast_radius(mine, None)})"
        lines: list[Sequence[Element]] = [
            [*elements(f"{escape(does.name, 80)} {nodes}: ", bold=True), *elements(f"{what}{wait}")]
        ]
        lines.append([part for each in mine[:LISTED] for part in (*node(called[each.remediation.ref]), *elements(" "))])
        if rest := mine[LISTED:]:
            faults = [found for each in rest if (found := fault(each.remediation))]
            lines.append(elements(f"…and {len(rest)} more{f': {counted(faults)}' if faults else ''}"))
        yield lines


def refusal(error: BotError) -> dict[str, Any]:
    """Return the view in place of a dialog whose batch can't be begun."""
    return {
        "type": "modal",
        "title": blocks.plain("Result unknown" if error.check_again else "Nothing was sent"),
        "close": blocks.plain("Close"),
        "blocks": [blocks.statement(error.sentence, error.next_step)],
    }
