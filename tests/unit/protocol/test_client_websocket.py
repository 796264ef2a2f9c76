"""The client's WebSocket: the short cut and the library cannot be told apart from outside."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from openenv.errors import ProtocolError
from openenv.protocol.client_websocket import Handshake, WebSocketClient
from openenv.protocol.http_client import Response, ResponseParser
from openenv.protocol.websocket import accept_upgrade

LIMIT = 70_000


def frame(opcode: Opcode, data: bytes, fin: bool = True, *, mask: bool = False) -> bytes:
    """One frame as a server sends it."""
    return Frame(opcode, data, fin).serialize(mask=mask)


TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE
BYE = Close(1000, "bye").serialize()

PIECES = {
    "short": frame(TEXT, b'{"a":1}'),
    "empty": frame(TEXT, b""),
    "medium": frame(TEXT, b"m" * 300),
    "long": frame(TEXT, b"l" * 66_000),
    "binary": frame(BINARY, b"\x00\xff"),
    "fragments": frame(TEXT, b"ab", False)
    + frame(PING, b"in")
    + frame(CONT, b"cd", False)
    + frame(CONT, b"ef"),
    "ping": frame(PING, b"are you there"),
    "pong": frame(PONG, b"x"),
    "close": frame(CLOSE, BYE),
    "empty close": frame(CLOSE, b""),
    "too long": frame(TEXT, b"t" * (LIMIT + 1)),
    "too long in pieces": frame(TEXT, b"t" * 40_000, False) + frame(CONT, b"t" * 40_000),
    "masked": frame(TEXT, b"masked", mask=True),
    "reserved bit": b"\xc1\x01a",
    "unknown opcode": b"\x83\x00",
    "stray continuation": frame(CONT, b"x"),
    "text inside a message": frame(TEXT, b"a", False) + frame(TEXT, b"b"),
    "close inside a message": frame(TEXT, b"a", False) + frame(CLOSE, BYE),
    "fragmented ping": b"\x09\x00",
    "long ping": b"\x89\x7e\x00\x7e" + b"p" * 126,
}


def library_says(data: bytes) -> tuple[list[bytes], tuple[int, str] | None, list[tuple[int, bytes]]]:
    """Messages, how it was closed, and the frames sent, by `websockets` alone."""
    protocol = ClientProtocol(WebSocketURI(False, "h", 80, "/", ""), state=State.OPEN, max_size=LIMIT)
    protocol.receive_data(data)
    messages: list[bytes] = []
    closed = None
    parts: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (TEXT, BINARY, CONT):
            parts.append(bytes(event.data))
            if event.fin:
                messages.append(b"".join(parts))
                parts = []
        elif event.opcode is CLOSE:
            close = Close.parse(bytes(event.data))
            closed = (close.code, close.reason)
    if protocol.parser_exc is not None and protocol.close_sent is not None:
        closed = (protocol.close_sent.code, protocol.close_sent.reason)
    return messages, closed, unmask(b"".join(protocol.data_to_send()))


def ours_say(chunks: list[bytes]) -> tuple[list[bytes], tuple[int, str] | None, list[tuple[int, bytes]]]:
    """The same, by `WebSocketClient`, given the bytes in these chunks."""
    client = WebSocketClient(LIMIT)
    messages: list[bytes] = []
    for chunk in chunks:
        whole = client.receive_whole(chunk)
        messages += [whole] if whole is not None else client.receive_data(chunk)
    return messages, client.closed, unmask(client.data_to_send())


def unmask(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a client sent, as (opcode, payload): masks differ each time."""
    server = ServerProtocol(state=State.OPEN, max_size=None)
    server.receive_data(data)
    return [(int(event.opcode), bytes(event.data)) for event in server.events_received()]  # type: ignore[union-attr]


@pytest.mark.parametrize("names", [(a, b) for a, b in itertools.product(PIECES, PIECES)], ids="+".join)
def test_the_short_cut_says_what_the_library_says(names: tuple[str, str]) -> None:
    """Any two things one after the other, in one read."""
    data = b"".join(PIECES[name] for name in names)
    assert ours_say([data]) == library_says(data)


