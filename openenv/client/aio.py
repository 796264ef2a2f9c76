"""Channels on an event loop, asyncio's or uvloop's: a protocol straight on its transport.

One future per ask and nothing else: no lock, queue, coroutine, task or timer. The one timer of a
channel stands at the earliest deadline that was ever set and looks, when it goes off, whether there
still is something to give up. Turns are queued only while more than one task asks.

Knows nothing about message contents. Limits: at most ``_MAX_OPENING`` handshakes at a time per
loop, so that opening thousands of sessions at once does not overflow a server's accept queue.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import _get_running_loop, get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from math import inf
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from openenv.client.address import Address
from openenv.client.channel import Options, lost_error, tls_context
from openenv.client.transport import SocketTransport
from openenv.errors import ConnectError, ProtocolError, ReplyTimeoutError
from openenv.protocol.client_websocket import WebSocketClient
from openenv.protocol.http_client import Response, ResponseParser

__all__ = ["AsyncChannel", "AsyncNetwork"]

_MAX_OPENING = 64
_BUFFER_BYTES = 256 * 1024
_CLOSE_MESSAGE = b'{"type":"close"}'

T = TypeVar("T")

# Of each loop: what a transport reads into is looked at before anything else is read.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate] = WeakKeyDictionary()


class AsyncNetwork:
    """Connections on whichever event loop is running."""

    def __init__(self) -> None:
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def limit(self, timeout_s: float) -> AbstractAsyncContextManager[Any]:
        """See `Network.limit`. The time starts when the loop lets one more handshake begin."""
        loop = get_running_loop()
        gate = _gates.get(loop)
        if gate is None:
            gate = _gates[loop] = _Gate(loop)
        return _Limit(gate, timeout_s)

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """See `Network.turn`."""
        loop = get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        return self._turn[1]

    async def dial(self, address: Address) -> AsyncLink:
        """See `Network.dial`."""
        loop = get_running_loop()
        family = None if address.secure else _family_of(address.host)
        if family is not None:
            connection = await _connect(loop, family, (address.host, address.port))
            link = AsyncLink(loop)
            try:
                SocketTransport(loop, connection, link)
            except BaseException:
                connection.close()
                raise
            return link
        _, link = await loop.create_connection(
            lambda: AsyncLink(loop),
            address.host,
            address.port,
            ssl=tls_context() if address.secure else None,
            server_hostname=address.host if address.secure else None,
        )
        return link

    async def call(self, function: Callable[[], T]) -> T:
        """See `Network.call`."""
        return await asyncio.to_thread(function)


class _Gate:
    """Through which some tasks of a loop at a time may open sessions, and the one timer of them all."""

    __slots__ = ("_loop", "_n_free", "_open", "_timer", "_timer_at", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._n_free = _MAX_OPENING
        self._open: set[_Limit] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    async def wait(self) -> None:
        """Wait for a free place, which is then the caller's."""
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_place()
            raise

    def take_place(self) -> bool:
        """Take a free place, if there is one."""
        if self._n_free == 0:
            return False
        self._n_free -= 1
        return True

    def give_place(self) -> None:
        """Give a place to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1

    def add(self, limit: _Limit) -> None:
        """Watch the deadline of one that is through."""
        self._open.add(limit)
        if limit.deadline < self._timer_at:
            self._set_timer(limit.deadline)

    def remove(self, limit: _Limit) -> None:
        """The opposite of `add`; the last one takes the timer with it."""
        self._open.discard(limit)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = inf

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        self._timer_at = inf
        now = self._loop.time()
        for limit in [limit for limit in self._open if limit.deadline <= now]:
            self._open.discard(limit)
            limit.expire()
        if self._open:
            self._set_timer(min(limit.deadline for limit in self._open))


class _Limit:
    """A block that some tasks at a time may be in, each for some seconds; `asyncio.timeout` for many."""

    __slots__ = ("_cancels", "_expired", "_gate", "_task", "_timeout_s", "deadline")

    def __init__(self, gate: _Gate, timeout_s: float) -> None:
        self._gate = gate
        self._timeout_s = timeout_s
        self._expired = False

    async def __aenter__(self) -> None:
        if not self._gate.take_place():
            await self._gate.wait()
        task = asyncio.current_task()
        assert task is not None  # a coroutine of a client is run by one
        self._task = task
        self._cancels = task.cancelling()
        self.deadline = get_running_loop().time() + self._timeout_s
        self._gate.add(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.remove(self)
        self._gate.give_place()
        # Who was cancelled by somebody else as well stays cancelled.
        if self._expired and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Called by the gate, once, when the time is over."""
        self._expired = True
        self._task.cancel()


