"""The controls of a digest, and the dialog before a selection is decided."""

from collections.abc import Mapping, Sequence

from bot.cards import blocks, labels
from bot.cards.blocks import Element, elements
from bot.cards.config import CardConfig
from bot.cards.controls import LOOKING
from bot.cards.groups import Firsts, Group, grouped, half_approved, named
from bot.cards.listing import blast_radius, cluster_of
from bot.cards.pause import pause_buttons
from bot.cards.review import review_button, room
from bot.errors import BotError
from bot.models import RULES, Batch, Blocks, Decidable, Json, Pause, RemediationRef, TrackedMessage, Verb
from bot.mrkdwn import escape

# The menu and the buttons of release 0.1's digests, which open the dialog with what was chosen there.
SELECT, APPROVE, CANCEL = "digest:select", "digest:approve", "digest:cancel"
VERBS: Mapping[str, Verb] = {APPROVE: Verb.APPROVE, CANCEL: Verb.CANCEL}
STOP = "digest:stop"
BATCH = "batch"


def stop_button(batch: Batch) -> Json:
    """Return the button that stops a selection; a row takes one."""
    return blocks.press(STOP, "Stop", value=batch.id)


def controls(of: TrackedMessage, count: int, decidable: int, running: Batch | None, pause: Pause | None) -> Blocks:
    """Return what can be done with what waits, and with a selection that runs.

    Args:
        decidable: how many of those that wait are in clusters that the bot doesn't only observe.
    """
    some = [stop_button(running)] if running else []
    if decidable:
        some.append(review_button(of.id, decidable))
    if count:
        some.append(blocks.press(LOOKING, "I'm looking", value=of.id))
        some += pause_buttons(of.cluster_id, pause)
    return [blocks.actions(some)] if some else []


def dialog(batch: Batch, chosen: Decidable, called: Mapping[RemediationRef, str], config: CardConfig) -> Json:
    """Return the view that shows what would happen to which node, before a batch is begun.

    Args:
        called: what nodes are called.
    """
    alerts, load = chosen.alerts, chosen.load
    count, is_approval = len(alerts), batch.verb is Verb.APPROVE
    clusters = {each.cluster_id for each in alerts}
    waits = {config.wait_of(each) for each in clusters}
    name, nodes = (
        cluster_of(next(iter(clusters)), alerts) if len(clusters) == 1 else (f"{len(clusters)} clusters", None)
    )
    # "Cancel" alone could be taken for the way out of the dialog.
    noun = "remediation" if count == 1 else "remediations"
    submit = f"Approve {count}" if is_approval else f"Cancel {count} {noun}"
    do = "Approves repairs" if is_approval else "Cancels the remediations"
    left = "The nodes are left as they are. Together won't suggest repairs for them for about 30 minutes."
    return blocks.modal(
        f"Approve {count} repair{'' if count == 1 else 's'}" if is_approval else submit,
        [
            blocks.statement(
                f"{do} on {blast_radius(alerts, nodes)} in {escape(name, 100)}.",
                labels.drain(waits.pop() if len(waits) == 1 else None, "each node") if is_approval else left,
            ),
            *([blocks.context(f"Cluster: {room(load, config, count)}.")] if load and is_approval else []),
            *(
                block
                for each in grouped(alerts)
                for block in blocks.rich_texts(_nodes(batch, each, called, chosen.firsts, config))
            ),
            blocks.context(
                f"{RULES[batch.verb].done.capitalize()} one at a time. "
                "Anything that changes before its turn is skipped and reported."
            ),
        ],
        name=BATCH,
        private_metadata=batch.id,
        submit=submit,
    )


def _nodes(
    batch: Batch, group: Group, called: Mapping[RemediationRef, str], firsts: Firsts, config: CardConfig
) -> list[Sequence[Element]]:
    """Return what is done to which nodes, and what becomes of those that one approval isn't enough for."""
    is_approval, count = batch.verb is Verb.APPROVE, len(group.alerts)
    warning = "⚠️ " if is_approval and labels.deletes_data(group.mode) else ""
    head = f"{warning}{escape(group.title, 150)} ({blast_radius(group.alerts, None)}): "
    told = [escape(labels.mode(group.mode).effect, 250) if is_approval else "won't run."]
    if is_approval:
        held = sum(each.hold is not None for each in group.alerts)
        half = {each.ref: first.user_id for each, first in half_approved(group.alerts, firsts)}
        needing = [each for each in group.alerts if config.needs_two(group.mode, each.history)]
        two = sum(half.get(each.ref, batch.actor.user_id) == batch.actor.user_id for each in needing)
        told += [f"{held} {'is' if held == 1 else 'are'} on hold."] if held else []
        told += [f"{two} of {count} need{'s' if two == 1 else ''} a second person's approval."] if two else []
    lines: list[Sequence[Element]] = [[*elements(head, bold=True), *elements(" ".join(told))]]
    return lines + [[each] for each in named([called[each.ref] for each in group.alerts])]


def refusal(error: BotError) -> Json:
    """Return the view in place of a dialog whose batch can't be begun."""
    title = "Result unknown" if error.check_again else "Nothing was sent"
    return blocks.modal(title, [blocks.statement(error.sentence, error.next_step)], close="Close")
