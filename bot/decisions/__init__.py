"""One decision from receipt to answer: receive → authorise → claim → call → record → answer.

`Decisions` keeps a job through that way, in one process or several; `Keeper` finds the jobs that a dead process left.
`Guards` are the rails before an approval; `BatchRunner` carries out many decisions of one person.
"""

from bot.decisions.batches import BatchRunner
from bot.decisions.decisions import Decisions
from bot.decisions.guards import Guards, Limits
from bot.decisions.keeper import Keeper

__all__ = ["BatchRunner", "Decisions", "Guards", "Keeper", "Limits"]
