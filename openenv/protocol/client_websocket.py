"""The client's side of one WebSocket, sans-I/O: bytes in, messages and bytes out (RFC 6455).

The same short cut as on the server's side: a whole, unfragmented text frame is cut out here, and
whatever else arrives is handed to the library `websockets`, frame by frame, which owns the state
machine (``tests/unit/protocol/test_client_websocket.py`` holds the two against each other). The
library's objects live only while needed, so that ten thousand idle sessions hold no parsers.

It knows nothing about sockets, JSON or sessions. No extension is offered, so frames are never
compressed. Limits: ``max_message_bytes`` for one message over all of its fragments.
"""

from __future__ import annotations

import logging
import os
from binascii import b2a_base64
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha1

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI

from openenv.errors import ProtocolError
from openenv.protocol.http_client import Response, ResponseParser, serialize_request

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was built without its C extension
    from websockets.utils import apply_mask

__all__ = ["Handshake", "WebSocketClient"]

_logger = logging.getLogger("openenv.websocket")

_WHOLE_TEXT = 0x81  # FIN and opcode 1
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_NOT_OFFERED = ("sec-websocket-extensions", "sec-websocket-protocol")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_HEADS = [bytes((_WHOLE_TEXT, 0x80 | length)) for length in range(126)]
# Masks are unpredictable (RFC 6455 section 5.3) and used once. Drawing one costs a system call, so a
# kilobyte of them is drawn at a time, for all sessions of the process: an idle one holds none.
_masks: list[bytes] = []
os.register_at_fork(after_in_child=_masks.clear)  # the parent uses the ones that are left

# The library wants to know where it is connected to; nothing of this object's work depends on it.
_NOWHERE = WebSocketURI(False, "localhost", 80, "/", "")


def _draw_masks() -> bytes:
    """Fill the store of masks, and take one."""
    drawn = os.urandom(1024)
    # One call, so that no other thread can have taken them all before this one takes its own.
    _masks.extend(drawn[at : at + 4] for at in range(4, 1024, 4))
    return drawn[:4]


