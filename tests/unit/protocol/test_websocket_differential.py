"""The short cut of `WebSocketServer` cannot be told from websockets' own `ServerProtocol`.

The same bytes, cut at random places, go to our class and to a bare `ServerProtocol`; after every
piece both have given the same messages, the same bytes to send, and the same end.
"""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from openenv.protocol.websocket import BinaryMessage, CloseReceived, Event, WebSocketServer

MAX_MESSAGE_BYTES = 300


class Reference:
    """A bare `ServerProtocol`, fed one byte at a time so that each frame is dealt with as it ends."""

    def __init__(self) -> None:
        self.library = ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self.events: list[Event] = []
        self.sent = b""
        self.ended = False
        self._fragments: list[bytes] = []
        self._text = False

    def receive_data(self, data: bytes) -> None:
        for index in range(len(data)):
            if self.ended:
                return
            self.library.receive_data(data[index : index + 1])
            for frame in self.library.events_received():
                assert isinstance(frame, Frame)
                self._take(frame)
            self.collect()
            if self.library.parser_exc is not None:
                close = self.library.close_sent
                assert close is not None
                self.events.append(CloseReceived(close.code, close.reason))

    def collect(self) -> None:
        writes = self.library.data_to_send()
        self.sent += b"".join(writes)
        self.ended = self.ended or b"" in writes

    def _take(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(data)
            self.events.append(CloseReceived(close.code, close.reason))
            return
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
            self._fragments = []
        self._fragments.append(data)
        if not frame.fin:
            return
        message = b"".join(self._fragments)
        if not self._text:
            self.events.append(BinaryMessage(message))
            return
        try:
            message.decode()
        except UnicodeDecodeError:
            # The library leaves this to the layer above; the words are ours.
            self.library.fail(1007, "text message is not UTF-8")
            self.events.append(CloseReceived(1007, "text message is not UTF-8"))
        else:
            self.events.append(message)


class Subject:
    """Our class, with what it has said so far."""

    def __init__(self) -> None:
        self.server = WebSocketServer(MAX_MESSAGE_BYTES)
        self.events: list[Event] = []
        self.sent = b""
        self.ended = False

    def receive_data(self, data: bytes) -> None:
        if self.ended:  # whoever owns the socket closes it now
            return
        self.events += self.server.receive_data(data)
        self.collect()

    def collect(self) -> None:
        assert self.server.has_data_to_send or self.server.data_to_send() == (b"", False)
        data, last = self.server.data_to_send()
        assert not self.server.has_data_to_send
        self.sent += data
        self.ended = self.ended or last


def frame(
    head: int,
    payload: bytes,
    mask: bytes | None = b"\x01\x02\x03\x04",
    width: int = 0,
    length: int | None = None,
) -> bytes:
    """One frame, right or wrong.

    Args:
        head: The first byte: FIN, reserved bits, opcode.
        payload: Before masking.
        mask: Four bytes, or None for an unmasked frame.
        width: 0 for the shortest form of the length, else 2 or 8 bytes for it.
        length: What the frame claims, where that is not the truth.
    """
    size = len(payload) if length is None else length
    width = width or (0 if size < 126 else 2 if size < 65536 else 8)
    masked = 0x80 if mask is not None else 0
    if width == 0:
        lengths = bytes([masked | size])
    else:
        lengths = bytes([masked | (126 if width == 2 else 127)]) + size.to_bytes(width, "big")
    return bytes([head]) + lengths + (mask + apply_mask(payload, mask) if mask is not None else payload)


_texts = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.text("ab", min_size=120, max_size=130).map(str.encode),
    st.sampled_from(
        [b"", b"{}", "é".encode()[:1], "é".encode()[1:], b"\xff", b"\xed\xa0\x80", b"a" * 299, b"a" * 300]
    ),
    st.sampled_from([b"a" * 301, b"a" * 1000]),
)
_closes = st.one_of(
    st.just(b""),
    st.binary(max_size=4),
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason,
        st.sampled_from([1000, 1001, 1004, 1005, 1006, 1007, 1015, 1016, 2999, 3000, 4999, 5000, 0, 65535]),
        st.sampled_from([b"", b"bye", b"\xff", "é".encode(), b"x" * 123]),
    ),
)
_masks = st.sampled_from([b"\x01\x02\x03\x04", b"\0\0\0\0", b"\xff\xff\xff\xff"])
_ordinary = st.builds(frame, st.just(0x81), _texts, _masks, st.sampled_from([0, 0, 0, 2, 8]))
_fragment = st.builds(
    frame, st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x00, 0x80]), _texts.map(lambda t: t[:90]), _masks
)
_control = st.builds(frame, st.sampled_from([0x89, 0x8A, 0x8A]), st.binary(max_size=10), _masks)
_close = st.builds(frame, st.just(0x88), _closes, _masks)
_wrong = st.one_of(
    st.builds(frame, st.integers(0, 255), _texts, st.one_of(_masks, st.none()), st.sampled_from([0, 2, 8])),
    st.builds(
        frame,
        st.sampled_from([0x81, 0x01, 0x89]),
        st.just(b"x"),
        _masks,
        st.just(8),
        st.sampled_from([300, 301, 2**63, 2**64 - 1]),
    ),
    st.binary(max_size=12),
)
_frames = st.lists(
    st.one_of(_ordinary, _ordinary, _ordinary, _fragment, _fragment, _fragment, _control, _close, _wrong),
    max_size=8,
)
_cuts: st.SearchStrategy[list[int]] = st.one_of(
    st.just([1] * 50), st.lists(st.integers(1, 40), max_size=30), st.just([])
)


def pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of the sizes given; what is left over comes last, in one."""
    cut: list[bytes] = []
    for size in sizes:
        if not stream:
            break
        cut.append(stream[:size])
        stream = stream[size:]
    return [*cut, stream] if stream else cut


def assert_alike(stream: list[bytes], sizes: list[int], close_after: int | None = None) -> None:
    ours, theirs = Subject(), Reference()
    for index, piece in enumerate(pieces(b"".join(stream), sizes)):
        if index == close_after and not theirs.ended:
            ours.server.send_close(1001, "going away")
            if theirs.library.state is State.OPEN:
                theirs.library.send_close(1001, "going away")
            ours.collect()
            theirs.collect()
        ours.receive_data(piece)
        theirs.receive_data(piece)
        assert ours.events == theirs.events
        assert ours.sent == theirs.sent
        assert ours.ended == theirs.ended
        assert ours.server.is_open == (theirs.library.state is State.OPEN)


@given(_frames, _cuts)
@example([frame(0x83, b"a")[:2]], [])
@example([frame(0x81, b"a", None, 2)[:2]], [])
@example([frame(0x01, b"a" * 200), frame(0x80, b"", length=101, width=2)[:4]], [])
@example([frame(0x01, b"a" * 300), frame(0x89, b"a")], [])
@example([frame(0x01, b"a" * 10), frame(0x88, b"")], [])
@example([frame(0x01, b"\xc3"), frame(0x81, b"a")], [])
@example([frame(0x01, b"\xc3"), frame(0x80, b"\xa9"), frame(0x81, b"a"), frame(0x88, b"\x03\xe8")], [1] * 50)
@settings(max_examples=250, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_same_messages_same_answers_same_end(stream: list[bytes], sizes: list[int]) -> None:
    """Compared after every piece, so neither is ever ahead of the other."""
    assert_alike(stream, sizes)


@given(_frames, st.lists(st.integers(1, 20), min_size=2, max_size=20), st.integers(0, 5))
@example([frame(0x81, b"a") * 3, frame(0x88, b"\x03\xe9")], [7, 7, 7], 1)
@example([frame(0x01, b"a"), frame(0x80, b"b"), frame(0x88, b"")], [9, 7], 1)
@example([frame(0x81, b"\xff"), frame(0x81, b"b")], [3, 7], 1)
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_same_after_a_close_of_our_own(stream: list[bytes], sizes: list[int], close_after: int) -> None:
    """The closing handshake may begin anywhere, also inside a frame that has half arrived."""
    assert_alike(stream, sizes, close_after)
