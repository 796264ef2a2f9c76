"""One TCP connection: bytes from a transport through a protocol to the application, and back.

A connection starts as HTTP (`HttpConnection`). An upgrade to `/ws` puts a `WebSocketConnection` in
its place on the same transport, and the HTTP parser is gone with it: an idle session holds only what
a session needs. Neither knows what a request or a message means.

One wake-up of the loop handles every message already in the buffer and writes once, up to a slice; who sent
more waits for its turn (`_Turns`), and is not read meanwhile. A peer that does not read is not read either:
beyond `write_high_water_bytes` of unsent replies, requests wait.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from openenv.app.app import App
from openenv.app.asgi import CONTEXT_KEY
from openenv.app.context import Context, Response
from openenv.app.gate import chosen_protocol
from openenv.app.routes.answers import failure
from openenv.app.routes.ws import SessionSocket
from openenv.config import Config
from openenv.errors import HttpError
from openenv.protocol.http11 import (
    CONTINUE,
    Phase,
    Request,
    RequestParser,
    Unfinished,
    serialize_chunk,
    serialize_chunked_head,
    serialize_head,
    serialize_response,
)
from openenv.protocol.shortcut import observation_frame, plain_step
from openenv.protocol.websocket import (
    BinaryMessage,
    CloseReceived,
    WebSocketServer,
    accept_upgrade,
    binary_frame,
    text_frame,
)
from openenv.server.asgi_calls import HttpCall, SocketCall, make_scope
from openenv.server.handover import Neighbours
from openenv.server.health import Health
from openenv.session.runner import PENDING, StepNow
from openenv.version import __version__

__all__ = ["Connections", "HttpConnection", "WebSocketConnection"]

logger = logging.getLogger("openenv.server")

_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_HANDSHAKE_HEADERS = [("OpenEnv-Runtime", __version__)]

# Replies are gathered up to this size before they are written, so that one wake-up writes once
# without holding more than this beside the transport's own buffer.
_GATHER_BYTES: Final = 64 * 1024

# What one connection sent is looked at in slices of so much, each well below a millisecond: a quarter of a
# megabyte of empty frames, which is what one read may give, would keep everybody waiting for half a second.
_SLICE_FRAMES: Final = 64
_SLICE_REPLY_BYTES: Final = 8 * 1024  # as many requests as are answered with that
_SLICE_CHUNKS: Final = 512
# A message or body as large as that is a slice by itself: decoding it takes milliseconds.
_LARGE_BYTES: Final = 128 * 1024
# How much of one turn of the loop all further slices together take.
_TURN_S: Final = 0.002
_GONE: Final = select.POLLERR | select.POLLHUP

# A body has body_timeout_s for each piece of this size, so that a byte now and then is not enough.
_PIECE_BYTES: Final = 16 * 1024

# How often each worker looks whether the server is well.
_LOOK_S: Final = 1.0

_IDLE, _BODY = Phase.IDLE, Phase.BODY

# How long a peer whose request was refused may go on sending before it is cut off.
_LINGER_S: Final = 1.0

# How long a server that ends waits for the answer to its 1001: a client between two calls looks seldom.
_FAREWELL_S: Final = 1.0


class Connections:
    """Every connection of a worker, and the clock that ends those that take too long.

    Args:
        app: What answers.
        context: The worker's.
        config: Limits and times.
        loop: The running loop.
        now: Unix time in whole seconds, as the text of a Date header.
        neighbours: The server's other workers, if there are any.
    """

    def __init__(
        self,
        app: App,
        context: Context,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], str],
        neighbours: Neighbours | None = None,
    ) -> None:
        self.app = app
        self.neighbours = neighbours
        self.meter = context.meter
        self.context = context
        self.config = config
        self.loop = loop
        self.http: set[HttpConnection] = set()
        self.websockets: set[WebSocketConnection] = set()
        self.turns = _Turns(loop)
        self.draining = False
        self.when_empty: Callable[[], None] | None = None
        self.date = now()
        self._now = now
        self._sweep_s = min(
            1.0, config.head_timeout_s / 4, config.body_timeout_s / 4, config.keep_alive_s / 4
        )
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        self._health = Health(context, _LOOK_S)
        self._looker = loop.call_later(_LOOK_S, self._look)
        self._health.look(0)
        self._pinger: asyncio.TimerHandle | None = None
        if config.ping_interval_s:
            self._pinger = loop.call_later(config.ping_interval_s, self._ping)
        self._lessor: asyncio.TimerHandle | None = None
        if config.lease_s:
            self._lease_look_s = min(60.0, config.lease_s / 4)
            self._lessor = loop.call_later(self._lease_look_s, self._end_leases)

    def make(self) -> HttpConnection:
        """A connection for a socket that was just accepted."""
        return HttpConnection(self)

    def take(self, begun: bytes, has_place: bool) -> HttpConnection:
        """A connection that another worker began to serve; its first transport makes it go on."""
        return HttpConnection(self, begun, has_place)

    def _end_leases(self) -> None:
        """Close what nobody speaks to."""
        lease_s = self.config.lease_s
        oldest = self.loop.time() - lease_s
        for websocket in list(self.websockets):
            websocket.check_lease(oldest, lease_s)
        self.context.pool.expire(lease_s)
        self._lessor = self.loop.call_later(self._lease_look_s, self._end_leases)

    def _sweep(self) -> None:
        self.date = self._now()
        now = self.loop.time()
        for connection in list(self.http):
            connection.check_time(now)
        self._sweeper = self.loop.call_later(self._sweep_s, self._sweep)

    def _look(self) -> None:
        self._looker = self.loop.call_later(_LOOK_S, self._look)
        self._health.look(len(self.http) + len(self.websockets))

    def _ping(self) -> None:
        """Ping whoever has been silent since the last time, a slice per turn of the loop."""
        self._ping_some(list(self.websockets))
        self._pinger = self.loop.call_later(self.config.ping_interval_s, self._ping)

    def _ping_some(self, connections: list[WebSocketConnection]) -> None:
        for connection in connections[:128]:
            connection.check_silence()
        if len(connections) > 128:
            self.loop.call_soon(self._ping_some, connections[128:])

    def drain(self) -> None:
        """Let running requests and steps finish; close everything else now."""
        self.draining = True
        for connection in list(self.http):
            connection.drain()
        for websocket in list(self.websockets):
            websocket.drain()

    def abort(self) -> None:
        """Close everything now."""
        for connection in list(self.http):
            connection.abort()
        for websocket in list(self.websockets):
            websocket.abort()

    def close(self) -> None:
        """Stop the clock."""
        self._sweeper.cancel()
        self._looker.cancel()
        for timer in (self._pinger, self._lessor):
            if timer is not None:
                timer.cancel()

    def forget_http(self, connection: HttpConnection) -> None:
        """A connection was lost, or replaced by a WebSocket."""
        self.http.discard(connection)
        self._check_empty()

    def forget_websocket(self, connection: WebSocketConnection) -> None:
        """A WebSocket was lost."""
        self.websockets.discard(connection)
        self._check_empty()

    def _check_empty(self) -> None:
        if self.when_empty is not None and not self.http and not self.websockets:
            self.when_empty()


class _Turns:
    """The connections that sent more than is looked at in one go.

    Once in each turn of the loop they go on, one after the other and a slice each, until their time is up. So
    what everybody else waits for does not grow with what is sent, nor with the number of those who send.

    Args:
        loop: The running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[HttpConnection | WebSocketConnection] = deque()
        self._is_due = False

    def add(self, connection: HttpConnection | WebSocketConnection) -> None:
        """Have `connection.go_on` called when it is its turn."""
        self._waiting.append(connection)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        until = perf_counter() + _TURN_S
        waiting = self._waiting
        try:
            while waiting and perf_counter() < until:
                waiting.popleft().go_on()
        finally:
            self._is_due = bool(waiting)
            if waiting:
                self._loop.call_soon(self._go_on)