class Handshake:
    """One opening handshake (RFC 6455 section 4.1): a request, and what reads its response.

    A server says the same to everybody, but for the answer to the key and, once a second, the date.
    What was read and checked before is known by its bytes, and need not be read again.

    Attributes:
        request: The bytes to send.
        rest: After the response: the bytes that followed it (the first frames, after a 101).
    """

    __slots__ = ("_accept", "_checked", "_parser", "_read", "_template", "request", "rest")

    def __init__(self, host: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._template = template = _template_of(host, target, tuple(headers))
        key = b2a_base64(os.urandom(16), newline=False)
        self._accept = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
        self._parser: ResponseParser | None = None
        self._read = b""
        self._checked = False
        self.request = template.before + key + template.after
        self.rest = b""

    def receive_data(self, data: bytes) -> Response | None:
        """Take bytes from the server; the response, once it is whole.

        Raises:
            ProtocolError: It is not HTTP/1.x, or larger than the limits.
        """
        if self._parser is None:
            known = self._template.known
            if known is not None and data == known[0] + self._accept + known[1]:
                self._checked = True
                return known[2]
            self._parser = ResponseParser()
            self._read = data
        response = self._parser.receive_data(data)
        self.rest = self._parser.rest
        return response

    def receive_eof(self) -> Response | None:
        """The connection ended: the response, if that is how its body ends, else None."""
        return None if self._parser is None else self._parser.receive_eof()

    def check(self, response: Response) -> None:
        """See that a 101 response answers this very request.

        Raises:
            ProtocolError: It does not.
        """
        if self._checked:
            return
        expected = self._accept.decode()
        upgrade = (response.header("upgrade") or "").lower()
        connection = [token.strip() for token in (response.header("connection") or "").lower().split(",")]
        if upgrade != "websocket" or "upgrade" not in connection:
            raise ProtocolError("the response does not upgrade to WebSocket")
        if response.header("sec-websocket-accept") != expected:
            raise ProtocolError("the response's Sec-WebSocket-Accept does not belong to the request")
        for name in _NOT_OFFERED:
            value = response.header(name)
            if value is not None:
                raise ProtocolError(f"the response has {name}: {value}, which was not offered")
        if not self.rest and self._read.count(self._accept) == 1 and self._read.endswith(b"\r\n\r\n"):
            head, _, tail = self._read.partition(self._accept)
            self._template.known = (head, tail, response)


class _Template:
    """What all handshakes of one server have in common.

    Attributes:
        before, after: Of the request: what comes before and after the key.
        known: Of the response that was checked last: what came before and after the answer to the
            key, and what it was read as; nobody changes that.
    """

    __slots__ = ("after", "before", "known")

    def __init__(self, before: bytes, after: bytes) -> None:
        self.before = before
        self.after = after
        self.known: tuple[bytes, bytes, Response] | None = None


@lru_cache(maxsize=16)
def _template_of(host: str, target: str, headers: tuple[tuple[str, str], ...]) -> _Template:
    common = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    rest = [("Sec-WebSocket-Version", "13"), *headers]
    # Written as one, so that the serializer sees, and refuses, what it would in any request.
    request = serialize_request("GET", target, [*common, ("Sec-WebSocket-Key", ""), *rest])
    end = len(serialize_request("GET", target, [*common, ("Sec-WebSocket-Key", "")])) - len(b"\r\n\r\n")
    return _Template(request[:end], request[end:])


class WebSocketClient:
    """One WebSocket after its opening handshake, as its client sees it.

    Args:
        max_message_bytes: Size of the largest message accepted; beyond it the connection is failed
            with 1009.

    Attributes:
        closed: Why nothing more will be received or sent, as ``(code, reason)``, or None: the
            server's close frame, or the fault for which this side failed the connection.
    """

    __slots__ = (
        "_buffer",
        "_ended",
        "_fragments",
        "_library",
        "_max_message_bytes",
        "_missing",
        "_out",
        "closed",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self.closed: tuple[int, str] | None = None
        self._max_message_bytes = max_message_bytes
        # The beginning of a frame whose rest has not arrived, and how long it is at least.
        self._buffer: bytearray | None = None
        self._missing = 0
        self._library: ClientProtocol | None = None
        self._fragments: list[bytes] | None = None
        self._ended = False
        self._out: tuple[bytes, ...] = ()

    @staticmethod
    def text_frame(payload: bytes) -> bytes:
        """One masked text frame holding ``payload``, which must be UTF-8 (RFC 6455 section 5.2)."""
        try:
            mask = _masks.pop()
        except IndexError:
            mask = _draw_masks()
        length = len(payload)
        if length < 126:
            return _HEADS[length] + mask + apply_mask(payload, mask)
        if length < 65536:
            return b"\x81\xfe" + length.to_bytes(2, "big") + mask + apply_mask(payload, mask)
        return b"\x81\xff" + length.to_bytes(8, "big") + mask + apply_mask(payload, mask)

    def receive_whole(self, data: bytes) -> bytes | None:
        """The short cut: the message, if ``data`` is exactly one whole text frame.

        Otherwise nothing was taken, and ``receive_data`` must have the same bytes.
        """
        if self._buffer is None and self._library is None and len(data) > 1 and data[0] == _WHOLE_TEXT:
            length = data[1]
            if length < 126:
                if len(data) == length + 2 and length <= self._max_message_bytes:
                    return data[2:]
            elif length == 126 and len(data) > 3:
                length = data[2] << 8 | data[3]
                if len(data) == length + 4 and length <= self._max_message_bytes:
                    return data[4:]
        return None

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take bytes from the server.

        Returns:
            The messages that they complete, in order. Afterwards ``data_to_send`` may have
            something, and ``closed`` may be set.
        """
        messages: list[bytes] = []
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._missing:
                return messages
            data = bytes(self._buffer)
            self._buffer = None
        position = 0
        end = len(data)
        while position < end and not self._ended:
            start, stop = self._frame_bounds(data, position, end)
            if stop > end:
                self._buffer = bytearray(data[position:])
                self._missing = stop - position
                break
            if data[position] == _WHOLE_TEXT and self._library is None and start <= stop:
                messages.append(data[start:stop])
            else:
                self._feed(data[position:stop], messages)
            position = stop
        return messages

    def receive_eof(self) -> None:
        """The connection ended."""
        self._ended = True
        if self.closed is None:
            self.closed = (1006, "the connection ended without a closing handshake")

    def _frame_bounds(self, data: bytes, position: int, end: int) -> tuple[int, int]:
        """Where the payload of the frame at ``position`` starts and ends.

        While the head is not complete, the end is that of the head as far as it is known. A frame
        that is refused by its head alone ends with its head, and starts after that.
        """
        if end - position < 2:
            return position, position + 2
        length = data[position + 1]
        start = position + 2
        if length & 0x80 or data[position] & 0x0F not in _OPCODES:
            return start + 1, start
        if length >= 126:
            extended = 2 if length == 126 else 8
            start += extended
            if start > end:
                return position, start
            length = int.from_bytes(data[position + 2 : start], "big")
        if length > self._max_message_bytes:
            return start + 1, start
        return start, start + length

    def _feed(self, data: bytes, messages: list[bytes]) -> None:
        """Let the library have one frame, and leave it again where no message is unfinished."""
        library = self._library
        if library is None:
            library = self._library = self._make_library()
        library.receive_data(data)
        for frame in library.events_received():
            assert isinstance(frame, Frame)
            self._take_frame(frame, messages)
        self._collect(library)
        if library.parser_exc is not None and not self._ended:
            self._ended = True
            sent = library.close_sent
            self.closed = (sent.code, sent.reason) if sent else (1006, str(library.parser_exc))
        if self._fragments is None and library.state is State.OPEN:
            self._library = None

    def _make_library(self) -> ClientProtocol:
        return ClientProtocol(_NOWHERE, state=State.OPEN, max_size=self._max_message_bytes, logger=_logger)

    def _take_frame(self, frame: Frame, messages: list[bytes]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._fragments = [bytes(frame.data)]
        elif opcode is Opcode.CONT:
            assert self._fragments is not None
            self._fragments.append(bytes(frame.data))
        else:
            if opcode is Opcode.CLOSE:
                self._ended = True
                close = Close.parse(bytes(frame.data))
                self.closed = (close.code, close.reason)
            return
        if frame.fin:
            messages.append(b"".join(self._fragments))
            self._fragments = None

    def _collect(self, library: ClientProtocol) -> None:
        self._out += tuple(chunk for chunk in library.data_to_send() if chunk)

    def data_to_send(self) -> bytes:
        """Bytes that the protocol itself has to say: pongs, close frames."""
        if not self._out:
            return b""
        out, self._out = self._out, ()
        return b"".join(out)

    def send_close(self, code: int = 1000) -> None:
        """Start the closing handshake, or do nothing if it has begun; ``data_to_send`` has the frame."""
        library = self._library
        if library is None:
            if self._ended:
                return
            library = self._library = self._make_library()
        if library.state is State.OPEN:
            library.send_close(code)
            self._collect(library)

    def send_ping(self) -> None:
        """Ask for a pong, which is taken in silence; ``data_to_send`` has the frame."""
        if not self._ended:
            self._out += (b"\x89\x80" + os.urandom(4),)
