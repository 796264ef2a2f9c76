"""Channels on a blocking socket, and the thread that keeps idle ones alive.

The coroutines of this module never suspend: a caller runs them to their end with one ``send(None)``
(`BlockingNetwork.drive`), so that a synchronous step costs two system calls and no event loop, and
works the same inside somebody else's running loop, in any thread and after a fork.

Whoever uses a channel holds its network's lock. While nobody does, one daemon thread, the keeper,
answers the server's pings every few seconds, sends ours, and ends when no channel is left.

Knows nothing about message contents. The only place of the client with sockets and threads.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakSet

from openenv.client.address import Address
from openenv.client.channel import Options, lost_error, tls_context
from openenv.errors import ConnectError, ReplyTimeoutError
from openenv.protocol.client_websocket import Handshake, WebSocketClient
from openenv.protocol.http_client import Response, ResponseParser

__all__ = ["BlockingChannel", "BlockingNetwork"]

_logger = logging.getLogger("openenv.client")

# More would be a memory mapping made and given back with each read, ten times the cost of reading.
_CHUNK_BYTES = 64 * 1024
_CLOSE_MESSAGE = b'{"type":"close"}'
# A server that pings every 20 s and waits 20 s for the pong must find somebody at home.
_KEEPER_PERIOD_S = 5.0
_PACK_TIMEVAL = struct.Struct("@ll").pack

T = TypeVar("T")


class _Family:
    """What this process and its forks have in common: nothing; each fork starts its own."""

    def __init__(self) -> None:
        self.generation = 0
        self.networks: WeakSet[BlockingNetwork] = WeakSet()
        self.keeper = Keeper()

    def forked(self) -> None:
        """In a child: no thread of the parent is here, whatever locks they held are for ever held."""
        self.generation += 1
        self.keeper = Keeper()
        for network in self.networks:
            network.lock = threading.RLock()


class Keeper:
    """One thread for all idle channels of a process; it runs while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: WeakSet[BlockingChannel] = WeakSet()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, channel: BlockingChannel) -> None:
        """Look after a channel from now on, for as long as anybody else holds it."""
        with self._lock:
            self._channels.add(channel)
            if self._thread is None:
                self._wake.clear()
                thread = threading.Thread(target=self._run, name="openenv-keeper", daemon=True)
                thread.start()
                self._thread = thread

    def discard(self, channel: BlockingChannel) -> None:
        """Look after it no longer."""
        with self._lock:
            self._channels.discard(channel)

    def _run(self) -> None:
        while True:
            self._wake.wait(_KEEPER_PERIOD_S)
            with self._lock:
                channels = list(self._channels)
                if not channels:
                    self._thread = None
                    return
            now = monotonic()
            for channel in channels:
                channel.keep(now)
            del channels, channel


class BlockingNetwork:
    """Connections of one client, used by one thread at a time.

    Attributes:
        lock: Held by whoever uses the network or a channel of it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._deadline = 0.0
        _family.networks.add(self)

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that waits for nothing but this network."""
        with self.lock:
            try:
                coroutine.send(None)
            except StopIteration as stop:
                result: T = stop.value
                return result
            coroutine.close()
            raise RuntimeError("a coroutine over a blocking channel waited for something else")

    def limit(self, timeout_s: float) -> AbstractAsyncContextManager[None]:
        """See `Network.limit`."""
        self._deadline = monotonic() + timeout_s
        return nullcontext()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """See `Network.turn`; the lock is held already."""
        return nullcontext()

    async def dial(self, address: Address) -> BlockingLink:
        """See `Network.dial`."""
        connection = socket.create_connection((address.host, address.port), remaining(self._deadline))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.secure:
                connection.settimeout(remaining(self._deadline))
                connection = tls_context().wrap_socket(connection, server_hostname=address.host)
        except BaseException:
            connection.close()
            raise
        return BlockingLink(connection, self, self._deadline)

    async def call(self, function: Callable[[], T]) -> T:
        """See `Network.call`."""
        return function()


