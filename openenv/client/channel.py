"""What a client needs from the network, and how a connection is opened over either kind of it.

A channel is ``ask(message) -> reply``. Two modules have one: `aio` (a protocol on an event loop) and
`blocking` (a socket, whose coroutines never suspend). The coroutines here and in `client` are
written once and run on both: `open_channel` and `fetch` know HTTP and WebSocket handshakes,
redirects and reasons, but no socket and no loop.

Reference: ``wire.md`` section 1; RFC 6455 section 4.1.
"""

from __future__ import annotations

import errno
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from openenv.client.address import Address, request_headers
from openenv.errors import ConnectError, ProtocolError
from openenv.protocol.client_websocket import Handshake, WebSocketClient
from openenv.protocol.http_client import Response, ResponseParser, serialize_request

__all__ = ["Channel", "Link", "Network", "Options", "fetch", "lost_error", "open_channel", "tls_context"]

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
RUNTIME_HEADER = "openenv-runtime"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What a client was told about its connection.

    Attributes:
        connect_timeout_s: Seconds for name, TCP, TLS and handshake together, > 0.
        max_message_bytes: Largest reply accepted.
        ping_interval_s: Seconds of silence after which the server is pinged, > 0; None never pings.
        ping_timeout_s: Seconds that a pong may take, > 0; None waits for ever.
        close_timeout_s: Seconds that a server gets to close its environment and the connection.
        headers: Sent with every request.
        token: Bearer token.
    """

    connect_timeout_s: float = 10.0
    max_message_bytes: int = 100 * 1024 * 1024
    ping_interval_s: float | None = 20.0
    ping_timeout_s: float | None = 20.0
    close_timeout_s: float = 10.0
    headers: Sequence[tuple[str, str]] = ()
    token: str | None = None


class Channel(Protocol):
    """One session's connection."""

    takes_timeout: bool
    """Whether the server said that it is one of ours, which accept ``timeout_s`` in a message."""
    asked: bool
    """Whether anything was asked yet: only then is there something to lose."""

    def is_usable(self) -> bool:
        """Whether something can be asked here and now, or a reply waits to be read."""

    def loss(self) -> ConnectError:
        """Why it is not usable."""

    def ask(self, message: bytes, timeout_s: float | None) -> bytes | Awaitable[bytes]:
        """Send one message and give back its reply, or what can be awaited for it.

        Asks run one at a time, in order of arrival. One that was given up (timeout, cancellation)
        leaves the channel usable: its reply is dropped when it comes.

        Raises:
            ReplyTimeoutError: No reply within ``timeout_s`` seconds.
            ConnectError: The connection is gone.
        """

    async def close(self) -> None:
        """End the session, and wait until the server has let go of it. Never raises."""

    def abandon(self) -> None:
        """Drop the connection without a word, from anywhere."""


class Link(Protocol):
    """A connection that speaks HTTP so far."""

    async def exchange(self, request: bytes, reader: Handshake | ResponseParser) -> Response:
        """Send a request and give back its response, as ``reader`` reads it."""

    def upgrade(self, wire: WebSocketClient, url: str, options: Options, takes_timeout: bool) -> Channel:
        """Make a channel of it, after a 101 response."""

    async def close(self) -> None:
        """Close it, if it was not upgraded."""


