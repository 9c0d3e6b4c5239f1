"""What may happen at Together, for whoever looks at the page: nodes fall ill, repairs go on, the API fails."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, cycle
from typing import Any

from tests.simulator.together import DECISIONS, TERMINAL, Call, Fault, Ids, Together

TRAINING, INFERENCE = "c-train", "c-infer"
STORM = 40
SLOW_SECONDS = 4.0
ESCALATIONS = ("REBOOT_VM", "VM_ONLY", "HOST_AWARE", "HOST_POWER_CYCLE")
CORDONS = {"REMEDIATION_MODE_HOST_AWARE", "REMEDIATION_MODE_HOST_POWER_CYCLE"}
UNDER_WAY = {"PENDING", "QUARANTINING", "QUARANTINED", "RUNNING"}

# How the API is: what goes wrong with every call until it is well again. It is down where nothing listens at all, and
# falls silent when it gets a decision: that takes effect, but nobody is told of it, nor of anything after it.
CONDITIONS: Mapping[str, list[Fault]] = {
    "well": [],
    "down": [],
    "slow": [Fault("slow", times=-1, seconds=SLOW_SECONDS)],
    "rate limited": [Fault("rpc", times=-1, code=8, message="too many requests", headers={"Retry-After": "5"})],
    "cuts lines": [Fault("cut", verb=verb, times=-1, after=True) for verb in sorted(DECISIONS)],
    "falls silent": [],
}


class Scenes:
    """The simulated service's fate.

    Args:
        together: the service.
        now: seconds since 1970.

    Attributes:
        condition: how the API is, one of `CONDITIONS`.
        goes_on: whether approved repairs go on by themselves.
    """

    def __init__(self, together: Together, now: Callable[[], float]) -> None:
        self._together = together
        self._now = now
        self._numbers = count(7)
        self._illnesses = cycle(_ILLNESSES)
        self.condition = "well"
        self.goes_on = True
        together.before_decision = self._fall_silent
        together.clusters |= {TRAINING: "llama-train (H100)", INFERENCE: "chat-infer (H200)"}
        together.nodes |= {TRAINING: 32, INFERENCE: 64}

    def begin(self) -> None:
        """Let the first node have a history, and fall ill again."""
        for hours, mode in ((75, "VM_ONLY"), (26, "REBOOT_VM")):
            began, ended = self._hours_ago(hours), self._hours_ago(hours - 0.25)
            ids = (TRAINING, "i-0007", f"r-{hours:04d}")
            fields = {"instance_name": "gpu-node-7", "mode": f"REMEDIATION_MODE_{mode}"}
            self._together.add(
                ids, "SUCCEEDED", **fields, create_time=began, start_time=began, end_time=ended, update_time=ended
            )
        self.fall_ill()

    def fall_ill(self) -> Ids:
        """Health checks find a broken node, and Together proposes how to repair it."""
        return self._add(TRAINING, next(self._illnesses))

    def storm(self) -> None:
        """A switch fails, and with it 40 nodes at once."""
        for number in range(STORM):
            self._add(INFERENCE, _ILLNESSES[2 if number % 8 == 7 else 0])

    def escalate(self, ids: Ids) -> None:
        """A worse failure is seen: the suggestion changes in place."""
        mode = self._together.remediations[ids]["mode"].removeprefix("REMEDIATION_MODE_")
        worse = ESCALATIONS[min(ESCALATIONS.index(mode) + 1, len(ESCALATIONS) - 1)]
        self._together.escalate(ids, f"REMEDIATION_MODE_{worse}")

    def go_on(self, ids: Ids) -> None:
        """Work goes on by one state. Only modes that cordon the host come through quarantine."""
        remediation = self._together.remediations[ids]
        self._together.advance(ids)
        while remediation["state"].startswith("QUARANTIN") and remediation["mode"] not in CORDONS:
            self._together.advance(ids)

    async def set_condition(self, condition: str) -> None:
        """Let the API be well, down, slow, rate limited, or cut the line after each decision.

        Raises:
            KeyError: there is no such condition.
        """
        faults = [replace(each) for each in CONDITIONS[condition]]
        if (condition == "down") != (self.condition == "down"):
            await (self._together.stop() if condition == "down" else self._together.start())
        self._together.faults[:] = faults
        self.condition = condition

    def _fall_silent(self, _decision: Call) -> None:
        if self.condition == "falls silent":
            self._together.faults[:] = [Fault("cut", times=-1, after=True)]

    async def pass_time(self, seconds: float) -> None:
        """Let every approved repair go on by one state in so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            if self.goes_on:
                for ids in [each for each in self._together.remediations if self._together.state(each) in UNDER_WAY]:
                    self.go_on(ids)
                self._together.changed()

    def offered(self, ids: Ids) -> list[str]:
        """What may happen to a remediation next, by the names under which `happen` knows it."""
        remediation = self._together.remediations[ids]
        state = remediation["state"]
        if state == "PENDING_APPROVAL":
            worst = remediation["mode"].endswith(ESCALATIONS[-1])
            return [*([] if worst else ["escalate"]), "resolve", "approve elsewhere", "reject elsewhere"]
        if state in UNDER_WAY:
            return ["next state", *(["fail"] if state in {"RUNNING", "QUARANTINING"} else [])]
        assert state in TERMINAL
        return []

    def happen(self, what: str, ids: Ids) -> None:
        """Let something happen to a remediation.

        Raises:
            KeyError: there is no such remediation, or nothing of that name may happen to it.
        """
        if what not in self.offered(ids):
            raise KeyError(what)
        match what:
            case "escalate":
                self.escalate(ids)
            case "resolve":
                self._together.resolve(ids)
            case "approve elsewhere":
                self._together.review(ids, "approve", "by a colleague")
            case "reject elsewhere":
                self._together.review(ids, "reject", "by a colleague")
            case "next state":
                self.go_on(ids)
            case "fail":
                self._together.fail(ids, "host did not come back within 20 min")

    def _add(self, cluster: str, illness: "tuple[str, dict[str, Any]]") -> Ids:
        number = next(self._numbers)
        mode, annotation = illness
        severity = "PHC_SEVERITY_WARNING" if "slurm_node_unavailable" in annotation else "PHC_SEVERITY_CRITICAL"
        alert = {"severity": severity, "started_at": self._hours_ago(0), "annotation": annotation}
        return self._together.add(
            (cluster, f"i-{number:04d}", f"r-{number:04d}"),
            instance_name=f"gpu-node-{number}",
            mode=f"REMEDIATION_MODE_{mode}",
            reason=annotation["title"],
            linked_alerts=[{"alert_name": "PassiveHealthCheck", **alert}],
        )

    def _hours_ago(self, hours: float) -> str:
        return datetime.fromtimestamp(self._now() - hours * 3600, UTC).isoformat().replace("+00:00", "Z")


def _xid(title: str, code: str, mnemonic: str, times: int) -> dict[str, Any]:
    return {"title": title, "xid": {"events": [{"xid_code": code, "mnemonic": mnemonic, "count": times}]}}


_ILLNESSES: list[tuple[str, dict[str, Any]]] = [
    ("REBOOT_VM", _xid("GPU has fallen off the bus", "79", "GPU_FALLEN_OFF_BUS", 3)),
    ("VM_ONLY", _xid("Uncorrectable memory error", "48", "DBE", 1)),
    ("HOST_AWARE", _xid("NVLink error", "74", "NVLINK_ERROR", 12)),
    (
        "REBOOT_VM",
        {"title": "Slurm node unavailable", "slurm_node_unavailable": {"reason": "Kill task failed"}},
    ),
]
