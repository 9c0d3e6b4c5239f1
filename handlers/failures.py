"""How Slack says no: the exceptions of a Web API call, and the code inside."""

import aiohttp
from slack_sdk.errors import SlackApiError

# slack_sdk passes the last two on unwrapped.
SLACK_FAILURES = (SlackApiError, aiohttp.ClientError, TimeoutError)


def error_code(error: BaseException) -> str:
    """Slack's own code, such as `channel_not_found`; empty where the answer was none of Slack's."""
    data = getattr(getattr(error, "response", None), "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else ""


def describe(error: BaseException) -> str:
    """The failure in a word, for logs: an exception's own text may quote what must not be logged."""
    return error_code(error) or type(error).__name__
