"""The server's side of a WebSocket, as RFC 6455 has it."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from websockets.frames import Close
from websockets.speedups import apply_mask

from openenv.protocol import websocket
from openenv.protocol.http11 import Request, RequestParser
from openenv.protocol.websocket import (
    BinaryMessage,
    CloseReceived,
    Event,
    WebSocketServer,
    accept_upgrade,
    text_frame,
)

LIMIT = 1 << 20
MASK = b"\x37\xfa\x21\x3d"
FIN, TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x80, 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(head: int, payload: bytes = b"", width: int = 0) -> bytes:
    """A masked frame; `width` 2 or 8 forces a long form of the length."""
    size = len(payload)
    width = width or (0 if size < 126 else 2 if size < 65536 else 8)
    if width == 0:
        lengths = bytes([0x80 | size])
    else:
        lengths = bytes([0x80 | (126 if width == 2 else 127)]) + size.to_bytes(width, "big")
    return bytes([head]) + lengths + MASK + apply_mask(payload, MASK)


def closing(code: int, reason: str = "") -> bytes:
    """The frame with which a server closes."""
    payload = Close(code, reason).serialize()
    return bytes([FIN | CLOSE, len(payload)]) + payload


def receive(stream: bytes, limit: int = LIMIT) -> tuple[list[Event], bytes, bool]:
    """What a fresh WebSocket makes of a stream: the same whole, byte by byte, and cut in two anywhere."""
    whole = _receive([stream], limit)
    if len(stream) < 400:
        assert _receive([stream[i : i + 1] for i in range(len(stream))], limit) == whole
        for cut in range(1, len(stream)):
            assert _receive([stream[:cut], stream[cut:]], limit) == whole
    return whole


def _receive(pieces: list[bytes], limit: int) -> tuple[list[Event], bytes, bool]:
    server = WebSocketServer(limit)
    events: list[Event] = []
    sent, last = b"", False
    for piece in pieces:
        events += server.receive_data(piece)
        data, ended = server.data_to_send()
        sent += data
        last = last or ended
    return events, sent, last


def failed(stream: bytes, code: int, limit: int = LIMIT) -> str:
    """Check that the stream fails the connection with the code, and give the reason."""
    events, sent, last = receive(stream, limit)
    assert last
    close = events[-1]
    assert isinstance(close, CloseReceived)
    assert close.code == code
    assert sent.endswith(closing(code, close.reason))
    return close.reason


# ---- messages ----


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
@pytest.mark.parametrize("width", [0, 2, 8])
def test_a_text_message_of_any_length_form_is_received(size: int, width: int) -> None:
    """Lengths of 7, 16 and 64 bits; a longer form than needed is tolerated, as the library does."""
    payload = b"x" * size
    if width == 2 and size > 65535:
        width = 8
    assert receive(frame(FIN | TEXT, payload, width)) == ([payload], b"", False)


def test_many_messages_in_one_piece_come_in_order() -> None:
    """One wake-up of the loop handles all that has arrived."""
    payloads = [str(number).encode() for number in range(200)]
    stream = b"".join(frame(FIN | TEXT, payload) for payload in payloads)
    assert WebSocketServer(LIMIT).receive_data(stream) == payloads


@pytest.mark.parametrize("text", ["", "é", "日本", "\U0001f600", "a\x00b", "\ufeff"])
def test_text_is_any_unicode(text: str) -> None:
    """UTF-8 of one to four bytes, NUL and the byte order mark included."""
    assert receive(frame(FIN | TEXT, text.encode())) == ([text.encode()], b"", False)


def test_a_binary_message_is_told_apart() -> None:
    """The protocol above has no use for it, and must know."""
    assert receive(frame(FIN | BINARY, b"\xff")) == ([BinaryMessage(b"\xff")], b"", False)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_fragmented_message_is_put_together(opcode: int) -> None:
    """RFC 6455 section 5.4; fragments may be empty and may cut a character."""
    fragments = [
        frame(opcode, b"\xc3"),
        frame(CONTINUATION),
        frame(CONTINUATION, b"\xa9 a"),
        frame(FIN, b"b"),
    ]
    message = "é ab".encode()
    expected = message if opcode == TEXT else BinaryMessage(message)
    assert receive(b"".join(fragments)) == ([expected], b"", False)


def test_control_frames_may_come_between_fragments() -> None:
    """RFC 6455 section 5.4: they are answered at once, and the message goes on."""
    stream = frame(TEXT, b"a") + frame(FIN | PING, b"p") + frame(FIN | PONG, b"q") + frame(FIN, b"b")
    assert receive(stream) == ([b"ab"], b"\x8a\x01p", False)


def test_whole_messages_follow_a_fragmented_one() -> None:
    """The short cut is left for the library and taken up again."""
    stream = frame(FIN | TEXT, b"1") + frame(TEXT, b"2") + frame(FIN, b"3") + frame(FIN | TEXT, b"4")
    assert receive(stream) == ([b"1", b"23", b"4"], b"", False)


# ---- ping and pong ----


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(125)])
def test_a_ping_is_answered_with_its_payload(payload: bytes) -> None:
    """RFC 6455 section 5.5.3."""
    pong = bytes([FIN | PONG, len(payload)]) + payload
    assert receive(frame(FIN | PING, payload)) == ([], pong, False)


def test_pings_are_answered_in_order() -> None:
    """Many in one piece give as many pongs."""
    events, sent, last = _receive([b"".join(frame(FIN | PING, bytes([n])) for n in range(100))], LIMIT)
    assert (events, last) == ([], False)
    assert sent == b"".join(bytes([FIN | PONG, 1, n]) for n in range(100))


def test_an_unasked_pong_is_ignored() -> None:
    """RFC 6455 section 5.5.3."""
    assert receive(frame(FIN | PONG, b"x") + frame(FIN | TEXT, b"a")) == ([b"a"], b"", False)


def test_a_ping_of_our_own_is_one_unmasked_frame() -> None:
    """And its pong is taken in silence."""
    assert WebSocketServer(LIMIT).send_ping(b"hi") == b"\x89\x02hi"
    assert receive(frame(FIN | PONG, b"hi")) == ([], b"", False)


def test_a_flood_of_pings_costs_no_more_than_its_bytes() -> None:
    """Eight times the pings take about eight times as long."""

    def seconds(count: int) -> float:
        stream = frame(FIN | PING) * count
        server = WebSocketServer(LIMIT)
        started = time.process_time()
        server.receive_data(stream)
        assert server.data_to_send() == (b"\x8a\x00" * count, False)
        return time.process_time() - started

    assert min(seconds(4_000) for _ in range(2)) < 24 * min(seconds(500) for _ in range(3)) + 0.02


def test_frames_beyond_so_many_are_left_for_the_next_call() -> None:
    """In order, however they are cut, and nothing is lost."""
    texts = [b"%d" % number for number in range(10)]
    stream = b"".join(frame(FIN | TEXT, text) for text in texts) + frame(FIN | PING, b"end")
    for cut in range(len(stream)):
        server = WebSocketServer(LIMIT)
        events = server.receive_data(stream[:cut], 3)
        assert len(events) <= 3
        events += server.receive_data(stream[cut:], 3)
        while server.is_behind:
            assert not server.is_between
            assert server.n_held
            events += server.receive_data(b"", 3)
        assert events == texts
        assert server.data_to_send() == (b"\x8a\x03end", False)
        assert server.is_between
        assert server.n_held == 0


def test_tiny_frames_are_counted_between_messages_and_while_they_come_too_fast() -> None:
    """4,096 of them are too many only where no message and no pause comes in between."""
    pings = frame(FIN | PING) * 4000
    server = WebSocketServer(LIMIT)
    assert server.receive_data(pings + frame(TEXT) + frame(FIN) + pings) == [b""]
    assert server.receive_data(pings) == []
    server = WebSocketServer(LIMIT)
    assert server.receive_data(frame(TEXT) + frame(0, b"x" * 64) * 100 + frame(FIN)) == [b"x" * 6400]
    (event,) = server.receive_data(frame(TEXT) + frame(0, b"x") * 5000)
    assert isinstance(event, CloseReceived)
    assert event.code == 1008
    data, is_last = server.data_to_send()
    assert data[2:4] == (1008).to_bytes(2, "big")
    assert is_last


# ---- closing ----


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1001, "é"), (1011, ""), (3000, ""), (4999, "x" * 123)]
)
def test_a_close_is_answered_with_the_same(code: int, reason: str) -> None:
    """RFC 6455 section 5.5.1; then the server closes the TCP connection."""
    payload = code.to_bytes(2, "big") + reason.encode()
    assert receive(frame(FIN | CLOSE, payload)) == (
        [CloseReceived(code, reason)],
        closing(code, reason),
        True,
    )


def test_a_close_without_a_code_is_1005() -> None:
    """RFC 6455 section 7.1.5; the answer is as empty."""
    assert receive(frame(FIN | CLOSE)) == ([CloseReceived(1005, "")], b"\x88\x00", True)


def test_nothing_is_received_after_a_close() -> None:
    """RFC 6455 section 1.4, not even in the same piece."""
    stream = (
        frame(FIN | TEXT, b"a") + frame(FIN | CLOSE, b"\x03\xe8") + frame(FIN | TEXT, b"b") + b"\xff" * 20
    )
    assert receive(stream) == ([b"a", CloseReceived(1000, "")], closing(1000), True)


def test_a_close_of_our_own_is_completed_by_the_peer() -> None:
    """Messages that were under way still arrive; then the peer's close ends it."""
    server = WebSocketServer(LIMIT)
    assert server.is_open
    server.send_close(1001, "going away")
    assert not server.is_open
    assert server.data_to_send() == (closing(1001, "going away"), False)
    assert server.receive_data(frame(FIN | TEXT, b"late")) == [b"late"]
    assert server.receive_data(frame(FIN | CLOSE, b"\x03\xe9")) == [CloseReceived(1001, "")]
    assert server.data_to_send() == (b"", True)


