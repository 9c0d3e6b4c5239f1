"""The value of a button: which remediation, and what the person was shown."""

import json
import unicodedata
from dataclasses import asdict, dataclass

from bot.errors import InvalidId, UnreadableButton
from bot.models.ids import MAX_ID_LENGTH, RemediationRef
from bot.models.remediation import Remediation


@dataclass(frozen=True, slots=True)
class SeenState:
    """What was seen: by a person on a card, or by the bot in a read. None where it isn't known.

    Attributes:
        episode: `Remediation.episode_key`: another one after it has ended and come back under the same ID.
        at: when it was shown, as Unix time in seconds, where a dialog stood between the message and the decision.
        holds: the keys of the hold that it showed, to one who releases it.
        is_first: it said that an approval is the first of two, so nothing runs yet.
    """

    mode: str | None
    state: str | None
    episode: str | None = None
    at: float | None = None
    is_first: bool = False
    holds: tuple[str, ...] = ()


def button_value(remediation: Remediation, *, is_first: bool = False) -> str:
    """Write a button's value: the reference, and what the person is shown."""
    value = {
        "cluster_id": remediation.cluster_id,
        "instance_id": remediation.instance_id,
        "remediation_id": remediation.id,
        "mode": remediation.mode,
        "state": remediation.state,
        "episode": remediation.episode_key,
        **({"is_first": True} if is_first else {}),
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reference_value(ref: RemediationRef) -> str:
    """Write the value of a button on a message that shows no remediation, only which one it is about."""
    return json.dumps(asdict(ref), ensure_ascii=False, separators=(",", ":"))


def _is_plain(value: str) -> bool:
    """Whether a text is short and has no control, format or surrogate characters: no database takes all of these."""
    return len(value) <= MAX_ID_LENGTH and not any(unicodedata.category(each)[0] == "C" for each in value)


def read_button_value(value: object) -> tuple[RemediationRef, SeenState]:
    """Read a button's value, as this or any earlier release or another tool wrote it.

    Raises:
        UnreadableButton: it is no such value.
    """
    try:
        fields = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UnreadableButton("its value isn't a JSON object")
    names = ("cluster_id", "instance_id", "remediation_id")
    ids = [value for name in names if isinstance(value := fields.get(name), str)]
    if len(ids) < len(names):
        raise UnreadableButton("cluster_id, instance_id or remediation_id is missing")
    mode, state, episode = shown = [fields.get(name) for name in ("mode", "state", "episode")]
    if not all(each is None or (isinstance(each, str) and _is_plain(each)) for each in shown):
        raise UnreadableButton("mode or state isn't plain text")
    try:
        shown_state = SeenState(mode or None, state or None, episode or None, is_first=fields.get("is_first") is True)
        return RemediationRef(*ids), shown_state
    except InvalidId as error:
        raise UnreadableButton(str(error).removesuffix(".")) from None
