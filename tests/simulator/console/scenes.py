"""What may happen at Together, for people who look at the page: nodes break, repairs advance, the API fails."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, cycle
from typing import Any

from tests.simulator.together import DECISIONS, TERMINAL, WORK, Call, Fault, Ids, Together

TRAINING, INFERENCE = "c-train", "c-infer"
STORM = 40
NODES = 64
SLOW_SECONDS = 4.0
ESCALATIONS = ("REBOOT_VM", "VM_ONLY", "HOST_AWARE", "HOST_POWER_CYCLE")
CORDONS = {"REMEDIATION_MODE_HOST_AWARE", "REMEDIATION_MODE_HOST_POWER_CYCLE"}
UNDER_WAY = set(WORK[:-1])

# How the API is, and what goes wrong with every call until it is healthy again. Where it hangs after decisions, each
# takes effect, but nothing is answered from then on.
CONDITIONS: Mapping[str, list[Fault]] = {
    "healthy": [],
    "down": [],
    "slow": [Fault("slow", times=-1, seconds=SLOW_SECONDS)],
    "rate limited": [Fault("rpc", times=-1, code=8, message="too many requests", headers={"Retry-After": "5"})],
    "drops responses": [Fault("cut", verb=verb, times=-1, after=True) for verb in sorted(DECISIONS)],
    "hangs after decisions": [],
}


class Scenes:
    """The simulated service's fate.

    Args:
        together: the service.
        now: seconds since 1970.

    Attributes:
        condition: how the API is, one of `CONDITIONS`.
        advances: whether approved repairs advance automatically.
    """

    def __init__(self, together: Together, now: Callable[[], float]) -> None:
        self._together = together
        self._now = now
        self._numbers = count(7)
        self._nodes = cycle([*range(7, 33), *range(1, 7)])
        self._faults = cycle(_FAULTS)
        self._hanging: set[Ids] = set()
        self.condition = "healthy"
        self.advances = True
        together.before_decision = self._hang
        together.clusters |= {TRAINING: "llama-train", INFERENCE: "chat-infer"}
        together.nodes |= {TRAINING: 32, INFERENCE: NODES}

    def begin(self) -> None:
        """Give the first node a history, and break it again."""
        for hours, mode in ((75, "VM_ONLY"), (26, "REBOOT_VM")):
            began, ended = self._hours_ago(hours), self._hours_ago(hours - 0.25)
            ids = (TRAINING, "i-0007", f"r-{hours:04d}")
            fields = {"instance_name": "gpu-node-7", "mode": f"REMEDIATION_MODE_{mode}"}
            self._together.add(
                ids, "SUCCEEDED", **fields, create_time=began, start_time=began, end_time=ended, update_time=ended
            )
        self.break_node()

    def break_node(self) -> Ids:
        """Health checks find a broken node, and Together suggests a repair."""
        return self._add(TRAINING, next(self._faults), next(self._nodes))

    def start_automatically(self) -> Ids:
        """Together starts a repair without asking anybody."""
        ids = self._add(TRAINING, _FAULTS[1], next(self._nodes))
        self._together.remediations[ids] |= {
            "state": "PENDING", "reviewed_by": "Auto-Approved", "requested_by": "Together Health Checker",
        }  # fmt: skip
        return ids

    def fire(self) -> None:
        """A health check fires for which Together suggests nothing."""
        number, node = next(self._numbers), f"gpu-node-{next(self._nodes)}"
        annotation = {"title": "Node disk pressure"}
        self._together.fire(f"a-{number}", TRAINING, node, alert_name="KubeNodeDiskPressure", annotation=annotation)

    def break_many(self, count: int = STORM) -> None:
        """Break many nodes at once, as a failed switch does: those that have no open remediation."""
        broken = {ids[1] for ids in self._together.remediations if self._together.state(ids) not in TERMINAL}
        whole = [node for node in range(1, NODES + 1) if _instance(INFERENCE, node) not in broken]
        for number, node in enumerate(whole[:count]):
            self._add(INFERENCE, _FAULTS[2 if number % 8 == 7 else 0], node)

    def escalate(self, ids: Ids) -> None:
        """A worse failure is seen: the suggestion changes in place."""
        mode = self._together.remediations[ids]["mode"].removeprefix("REMEDIATION_MODE_")
        worse = ESCALATIONS[min(ESCALATIONS.index(mode) + 1, len(ESCALATIONS) - 1)]
        self._together.escalate(ids, f"REMEDIATION_MODE_{worse}")

    def advance(self, ids: Ids) -> None:
        """Advance a repair by one state. Only modes that cordon the host come through quarantine."""
        remediation = self._together.remediations[ids]
        self._together.advance(ids)
        while remediation["state"].startswith("QUARANTIN") and remediation["mode"] not in CORDONS:
            self._together.advance(ids)

    async def set_condition(self, condition: str) -> None:
        """Set how the API is.

        Raises:
            KeyError: there is no such condition.
        """
        faults = [replace(fault) for fault in CONDITIONS[condition]]
        if (condition == "down") != (self.condition == "down"):
            await (self._together.stop() if condition == "down" else self._together.start())
        self._together.faults[:] = faults
        self.condition = condition

    def _hang(self, _decision: Call) -> None:
        if self.condition == "hangs after decisions":
            self._together.faults[:] = [Fault("cut", times=-1, after=True)]

    async def pass_time(self, seconds: float) -> None:
        """Advance every approved repair by one state, every few seconds, forever."""
        while True:
            await asyncio.sleep(seconds)
            if self.advances:
                under_way = [ids for ids in self._together.remediations if self._together.state(ids) in UNDER_WAY]
                for ids in [ids for ids in under_way if ids not in self._hanging]:
                    self.advance(ids)
                self._together.changed()

    def offered(self, ids: Ids) -> list[str]:
        """What may happen to a remediation next, by the names under which `happen` knows it."""
        remediation = self._together.remediations[ids]
        state = remediation["state"]
        if state == "PENDING_APPROVAL":
            worst = remediation["mode"].endswith(ESCALATIONS[-1])
            return [*([] if worst else ["escalate"]), "resolve", "approve elsewhere", "reject elsewhere"]
        if state in UNDER_WAY:
            hang = [] if ids in self._hanging else ["hang"]
            return ["next state", *(["fail"] if state in {"RUNNING", "QUARANTINING"} else []), *hang]
        assert state in TERMINAL
        return ["come back"] if state == "SUCCEEDED" and remediation.get("linked_alerts") else []

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
                self.advance(ids)
            case "hang":
                self._hanging.add(ids)
            case "come back":
                before, again = self._together.remediations[ids], (*ids[:2], f"r-{next(self._numbers):04d}")
                kept = {name: before[name] for name in ("instance_name", "mode", "reason")}
                alerts = [{**alert, "started_at": self._hours_ago(0)} for alert in before["linked_alerts"]]
                self._together.add(again, **kept, linked_alerts=alerts)
            case "fail":
                self._together.fail(ids, "host did not come back within 20 min")

    def _add(self, cluster: str, fault: "tuple[str, dict[str, Any]]", node: int) -> Ids:
        number = next(self._numbers)
        mode, annotation = fault
        severity = "PHC_SEVERITY_WARNING" if "slurm_node_unavailable" in annotation else "PHC_SEVERITY_CRITICAL"
        alert = {"severity": severity, "started_at": self._hours_ago(0), "annotation": annotation}
        return self._together.add(
            (cluster, _instance(cluster, node), f"r-{number:04d}"),
            instance_name=f"{'infer' if cluster == INFERENCE else 'gpu'}-node-{node}",
            mode=f"REMEDIATION_MODE_{mode}",
            reason=annotation["title"],
            linked_alerts=[{"alert_name": "PassiveHealthCheck", **alert}],
        )

    def _hours_ago(self, hours: float) -> str:
        return datetime.fromtimestamp(self._now() - hours * 3600, UTC).isoformat().replace("+00:00", "Z")


def _instance(cluster: str, node: int) -> str:
    return f"i-{node:04d}" if cluster == TRAINING else f"i-1{node:03d}"


def _xid(title: str, code: str, mnemonic: str, times: int) -> dict[str, Any]:
    return {"title": title, "xid": {"events": [{"xid_code": code, "mnemonic": mnemonic, "count": times}]}}


_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("REBOOT_VM", _xid("GPU has fallen off the bus", "79", "GPU_FALLEN_OFF_BUS", 3)),
    ("VM_ONLY", _xid("Uncorrectable memory error", "48", "DBE", 1)),
    ("HOST_AWARE", _xid("NVLink error", "74", "NVLINK_ERROR", 12)),
    (
        "REBOOT_VM",
        {"title": "Slurm node unavailable", "slurm_node_unavailable": {"reason": "Kill task failed"}},
    ),
]
