"""Slack's Web API client, with each call counted."""

from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot import metrics
from handlers.failures import describe


class MeasuredClient(AsyncWebClient):
    """The SDK's client."""

    async def api_call(self, api_method: str, **arguments: Any) -> AsyncSlackResponse:  # noqa: ANN401 - the SDK's own
        """Call a method, and count how it ended: "ok", Slack's code, or the exception's name."""
        status = "ok"
        try:
            with metrics.timed(metrics.SLACK_SECONDS, api_method):
                return await super().api_call(api_method, **arguments)
        except SlackApiError as error:
            status = describe(error)
            raise
        except Exception as error:  # counted, then raised again
            status = type(error).__name__
            raise
        finally:
            metrics.SLACK_CALLS.labels(api_method, status).inc()
