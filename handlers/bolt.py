"""Bolt, set up so that nothing comes between a request and its ack."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bot import metrics

logger = logging.getLogger(__name__)

_ONLY_ASKS = {"block_suggestion", "other"}
ACK_SECONDS = 3.0  # docs.slack.dev, "Handling user interaction"
REMEMBERED = 10_000  # signatures; each is good for 5 min (docs.slack.dev, verifying requests)
_KINDS = {
    "block_actions", "block_suggestion", "command", "event_callback", "message_action", "view_closed",
    "view_submission",
}  # fmt: skip


class Bolt(AsyncApp):
    """Bolt's app, which both transports dispatch to, with the time that Slack waits for each ack.

    The listener runs before the response, so Bolt does not poll for the ack; the listeners ack first and leave the
    work to tasks. The identity was asked for at the start, so Bolt asks for none in front of an ack.

    Args:
        signing_secret: verifies HTTP requests. Not used in Socket Mode, whose connection is authenticated.
        team_id: the workspace that the bot is installed in.
        bot_user_id: the bot's own user.
    """

    def __init__(self, signing_secret: str, *, team_id: str, bot_user_id: str) -> None:
        identity = AuthorizeResult(enterprise_id=None, team_id=team_id, bot_user_id=bot_user_id)

        async def authorize() -> AuthorizeResult:
            return identity

        super().__init__(
            name="remediation-bot",  # to find one, Bolt would read its callers' source (29 ms, slack_bolt 1.30)
            logger=logging.getLogger("slack_bolt"),
            client=AsyncWebClient(retry_handlers=[]),
            signing_secret=signing_secret,
            request_verification_enabled=False,
            authorize=authorize,
            process_before_response=True,
            attaching_function_token_enabled=False,
        )
        self.use_signing_secret(signing_secret)
        self._taken: OrderedDict[str, None] = OrderedDict()
        self._unanswered: set[asyncio.Future[None]] = set()

    async def finish(self) -> None:
        """Wait for the requests that are being acknowledged, as long as Slack does."""
        if self._unanswered:
            await asyncio.wait(self._unanswered, timeout=ACK_SECONDS)

    def use_signing_secret(self, signing_secret: str) -> None:
        """Verify with this secret from now on. It is empty in Socket Mode."""
        self.verifier = SignatureVerifier(signing_secret) if signing_secret else None

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> BoltResponse:
        """Answer what came over HTTP, if Slack signed it: parsing a body takes much longer than verifying it."""
        try:
            is_signed = self.verifier is not None and self.verifier.is_valid_request(body, headers)
        except (TypeError, ValueError):  # a header that is no number or not ASCII, or a body that is not UTF-8
            is_signed = False
        if not is_signed:
            if b"&ssl_check=1&" in b"&%b&" % body:  # Slack doesn't sign it, and asks for nothing
                return BoltResponse(status=200, body="")
            logger.warning("Refused a request without a valid Slack signature")
            metrics.ACKS.labels("other", "401").inc()
            return BoltResponse(status=401, body="invalid request\n")
        try:
            request = AsyncBoltRequest(body=body.decode(), headers={**headers})
        except (ValueError, TypeError, AttributeError, RecursionError):  # broken JSON or no object
            return BoltResponse(status=401, body="invalid request\n")
        return await self.async_dispatch(request)

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        """Answer a request of Slack's."""
        # As one of a few names: what anybody may send must not become a label.
        kind = "command" if "command" in req.body else str(req.body.get("type"))
        kind = kind if kind in _KINDS else "other"
        # What a menu asks for may well be asked twice in a second, and does nothing.
        signature = "" if kind in _ONLY_ASKS else next(iter(req.headers.get("x-slack-signature", [])), "")
        if signature and signature in self._taken:
            logger.warning("Ignored a replayed request")
            return BoltResponse(status=200, body="")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unanswered.add(answered)
        try:
            with metrics.ACK_SECONDS.labels(kind).time():
                response = await super().async_dispatch(req)
        finally:
            self._unanswered.discard(answered)
            answered.set_result(None)
        metrics.ACKS.labels(kind, str(response.status)).inc()
        if signature and response.status == 200:  # noqa: PLR2004 - it was taken
            self._taken[signature] = None
            if len(self._taken) > REMEMBERED:
                self._taken.popitem(last=False)
        return response
