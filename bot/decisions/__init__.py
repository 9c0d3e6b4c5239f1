"""One decision from receipt to answer: receive → authorise → claim → call → record → answer.

`Decisions` keeps a job through that way, in one process or several; `Keeper` finds the jobs that a dead process left.
"""

from bot.decisions.decisions import Decisions
from bot.decisions.keeper import Keeper

__all__ = ["Decisions", "Keeper"]
