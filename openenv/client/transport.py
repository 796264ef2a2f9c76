"""A connected socket on an event loop, with as much of a transport as a client's protocols need.

In: a non-blocking socket that is connected. Out: bytes to a protocol, bytes from it. A loop's own
transport knows about flow control, TLS, servers and writing files, and takes two turns of the loop
until it can be used; for a thousand sessions at once that is a quarter of all the work, and it is
more for each read and write, too. Where there is TLS or a name to be resolved, the loop's own is used.

Limits: no flow control; a client asks one thing at a time.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

__all__ = ["SocketTransport"]

# More would be taken from the operating system for each read, and given back.
_READ_BYTES = 64 * 1024


class SocketTransport:
    """Reads for a protocol and writes for it, from now on.

    Args:
        loop: The running loop.
        connection: Connected and non-blocking; closed together with this.
        protocol: Its ``connection_made`` is called here and now.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_descriptor",
        "_loop",
        "_protocol",
        "_receive",
        "_recv",
        "_send",
        "_unsent",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, protocol: asyncio.Protocol
    ) -> None:
        self._loop = loop
        self._connection = connection
        # A selector that does not know a socket yet words an error with all that there is to say of it.
        self._descriptor = connection.fileno()
        self._send = connection.send
        self._recv = connection.recv
        self._unsent: bytearray | None = None
        self._closed = False
        self.set_protocol(protocol)
        loop.add_reader(self._descriptor, self._read)
        protocol.connection_made(self)  # type: ignore[arg-type]  # of a transport's methods, those that are used

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Let another protocol have what comes from now on."""
        self._protocol = protocol
        self._receive = protocol.data_received

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The ``socket``."""
        return self._connection if name == "socket" else default

    def write(self, data: bytes) -> None:
        """Send now what can be sent now, and the rest as soon as it can be."""
        if self._unsent is not None:
            self._unsent += data
            return
        if self._closed:
            return
        try:
            n_sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            n_sent = 0
        except OSError as error:
            self._close(error)
            return
        if n_sent < len(data):
            self._unsent = bytearray(data[n_sent:])
            self._loop.add_writer(self._descriptor, self._write_rest)

    def abort(self) -> None:
        """Close it without a word; the protocol hears of it in the next turn of the loop."""
        self._close(None)

    def _write_rest(self) -> None:
        assert self._unsent is not None
        try:
            del self._unsent[: self._send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close(error)
            return
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._descriptor)

    def _read(self) -> None:
        try:
            data = self._recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close(error)
            return
        if not data:
            self._close(None)
            return
        try:
            self._receive(data)
        except BaseException:
            # The loop reports it; whoever waits for what can no longer come is told, too.
            self._close(None)
            raise

    def _close(self, error: OSError | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self._descriptor)
        self._connection.close()
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: OSError | None) -> None:
        self._protocol.connection_lost(error)
