"""ASGI applications on our own server: whole responses, pieces, WebSockets, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openenv.app.foreign import to_app
from openenv.errors import ConfigurationError
from tests.support import envs
from tests.support.worker import Worker
from tests.unit.server.test_connection import HANDSHAKE, close_frame, frame

GET = b"GET /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nX-Field: v\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


def play(application: Callable[..., Any], test: Callable[[Worker], Awaitable[None]]) -> None:
    async def main() -> None:
        worker = Worker(envs.LoopEnv)
        worker.app = to_app(application)
        async with worker:
            await worker.app.begin(worker.context)
            await test(worker)
            await worker.app.end(worker.context)

    asyncio.run(main())


def http(answer: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
    """An application that knows HTTP and nothing else."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] in ("http", "websocket")
        await answer(scope, receive, send)

    return application


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def ask(worker: Worker, request: bytes, until: bytes) -> bytes:
    transport = worker.connect()
    transport.protocol.data_received(request)
    return await transport.until(until)


def test_an_application_is_told_what_was_asked() -> None:
    """Path, query, fields, body and addresses, as the specification names them."""
    seen: dict[str, Any] = {}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, message=await receive())
        await send(start((b"x-mine", b"1"), (b"content-length", b"2"), (b"date", b"never")))
        await send(piece(b"ok"))

    async def test(worker: Worker) -> None:
        answered = await ask(worker, GET, b"ok")
        assert answered == b"HTTP/1.1 200 OK\r\ndate: a date\r\nx-mine: 1\r\ncontent-length: 2\r\n\r\nok"
        assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/a b", b"/a%20b", b"q=1")
        assert (b"x-field", b"v") in seen["headers"]
        assert (seen["client"], seen["server"]) == (("192.0.2.7", 5), ("192.0.2.1", 80))
        await ask(worker, POST, b"ok")
        assert seen["message"] == {"type": "http.request", "body": b"abc", "more_body": False}

    play(http(answer), test)


def test_pipelined_requests_are_answered_in_order() -> None:
    """The second waits until the first is answered."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await send(start())
        await send(piece(scope["path"].encode(), True))
        await send(piece(b"."))

    async def test(worker: Worker) -> None:
        asked = b"".join(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in (b"aa", b"bb", b"cc"))
        answered = await ask(worker, asked, b"/cc\r\n1\r\n.\r\n0\r\n\r\n")
        assert answered.index(b"/aa") < answered.index(b"/bb") < answered.index(b"/cc")

    play(http(answer), test)


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (b"GET / HTTP/1.1", b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (b"GET / HTTP/1.0", b"connection: close\r\n\r\nabc"),
        (b"HEAD / HTTP/1.1", b"transfer-encoding: chunked\r\n\r\n"),
    ],
)
def test_a_response_in_pieces(request_head: bytes, expected: bytes) -> None:
    """Chunked, or up to the end of a 1.0 connection; of a HEAD the head alone."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(piece(b"ab", True))
        await send(piece(b"c"))

    async def test(worker: Worker) -> None:
        assert (await ask(worker, request_head + b"\r\nHost: x\r\n\r\n", expected)).endswith(expected)

    play(http(answer), test)


def test_an_application_waits_for_a_client_that_does_not_read() -> None:
    """Nothing gathers in memory; and it goes on when the client does."""
    sent = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for number in range(3):
            await send(piece(b"%d" % number, number < 2))
            sent.append(number)

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(GET)
        transport.protocol.pause_writing()
        await transport.until(b"0\r\n")
        await asyncio.sleep(0)
        assert sent == []
        transport.protocol.resume_writing()
        await transport.until(b"2\r\n0\r\n\r\n")
        assert sent == [0, 1, 2]

    play(http(answer), test)


def test_a_fault_is_answered_and_a_half_response_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """500 while nothing was sent; later nobody may take the half for the whole."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/half":
            await send(start())
            await send(piece(b"ha", True))
        if scope["path"] != "/nothing":
            raise RuntimeError("mine")

    async def test(worker: Worker) -> None:
        answered = await ask(worker, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"Error")
        assert answered.startswith(b"HTTP/1.1 500 ")
        answered = await ask(worker, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"Error")
        assert answered.startswith(b"HTTP/1.1 500 ")
        transport = worker.connect()
        transport.protocol.data_received(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not (await transport.until_closed()).endswith(b"0\r\n\r\n")

    play(http(answer), test)
    assert "mine" in caplog.text


def test_a_client_that_goes_away_is_told_to_the_application() -> None:
    """By `http.disconnect`; what is sent afterwards goes nowhere."""
    heard = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        heard.append((await receive())["type"])
        await send(start())
        await send(piece(b"late"))
        heard.append("sent")

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(GET)
        await asyncio.sleep(0)
        transport.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert heard == ["http.disconnect", "sent"]
        assert transport.take() == b""

    play(http(answer), test)


def test_a_websocket_is_accepted_by_the_application() -> None:
    """Texts and bytes both ways, its own subprotocol and fields, its own close."""
    codes = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": [(b"x-mine", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
            await send({"type": "websocket.send", "bytes": b"\x00"})
        codes.append(message["code"])

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HANDSHAKE + frame(b"early"))
        answered = await transport.until(b"\x81\x05EARLY\x82\x01\x00")
        assert answered.startswith(b"HTTP/1.1 101 ")
        assert b"x-mine: 1" in answered
        transport.protocol.data_received(frame(b"hi"))
        await transport.until(b"\x81\x02HI\x82\x01\x00")
        transport.protocol.data_received(close_frame())
        assert await transport.until_closed() == b"\x88\x02\x03\xe8"
        for _ in range(5):
            await asyncio.sleep(0)
        assert codes == [1000]

    play(http(answer), test)


@pytest.mark.parametrize(("path", "status"), [("/no", 403), ("/raise", 500), ("/silent", 403)])
def test_a_refused_handshake(path: str, status: int) -> None:
    """By closing before accepting, by a fault, or by saying nothing at all."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/raise":
            raise RuntimeError("mine")

    async def test(worker: Worker) -> None:
        handshake = HANDSHAKE.replace(b"/ws", path.encode())
        assert (await ask(worker, handshake, b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)

    play(http(answer), test)


def test_a_failed_startup_keeps_the_server_from_serving() -> None:
    """And an application without a lifespan starts all the same."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def nothing(worker: Worker) -> None: ...

    with pytest.raises(ConfigurationError, match="startup failed: no database"):
        play(application, nothing)


def test_a_lifespan_leaves_its_state_to_requests() -> None:
    """Each request has a copy of its own."""
    events = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["answer"] = 42
            await send({"type": "lifespan.startup.complete"})
            events.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send(start())
            await send(piece(b"%d" % scope["state"].pop("answer")))

    async def test(worker: Worker) -> None:
        for _ in range(2):
            await ask(worker, GET, b"42")

    play(application, test)
    assert events == ["lifespan.shutdown"]
