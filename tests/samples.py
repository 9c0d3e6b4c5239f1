"""A remediation in every state, every error, and what else people see: for the snapshots and for the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot import cards, errors
from bot.cards import CardConfig, TwoPeople
from bot.cards.home import Overview
from bot.errors import BotError
from bot.models import (
    Actor,
    Alert,
    Batch,
    BatchItem,
    CardContext,
    ClusterNames,
    Decidable,
    DecidedBy,
    FirstApproval,
    History,
    Hold,
    Impact,
    Message,
    Mode,
    PastDecision,
    Remediation,
    RemediationRef,
    RepairLoad,
    ReplyTarget,
    Request,
    SeenState,
    Snapshot,
    State,
    TrackedMessage,
    Verb,
)
from bot.watcher import Route, WatchConfig
from tests.manual_clock import START

REF = RemediationRef("c-7f2", "i-0042", "r-91ac")
ALERTS: list[dict[str, Any]] = [
    {
        "alert_name": "DmesgXidError",
        "severity": "PHC_SEVERITY_CRITICAL",
        "started_at": "2026-11-24T02:58:00Z",
        "annotation": {
            "title": "GPU has fallen off the bus",
            "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_FALLEN_OFF_BUS", "count": 3}]},
        },
    },
    {
        "alert_name": "SlurmNodeUnavailable",
        "severity": "PHC_SEVERITY_WARNING",
        "started_at": "2026-11-24T02:58:30Z",
        "resolved_at": "2026-11-24T02:59:30Z",
        "annotation": {"title": "Slurm node unavailable", "slurm_node_unavailable": {"reason": "Kill task failed"}},
    },
]


def remediation(**extra: Any) -> Remediation:
    return Remediation.model_validate({
        "id": REF.remediation_id,
        "cluster_id": REF.cluster_id,
        "instance_id": REF.instance_id,
        "instance_name": "gpu-node-07",
        "mode": Mode.REBOOT_VM,
        "trigger": "REMEDIATION_TRIGGER_AUTOMATED",
        "state": State.PENDING_APPROVAL,
        "reason": "Xid 79 seen 3 times",
        "create_time": "2026-11-24T03:00:00Z",
        "linked_alerts": ALERTS,
        **extra,
    })  # fmt: skip


def reviewed(state: State, **extra: Any) -> Remediation:
    return remediation(
        state=state,
        reviewed_by="ml-platform@example.com",
        review_time="2026-11-24T03:05:00Z",
        **{"review_comment": "[1a2b3c4d] Approved in Slack by alice (U0ALICE)", **extra},
    )


BY_STATE = {
    State.PENDING_APPROVAL: remediation(),
    State.PENDING: reviewed(State.PENDING),
    State.QUARANTINING: reviewed(State.QUARANTINING, mode=Mode.HOST_AWARE),
    State.QUARANTINED: reviewed(State.QUARANTINED, mode=Mode.HOST_POWER_CYCLE),
    State.RUNNING: reviewed(State.RUNNING, mode=Mode.VM_ONLY, start_time="2026-11-24T03:06:00Z"),
    State.SUCCEEDED: reviewed(State.SUCCEEDED, start_time="2026-11-24T03:06:00Z", end_time="2026-11-24T03:20:00Z"),
    State.FAILED: reviewed(
        State.FAILED, mode=Mode.EVICT_WITHOUT_REPLACEMENT, error_message="host did not come back within 20 min"
    ),
    State.CANCELLED: remediation(state=State.CANCELLED, trigger="REMEDIATION_TRIGGER_MANUAL", requested_by="bob@x.ai"),
    State.AUTO_RESOLVED: remediation(state=State.AUTO_RESOLVED, end_time="2026-11-24T03:04:00Z"),
}


ERRORS: dict[str, BotError] = {
    "UnreadableCommand": errors.UnreadableCommand(
        "Missing instance ID. Read “c-7f2” as the cluster.",
        "Type just the node: /cancel-remediation gpu-node-07. For more: /cancel-remediation help.",
    ),
    "UnreadableButton": errors.UnreadableButton("its value isn't a JSON object"),
    "UnknownControl": errors.UnknownControl("the button remediation:explode"),
    "NotAllowed": errors.NotAllowed("Only operators can do this.", "Ask <@U0BOB>."),
    "NotChecked": errors.NotChecked(
        "Couldn't check your permissions with Slack.", "Try again in a minute. Ask <@U0BOB>."
    ),
    "AlreadyInFlight": errors.AlreadyInFlight("<@U0BOB>", "approving", "<!date^1795489200^{time}|03:00 UTC>"),
    "AlreadyInFlight-yours": errors.AlreadyInFlight("You", "approving", "<!date^1795489200^{time}|03:00 UTC>"),
    "SecondPersonNeeded": errors.SecondPersonNeeded(
        "this repair needs two approvers, and you already approved it "
        "<!date^1795489200^{date_short_pretty} at {time}|2026-11-24 03:00:00 UTC>.",
        "Ask another operator to approve.",
    ),
    "LimitReached": errors.LimitReached(
        "4 of 32 nodes are already in repair, and the limit is 4.",
        "Try again when one finishes, or cancel this one.",
    ),
    "NothingToStop": errors.NothingToStop(),
    "NothingToResume": errors.NothingToResume(),
    "Paused": errors.Paused(
        "<@U0BOB> paused approvals until <!date^1795489200^{time}|03:00 UTC>.",
        "You can still cancel. To approve now, ask them, or press Resume approvals.",
    ),
    "Observing": errors.Observing(),
    "NotReadable": errors.NotReadable(),
    "NotTracked": errors.NotTracked(),
    "NotConfirmed": errors.NotConfirmed(),
    "SubmittedBefore": errors.SubmittedBefore(),
    "NoMatch": errors.NoMatch("gpu-node-7", "3 clusters"),
    "NoReference-alone": errors.NoReference(None),
    "NoReference-none": errors.NoReference(0),
    "NoReference-several": errors.NoReference(12),
    "NothingSelected": errors.NothingSelected(),
    "Overloaded": errors.Overloaded(),
    "Interrupted": errors.Interrupted(),
    "DialogNotShown": errors.DialogNotShown(),
    "TooManyRequests": errors.TooManyRequests(),
    "RefusedWithoutDatabase": errors.RefusedWithoutDatabase(),
    "NotReached": errors.NotReached(),
    "RateLimited": errors.RateLimited(41.6),
    "InvalidIds": errors.InvalidIds(quote="cluster_id: must be a UUID"),
    "NotFound": errors.NotFound(),
    "WrongState": errors.WrongState(quote="remediation is <!channel> in state RUNNING"),
    "KeyRefused-401": errors.KeyRefused(401),
    "KeyRefused-403": errors.KeyRefused(403, quote="permission denied"),
    "RequestRefused": errors.RequestRefused(418),
    "ServerError": errors.ServerError(503),
    "NoAnswer": errors.NoAnswer(),
    "UnreadableAnswer": errors.UnreadableAnswer("not a remediation"),
    "CheckFailed": errors.CheckFailed(errors.NotReached()),
    "ReadFailed": errors.ReadFailed("approval", errors.ServerError(502)),
    "OutcomeUnknown": errors.OutcomeUnknown("cancellation", errors.NoAnswer()),
    "Expired": errors.Expired("approval"),
    "NotRecorded-sent": errors.NotRecorded("approval", sent=True),
    "NotRecorded-unsent": errors.NotRecorded("approval", sent=False),
    "NotRecorded-lost": errors.NotRecorded("approval", sent=True, is_lost=True),
    "NotShown": errors.NotShown(),
    "MayBeDone": errors.MayBeDone("pause approvals"),
    "MayBeDone-bug": errors.MayBeDone("pause approvals", is_bug=True),
    "RequestExpired": errors.RequestExpired("pause approvals"),
    "InternalError-sent": errors.InternalError("approval", sent=True),
    "InternalError-unsent": errors.InternalError("approval", sent=False),
}


def request(verb: Verb = Verb.CANCEL, original: Message | None = None) -> Request:
    place = ReplyTarget("C0OPS", "U0ALICE", is_button=original is not None, original=original)
    return Request(verb, REF, Actor("U0ALICE", "alice", "T0HOME"), place)


ABOUT = CardContext(
    history=History(2, Mode.REBOOT_VM, State.SUCCEEDED, START - 26 * 3600),
    share=RepairLoad(3, 32, START, "llama-train"),
    hold=Hold("U0BOB", START + 1800, reason="checkpoint first", name="bob"),
    first=FirstApproval("U0ALICE", Mode.REBOOT_VM, START, episode=remediation().episode),
    followed=True,
    impact=Impact("Slurm job 48213, llama-70b, 31 h in", "@team-llama", "https://jobs.example.com/48213", START),
)
CONFIG = CardConfig("https://api.together.ai/clusters")
TWO_CONFIG = CardConfig(CONFIG.console_url, two_people=TwoPeople(frozenset({Mode.REBOOT_VM})))
APPROVED = DecidedBy(Verb.APPROVE, "U0ALICE", START + 180)


def alerts(count: int) -> list[Alert]:
    states = [State.PENDING_APPROVAL, State.PENDING_APPROVAL, State.RUNNING, State.FAILED, State.SUCCEEDED]
    found = []
    for number in range(count):
        each = remediation(
            id=f"r-{number:04d}",
            instance_id=f"i-{number:04d}",
            instance_name=f"gpu-node-{number:04d}",
            state=states[number % 5],
            mode=[Mode.REBOOT_VM, Mode.VM_ONLY][number % 2],
            error_message="no host left" if number % 5 == 3 else None,
        )
        hold = Hold("U0BOB", START + 1800) if number == 1 else None
        decided = APPROVED if number % 5 == 3 else None
        found.append(Alert(each, "", "d", START, decided=decided, hold=hold))
    return found


CHANGED = (
    "The approval wasn't sent: the repair changed from “Reboot” to “Quick reprovision”. Review it and approve again."
)
WATCH = WatchConfig(
    Route("C0OPS", ""), {}, (), 15, 900, None, 15, None, CardConfig(), "all", 900, storm_brake=None, named={}
)  # fmt: skip
DIGEST = TrackedMessage("d" * 32, True, "c-7f2", "C0OPS", START, last_added_at=START)


def begun(state: State = State.PENDING) -> Remediation:
    """Return a remediation that Together started automatically."""
    one = remediation(mode=Mode.VM_ONLY, state=state, requested_by="Together Health Checker")
    said = {"reviewed_by": "Auto-Approved", "review_comment": "auto-approved: approved"}
    return one.model_copy(update={**said, "review_time": one.create_time})


def automatic(count: int) -> list[Alert]:
    """Return `count` alerts of such remediations; two of them are over."""
    found = []
    for number, alert in enumerate(alerts(count)):
        one = alert.remediation
        own = {"id": one.id, "instance_id": one.instance_id, "instance_name": one.instance_name, "mode": one.mode}
        state = State.SUCCEEDED if number in {2, 5} else State.RUNNING
        found.append(replace(alert, remediation=begun(state).model_copy(update=own), hold=None))
    return found


def batch(known: int, total: int = 8, *, is_running: bool = False) -> Batch:
    actor, place = Actor("U0ALICE", "alice", "T0HOME"), ReplyTarget("C0OPS", "U0ALICE")
    outcomes = [("approved", ""), ("changed", CHANGED), ("approved", "")]
    items = [
        BatchItem(number, remediation().ref, f"gpu-node-{number:04d}", SeenState(None, None), *outcomes[number % 3])
        if number < known
        else BatchItem(number, remediation().ref, f"gpu-node-{number:04d}", SeenState(None, None))
        for number in range(total)
    ]
    return Batch("b" * 32, DIGEST.id, Verb.APPROVE, actor, place, START, items, is_running)


PAST = [
    PastDecision(REF, Verb.APPROVE, "U0ALICE", START + 300, "approved", "the job has checkpointed"),
    PastDecision(REF, Verb.HOLD, "U0BOB", START + 120, "held"),
    PastDecision(REF, Verb.CANCEL, "U0CAROL", START + 60, "not_allowed"),
]


def digest(of: TrackedMessage, shown: Sequence[Alert], batches: Sequence[Batch]) -> Message:
    return cards.digest.draw(Snapshot(of, shown, {}, batches, is_being_decided=False, now=START), cards.CardConfig())


def overview(**extra: Any) -> Overview:
    """What somebody sees in the app's home."""
    other = RemediationRef("c-9a1", "i-0108", "r-88fe")
    moved = remediation(
        id=other.remediation_id, cluster_id=other.cluster_id, instance_id=other.instance_id,
        instance_name="gpu-node-31", mode=Mode.HOST_AWARE, linked_alerts=ALERTS[:1],
    )  # fmt: skip
    return Overview(**{
        "waiting": [BY_STATE[State.PENDING_APPROVAL], moved],
        "count": 2,
        "page": 0,
        "running": [BY_STATE[State.RUNNING]],
        "failed": [BY_STATE[State.FAILED]],
        "mine": PAST[:1],
        "names": {REF: "gpu-node-07"},
        "faults": (), "returned": (), "unreadable": (), "unconfirmed": (), "old": {},
        "digests": (), "pause": None, "refused": None,
        "about": {REF: ABOUT, other: CardContext()},
        "cluster_names": ClusterNames({"c-7f2": "llama-train"}),
        **extra,
    })  # fmt: skip


def decidable(
    alerts: Sequence[Alert], firsts: Mapping[RemediationRef, FirstApproval], load: RepairLoad | None, total: int = 0
) -> Decidable:
    """What of a digest can be decided."""
    return Decidable(alerts, total or len(alerts), firsts, CardContext(share=load))
