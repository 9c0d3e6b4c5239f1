"""Answers of Together's where the status and the code don't agree, and answers that should be lists and aren't."""

import httpx
import pytest

from bot.errors import KeyRefused, RateLimited, ServerError, TogetherError, UnreadableAnswer
from bot.together.answers import items, refusal
from tests.manual_clock import START


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ServerError), (2, ServerError), (4, ServerError), (13, ServerError), (14, ServerError), (15, ServerError),
        (7, KeyRefused), (16, KeyRefused), (8, RateLimited),
    ],
)  # fmt: skip
def test_code_says_what_a_status_of_400_leaves_open(code: int, kind: type[TogetherError]) -> None:
    assert type(refusal(httpx.Response(400), {"code": code}, START)) is kind


@pytest.mark.parametrize("page", [{"ok": True}, {"message": "down"}, {"error": {}, "next_page_token": ""}])
def test_page_that_says_something_else_is_no_empty_list(page: dict[str, object]) -> None:
    with pytest.raises(UnreadableAnswer):
        items(page, "remediations")


def test_page_that_leaves_its_empty_list_out_is_empty() -> None:
    assert items({"has_next": False, "total_count": 0, "http_status": 200}, "remediations") == []
