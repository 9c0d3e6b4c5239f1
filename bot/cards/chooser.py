"""The dialog in which somebody chooses what to cancel, and the private list of what is waiting."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot.cards import blocks, labels
from bot.cards.additions import without_header
from bot.cards.blocks import elements
from bot.cards.evidence import fault
from bot.cards.listing import lines_message, remediation_lines
from bot.cards.remediation_card import card
from bot.models import Blocks, CardContext, Message, Remediation, key
from bot.mrkdwn import ago, escape
from bot.parsing import MAX_REASON

CHOOSER = "chooser"
CLUSTER, NODE, REPAIR, WHY = "chooser:cluster", "chooser:node", "chooser:remediation", "chooser:reason"
LISTED = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What a dialog knows: where it was opened, and what was chosen so far.

    Attributes:
        channel_id: where the result goes.
        thread_ts: likewise, in which thread; None for the channel itself.
        cluster_id: chosen; empty for any.
        instance_id: likewise.
        remediation: its `key`, once it is shown; what the person saw is beside it.
        mode: as shown.
        state: as shown.
        episode: likewise, `Remediation.episode_key`.
        ids: of the remediation that is shown.
        round: grows with every choice, so that a menu that is narrowed begins afresh.
    """

    channel_id: str | None
    thread_ts: str | None = None
    cluster_id: str = ""
    instance_id: str = ""
    remediation: str = ""
    mode: str = ""
    state: str = ""
    episode: str = ""
    ids: tuple[str, str, str] | None = None
    round: int = 0

    def dump(self) -> str:
        """Write it as a view's metadata."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def load(cls, metadata: str) -> "Choice":
        """Read it.

        Raises:
            ValueError: it is none.
        """
        known = json.loads(metadata)
        if not isinstance(known, dict) or not known.keys() <= set(cls.__slots__):
            raise ValueError("not a choice")
        ids = known.get("ids")
        return cls(**{**known, "ids": tuple(ids) if ids else None})


def loading() -> dict[str, Any]:
    """Return the view that is shown while remediations are looked up."""
    return {
        "type": "modal",
        "callback_id": CHOOSER,
        "title": blocks.plain("Cancel remediation"),
        "close": blocks.plain("Go back"),
        "blocks": [blocks.section("Looking for what can be cancelled…")],
    }


def nothing(text: str) -> dict[str, Any]:
    """Return the view that says why there is nothing to choose; trusted markup."""
    return {**loading(), "blocks": [blocks.paragraph(text)]}


def chooser(choice: Choice, found: Sequence[Remediation], shown: Remediation | None, note: str = "") -> dict[str, Any]:
    """Return the dialog.

    Args:
        shown: the remediation that is chosen, as it was just read; its card is shown.
        note: what the person must know, as trusted markup.
    """
    is_found = any(each.cluster_id == choice.cluster_id for each in found)
    of_node = next((each for each in found if each.instance_id == choice.instance_id), None)
    menus = [
        _menu(CLUSTER, "Cluster", choice, _cluster_option(choice.cluster_id) if is_found else None),
        _menu(NODE, "Node", choice, _node_option(of_node) if of_node else None),
        _menu(REPAIR, "Remediation", choice, _repair_option(shown) if shown else None),
    ]
    reason = {
        "type": "input",
        "block_id": WHY,
        "optional": True,
        "label": blocks.plain("Reason"),
        "hint": blocks.plain("Shown on the card and kept in the audit trail."),
        "element": {"type": "plain_text_input", "action_id": WHY, "max_length": MAX_REASON},
    }
    return {
        **loading(),
        "private_metadata": choice.dump(),
        "submit": blocks.plain("Cancel remediation"),
        "blocks": [*([blocks.paragraph(note)] if note else []), *menus, *(_preview(shown) if shown else []), reason],
    }


def _menu(action_id: str, label: str, choice: Choice, chosen: dict[str, Any] | None) -> dict[str, Any]:
    menu = {
        "type": "external_select",
        "action_id": action_id,
        "placeholder": blocks.plain("Type to search"),
        "min_query_length": 0,
        **({"initial_option": chosen} if chosen else {}),
    }
    # An input keeps what was chosen while its block's ID stays the same.
    block_id = f"{action_id}:{choice.round}"
    return {
        "type": "input",
        "block_id": block_id,
        "dispatch_action": True,
        "label": blocks.plain(label),
        "element": menu,
    }


def _preview(shown: Remediation) -> Blocks:
    return list(blocks.without_controls(without_header(card(shown))))


def options(found: Sequence[Remediation], action_id: str, query: str, choice: Choice) -> list[dict[str, Any]]:
    """Return the choices of a menu, narrowed by what was chosen in the others and by what was typed."""
    wanted = query.strip().casefold()
    within = [
        each
        for each in found
        if action_id == CLUSTER
        or (
            choice.cluster_id in {"", each.cluster_id}
            and (action_id == NODE or choice.instance_id in {"", each.instance_id})
        )
    ]
    offered: dict[str, dict[str, Any]] = {}
    for each in within:
        searched = f"{each.node} {each.instance_id} {each.cluster_id} {each.id} {fault(each)}".casefold()
        if wanted not in searched:
            continue
        if action_id == CLUSTER:
            option = _cluster_option(each.cluster_id)
        elif action_id == NODE:
            option = _node_option(each)
        else:
            option = _repair_option(each)
        offered.setdefault(option["value"], option)
        if len(offered) == blocks.MAX_OPTIONS:
            break
    return list(offered.values())


def _cluster_option(cluster_id: str) -> dict[str, Any]:
    return blocks.option(cluster_id, short(cluster_id))


def _node_option(each: Remediation) -> dict[str, Any]:
    return blocks.option(each.node, short(each.cluster_id, each.instance_id))


def _repair_option(each: Remediation) -> dict[str, Any]:
    mode, broken = labels.mode(each.mode).name, fault(each, 30, is_brief=True)
    return blocks.option(f"{each.node} · {mode}{f' · {broken}' if broken else ''}", key(each))


def short(*parts: str) -> str:
    """Return a short name of what has a long one: an option's value may have 75 characters, an ID 200."""
    return hashlib.blake2b("/".join(parts).encode(), digest_size=8).hexdigest()


def waiting_list(found: Sequence[Remediation], unreadable: Sequence[str], title: str) -> Message:
    """Return remediations as a private list, oldest first.

    Args:
        unreadable: clusters that couldn't be read; "" for the list of clusters.
        title: what they are, without a full stop.
    """
    lines = remediation_lines(found, LISTED, _opened)
    if note := not_read(unreadable):
        lines.append(elements(note))
    return lines_message(f"{title}.", lines)


def _opened(each: Remediation) -> str:
    return f"opened {ago(each.create_time)}" if each.create_time else ""


def not_read(unreadable: Sequence[str]) -> str:
    """Return which clusters couldn't be read, as trusted markup; empty for none."""
    if not unreadable:
        return ""
    named = [escape(each, 60) for each in unreadable if each][:5]
    more = f" and {len(unreadable) - len(named)} more" if len(unreadable) > len(named) and named else ""
    what = ", ".join(named) + more if named else "the list of clusters"
    return f"Couldn't read {what} from Together, so some may be missing."


def only_shown(remediation: Remediation, about: CardContext) -> Message:
    """Return a card without controls, for one person."""
    drawn = card(remediation, about=about)
    return Message(drawn.text, list(blocks.without_controls(drawn.blocks)))
