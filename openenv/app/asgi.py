"""The application under somebody else's server: ASGI 3 in, the same answers out.

It translates, and decides nothing: requests go through `App.dispatch` and WebSockets through
`App.open_socket`, exactly as on our own server. What an ASGI server does on its own (limits, drains,
keep-alive, workers) stays the way that server does it.

Reference: https://asgi.readthedocs.io/en/latest/specs/main.html.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openenv.app.context import Context, Response, detail
from openenv.app.gate import chosen_protocol
from openenv.app.routes.ws import SessionSocket
from openenv.config import effective_capacity, resolve
from openenv.errors import ConfigurationError
from openenv.protocol.http11 import Request
from openenv.session.pool import LocalCapacity
from openenv.session.runner import PENDING, StepNow

if TYPE_CHECKING:
    from openenv.app.app import App

__all__ = ["CONTEXT_KEY", "AsgiWorker", "Lifespan", "answer", "answer_socket", "read_body", "request_of"]

logger = logging.getLogger("openenv.app")

CONTEXT_KEY = "openenv.context"
"""Where a scope says which context its request is for."""


async def answer(app: App, context: Context, request: Request) -> Response:
    """The app's response to a request, whenever it comes."""
    future: asyncio.Future[Response] = context.loop.create_future()

    def respond(response: Response) -> None:
        if not future.done():
            future.set_result(response)

    response = app.dispatch(context, request, respond)
    return await future if response is PENDING else response


async def answer_socket(app: App, context: Context, scope: Any, receive: Any, send: Any) -> None:
    """Hold a session over an ASGI WebSocket whose `websocket.connect` was received."""
    peer = _AsgiPeer()
    request = request_of(scope, b"")
    refused = app.refusal(context, request) is not None
    socket = None if refused else app.open_socket(context, _path(scope), peer)
    if socket is None:
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "websocket.accept", "subprotocol": chosen_protocol(request)})
    socket.open(scope.get("query_string", b"").decode("latin-1"))
    sender = asyncio.ensure_future(peer.run(send))
    try:
        await _receive(receive, socket, peer)
    finally:
        socket.lost()
        peer.stop()
        await sender


async def _receive(receive: Any, socket: SessionSocket, peer: _AsgiPeer) -> None:
    while True:
        await peer.may_read.wait()
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            socket.receive_binary(message.get("bytes") or b"")
            continue
        reply = socket.receive(text.encode("utf-8", "surrogatepass"))
        if reply is not None:
            peer.send(reply)


class Lifespan:
    """What an ASGI application does before it serves and after, as its author wrote it.

    Args:
        application: Whose it is. One that knows no lifespan does nothing.

    Attributes:
        state: What it left for its requests.
    """

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._started: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked = False

    async def start(self) -> None:
        """Start it up.

        Raises:
            ConfigurationError: It says that it failed.
        """
        self._task = asyncio.ensure_future(self._run())
        complaint = await self._started
        if complaint is not None:
            await self.stop()
            raise ConfigurationError(f"the application's startup failed: {complaint.strip()}")

    async def stop(self) -> None:
        """Shut it down, and wait until it is."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, self._receive, self._send)
        except Exception as error:
            # The specification's way to say that there is no lifespan; later it is a fault to be seen.
            if self._started.done():
                logger.debug("the application's lifespan ended: %s", error)
        if not self._started.done():
            self._started.set_result(None)

    async def _receive(self) -> dict[str, str]:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: dict[str, Any]) -> None:
        kind, text = message["type"], message.get("message", "")
        if kind == "lifespan.shutdown.failed":
            logger.error("the application's shutdown failed: %s", text)
        elif not self._started.done():
            self._started.set_result(
                None if kind == "lifespan.startup.complete" else text or "it does not say why"
            )


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
        elif self._app.part is not None and scope["type"] in ("http", "websocket"):
            await self._authors_part(self._app.part, scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await answer_socket(self._app, self.context(), scope, receive, send)
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

    @property
    def n_sessions(self) -> int:
        """Sessions that there are."""
        return 0 if self._context is None else len(self._context.pool)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._app.begin(self.context())
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
            await self._app.end(context)
            closed = asyncio.Event()
            context.close(closed.set)
            try:
                await asyncio.wait_for(closed.wait(), context.config.drain_s)
            except TimeoutError:
                return

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        context = self.context()
        body = await read_body(receive, context.config.max_body_bytes)
        if body is None:
            response = detail(413, "Content Too Large")
        else:
            response = await answer(self._app, context, request_of(scope, body))
        await self._send(scope, response, send)

    async def _send(self, scope: Any, response: Response, send: Any) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": content})

    async def _authors_part(self, part: Any, scope: Any, receive: Any, send: Any) -> None:
        context = self.context()
        refusal = self._app.refusal(context, request_of(scope, b""))
        if refusal is None:
            state = {} if context.lifespan is None else context.lifespan.state
            state = {**scope.get("state", {}), **state}
            await part({**scope, "state": state, CONTEXT_KEY: context}, receive, send)
        elif scope["type"] == "http":
            await self._send(scope, refusal, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})


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


async def read_body(receive: Any, max_bytes: int) -> bytes | None:
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


def request_of(scope: Any, body: bytes) -> Request:
    """What a scope and a body say, as our own server would say it."""
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
