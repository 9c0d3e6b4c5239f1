"""What happened in a world, in order, as seen from outside of the bots."""

import hashlib
from dataclasses import dataclass, field

from tests.simulator.together import Ids


@dataclass
class Asked:
    """Somebody asked for a decision.

    Attributes:
        ids: of which remediation.
        mode: what the person was shown; empty where the person chose it in a dialog, or saw none.
        episode: the incident that the person was shown, in Unix time; empty where none was shown.
        state: what the person was shown; empty where that was none.
        acked: Slack was told "received" in time.
    """

    at: float
    user: str
    verb: str
    ids: Ids
    mode: str = ""
    episode: str = ""
    state: str = ""
    acked: bool = False


@dataclass(frozen=True)
class Sent:
    """A decision reached Together.

    Attributes:
        left: when the bot sent it; what changed since, no look could show.
        decision: the first eight characters of the decision's ID.
        before: the state at Together.
        mode: of the remediation, as the decision left it.
        took_effect: Together changed the state.
    """

    at: float
    left: float
    bot: str
    decision: str
    verb: str
    ids: Ids
    before: str
    mode: str
    took_effect: bool


@dataclass(frozen=True)
class Told:
    """Something that a bot said in Slack.

    Attributes:
        method: of Slack's that it took.
        ts: of the message; empty for what has none.
        root: the message whose thread it is in, or itself.
        to: who alone sees it; empty for what everybody does.
        everything: all that was sent, as JSON.
    """

    at: float
    method: str
    ts: str
    root: str
    to: str
    about: str
    text: str
    everything: str

    def names(self, taken: "Taken") -> bool:
        """Whether it names who asked, where they need not be told alone."""
        return not taken.alone and taken.user in self.everything


@dataclass
class Taken:
    """Something that a bot was sent by Slack, perhaps more than once.

    Attributes:
        at: when it was first sent.
        where: the messages that it was done on or is one of, by their `ts`.
        alone: nobody else may be answered.
        acked: Slack was told "received" in time, with no words for the person.
        is_told: another delivery of it was answered in its ack.
    """

    at: float
    user: str
    what: str
    where: set[str]
    alone: bool = False
    acked: bool = False
    is_told: bool = False


@dataclass
class History:
    """Everything that left a process, or that somebody did.

    Attributes:
        lines: each with its time and the remediation that it is about, if any.
        problems: what must never be.
        marks: what has happened at least once, for "sometimes".
        drawn: when a bot tried to draw whose home.
    """

    lines: list[tuple[float, str, str]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    taken: dict[bytes, Taken] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)
    drawn: list[tuple[float, str]] = field(default_factory=list)

    def note(self, at: float, text: str, about: str = "") -> None:
        self.lines.append((at, about, text))

    def wrong(self, text: str, about: str = "") -> None:
        """Note that a promise is broken."""
        if (text, about) not in self.problems:
            self.problems.append((text, about))

    @property
    def hash(self) -> str:
        """The same for the same seed, in any process."""
        return hashlib.sha256("\n".join(f"{at:.6f} {text}" for at, _, text in self.lines).encode()).hexdigest()[:16]

    def about(self, remediation: str) -> list[str]:
        """What happened to a remediation, and what happened to everything."""
        return [f"{at:9.3f}  {text}" for at, about, text in self.lines if about in {"", remediation}]
