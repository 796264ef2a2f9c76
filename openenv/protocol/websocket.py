"""The server's side of one WebSocket, sans-I/O: bytes in, messages and bytes out (RFC 6455).

The library `websockets` owns the state machine. Beside it stands one short cut, for what nearly
every frame of this protocol is: a whole, unfragmented, masked text frame. The short cut is taken at
frame boundaries only, never inside a fragmented message and never once a closing handshake has
begun; whatever else arrives is handed to the library, frame by frame. Both ways are
indistinguishable from outside (``tests/unit/protocol/test_websocket_differential.py``), and the
short cut is why an idle session costs no parser: the library's objects live only while needed.

It knows nothing about sockets, JSON or sessions. No extension is ever negotiated, so frames are
never compressed. Limits: ``max_message_bytes`` for one message over all of its fragments; 4,096 frames
between two messages that carry next to nothing, where they come faster than they are looked at.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from time import time

from websockets.datastructures import Headers
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask
from websockets.utils import accept_key

__all__ = [
    "HEADS",
    "BinaryMessage",
    "CloseReceived",
    "WebSocketServer",
    "accept_upgrade",
    "binary_frame",
    "text_frame",
]

# The library reports every closed connection at INFO; ours are reported by the session instead.
_logger = logging.getLogger("openenv.websocket")
_logger.setLevel(logging.WARNING)

_WHOLE_TEXT = 0x81  # FIN and opcode 1
_OPCODES = frozenset(Opcode)
_CONTROL = 0x08
# Control frames are tiny, and fragments of fewer bytes than that. Clients ping once in seconds, and those
# that fragment do it by the kilobyte, or at worst by the word; the Autobahn suite goes down to 64 bytes.
_TINY_BYTES = 16
_MAX_TINY = 4096
_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1
HEADS = [bytes((_WHOLE_TEXT, length)) for length in range(126)]
HEADS += [b"\x81\x7e" + length.to_bytes(2, "big") for length in range(126, 1024)]


@dataclass(frozen=True, slots=True)
class BinaryMessage:
    """A binary message. The protocol on top of this one has no use for it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """The peer started the closing handshake, or broke the grammar and was failed with ``code``.

    Nothing more will be received. The answer waits in ``data_to_send``.
    """

    code: int
    reason: str


Event = bytes | BinaryMessage | CloseReceived


def accept_upgrade(
    path: str, headers: list[tuple[str, str]], extra_headers: list[tuple[str, str]] | None = None
) -> tuple[int, bytes]:
    """Answer an opening handshake (RFC 6455 section 4.2).

    Args:
        path: The request target.
        headers: The request's header fields, in order of arrival.
        extra_headers: Header fields to add to the 101 response.

    Returns:
        The response's status (101, or 4xx when the handshake is not one) and its bytes.
    """
    accepted = _accept_plain(headers, tuple(extra_headers or ()))
    if accepted is not None:
        return 101, accepted
    request_headers = Headers()
    for name, value in headers:
        request_headers[name] = value
    response = ServerProtocol(logger=_logger).accept(Request(path, request_headers))
    if response.status_code == 101 and extra_headers:
        for name, value in extra_headers:
            response.headers[name] = value
    return response.status_code, response.serialize()


def _accept_plain(headers: list[tuple[str, str]], extra_headers: tuple[tuple[str, str], ...]) -> bytes | None:
    """The answer to a handshake such as nearly every client sends; None for any other one.

    The library takes a third of all the time that opening a session costs, and says the same.
    """
    fields = dict(headers)
    key = fields.get("sec-websocket-key", "")
    if (
        len(fields) != len(headers)
        or fields.get("upgrade") != "websocket"
        or fields.get("connection") not in _CONNECTION_OPTIONS
        or fields.get("sec-websocket-version") != "13"
        or "sec-websocket-protocol" in fields
        or _KEY(key) is None
    ):
        return None
    before, after = _around_accept(extra_headers)
    date = _date_of(int(time()))
    return f"{before}{date}{_UPGRADED}{accept_key(key)}{after}".encode("latin-1")


_CONNECTION_OPTIONS = ("Upgrade", "upgrade", "keep-alive, Upgrade")
_KEY = re.compile("[A-Za-z0-9+/]{22}==").fullmatch  # 16 bytes in base64
_UPGRADED = "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


