"""Opening a session: redirects, refusals, reasons; over a network that is none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from openenv.client.address import Address
from openenv.client.channel import Options, fetch, open_channel
from openenv.errors import ConnectError
from openenv.protocol.client_websocket import Handshake, WebSocketClient
from openenv.protocol.http11 import RequestParser
from openenv.protocol.http_client import Response, ResponseParser
from openenv.protocol.websocket import accept_upgrade


class FakeNetwork:
    """Answers requests with a function; remembers them."""

    def __init__(self, answer: Callable[[str, Any], bytes]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, Any]] = []
        self.n_open = 0

    def limit(self, timeout_s: float) -> Any:
        """No limit."""
        return nullcontext()

    def turn(self) -> Any:
        """No waiting."""
        return nullcontext()

    async def dial(self, address: Address) -> FakeLink:
        """Connect to nobody."""
        self.n_open += 1
        return FakeLink(self, address)

    async def call(self, function: Callable[[], Any]) -> Any:
        """At once."""
        return function()


class FakeLink:
    """One connection of `FakeNetwork`."""

    def __init__(self, network: FakeNetwork, address: Address) -> None:
        self.network = network
        self.address = address

    async def exchange(self, request: bytes, reader: Handshake | ResponseParser) -> Response:
        """The network's answer."""
        parser = RequestParser()
        parser.receive_data(request)
        parsed = parser.next_event()
        self.network.requests.append((self.address.url("", websocket=False), parsed))
        answer = self.network.answer(self.address.host, parsed)
        whole = reader.receive_data(answer) or reader.receive_eof()
        assert whole is not None
        return whole

    def upgrade(self, wire: WebSocketClient, url: str, options: Options, takes_timeout: bool) -> Any:
        """Something that says what it was made of."""
        return url, takes_timeout

    async def close(self) -> None:
        """Counted."""
        self.network.n_open -= 1


def run(coroutine: Any) -> Any:
    """Nothing here waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it suspended")


def accept(request: Any, extra: list[tuple[str, str]] | None = None) -> bytes:
    """What a server answers."""
    return accept_upgrade(request.target, list(request.headers), extra)[1]


def test_a_session_is_opened_where_the_url_says() -> None:
    """With headers, and the query of the session."""
    network = FakeNetwork(lambda host, request: accept(request))
    options = Options(headers=(("X-A", "1"),), token="t")
    assert run(open_channel(network, Address.parse("http://h/p"), "session_id=9", options)) == (
        "ws://h/p/ws",
        False,
    )
    request = network.requests[0][1]
    assert (request.target, request.header("host")) == ("/p/ws?session_id=9", "h")
    assert (request.header("x-a"), request.header("authorization")) == ("1", "Bearer t")


def test_a_server_of_ours_is_known_by_its_header() -> None:
    """So that `timeout_s` is sent to nobody who would refuse it."""
    network = FakeNetwork(lambda host, request: accept(request, [("OpenEnv-Runtime", "1")]))
    assert run(open_channel(network, Address.parse("http://h"), "", Options()))[1]


def test_a_redirect_is_followed_without_taking_secrets_to_strangers() -> None:
    """To the same host they go along."""
    moves = {"one": "https://two/x", "two": "https://two/there", "three": ""}

    def answer(host: str, request: Any) -> bytes:
        if request.target == "/there":
            return accept(request)
        return f"HTTP/1.1 307 Moved\r\nLocation: {moves[host]}\r\nContent-Length: 0\r\n\r\n".encode()

    network = FakeNetwork(answer)
    options = Options(headers=(("X-Key", "secret"),), token="t")
    run(open_channel(network, Address.parse("http://one"), "", options))
    shown = [
        (url, request.header("authorization"), request.header("x-key")) for url, request in network.requests
    ]
    assert shown == [
        ("http://one", "Bearer t", "secret"),
        ("https://two", None, None),
        ("https://two", None, None),
    ]
    assert network.n_open == 1


@pytest.mark.parametrize("location", ["/again", "http://h/ws", "mailto:x"])
def test_redirects_that_lead_nowhere_are_an_error(location: str) -> None:
    """In circles, to plain text, to no server."""
    network = FakeNetwork(
        lambda host, request: (
            f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )
    )
    with pytest.raises(ConnectError, match="wss://h/ws: "):
        run(open_channel(network, Address.parse("https://h"), "", Options()))
    assert network.n_open == 0


def test_a_refusal_is_shown_with_its_text() -> None:
    """The first lines of the body often say why."""
    network = FakeNetwork(lambda host, request: b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nstarting\n")
    with pytest.raises(
        ConnectError, match="ws://h/ws: the server answered the WebSocket handshake with 503 Busy: starting"
    ):
        run(open_channel(network, Address.parse("http://h"), "", Options()))
    assert network.n_open == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "x"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved: Name or service"),
        (TimeoutError(), "no answer within 10 s"),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "TLS: "),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_the_error_names_the_url_and_the_reason(error: OSError, reason: str) -> None:
    """Without user info, which may be secret."""

    def answer(host: str, request: Any) -> bytes:
        raise error

    with pytest.raises(ConnectError, match=f"^ws://h/ws: .*{reason}") as caught:
        run(open_channel(FakeNetwork(answer), Address.parse("ws://me:secret@h"), "", Options()))
    assert caught.value.__cause__ is error


def test_a_route_is_fetched_over_a_connection_of_its_own() -> None:
    """With the same headers, following redirects of GET."""

    def answer(host: str, request: Any) -> bytes:
        if request.target == "/schema":
            return b"HTTP/1.1 301 Moved\r\nLocation: https://h/p/schema\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    network = FakeNetwork(answer)
    response = run(fetch(network, Address.parse("http://h"), "GET", "/schema", b"", Options(token="t"), 1))
    assert (response.body, network.n_open) == (b"{}", 0)
    assert [request.header("authorization") for _, request in network.requests] == ["Bearer t"] * 2
