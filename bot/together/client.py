"""Together's remediation API over a handed-in transport of httpx.

A GET may be repeated. A POST has no idempotency key, so it is sent once: the caller may repeat one that certainly was
not taken, because no connection was made or Together answered 429. Everything else that is not a clear answer raises
`AmbiguousResponse`, and the caller reads the remediation back. Only one that took over from a dead process may then
send what had no effect.
"""

import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from bot import metrics
from bot.clock import Clock, WaitReason
from bot.errors import (
    AmbiguousResponse,
    NoAnswer,
    NotReached,
    RateLimited,
    TogetherError,
    UnreadableAnswer,
)
from bot.logs import SHORTEST_SECRET, lasting, named
from bot.models import Cluster, LinkedAlert, Remediation, RemediationRef, Verb, check_id, parts_of
from bot.together import answers

logger = logging.getLogger(__name__)

ALL_INSTANCES = "-"
MAX_PAGES = 500
FIRING_PAGES = 20  # more than that is a storm of calls for a list that is read with each poll
ATTEMPTS = 3
READ_SECONDS = 10.0
SCAN_SECONDS = 60.0  # a list with all its pages
POST_WAIT_SECONDS = 10.0  # between two attempts of a POST; what would take longer is told instead
MAX_BODY = 1024 * 1024  # bytes of an answer about one thing
# The transport raises these before a byte of the request is written (bot/transport.py).
_UNSENT = httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError
# Compressed answers are not asked for: a small one could unpack to more than memory holds.
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"python-httpx/{httpx.__version__}"}
PAGE_SIZE = 200  # a server that allows fewer gives fewer (google.aip.dev/158)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the client waits, in seconds, and how much it reads, in bytes.

    Attributes:
        attempt: one request in all; a server that drips a byte at a time passes every timeout per read.
        get: a GET with all its attempts.
        max_page: of a page of a list, or of a cluster.
    """

    connect: float = 3
    attempt: float = 15
    get: float = 10
    max_page: int = 16 * MAX_BODY


_url = lru_cache(maxsize=4096)(httpx.URL)  # the lists of thousands of clusters are asked for again and again


class TogetherClient:
    """The calls that the bot makes.

    Args:
        transport: pooled, for the whole process; the caller closes it.
        base_url: with its `/v1`, without a slash at the end.
        api_key: sent as a bearer token, and nowhere else: redirects are not followed.
        jitter: a number from 0 to 1, so that several bots do not retry in step.

    Raises:
        TogetherError: from every call; its subclass says what happened.
    """

    def __init__(  # noqa: PLR0913 - the last two have defaults and exist for tests
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        api_key: str,
        *,
        clock: Clock,
        patience: Timeouts | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._base_url = base_url
        self._keys: set[bytes] = set()
        self.use_key(api_key)
        self._clock = clock
        self._patience = patience or Timeouts()
        self._jitter = jitter
        self._page_sizes: dict[str, int] = {}  # of those lists whose pages were too large

    def use_key(self, api_key: str) -> None:
        """Call with this key from now on; the old one stays a secret."""
        if len(api_key) >= SHORTEST_SECRET:
            self._keys.add(api_key.encode())
        self._headers = {**_HEADERS, "Authorization": f"Bearer {api_key}"}

    async def decide(self, ref: RemediationRef, verb: Verb, body: Mapping[str, str] | None = None) -> Remediation:
        """Approve, reject, or cancel a remediation.

        Args:
            body: its `comment` is stored by Together as `review_comment`; an approval's `mode` runs, even if another is
                suggested by now. Cancel takes none.
        """
        answer = await self._send(verb, "POST", f"{_path(ref)}/{verb}", body=body, seconds=self._patience.attempt)
        return answers.remediation(answer, ref, is_done=True)

    def wait_before_repeat(self, error: NotReached | RateLimited, attempt: int) -> float | None:
        """Return how many seconds to wait before a POST that was not taken is sent again; None to give up."""
        wait = self._wait(error, attempt)
        return None if attempt == ATTEMPTS or wait > POST_WAIT_SECONDS else wait

    async def get(self, ref: RemediationRef) -> Remediation:
        """Read a remediation."""
        return answers.remediation(await self._get("get", _path(ref)), ref)

    async def list_remediations(
        self, cluster_id: str, instance_id: str = ALL_INSTANCES, *, states: Sequence[str] = ()
    ) -> list[Remediation]:
        """List the remediations of a cluster, all pages of them; like `scan`, but each of them read.

        Raises:
            UnreadableAnswer: also where one of them cannot be read.
        """
        return [answers.parse(Remediation, item) for item in await self.scan(cluster_id, instance_id, states=states)]

    async def scan(self, cluster_id: str, instance_id: str = ALL_INSTANCES, *, states: Sequence[str] = ()) -> list[Any]:
        """List the remediations of a cluster as Together words them, all pages of them.

        Args:
            instance_id: one instance; by default all of the cluster.
            states: only those in one of these states; by default all.

        Raises:
            InvalidId: a part of the path is no ID.
            UnreadableAnswer: also where the pages run in a circle.
        """
        path = f"/compute/clusters/{_segment('cluster', cluster_id)}/instances/{_segment('instance', instance_id)}"
        params = {"state": ",".join(states)} if states else {}
        pages = self._pages("list", f"{path}/remediations", "remediations", params)
        return [item async for page in pages for item in page]

    async def firing(self, cluster_id: str) -> tuple[list[LinkedAlert], bool]:
        """List the health check alerts of a cluster that are firing now, the newest first, and whether that is all.

        Raises:
            InvalidId: it is no ID.
        """
        params = {"cluster_id": check_id("cluster", cluster_id), "status": "PHC_ALERT_STATUS_FIRING"}
        firing: list[LinkedAlert] = []
        pages = 0
        try:
            async with self._clock.timeout(self._patience.get):
                async for page in self._pages("alerts", "/compute/passive_health_check_alerts", "alerts", params):
                    read = [answers.parse(LinkedAlert, item) for item in page if isinstance(item, dict)]
                    firing += [
                        alert for alert in read if alert.cluster_id in {None, cluster_id} and alert.resolved_at is None
                    ]
                    if (pages := pages + 1) == FIRING_PAGES:
                        return firing, False
        except (TogetherError, TimeoutError) as error:
            if not pages:
                raise NoAnswer if isinstance(error, TimeoutError) else error from None
            return firing, False  # the first pages are of use
        return firing, True

    async def _pages(self, call: str, path: str, name: str, params: Mapping[str, str]) -> AsyncIterator[list[Any]]:
        """Yield the items of each page of a list; `call` is what metrics name it.

        Raises:
            NoAnswer: also where all of them take too long.
            UnreadableAnswer: also where they run in a circle.
        """
        which = f"{path} {params.get('cluster_id', '')}"  # the same for all pages
        seen: set[str] = set()
        give_up_at = self._clock.monotonic() + SCAN_SECONDS
        while True:
            page = await self._page(call, which, path, params)
            yield answers.items(page, name)
            token = page.get("next_page_token")
            more = page.get("has_next")
            if not (token if more is None else more):  # not every list has it
                if not seen:
                    self._page_sizes.pop(which, None)  # all of it fits into one page again
                return
            if not isinstance(token, str) or not token:
                raise UnreadableAnswer("more pages without a token")
            if token in seen or len(seen) >= MAX_PAGES:
                raise UnreadableAnswer("endless pages")
            if self._clock.monotonic() > give_up_at:
                raise NoAnswer
            seen.add(token)
            params = {**params, "page_token": token}

    async def _page(self, call: str, which: str, path: str, params: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
        """Read a page of a list; a smaller one where it is too large to be read."""
        while True:
            size = self._page_sizes.get(which, PAGE_SIZE)
            try:
                return await self._get(call, path, {**params, "page_size": str(size)})
            except UnreadableAnswer as error:
                if not error.is_too_large or size == 1:
                    raise
                self._page_sizes[which] = size // 2
                logger.warning("together GET %s: the page is too large; asking for %d at a time", path, size // 2)

    async def get_cluster(self, cluster_id: str) -> Cluster:
        """Read a cluster.

        Raises:
            InvalidId: it is no ID.
        """
        path = f"/compute/clusters/{_segment('cluster', cluster_id)}"
        answer = await self._get("cluster", path, {})  # with all its nodes it's as large as a page
        return answers.parse(Cluster, answer)

    async def list_clusters(self) -> tuple[list[Cluster], bool]:
        """List the clusters that the key sees, as far as they can be read, and whether that is all."""
        clusters, is_all = [], True
        for item in answers.items(await self._get("clusters", "/compute/clusters", {}), "clusters"):
            try:
                clusters.append(answers.parse(Cluster, item))
            except UnreadableAnswer as error:
                logger.warning("Can't read a cluster in the list: %s", error, extra=lasting())  # the others can
                is_all = False
        return clusters, is_all

    async def _get(self, call: str, path: str, params: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        give_up_at = self._clock.monotonic() + self._patience.get
        attempt = 1
        while True:
            left = give_up_at - self._clock.monotonic()
            try:
                return await self._send(call, "GET", path, params=params, seconds=min(left, self._patience.attempt))
            except (NotReached, RateLimited, AmbiguousResponse) as error:
                wait = self._wait(error, attempt)
                is_too_large = isinstance(error, UnreadableAnswer) and error.is_too_large
                is_final = is_too_large or error.http_status == httpx.codes.NOT_IMPLEMENTED  # as it would be again
                if is_final or attempt == ATTEMPTS or self._clock.monotonic() + wait >= give_up_at:
                    raise
            await self._clock.sleep(wait, WaitReason.RETRY)
            attempt += 1

    def _wait(self, error: TogetherError, attempt: int) -> float:
        if isinstance(error, RateLimited) and error.retry_after is not None:
            return error.retry_after
        return 0.5 * 2.0 ** (attempt - 1) * (0.5 + self._jitter())

    async def _send(  # noqa: PLR0913 - what a call has
        self,
        call: str,
        method: str,
        path: str,
        *,
        seconds: float,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        connect = self._patience.connect
        extensions = {"timeout": httpx.Timeout(READ_SECONDS, connect=connect, pool=connect).as_dict()}
        address = self._base_url + path
        url = _url(f"{address}?{urlencode(params)}") if params else address
        request = httpx.Request(method, url, json=body, headers=self._headers, extensions=extensions)
        limit = MAX_BODY if params is None else self._patience.max_page
        try:
            with metrics.TOGETHER_SECONDS.labels(call).time():
                async with self._clock.timeout(seconds):
                    reply, content = await self._exchange(request, limit)
        except (httpx.HTTPError, TimeoutError) as error:
            is_unsent = isinstance(error, _UNSENT)
            metrics.TOGETHER_CALLS.labels(call, "not reached" if is_unsent else "no answer").inc()
            extra = lasting() if method == "GET" else None
            logger.warning("together %s %s: %s", method, path, named(error), extra=extra)
            raise NotReached if is_unsent else NoAnswer from error
        status, request_id = reply.status_code, reply.headers.get("x-request-id")
        metrics.TOGETHER_CALLS.labels(call, str(status)).inc()
        level = logging.DEBUG if method == "GET" and reply.is_success else logging.INFO
        extra = lasting(path, status) if method == "GET" and not reply.is_success else None
        logger.log(level, "together %s %s: HTTP %d, request %s", method, path, status, request_id, extra=extra)
        answer = answers.read_json(content)
        if reply.is_success:
            if not isinstance(answer, dict):
                raise UnreadableAnswer("not a JSON object")
            # What the headers say travels with the answer, for the audit trail.
            answered_at = answers.moment(reply.headers.get("date", ""))  # by the server's own clock
            return {**answer, "http_status": status, "request_id": request_id, "answered_at": answered_at}
        refused = answers.refusal(reply, answer, self._clock.now())
        refused.request_id, refused.http_status = request_id, status
        if refused.details:
            logger.warning("together %s %s: details %s", method, path, json.dumps(refused.details)[:2000], extra=extra)
        raise refused

    async def _exchange(self, request: httpx.Request, limit: int) -> tuple[httpx.Response, bytes]:
        """Send a request, and return the answer with its body, which may have up to `limit` bytes."""
        # Without httpx's client, whose redirects, cookies, and logins aren't wanted, a call takes half the CPU.
        async with aclosing(await self._transport.handle_async_request(request)) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise UnreadableAnswer("compressed")
            chunks = bytearray()
            async for chunk in response.aiter_bytes():
                chunks += chunk
                if len(chunks) > limit:
                    raise UnreadableAnswer(f"larger than {limit // 1024 // 1024} MiB", is_too_large=True)
            # What Together says may be shown, and an error may quote the key. It is sent no other secret, and to look
            # for those would black out words of its answers that are somebody's password.
            content = bytes(chunks)
            for key in self._keys:
                content = content.replace(key, b"[secret]")
            return response, content


def _segment(part: str, value: str) -> str:
    return quote(check_id(part, value), safe="")


def _path(ref: RemediationRef) -> str:
    cluster, instance, remediation = (quote(part, safe="") for part in parts_of(ref))
    return f"/compute/clusters/{cluster}/instances/{instance}/remediations/{remediation}"
