"""The application under somebody else's server: ASGI 3 in, the same answers out.

It translates, and decides nothing: requests go through `App.dispatch` and WebSockets through
`App.websocket`, exactly as on our own server. What an ASGI server does on its own (limits, drains,
keep-alive, workers) stays the way that server does it.

Reference: https://asgi.readthedocs.io/en/latest/specs/main.html.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openenv.app.context import Context, Response, detail
from openenv.app.gate import chosen_protocol
from openenv.app.routes.ws import SessionSocket
from openenv.config import effective_capacity, resolve
from openenv.protocol.http11 import Request
from openenv.session.pool import LocalCapacity
from openenv.session.runner import PENDING, StepNow

if TYPE_CHECKING:
    from openenv.app.app import App

__all__ = ["AsgiWorker"]


class AsgiWorker:
    """One application in one process of an ASGI server.

    Args:
        app: What answers.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._context: Context | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            raise NotImplementedError(f"ASGI scope type {scope['type']!r}")

    def context(self) -> Context:
        """The worker's context, made on first use since servers may run without a lifespan."""
        loop = asyncio.get_running_loop()
        if self._context is None or self._context.loop is not loop:
            app = self._app
            config = resolve({}, code=app.settings())
            most = effective_capacity(config.max_concurrent_envs, app.concurrent, app.environment_name)
            config = replace(config, max_concurrent_envs=most)
            self._context = app.start(config, LocalCapacity(most), loop)
        return self._context

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self.context()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._shut_down()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _shut_down(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            closed = asyncio.Event()
            context.close(closed.set)
            try:
                await asyncio.wait_for(closed.wait(), context.config.drain_s)
            except TimeoutError:
                return

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        context = self.context()
        body = await _read_body(receive, context.config.max_body_bytes)
        if body is None:
            response = detail(413, "Content Too Large")
        else:
            response = await self._dispatch(context, _request(scope, body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": content})

    async def _dispatch(self, context: Context, request: Request) -> Response:
        future: asyncio.Future[Response] = context.loop.create_future()

        def respond(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        response = self._app.dispatch(context, request, respond)
        return await future if response is PENDING else response

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        context = self.context()
        peer = _AsgiPeer()
        request = _request(scope, b"")
        refused = self._app.refusal(context, request) is not None
        socket = None if refused else self._app.websocket(context, _path(scope), peer)
        if socket is None:
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.accept", "subprotocol": chosen_protocol(request)})
        socket.open(scope.get("query_string", b"").decode("latin-1"))
        sender = asyncio.ensure_future(peer.run(send))
        try:
            await self._receive(receive, socket, peer)
        finally:
            socket.lost()
            peer.stop()
            await sender

    async def _receive(self, receive: Any, socket: SessionSocket, peer: _AsgiPeer) -> None:
        while True:
            await peer.may_read.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                socket.receive_binary()
                continue
            reply = socket.receive(text.encode("utf-8", "surrogatepass"))
            if reply is not None:
                peer.send(reply)


class _AsgiPeer:
    """The client of an ASGI WebSocket. What is to be sent waits in a queue, in order."""

    is_writable = True
    step_now: StepNow | None = None  # not used: messages come one at a time here

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | int | None] = asyncio.Queue()
        self.may_read = asyncio.Event()
        self.may_read.set()

    def send(self, reply: bytes) -> None:
        """Send one text message."""
        self._queue.put_nowait(reply)

    def close(self, code: int) -> None:
        """Start the closing handshake after what was sent."""
        self._queue.put_nowait(code)

    def pause(self) -> None:
        """Stop reading."""
        self.may_read.clear()

    def resume(self) -> None:
        """Read again."""
        self.may_read.set()

    def stop(self) -> None:
        """End `run` after what was sent."""
        self._queue.put_nowait(None)

    async def run(self, send: Any) -> None:
        """Send what is queued until stopped. A client that is gone is told nothing more."""
        gone = False
        while (item := await self._queue.get()) is not None:
            if gone:
                continue
            try:
                if isinstance(item, int):
                    gone = True
                    await send({"type": "websocket.close", "code": item})
                else:
                    await send({"type": "websocket.send", "text": item.decode()})
            except (OSError, RuntimeError):
                # Servers raise one or the other, or a subclass, for a connection that was lost.
                gone = True


async def _read_body(receive: Any, max_bytes: int) -> bytes | None:
    """The whole body, or None where it is larger than allowed."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _path(scope: Any) -> str:
    """The path below the prefix that the application is mounted at."""
    path = str(scope["path"])
    root = scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root + "/"):
        return path[len(root) :]
    return path


def _request(scope: Any, body: bytes) -> Request:
    path = _path(scope)
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(
        method=scope.get("method", "GET"),
        target=f"{path}?{query}" if query else path,
        path=path,
        query=query,
        headers=tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ),
        http_version=scope.get("http_version", "1.1"),
        keep_alive=True,
        upgrade=scope["type"] == "websocket",
        body=body,
    )