@lru_cache(maxsize=256)
def _family_of(host: str) -> socket.AddressFamily | None:
    """The family of a numeric address; None for a name, which has to be looked up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return family
    return None


async def _connect(
    loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, place: tuple[str, int]
) -> socket.socket:
    """A connected socket; without a turn of the loop where the server is on this machine.

    Opening a thousand sessions at once spends a quarter of its time on what the loop does to wait
    for a connection that, over the loopback, is there before the second question about it.
    """
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if connection.connect_ex(place) != 0 and connection.connect_ex(place) not in (0, errno.EISCONN):
            # Still on its way, or refused, which the loop finds out as well.
            await loop.sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


class AsyncLink(asyncio.Protocol):
    """One connection while it speaks HTTP."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] = loop.create_future()
        self._ended = False
        self._gone: asyncio.Future[None] | None = None
        self._rest: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._answer.done():
            self._rest.append(data)
            return
        try:
            response = self._parser.receive_data(data)
        except ProtocolError as error:
            self._answer.set_exception(error)
            return
        if response is not None:
            self._rest.append(self._parser.rest)
            self._answer.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if not self._answer.done():
            response = self._parser.receive_eof() if exc is None else None
            if response is not None:
                self._answer.set_result(response)
            else:
                self._answer.set_exception(exc or ConnectionResetError("closed before it answered"))
        self._ended = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def exchange(self, request: bytes) -> Response:
        """See `Link.exchange`."""
        assert self._transport is not None
        self._transport.write(request)
        return await self._answer

    def upgrade(self, wire: WebSocketClient, url: str, options: Options, takes_timeout: bool) -> AsyncChannel:
        """See `Link.upgrade`."""
        assert self._transport is not None
        # asyncio's own transports allocate 256 KiB for each read of a Protocol, which costs more than
        # all the rest of it; uvloop's do not, and are slower with a BufferedProtocol.
        kind = _BufferedChannel if isinstance(self._transport, asyncio.Transport) else _PlainChannel
        channel = kind(self._loop, self._transport, wire, url, options, takes_timeout)
        self._transport.set_protocol(channel)
        rest = b"".join(self._rest)
        if rest:
            channel.data_received(rest)
        if self._ended:
            channel.connection_lost(None)
        return channel

    async def close(self) -> None:
        """See `Link.close`."""
        assert self._transport is not None
        self._transport.abort()
        if self._answer.done() and not self._answer.cancelled():
            self._answer.exception()
        if not self._ended:
            self._gone = self._loop.create_future()
            await self._gone