@pytest.mark.parametrize("name", PIECES)
def test_what_is_received_does_not_depend_on_how_it_was_cut(name: str) -> None:
    """Cut in two at every index of the head, and into single bytes."""
    data = PIECES["short"] + PIECES[name] + PIECES["medium"]
    expected = ours_say([data])
    for cut in [*range(min(len(data), 40)), len(data) // 2, len(data) - 1]:
        assert ours_say([part for part in (data[:cut], data[cut:]) if part]) == expected
    if len(data) < 2000:
        assert ours_say([bytes([byte]) for byte in data]) == expected


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(min_value=1, max_value=9))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_bytes_are_taken_as_the_library_takes_them(pieces: list[bytes], size: int) -> None:
    """Nothing but the documented outcomes, whatever comes."""
    data = b"".join(pieces)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert ours_say(chunks) == library_says(data)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_a_server_reads_the_frames_that_are_sent(length: int) -> None:
    """All three forms of length, masked each time anew."""
    client = WebSocketClient(LIMIT)
    payload = os.urandom(length // 2).hex().encode().ljust(length, b"x")
    frames = [client.text_frame(payload) for _ in range(100)]
    assert {bytes(event[1]) for one in frames for event in unmask(one)} == {payload}
    assert length == 0 or len(set(frames)) > 90


def test_closing_sends_one_close_frame_and_still_receives() -> None:
    """RFC 6455 section 5.5.1: what the server sent before it saw the close frame still counts."""
    client = WebSocketClient(LIMIT)
    client.send_close(1000)
    client.send_close(1000)
    assert unmask(client.data_to_send()) == [(8, Close(1000, "").serialize())]
    assert client.receive_data(PIECES["short"]) == [b'{"a":1}']
    assert client.receive_data(PIECES["close"]) == []
    assert client.closed == (1000, "bye")
    assert client.data_to_send() == b""


def test_the_end_without_a_close_frame_is_1006() -> None:
    """RFC 6455 section 7.1.5."""
    client = WebSocketClient(LIMIT)
    client.receive_eof()
    assert client.closed is not None
    assert client.closed[0] == 1006
    client.send_close()
    client.send_ping()
    assert client.data_to_send() == b""


def test_a_ping_is_a_ping() -> None:
    """Empty, masked."""
    client = WebSocketClient(LIMIT)
    client.send_ping()
    assert unmask(client.data_to_send()) == [(9, b"")]


def answer_to(handshake: Handshake) -> Response:
    """What our server answers."""
    head = handshake.request.decode().split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in head[1:-2])]
    status, answer = accept_upgrade("/ws", fields)
    response = ResponseParser().receive_data(answer)
    assert response is not None
    assert response.status == status
    return response


def test_the_handshake_is_what_our_server_accepts() -> None:
    """And the client accepts its answer."""
    handshake = Handshake("host:1", "/ws?x=1", [("X-More", "yes")])
    assert handshake.request.startswith(b"GET /ws?x=1 HTTP/1.1\r\nHost: host:1\r\n")
    response = answer_to(handshake)
    assert response.status == 101
    handshake.check(response)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upgrade", "h2c"),
        ("connection", "close"),
        ("sec-websocket-accept", "bm8="),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "chat"),
    ],
)
def test_an_answer_to_another_question_is_refused(name: str, value: str) -> None:
    """RFC 6455 section 4.1: each of these fails the connection."""
    handshake = Handshake("host", "/ws")
    response = answer_to(handshake)
    response.headers = [pair for pair in response.headers if pair[0] != name] + [(name, value)]
    with pytest.raises(ProtocolError):
        handshake.check(response)


def test_an_answer_like_the_one_before_is_known_by_its_bytes() -> None:
    """Read once for many sessions; the answer to another key is another answer, and is refused."""
    answers = []
    for _ in range(3):
        handshake = Handshake("many", "/ws")
        head = handshake.request.decode().split("\r\n")
        fields = [(name, value) for name, _, value in (line.partition(": ") for line in head[1:-2])]
        answer = accept_upgrade("/ws", fields)[1]
        # One second in the Date of all, whenever this runs.
        answer = b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"Date"))
        response = handshake.receive_data(answer)
        assert response is not None
        handshake.check(response)
        answers.append((answer, response))
    assert answers[1][1] is answers[2][1]
    stranger = Handshake("many", "/ws")
    response = stranger.receive_data(answers[0][0])
    assert response is not None
    with pytest.raises(ProtocolError, match="does not belong"):
        stranger.check(response)


def test_what_follows_an_answer_in_one_read_is_kept() -> None:
    """Known or not, and in pieces: the first frame may come with the response."""
    for cut in (None, 40):
        handshake = Handshake("follows", "/ws")
        head = handshake.request.decode().split("\r\n")
        fields = [(name, value) for name, _, value in (line.partition(": ") for line in head[1:-2])]
        answer = accept_upgrade("/ws", fields)[1] + PIECES["short"]
        response = None
        for piece in (answer[:cut], answer[cut:] if cut else b""):
            response = handshake.receive_data(piece) if piece else response
        assert response is not None
        handshake.check(response)
        assert handshake.rest == PIECES["short"]
