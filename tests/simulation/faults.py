"""What goes wrong: each fault with its own stream and bit."""

from collections import Counter
from collections.abc import Collection

from tests.simulation.periods import PERIODS
from tests.simulation.streams import Streams

# A call to Together or Slack, by where it goes wrong. "before" has no effect; "after" has; "late" has it seconds later.
CALLS = (
    "refused", "cut before", "cut after", "late", "hang", "hang after", "429", "503 before", "503 after",
    "garbage after", "fatal after", "slow",
)  # fmt: skip
# Somebody decides in Together, or it escalates, in the second after a bot has read a remediation to decide on it.
CHANGES = "together changes after a look"
# A bot freezes between "a POST leaves" on record and the POST, perhaps for longer than its lease.
SUSPENDS = "process suspended before a POST"
# A transaction: "undone" and "lost" are cut at the commit, which either didn't or did happen.
TRANSACTIONS = ("before", "undone", "lost", "busy")
# A call to another tool. One that it takes up after it was told again would be out of order, and that is as it must be.
TOOL_CALLS = ("refused", "cut after", "hang", "hang after", "429", "503 before", "503 after", "slow")
EVERY = (
    *(f"together {call}" for call in CALLS),
    *(f"slack {call}" for call in CALLS),
    *(f"transaction {each}" for each in TRANSACTIONS),
    *PERIODS,
    CHANGES,
    SUSPENDS,
    *(f"tools {each}" for each in TOOL_CALLS),
)


class Faults:
    """Which faults a world has, and when they strike.

    Args:
        streams: of the world.
        switched_off: faults that never strike, for a shorter failing world.
        switched_on: faults that this world has beside its seed's.

    Attributes:
        on: the faults of this world.
        struck: how often each has struck.
        are_over: nothing goes wrong any more.
    """

    def __init__(self, streams: Streams, switched_off: Collection[str] = (), switched_on: Collection[str] = ()) -> None:
        self._streams = streams
        bits = streams["which faults"]
        # A world with every fault at once is so broken that little of it is ever decided.
        share = bits.choice((0.0, 0.1, 0.25, 0.5))
        drawn = [name for name in EVERY if bits.random() < share]
        self.on = [name for name in EVERY if (name in drawn or name in switched_on) and name not in switched_off]
        self._rates = {name: streams[f"rate of {name}"].choice((0.02, 0.1, 0.3)) for name in EVERY}
        self.struck: Counter[str] = Counter()
        self.are_over = False

    def strikes(self, name: str) -> bool:
        """Return whether a fault strikes now."""
        if self.are_over or name not in self.on or self._streams[name].random() >= self._rates[name]:
            return False
        self.struck[name] += 1
        return True

    def of_call(self, where: str) -> str:
        """Return what goes wrong with a call to Together or Slack; empty for nothing."""
        return next((call for call in CALLS if self.strikes(f"{where} {call}")), "")

    def of_transaction(self) -> str:
        """Return what goes wrong with a transaction; empty for nothing."""
        return next((each for each in TRANSACTIONS if self.strikes(f"transaction {each}")), "")