class AsyncChannel(asyncio.BaseProtocol):
    """One session on an event loop. Used by tasks of that loop only."""

    __slots__ = (
        "_abort_timer",
        "_beat_timer",
        "_deadline",
        "_ended",
        "_gone",
        "_heard",
        "_inbox",
        "_loop",
        "_lost",
        "_options",
        "_owed",
        "_pinged_at",
        "_timer",
        "_timer_at",
        "_transport",
        "_turns",
        "_url",
        "_waiter",
        "_wire",
        "asked",
        "takes_timeout",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        wire: WebSocketClient,
        url: str,
        options: Options,
        takes_timeout: bool,
    ) -> None:
        self.takes_timeout = takes_timeout
        self.asked = False
        self._loop = loop
        self._transport = transport
        self._wire = wire
        self._url = url
        self._options = options
        self._lost: str | None = None
        # Of the ask that was sent last: pending; or cancelled, its reply still to come; or None.
        self._waiter: asyncio.Future[bytes] | None = None
        # Replies that nobody waits for any longer, and messages that nobody asked for. Both lists are
        # nearly always empty, and an empty deque is ten times the size.
        self._owed = 0
        self._inbox: list[bytes] = []
        # Of asks that came while another one was waiting, each until it has been sent.
        self._turns: list[asyncio.Future[None]] = []
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._heard = False
        self._pinged_at: float | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._gone: asyncio.Future[None] | None = None
        if options.ping_interval_s is not None:
            self._beat_timer = loop.call_later(options.ping_interval_s, self._beat)

    def is_usable(self) -> bool:
        """See `Channel.is_usable`."""
        return (self._lost is None or len(self._inbox) > 0) and _get_running_loop() is self._loop

    def loss(self) -> ConnectError:
        """See `Channel.loss`."""
        return lost_error(self._url, self._lost or "the session belongs to another event loop")

    def ask(self, message: bytes, timeout_s: float | None) -> Awaitable[bytes]:
        """See `Channel.ask`."""
        if self._waiter is None and not self._turns and not self._inbox and self._lost is None:
            return self._send(message, timeout_s)
        return self._ask_in_turn(message, timeout_s)

    def _send(self, message: bytes, timeout_s: float | None) -> asyncio.Future[bytes]:
        self.asked = True
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(self._wire.text_frame(message))
        if timeout_s is None:
            self._deadline = inf
        else:
            self._deadline = deadline = self._loop.time() + timeout_s
            if deadline < self._timer_at:
                self._set_timer(deadline)
        return waiter

    async def _ask_in_turn(self, message: bytes, timeout_s: float | None) -> bytes:
        """Ask when whoever came before has been answered, or has given up."""
        if self._turns or (self._waiter is not None and not self._waiter.done()):
            await self._take_turn()
        if self._inbox:
            self._give_turn()
            return self._inbox.pop(0)
        if self._lost is not None:
            self._give_turn()
            raise self.loss()
        if self._waiter is not None:
            self._owed += 1
        waiter = self._send(message, timeout_s)
        if self._turns:
            waiter.add_done_callback(self._give_turn)
        return await waiter

    async def _take_turn(self) -> None:
        if not self._turns and self._waiter is not None:
            self._waiter.add_done_callback(self._give_turn)
        turn = self._loop.create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._turns.remove(turn)
            self._give_turn()
            raise
        self._turns.remove(turn)

    def _give_turn(self, answered: asyncio.Future[bytes] | None = None) -> None:
        """Wake who waits longest, unless somebody is awake already or must still wait."""
        if self._waiter is not None and not self._waiter.done():
            return
        for turn in self._turns:
            if not turn.cancelled():
                if not turn.done():
                    turn.set_result(None)
                return

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._heard = True
        message = self._wire.receive_whole(data)
        if message is not None:
            waiter = self._waiter
            if waiter is not None and not self._owed:
                self._waiter = None
                if not waiter.done():
                    waiter.set_result(message)
                return
        wire = self._wire
        messages = (message,) if message is not None else wire.receive_data(data)
        for message in messages:
            self._take(message)
        if self._inbox and self._gone is not None:
            # A server that answers to "close" does not know it: it gets the protocol's own close.
            wire.send_close()
        out = wire.data_to_send()
        if out:
            self._transport.write(out)
        if wire.closed is not None and self._lost is None:
            code, reason = wire.closed
            self._lose(f"the server closed the session ({code}{' ' + reason if reason else ''})")
            # The server closes the TCP connection first (RFC 6455 section 7.1.1), if it is alive.
            self._abort_timer = self._loop.call_later(self._options.close_timeout_s, self._transport.abort)

    def _take(self, message: bytes) -> None:
        if self._owed:
            self._owed -= 1
        elif self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_result(message)
        else:
            self._inbox.append(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._ended = True
        self._wire.receive_eof()
        self._lose(f"the connection was lost ({exc})" if exc else "the server closed the connection")
        self._stop_timers()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(self.loss())
            waiter.exception()  # whoever asked may be gone: that is nothing to be reported

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        self._timer_at = inf
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._deadline:
            if self._deadline < inf:
                self._set_timer(self._deadline)
            return
        self._waiter = None
        self._owed += 1
        waiter.set_exception(ReplyTimeoutError(f"{self._url}: no reply in time; a late one is dropped"))
        waiter.exception()  # as in `_lose`

    def _beat(self) -> None:
        """Ping a server that was silent for an interval; give up one that stays silent.

        A loop that was blocked runs this late, but reads what has arrived meanwhile first.
        """
        options = self._options
        assert options.ping_interval_s is not None
        now = self._loop.time()
        if self._heard:
            self._heard = False
            self._pinged_at = None
            wait = options.ping_interval_s
        elif self._pinged_at is None:
            self._pinged_at = now
            self._wire.send_ping()
            self._transport.write(self._wire.data_to_send())
            wait = options.ping_timeout_s or options.ping_interval_s
        elif options.ping_timeout_s is not None and now >= self._pinged_at + options.ping_timeout_s:
            self._lose(f"no pong within {options.ping_timeout_s:g} s")
            self._transport.abort()
            return
        else:
            wait = options.ping_timeout_s or options.ping_interval_s
        self._beat_timer = self._loop.call_later(wait, self._beat)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._beat_timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._beat_timer = self._abort_timer = None
        self._timer_at = inf

    async def close(self) -> None:
        """See `Channel.close`."""
        if get_running_loop() is not self._loop:
            self.abandon()
            return
        if self._ended:
            return
        self._gone = gone = self._loop.create_future()
        self._stop_timers()
        try:
            if self._lost is None:
                self._transport.write(self._wire.text_frame(_CLOSE_MESSAGE))
                if self._owed or self._waiter is not None:
                    # The server is still at work on something: it may not look for a while.
                    self._wire.send_close()
                    self._transport.write(self._wire.data_to_send())
            async with asyncio.timeout(self._options.close_timeout_s):
                await asyncio.shield(gone)
        except TimeoutError:
            pass
        finally:
            if not gone.done():
                self._lose("the session was closed")
                self._transport.abort()
                await asyncio.shield(gone)

    def abandon(self) -> None:
        """See `Channel.abandon`."""
        self._lose("its event loop was left")
        if not self._loop.is_closed():
            self._stop_timers()
            self._transport.abort()
            return
        # A transport cannot be closed without its loop, but the server need not wait for that.
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if isinstance(connection, socket.socket):
            connection.close()


class _PlainChannel(AsyncChannel, asyncio.Protocol):
    __slots__ = ()


class _BufferedChannel(AsyncChannel, asyncio.BufferedProtocol):
    __slots__ = ("_buffer",)

    def __init__(self, loop: asyncio.AbstractEventLoop, *args: Any) -> None:
        super().__init__(loop, *args)
        buffer = _buffers.get(loop)
        if buffer is None:
            buffer = _buffers[loop] = memoryview(bytearray(_BUFFER_BYTES))
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))
