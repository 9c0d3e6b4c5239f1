"""The list of firing alerts, as odd as it may be answered."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from bot.clock import WaitReason
from bot.together import Timeouts, TogetherClient
from tests.manual_clock import ManualClock

SMALL = replace(Timeouts(), max_page=1024 * 1024)


@asynccontextmanager
async def answering(page: Callable[[httpx.QueryParams], Any]) -> AsyncIterator[TogetherClient]:
    """A client of a server that answers with what `page` makes of the query: a page, or an error."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = page(request.url.params)
        return httpx.Response(400 if "code" in found else 200, json=found)

    time = ManualClock(passing=frozenset(WaitReason))
    async with httpx.MockTransport(answer) as line:
        yield TogetherClient(line, "http://x/v1", "k", clock=time.clock, patience=SMALL)


def two_pages(query: httpx.QueryParams, **more: Any) -> dict[str, Any]:
    is_last = "page_token" in query
    return {"alerts": [{"alert_name": "b" if is_last else "a"}], "next_page_token": "" if is_last else "t", **more}


async def test_page_size_of_one_cluster_is_not_forgotten_for_another() -> None:
    sizes: list[tuple[str, int]] = []

    def page(query: httpx.QueryParams) -> dict[str, Any]:
        cluster, size = query["cluster_id"], int(query["page_size"])
        sizes.append((cluster, size))
        count = min(size, 100) if cluster == "big" else 0
        return {
            "alerts": [{"alert_name": "x" * 20_000}] * count,
            "next_page_token": "t" if count and "page_token" not in query else "",
        }

    async with answering(page) as client:
        await client.firing("big")
        first = len(sizes)
        for _ in range(3):
            await client.firing("small")
            await client.firing("big")
    assert ("big", 200) not in sizes[first:]


async def test_more_pages_are_read_where_has_next_is_null_or_missing() -> None:
    for more in ({}, {"has_next": None}):
        async with answering(lambda query, more=more: two_pages(query, **more)) as client:  # type: ignore[misc] # mypy cannot see the default
            found, is_whole = await client.firing("c")
            assert ([alert.alert_name for alert in found], is_whole) == (["a", "b"], True)


async def test_first_page_is_used_though_the_second_fails() -> None:
    failed = {"code": 3, "message": "token expired"}
    async with answering(lambda query: failed if "page_token" in query else two_pages(query)) as client:
        found, is_whole = await client.firing("c")
        assert ([alert.alert_name for alert in found], is_whole) == (["a"], False)


async def test_alerts_of_other_clusters_are_left_out() -> None:
    async with answering(lambda _: {"alerts": [{"alert_name": "a", "cluster_id": "other"}, "odd", {}]}) as client:
        found, _ = await client.firing("c")
        assert [alert.alert_name for alert in found] == [None]


async def test_empty_list_may_be_left_out() -> None:
    for page in ({}, {"total_count": 0}, {"next_page_token": ""}):
        async with answering(lambda _, page=page: page) as client:  # type: ignore[misc] # mypy cannot see the default
            assert await client.firing("c") == ([], True)