@lru_cache(maxsize=1)
def _date_of(now: int) -> str:
    """The Date field of one second, in which many sessions may be opened."""
    return formatdate(now, usegmt=True)


@lru_cache(maxsize=16)
def _around_accept(extra_headers: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """What comes before and after date and key in an answer."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in extra_headers)
    return "HTTP/1.1 101 Switching Protocols\r\nDate: ", f"\r\n{fields}\r\n"


def text_frame(payload: bytes) -> bytes:
    """One unmasked text frame holding ``payload``, which must be UTF-8 (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 1024:
        return HEADS[length] + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def binary_frame(payload: bytes) -> bytes:
    """One unmasked binary frame (RFC 6455 section 5.2)."""
    return b"\x82" + text_frame(payload)[1:]


class WebSocketServer:
    """One WebSocket after its opening handshake, as its server sees it.

    Args:
        max_message_bytes: Size of the largest message accepted, in bytes; beyond it the connection
            is failed with 1009.
    """

    __slots__ = (
        "_ended",
        "_fragments",
        "_gathered",
        "_held",
        "_library",
        "_max_message_bytes",
        "_missing",
        "_n_tiny",
        "_out",
        "_text",
        "is_behind",
        "is_between",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        # The beginning of a frame whose rest has not arrived. A bytearray, because a list of pieces
        # would cost a peer's tiny pieces twenty times their size.
        self._held: bytearray | None = None
        self._missing = 0
        self._library: ServerProtocol | None = None
        # Put together as they come, because a list of them would hold a peer's empty ones without end.
        self._fragments: bytearray | None = None
        self._gathered = 0  # bytes in the fragments
        self._text = False
        self._ended = False
        self._out: list[bytes] | None = None
        self._n_tiny = 0  # since the last whole message, or since everything received was looked at
        # Whether there are frames that the last call left for the next one.
        self.is_behind = False
        # Whether the next bytes begin a frame that begins a message: then `shortcut` may look at them.
        self.is_between = True

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
        return self._library is None or self._library.state is State.OPEN

    @property
    def n_held(self) -> int:
        """Bytes that were received and not looked at yet: of an unfinished frame, or of frames left over."""
        return 0 if self._held is None else len(self._held)

    def receive_data(self, data: bytes | bytearray, max_frames: int = 0) -> list[Event]:
        """Take bytes from the peer.

        Args:
            data: They may be none, to go on with what the last call left.
            max_frames: Leave what comes behind so many frames for the next call; 0 takes all.

        Returns:
            What they complete, in order: ``bytes`` for a text message (valid UTF-8),
            ``BinaryMessage``, ``CloseReceived``.
        """
        if self._held is not None:
            self._held += data
            if len(self._held) < self._missing:
                return []
            data, self._held = self._held, None
        events: list[Event] = []
        position = 0
        end = len(data)
        n_left = max_frames
        self.is_behind = False
        while position < end and not self._ended:
            n_left -= 1
            if n_left == -1 and max_frames:
                self._hold(data, position, position)
                self.is_behind = True
                break
            start = position + 6
            if start <= end and data[position] == _WHOLE_TEXT and self._library is None:
                length = data[position + 1] - 128
                if length >= 126:
                    extended = 2 if length == 126 else 8
                    start += extended
                    length = int.from_bytes(data[position + 2 : start - 4], "big") if start <= end else -1
                if 0 <= length <= self._max_message_bytes:
                    stop = start + length
                    if stop > end:
                        self._hold(data, position, stop)
                        break
                    payload = apply_mask(data[start:stop], data[start - 4 : start])
                    if payload.isascii() or _is_utf8(payload):
                        events.append(payload)
                        position = stop
                        continue
            stop = self._frame_end(data, position, end)
            if stop > end:
                self._hold(data, position, stop)
                break
            self._feed(data[position:stop], events)
            position = stop
        if not self.is_behind:
            self._n_tiny = 0
        self.is_between = self._held is None and self._library is None
        return events

    def _hold(self, data: bytes | bytearray, position: int, stop: int) -> None:
        """Keep an unfinished frame until ``stop``, the end that is known of, has arrived."""
        self._held = bytearray(data[position:] if position else data)
        self._missing = stop - position

    def _frame_end(self, data: bytes | bytearray, position: int, end: int) -> int:
        """Where the frame at ``position`` ends; the end of its head while that is not complete.

        A frame that the library will refuse by its head alone ends with its head, so that nobody
        waits for, or holds, a payload that is never wanted.
        """
        if end - position < 2:
            return position + 2
        length = data[position + 1] & 0x7F
        stop = position + 2
        if not data[position + 1] & 0x80 or data[position] & 0x0F not in _OPCODES:
            return stop
        if length >= 126:
            extended = 2 if length == 126 else 8
            stop += extended
            if stop > end:
                return stop
            length = int.from_bytes(data[position + 2 : stop], "big")
        if length > self._max_message_bytes - self._gathered:
            return stop
        return stop + 4 + length

    def _feed(self, data: bytes | bytearray, events: list[Event]) -> None:
        """Let the library have whole frames, and leave it again where no message is unfinished."""
        library = self._library
        if library is None:
            library = self._library = self._make_library()
        library.receive_data(data)
        for frame in library.events_received():
            assert isinstance(frame, Frame)
            self._take_frame(frame, events)
        if data[0] & _CONTROL or len(data) < _TINY_BYTES + 6:
            self._n_tiny += 1
            if self._n_tiny > _MAX_TINY and not self._ended and library.parser_exc is None:
                reason = f"more than {_MAX_TINY} frames with next to nothing in them"
                events.append(self._fail(_POLICY_VIOLATION, reason))
        self._collect(library)
        if library.parser_exc is not None:
            self._ended = True
            sent = library.close_sent
            events.append(CloseReceived(sent.code, sent.reason) if sent else CloseReceived(1006, ""))
        if self._fragments is None and library.state is State.OPEN:
            self._library = None

    def _make_library(self) -> ServerProtocol:
        return ServerProtocol(state=State.OPEN, max_size=self._max_message_bytes, logger=_logger)

    def _take_frame(self, frame: Frame, events: list[Event]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._text = opcode is Opcode.TEXT
            self._fragments = bytearray(frame.data)
            self._gathered = len(frame.data)
        elif opcode is Opcode.CONT:
            assert self._fragments is not None
            self._fragments += frame.data
            self._gathered += len(frame.data)
        elif opcode is Opcode.CLOSE:
            self._ended = True
            close = Close.parse(bytes(frame.data))
            events.append(CloseReceived(close.code, close.reason))
            return
        else:
            return
        if not frame.fin:
            return
        message = bytes(self._fragments)
        self._fragments = None
        self._gathered = 0
        self._n_tiny = 0
        if not self._text:
            events.append(BinaryMessage(message))
        elif _is_utf8(message):
            events.append(message)
        else:
            # RFC 6455 section 8.1: text that is not UTF-8 fails the connection.
            events.append(self._fail(1007, "text message is not UTF-8"))

    def _fail(self, code: int, reason: str) -> CloseReceived:
        """Close the connection for what the peer did, and look at nothing more."""
        assert self._library is not None
        self._ended = True
        self._library.fail(code, reason)
        return CloseReceived(code, reason)

    def _collect(self, library: ServerProtocol) -> None:
        writes = library.data_to_send()
        if writes:
            if self._out is None:
                self._out = writes
            else:
                self._out += writes

    def data_to_send(self) -> tuple[bytes, bool]:
        """Bytes that the protocol itself has to say (pongs, close frames), and whether they are the
        last ones, after which the TCP connection is to be closed (RFC 6455 section 7.1.1)."""
        if self._out is None:
            return b"", False
        out, self._out = self._out, None
        return b"".join(out), b"" in out

    @property
    def has_data_to_send(self) -> bool:
        """Whether ``data_to_send`` has something."""
        return self._out is not None

    def send_close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; a no-op if it has begun. ``data_to_send`` has the frame."""
        library = self._library
        if library is None:
            library = self._library = self._make_library()
        self.is_between = False
        if library.state is State.OPEN:
            library.send_close(code, reason)
            self._collect(library)

    def send_ping(self, payload: bytes = b"") -> bytes:
        """One ping frame; the peer's pong is taken in silence. ``payload`` is at most 125 bytes."""
        return bytes((0x89, len(payload))) + payload


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
