"""Together's remediation API: a state machine behind HTTP, which fails on demand."""

import asyncio
import base64
import copy
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from itertools import islice, pairwise
from typing import Any

from aiohttp import web

from tests.simulator.listener import Listener

API_KEY = "together-simulator-key"
KUBE_CONFIG = base64.b64encode(b"a credential, which comes with each answer about a cluster").decode()
KEY_OWNER = "ml-platform@example.com"
MODES = {
    f"REMEDIATION_MODE_{name}"
    for name in ("VM_ONLY", "HOST_AWARE", "EVICT_WITHOUT_REPLACEMENT", "REBOOT_VM", "HOST_POWER_CYCLE")
}
WORK = ("PENDING", "QUARANTINING", "QUARANTINED", "RUNNING", "SUCCEEDED")
NEXT_STATE = dict(pairwise(WORK))
TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED", "AUTO_RESOLVED"}
DECISIONS = {"cancel", "approve", "reject"}
LATE_SECONDS = 2.0
FILTERS = ("state", "mode", "trigger")
HTTP_OF_CODE = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500,
    14: 503, 15: 500, 16: 401,
}  # fmt: skip
Ids = tuple[str, str, str]


class RpcError(Exception):
    """An `rpcStatus` answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Fault:
    """Something that goes wrong with the next requests.

    Attributes:
        kind: rpc, html, empty, truncated, other, stale (200 without the change), another, cut, late (cut, and
            the change comes two seconds after), slow (the right answer, but late), hang, drip, redirect, big or gzip.
        verb: which requests: cancel, approve, reject, get, list, alerts, clusters or create; None for all.
        after: whether the change is made before the answer goes wrong.
        times: how often; -1 forever.
        code: of an `rpc` fault.
        headers: of the answer.
        status: of an `html`, `empty` or `big` fault.
        cluster, instance: only requests about these.
        seconds: how late a `slow` answer is.
    """

    kind: str
    verb: str | None = None
    after: bool = False
    times: int = 1
    code: int = 13
    status: int = 200
    message: str = "simulated"
    cluster: str | None = None
    instance: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Call:
    """A request that arrived."""

    verb: str
    ids: Ids | None
    body: Any
    cluster: str | None = None
    instance: str | None = None


class Together(Listener):
    """The service. Everything that a test or the demo does to it is a method; the API itself is HTTP only."""

    name = "Together"

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.now = now
        self.keys = {API_KEY}
        self.clusters: dict[str, str] = {}
        self.lists_lack: list[str] = []  # the clusters that the next lists of clusters lack, one each
        self.remediations: dict[Ids, dict[str, Any]] = {}
        # What lists still show, though it is over: a state, or all of a remediation as it was.
        self.lists_as: dict[Ids, str | dict[str, Any]] = {}
        self.reads_as: dict[Ids, dict[str, Any]] = {}  # what a replica that is behind answers when one is read
        self.decides_ahead = 0.0  # seconds by which the clock of the host that decides is ahead
        self.folds_ids = False  # IDs that differ in case are the same
        self.state_follows = False  # an approval is in the record at once, and its state later
        self.lost: set[Ids] = set()  # that aren't found, though they are there
        self.unreadable: dict[str, int] = {}  # clusters about which every call is refused, with the code
        self.lists_extra: list[Any] = []  # what else is in every list
        self.max_page = 50
        self.repeated = 0  # this many of a page's items are on the next one too, as when something new shifts the pages
        self.nodes: dict[str, int] = {}
        self.kube_config = KUBE_CONFIG
        self.node_status: dict[str, str] = {}  # of instances that aren't running; empty for one that isn't there
        self.alerts: dict[str, dict[str, Any]] = {}  # that fire now, by their IDs, the oldest first
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.on_call: dict[str, Callable[[], None]] = {}
        self.before_decision: Callable[[Call], None] = lambda _call: None
        one = "/v1/compute/clusters/{cluster}/instances/{instance}/remediations/{remediation}"
        many = "/v1/compute/clusters/{cluster}/instances/{instance}/remediations"
        self.routes = [
            web.get("/v1/compute/passive_health_check_alerts", self._endpoint("alerts", self._alerts)),
            web.get("/v1/compute/clusters", self._endpoint("clusters", self._clusters)),
            web.get("/v1/compute/clusters/{cluster}", self._endpoint("cluster", self._cluster)),
            web.get(many, self._endpoint("list", self._list)),
            web.post(many, self._endpoint("create", self._create)),
            web.get(one, self._endpoint("get", self._get)),
            web.post(f"{one}/cancel", self._endpoint("cancel", self._cancel)),
            web.post(f"{one}/approve", self._endpoint("approve", self._approve)),
            web.post(f"{one}/reject", self._endpoint("reject", self._reject)),
        ]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def posts(self) -> list[Call]:
        """The decisions that arrived."""
        return [call for call in self.calls if call.verb in DECISIONS]

    def add(
        self, ids: Ids = ("cluster-1", "instance-1", "remediation-1"), state: str = "PENDING_APPROVAL", **fields: Any
    ) -> Ids:
        """Put a remediation into the service."""
        cluster, instance, remediation = ids
        self.clusters.setdefault(cluster, f"{cluster} (H100)")
        self.remediations[ids] = {
            "id": remediation,
            "cluster_id": cluster,
            "instance_id": instance,
            "mode": "REMEDIATION_MODE_REBOOT_VM",
            "trigger": "REMEDIATION_TRIGGER_AUTOMATED",
            "state": state,
            "create_time": self._time(),
            **fields,
        }
        return ids

    def fire(self, alert: str, cluster: str, instance: str | None = None, **fields: Any) -> None:
        """A health check alert begins to fire."""
        self.clusters.setdefault(cluster, f"{cluster} (H100)")
        self.alerts[alert] = {
            "passive_health_check_alert_id": alert,
            "cluster_id": cluster,
            "alert_name": "DmesgXidError",
            "severity": "PHC_SEVERITY_CRITICAL",
            "started_at": self._time(),
            **({"instance_id": instance, "target_vm": instance} if instance else {}),
            **fields,
        }

    def state(self, ids: Ids) -> str:
        return str(self.remediations[ids]["state"])

    def escalate(self, ids: Ids, mode: str) -> None:
        """A worse failure was seen: the suggestion changes in place."""
        self._require(ids, {"PENDING_APPROVAL"})["mode"] = mode

    def advance(self, ids: Ids, to: str = "") -> None:
        """Advance by one state, or through all up to one."""
        remediation = self._require(ids, set(NEXT_STATE))
        remediation["state"] = NEXT_STATE[remediation["state"]]
        if remediation["state"] == "RUNNING":
            remediation["start_time"] = self._time()
        if remediation["state"] in TERMINAL:
            remediation["end_time"] = self._time()
        if to and remediation["state"] != to:
            self.advance(ids, to)

    def fail(self, ids: Ids, message: str) -> None:
        """Work fails."""
        self._require(ids, {"RUNNING", "QUARANTINING"}).update(
            state="FAILED", error_message=message, end_time=self._time()
        )

    def resolve(self, ids: Ids) -> None:
        """The alert clears before anybody decided."""
        self._require(ids, {"PENDING_APPROVAL"}).update(state="AUTO_RESOLVED", end_time=self._time())

    def review(self, ids: Ids, verb: str, comment: str = "", by: str = "web-user@example.com") -> None:
        """Somebody decides in Together's own console."""
        self._decide(ids, verb, {"comment": comment}, by)

    # The API.

    def proof(self, request: web.Request) -> str:
        return "API key ✓" if self._has_key(request) else "API key ✗"

    def _has_key(self, request: web.Request) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.keys

    def _authenticate(self, request: web.Request) -> None:
        if not self._has_key(request):
            raise RpcError(16, "invalid API key")
        if code := self.unreadable.get(request.match_info.get("cluster", "")):
            raise RpcError(code, "simulated")

    def _endpoint(
        self, verb: str, action: Callable[[web.Request, Any], Any]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            info = request.match_info
            ids = (info["cluster"], info["instance"], info["remediation"]) if "remediation" in info else None
            body = _json(raw)
            cluster = info.get("cluster") or request.query.get("cluster_id")
            call = Call(verb, ids, body, cluster, info.get("instance"))
            self.calls.append(call)
            if verb in DECISIONS:
                self.before_decision(call)
            self.changed()
            await self.gate(verb)
            if happen := self.on_call.get(verb):
                happen()
            fault = self._next_fault(call)
            if fault and fault.kind == "late":
                # The line is cut at once, and the change comes after: only waiting shows that it did.
                asyncio.get_running_loop().call_later(LATE_SECONDS, self._answer, request, action, body)
                fault = Fault("cut")
            if fault and fault.kind == "slow":
                with self.waiting(), suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), fault.seconds)
                fault = None
            if fault and not fault.after:
                return await self._break(request, fault, {})
            status, answer = self._answer(request, action, body)
            self.changed()
            if self.is_paused(f"{verb} answered"):
                answer = copy.deepcopy(answer)  # what was read stays what it was
                await self.gate(f"{verb} answered")
            if fault:
                return await self._break(request, fault, answer)
            date = formatdate(self.now(), usegmt=True)
            return web.json_response(
                answer, status=status, headers={"x-request-id": f"req-{len(self.calls)}", "Date": date}
            )

        return handle

    def _answer(
        self, request: web.Request, action: Callable[[web.Request, Any], Any], body: Any
    ) -> tuple[int, dict[str, Any]]:
        try:
            self._authenticate(request)
            return 200, action(request, body)
        except RpcError as error:
            return HTTP_OF_CODE[error.code], _rpc(error.code, error.message)

    def _next_fault(self, call: Call) -> Fault | None:
        for fault in self.faults:
            is_meant = fault.cluster in {None, call.cluster} and fault.instance in {None, call.instance}
            if fault.times and fault.verb in {None, call.verb} and is_meant:
                fault.times -= 1
                return fault
        return None

    async def _break(self, request: web.Request, fault: Fault, answer: dict[str, Any]) -> web.StreamResponse:
        text = json.dumps(answer or {"id": "x", "state": "PENDING"})
        match fault.kind:
            case "rpc":
                return web.json_response(
                    _rpc(fault.code, fault.message), status=HTTP_OF_CODE[fault.code], headers=fault.headers
                )
            case "html":
                return web.Response(
                    status=fault.status, text="<html><h1>Bad gateway</h1></html>", content_type="text/html"
                )
            case "empty":
                return web.Response(status=fault.status)
            case "truncated":
                return web.Response(text=text[: len(text) // 2], content_type="application/json")
            case "other":
                return web.json_response({"ok": True})
            case "stale":
                return web.json_response(self._any())
            case "another":
                return web.json_response({**self._any(), "id": "somebody-elses"})
            case "redirect":
                return web.Response(status=302, headers={"Location": f"{self.url}/v1/elsewhere"})
            case "big":
                return web.Response(status=fault.status, text="x" * 5_000_000)
            case "gzip":
                return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
            case "cut":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "drip":
                return await self._drip(request)
            case "hang":
                with self.waiting():
                    await self.stopping.wait()
                return web.Response()
        raise AssertionError(fault.kind)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.stopping.is_set():
            await response.write(b" ")
            await asyncio.wait({asyncio.ensure_future(self.stopping.wait())}, timeout=0.02)
        return response

    def _any(self) -> dict[str, Any]:
        return next(iter(self.remediations.values()), {})

    def _get(self, request: web.Request, _body: Any) -> dict[str, Any]:
        return self._find(request)

    def _cancel(self, request: web.Request, _body: Any) -> dict[str, Any]:
        return self._decide(self._ids(request), "cancel", {}, KEY_OWNER)

    def _approve(self, request: web.Request, body: Any) -> dict[str, Any]:
        return self._decide(self._ids(request), "approve", body, KEY_OWNER)

    def _reject(self, request: web.Request, body: Any) -> dict[str, Any]:
        return self._decide(self._ids(request), "reject", body, KEY_OWNER)

    def _decide(self, ids: Ids, verb: str, body: Any, by: str) -> dict[str, Any]:
        allowed = {"PENDING_APPROVAL", "PENDING"} if verb == "cancel" else {"PENDING_APPROVAL"}
        if not isinstance(body, dict):
            raise RpcError(3, "a JSON body is required")
        remediation = self._require(ids, allowed)
        mode = body.get("mode")
        if mode is not None:
            if mode not in MODES or mode.endswith("HOST_POWER_CYCLE"):
                raise RpcError(3, f"mode {mode} cannot be set at approval")
            remediation["mode"] = mode
        if not (self.state_follows and verb == "approve"):
            remediation["state"] = "PENDING" if verb == "approve" else "CANCELLED"
        remediation["update_time"] = self._time(self.decides_ahead)
        if verb == "cancel":
            remediation["end_time"] = self._time()
        else:
            remediation.update(reviewed_by=by, review_time=self._time(), review_comment=body.get("comment", ""))
        self.changed()
        return remediation

    def _create(self, request: web.Request, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict) or body.get("mode") not in MODES:
            raise RpcError(3, "mode is required")
        name = request.query.get("remediation_id") or f"remediation-{len(self.remediations) + 1}"
        ids = (request.match_info["cluster"], request.match_info["instance"], name)
        if ids in self.remediations:
            raise RpcError(6, "remediation exists")
        optional = {"reason": body["reason"]} if "reason" in body else {}
        self.add(
            ids, "PENDING", mode=body["mode"], trigger="REMEDIATION_TRIGGER_MANUAL", requested_by=KEY_OWNER, **optional
        )
        return self.remediations[ids]

    def _list(self, request: web.Request, _body: Any) -> dict[str, Any]:
        cluster, instance = request.match_info["cluster"], request.match_info["instance"]
        if cluster not in self.clusters:
            raise RpcError(5, "cluster not found")
        query = request.query
        wanted = {name: query[name].split(",") for name in FILTERS if name in query}
        found = [
            remediation
            for ids, present in self.remediations.items()
            if present["cluster_id"] == cluster
            and ids not in self.lost
            and instance in {"-", present["instance_id"]}
            and (remediation := self._as_listed(ids, present))
            and all(remediation[name] in values for name, values in wanted.items())
        ]
        found += self.lists_extra
        size = min(self.max_page, int(query.get("page_size") or query.get("pageSize") or 50))
        start = int(query.get("page_token") or query.get("pageToken") or 0)
        page = found[start : start + size]
        more = start + size < len(found)
        return {
            "remediations": page,
            "has_next": more,
            "next_page_token": str(start + size - self.repeated) if more else "",
        }

    def _as_listed(self, ids: Ids, present: dict[str, Any]) -> dict[str, Any]:
        shown = self.lists_as.get(ids, present)
        return {**present, "state": shown} if isinstance(shown, str) else shown

    def _alerts(self, request: web.Request, _body: Any) -> dict[str, Any]:
        query = request.query
        if not (cluster := query.get("cluster_id")):
            raise RpcError(7, "cluster_id is required")
        if query.get("status", "PHC_ALERT_STATUS_FIRING") != "PHC_ALERT_STATUS_FIRING":
            raise RpcError(12, "only what fires is simulated")
        size = min(self.max_page, int(query.get("page_size") or 50))
        start = int(query.get("page_token") or 0)
        of_cluster = (value for value in reversed(self.alerts.values()) if value["cluster_id"] == cluster)
        found = list(islice(of_cluster, start, start + size + 1))  # one more says whether there is another page
        return {"alerts": found[:size], "next_page_token": str(start + size) if len(found) > size else ""}

    def _clusters(self, _request: web.Request, _body: Any) -> dict[str, Any]:
        lacking = self.lists_lack.pop(0) if self.lists_lack else None
        return {"clusters": [self.describe(cluster) for cluster in self.clusters if cluster != lacking]}

    def _cluster(self, request: web.Request, _body: Any) -> dict[str, Any]:
        if request.match_info["cluster"] not in self.clusters:
            raise RpcError(5, "cluster not found")
        return self.describe(request.match_info["cluster"])

    def describe(self, cluster: str) -> dict[str, Any]:
        mine = list({each["instance_id"]: each for each in self.of_cluster(cluster)}.values())
        nodes = [
            {
                "node_id": each["instance_id"],
                "instance_id": each["instance_id"],
                "host_name": each.get("instance_name", each["instance_id"]),
                "num_gpus": 8,
                "status": self.node_status.get(each["instance_id"], "Running"),
                "latest_remediation": each,
            }
            for each in mine
            if self.node_status.get(each["instance_id"]) != ""
        ]
        # Healthy nodes, of which a real cluster has more.
        nodes += [{"node_id": f"healthy-{number}"} for number in range(self.nodes.get(cluster, 0) - len(nodes))]
        return {
            "cluster_id": cluster,
            "cluster_name": self.clusters[cluster],
            "gpu_worker_nodes": nodes,
            "deleted_gpu_worker_nodes": [{"node_id": "gone", "status": "Deleted"}],
            "kube_config": self.kube_config,
        }

    def of_cluster(self, cluster: str) -> list[dict[str, Any]]:
        return [value for value in self.remediations.values() if value["cluster_id"] == cluster]

    def _ids(self, request: web.Request) -> Ids:
        info = request.match_info
        ids = info["cluster"], info["instance"], info["remediation"]
        if self.folds_ids:
            ids = next(
                (known for known in self.remediations if [*map(str.lower, known)] == [*map(str.lower, ids)]), ids
            )
        if ids in self.lost:
            raise RpcError(5, "remediation not found")
        return ids

    def _find(self, request: web.Request) -> dict[str, Any]:
        ids = self._ids(request)
        return self.reads_as.get(ids) or self._require(ids, None)

    def _require(self, ids: Ids, states: set[str] | None) -> dict[str, Any]:
        if any(" " in part for part in ids):
            raise RpcError(3, "malformed ID")
        if ids not in self.remediations:
            raise RpcError(5, "remediation not found")
        remediation = self.remediations[ids]
        if states is not None and remediation["state"] not in states:
            raise RpcError(9, f"remediation is in state {remediation['state']}")
        return remediation

    def _time(self, ahead: float = 0.0) -> str:
        return datetime.fromtimestamp(self.now() + ahead, UTC).isoformat().replace("+00:00", "Z")


def _rpc(code: int, message: str) -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SIMULATED", "domain": "simulator"}
    return {"code": code, "message": message, "details": [info]}


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
