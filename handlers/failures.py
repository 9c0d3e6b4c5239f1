"""How Slack says no: the exceptions of a Web API call, and the code inside."""

import aiohttp
from slack_sdk.errors import SlackApiError

# After these Slack may have done it all the same (docs.slack.dev, chat.postMessage, errors). "" is none of its codes.
_UNCLEAR = {"", "fatal_error", "internal_error", "request_timeout", "service_unavailable"}
# slack_sdk passes the last two on unwrapped.
SLACK_FAILURES = (SlackApiError, aiohttp.ClientError, TimeoutError)
# What slack_sdk lets out when an answer is none of Slack's, such as a proxy's (seen with slack_sdk 3.48).
NON_SLACK_RESPONSES = (AttributeError, TypeError, ValueError)


def error_code(error: BaseException) -> str:
    """Slack's own code, such as `channel_not_found`; empty where the answer was none of Slack's."""
    data = getattr(getattr(error, "response", None), "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else ""


def may_have_worked(error: BaseException) -> bool:
    """Whether Slack may have done it all the same: only an error of its own that says why not is a no."""
    return not isinstance(error, SlackApiError) or error_code(error) in _UNCLEAR


def describe(error: BaseException) -> str:
    """The failure in a word, for logs: an exception's own text may quote what must not be logged."""
    return error_code(error) or type(error).__name__
