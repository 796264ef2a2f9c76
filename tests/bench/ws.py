"""The least WebSocket client that can hold thousands of sessions open: blocking, one frame at a time.

In: a port. Out: sockets on which ``ask`` sends one JSON message and gives the reply. Text frames of
less than 64 KiB only; no compression, no fragments.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Iterable
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_S = 30.0
_PING = 0x89


class Session:
    """One open session."""

    __slots__ = ("_socket",)

    def __init__(self, port: int) -> None:
        """Connect and upgrade.

        Raises:
            OSError: The server cannot be reached, or did not upgrade.
        """
        self._socket = socket.create_connection((HOST, port), TIMEOUT_S)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        self._socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        # Byte by byte at the end of the head, so that no frame that follows is swallowed.
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no upgrade: {head[:80]!r}")

    def send(self, message: dict[str, Any]) -> None:
        """Send one message and do not wait."""
        text = json.dumps(message).encode()
        mask = os.urandom(4)
        body = bytes(byte ^ mask[i & 3] for i, byte in enumerate(text))
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack("!H", len(text))
        self._socket.sendall(b"\x81" + size + mask + body)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message, give its reply.

        Raises:
            OSError: The connection was lost or closed, or no reply came in time.
        """
        self.send(message)
        while True:
            kind, size = self._exactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._exactly(2))
            payload = self._exactly(size)
            if kind == _PING:
                self._pong(payload)
                continue
            if kind != 0x81:
                raise ConnectionError(f"frame {kind:#x}: {payload!r}")
            reply: dict[str, Any] = json.loads(payload)
            return reply

    def reset(self) -> None:
        """One reset, its reply checked; errors as ``step``."""
        reply = self.ask({"type": "reset"})
        assert reply["type"] == "observation", reply

    def step(self, message: str) -> None:
        """One step of the echo environment, its reply checked.

        Raises:
            AssertionError: Another text came back.
            OSError: As ``ask``.
        """
        reply = self.ask({"type": "step", "data": {"message": message}})
        assert reply["type"] == "observation", reply
        assert reply["data"]["observation"]["echoed_message"] == message, reply

    def close(self) -> None:
        """Close in order: close frame, then wait for the server to end the connection."""
        self._socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        while self._socket.recv(4096):
            pass
        self._socket.close()

    def answer_ping(self) -> None:
        """Read the ping that has arrived, and answer it.

        Raises:
            OSError: It was no ping, or the connection was lost.
        """
        kind, size = self._exactly(2)
        payload = self._exactly(size)
        if kind != _PING:
            raise ConnectionError(f"frame {kind:#x}: {payload!r}")
        self._pong(payload)

    def fileno(self) -> int:
        """For ``select.poll``."""
        return self._socket.fileno()

    def _pong(self, payload: bytes) -> None:
        self._socket.sendall(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data


def answer_pings(sessions: Iterable[Session]) -> None:
    """Answer what idle sessions have been pinged with, as any client library does by itself.

    Lost sessions are passed over; their next step says so.
    """
    by_fileno = {session.fileno(): session for session in sessions}
    poll = select.poll()
    for fileno in by_fileno:
        poll.register(fileno, select.POLLIN)
    for fileno, _ in poll.poll(0):
        try:
            by_fileno[fileno].answer_ping()
        except OSError:
            continue
