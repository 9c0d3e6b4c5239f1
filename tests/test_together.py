"""The client against a simulated API that fails in every way, over real HTTP."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from time import tzset

import httpx
import pytest
from aiohttp import web

from bot.clock import WaitReason
from bot.errors import (
    InvalidId,
    InvalidIds,
    KeyRefused,
    NoAnswer,
    NotFound,
    NotReached,
    RateLimited,
    RequestRefused,
    ServerError,
    TogetherError,
    UnreadableAnswer,
    WrongState,
)
from bot.models import RemediationRef, Verb
from bot.together import Timeouts, TogetherClient
from bot.together.answers import moment
from bot.together.client import MAX_PAGES
from bot.transport import AiohttpTransport
from tests.manual_clock import START, ManualClock
from tests.simulator.together import API_KEY, Fault, Together
from tests.world import IDS

REF = RemediationRef(*IDS)
Call = Callable[[TogetherClient], Awaitable[object]]
POSTS: dict[str, Call] = {
    "cancel": lambda client: client.decide(REF, Verb.CANCEL),
    "approve": lambda client: client.decide(
        REF, Verb.APPROVE, {"comment": "by hand", "mode": "REMEDIATION_MODE_REBOOT_VM"}
    ),
    "reject": lambda client: client.decide(REF, Verb.REJECT, {"comment": "by hand"}),
}
GETS: dict[str, Call] = {
    "get": lambda client: client.get(REF),
    "list": lambda client: client.list_remediations("cluster-1"),
    "clusters": lambda client: client.list_clusters(),
}


@pytest.fixture
def time() -> ManualClock:
    return ManualClock(passing=frozenset(WaitReason))


@pytest.fixture
async def api(time: ManualClock) -> AsyncIterator[Together]:
    async with Together(time.now) as together:
        together.add()
        yield together


def transport(limit: int) -> AiohttpTransport:
    return AiohttpTransport(ssl.create_default_context(), limit=limit, proxy=None)


@asynccontextmanager
async def client_of(
    api: Together, time: ManualClock, patience: Timeouts | None = None, limit: int = 10
) -> AsyncIterator[TogetherClient]:
    async with transport(limit) as line:
        yield TogetherClient(line, api.base_url, API_KEY, clock=time.clock, patience=patience, jitter=lambda: 0.5)


@pytest.fixture
async def client(api: Together, time: ManualClock) -> AsyncIterator[TogetherClient]:
    async with client_of(api, time) as made:
        yield made


async def test_cancel(api: Together, client: TogetherClient) -> None:
    assert (await client.decide(REF, Verb.CANCEL)).state == "CANCELLED"
    assert api.calls[0].body is None


async def test_approve_sends_comment_and_mode(api: Together, client: TogetherClient) -> None:
    approved = await client.decide(REF, Verb.APPROVE, {"comment": "by hand", "mode": "REMEDIATION_MODE_VM_ONLY"})
    assert (approved.state, approved.mode) == ("PENDING", "REMEDIATION_MODE_VM_ONLY")
    assert approved.review_comment == "by hand"
    assert api.calls[0].body == {"comment": "by hand", "mode": "REMEDIATION_MODE_VM_ONLY"}


async def test_approve_without_a_mode_runs_what_is_suggested(api: Together, client: TogetherClient) -> None:
    api.escalate(IDS, "REMEDIATION_MODE_HOST_POWER_CYCLE")
    assert (await client.decide(REF, Verb.APPROVE, {"comment": "x"})).mode == "REMEDIATION_MODE_HOST_POWER_CYCLE"
    assert api.calls[0].body == {"comment": "x"}


async def test_reject(client: TogetherClient) -> None:
    rejected = await client.decide(REF, Verb.REJECT, {"comment": "by hand"})
    assert (rejected.state, rejected.review_comment) == ("CANCELLED", "by hand")


async def test_list_reads_all_pages_of_all_instances(api: Together, client: TogetherClient) -> None:
    for number in range(120):
        api.add(("cluster-1", f"instance-{number % 7}", f"r{number}"), "RUNNING" if number % 2 else "PENDING_APPROVAL")
    assert len(await client.list_remediations("cluster-1")) == 121
    assert len([call for call in api.calls if call.verb == "list"]) == 3
    assert {remediation.state for remediation in await client.list_remediations("cluster-1", states=["RUNNING"])} == {
        "RUNNING"
    }
    assert {remediation.instance_id for remediation in await client.list_remediations("cluster-1", "instance-3")} == {
        "instance-3"
    }


async def test_list_of_nothing(api: Together, client: TogetherClient) -> None:
    api.clusters["another"] = "H100"
    assert await client.list_remediations("another") == []


async def test_pages_in_a_circle_end(time: ManualClock) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"remediations": [], "has_next": True, "next_page_token": "again"})

    async with httpx.MockTransport(answer) as line:
        with pytest.raises(UnreadableAnswer, match="endless pages"):
            await TogetherClient(line, "http://x/v1", "k", clock=time.clock).list_remediations("c")


async def test_clusters(api: Together, client: TogetherClient) -> None:
    api.add(("cluster-2", "i", "r"))
    assert [(cluster.cluster_id, cluster.cluster_name) for cluster in (await client.list_clusters())[0]] == [
        ("cluster-1", "cluster-1 (H100)"),
        ("cluster-2", "cluster-2 (H100)"),
    ]


async def test_ids_are_one_path_segment_each(api: Together, client: TogetherClient) -> None:
    ids = ("clüster;v=1&x", "i:1+2", "r!~*()[]$")
    with pytest.raises(InvalidId):
        RemediationRef(*ids)  # "=" is in no ID
    ids = ("clüster;v&x", "i:1+2", "r!~*()[]$💥")
    api.add(ids)
    assert (await client.decide(RemediationRef(*ids), Verb.CANCEL)).id == ids[2]


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a%2Fb", "a b", "a\x00b", "a\u202eb", "\ud800", "x" * 201])
async def test_what_is_no_id_is_refused_before_any_request(api: Together, client: TogetherClient, bad: str) -> None:
    with pytest.raises(InvalidId):
        await client.get(RemediationRef("c", bad, "r"))
    with pytest.raises(InvalidId):
        await client.list_remediations(bad)
    with pytest.raises(InvalidId):
        await client.list_remediations("c", bad)
    assert api.calls == []


async def test_unknown_values_and_fields_never_fail_a_parse(api: Together, client: TogetherClient) -> None:
    api.remediations[IDS].update(state="FROZEN", mode="M", trigger="T", create_time="?", new={"a": 1}, reason=["x"])
    found = await client.get(REF)
    assert (found.state, found.mode, found.trigger, found.create_time, found.reason) == ("FROZEN", "M", "T", None, None)


@pytest.mark.parametrize("field", ["id", "cluster_id", "instance_id", "state"])
async def test_a_missing_required_field_fails_the_parse(api: Together, client: TogetherClient, field: str) -> None:
    del api.remediations[IDS][field]
    with pytest.raises(UnreadableAnswer):
        await client.get(REF)


@pytest.mark.parametrize("field", ["mode", "trigger"])
async def test_what_waits_is_read_without_what_it_lacks(api: Together, client: TogetherClient, field: str) -> None:
    del api.remediations[IDS][field]
    assert getattr(await client.get(REF), field) == ""


BY_CODE: dict[int, type[TogetherError]] = {
    1: ServerError,
    2: ServerError,
    3: InvalidIds,
    4: ServerError,
    5: NotFound,
    6: WrongState,
    7: KeyRefused,
    8: RateLimited,
    9: WrongState,
    10: WrongState,
    11: RequestRefused,
    12: ServerError,
    13: ServerError,
    14: ServerError,
    15: ServerError,
    16: KeyRefused,
}


@pytest.mark.parametrize("call", [*POSTS.values(), *GETS.values()], ids=[*POSTS, *GETS])
@pytest.mark.parametrize("code", BY_CODE)
async def test_every_rpc_code_has_its_class(api: Together, client: TogetherClient, code: int, call: Call) -> None:
    api.faults.append(Fault("rpc", code=code, message="words", times=-1))
    with pytest.raises(BY_CODE[code]) as caught:
        await call(client)
    assert type(caught.value) is BY_CODE[code]
    assert caught.value.quote == "words"
    assert caught.value.details == [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SIMULATED", "domain": "simulator"}
    ]


BY_STATUS: dict[int, type[TogetherError]] = {
    400: RequestRefused,
    401: KeyRefused,
    403: RequestRefused,
    404: RequestRefused,
    405: RequestRefused,
    408: ServerError,
    409: WrongState,
    429: RateLimited,
    500: ServerError,
    502: ServerError,
    503: ServerError,
}


@pytest.mark.parametrize("status", BY_STATUS)
async def test_a_proxys_page_has_the_class_of_its_status(api: Together, client: TogetherClient, status: int) -> None:
    api.faults.append(Fault("html", status=status, times=-1))
    with pytest.raises(BY_STATUS[status]):
        await client.decide(REF, Verb.CANCEL)


UNREADABLE = ["html", "empty", "truncated", "other", "another", "redirect", "big", "gzip"]


@pytest.mark.parametrize("call", [*POSTS.values(), GETS["get"]], ids=[*POSTS, "get"])
@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_200_that_is_no_remediation_is_unreadable(
    api: Together, client: TogetherClient, kind: str, call: Call
) -> None:
    api.faults.append(Fault(kind, times=-1))
    with pytest.raises(UnreadableAnswer):
        await call(client)


async def test_a_redirect_does_not_carry_the_key_away(api: Together, client: TogetherClient) -> None:
    api.faults.append(Fault("redirect"))
    with pytest.raises(UnreadableAnswer):
        await client.decide(REF, Verb.CANCEL)
    assert [call.verb for call in api.calls] == ["cancel"]


@pytest.mark.parametrize("call", POSTS.values(), ids=POSTS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["cut", "hang", "drip"])
async def test_a_post_without_an_answer_is_not_repeated(
    api: Together, time: ManualClock, kind: str, call: Call, *, after: bool
) -> None:
    api.faults.append(Fault(kind, after=after))
    async with client_of(api, time) as client:
        await ends_without_answer(api, time, call(client))
    assert len(api.calls) == 1


async def ends_without_answer(api: Together, time: ManualClock, call: Awaitable[object]) -> None:
    """Let the client wait for an answer as long as it does, once its request has arrived."""
    calling = asyncio.ensure_future(call)
    await api.until(lambda: api.calls)
    await time.advance(Timeouts().attempt)
    with pytest.raises(NoAnswer):
        await calling


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_a_get_without_an_answer_ends(api: Together, time: ManualClock, kind: str) -> None:
    api.faults.append(Fault(kind, times=-1))
    async with client_of(api, time) as client:
        await ends_without_answer(api, time, client.get(REF))
    assert len(api.calls) == 1


@pytest.mark.parametrize("call", [*POSTS.values(), *GETS.values()], ids=[*POSTS, *GETS])
async def test_without_a_connection_a_get_is_tried_again_and_a_post_is_the_callers(
    api: Together, time: ManualClock, call: Call
) -> None:
    await api.stop()
    async with client_of(api, time) as client:
        with pytest.raises(NotReached):
            await call(client)
    assert time.slept(WaitReason.RETRY) == ([] if call in POSTS.values() else [0.5, 1.0])


@pytest.mark.parametrize(("raised", "means"), [
    (httpx.ConnectError, NotReached), (httpx.ConnectTimeout, NotReached), (httpx.ProxyError, NotReached),
    (httpx.ReadError, NoAnswer), (httpx.ReadTimeout, NoAnswer), (httpx.RemoteProtocolError, NoAnswer),
    (httpx.WriteError, NoAnswer), (httpx.WriteTimeout, NoAnswer),
])  # fmt: skip
async def test_only_a_post_without_a_connection_counts_as_not_reached(
    time: ManualClock, raised: type[httpx.TransportError], means: type[TogetherError]
) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise raised("simulated")

    async with httpx.MockTransport(fail) as line:
        with pytest.raises(means):
            await TogetherClient(line, "http://x/v1", "k", clock=time.clock).decide(REF, Verb.CANCEL)


async def test_a_full_pool_counts_as_not_reached(api: Together, time: ManualClock) -> None:
    api.faults.append(Fault("drip", times=-1))
    slow = Timeouts(connect=0.05, attempt=5)
    line = transport(1)
    async with httpx.AsyncClient(transport=line) as http:
        client = TogetherClient(line, api.base_url, API_KEY, clock=time.clock, patience=slow)
        async with http.stream("GET", f"{api.base_url}/compute/clusters"):
            with pytest.raises(NotReached):
                await client.decide(REF, Verb.CANCEL)


async def test_a_get_is_tried_three_times(api: Together, client: TogetherClient, time: ManualClock) -> None:
    api.faults.append(Fault("rpc", code=14, times=2))
    assert (await client.get(REF)).state == "PENDING_APPROVAL"
    assert (len(api.calls), time.slept(WaitReason.RETRY)) == (3, [0.5, 1.0])


async def test_a_get_takes_at_most_ten_seconds_in_all(api: Together, client: TogetherClient, time: ManualClock) -> None:
    api.faults.append(Fault("rpc", code=8, headers={"Retry-After": "6"}, times=-1))
    with pytest.raises(RateLimited):
        await client.get(REF)
    assert (len(api.calls), time.slept(WaitReason.RETRY)) == (2, [6.0])


async def test_an_endless_retry_after_is_told(api: Together, client: TogetherClient) -> None:
    api.faults.append(Fault("rpc", code=8, headers={"Retry-After": "9" * 400}))
    with pytest.raises(RateLimited, match=r"Try again in 11 days\. Until then, use the Together console"):
        await client.decide(REF, Verb.CANCEL)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (format_datetime(datetime.fromtimestamp(START + 8, UTC), usegmt=True), 8.0),
        ("Tue, 24 Nov 2026 03:00:08 -0000", 8.0),
        ("Tue, 24 Nov 2020 03:00:08 GMT", 0.0),
        ("soon", 0.5),
        ("-1", 0.5),
    ],
)
async def test_retry_after_is_seconds_or_a_date(
    api: Together, client: TogetherClient, time: ManualClock, value: str, seconds: float
) -> None:
    api.faults.append(Fault("rpc", code=8, headers={"Retry-After": value}))
    await client.get(REF)
    assert time.slept(WaitReason.RETRY) == [seconds]


async def test_an_error_carries_the_request_id(api: Together, client: TogetherClient) -> None:
    api.faults.append(Fault("rpc", code=9, headers={"x-request-id": "req-1"}))
    with pytest.raises(WrongState) as caught:
        await client.decide(REF, Verb.CANCEL)
    assert caught.value.request_id == "req-1"


@pytest.mark.parametrize("body", [b"[]", b'{"code": [], "message": 5, "details": {}}', b"[" * 100_000, b"\xff"])
async def test_a_strange_error_body_still_has_a_class(time: ManualClock, body: bytes) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(400, content=body))
    async with transport as line:
        with pytest.raises(RequestRefused) as caught:
            await TogetherClient(line, "http://x/v1", "k", clock=time.clock).decide(REF, Verb.CANCEL)
    assert (caught.value.quote, caught.value.details) == ("", ())


@pytest.mark.parametrize("answer", [{"remediations": {}}, {"remediations": [{}]}])
async def test_a_list_that_is_none_is_unreadable(time: ManualClock, answer: object) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))
    async with transport as line:
        with pytest.raises(UnreadableAnswer):
            await TogetherClient(line, "http://x/v1", "k", clock=time.clock).list_remediations("c")


async def test_an_answer_with_ids_that_are_none_is_about_another(api: Together, client: TogetherClient) -> None:
    api.remediations[IDS]["cluster_id"] = "a b"
    with pytest.raises(UnreadableAnswer, match="another remediation"):
        await client.get(REF)


async def test_secrets_that_together_quotes_are_removed(api: Together, client: TogetherClient) -> None:
    api.faults.append(Fault("rpc", code=7, message=f"no permission for {API_KEY}"))
    with pytest.raises(KeyRefused) as caught:
        await client.decide(REF, Verb.CANCEL)
    assert caught.value.quote == "no permission for [secret]"


def test_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/New_York")
        tzset()
        assert moment("Tue Nov 24 03:00:00 2026") == START
    tzset()


async def test_list_that_is_null_is_empty(time: ManualClock) -> None:
    answer = httpx.Response(200, json={"remediations": None, "has_next": False, "next_page_token": ""})
    async with httpx.MockTransport(lambda _request: answer) as line:
        assert await TogetherClient(line, "http://x/v1", "k", clock=time.clock).list_remediations("c") == []


async def test_more_pages_without_a_token_are_unreadable(time: ManualClock) -> None:
    answer = httpx.Response(200, json={"remediations": [], "has_next": True})
    async with httpx.MockTransport(lambda _request: answer) as line:
        with pytest.raises(UnreadableAnswer, match="more pages"):
            await TogetherClient(line, "http://x/v1", "k", clock=time.clock).list_remediations("c")


async def test_list_ends_after_so_many_pages_or_seconds(time: ManualClock) -> None:
    tokens = count()

    def page(_request: httpx.Request) -> httpx.Response:
        time.seconds += step
        return httpx.Response(200, json={"remediations": [], "has_next": True, "next_page_token": str(next(tokens))})

    async with httpx.MockTransport(page) as line:
        client = TogetherClient(line, "http://x/v1", "k", clock=time.clock)
        step = 0.0
        with pytest.raises(UnreadableAnswer, match="endless pages"):
            await client.list_remediations("c")
        assert next(tokens) <= MAX_PAGES + 2
        step = 7.0
        with pytest.raises(NoAnswer):
            await client.list_remediations("c")


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(api: Together, time: ManualClock) -> None:
    api.max_page = 200
    for number in range(40):
        api.add(("cluster-1", f"instance-{number}", f"r-{number}"), reason="x" * 50_000)
    patience = replace(Timeouts(), max_page=1024 * 1024)
    async with client_of(api, time, patience=patience) as client:
        assert len(await client.scan("cluster-1")) == 41
        first = len(api.calls)
        assert len(await client.scan("cluster-1")) == 41
        assert len(api.calls) - first == 4, "it remembers"
        for fields in api.remediations.values():
            fields["reason"] = ""
        assert len(await client.scan("cluster-1", states=["PENDING_APPROVAL"])) == 41
        assert len(await client.scan("cluster-1")) == 41


async def test_one_item_that_is_too_large_is_an_unreadable_answer(api: Together, time: ManualClock) -> None:
    api.add(reason="x" * 2_000_000)
    async with client_of(api, time, patience=replace(Timeouts(), max_page=1024 * 1024)) as client:
        with pytest.raises(UnreadableAnswer, match="larger than"):
            await client.scan("cluster-1")


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 01 Jan 2024 00:00:00 +99999999999999", "Mon, 01 Jan 99999 00:00:00 GMT"]
)
def test_odd_date_of_an_answer_counts_as_none(date: str) -> None:
    assert moment(date) is None


async def test_credential_of_a_cluster_is_not_kept(client: TogetherClient, api: Together) -> None:
    api.kube_config = secret = "".join(map(chr, range(65, 91)))
    kept = (await client.list_clusters())[0], await client.get_cluster("cluster-1")
    api.exchanges.clear()  # the simulator keeps what it has answered
    api.polls.clear()
    gc.collect()
    mine = [holder for holder in gc.get_objects() if not isinstance(holder, web.Response)]
    texts = [each for holder in mine for each in gc.get_referents(holder) if isinstance(each, str | bytes)]
    found = [text for text in texts if f'"{secret}"' in (text if isinstance(text, str) else text.decode("latin-1"))]
    assert kept[0][0].nodes == kept[1].nodes == 1
    assert found == []