def remaining(deadline: float) -> float:
    """Seconds until then, > 0; TimeoutError if it has passed."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class BlockingLink:
    """One connection while it speaks HTTP."""

    def __init__(self, connection: socket.socket, network: BlockingNetwork, deadline: float) -> None:
        self._socket = connection
        self._network = network
        self._deadline = deadline
        self._rest = b""

    async def exchange(self, request: bytes, reader: Handshake | ResponseParser) -> Response:
        """See `Link.exchange`."""
        self._socket.settimeout(remaining(self._deadline))
        self._socket.sendall(request)
        while True:
            self._socket.settimeout(remaining(self._deadline))
            data = self._socket.recv(_CHUNK_BYTES)
            response = reader.receive_data(data) if data else reader.receive_eof()
            if response is not None:
                self._rest = reader.rest
                return response
            if not data:
                raise ConnectionResetError("closed before it answered")

    def upgrade(
        self, wire: WebSocketClient, url: str, options: Options, takes_timeout: bool
    ) -> BlockingChannel:
        """See `Link.upgrade`."""
        channel = BlockingChannel(self._socket, self._network, wire, url, options, takes_timeout)
        if self._rest:
            channel.receive(self._rest)
        _family.keeper.add(channel)
        return channel

    async def close(self) -> None:
        """See `Link.close`."""
        self._socket.close()


class BlockingChannel:
    """One session on a blocking socket."""

    def __init__(
        self,
        connection: socket.socket,
        network: BlockingNetwork,
        wire: WebSocketClient,
        url: str,
        options: Options,
        takes_timeout: bool,
    ) -> None:
        self.takes_timeout = takes_timeout
        self.asked = False
        self._socket = connection
        self._network = network
        self._wire = wire
        self._url = url
        self._options = options
        self._generation = _family.generation
        self._tls = isinstance(connection, ssl.SSLSocket)
        self._lost: str | None = None
        # Replies that nobody waits for any longer, and messages that nobody asked for.
        self._owed = 0
        self._inbox: deque[bytes] = deque()
        self._wait_s = -1.0
        self._heard = False
        self._heard_at = monotonic()
        self._pinged_at: float | None = None
        connection.settimeout(None)

    def is_usable(self) -> bool:
        """See `Channel.is_usable`."""
        return (self._lost is None or len(self._inbox) > 0) and self._generation == _family.generation

    def loss(self) -> ConnectError:
        """See `Channel.loss`."""
        return lost_error(self._url, self._lost or "the session belongs to the process that forked this one")

    def ask(self, message: bytes, timeout_s: float | None) -> bytes:
        """See `Channel.ask`. The caller holds the network's lock and saw that it is usable."""
        if self._inbox:
            return self._inbox.popleft()
        self.asked = True
        wait_s = self._options.ping_interval_s or 0.0
        if timeout_s is not None and (timeout_s < wait_s or not wait_s):
            wait_s = timeout_s
        if wait_s != self._wait_s:
            self._set_wait(wait_s)
        started = monotonic()
        self._send(self._wire.text_frame(message))
        connection = self._socket
        receive_whole = self._wire.receive_whole
        taken = False
        try:
            while not self._inbox and self._lost is None:
                try:
                    data = connection.recv(_CHUNK_BYTES)
                except (BlockingIOError, TimeoutError):
                    self._keep_waiting(started, timeout_s)
                    continue
                except OSError as error:
                    self._lose(f"the connection was lost ({error})")
                    break
                taken = True
                self._heard = True
                reply = receive_whole(data)
                if reply is not None and not self._owed:
                    return reply
                self.receive(data, reply)
                taken = False
        except BaseException:
            if taken:
                # Interrupted with bytes in hand that are accounted for nowhere.
                self._lose("the call was interrupted while it read a reply")
            else:
                self._owed += 1
            raise
        if self._inbox:
            return self._inbox.popleft()
        raise self.loss()

    def _send(self, frame: bytes) -> None:
        connection = self._socket
        try:
            sent = connection.send(frame)
            if sent != len(frame):
                connection.sendall(memoryview(frame)[sent:])
        except OSError as error:
            # A server that refuses a session says why and closes, perhaps before it was asked: what
            # it said is still to be read.
            self._drain()
            self._lose(f"the connection was lost ({error})")
        except BaseException:
            self._lose("the call was interrupted while it sent a message")
            raise

    def _keep_waiting(self, started: float, timeout_s: float | None) -> None:
        """A wait ended without bytes: give the reply up, or ping and wait on."""
        now = monotonic()
        left = None if timeout_s is None else started + timeout_s - now
        if left is not None and left <= 0:
            raise ReplyTimeoutError(
                f"{self._url}: no reply within {timeout_s:g} s; a late one is dropped, the session stands"
            )
        self._ping(now)
        if self._lost is not None:
            raise self.loss()
        wait_s = self._options.ping_interval_s or 0.0
        if left is not None and (left < wait_s or not wait_s):
            wait_s = left
        self._set_wait(wait_s)

    def receive(self, data: bytes, reply: bytes | None = None) -> None:
        """Take bytes from the server (``reply``, if they were one whole message): away with what was
        given up, into the inbox with what somebody waits for or nobody asked for."""
        wire = self._wire
        if not data:
            wire.receive_eof()
        for message in (reply,) if reply is not None else wire.receive_data(data):
            if self._owed:
                self._owed -= 1
            else:
                self._inbox.append(message)
        if wire.closed is not None:
            # First of all: a server that closed may be gone already, and not there for an answer.
            code, reason = wire.closed
            self._lose(f"the server closed the session ({code}{' ' + reason if reason else ''})")
        out = wire.data_to_send()
        if out:
            try:
                self._socket.sendall(out)
            except OSError as error:
                self._lose(f"the connection was lost ({error})")

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why

    def _set_wait(self, wait_s: float) -> None:
        """How long one receive, or send, may take; 0 is for ever.

        The kernel's own timeout saves the poll() that Python makes before each call on a socket with
        a timeout of its own; TLS, which reads more often than it gives, needs the latter.
        """
        self._wait_s = wait_s
        if self._tls:
            self._socket.settimeout(wait_s or None)
            return
        microseconds = max(int(wait_s * 1_000_000), 1) if wait_s else 0
        value = _PACK_TIMEVAL(*divmod(microseconds, 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def _drain(self) -> None:
        """Read what has arrived, without waiting."""
        connection = self._socket
        self._wait_s = -1.0
        connection.settimeout(0)
        try:
            while self._lost is None:
                data = connection.recv(_CHUNK_BYTES)
                self._heard = True
                self.receive(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._lose(f"the connection was lost ({error})")
        finally:
            connection.settimeout(None)

    def keep(self, now: float) -> None:
        """What the keeper does with each channel: read and answer pings, send them, unless in use."""
        lock = self._network.lock
        if not lock.acquire(blocking=False):
            return
        try:
            if self._lost is None and self._generation == _family.generation and self._socket.fileno() >= 0:
                self._drain()
                self._ping(now)
        except Exception as error:
            # Nobody foresaw it: this session's caller is told, and the other sessions are still kept.
            _logger.exception("%s: keeping the session alive failed", self._url)
            self._lose(f"keeping the session alive failed ({error!r})")
        finally:
            lock.release()

    def _ping(self, now: float) -> None:
        """Ping a server that was silent for an interval; give up one that stays silent."""
        options = self._options
        if self._heard:
            self._heard = False
            self._heard_at = now
            self._pinged_at = None
        if options.ping_interval_s is None:
            return
        if self._pinged_at is not None:
            if options.ping_timeout_s is not None and now >= self._pinged_at + options.ping_timeout_s:
                self._lose(f"no pong within {options.ping_timeout_s:g} s")
        elif now >= self._heard_at + options.ping_interval_s:
            self._pinged_at = now
            self._wire.send_ping()
            try:
                self._socket.sendall(self._wire.data_to_send())
            except OSError as error:
                self._lose(f"the connection was lost ({error})")

    async def close(self) -> None:
        """See `Channel.close`. The caller holds the network's lock."""
        try:
            if self._lost is None and self._generation == _family.generation:
                self._say_goodbye()
        except OSError:
            pass
        finally:
            self.abandon()

    def _say_goodbye(self) -> None:
        connection = self._socket
        deadline = monotonic() + self._options.close_timeout_s
        connection.settimeout(remaining(deadline))
        connection.sendall(self._wire.text_frame(_CLOSE_MESSAGE))
        if self._owed:
            # The server is still at work on something: it may not look for a while.
            self._wire.send_close()
            connection.sendall(self._wire.data_to_send())
        while True:
            connection.settimeout(remaining(deadline))
            data = connection.recv(_CHUNK_BYTES)
            if not data:
                return
            self.receive(data)
            if self._inbox:
                # A server that answers to "close" does not know it: it gets the protocol's own close.
                self._wire.send_close()
                connection.sendall(self._wire.data_to_send())

    def abandon(self) -> None:
        """See `Channel.abandon`."""
        self._lose("the session was closed")
        _family.keeper.discard(self)
        self._socket.close()


_family = _Family()
os.register_at_fork(after_in_child=_family.forked)
