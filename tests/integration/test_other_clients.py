"""Other people's programs against our server: curl, httpx, aiohttp, Node's ``ws``, bare sockets.

Each speaks the protocol its own way (pipelines, chunks, asks before it sends, compresses,
fragments), and each must get what any HTTP or WebSocket server would give it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from tests.support.peers import node_peer
from tests.support.server import Server, serve

MODULE = "tests.conformance.reference_native"
NODE_SCRIPT = Path(__file__).parent / "node" / "session.mjs"
ECHO = {"action": {"op": "echo", "text": "hello"}}
RESET = {"type": "reset", "data": {}}
STATE = {"type": "state"}
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(f"{MODULE}:app") as running:
        yield running


def step(text: str) -> dict[str, Any]:
    return {"type": "step", "data": {"op": "echo", "text": text}}


# -- curl ------------------------------------------------------------------------------------------


def curl(*args: str, stdin: bytes = b"") -> str:
    """Run curl; gives its standard output. Skips where there is none."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [program, "-sS", "--max-time", str(TIMEOUT_S), *args],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=2 * TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_curl_gets_health(server: Server) -> None:
    """The first thing anybody types."""
    assert json.loads(curl(f"{server.url}/health")) == {"status": "healthy"}


def test_curl_posts_a_step(server: Server) -> None:
    """As the documentation shows it."""
    answer = json.loads(
        curl(f"{server.url}/step", "-H", "Content-Type: application/json", "-d", json.dumps(ECHO))
    )
    assert answer["observation"]["text"] == "hello"


def test_curl_head_has_the_length_and_no_body(server: Server) -> None:
    """``curl -I`` ends, and says how long the body of GET would be."""
    answer = curl("-I", f"{server.url}/health")
    assert answer.startswith("HTTP/1.1 200")
    assert f"content-length: {len(curl(f'{server.url}/health'))}" in answer.lower()
    assert answer.endswith("\r\n\r\n")


