"""Calls of an ASGI application by our own server: one for each request, one for each WebSocket.

In: a request, and the connection it came on. Out: what the application sends, written to that connection as
it comes. It knows nothing about routes or sessions.

A body is read whole before the call; a response in pieces is written piece by piece, and the application
waits while its client does not read. An application that raises before it has answered is answered for with
500; one that raises later has its connection cut off, since nobody could tell half a response from a whole.

Limits: of ASGI's extensions none is offered. A request whose client goes away is told so, not cancelled.

Reference: https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from openenv.app.context import Response
from openenv.protocol.http11 import Request

__all__ = ["Carrier", "HttpCall", "SocketCall", "SocketDoor", "make_scope"]

logger = logging.getLogger("openenv.server")

Fields = tuple[tuple[str, str], ...]

_OURS = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})
_TEXT: Fields = (("content-type", "text/plain; charset=utf-8"),)
_MAX_WAITING = 64
NORMAL, FAILED = 1000, 1011  # RFC 6455 section 7.4.1


def make_scope(request: Request, transport: Any, state: dict[str, Any], kind: str) -> dict[str, Any]:
    """The scope of a request.

    Args:
        request: What came.
        transport: What it came on.
        state: What the application's lifespan left; each request has a copy.
        kind: ``http`` or ``websocket``.
    """
    secure = transport.get_extra_info("ssl_object") is not None
    schemes = ("https", "wss") if secure else ("http", "ws")
    path, _, query = request.target.partition("?")
    if "://" in path:  # the absolute form, RFC 9112 section 3.2.2
        path = request.path
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version,
        "scheme": schemes[kind == "websocket"],
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [(key.encode("latin-1"), value.encode("latin-1")) for key, value in request.headers],
        "client": _address(transport.get_extra_info("peername")),
        "server": _address(transport.get_extra_info("sockname")),
        "state": dict(state),
        "extensions": {},
    }
    if kind == "http":
        scope["method"] = request.method
    else:
        offered = request.header("sec-websocket-protocol") or ""
        scope["subprotocols"] = [word.strip() for word in offered.split(",") if word.strip()]
    return scope


def _address(name: Any) -> tuple[str, int | None] | None:
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) and name else None


def _fields_of(headers: Any) -> tuple[Fields, int | None]:
    """The fields that an application sends, those left out that we make ourselves; and the length it says."""
    fields = [(str(name, "latin-1"), str(value, "latin-1")) for name, value in headers]
    said = [value for name, value in fields if name.lower() == "content-length"]
    length = int(said[0]) if said and said[0].isdecimal() else None
    return tuple(field for field in fields if field[0].lower() not in _OURS), length


class Carrier(Protocol):
    """The connection of a request, as its call sees it."""

    @property
    def is_writable(self) -> bool:
        """False while the client does not read what was written."""

    def answer(self, response: Response) -> None:
        """Write a whole response."""

    def begin(self, status: int, headers: Fields, length: int | None) -> None:
        """Write the head of a response in pieces; `length` is that of its body, where it is known."""

    def write_piece(self, data: bytes) -> None:
        """Write a piece of the body."""

    def end_pieces(self) -> None:
        """The response is complete."""

    def cut_off(self) -> None:
        """The response will never be complete."""


class HttpCall:
    """One request.

    Args:
        carrier: Its connection.
        application: What answers.
        scope: What it says.
        body: Its body.
    """

    def __init__(
        self, carrier: Carrier, application: Callable[..., Any], scope: dict[str, Any], body: bytes
    ) -> None:
        self._carrier: Carrier | None = carrier
        self._application = application
        self._scope = scope
        self._body: bytes | None = body
        self._head: tuple[int, Fields, int | None] | None = None
        self._begun = False
        self._answered = False
        self._over = asyncio.Event()
        self._readable = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def lost(self) -> None:
        """The connection is gone."""
        self._carrier = None
        self._over.set()
        self._readable.set()

    def resume(self) -> None:
        """The client reads again."""
        self._readable.set()

    async def _run(self) -> None:
        try:
            await self._application(self._scope, self._receive, self._send)
        except Exception as error:
            if not self._answered:
                logger.error("%s %s raised", self._scope["method"], self._scope["path"], exc_info=error)
        if not self._answered:
            self._give_up()

    def _give_up(self) -> None:
        """Nothing more will come from the application."""
        self._answered = True
        self._over.set()
        carrier, self._carrier = self._carrier, None
        if carrier is None:
            return
        if self._begun:
            carrier.cut_off()
        else:
            carrier.answer(Response(500, b"Internal Server Error", _TEXT))

    async def _receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("a response was begun twice")
            self._head = (int(message["status"]), *_fields_of(message.get("headers", ())))
        elif kind == "http.response.body":
            if self._head is None or self._answered:
                raise RuntimeError("a body is sent once, after http.response.start")
            await self._send_body(
                self._head, bytes(message.get("body", b"")), message.get("more_body", False)
            )
        else:
            raise RuntimeError(f"an HTTP response has no message {kind!r}")

    async def _send_body(self, head: tuple[int, Fields, int | None], body: bytes, more: bool) -> None:
        carrier = self._carrier
        status, fields, length = head
        self._answered = not more
        if carrier is not None:
            if more or self._begun or self._scope["method"] == "HEAD":
                if not self._begun:
                    self._begun = True
                    carrier.begin(status, fields, length)
                if body:
                    carrier.write_piece(body)
                if not more:
                    carrier.end_pieces()
            else:
                carrier.answer(Response(status, body, fields))
        if not more:
            self._carrier = None
            self._over.set()
        elif carrier is not None and not carrier.is_writable:
            self._readable.clear()
            await self._readable.wait()


class SocketDoor(Protocol):
    """The connection of an opening handshake, as its call sees it."""

    def accept(self, subprotocol: str | None, headers: Fields) -> bool:
        """Answer with 101. False where the handshake was none, or the client is gone."""

    def refuse(self, status: int) -> None:
        """Answer with another status."""


class SocketCall:
    """One WebSocket; towards its connection it is what a session's socket is.

    Args:
        door: Where the handshake is answered.
        peer: Where messages go, once it is.
        application: What answers.
        scope: What the handshake says.
    """

    def __init__(
        self, door: SocketDoor, peer: Any, application: Callable[..., Any], scope: dict[str, Any]
    ) -> None:
        self._door: SocketDoor | None = door
        self._peer = peer
        self._application = application
        self._scope = scope
        self._messages: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._arrived = asyncio.Event()
        self._arrived.set()
        self._writable = asyncio.Event()
        self._paused = False
        self._over = False
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        code = NORMAL
        try:
            await self._application(self._scope, self._receive, self._send)
        except Exception as error:
            if not self._over:
                logger.error("the WebSocket %s raised", self._scope["path"], exc_info=error)
            code = FAILED
        if self._door is not None:
            door, self._door = self._door, None
            door.refuse(500 if code == FAILED else 403)
        self._close(code)

    def _close(self, code: int) -> None:
        if not self._over:
            self._over = True
            self._peer.close(code)

    async def _receive(self) -> dict[str, Any]:
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        if self._paused and not self._messages:
            self._paused = False
            self._peer.resume()
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if self._door is not None:
            door, self._door = self._door, None
            if kind == "websocket.accept":
                fields, _ = _fields_of(message.get("headers", ()))
                if not door.accept(message.get("subprotocol"), fields):
                    self.lost()
            elif kind == "websocket.close":
                self._over = True
                door.refuse(403)
            else:
                raise RuntimeError(f"a handshake is answered by accept or close, not by {kind!r}")
        elif kind == "websocket.send":
            if self._over:
                raise OSError("the WebSocket is closed")
            text = message.get("text")
            if text is not None:
                self._peer.send(text.encode("utf-8", "replace"))
            else:
                self._peer.send_binary(bytes(message["bytes"]))
            if not self._peer.is_writable:
                self._writable.clear()
                await self._writable.wait()
        elif kind == "websocket.close":
            self._close(int(message.get("code") or NORMAL))
        else:
            raise RuntimeError(f"an open WebSocket has no message {kind!r}")

    def _put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._arrived.set()

    def _disconnect(self, code: int) -> None:
        self._over = True
        self._writable.set()
        self._put({"type": "websocket.disconnect", "code": code, "reason": ""})

    # What a connection asks of what answers its WebSocket.

    def open(self, query: str, *, has_place: bool = False) -> None:
        """The handshake was answered."""

    def receive(self, payload: bytes) -> None:
        """Take a text message."""
        self._take({"type": "websocket.receive", "text": payload.decode()})

    def receive_binary(self, data: bytes) -> None:
        """Take a binary message."""
        self._take({"type": "websocket.receive", "bytes": data})

    def _take(self, message: dict[str, Any]) -> None:
        if self._over:
            return
        self._put(message)
        if len(self._messages) >= _MAX_WAITING and not self._paused:
            self._paused = True
            self._peer.pause()

    def pump(self) -> None:
        """The client reads again."""
        self._writable.set()

    def reply_to(self, error: BaseException) -> bytes:
        """Not asked here: no step is taken by the connection itself."""
        raise error

    def closing(self) -> None:
        """The client started the closing handshake."""
        if not self._over:
            self._peer.close(NORMAL)
            self._disconnect(NORMAL)

    def lost(self) -> None:
        """The connection is gone."""
        self._door = None
        if not self._over:
            self._disconnect(1006)

    def drain(self) -> None:
        """The server goes away."""
        if not self._over:
            self._peer.close(1001)
            self._disconnect(1001)

    def expire(self, lease_s: float) -> None:
        """How long a client may be silent is the application's own affair."""
