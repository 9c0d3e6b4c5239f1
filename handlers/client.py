"""Slack's Web API client: each call is counted, and every failure is one kind of exception."""

import logging
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot import cards, metrics
from bot.models import Json
from bot.transport import Resolver

logger = logging.getLogger(__name__)

# Slack's own trouble: it may have done it all the same (docs.slack.dev, chat.postMessage). "" isn't one of its codes.
_TROUBLE = {"", "fatal_error", "internal_error", "request_timeout", "service_unavailable"}
# The workspace moves into an Enterprise organization, and nothing is done until it has (docs.slack.dev, auth.test).
_MOVING = {"team_added_to_org", "org_login_required"}
_RATE_LIMITED = {"ratelimited", "rate_limited"}
_REFUSED_BLOCKS = {
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "block_mismatch",
    "invalid_attachments",
}
_REFUSED_ANYWHERE = _REFUSED_BLOCKS | {"invalid_arguments"}  # of a dialog (docs.slack.dev, views.open)
# While it connects, before anything is sent: the last is what a proxy says that passes nothing on.
UNSENT = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError
# What is asked for; an answer that lacks it says nothing (docs.slack.dev, each method).
_PROMISED = {
    "auth.test": "user_id",
    "conversations.history": "messages",
    "conversations.info": "channel",
    "conversations.replies": "messages",
    "usergroups.list": "usergroups",
    "usergroups.users.list": "users",
    "users.info": "user",
}
# What slack_sdk lets out when an answer isn't Slack's, such as a proxy's (seen with slack_sdk 3.48).
_NON_SLACK = (AttributeError, TypeError, ValueError)


def slack_session() -> aiohttp.ClientSession:
    """Make connections to Slack, with a limit for each call in all."""
    limits = aiohttp.ClientTimeout(total=10, sock_connect=3)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver()), timeout=limits)


class SlackFailure(SlackApiError):
    """A call that Slack did not confirm. Its text is one word for logs: Slack's code, or an exception's name.

    Attributes:
        code: Slack's own, such as `channel_not_found`; empty where the answer was none of Slack's.
        retry_after: how many seconds Slack asks to wait; None where it is no rate limit.
        is_passing: trouble on the way or Slack's own; the same call may work later.
        may_have_worked: Slack may have done it all the same: no connection, or Slack's own reason, is a no.
        had_blocks: the call had blocks; it hasn't any more once Slack has refused them.
    """

    had_blocks = False

    def __init__(self, cause: BaseException) -> None:
        response = getattr(cause, "response", None)
        data = getattr(response, "data", None)
        code = data.get("error") if isinstance(data, dict) else None
        self.code = code if isinstance(code, str) else ""
        is_limited = getattr(response, "status_code", 0) == 429 or self.code in _RATE_LIMITED  # noqa: PLR2004 - HTTP's
        asked = str(getattr(response, "headers", {}).get("Retry-After", ""))
        self.retry_after = (float(asked) if asked.isdecimal() else 1.0) if is_limited else None
        self.is_passing = is_limited or self.code in _TROUBLE | _MOVING
        is_answered = isinstance(cause, SlackApiError) and self.code not in _TROUBLE
        self.may_have_worked = not is_answered and not isinstance(cause, UNSENT)
        said = response if isinstance(data, dict) else {"error": self.code}  # the SDK looks into it, to log it
        super().__init__("", said)  # type: ignore[no-untyped-call] # the SDK's own
        self.args = (self.code or type(cause).__name__,)


class SlackClient(AsyncWebClient):
    """The SDK's client. Blocks that Slack has only since 2026 are drawn openly once it has refused one."""

    _is_plain = False

    async def api_call(self, api_method: str, *, needs_blocks: bool = False, **arguments: Any) -> AsyncSlackResponse:  # noqa: ANN401 - the SDK's own
        """Call a method; again with plainer blocks, where Slack refuses those of 2026, and in the end with none.

        Args:
            needs_blocks: it is never made with none: another tool's words would be lost.

        Raises:
            SlackFailure: Slack did not confirm it.
        """
        if self._is_plain:
            arguments = _plainer(arguments) or arguments
        try:
            return await self._call(api_method, arguments)
        except SlackFailure as refusal:
            if refusal.code in _REFUSED_ANYWHERE and (plainer := _plainer(arguments)):
                logger.warning("%s: Slack refused blocks (%s); drawing plainer ones from now on", api_method, refusal)
                self._is_plain = True  # also where it wasn't because of them: nothing is lost by it
            elif refusal.code in _REFUSED_BLOCKS and refusal.had_blocks and not needs_blocks:
                logger.exception("Slack rejected our blocks: %s", arguments["json"]["blocks"])
                plainer = {**arguments, "json": text_alone(arguments["json"])}
            else:
                raise
        return await self.api_call(api_method, needs_blocks=needs_blocks, **plainer)

    async def _call(self, api_method: str, arguments: Json) -> AsyncSlackResponse:
        """Call a method, and count how it ended: "ok", Slack's code, or the exception's name."""
        status = "ok"
        try:
            with metrics.SLACK_SECONDS.labels(api_method).time():
                answer = await super().api_call(api_method, **arguments)
            promised = _PROMISED.get(api_method)
            if isinstance(answer.data, dict) and (promised is None or answer.data.get(promised) is not None):
                return answer
            raise TypeError("not what was asked for")  # noqa: TRY301 - as the SDK says that of others
        except (SlackApiError, aiohttp.ClientError, TimeoutError, *_NON_SLACK) as error:
            failure = SlackFailure(error)
            failure.had_blocks = "blocks" in (arguments.get("json") or {})
            status = str(failure)
            raise failure from error
        except BaseException as error:  # counted, then raised again
            status = type(error).__name__
            raise
        finally:
            metrics.SLACK_CALLS.labels(api_method, status).inc()


async def message_at(client: AsyncWebClient, channel_id: str, ts: str, thread_ts: str | None = None) -> Json | None:
    """Return a message, with its metadata; None where there is no message at that time.

    Args:
        thread_ts: the thread that it may be in, whose replies no channel lists (docs.slack.dev, conversations.history).

    Raises:
        SlackFailure: it couldn't be read.
    """
    read, of = (client.conversations_replies, {"ts": thread_ts}) if thread_ts else (client.conversations_history, {})
    # A thread begins with its first message in any case (docs.slack.dev, conversations.replies).
    answer = await read(
        channel=channel_id, latest=ts, oldest=ts, inclusive=True, limit=2, include_all_metadata=True, **of
    )
    return next((each for each in list(answer["messages"]) if isinstance(each, dict) and each.get("ts") == ts), None)


def _plainer(arguments: Json) -> Json | None:
    """Return the arguments of a call with plainer blocks; None where it has no others."""
    body = arguments.get("json") or {}
    holder = body.get("view") or body
    drawn = holder.get("blocks") or []
    plainer = cards.plainer(drawn)
    if plainer == drawn:
        return None
    changed = {**holder, "blocks": plainer}
    return {**arguments, "json": {**body, "view": changed} if "view" in body else changed}


def text_alone(body: Json) -> Json:
    """Return the body of a call without what Slack may refuse to draw."""
    return {name: value for name, value in body.items() if name not in {"blocks", "attachments"}}