class Network(Protocol):
    """Where connections come from."""

    def limit(self, timeout_s: float) -> AbstractAsyncContextManager[Any]:
        """A block whose connecting and exchanging must be done within ``timeout_s``, else TimeoutError."""

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """A block that one task of the client at a time may be in."""

    async def dial(self, address: Address) -> Link:
        """Connect, over TLS where the address says so."""

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function that may take long, without holding up anybody else."""


async def open_channel(network: Network, address: Address, query: str, options: Options) -> Channel:
    """Open a session: connect, shake hands, follow redirects.

    Raises:
        ConnectError: It could not be done; the message names the URL and the reason.
    """
    url, target = _session_at(address, query)
    credentials: Address | None = address
    try:
        async with network.limit(options.connect_timeout_s):
            for _ in range(_MAX_REDIRECTS + 1):
                fields = _headers(address, credentials, options)
                link = await network.dial(address)
                channel: Channel | None = None
                try:
                    handshake = Handshake(address.authority, target, fields)
                    response = await link.exchange(handshake.request, handshake)
                    if response.status == 101:
                        handshake.check(response)
                        channel = link.upgrade(
                            WebSocketClient(options.max_message_bytes),
                            url,
                            options,
                            response.header(RUNTIME_HEADER) is not None,
                        )
                        return channel
                finally:
                    if channel is None:
                        await link.close()
                location = response.header("location")
                if response.status not in _REDIRECTS or location is None:
                    raise ConnectError(f"{url}: {_refusal(response)}")
                address, target = _follow(address, location)
                credentials = address if credentials and credentials.host == address.host else None
            raise ConnectError(f"{url}: more than {_MAX_REDIRECTS} redirects")
    except (OSError, ProtocolError, ValueError) as error:
        if isinstance(error, ConnectError):
            raise
        raise ConnectError(f"{url}: {_reason(error, options.connect_timeout_s)}") from error


@functools.lru_cache(maxsize=64)
def _session_at(address: Address, query: str) -> tuple[str, str]:
    """What a message calls it, and its target."""
    return address.url("/ws", websocket=True), address.target("/ws", query)


async def fetch(
    network: Network,
    address: Address,
    method: str,
    path: str,
    body: bytes,
    options: Options,
    timeout_s: float,
) -> Response:
    """One HTTP request to a route of the server, on a connection of its own.

    Raises:
        ConnectError: There was no response; the message names the URL and the reason.
    """
    url = address.url(path)
    target = address.target(path)
    credentials: Address | None = address
    try:
        async with network.limit(timeout_s):
            for _ in range(_MAX_REDIRECTS + 1):
                fields = [
                    ("Host", address.authority),
                    *_headers(address, credentials, options),
                    ("Accept", "application/json"),
                    ("Connection", "close"),
                ]
                if body:
                    fields.append(("Content-Type", "application/json"))
                link = await network.dial(address)
                try:
                    request = serialize_request(method, target, fields, body)
                    response = await link.exchange(request, ResponseParser())
                finally:
                    await link.close()
                location = response.header("location")
                if response.status not in _REDIRECTS or location is None or method != "GET":
                    return response
                address, target = _follow(address, location)
                credentials = address if credentials and credentials.host == address.host else None
            raise ConnectError(f"{url}: more than {_MAX_REDIRECTS} redirects")
    except (OSError, ProtocolError, ValueError) as error:
        if isinstance(error, ConnectError):
            raise
        raise ConnectError(f"{url}: {_reason(error, timeout_s)}") from error


def _headers(address: Address, credentials: Address | None, options: Options) -> list[tuple[str, str]]:
    """A redirect to another host must not carry what was meant for the first one."""
    if credentials is None:
        return request_headers(address, None, None)
    return request_headers(address, dict(options.headers), options.token)


def _follow(address: Address, location: str) -> tuple[Address, str]:
    following, target = address.follow("/ws", location)
    if address.secure and not following.secure:
        raise ProtocolError(f"redirected from TLS to plain text, to {following.url('/')}")
    return following, target


def _refusal(response: Response) -> str:
    text = " ".join(response.body.decode("utf-8", "replace").split())[:300]
    said = f"{response.status} {response.reason}".strip()
    hint = ""
    if response.status in (401, 403):
        hint = " (is there an environment under this path, and does it want a token?)"
    return f"the server answered the WebSocket handshake with {said}{': ' + text if text else ''}{hint}"


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be resolved: {error.strerror or error}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or getattr(error, 'reason', None) or error}"
    # asyncio tries several addresses and joins what went wrong into one text.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "connection refused: nothing listens there"
    return str(error) or type(error).__name__


def lost_error(url: str, why: str) -> ConnectError:
    """What is raised by a call on a session that is gone."""
    return ConnectError(f"{url}: {why}; the episode is gone with the session, reset() starts another")


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The operating system's trust; made once, because reading it takes tens of milliseconds."""
    return ssl.create_default_context()