def test_curl_uploads_in_chunks(server: Server) -> None:
    """A body of unknown length, as from a pipe."""
    body = json.dumps({"action": {"op": "echo", "text": "z" * 300_000}}).encode()
    answer = curl(
        f"{server.url}/step",
        *("-H", "Content-Type: application/json", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-"),
        stdin=body,
    )
    assert len(json.loads(answer)["observation"]["text"]) == 300_000


def test_curl_is_told_to_continue(server: Server) -> None:
    """``Expect: 100-continue`` is answered at once, not after curl's own patience of a second."""
    answer = curl(
        *("-v", "--stderr", "-", "--expect100-timeout", "20", "--max-time", "15"),
        *("-H", "Content-Type: application/json", "-H", "Expect: 100-continue"),
        *("-d", json.dumps(ECHO), f"{server.url}/step"),
    )
    assert "HTTP/1.1 100 Continue" in answer
    assert "HTTP/1.1 200 OK" in answer


def test_curl_keeps_its_connection_over_several_requests(server: Server) -> None:
    """One connection, GET and POST and HEAD on it."""
    answer = curl(
        *("-v", "--stderr", "-", f"{server.url}/health", f"{server.url}/metadata", f"{server.url}/nowhere")
    )
    assert answer.count("HTTP/1.1 200") == 2
    assert answer.count("HTTP/1.1 404") == 1
    assert answer.lower().count("re-using") + answer.lower().count("reusing") >= 2, answer


def test_curl_speaks_http_1_0(server: Server) -> None:
    """An old client is answered and hung up on."""
    answer = curl("--http1.0", "-i", f"{server.url}/health")
    assert " 200 " in answer.splitlines()[0]
    assert answer.endswith('{"status":"healthy"}')


def test_curl_upgrades_by_hand(server: Server) -> None:
    """The accept key of RFC 6455 section 1.3, as curl sees it."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    # curl knows no frames: it stays on the open connection until its time is over.
    answer = subprocess.run(
        [
            *(program, "-sS", "-i", "-N", "--max-time", "1", "--http1.1"),
            *("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13"),
            *("-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"{server.url}/ws"),
        ],
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    ).stdout.decode("latin-1")
    assert answer.startswith("HTTP/1.1 101")
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


# -- bare sockets ----------------------------------------------------------------------------------


def exchange_raw(server: Server, data: bytes) -> bytes:
    """Send bytes, say that no more will come, read to the end."""
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := raw.recv(1 << 16):
            received += chunk
    return received


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Slow ones do not let quick ones overtake."""
    slow = json.dumps({"action": {"op": "sleep", "anything": 0.2}}).encode()
    head = b"Host: localhost\r\n"
    post = b"POST /step HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\nContent-Length: "
    requests = [
        post + str(len(slow)).encode() + b"\r\n\r\n" + slow,
        b"GET /health HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /nowhere HTTP/1.1\r\n" + head + b"\r\n",
        b"HEAD /health HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /metadata HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n",
    ]
    received = exchange_raw(server, b"".join(requests))
    marks = [b"slept", b'{"status":"healthy"}', b"Not Found", b'"name":"ReferenceEnvironment"']
    places = [received.find(mark) for mark in marks]
    assert -1 not in places, received
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 ") == 5


def test_a_request_in_single_bytes_is_understood(server: Server) -> None:
    """The slowest network there is."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            raw.sendall(bytes([byte]))
        received = b""
        while chunk := raw.recv(1 << 16):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n", 400),
        (b"POST /step HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /step HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST /step HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /step HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"A: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"A: a\r\n" * 200 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_a_broken_request_is_refused_and_hung_up_on(
    server: Server, request_bytes: bytes, status: int
) -> None:
    """A 4xx (505 for a version), a close, and no exception in the log."""
    received = exchange_raw(server, request_bytes)
    assert received.startswith(f"HTTP/1.1 {status} ".encode()), received[:200]
    assert b"connection: close" in received.lower()
    assert "Traceback" not in server.log


# -- httpx -----------------------------------------------------------------------------------------


def test_httpx_plays_over_http(server: Server) -> None:
    """Every route of the contract through one keep-alive client."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
        assert client.get("/health").json() == {"status": "healthy"}
        assert set(client.get("/schema").json()) == {"action", "observation", "reset_observation", "state"}
        assert client.get("/metadata").json()["name"] == "ReferenceEnvironment"
        assert client.post("/reset", json={"seed": 4}).json()["observation"]["value"] == [4, None, "easy"]
        assert client.post("/step", json=ECHO).headers["openenv-session"] == "none"
        assert client.get("/state").json()["step_count"] == 0
        assert client.post("/step", json={}).status_code == 422
        assert client.post("/health").status_code == 405
        assert "GET" in client.post("/health").headers["allow"]
        assert client.head("/health").content == b""
        assert client.get("/nowhere").json() == {"detail": "Not Found"}


def test_httpx_streams_its_upload(server: Server) -> None:
    """A generator as the body: chunked, in pieces of odd sizes."""
    body = json.dumps({"action": {"op": "echo", "text": "w" * 100_000}}).encode()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 7_777):
            yield body[start : start + 7_777]

    answer = httpx.post(
        f"{server.url}/step",
        content=pieces(),
        headers={"content-type": "application/json"},
        timeout=TIMEOUT_S,
    )
    assert len(answer.json()["observation"]["text"]) == 100_000


def test_httpx_sends_many_requests_at_once(server: Server) -> None:
    """100 stateless steps on up to 20 connections, each its own environment."""

    async def play() -> list[dict[str, Any]]:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=TIMEOUT_S) as client:
            posts = [
                client.post("/step", json={"action": {"op": "echo", "text": f"{n}"}}) for n in range(100)
            ]
            return [answer.json() for answer in await asyncio.gather(*posts)]

    answers = asyncio.run(play())
    assert [answer["observation"]["text"] for answer in answers] == [str(n) for n in range(100)]


# -- aiohttp ---------------------------------------------------------------------------------------


