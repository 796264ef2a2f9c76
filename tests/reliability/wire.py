"""A WebSocket client that sends what it is told, right or wrong: bytes are in its caller's hand.

In: a server's address and messages, frames or plain bytes. Out: frames as they come. Other clients would
mend, refuse or hide what these tests are about: frames that are cut off, readers that do not read, bits
that no client sets. Reference: RFC 6455 sections 4 and 5.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Any, Final

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Client",
    "GoneError",
    "frame",
    "get",
    "head",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_S: Final = 30.0
"""No reply takes so long, unless something hangs."""


class GoneError(Exception):
    """The connection is over.

    Attributes:
        code: Of the close frame, if there was one.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(f"{reason} (code {code})")
        self.code = code


def frame(
    payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"mask"
) -> bytes:
    """One frame; without a mask, which clients must use, where `mask` is None."""
    first = fin << 7 | rsv << 4 | opcode
    masked = 0x80 if mask is not None else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, masked | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, masked | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, masked | 127, len(payload))
    if mask is None:
        return head + payload
    return head + mask + _masked(payload, mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    n_bytes = len(payload)
    key = (mask * (n_bytes // 4 + 1))[:n_bytes]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(n_bytes) if n_bytes else b""


def head(path: str = "/ws", *fields: str, host: str = "127.0.0.1") -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Client:
    """One connection, after its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(
        cls, host: str, port: int, path: str = "/ws", *fields: str, receive_buffer_bytes: int | None = None
    ) -> Client:
        """Connect and shake hands.

        Args:
            fields: Further header lines.
            receive_buffer_bytes: Small ones make the server feel a slow reader soon.

        Raises:
            GoneError: The handshake was refused or cut off.
        """
        connection = socket.socket()
        connection.setblocking(False)
        try:
            if receive_buffer_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(connection, (host, port))
                limit = 2**16 if receive_buffer_bytes is None else receive_buffer_bytes
                reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
        except OSError as error:
            connection.close()
            raise GoneError(f"no connection: {error!r}") from error
        client = cls(reader, writer)
        try:
            writer.write(head(path, *fields, host=f"{host}:{port}"))
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            client.cut()
            raise GoneError(f"no handshake: {error!r}") from error
        except BaseException:
            client.cut()
            raise
        if not answer.startswith(b"HTTP/1.1 101 "):
            client.cut()
            raise GoneError(f"refused: {answer[:40]!r}")
        return client

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def tell(self, kind: str, data: dict[str, Any] | None = None, **more: Any) -> None:
        """Send one message."""
        message = {"type": kind, **({} if data is None else {"data": data}), **more}
        self.send(frame(json.dumps(message).encode(), mask=os.urandom(4)))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame.

        Raises:
            GoneError: There is none, or it is a close frame.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                first, second = await self.reader.readexactly(2)
                n_bytes = second & 0x7F
                if n_bytes == 126:
                    (n_bytes,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif n_bytes == 127:
                    (n_bytes,) = struct.unpack("!Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(n_bytes)
        except TimeoutError:
            raise
        except (OSError, asyncio.IncompleteReadError) as error:
            raise GoneError(repr(error)) from error
        opcode = first & 0x0F
        if opcode == CLOSE:
            raise GoneError("closed", int.from_bytes(payload[:2]) if payload else None)
        return opcode, payload

    async def hear(self) -> dict[str, Any]:
        """The next message; pings in between are answered.

        Raises:
            GoneError: There is none.
        """
        while True:
            opcode, payload = await self.receive()
            if opcode == TEXT:
                reply: dict[str, Any] = json.loads(payload)
                return reply
            if opcode == PING:
                self.send(frame(payload, PONG))

    async def ask(self, kind: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Send a message and give its reply.

        Raises:
            GoneError: There is none.
        """
        self.tell(kind, data, **more)
        return await self.hear()

    async def leave(self) -> None:
        """Close as clients should: a close message, the closing handshake, and the connection."""
        try:
            self.tell("close")
            self.send(frame((1000).to_bytes(2), CLOSE))
            while True:
                await self.receive()
        except GoneError:
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        """Cut the connection off, as a killed client does."""
        self.writer.transport.abort()


async def get(
    host: str, port: int, path: str = "/health", timeout_s: float = PATIENCE_S
) -> tuple[int, bytes]:
    """Status and body of a GET on a connection of its own; status 0 where there was no answer."""
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read(-1)
    except (OSError, TimeoutError):
        return 0, b""
    finally:
        if writer is not None:
            writer.transport.abort()
    top, _, body = answer.partition(b"\r\n\r\n")
    words = top.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), body