def test_closing_twice_sends_one_frame() -> None:
    """The second is a no-op, also after the peer's close."""
    server = WebSocketServer(LIMIT)
    server.send_close(1000)
    server.send_close(1001)
    assert server.data_to_send() == (closing(1000), False)
    server = WebSocketServer(LIMIT)
    server.receive_data(frame(FIN | CLOSE, b"\x03\xe8"))
    server.send_close(1001)
    assert server.data_to_send() == (closing(1000), True)


def test_a_close_of_our_own_may_come_in_the_middle_of_a_frame() -> None:
    """What has half arrived is not lost."""
    server = WebSocketServer(LIMIT)
    stream = frame(FIN | TEXT, b"hello")
    assert server.receive_data(stream[:7]) == []
    server.send_close(1000)
    assert server.receive_data(stream[7:]) == [b"hello"]


# ---- what fails the connection ----


@pytest.mark.parametrize("head", [FIN | TEXT, TEXT, FIN | BINARY, FIN | PING, FIN | CLOSE])
def test_an_unmasked_frame_fails_with_1002(head: int) -> None:
    """RFC 6455 section 5.1, by its first two bytes."""
    assert failed(bytes([head, 1]), 1002)
    assert failed(frame(FIN | TEXT, b"a") + bytes([head, 1]) + b"x", 1002)


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10, 0x70])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_reserved_bits_fail_with_1002(bits: int, opcode: int) -> None:
    """RFC 6455 section 5.2: no extension was negotiated."""
    assert failed(frame(FIN | bits | opcode), 1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_reserved_opcodes_fail_with_1002(opcode: int) -> None:
    """RFC 6455 section 5.2, without waiting for the payload."""
    assert failed(frame(FIN | opcode, b"abc"), 1002)
    assert failed(frame(FIN | opcode, b"abc")[:2], 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_fragmented_control_frame_fails_with_1002(opcode: int) -> None:
    """RFC 6455 section 5.5."""
    assert failed(frame(opcode), 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_long_control_frame_fails_with_1002(opcode: int) -> None:
    """RFC 6455 section 5.5: 125 bytes at most."""
    assert failed(frame(FIN | opcode, bytes([3, 0xE8]) + b"x" * 124), 1002)


@pytest.mark.parametrize("head", [CONTINUATION, FIN])
def test_a_continuation_of_nothing_fails_with_1002(head: int) -> None:
    """RFC 6455 section 5.4."""
    assert failed(frame(head, b"a"), 1002)
    assert failed(frame(TEXT, b"a") + frame(FIN, b"b") + frame(head, b"c"), 1002)


@pytest.mark.parametrize("head", [FIN | TEXT, TEXT, FIN | BINARY])
def test_a_message_inside_a_message_fails_with_1002(head: int) -> None:
    """RFC 6455 section 5.4."""
    assert failed(frame(TEXT, b"a") + frame(head, b"b"), 1002)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x03",
        b"\x00\x00",
        b"\x03\xe7",
        b"\x03\xec",
        b"\x03\xed",
        b"\x03\xee",
        b"\x03\xf7",
        b"\x0b\xb7",
        b"\x13\x88",
    ],
)
def test_an_invalid_close_code_fails_with_1002(payload: bytes) -> None:
    """RFC 6455 section 7.4: half a code, 0, 999, 1004..1006, 1015, 2999, 5000."""
    assert failed(frame(FIN | CLOSE, payload), 1002)


def test_a_close_reason_that_is_not_utf8_fails_with_1007() -> None:
    """RFC 6455 section 5.5.1."""
    assert failed(frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007)


@pytest.mark.parametrize("payload", [b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_text_that_is_not_utf8_fails_with_1007(payload: bytes) -> None:
    """RFC 6455 section 8.1: stray, truncated, overlong, surrogate, beyond U+10FFFF."""
    assert failed(frame(FIN | TEXT, payload), 1007)
    assert failed(frame(TEXT, payload) + frame(FIN), 1007)
    assert failed(frame(FIN | TEXT, b"a") + frame(FIN | TEXT, payload) + frame(FIN | PING), 1007)


def test_text_that_is_not_utf8_across_fragments_fails_with_1007() -> None:
    """Each fragment alone might have been part of something valid."""
    assert failed(frame(TEXT, b"\xc3") + frame(FIN, b"a"), 1007)
    assert failed(frame(TEXT, b"\xc3") + frame(CONTINUATION) + frame(FIN), 1007)


def test_a_message_at_the_limit_is_received() -> None:
    """In one frame or in several."""
    assert receive(frame(FIN | TEXT, b"x" * 10), 10) == ([b"x" * 10], b"", False)
    assert receive(frame(TEXT, b"x" * 5) + frame(FIN, b"x" * 5), 10) == ([b"x" * 10], b"", False)


@pytest.mark.parametrize(
    "stream",
    [
        frame(FIN | TEXT, b"x" * 11),
        frame(FIN | TEXT, b"x" * 11)[:2],
        frame(FIN | BINARY, b"x" * 11),
        frame(TEXT, b"x" * 11),
        frame(TEXT, b"x" * 5) + frame(FIN, b"x" * 6),
        frame(TEXT, b"x" * 5) + frame(FIN, b"x" * 6)[:2],
        b"\x81\xff" + b"\x7f" + b"\xff" * 7,
        b"\x81\xff" + b"\xff" * 8,
    ],
)
def test_a_message_beyond_the_limit_fails_with_1009(stream: bytes) -> None:
    """By its head alone: nobody waits for, or holds, a payload that will not be taken."""
    failed(stream, 1009, 10)


def test_a_message_in_tiny_fragments_is_held_in_few_bytes() -> None:
    """Empty ones count for nothing towards the limit: they must not be kept, either."""
    server = WebSocketServer(LIMIT)
    tracemalloc.start()
    try:
        server.receive_data(frame(TEXT, b"ab"))
        for _ in range(200):
            server.receive_data(frame(CONTINUATION) * 50 + frame(CONTINUATION, b"ab") * 50)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000


def test_a_message_in_tiny_pieces_is_held_in_few_bytes() -> None:
    """The cost of holding a message does not depend on how the peer cuts it."""
    server = WebSocketServer(LIMIT)
    stream = frame(FIN | TEXT, b"x" * 60_000)
    assert len(stream) % 2 == 0
    tracemalloc.start()
    try:
        for index in range(0, len(stream) - 2, 2):
            assert server.receive_data(stream[index : index + 2]) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 180_000
    assert server.receive_data(stream[-2:]) == [b"x" * 60_000]


# ---- handshake and sending ----

_HANDSHAKE = (
    b"GET /ws?session_id=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)


def _accept(extra: bytes) -> tuple[int, bytes]:
    parser = RequestParser()
    parser.receive_data(_HANDSHAKE % extra)
    request = parser.next_event()
    assert isinstance(request, Request)
    assert request.upgrade
    return accept_upgrade(request.target, list(request.headers), [("openenv-x", "y")])


def test_a_handshake_is_accepted() -> None:
    """RFC 6455 section 1.3, with the key of its example."""
    status, response = _accept(b"Sec-WebSocket-Version: 13\r\n")
    assert status == 101
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert b"openenv-x: y\r\n" in response
    assert b"Sec-WebSocket-Extensions" not in response


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        b"Origin: http://a.example\r\n",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        b"Sec-WebSocket-Protocol: a, b\r\n",
        b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P\r\n",
        b"Connection: keep-alive\r\n",
    ],
)
def test_a_plain_handshake_is_answered_as_the_library_would(
    extra: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, but for the time of day."""
    seen = []
    for short_cut in (True, False):
        if not short_cut:
            monkeypatch.setattr(websocket, "_accept_plain", lambda headers, extra_headers: None)
        status, response = _accept(b"Sec-WebSocket-Version: 13\r\n" + extra)
        seen.append((status, [line for line in response.split(b"\r\n") if not line.startswith(b"Date: ")]))
    assert seen[0] == seen[1]


def test_no_extension_is_negotiated() -> None:
    """Compression would cost more than it saves for short messages, and rules out the short cut."""
    status, response = _accept(
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    )
    assert status == 101
    assert b"permessage" not in response


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"", 400),
        (b"Sec-WebSocket-Version: 12\r\n", 426),
        (b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: again\r\n", 400),
    ],
)
def test_a_handshake_is_refused(extra: bytes, status: int) -> None:
    """RFC 6455 section 4.2.1: a version of 13 and one key."""
    got, response = _accept(extra)
    assert got == status or (status == 426 and got == 400)
    assert response.startswith(b"HTTP/1.1 %d " % got)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_text_frame_has_the_shortest_length_form(size: int) -> None:
    """RFC 6455 section 5.2, and no mask from a server."""
    payload = b"x" * size
    head = text_frame(payload)[: -size or None]
    assert text_frame(payload) == head + payload
    if size < 126:
        assert head == bytes([0x81, size])
    elif size < 65536:
        assert head == b"\x81\x7e" + size.to_bytes(2, "big")
    else:
        assert head == b"\x81\x7f" + size.to_bytes(8, "big")
