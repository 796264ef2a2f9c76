"""A socket on an event loop, with as much of a transport as a client's protocols need.

In: a non-blocking socket that connects, or is connected. Out: bytes to a receiver, bytes from it. A
loop's own transport knows about flow control, TLS, servers and writing files, and takes two turns of
the loop until it can be used; for a thousand sessions at once that is a quarter of all the work, and
it is more for each read and write, too. Where there is TLS, the loop's own is used.

asyncio's loop makes a handle, a key and three calls of every event of every socket. There, all sockets
of a loop are watched by one object of the operating system, `Poller`, and the loop watches that one.

Limits: no flow control; a client asks one thing at a time.
"""

from __future__ import annotations

import asyncio
import select
import sys
from socket import SocketType
from typing import Any, Protocol
from weakref import WeakValueDictionary

__all__ = ["Poller", "Receiver", "SocketTransport"]

# More would be taken from the operating system for each read, and given back.
_READ_BYTES = 64 * 1024
# What is left has its turn when the loop has been around.
_MAX_EVENTS = 256

# Keyed by the loop's id, which is its own for as long as a poller holds it.
_pollers: WeakValueDictionary[int, Poller] = WeakValueDictionary()


class Receiver(Protocol):
    """Whom a transport tells what happens."""

    def connection_made(self, transport: Any) -> None:
        """Can be written from now on."""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing will be received or sent any longer."""


class Poller:
    """Watches sockets for one loop.

    Args:
        loop: The running loop.
    """

    __slots__ = ("__weakref__", "_loop", "_transports", "_watch")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transports: dict[int, SocketTransport] = {}
        self._watch: Any = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Poller:
        """The one of this loop, for as long as anybody holds it."""
        poller = _pollers.get(id(loop))
        if poller is None:
            # Other loops than asyncio's, and other systems than Linux, have ways of their own.
            has_own = sys.platform == "linux" and isinstance(loop, asyncio.SelectorEventLoop)
            poller = _pollers[id(loop)] = cls(loop) if has_own else _LoopsOwn(loop)
        return poller

    def add(self, descriptor: int, transport: SocketTransport) -> None:
        """Call ``transport.read`` whenever there is something to be read."""
        watch = self._watch
        if watch is None:
            watch = self._watch = select.epoll()
            self._loop.add_reader(watch.fileno(), self._look)
        watch.register(descriptor, select.EPOLLIN)
        self._transports[descriptor] = transport

    def remove(self, descriptor: int) -> None:
        """The opposite of `add`; the last one takes with it what the system holds for this."""
        del self._transports[descriptor]
        self._watch.unregister(descriptor)
        if not self._transports:
            self._loop.remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _look(self) -> None:
        transports = self._transports
        for descriptor, _ in self._watch.poll(0, _MAX_EVENTS):
            # One that ran before may have closed this one. What an error leaves is still there to be read.
            transport = transports.get(descriptor)
            if transport is not None:
                transport.read()


class _LoopsOwn(Poller):
    __slots__ = ()

    def add(self, descriptor: int, transport: SocketTransport) -> None:
        self._loop.add_reader(descriptor, transport.read)

    def remove(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)


class SocketTransport:
    """Reads for a receiver and writes for it, from now on.

    Args:
        loop: The running loop.
        connection: Non-blocking; connected or about to be; closed together with this.
        receiver: Its ``connection_made`` is called here and now. One that cannot be connected is lost.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_descriptor",
        "_loop",
        "_poller",
        "_receiver",
        "_unsent",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: SocketType, receiver: Receiver) -> None:
        self._loop = loop
        self._connection = connection
        # A selector that does not know a socket yet words an error with all that there is to say of it.
        self._descriptor = connection.fileno()
        self._unsent: bytearray | None = None
        self._closed = False
        self.set_protocol(receiver)
        self._poller = Poller.of(loop)
        self._poller.add(self._descriptor, self)
        receiver.connection_made(self)

    def set_protocol(self, receiver: Receiver) -> None:
        """Let another one have what comes from now on."""
        self._receiver = receiver

    def write(self, data: bytes) -> None:
        """Send now what can be sent now, and the rest as soon as it can be."""
        if self._unsent is not None:
            self._unsent += data
            return
        if self._closed:
            return
        try:
            n_sent = self._connection.send(data)
        except (BlockingIOError, InterruptedError):
            n_sent = 0
        except OSError as error:
            self._close(error)
            return
        if n_sent < len(data):
            self._unsent = bytearray(data[n_sent:])
            self._loop.add_writer(self._descriptor, self._write_rest)

    def abort(self) -> None:
        """Close it without a word; the receiver hears of it in the next turn of the loop."""
        self._close(None)

    def leave(self) -> None:
        """Close it after its loop was closed; nobody hears of it but the other end."""
        if not self._closed:
            self._closed = True
            self._poller.remove(self._descriptor)
            self._connection.close()

    def _write_rest(self) -> None:
        assert self._unsent is not None
        try:
            del self._unsent[: self._connection.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close(error)
            return
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._descriptor)

    def read(self) -> None:
        """Called by the poller: there is something to be read, or was a moment ago."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close(error)
            return
        if not data:
            self._close(None)
            return
        try:
            self._receiver.data_received(data)
        except BaseException:
            # The loop reports it; whoever waits for what can no longer come is told, too.
            self._close(None)
            raise

    def _close(self, error: OSError | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._poller.remove(self._descriptor)
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self._descriptor)
        self._connection.close()
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: OSError | None) -> None:
        self._receiver.connection_lost(error)
