"""Other tools that are told: a webhook that checks signatures, and PagerDuty with incidents."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.simulator.listener import Listener

SECRET = "whsec_" + base64.b64encode(b"a key of at least 24 bytes").decode()
ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"


class Receiver(Listener):
    """Something that is told over HTTP, and may refuse.

    Attributes:
        statuses: the next answers, before those that are right; 202 is one that is right, and takes what was told.
        headers: of each answer.
        body: of each answer.
        is_endless: whether the body comes again and again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_endless = False
        self.refused: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await self.gate("receive")
        if self.statuses and (status := self.statuses.pop(0)) != 202:
            self.changed()
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=status or 200, headers={"Location": "http://127.0.0.1:1/"})
        status = self.take(request, await request.read())
        self.changed()
        if not self.is_endless:
            return web.Response(status=status, body=self.body, headers=self.headers)
        answer = web.StreamResponse(status=status, headers=self.headers)
        await answer.prepare(request)
        while request.transport is not None:
            await answer.write(self.body)
        return answer

    def take(self, request: web.Request, body: bytes) -> int:
        raise NotImplementedError


class WebhookReceiver(Receiver):
    """Takes CloudEvents whose signature the specification's own package makes too, and accepts.

    Args:
        is_real_time: whether the bot's clock is the real one, so that the time of a signature counts.

    Attributes:
        unwanted: what is in an event that isn't taken; empty for nothing.
    """

    name = "webhook"

    def __init__(self, *, is_real_time: bool = False) -> None:
        super().__init__()
        self.is_real_time = is_real_time
        self.events: list[dict[str, Any]] = []
        self.unwanted = b""
        self.routes = [web.post("/events", self.answer)]

    @property
    def settings(self) -> Any:
        """The settings with which the bot tells this one."""
        return {"BOT_WEBHOOK_URL": f"{self.url}/events", "BOT_WEBHOOK_SECRET": SECRET}

    def take(self, request: web.Request, body: bytes) -> int:
        if request.content_type != "application/cloudevents+json":
            return 415
        if self.unwanted and self.unwanted in body:
            return 422
        if not self.is_signed(dict(request.headers), body):
            return 401
        self.events.append(json.loads(body))
        return 200 if self.body else 204

    def is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - only tests have it

        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        if Webhook(SECRET).sign(headers["webhook-id"], at, body.decode()) != headers["webhook-signature"]:
            self.refused.append("signature")
            return False
        try:
            Webhook(SECRET).verify(body, headers)
        except WebhookVerificationError as error:
            if self.is_real_time:
                self.refused.append(str(error))
                return False
        return True

    def of(self, remediation_id: str) -> list[str]:
        """What was told of a remediation, each once, in order."""
        told = {event["id"]: event for event in self.events if event.get("subject", "").endswith(f"/{remediation_id}")}
        return [value["type"].rpartition(".")[2] for value in told.values()]


class PagerDuty(Receiver):
    """The Events API v2: an incident for each key (developer.pagerduty.com/docs/events-api-v2).

    Attributes:
        actions: what has changed an incident.
        pages: what people were paged for: one that is open pages nobody again, and one that is acknowledged stays so.
    """

    name = "PagerDuty"

    def __init__(self) -> None:
        super().__init__()
        self.incidents: dict[str, str] = {}
        self.calls: list[dict[str, Any]] = []
        self.actions: list[str] = []
        self.pages: list[str] = []
        self.routes = [web.post("/v2/enqueue", self.answer)]

    @property
    def settings(self) -> Any:
        """The settings with which the bot tells this one."""
        return {"BOT_PAGERDUTY_KEY": ROUTING_KEY, "BOT_PAGERDUTY_URL": self.url}

    def take(self, _request: web.Request, body: bytes) -> int:
        told = json.loads(body)
        action, key = told.get("event_action"), told.get("dedup_key")
        is_known = action in {"trigger", "acknowledge", "resolve"} and told.get("routing_key") == ROUTING_KEY
        payload = told.get("payload", {})
        is_whole = action != "trigger" or (
            1 <= len(payload.get("summary", "")) <= 1024
            and payload.get("source")
            and payload.get("severity") in {"critical", "error", "warning", "info"}
        )
        if not is_known or not is_whole or not key or len(key) > 255 or len(body) > 512 * 1024:
            self.refused.append(str(told))
            return 400
        self.calls.append(told)
        before = self.incidents.get(key, "resolved")
        if before == "resolved" and action == "trigger":
            self.pages.append(payload["summary"])
            self.incidents[key] = "triggered"
        elif before != "resolved" and action != "trigger":
            self.incidents[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        if self.incidents.get(key, "resolved") != before:
            self.actions.append(" ".join([action, *key.split(" ")[1:]]))
        return 202
