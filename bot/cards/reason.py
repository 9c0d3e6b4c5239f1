"""The dialog that asks for a reason, and for which mode to run instead of the suggested one, or how long to wait."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from bot.cards import blocks, labels
from bot.cards.blocks import elements
from bot.cards.controls import HOLDS, hold_lines, question
from bot.models import (
    RULES,
    Actor,
    Blocks,
    CardContext,
    Json,
    Message,
    ReplyTarget,
    Request,
    SeenState,
    Verb,
    read_button_value,
)
from bot.mrkdwn import clean, entities, escape

REASON, MODE, HOLD_FOR = "reason", "mode", "seconds"
_TOLD_ALONE = "The channel and on-call are told who did it and why, and the audit trail flags it."
_METADATA = 3000  # of a view (docs.slack.dev, modal views)


def reason_dialog(
    request: Request,
    node: str,
    offered: Sequence[str] = (),
    wait: int | None = None,
    about: CardContext | None = None,
) -> Json:
    """Return the view: what would happen, and a field for the reason. `node` is raw.

    Args:
        wait: minutes that the cluster waits before it drains a busy node; None where that isn't known.
        offered: the modes to run instead of the suggested one, for a menu; empty where that isn't asked.
        about: what the card says beyond the remediation, where an approval is asked for.
    """
    mode = (request.shown.mode if request.shown else None) or ""
    asked = question(request.verb, mode, node, wait=wait)
    title, submit = f"{request.verb.capitalize()} remediation", asked.yes
    what = [blocks.statement(entities(asked.title), entities(asked.text))]
    if offered:
        title, submit, what = "Approve another repair", "Approve", _modes(node, mode, offered, wait)
    if request.overrides:
        title, submit = "Approve alone", "Approve alone"
        what.insert(0, blocks.alarm(f"Without asking {labels.RULES_PASSED}. {_TOLD_ALONE}"))
    if about and about.hold:
        what.append(blocks.context(escape(hold_lines(about.hold)[0], 300)))
    if about and about.share:
        what.append(blocks.context(f"Cluster: {labels.load(about.share)}."))
    return _view(request, title, submit, [*what, _reason_field(is_optional=False)])


def hold_dialog(request: Request, node: str) -> Json:
    """Return the view that asks for how long a remediation is put on hold, and why. `node` is raw."""
    what = [
        blocks.statement(
            f"Hold {escape(node, 60)}?", "Reminders wait, and everyone sees who asked. It can still be decided."
        ),
        blocks.choice(HOLD_FOR, "For how long", "How long", [blocks.option(*each) for each in HOLDS], 0),
    ]
    return _view(request, "Hold remediation", "Hold", [*what, _reason_field(is_optional=True)])


def _reason_field(*, is_optional: bool) -> Json:
    hint = "Shown on the card and kept in the audit trail."
    return blocks.reason_field(REASON, hint, is_optional=is_optional)


def _view(request: Request, title: str, submit: str, drawn: Blocks) -> Json:
    return blocks.modal(title, drawn, name=REASON, private_metadata=remember(request), submit=clean(submit, 24))


def _modes(node: str, suggested: str, offered: Sequence[str], wait: int | None) -> Blocks:
    """Return what Together suggests, what each other mode does, and a menu of them."""
    options = [blocks.option(labels.mode(each).name, each) for each in offered]
    effects = [
        [*elements(labels.mode(each).name, bold=True), *elements(f": {entities(labels.mode(each).effect)}")]
        for each in offered
    ]
    return [
        blocks.statement(
            f"{escape(node, 60)}: Together suggests “{entities(labels.mode(suggested).name)}”.", labels.drain(wait)
        ),
        *blocks.rich_texts(effects),
        blocks.choice(MODE, "Repair", "Choose a repair", options),
    ]


def remember(request: Request) -> str:
    """Return what the view must know when it comes back: also another tool's words, where there is room for them."""
    ref, shown, place = request.ref, request.shown or SeenState(None, None), request.place
    known: Json = {
        "verb": request.verb,
        "value": {
            **asdict(ref),
            **{name: value for name, value in asdict(shown).items() if value},
            "at": place.clicked_at,
        },
        "channel": place.channel_id,
        # Only a response_url, which isn't kept, could change an ephemeral message.
        "ts": None if place.is_ephemeral else place.message_ts,
        "thread": place.thread_ts,
        "foreign": place.is_foreign,
        "home": place.is_home,
        "alone": request.overrides,
    }
    if place.is_foreign and place.original:
        original = {"text": place.original.text, "blocks": place.original.blocks, "att": place.original.attachments}
        whole = _dump({**known, "original": original})
        if blocks.units(whole) <= _METADATA:
            return whole
    return _dump(known)


def _dump(known: Json) -> str:
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"))


def recall(metadata: str, actor: Actor) -> Request:
    """Return what a view remembered, as a request of the person who submits it.

    Raises:
        ValueError: it is no such view.
        UnreadableButton: the same, of the value in it.
    """
    known = json.loads(metadata)
    ref, shown = read_button_value(json.dumps(known["value"]))
    shown = replace(shown, at=float(known["value"].get("at") or 0.0) or None)
    verb, original, is_foreign = Verb(known["verb"]), known.get("original"), bool(known["foreign"])
    if not RULES[verb].decides and verb is not Verb.HOLD:
        raise ValueError(f"{verb} has no dialog")
    place = ReplyTarget(known["channel"], actor.user_id, thread_ts=known["thread"], is_home=bool(known.get("home")))
    request = Request(verb, ref, actor, place, shown=shown, overrides=bool(known.get("alone")))
    if not known["ts"] or (is_foreign and original is None):  # its words would be lost: the answer goes to its thread
        return request
    kept = Message(original["text"], original["blocks"], original["att"]) if is_foreign else None
    return request.at(replace(place, message_ts=known["ts"], is_button=True, original=kept, is_foreign=is_foreign))
