"""What the message about faults without a repair says of nodes whose alerts aren't all kept."""

import pytest

from bot.cards.faults import unrepaired
from bot.models import Fault, FaultReport
from tests.samples import remediation


def on(node: str) -> Fault:
    return Fault(remediation().linked_alerts[0].model_copy(update={"target_vm": node}), 0.0)


@pytest.mark.parametrize(
    ("kept", "nodes", "said"),
    [
        (["a"], 1, "a (llama)"),
        (["a", "b", "c", "d"], 4, "a, b, c and 1 more (llama)"),
        (["a", "b"], 3, "a, b and 1 more (llama)"),
        (["a", "a"], 1, "a (llama)"),
        (["a", "b", "c", "d"], 9, "a, b, c and 6 more (llama)"),
    ],
)
def test_nodes_that_are_not_named_are_counted(kept: list[str], nodes: int, said: str) -> None:
    faults = tuple(map(on, kept))
    report = FaultReport("llama", faults, count=99, critical=99, nodes=nodes)
    assert unrepaired("c-1", report, faults, "", 0).text.startswith(said)
