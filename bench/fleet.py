"""A large fleet for the simulated year: its clusters, the people on call, and Slack, all without sockets."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
from slack_bolt.request.async_request import AsyncBoltRequest

from bot.models import OPEN
from handlers.bolt import Bolt
from handlers.client import SlackClient
from tests.simulator.slack import Ack, Posted, Slack
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.people import signed_headers
from tests.simulator.slack.workspace import BOT_TOKEN
from tests.simulator.together import HTTP_OF_CODE, KEY_OWNER, TERMINAL, Ids, RpcError, Together
from tests.storms import REVIEW
from tests.world import APPROVE, CANCEL

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
CALL_SECONDS = 0.15
# 419 unexpected interruptions in 54 days on 16,384 GPUs, eight to a node ("The Llama 3 Herd of Models", 2024, 3.3.4).
PER_NODE_AND_DAY = 419 / 54 / (16_384 / 8)
ALARM_EVERY, ALARM_NODES = 10 * DAY, 100
OUTAGE_EVERY, OUTAGE_SECONDS = 30 * DAY, 20 * MINUTE
MODES = ("REBOOT_VM", "REBOOT_VM", "VM_ONLY", "HOST_AWARE")
_PATH = re.compile(r"/v1/compute/clusters/([^/]+)/instances/([^/]+)/remediations(?:/([^/]+)(?:/(\w+))?)?$")


class Clusters(httpx.AsyncBaseTransport):
    """Together's API over as many simulators as there are clusters, without HTTP.

    Attributes:
        calls: how many there were, by what they ask for.
        is_down: whether no connection can be made.
    """

    def __init__(self, count: int, now: Callable[[], float]) -> None:
        self.by_id = {f"cluster-{number}": Together(now) for number in range(count)}
        self.calls: Counter[str] = Counter()
        self.is_down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(CALL_SECONDS)
        if self.is_down:
            raise httpx.ConnectError("down")
        try:
            return httpx.Response(200, json=self._answer(request))
        except RpcError as error:
            return httpx.Response(HTTP_OF_CODE[error.code], json={"code": error.code, "message": error.message})

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        found, last = _PATH.match(request.url.path), request.url.path.rpartition("/")[2]
        if last == "passive_health_check_alerts":
            self.calls["alerts"] += 1
            return {"alerts": []}
        if found is None and last in self.by_id:
            self.calls["cluster"] += 1
            return self.by_id[last].describe(last)
        if found is None:
            self.calls["clusters"] += 1
            return {"clusters": [{"cluster_id": each, "cluster_name": each} for each in self.by_id]}
        cluster, instance, remediation, verb = found.groups()
        together = self.by_id[cluster]
        if remediation is None:
            self.calls["list"] += 1
            return {"remediations": [value for value in together.remediations.values() if value["state"] in OPEN]}
        ids = (cluster, instance, remediation)
        self.calls[verb or "get"] += 1
        if ids not in together.remediations:
            raise RpcError(5, "remediation not found")
        if verb:
            together._decide(ids, verb, json.loads(request.content or b"{}"), KEY_OWNER)
        return together.remediations[ids]


class Office(Slack):
    """The on-call team's Slack workspace, which reaches the bot without HTTP.

    Attributes:
        bolt: where clicks go.
        acks: how many there were, by their status.
        channel: how many messages there were in the channel, by day.
        said: how many calls there were, by their method.
    """

    bolt: Bolt

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.limits = Limits()
        self.acks: Counter[int] = Counter()
        self.channel: Counter[int] = Counter()
        self.said: Counter[str] = Counter()
        self._began = now()
        self._cards: dict[str, Posted] = {}

    async def post_signed(self, body: bytes, *, what: str = "", **headers: str) -> Ack:  # noqa: ARG002 - as over HTTP
        request = AsyncBoltRequest(body=body.decode(), headers={**signed_headers(body), **headers})
        response = await self.bolt.async_dispatch(request)
        self.acks[response.status] += 1
        return Ack(response.status, response.body, 0.0)

    def add(self, channel: str, body: dict[str, Any], only_for: str | None = None) -> Posted:
        posted = super().add(channel, body, only_for)
        if about := ((body.get("metadata") or {}).get("event_payload") or {}).get("remediation_id"):
            self._cards[about] = posted
        return posted

    def card(self, remediation_id: str) -> Posted | None:
        """The card of a remediation, where it has one."""
        return self._cards.get(remediation_id)

    def tidy(self) -> None:
        """Count what was said, and forget what is older than two days."""
        for method, body in self.calls:
            self.said[method] += 1
            if method == "chat.postMessage" and not body.get("thread_ts"):
                self.channel[int((self.now() - self._began) // DAY)] += 1
        self.calls.clear()
        self._responses.clear()
        oldest = self.now() - 2 * DAY
        self.messages = [message for message in self.messages if float(message.ts) > oldest]
        self._cards = {about: message for about, message in self._cards.items() if float(message.ts) > oldest}


class InProcessClient(SlackClient):
    """Slack's SDK, with the simulator at the end of it instead of a connection."""

    def __init__(self, slack: Slack) -> None:
        super().__init__(BOT_TOKEN, retry_handlers=[])
        self._slack = slack

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the SDK's own
        await asyncio.sleep(CALL_SECONDS)
        method = api_url.rpartition("/")[2]
        body = json.loads(json.dumps(req_args.get("json") or req_args.get("params") or {}))
        self._slack.calls.append((method, body))
        status, data, headers = self._slack.answer(BOT_TOKEN, method, body)
        return {"status_code": status, "data": data, "headers": headers}