def test_aiohttp_plays_over_http(server: Server) -> None:
    """Its own parser (llhttp) reads our responses."""

    async def play() -> list[Any]:
        async with aiohttp.ClientSession(server.url) as client:
            seen: list[Any] = []
            for _ in range(3):
                async with client.get("/health") as answer:
                    seen.append(await answer.json())
                async with client.post("/step", json=ECHO) as answer:
                    seen.append((await answer.json())["observation"]["text"])
            async with client.head("/health") as answer:
                seen.append(answer.status)
            async with client.post(
                "/step", data=b"{", headers={"content-type": "application/json"}
            ) as answer:
                seen.append(answer.status)
            return seen

    assert asyncio.run(play()) == [{"status": "healthy"}, "hello"] * 3 + [200, 422]


@pytest.mark.parametrize("compress", [0, 15], ids=["plain", "deflate"])
def test_aiohttp_plays_a_session(server: Server, compress: int) -> None:
    """With and without an offer to compress."""

    async def play() -> tuple[int, int | None, int]:
        async with (
            aiohttp.ClientSession(server.url) as client,
            client.ws_connect("/ws", compress=compress, autoclose=True, heartbeat=1.0) as session,
        ):
            await session.send_json(RESET)
            assert (await session.receive_json())["data"]["observation"]["text"] == "ready"
            for number in range(100):
                await session.send_json(step(f"t{number}"))
                reply = await session.receive_json()
                assert reply["data"]["observation"]["text"] == f"t{number}"
            await session.send_json(step("a" * 2_000_000))
            assert len((await session.receive_json())["data"]["observation"]["text"]) == 2_000_000
            await session.send_json(STATE)
            count = (await session.receive_json())["data"]["step_count"]
            # Longer than its heartbeat: our pongs must come while the environment sleeps.
            await session.send_json({"type": "step", "data": {"op": "sleep", "anything": 2.5}})
            assert (await session.receive_json())["data"]["observation"]["text"] == "slept"
            await session.send_json({"type": "close"})
            last = await session.receive()
            return count, session.close_code, last.type.value

    count, code, kind = asyncio.run(play())
    assert (count, code) == (101, 1000)
    assert kind in (aiohttp.WSMsgType.CLOSE.value, aiohttp.WSMsgType.CLOSED.value)


def test_aiohttp_is_refused_where_there_is_no_socket(server: Server) -> None:
    """403 in the handshake."""

    async def play() -> int:
        async with aiohttp.ClientSession(server.url) as client:
            try:
                async with client.ws_connect("/nowhere"):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    assert asyncio.run(play()) == 403


# -- websockets ------------------------------------------------------------------------------------


def test_websockets_plays_a_session_with_compression_offered(server: Server) -> None:
    """Its defaults: permessage-deflate offered, pings every 20 s."""
    with connect(server.ws_url, max_size=None) as session:
        for number in range(100):
            session.send(json.dumps(step(f"t{number}")))
            assert json.loads(session.recv())["data"]["observation"]["text"] == f"t{number}"
        session.send(iter(['{"type":', '"st', 'ate"}']))
        assert json.loads(session.recv())["data"]["step_count"] == 100
        session.send('{"type":"close"}')
        with pytest.raises(ConnectionClosedOK):
            session.recv(timeout=TIMEOUT_S)


def test_websockets_is_refused_where_there_is_no_socket(server: Server) -> None:
    """403 in the handshake, here too."""
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{server.host}:{server.port}/nowhere"):
        pass
    assert refused.value.response.status_code == 403


# -- Node ------------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize("compression", ["plain", "deflate"])
def test_node_ws_plays_a_session(server: Server, compression: str) -> None:
    """Steps, fragments with a ping between them, many at once, 3 MB each way, an error, a close."""
    folder = node_peer("node-ws")
    done = subprocess.run(
        [shutil.which("node") or "node", str(NODE_SCRIPT), str(folder), server.ws_url, compression],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["steps"] == 100 + 1 + 50 + 2
    assert seen["closed"] == [1000, ""]
    assert seen["ponged"] == 1