def _is_gone(transport: Any) -> bool:
    """Whether the connection was reset, which nobody else notices of a peer that is not read."""
    if transport.is_closing():
        return True
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), _GONE)
    return bool(poll.poll(0))


class HttpConnection(asyncio.Protocol):
    """A connection that speaks HTTP/1.1: requests one at a time, answered in order."""

    __slots__ = (
        "_begun",
        "_busy",
        "_call",
        "_chunked",
        "_closing",
        "_ended",
        "_has_place",
        "_is_behind",
        "_is_given",
        "_parser",
        "_paused",
        "_piece_bytes",
        "_refused",
        "_request",
        "_shared",
        "_since",
        "_transport",
        "_writable",
    )

    def __init__(self, shared: Connections, begun: bytes = b"", has_place: bool = False) -> None:
        config = shared.config
        # Of a connection that another worker began: what it had read, and whether a place is held for it.
        self._begun = begun
        self._has_place = has_place
        self._is_given = bool(begun)
        self._shared = shared
        self._parser = RequestParser(
            config.max_head_bytes, config.max_headers, config.max_body_bytes, chunks_per_call=_SLICE_CHUNKS
        )
        self._transport: Any = None
        self._request: Request | None = None
        self._busy = False
        self._paused = False
        self._is_behind = False  # more has arrived than was looked at, and it waits for its turn
        self._writable = True
        self._closing = False
        self._refused = False
        self._ended = False
        # A request that the author's part answers, or the opening handshake of a WebSocket of its.
        self._call: HttpCall | SocketCall | None = None
        self._chunked = False
        self._piece_bytes = 0
        self._since = shared.loop.time()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=self._shared.config.write_high_water_bytes)
        self._shared.http.add(self)
        begun, self._begun = self._begun, b""
        if begun:
            self.data_received(begun)
            self._is_given = False
        self.give_place_back()

    def give_place_back(self) -> None:
        """A place was held, and no session came of the request."""
        if self._has_place:
            self._has_place = False
            self._shared.context.capacity.release()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._call is not None:
            self._call.lost()
        self._shared.forget_http(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # after a refusal: read so that the peer gets to see it, see _close
        parser = self._parser
        phase = parser.phase
        is_large = False
        # A head has one deadline, however slowly it comes; a body has one for each piece of some size.
        if phase is _BODY:
            self._piece_bytes += len(data)
            is_large = parser.n_held >= _LARGE_BYTES
        if phase is _IDLE or self._piece_bytes >= _PIECE_BYTES:
            self._since = self._shared.loop.time()
            self._piece_bytes = 0
        parser.receive_data(data)
        if self._busy:
            # Pipelined: it waits in the parser, and more than that in the kernel.
            self._pause()
        elif is_large:
            self._fall_behind()
        else:
            self._pump()

    def eof_received(self) -> bool:
        self._ended = True
        if self._refused or self._call is not None:
            return False
        if not self._closing:
            self._parser.receive_eof()
            if not self._busy:
                self._pump()
        # A half-closed client still gets the answers that it waits for.
        return self._busy or self._is_behind or not self._writable

    def pause_writing(self) -> None:
        self._writable = False
        self._pause()

    def resume_writing(self) -> None:
        self._writable = True
        if type(self._call) is HttpCall:
            self._call.resume()
        if not self._busy and not self._closing:
            self._pump()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _pump(self) -> None:
        """Answer what has arrived, writing once."""
        out: list[bytes] = []
        size = 0
        try:
            while self._writable and not self._busy and not self._closing:
                event = self._parser.next_event()
                if event is None:
                    break
                if not isinstance(event, Request):
                    if isinstance(event, Unfinished):
                        self._fall_behind()
                        break
                    out.append(CONTINUE)
                    continue
                answer = self._answer(event, out)
                if answer is not None:
                    out.append(answer)
                    size += len(answer)
                    if size > _SLICE_REPLY_BYTES and self._parser.n_held:
                        self._fall_behind()
                        break
        except HttpError as error:
            out.append(self._refuse(error))
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        if self._closing or (self._ended and not (self._busy or self._is_behind)):
            self._close()
        elif self._paused and self._writable and not (self._busy or self._is_behind):
            self._paused = False
            self._transport.resume_reading()

    def _fall_behind(self) -> None:
        """Leave the rest for later, and read no more until then."""
        if not self._is_behind:
            self._is_behind = True
            self._shared.turns.add(self)
        self._pause()

    def go_on(self) -> None:
        """Go on with what was left, unless nobody waits for it any more."""
        self._is_behind = False
        if self._closing or self._busy:
            return  # for good, or until the running request is answered
        if _is_gone(self._transport):
            self.abort()
        else:
            self._pump()

    def _answer(self, request: Request, out: list[bytes]) -> bytes | None:
        if request.upgrade:
            refusal = self._shared.app.refusal(self._shared.context, request)
            if refusal is not None:
                return self._serialize_safely(request, refusal)
            delegate = self._shared.app.delegate
            if delegate is not None and delegate.takes_socket(request.path):
                self._ask_part(delegate.inner, request)
                return None
            if not self._goes_elsewhere(request, out):
                self._upgrade(request, out)
            self.give_place_back()
            return None
        if self._shared.neighbours is not None and self._goes_elsewhere(request, out):
            return None
        shared = self._shared
        if shared.app.delegate is not None and shared.app.delegate.takes_request(request):
            refusal = shared.app.refusal(shared.context, request)
            if refusal is not None:
                return self._serialize_safely(request, refusal)
            self._ask_part(shared.app.delegate.inner, request)
            return None
        self._request = request
        self._busy = True
        response = shared.app.dispatch(shared.context, request, self._respond)
        if response is PENDING:
            return None
        self._busy = False
        return self._serialize_safely(request, response)

    def _serialize_safely(self, request: Request, response: Response) -> bytes:
        try:
            return self._serialize(request, response)
        except ValueError as error:  # a header that a handler made would have broken the head apart
            return self._serialize(request, failure(error))

    def _serialize(self, request: Request, response: Response) -> bytes:
        keep_alive = request.keep_alive and not self._shared.draining
        if not keep_alive:
            self._closing = True
        self._since = self._shared.loop.time()
        self._shared.meter.count_response(response.status)
        return serialize_response(
            response.status,
            response.headers,
            response.body,
            keep_alive=keep_alive,
            head_only=request.method == "HEAD",
            http_version=request.http_version,
            date=self._shared.date,
        )

    def _respond(self, response: Response) -> None:
        """A response that did not come at once."""
        request, self._request = self._request, None
        self._busy = False
        if self._transport.is_closing() or request is None:
            return
        self._transport.write(self._serialize_safely(request, response))
        self._pump()

    # A request that is for the author's part of the app.

    def _ask_part(self, part: Callable[..., Any], request: Request) -> None:
        shared = self._shared
        self._request = request
        self._busy = True
        kind = "websocket" if request.upgrade else "http"
        state = {} if shared.context.lifespan is None else shared.context.lifespan.state
        scope = make_scope(request, self._transport, state, kind)
        scope[CONTEXT_KEY] = shared.context
        if request.upgrade:
            peer = WebSocketConnection(shared, self._transport)
            self._call = SocketCall(_Door(self, request, peer), peer, part, scope)
        else:
            self._call = HttpCall(self, part, scope, request.body)

    @property
    def is_writable(self) -> bool:
        """False while the client does not read what was written."""
        return self._writable

    def answer(self, response: Response) -> None:
        """Write a whole response."""
        self._call = None
        self._respond(response)

    def begin(self, status: int, headers: tuple[tuple[str, str], ...], length: int | None) -> None:
        """Write the head of a response whose body comes in pieces."""
        request = self._request
        assert request is not None
        keep_alive = request.keep_alive and not self._shared.draining
        self._chunked = length is None and request.http_version != "1.0"
        if not keep_alive or (length is None and not self._chunked):
            self._ended = True  # the body ends with the connection, or nothing comes after it
        common: dict[str, Any] = {"http_version": request.http_version, "date": self._shared.date}
        if length is None:
            head = serialize_chunked_head(status, headers, keep_alive=not self._ended, **common)
        else:
            head = serialize_head(status, headers, length, keep_alive=not self._ended, **common)
        self._transport.write(head)

    def write_piece(self, data: bytes) -> None:
        """Write a piece of the body."""
        if self._request is not None and self._request.method != "HEAD":
            self._transport.write(serialize_chunk(data) if self._chunked else data)

    def end_pieces(self) -> None:
        """The response is complete."""
        request, self._request = self._request, None
        if self._chunked and request is not None and request.method != "HEAD":
            self._transport.write(serialize_chunk(b""))
        self._call = None
        self._busy = False
        self._since = self._shared.loop.time()
        self._pump()

    def cut_off(self) -> None:
        """The response will never be complete."""
        self.abort()

    def accept(self, request: Request, peer: WebSocketConnection, fields: list[tuple[str, str]]) -> bool:
        """Answer the opening handshake of a WebSocket of the author's part."""
        call = self._call
        if self._transport.is_closing() or not isinstance(call, SocketCall):
            return False
        out: list[bytes] = []
        if not self._switch(request, out, peer, call, fields, False):
            self._transport.write(b"".join(out))
            self._close()
            return False
        return True

    def refuse_handshake(self, status: int) -> None:
        """Answer it with another status."""
        self._call = None
        self._respond(Response(status, b"", _TEXT))

    def _refuse(self, error: HttpError) -> bytes:
        """What broke the grammar is answered once, and then nothing more is taken."""
        self._closing = self._refused = True
        self._since = self._shared.loop.time()
        return serialize_response(
            error.status,
            _TEXT,
            f"{error.message}\n".encode(),
            keep_alive=False,
            date=self._shared.date,
        )

    def _goes_elsewhere(self, request: Request, out: list[bytes]) -> bool:
        """Give the connection to the worker that should have it, if that is another one."""
        neighbours = self._shared.neighbours
        if neighbours is None or self._has_place:
            return False
        session_id = self._shared.app.session_id_of(request)
        if self._shared.draining:
            # What would open a session is for a worker that serves, as this one no longer does.
            return request.upgrade and session_id is None and self._give(request, out, neighbours.pass_on)
        if session_id is not None:
            slot = neighbours.worker_of(session_id)
        elif request.upgrade and self._shared.app.is_session_path(request.path):
            # Nobody overtakes those who wait for a place here.
            slot = None if self._shared.context.pool.n_waiting else neighbours.assign()
            self._has_place = slot is not None
        elif not self._is_given and self._shared.app.opens_session(request):
            slot = neighbours.emptier()
        else:
            slot = None
        if slot is None or slot == neighbours.slot:
            return False
        has_place = self._has_place
        if self._give(request, out, lambda number, data: neighbours.give(slot, number, data, has_place)):
            self._has_place = False
            return True
        if has_place:
            neighbours.keep(slot)
        return False

    def _give(self, request: Request, out: list[bytes], give: Callable[[int, bytes], bool]) -> bool:
        """Give the connection away, with the request and what came behind it; False if it is still ours."""
        if out or not self._can_be_given():
            return False
        rest = self._parser.take_rest()
        if give(self._transport.get_extra_info("socket").fileno(), request.to_bytes() + rest):
            self.abort()  # closes this process's descriptor alone: nothing is sent
            return True
        self._parser.receive_data(rest)
        return False

    def _can_be_given(self) -> bool:
        # What TLS knows of a connection cannot be handed over, nor can replies that wait to be sent.
        transport = self._transport
        return not (transport.get_write_buffer_size() or transport.get_extra_info("ssl_object"))

    def _upgrade(self, request: Request, out: list[bytes]) -> None:
        shared = self._shared
        websocket = WebSocketConnection(shared, self._transport)
        # Where workers are replaced, a client is to come again and not to give up: it is told 1001.
        is_refused = shared.draining and (shared.neighbours is None or not shared.neighbours.others_serve)
        socket = None if is_refused else shared.app.open_socket(shared.context, request.path, websocket)
        if socket is None:
            status = 503 if is_refused else 403
            out.append(serialize_response(status, _TEXT, b"", keep_alive=False, date=shared.date))
            self._closing = True
            return
        protocol = chosen_protocol(request)
        fields = _HANDSHAKE_HEADERS
        if protocol is not None:
            fields = [*fields, ("Sec-WebSocket-Protocol", protocol)]
        has_place, self._has_place = self._has_place, False
        if not self._switch(request, out, websocket, socket, fields, has_place):
            self._has_place = has_place
            self._closing = True
        elif shared.draining:
            websocket.drain()

    def _switch(
        self,
        request: Request,
        out: list[bytes],
        websocket: WebSocketConnection,
        socket: SessionSocket | SocketCall,
        fields: list[tuple[str, str]],
        has_place: bool,
    ) -> bool:
        """Put a WebSocket in this connection's place; False if there was no handshake to be answered."""
        shared = self._shared
        status, handshake = accept_upgrade(request.target, list(request.headers), fields)
        out.append(handshake)
        if status != 101:
            return False
        self._transport.write(b"".join(out))
        out.clear()
        rest = self._parser.take_rest()
        self._transport.set_protocol(websocket)
        if self._paused:
            self._transport.resume_reading()
        self._busy = True  # this object has no say any more
        self._call = None
        websocket.start(socket, request.query, rest, has_place)
        shared.forget_http(self)
        return True

    def check_time(self, now: float) -> None:
        """Close if the peer has been too slow: RFC 9110 section 15.5.9."""
        if self._closing:
            if now - self._since > _LINGER_S:
                self._transport.close()
            return
        if self._busy or self._is_behind:
            return
        config = self._shared.config
        phase = self._parser.phase
        waited = now - self._since
        if phase is Phase.HEAD and waited > config.head_timeout_s:
            self._time_out("the request's head took too long")
        elif phase is Phase.BODY and waited > config.body_timeout_s:
            self._time_out("the request's body took too long")
        elif phase is Phase.IDLE and waited > (_FAREWELL_S if self._shared.draining else config.keep_alive_s):
            self._close()

    def _time_out(self, reason: str) -> None:
        self._transport.write(self._refuse(HttpError(408, reason)))
        self._close()

    def drain(self) -> None:
        """Close once the running request is answered; where none runs, give it to a worker that serves."""
        if self._busy or self._is_behind or self._parser.phase is not Phase.IDLE:
            return
        neighbours = self._shared.neighbours
        if neighbours is not None and not self._closing and neighbours.others_serve:
            # Its first request may be under way: closing would lose it.
            if not self._can_be_given():
                self._since = self._shared.loop.time()  # `check_time` closes it in a moment
                return
            if neighbours.pass_on(self._transport.get_extra_info("socket").fileno()):
                self.abort()
                return
        self._close()

    def abort(self) -> None:
        """Close without further ado."""
        self._closing = True
        self._transport.abort()

    def _close(self) -> None:
        self._closing = True
        if self._refused and self._transport.can_write_eof() and not self._ended:
            # Closing with unread bytes in the kernel makes it send a reset, which can overtake the
            # answer (RFC 9112 section 9.6): say that we are done, and read on for a moment.
            self._transport.write_eof()
        else:
            self._transport.close()


class _Door:
    """The opening handshake of a WebSocket of the author's part."""

    __slots__ = ("_connection", "_peer", "_request")

    def __init__(self, connection: HttpConnection, request: Request, peer: WebSocketConnection) -> None:
        self._connection = connection
        self._request = request
        self._peer = peer

    def accept(self, subprotocol: str | None, headers: tuple[tuple[str, str], ...]) -> bool:
        """Answer with 101."""
        fields = [*headers] if subprotocol is None else [*headers, ("Sec-WebSocket-Protocol", subprotocol)]
        return self._connection.accept(self._request, self._peer, fields)

    def refuse(self, status: int) -> None:
        """Answer with another status."""
        self._connection.refuse_handshake(status)


class WebSocketConnection(asyncio.Protocol):
    """A connection that was upgraded. To its session's socket it is the peer."""

    __slots__ = (
        "_answered",
        "_heard",
        "_is_behind",
        "_is_between",
        "_n_received",
        "_n_sent",
        "_paused",
        "_reads",
        "_rest",
        "_shared",
        "_socket",
        "_spoke_at",
        "_timer",
        "_transport",
        "_ws",
        "is_writable",
        "step_now",
    )

    def __init__(self, shared: Connections, transport: Any) -> None:
        self._shared = shared
        self._transport = transport
        self._ws = WebSocketServer(shared.config.max_message_bytes)
        # Copied, so that a plain step touches no object that it does not need.
        self._is_between = self._ws.is_between
        self.step_now: StepNow | None = None
        self._socket: SessionSocket | SocketCall | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._answered = True
        # Bytes of messages since the last look; for the lease, when there were any at a look.
        self._n_received = 0
        self._n_sent = 0
        self._spoke_at = shared.loop.time()
        self._paused = False
        self._reads = True
        self._is_behind = False  # waits for its turn
        self._rest = b""  # received while a large message waits for its turn
        self.is_writable = True

    def start(
        self, socket: SessionSocket | SocketCall, query: str, rest: bytes, has_place: bool = False
    ) -> None:
        """Go on after the handshake, with the bytes that came behind it."""
        self._socket = socket
        self._shared.websockets.add(self)
        socket.open(query, has_place=has_place)
        if rest:
            self.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._settle_bytes()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.lost()
        self._shared.forget_websocket(self)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        step_now = self.step_now
        if step_now is not None and self._is_between and self.is_writable:
            action = plain_step(data)
            if action is not None:
                try:
                    frame = step_now(action, observation_frame)
                except Exception as error:
                    frame = self._frame_of_error(error)
                self._n_received += len(data)
                self._n_sent += len(frame)
                self._transport.write(frame)
                return
        socket = self._socket
        if self._rest or self._ws.n_held >= _LARGE_BYTES:
            self._rest += data
            self._settle_reading()
        elif socket is not None:
            self._receive(data, socket)
            if self._ws.is_behind:
                self._settle_reading()

    def go_on(self) -> None:
        """Go on with what was left, unless nobody waits for it any more."""
        self._is_behind = False
        socket = self._socket
        if socket is None or self._paused or not self.is_writable:
            return  # for good, or until that has changed
        if _is_gone(self._transport):
            self.abort()
            return
        data, self._rest = self._rest, b""
        self._receive(data, socket)
        self._settle_reading()

    def _settle_reading(self) -> None:
        """Read while there is nothing left to look at, and the peer takes what it is told: pongs, too."""
        reads = self.is_writable and not self._paused
        if self._rest or self._ws.is_behind:
            if reads and not self._is_behind:
                self._is_behind = True
                self._shared.turns.add(self)
            reads = False
        if reads != self._reads and not self._transport.is_closing():
            self._reads = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _frame_of_error(self, error: Exception) -> bytes:
        assert self._socket is not None  # else no step could have been taken
        return text_frame(self._socket.reply_to(error))

    def _receive(self, data: bytes, socket: SessionSocket | SocketCall) -> None:
        out: list[bytes] = []
        size = 0
        events = self._ws.receive_data(data, _SLICE_FRAMES)
        if events:  # a pong is none
            self._n_received += len(data)
        if self._ws.has_data_to_send and self._ws.is_open:
            self._flush()  # a pong goes before what was said behind its ping: RFC 6455 section 5.5.2
        for event in events:
            if type(event) is bytes:
                reply = socket.receive(event)
                if reply is not None:
                    out.append(text_frame(reply))
                    size += len(reply)
                    if size > _GATHER_BYTES:
                        self._transport.write(b"".join(out))
                        out = []
                        size = 0
            elif type(event) is CloseReceived:
                self._write(out)
                out = []
                self._close_received(event, socket)
            elif type(event) is BinaryMessage:
                self._write(out)
                out = []
                socket.receive_binary(event.data)
        self._is_between = self._ws.is_between
        self._write(out)

    def _write(self, out: list[bytes]) -> None:
        if out:
            data = b"".join(out)
            self._n_sent += len(data)
            self._transport.write(data)

    def _close_received(self, event: CloseReceived, socket: SessionSocket | SocketCall) -> None:
        if event.code in _FAILURES:
            # We failed the connection: RFC 6455 section 7.1.7 wants it closed at once.
            self._flush()
            socket.lost()
        elif self._timer is not None:
            self._flush()  # it answers the close that we sent
        else:
            socket.closing()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        self.is_writable = False
        self._settle_reading()

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._socket is not None:
            self._socket.pump()
        self._settle_reading()

    # What a session's socket asks of its peer.

    def send(self, reply: bytes) -> None:
        """Send one text message."""
        if self._ws.is_open:
            frame = text_frame(reply)
            self._n_sent += len(frame)
            self._transport.write(frame)

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        if self._ws.is_open:
            self._transport.write(binary_frame(data))

    def close(self, code: int) -> None:
        """Start the closing handshake, or answer the client's."""
        self._ws.send_close(code)
        self._is_between = False
        self._flush()
        if self._timer is not None or self._transport.is_closing():
            return
        shared = self._shared
        wait_s = shared.config.close_timeout_s
        if shared.draining:
            # Closed, not cut off: what the client has yet to read still goes out.
            self._timer = shared.loop.call_later(min(wait_s, _FAREWELL_S), self._transport.close)
        else:
            self._timer = shared.loop.call_later(wait_s, self.abort)

    def pause(self) -> None:
        """Stop reading."""
        self._paused = True
        self._settle_reading()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._settle_reading()

    def _flush(self) -> None:
        data, is_last = self._ws.data_to_send()
        if self._transport.is_closing():
            return  # the peer is gone, and uvloop takes no more once its handle is
        if data:
            self._transport.write(data)
        if is_last:
            self._transport.close()

    def check_silence(self) -> None:
        """Ping a peer that has said nothing since the last look; end one that owes a pong for long.

        No pong is demanded unless `ping_timeout_s` says so: a trainer that blocks its own event
        loop for minutes must find its session where it left it. TCP keep-alive finds dead hosts.
        """
        if self._heard:
            self._heard = False
            self._answered = True
        elif self._ws.is_open:
            if not self._answered and self._shared.config.ping_timeout_s is not None:
                self.abort()
                return
            self._answered = False
            self._transport.write(self._ws.send_ping())

    def _settle_bytes(self) -> bool:
        """Have the meter know of the bytes since the last time; whether a message came."""
        meter = self._shared.meter
        n_received, self._n_received = self._n_received, 0
        n_sent, self._n_sent = self._n_sent, 0
        meter.count("received_bytes", n_received)
        meter.count("sent_bytes", n_sent)
        return n_received > 0

    def check_lease(self, oldest: float, lease_s: float) -> None:
        """End the session if no message came since `oldest`, a time of the loop."""
        if self._settle_bytes():
            self._spoke_at = self._shared.loop.time()
        elif self._spoke_at < oldest and self._socket is not None:
            self._socket.expire(lease_s)

    def drain(self) -> None:
        """Close with 1001 once the running call is answered."""
        if self._socket is not None:
            self._socket.drain()

    def abort(self) -> None:
        """Close without further ado."""
        self._transport.abort()


# Codes with which we fail a connection; a peer may not send these to us as its own except 1007-1009.
_FAILURES = frozenset({1002, 1006, 1007, 1008, 1009, 1011})
