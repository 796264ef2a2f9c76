"""Channels on an event loop, asyncio's or uvloop's: a protocol straight on its transport.

One future per ask and nothing else: no lock, queue, coroutine, task or timer. The one timer of a
channel stands at what is due first, and looks, when it goes off, whether there still is something to
do. Turns are queued only while more than one task asks.

Knows nothing about message contents. Limits: at most `gate.MAX_OPENING` handshakes at a time per loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from asyncio import _get_running_loop, get_running_loop
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from math import inf
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from openenv.client.address import Address
from openenv.client.channel import Options, lost_error, tls_context
from openenv.client.gate import Gate
from openenv.client.pulse import Pulse
from openenv.client.transport import SocketTransport
from openenv.errors import ConnectError, ProtocolError, ReplyTimeoutError
from openenv.protocol.client_websocket import Handshake, WebSocketClient
from openenv.protocol.http_client import Response, ResponseParser

__all__ = ["AsyncChannel", "AsyncNetwork"]

_BUFFER_BYTES = 256 * 1024
_CLOSE_MESSAGE = b'{"type":"close"}'
_NON_BLOCKING: int = getattr(socket, "SOCK_NONBLOCK", 0)
_LOCAL = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))

T = TypeVar("T")
Place = tuple[socket.AddressFamily, tuple[Any, ...]]

# Of each loop: what a transport reads into is looked at before anything else is read.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


class AsyncNetwork:
    """Connections on whichever event loop is running."""

    __slots__ = ("_busy", "_waiting")

    def __init__(self) -> None:
        # The loop on which a task of the client has its turn, and who waits there for the next one.
        self._busy: asyncio.AbstractEventLoop | None = None
        self._waiting: Sequence[asyncio.Future[None]] = ()

    def limit(self, timeout_s: float) -> AbstractAsyncContextManager[Any]:
        """See `Network.limit`. The time starts when the loop lets one more handshake begin."""
        return Gate.of(get_running_loop()).limit(timeout_s)

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """See `Network.turn`."""
        return self

    async def __aenter__(self) -> None:
        loop = get_running_loop()
        # A turn on another loop, which has ended, is nobody's any longer.
        while self._busy is loop:
            ended = loop.create_future()
            self._waiting = (*self._waiting, ended)
            await ended
        self._busy = loop

    async def __aexit__(self, *raised: object) -> None:
        self._busy = None
        waiting, self._waiting = self._waiting, ()
        for one in waiting:
            if not one.done() and one.get_loop() is get_running_loop():
                one.set_result(None)

    async def dial(self, address: Address) -> AsyncLink:
        """See `Network.dial`."""
        loop = get_running_loop()
        link = AsyncLink(loop)
        if address.secure:
            await loop.create_connection(
                lambda: link, address.host, address.port, ssl=tls_context(), server_hostname=address.host
            )
            return link
        places = _places_of(address.host, address.port)
        connection = await _connect(loop, places or await _look_up(loop, address.host, address.port))
        try:
            SocketTransport(loop, connection, link)
        except BaseException:
            connection.close()
            raise
        return link

    async def call(self, function: Callable[[], T]) -> T:
        """See `Network.call`."""
        return await asyncio.to_thread(function)


@lru_cache(maxsize=256)
def _places_of(host: str, port: int) -> list[Place]:
    """Where a numeric address, or this machine, is; nothing for other names, which must be looked up."""
    if host.lower() == "localhost":  # for which nobody is asked: RFC 6761 section 6.3
        return [(family, (number, port)) for number, family in _LOCAL]
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return [(family, (host, port))]
    return []


async def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Place]:
    """Where a name leads; those who ask at the same time ask once."""
    lookups = Gate.of(loop).lookups
    lookup = lookups.get((host, port))
    if lookup is None:
        lookup = loop.run_in_executor(None, socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
        lookups[host, port] = lookup
        # Whoever asked may be gone when it fails: that is nothing to be reported.
        lookup.add_done_callback(lambda lookup: lookup.cancelled() or lookup.exception())
    return [(found[0], found[4]) for found in await asyncio.shield(lookup)]


async def _connect(loop: asyncio.AbstractEventLoop, places: list[Place]) -> socket.SocketType:
    """A socket that is connected to the first place where somebody is, or is on its way to the last.

    The last is not waited for: a failure is told by the first attempt to write or read. Opening a
    thousand sessions at once spends a quarter of its time on what a loop does to wait for a connection
    that, on the same machine, is there at once.
    """
    first: OSError | None = None
    for place in places[:-1]:
        try:
            return await _connect_to(loop, *place)
        except OSError as error:
            first = first or error
    try:
        return _begin(*places[-1])
    except OSError as error:
        raise (first or error) from None


async def _connect_to(
    loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, where: tuple[Any, ...]
) -> socket.SocketType:
    connection = _begin(family, where)
    try:
        number = connection.connect_ex(where)
        if number in (0, errno.EISCONN):
            return connection
        if number not in (errno.EALREADY, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
        # A loop's own way wants the larger kind of socket.
        whole = socket.socket(fileno=connection.detach())
    except BaseException:
        connection.close()
        raise
    try:
        whole.setblocking(False)
        await loop.sock_connect(whole, where)
    except BaseException:
        whole.close()
        raise
    return whole


def _begin(family: socket.AddressFamily, where: tuple[Any, ...]) -> socket.SocketType:
    """A non-blocking socket that is on its way; without what `socket.socket` adds to the system's."""
    connection = socket.SocketType(family, socket.SOCK_STREAM | _NON_BLOCKING)
    try:
        if not _NON_BLOCKING:
            connection.setblocking(False)
        number = connection.connect_ex(where)
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
    except BaseException:
        connection.close()
        raise
    return connection


