"""What is too big, too deep, too many or too clever; each on a connection of its own, several times at once.

A case sends something that would cost the server far more than it costs to send, and says how the
connection has to end or what has to be answered. What it may cost in memory is watched by who plays it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.reliability.wire import BINARY, CONTINUATION, PING, TEXT, Client, GoneError, frame, head

__all__ = ["BOMBS", "INJECTIONS", "LIMIT_BYTES", "Bomb", "inject"]

LIMIT_BYTES = 4 * 1024 * 1024
"""What the server is told to take at most as one message or body."""

Bomb = Callable[[str, int], Awaitable[str | None]]
"""Called with host and port; gives what was wrong, or None."""


async def _http(host: str, port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    try:
        async with asyncio.timeout(120):
            writer.write(data)
            while piece := await reader.read(65536):
                answer += piece
    except OSError:
        pass  # cut off: what came before counts
    finally:
        writer.transport.abort()
    return answer


def _status(*wanted: int) -> Callable[[bytes], str | None]:
    def check(answer: bytes) -> str | None:
        status = int(answer[9:12]) if answer[9:12].isdigit() else 0
        return None if status in wanted else f"expected {wanted}, got {answer[:60]!r}"

    return check


def _request(data: bytes, *statuses: int) -> Bomb:
    async def play(host: str, port: int) -> str | None:
        return _status(*statuses)(await _http(host, port, data))

    return play


def _post(path: str, body: bytes, *fields: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _frames(data: bytes, *codes: int | None) -> Bomb:
    """Frames that end the connection with one of these codes."""

    async def play(host: str, port: int) -> str | None:
        client = await Client.open(host, port)
        try:
            client.send(data)
            while True:
                await client.receive()
        except GoneError as error:
            return None if error.code in codes else f"expected a close with {codes}, got {error}"
        except TimeoutError:
            return "hangs"
        finally:
            client.cut()

    return play


def _message(payload: bytes, code: str) -> Bomb:
    """A message that is answered with an error, after which the session goes on."""

    async def play(host: str, port: int) -> str | None:
        client = await Client.open(host, port)
        try:
            client.send(frame(payload))
            got = (await client.hear())["data"].get("code")
            if got != code:
                return f"expected {code}, got {got}"
            kind = (await client.ask("state"))["type"]
            return None if kind == "state" else f"the session did not go on: {kind}"
        except (GoneError, TimeoutError) as error:
            return f"lost: {error}"
        finally:
            client.cut()

    return play


async def _endless_headers(host: str, port: int) -> str | None:
    head_of = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    return _status(431)(await _http(host, port, head_of + b"X: y\r\n" * 200_000))


async def _ping_flood(host: str, port: int) -> str | None:
    """Pings without end, and nobody reads the pongs."""
    client = await Client.open(host, port, receive_buffer_bytes=4096)
    flood = frame(b"x" * 125, PING) * 1000
    try:
        async with asyncio.timeout(3):
            while True:
                client.send(flood)
                await client.writer.drain()
                await asyncio.sleep(0)
    except (TimeoutError, OSError):
        return None  # it is no longer read, or has been cut off: both bound it
    finally:
        client.cut()


async def _unread_replies(host: str, port: int) -> str | None:
    """Large replies are asked for without end, and nobody reads them."""
    client = await Client.open(host, port, receive_buffer_bytes=4096)
    question = frame(b'{"type":"step","data":{"n_bytes":1000000}}') * 20
    try:
        async with asyncio.timeout(3):
            while True:
                client.send(question)
                await client.writer.drain()
                await asyncio.sleep(0)
    except (TimeoutError, OSError):
        return None
    finally:
        client.cut()


async def _endless(client: Client, data: bytes) -> str | None:
    """Send the same again and again until the server has enough of it."""
    try:
        async with asyncio.timeout(120):
            while True:
                client.send(data)
                await client.writer.drain()
                await asyncio.sleep(0)
    except TimeoutError:
        return "is read for ever"
    except OSError:
        return None
    finally:
        client.cut()


async def _empty_fragments(host: str, port: int) -> str | None:
    """A message of empty fragments that never ends."""
    client = await Client.open(host, port)
    client.send(frame(b"", TEXT, fin=False))
    return await _endless(client, frame(b"", CONTINUATION, fin=False) * 5000)


async def _endless_chunks(host: str, port: int) -> str | None:
    """A body of one-byte chunks that never ends."""
    client = Client(*await asyncio.open_connection(host, port))
    client.send(_OPEN_CHUNKS)
    return await _endless(client, b"1\r\nx\r\n" * 5000)


def _and_gone(begin: bytes, unit: bytes, n_bytes: int) -> Bomb:
    """Send as much as the server's kernel takes, and reset the connection: nobody waits for an answer."""

    async def play(host: str, port: int) -> str | None:
        _, writer = await asyncio.open_connection(host, port)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(begin + unit * (n_bytes // len(unit)))
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(1):
                await writer.drain()
        writer.transport.abort()
        return None

    return play


async def _pipelined(host: str, port: int) -> str | None:
    """5,000 requests at once; each is answered."""
    answer = await _http(host, port, _KEPT * 5000 + _GET + b"\r\n")
    n_answers = answer.count(b"HTTP/1.1 200 OK")
    return None if n_answers == 5001 else f"{n_answers} of 5,001 requests were answered"


async def _compression(host: str, port: int) -> str | None:
    """permessage-deflate is offered, and must not be agreed to."""
    answer = await _http(
        host, port, head("/ws", "Sec-WebSocket-Extensions: permessage-deflate") + frame(b"x", rsv=4)
    )
    return "compression was agreed to" if b"permessage-deflate" in answer else None


_BIG = 2 * LIMIT_BYTES
_OPEN_CHUNKS = (
    b"POST /reset HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_GET = b"GET /health HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n"
_KEPT = b"GET /health HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
_FEW_MIB = 6 * 1024 * 1024

BOMBS: dict[str, Bomb] = {
    "a request line of 1 MB": _request(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 414, 431),
    "a request line that never ends": _request(b"G" * 1_000_000, 400, 414, 431),
    "a field of 1 MB": _request(_GET + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
    "a field's name of 1 MB": _request(_GET + b"X" * 1_000_000 + b": a\r\n\r\n", 400, 431),
    "fields without end": _endless_headers,
    "101 fields": _request(_GET + b"X: y\r\n" * 101 + b"\r\n", 431),
    "a length of a terabyte": _request(
        b"POST /reset HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 1099511627776\r\n\r\n", 413
    ),
    "a body beyond the limit": _request(_post("/reset", b" " * _BIG), 413),
    "a chunk of a terabyte": _request(_OPEN_CHUNKS + b"10000000000\r\n", 413),
    "chunks beyond the limit": _request(_OPEN_CHUNKS + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 80, 413),
    "chunks of one byte": _request(_OPEN_CHUNKS + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", 413, 422, 400),
    "a chunk extension of 1 MB": _request(
        _OPEN_CHUNKS + b"1;" + b"x" * 1_000_000 + b"\r\nx\r\n0\r\n\r\n", 400, 413, 431
    ),
    "trailers without end": _request(_OPEN_CHUNKS + b"0\r\n" + b"X: y\r\n" * 100_000, 400, 431),
    "a body that unpacks to 100 MB": _request(
        _post("/reset", gzip.compress(b" " * 100_000_000), "Content-Encoding: gzip"), 400, 415, 422
    ),
    "JSON 100,000 deep by HTTP": _request(_post("/reset", b'{"a":' + b"[" * 100_000), 400, 422),
    "a number of 1 MB": _request(_post("/reset", b'{"seed":' + b"1" * 1_000_000 + b"}"), 400, 422),
    "100,000 keys": _request(
        _post("/reset", json.dumps(dict.fromkeys(map(str, range(100_000)))).encode()), 422
    ),
    "a WebSocket message beyond the limit": _frames(frame(b"x" * _BIG), 1009),
    "a frame of 2**62 bytes": _frames(b"\x81\xff" + (2**62).to_bytes(8) + b"mask", 1009),
    "fragments beyond the limit": _frames(
        frame(b"x" * 65536, fin=False) + frame(b"x" * 65536, CONTINUATION, fin=False) * 70, 1009
    ),
    "a binary message of the limit": _frames(frame(b"x" * LIMIT_BYTES, BINARY), 1000),
    "text 100,000 deep": _message(b'{"type":"step","data":' + b"[" * 100_000, "INVALID_JSON"),
    "objects 100,000 deep": _message(b'{"a":' * 100_000, "INVALID_JSON"),
    "a type of 1 MB": _message(b'{"type":"' + b"x" * 1_000_000 + b'"}', "UNKNOWN_TYPE"),
    "100,000 unknown fields": _message(
        json.dumps({"type": "step", "data": dict.fromkeys(map(str, range(100_000)))}).encode(),
        "VALIDATION_ERROR",
    ),
    "pings without end": _ping_flood,
    "replies that nobody reads": _unread_replies,
    "empty fragments without end": _empty_fragments,
    "chunks of one byte without end": _endless_chunks,
    "5,000 requests at once": _pipelined,
    "100,000 items of the wrong type": _message(
        json.dumps({"type": "step", "data": {"value": [{}] * 100_000}}).encode(), "VALIDATION_ERROR"
    ),
    "fragments of somebody who is gone": _and_gone(
        head() + frame(b"", TEXT, fin=False), frame(b"", CONTINUATION, fin=False), _FEW_MIB
    ),
    "messages of somebody who is gone": _and_gone(head(), frame(b'{"type":"state"}'), _FEW_MIB),
    "requests of somebody who is gone": _and_gone(b"", _KEPT, _FEW_MIB),
    "chunks of somebody who is gone": _and_gone(_OPEN_CHUNKS, b"1\r\nx\r\n", _FEW_MIB),
    "an offer of compression": _compression,
}

_CRLF = "%0d%0aX-Injected: yes"

INJECTIONS: tuple[bytes, ...] = (
    f"GET /{_CRLF} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".replace(
        "X-Injected: yes", "X-Injected:%20yes"
    ).encode(),
    b"GET /a\rX-Injected: yes HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost%0d%0aX-Injected:yes\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil\x1b[31m\r\n\r\n",
    _post("/reset", b"", "Origin: http://a/\\r\\nX-Injected: yes"),
    _post("/step", b"", "OpenEnv-Session: a\\r\\nX-Injected: yes"),
    head("/ws?session_id=%0d%0aX-Injected:%20yes", "Sec-WebSocket-Protocol: openenv, x%0d%0aX-Injected"),
    head("/ws", "Sec-WebSocket-Protocol: openenv\x85X-Injected: yes"),
    head("/ws") + frame(b'{"type":"\\r\\n2026-01-01 00:00:00 INFO openenv.server: forged\\r\\n"}'),
    head("/ws") + frame(b'{"type":"step","data":{"do":"raise"}}'),
    _post(
        "/mcp",
        b'{"jsonrpc":"2.0","id":"\\r\\nX-Injected: yes","method":"tools/call",'
        b'"params":{"name":"\\n2026-01-01 00:00:00 INFO openenv.server: forged"}}',
    ),
    _post("/step", b'{"action":{"do":"raise"}}'),
    _post("/step", b'{"action":{"\\u001b]0;forged\\u0007\\n":"forged"}}'),
)
"""Attempts at lines of their own in an answer's head or in the log; the environment helps with one, too."""


async def inject(host: str, port: int, data: bytes) -> str | None:
    """Send an attempt; gives what was wrong with the answer's head, or None."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        await asyncio.sleep(0.2)
        writer.write_eof()
        async with asyncio.timeout(15):
            answer = await reader.read(-1)
    except OSError:
        return None
    except TimeoutError:
        return "hangs"
    finally:
        writer.transport.abort()
    top = answer.partition(b"\r\n\r\n")[0]
    bad = [line for line in top.replace(b"\r", b"\n").split(b"\n") if line.lower().startswith(b"x-injected")]
    return f"a line of its own: {bad}" if bad else None
