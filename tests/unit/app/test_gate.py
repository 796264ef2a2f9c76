"""Who may come in: hosts, origins and the token."""

from __future__ import annotations

import asyncio
import base64

import pytest

from openenv.app.gate import Gate, is_loopback
from openenv.config import resolve
from openenv.protocol.http11 import Request, RequestParser
from tests.support import envs
from tests.support.worker import Worker

OPEN = frozenset({"/health", "/web"})


def refusal(head: str, **knobs: object) -> int | None:
    """Status of the refusal, None where the request is let in."""
    parser = RequestParser()
    lines = head.splitlines()
    parser.receive_data("\r\n".join([f"{lines[0]} HTTP/1.1", *lines[1:], "", ""]).encode())
    request = parser.next_event()
    assert isinstance(request, Request)
    response = Gate(resolve(knobs, {}, {}), OPEN).refusal(request)
    return None if response is None else response.status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", None),
        ("localhost", None),
        ("LOCALHOST.:80", None),
        ("app.localhost:1", None),
        ("[::1]:8000", None),
        ("127.9.9.9", None),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("10.0.0.1", 421),
        ("a" * 400 + ".localhost", 421),  # no name is that long
    ],
)
def test_a_server_on_loopback_answers_to_loopback_names_only(host: str, status: int | None) -> None:
    """A name that was made to point here is a stranger's page."""
    assert refusal(f"GET /health\nHost: {host}", host="127.0.0.1") == status
    assert refusal(f"GET /health\nHost: {host}", host="0.0.0.0") is None
    assert refusal(f"GET /health\nHost: {host}", host="127.0.0.1", allow_host="*") is None


def test_further_names_can_be_allowed() -> None:
    """For who has a proxy in front of a loopback port."""
    assert refusal("GET /\nHost: A.example:8", host="localhost", allow_host="a.example, b.example") is None
    assert refusal("GET /\nHost: c.example", host="localhost", allow_host="a.example, b.example") == 421


UPGRADE = "Upgrade: websocket\nConnection: Upgrade"


@pytest.mark.parametrize("asked", [f"GET /ws\n{UPGRADE}", "POST /step", "DELETE /mcp"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("", None),
        ("\nOrigin: http://env.example:8000", None),
        ("\nOrigin: https://ENV.example:8000", None),
        ("\nOrigin: http://evil.example", 403),
        ("\nOrigin: http://env.example", 403),
        ("\nOrigin: null", 403),
        ("\nOrigin: http://front.example\nX-Forwarded-Host: front.example", None),
    ],
)
def test_pages_of_other_sites_may_not_ask(asked: str, fields: str, status: int | None) -> None:
    """Programs, which send no origin, may."""
    assert refusal(f"{asked}\nHost: env.example:8000{fields}") == status


def test_origins_can_be_allowed() -> None:
    """Each by its name, or all."""
    head = "POST /step\nHost: a\nOrigin: https://b.example"
    assert refusal(head) == 403
    assert refusal(head, allow_origin="https://c.example,https://B.example/") is None
    assert refusal(head, allow_origin="*") is None


def test_reading_needs_no_origin() -> None:
    """A browser does not show another site's page what it reads here."""
    assert refusal("GET /schema\nHost: a\nOrigin: https://b.example") is None


def protocol(token: str) -> str:
    text = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return f"Sec-WebSocket-Protocol: openenv, openenv.token.{text}"


def basic(password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /schema\nHost: a", 401),
        ("GET /health\nHost: a", None),
        ("GET /web\nHost: a", None),
        ("GET /schema\nHost: a\nAuthorization: Bearer s3cret-é", None),
        ("GET /schema\nHost: a\nAuthorization: bearer  s3cret-é", None),
        ("GET /schema\nHost: a\nAuthorization: Bearer s3cret", 401),
        ("GET /schema\nHost: a\nAuthorization: Bearer", 401),
        (f"GET /schema\nHost: a\n{basic('s3cret-é')}", None),
        (f"GET /schema\nHost: a\n{basic('other')}", 401),
        ("GET /schema\nHost: a\nAuthorization: Basic ???", 401),
        (f"GET /ws\nHost: a\n{UPGRADE}", 401),
        (f"GET /ws\nHost: a\n{UPGRADE}\n{protocol('s3cret-é')}", None),
        (f"GET /ws\nHost: a\n{UPGRADE}\n{protocol('other')}", 401),
        (f"GET /ws\nHost: a\n{UPGRADE}\nSec-WebSocket-Protocol: openenv.token.\x7e", 401),
        (f"GET /schema\nHost: a\n{protocol('s3cret-é')}", 401),
    ],
)
def test_where_there_is_a_token_it_must_be_known(head: str, status: int | None) -> None:
    """By header, as a browser's password, or by a WebSocket's subprotocol."""
    assert refusal(head, token="s3cret-é") == status


def test_what_is_loopback() -> None:
    """Names are not looked up."""
    assert is_loopback("::1")
    assert is_loopback("127.0.0.53")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("localhost.example")


def answer(head: str, **knobs: object) -> str:
    """What a worker with these knobs answers."""

    async def main() -> str:
        async with Worker(envs.LoopEnv, **knobs) as worker:
            transport = worker.connect()
            transport.protocol.data_received(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            return (await transport.until(b"\r\n\r\n")).decode("latin-1")

    return asyncio.run(main())


HANDSHAKE = (
    f"GET /ws HTTP/1.1\nHost: a\n{UPGRADE}\nSec-WebSocket-Version: 13\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


def test_a_worker_asks_the_gate_first() -> None:
    """For requests and for WebSockets; no session is made for who may not come in."""
    assert answer("GET /schema HTTP/1.1\nHost: a", token="x").startswith("HTTP/1.1 401 ")
    assert answer(HANDSHAKE, token="x").startswith("HTTP/1.1 401 ")
    assert answer(f"{HANDSHAKE}\nOrigin: http://b").startswith("HTTP/1.1 403 ")
    assert answer(f"{HANDSHAKE}\nAuthorization: Bearer x", token="x").startswith("HTTP/1.1 101 ")


def test_the_subprotocol_that_carries_a_token_is_answered() -> None:
    """A browser ends a WebSocket whose answer names none of what it offered; the token is not repeated."""
    accepted = answer(f"{HANDSHAKE}\n{protocol('x')}", token="x")
    assert accepted.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Protocol: openenv\r\n" in accepted
    assert "openenv.token" not in accepted