class AsyncLink(asyncio.Protocol):
    """One connection while it speaks HTTP."""

    __slots__ = ("_answer", "_ended", "_gone", "_loop", "_reader", "_rest", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader: Handshake | ResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] = loop.create_future()
        self._ended = False
        self._gone: asyncio.Future[None] | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        # Neither uvloop's transports nor our own are of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        answer = self._answer
        reader = self._reader
        if reader is None or answer.done():
            self._rest += data
            return
        try:
            response = reader.receive_data(data)
        except ProtocolError as error:
            answer.set_exception(error)
            return
        if response is not None:
            self._rest = reader.rest
            answer.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self._ended = True
        answer = self._answer
        if not answer.done():
            response = self._reader.receive_eof() if exc is None and self._reader is not None else None
            if response is not None:
                answer.set_result(response)
            else:
                answer.set_exception(exc or ConnectionResetError("closed before it answered"))
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def exchange(self, request: bytes, reader: Handshake | ResponseParser) -> Response:
        """See `Link.exchange`."""
        assert self._transport is not None
        self._reader = reader
        self._transport.write(request)
        if self._rest:
            # A server that spoke before it was asked.
            early, self._rest = self._rest, b""
            self.data_received(early)
        return await self._answer

    def upgrade(self, wire: WebSocketClient, url: str, options: Options, takes_timeout: bool) -> AsyncChannel:
        """See `Link.upgrade`."""
        transport = self._transport
        assert transport is not None
        # asyncio's own transports allocate 256 KiB for each read of a Protocol, which costs more than
        # all the rest of it; uvloop's do not, and are slower with a BufferedProtocol.
        kind = _BufferedChannel if isinstance(transport, asyncio.Transport) else _PlainChannel
        channel = kind(self._loop, transport, wire, url, options, takes_timeout)
        transport.set_protocol(channel)
        if self._rest:
            channel.data_received(self._rest)
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
        "_beat_by",
        "_deadline",
        "_ended",
        "_gone",
        "_heard",
        "_inbox",
        "_look_by",
        "_loop",
        "_lost",
        "_options",
        "_owed",
        "_pinged_at",
        "_pulse",
        "_timer",
        "_transport",
        "_turns",
        "_url",
        "_waiter",
        "_wire",
        "asked",
        "beat_at",
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
        # Replies that nobody waits for any longer, and messages that nobody asked for. These and the
        # turns are nearly always empty: then they are the same object for everybody.
        self._owed = 0
        self._inbox: Sequence[bytes] = ()
        # Of asks that came while another one was waiting, each until it has been sent.
        self._turns: Sequence[asyncio.Future[None]] = ()
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        # By when somebody will look at the deadline: a beat does, and nearly every reply is there before.
        self._look_by = self._beat_by = inf
        self._heard = False
        self._pinged_at: float | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._gone: asyncio.Future[None] | None = None
        self._pulse: Pulse | None = None
        self.beat_at = inf
        if options.ping_interval_s is not None:
            self._pulse = Pulse.of(loop, options.ping_interval_s)
            self._pulse.add(self)
            self._beat_after(options.ping_interval_s, loop.time())

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
            if deadline < self._look_by:
                self._set_timer(deadline)
        return waiter

    async def _ask_in_turn(self, message: bytes, timeout_s: float | None) -> bytes:
        """Ask when whoever came before has been answered, or has given up."""
        if self._turns or (self._waiter is not None and not self._waiter.done()):
            await self._take_turn()
        if self._inbox:
            self._give_turn()
            reply, *self._inbox = self._inbox
            return reply
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
        self._turns = (*self._turns, turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._leave_turns(turn)
            self._give_turn()
            raise
        self._leave_turns(turn)

    def _leave_turns(self, turn: asyncio.Future[None]) -> None:
        self._turns = tuple(one for one in self._turns if one is not turn)

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
        """Called by the transport."""
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
            self._inbox = (*self._inbox, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
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
        self._look_by = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        self._look_by = self._beat_by
        self._check_deadline(self._loop.time())

    def _check_deadline(self, now: float) -> None:
        """Give up a reply that is late; one that would be so before anybody looks gets a timer."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if now < self._deadline:
            if self._deadline < self._look_by:
                self._set_timer(self._deadline)
            return
        self._waiter = None
        self._owed += 1
        waiter.set_exception(ReplyTimeoutError(f"{self._url}: no reply in time; a late one is dropped"))
        waiter.exception()  # as in `_lose`

    def _beat_after(self, seconds: float, now: float) -> None:
        assert self._pulse is not None
        self.beat_at = now + seconds
        self._beat_by = self.beat_at + self._pulse.tick_s
        if self._timer is None:
            self._look_by = self._beat_by

    def beat(self, now: float) -> None:
        """Ping a server that was silent for an interval; give up one that stays silent.

        A loop that was blocked runs this late, but reads what has arrived meanwhile first.
        """
        options = self._options
        assert options.ping_interval_s is not None
        wait_s = options.ping_timeout_s or options.ping_interval_s
        if self._heard:
            self._heard = False
            self._pinged_at = None
            wait_s = options.ping_interval_s
        elif self._pinged_at is None:
            self._pinged_at = now
            self._wire.send_ping()
            self._transport.write(self._wire.data_to_send())
        elif options.ping_timeout_s is not None and now >= self._pinged_at + options.ping_timeout_s:
            self._lose(f"no pong within {options.ping_timeout_s:g} s")
            self._transport.abort()
            return
        self._beat_after(wait_s, now)
        self._check_deadline(now)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._abort_timer = None
        self.beat_at = self._look_by = self._beat_by = inf
        if self._pulse is not None:
            self._pulse.remove(self)
            self._pulse = None

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
        # A loop's transport cannot be closed without its loop, but the server need not wait for that.
        if isinstance(self._transport, SocketTransport):
            self._transport.leave()
            return
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


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