class Fleet:
    """What breaks, and what people and Together do about it.

    Attributes:
        clusters, slack: where it breaks, and where it is told.
        broken: how many nodes until now.
        alarms: how many false alarms.
        ends: how many remediations ended, by their state.
    """

    def __init__(
        self,
        clusters: Clusters,
        slack: Office,
        nodes: int,
        seed: int,
        *,
        alarm_every: float = ALARM_EVERY,
        alarm_nodes: int = ALARM_NODES,
    ) -> None:
        self.clusters = clusters
        self.slack = slack
        self._nodes = nodes
        self._alarm_every = alarm_every
        self._alarm_nodes = min(nodes, alarm_nodes)
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = self.alarms = 0
        self.ends: Counter[str] = Counter()

    async def run(self) -> None:
        """Break nodes, hit clusters with false alarms, and cut Together off, until cancelled."""
        await asyncio.gather(self._break(), self._raise_alarms(), self._cut_off())

    async def _break(self) -> None:
        names = list(self.clusters.by_id)
        while True:
            await asyncio.sleep(self._about(DAY / (len(names) * self._nodes * PER_NODE_AND_DAY)))
            self._begin(self._live(self._add(self._chance.choice(names), self._chance.randrange(self._nodes))))

    async def _raise_alarms(self) -> None:
        while True:
            await asyncio.sleep(self._about(self._alarm_every))
            cluster = self._chance.choice(list(self.clusters.by_id))
            self._begin(self._false_alarm([self._add(cluster, node) for node in range(self._alarm_nodes)]))
            self.alarms += 1

    async def _cut_off(self) -> None:
        while True:
            await asyncio.sleep(self._about(OUTAGE_EVERY))
            self.clusters.is_down = True
            await asyncio.sleep(OUTAGE_SECONDS)
            self.clusters.is_down = False

    def _add(self, cluster: str, node: int) -> Ids:
        self.broken += 1
        ids = (cluster, f"i-{cluster[8:]}-{node}", f"r-{self.broken}")
        mode = f"REMEDIATION_MODE_{self._chance.choice(MODES)}"
        return self.clusters.by_id[cluster].add(ids, mode=mode, instance_name=f"gpu-{cluster[8:]}-{node}")

    async def _live(self, ids: Ids) -> None:
        """Let a remediation be: one in ten clears on its own, and one in ten waits for hours."""
        fate = self._chance.random()
        if fate < 0.1:
            await asyncio.sleep(self._about(30 * MINUTE))
            self.clusters.by_id[ids[0]].resolve(ids)
        else:
            await self._answer(ids, self._about(3 * HOUR if fate < 0.2 else 20 * MINUTE))
        await self._repair(ids)
        await self._forget(ids)

    async def _answer(self, ids: Ids, after: float) -> None:
        """Decide on the card, once it is there."""
        verb = CANCEL if self._chance.random() < 0.15 else APPROVE
        while self._state(ids) == "PENDING_APPROVAL":
            await asyncio.sleep(after)
            card = self.slack.card(ids[2])
            if card and verb in card.buttons:
                user = self._chance.choice(["U0ALICE", "U0BOB"])
                await self.slack.press(card, verb, user=user)
                await asyncio.sleep(MINUTE)

    async def _repair(self, ids: Ids) -> None:
        together = self.clusters.by_id[ids[0]]
        while self._state(ids) not in TERMINAL:
            await asyncio.sleep(self._about(4 * MINUTE))
            if self._state(ids) == "RUNNING" and self._chance.random() < 0.05:
                together.fail(ids, "VM did not come up")
            else:
                together.advance(ids)

    async def _false_alarm(self, all_ids: list[Ids]) -> None:
        """Cancel all that the digest shows, or let the alarm clear."""
        if self._chance.random() < 0.5:
            digest: Posted | None = None
            while digest is None or "need a decision" not in digest.text:
                await asyncio.sleep(5 * MINUTE)
                mine = [message for message in self.slack.digests() if all_ids[0][0] in message.everything]
                digest = mine[-1] if mine else None
            await self.slack.press(digest, REVIEW)
            await asyncio.sleep(5.0)
            await self.slack.submit(self.slack.views[-1], **{"review:verb": "cancel"})
            await self.slack.submit(self.slack.views[-1])
        await asyncio.sleep(2 * HOUR)
        for ids in all_ids:
            if self._state(ids) == "PENDING_APPROVAL":
                self.clusters.by_id[ids[0]].resolve(ids)
        await asyncio.gather(*map(self._forget, all_ids))

    async def _forget(self, ids: Ids) -> None:
        """Take it from the simulator when the bot has no reason to ask for it any more."""
        self.ends[self._state(ids)] += 1
        await asyncio.sleep(DAY)
        del self.clusters.by_id[ids[0]].remediations[ids]

    def _state(self, ids: Ids) -> str:
        return self.clusters.by_id[ids[0]].state(ids)

    def _about(self, mean: float) -> float:
        return self._chance.expovariate(1 / mean)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()
