"""The controls of a card, what they ask before a decision, and the dialog that asks for a reason, mode, or time."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import NamedTuple

from bot.cards import blocks, labels
from bot.cards.blocks import elements
from bot.cards.config import CardConfig, link
from bot.models import (
    NOTHING_KNOWN,
    RULES,
    Actor,
    Blocks,
    CardContext,
    Hold,
    Json,
    Remediation,
    ReplyTarget,
    Request,
    State,
    Verb,
    button_value,
    read_button_value,
    reference_value,
)
from bot.mrkdwn import capital, clean, entities, escape, plain_when

RELEASE = "release"
MORE = "remediation:more"
RUNBOOK = "link:runbook"
LOOKING = "remediation:looking"  # somebody looks into it: nobody is reminded for a while
_MAX_NAME = 60  # characters of a node in a question
_MAX_DIALOG = 300  # characters of its text (docs.slack.dev, confirmation dialog object)
# The choices of `MORE`.
REJECT = "reject"
OTHER_MODE = "mode"
COPY_IDS = "ids"
HISTORY = "history"
TIMELINE = "timeline"
SUPPORT = "support"
ALONE = "alone"  # approve over the two-person rule and the repair limit
PAUSE_CHOICE, RESUME_CHOICE = "pause", "resume"  # approvals of the cluster
_MAX_CHOICES = 5  # of an overflow menu (docs.slack.dev, overflow menu element)
WITH_REASON = "reason"
REASON = "reason"
MODE = "mode"
HOLD_FOR = "seconds"
_TOLD_ALONE = "The channel is told who did it and why, and the audit trail flags it."
_FIRST = "First of 2 approvals: nothing runs yet. "
_SECOND = "Second of 2 approvals: the repair starts. "
HOLDS = (("30 min", "1800"), ("1 h", "3600"), ("4 h", "14400"), ("Until released (at most 24 h)", "86400"))


def actions(remediation: Remediation, about: CardContext, config: CardConfig, *, buttons: bool) -> Blocks:
    """Return the row of controls: what the state allows, else "Check again"; then links, and a menu with the rest."""
    url = link(config.runbook_url, remediation)
    links = [blocks.press(RUNBOOK, "Runbook", url=url)] if url else []
    order = ""
    if remediation.is_waiting and config.needs_two(remediation.mode, about.history):
        order = _SECOND if about.first and about.first.counts_for(remediation) else _FIRST
    holds = about.hold.keys if about.hold else () if about.followed else None
    value = button_value(remediation, is_first=order == _FIRST, holds=holds)
    more = [_more_menu(remediation, about, config)]
    if about.is_unlisted:
        controls = []
    elif not buttons or len(value) > blocks.MAX_VALUE:
        controls, more = [blocks.button(Verb.REFRESH, reference_value(remediation.ref))], []
    else:
        controls = [
            _hold_menu(about) if verb is Verb.HOLD else _button(verb, remediation, value, order, about, config)
            for verb, rule in RULES.items()
            if (about.followed if verb is Verb.HOLD else rule.on_card)
            and remediation.state in rule.allowed
            and not (about.is_observed and rule.decides)
            and (remediation.mode or verb is not Verb.APPROVE)  # nobody approves what Together doesn't name
        ]
        if about.followed and remediation.is_waiting:
            if not about.is_one_of_many:
                controls.append(blocks.press(LOOKING, "I'm looking", value=value))
            elif about.is_observed:  # the menus need a button beside them that says what they are about
                controls.append(blocks.button(Verb.REFRESH, reference_value(remediation.ref)))
    return [blocks.actions([*controls, *links, *more], remediation.ref)]


def _hold_menu(about: CardContext) -> Json:
    """Return for how long: the value of the buttons beside it says of what, since an option is too short for that."""
    choices = [*HOLDS, ("With a reason…", WITH_REASON)]
    if about.hold:
        # What is shown of the hold, where it fits: somebody may have joined it since.
        shown = ":".join([RELEASE, *sorted(about.hold.keys)])
        fits = len(shown) <= blocks.MAX_OPTION_TEXT
        choices.append(("Release hold", shown if fits else f"{RELEASE}:{about.hold.key_of_all}"))
    return {
        "type": "static_select",
        "action_id": Verb.HOLD.action_id,
        "placeholder": blocks.plain("Hold"),
        "options": [blocks.option(*choice) for choice in choices],
    }


def _more_menu(remediation: Remediation, about: CardContext, config: CardConfig) -> Json:
    """Return the menu of what is seldom wanted: where it decides, the value of the buttons beside it says on what."""
    choices = []
    if remediation.is_waiting and not (about.is_unlisted or about.is_observed):
        choices.append(("Reject with a comment…", REJECT))
        if config.other_modes(remediation.mode, about.history):
            choices.append(("Approve another repair…", OTHER_MODE))
        if config.has_break_glass and about.followed:
            choices.append(("Approve alone…", ALONE))
        choices.append(("Resume approvals…", RESUME_CHOICE) if about.pause else ("Pause approvals…", PAUSE_CHOICE))
    choices += [("Copy IDs", COPY_IDS), ("Show history", HISTORY), ("Copy timeline", TIMELINE)]
    choices = choices[:_MAX_CHOICES]  # the last ones are for what is over
    if remediation.state == State.FAILED or config.stuck_at(remediation) <= about.now:
        choices.append(("Copy for Together support", SUPPORT))
    return {"type": "overflow", "action_id": MORE, "options": [blocks.option(*choice) for choice in choices]}


def _button(  # noqa: PLR0913, PLR0917 - all that bears on it
    verb: Verb, remediation: Remediation, value: str, order: str, about: CardContext, config: CardConfig
) -> Json:
    """Return a verb's button. One that decides asks first, and says what happens then: in a dialog, or in a modal.

    Args:
        order: which of two approvals one would be, as a sentence; empty where one is enough.
    """
    is_approval, noun = verb is Verb.APPROVE, labels.mode(remediation.mode).noun
    label = clean(f"Approve {noun}", 75) if is_approval else RULES[verb].label
    asks_reason = verb in config.asks_reason
    button = blocks.button(verb, value, f"{label}…" if asks_reason else label)
    if is_approval:
        button["style"] = "primary"
    if RULES[verb].decides and not asks_reason:
        held = hold_lines(about.hold) if about.hold and is_approval else ()
        known = order if is_approval else ""
        if remediation.is_reviewed and verb is Verb.CANCEL:
            known = f"This repair {'started automatically' if remediation.is_automatic else 'is already approved'}. "
        wait = config.wait_of(remediation.cluster_id)
        is_waiting = remediation.is_waiting
        asked = question(verb, remediation.mode, remediation.node, known, wait=wait, is_waiting=is_waiting)
        fitting = (line for line in held if blocks.units(f"{line} {asked.text}") <= _MAX_DIALOG)
        text = f"{next(fitting, 'On hold.' if held else '')} {asked.text}".lstrip()
        load = ""
        if is_approval and about.share:
            load = f" Cluster: {labels.load(about.share, about, tell=plain_when)}."
        if blocks.units(text + load) <= _MAX_DIALOG:  # the effect matters more
            text += load
        button["confirm"] = {
            "title": blocks.plain(clean(asked.title, 100)),
            "text": blocks.plain(clean(text, _MAX_DIALOG)),
            "confirm": blocks.plain(asked.yes),
            "deny": blocks.plain(asked.no),
            **({"style": "danger"} if asked.is_destructive else {}),
        }
    return button


def hold_lines(hold: Hold) -> tuple[str, str]:
    """Return who asked to wait until when, with the reason and without, for a dialog: it has no mentions."""
    who = clean(hold.name, 30) or "Somebody"
    until = f"{datetime.fromtimestamp(hold.until, UTC):%b %-d, %H:%M}"
    asked = f"{who} asked to wait until {until} UTC"
    return f"{asked}: “{clean(hold.reason, 80)}”." if hold.reason else f"{asked}.", f"{asked}."


class Question(NamedTuple):
    """What is asked before a decision: what would happen, and the two ways out of it."""

    title: str
    text: str
    yes: str
    no: str
    is_destructive: bool = False


def question(  # noqa: PLR0913 - all that bears on it
    verb: Verb, mode: str, node: str, known: str = "", *, wait: int | None, is_waiting: bool = True
) -> Question:
    """Return what is asked before a decision.

    Args:
        node: its name, raw.
        known: what comes first, as a sentence with a space behind it; may be empty.
        wait: minutes that its cluster waits before it drains a busy node; None where that isn't known.
        is_waiting: it isn't approved yet: then Together takes the node out of use (docs.together.ai, "Node repair").
    """
    how, node = labels.mode(mode), clean(node, 250)
    node = node if len(node) <= _MAX_NAME else f"{clean(node, _MAX_NAME - 20)}{node[-20:]}"  # its end tells it apart
    left = f"{known}{'The node is left as it is. ' if is_waiting else ''}{labels.COOLDOWN}"
    match verb:
        case Verb.APPROVE:
            title = f"{capital(how.do.format(node))}?"
            text = f"{known}{how.effect} {labels.drain(wait)}"
            return Question(title, text, how.confirm, "Go back", how.is_destructive)
        case Verb.CANCEL:
            said = f"{left} Together's record won't name you."
            return Question(f"Cancel remediation for {node}?", said, "Cancel remediation", "Keep remediation")
        case Verb.REJECT:
            said = f"{left} Together's record names you, with your comment."
            return Question(f"Reject remediation for {node}?", said, "Reject remediation", "Keep remediation")
        case Verb.REFRESH | Verb.HOLD | Verb.RELEASE:
            raise ValueError(f"{verb} decides nothing")


# The dialog.


def reason_dialog(
    request: Request,
    node: str,
    offered: Sequence[str] = (),
    wait: int | None = None,
    about: CardContext = NOTHING_KNOWN,
) -> Json:
    """Return the view: what would happen, and a field for the reason. `node` is raw.

    Args:
        wait: minutes that the cluster waits before it drains a busy node; None where that isn't known.
        offered: the modes to run instead of the suggested one, for a menu; empty where that isn't asked.
        about: what the card says beyond the remediation, where an approval is asked for.
    """
    shown, first = request.saw, about.first
    mode, order = shown.mode or "", ""
    if not request.overrides:
        is_second = first is not None and first.precedes(shown, request.actor.user_id)
        order = _FIRST if shown.is_first else _SECOND if is_second else ""
    is_waiting = shown.state in {None, State.PENDING_APPROVAL}
    asked = question(request.verb, mode, node, order, wait=wait, is_waiting=is_waiting)
    title, submit = f"{request.verb.capitalize()} remediation", asked.yes
    parts = [blocks.statement(entities(asked.title), entities(asked.text))]
    if offered:
        title = "Approve another repair"
        submit = "Approve"
        parts = _modes(node, mode, offered, wait)
    if request.overrides:
        title, submit = "Approve alone", "Approve alone"
        parts.insert(0, blocks.alarm(f"Without asking {labels.RULES_PASSED}. {_TOLD_ALONE}"))
    for hold in (about.hold, *about.hold.others) if about.hold else ():
        parts.append(blocks.context(escape(hold_lines(hold)[0], 300)))
    if about.share:
        parts.append(blocks.context(f"Cluster: {labels.load(about.share, about)}."))
    return _view(request, title, submit, [*parts, blocks.reason_field(REASON, is_optional=False)])


def hold_dialog(request: Request, node: str) -> Json:
    """Return the view that asks for how long a remediation is put on hold, and why. `node` is raw."""
    parts = [
        blocks.statement(
            f"Hold {escape(node, 60)}?", "Reminders wait, and everyone sees who asked. It can still be decided."
        ),
        blocks.choice(HOLD_FOR, "For how long", "How long", [blocks.option(*choice) for choice in HOLDS], 0),
    ]
    return _view(request, "Hold remediation", "Hold", [*parts, blocks.reason_field(REASON)])


def _view(request: Request, title: str, submit: str, drawn: Blocks) -> Json:
    return blocks.modal(title, drawn, private_metadata=remember(request), callback_id=REASON, submit=clean(submit, 24))


def _modes(node: str, suggested: str, offered: Sequence[str], wait: int | None) -> Blocks:
    """Return what Together suggests, what each other mode does, and a menu of them."""
    options = [blocks.option(labels.mode(offer).name, offer) for offer in offered]
    effects = [
        [*elements(labels.mode(offer).name, bold=True), *elements(f": {entities(labels.mode(offer).effect)}")]
        for offer in offered
    ]
    return [
        blocks.statement(
            f"{escape(node, 60)}: Together suggests “{entities(labels.mode(suggested).name)}”.", labels.drain(wait)
        ),
        *blocks.rich_texts(effects),
        blocks.choice(MODE, "Repair", "Choose a repair", options),
    ]


def remember(request: Request) -> str:
    """Return what the view must know when it comes back."""
    ref = request.ref
    place = request.place
    known: Json = {
        "verb": request.verb,
        "value": {
            **asdict(ref),
            **{name: value for name, value in asdict(request.saw).items() if value or value == ()},
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
    verb = Verb(known["verb"])
    if not RULES[verb].decides and verb is not Verb.HOLD:
        raise ValueError(f"{verb} has no dialog")
    place = ReplyTarget(
        known["channel"], actor.user_id, thread_ts=known["thread"], is_home=known.get("home", False), is_dialog=True
    )
    request = Request(verb, ref, actor, place, shown=shown, overrides=known.get("alone", False))
    if not known["ts"]:
        return request
    return request.at(replace(place, message_ts=known["ts"], is_button=True, is_foreign=known["foreign"]))
