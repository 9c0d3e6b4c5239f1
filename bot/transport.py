"""How httpx's requests leave: over aiohttp, whose connections cost less than half as much CPU a request.

Only a connection that was never made may be called that: httpx's ConnectError, ConnectTimeout, or ProxyError. After any
other error, the request may have arrived. A ConnectError says why, for logs. The others have no words, since aiohttp's
quote the URL.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bot.tasks import in_thread

_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
_KEPT_SECONDS = 5.0  # a connection without a request: as httpx has it, since many servers close after ten or more
_ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Resolver(AbstractResolver):
    """Looks up each host in a separate thread: uvloop has two for all, and two lookups that hang stop the rest."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        name = host.encode()  # of text, Python refuses an empty or long label with an error that is no OSError
        addresses = await in_thread(socket.getaddrinfo, name, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        return [
            ResolveResult(
                hostname=host, host=socket.getnameinfo(to, _NUMERIC)[0], port=port, family=of, proto=proto, flags=0
            )
            for of, _, proto, _, to in addresses  # a link-local address has an interface behind it
        ]

    async def close(self) -> None:
        """Leave the threads alone: each ends with its answer."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests, each once: aiohttp repeats what a closed connection has lost, but never a POST (aiohttp 3.14).

    Args:
        limit: connections at a time.
        proxy: through which all of them go.
    """

    def __init__(self, trusted: ssl.SSLContext, *, limit: int, proxy: str | None) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limit, ssl=trusted, keepalive_timeout=_KEPT_SECONDS, resolver=Resolver()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_ADDED_BY_AIOHTTP,
            max_field_size=65_536,  # an event whose answer has a longer header, or more of them, is sent again
            max_headers=1000,
            proxy=proxy,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer from its first byte on."""
        seconds = request.extensions["timeout"]
        with _errors_of_httpx():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True).with_user(None),  # whose login httpx has put into the headers
                data=request.content or None,
                headers=request.headers.multi_items(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=seconds["pool"], sock_connect=seconds["connect"], sock_read=seconds["read"]
                ),
            )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        self._response.close()  # one that was read to its end has given its connection back


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("") from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(_why(error.os_error)) from error
    except aiohttp.ClientHttpProxyError as error:  # what the proxy says before it passes anything on
        raise httpx.ProxyError("") from error
    except aiohttp.SocketTimeoutError as error:
        raise httpx.ReadTimeout("") from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError("") from error


def _why(error: OSError) -> str:
    """Return why no connection was made, such as "Connection refused" or "certificate has expired"."""
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message.rstrip(".")
        case ssl.SSLError():  # its number isn't the system's
            return error.reason or "no TLS"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case _:  # such as of a name server
            return error.strerror or str(error)
