"""The short cut takes plain steps, and nothing that the long way would see differently."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from openenv.models import Observation
from openenv.protocol.messages import parse_message, serialize_observation
from openenv.protocol.shortcut import observation_frame, plain_step
from openenv.protocol.websocket import WebSocketServer, text_frame


def frame(text: str | bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True, mask: bool = True) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return Frame(opcode, data, fin).serialize(mask=mask)


PLAIN = [
    '{"type":"step","data":{}}',
    '{"type":"step","data":{"message":"hi"}}',
    '{"type": "step", "data": {"a": [1, 2, {"b": null}]}}',
    '{"type":"step","data": {"\u00e9" : "\u00fc"} }',
    '{"type":"step","data":{"a":"},{"}}',
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_step_is_what_the_long_way_makes_of_it(text: str) -> None:
    """The same action, from the same bytes."""
    data = frame(text)
    (payload,) = WebSocketServer(1000).receive_data(data)
    assert isinstance(payload, bytes)
    assert parse_message(payload) == ("step", plain_step(data), None)


OTHERS = [
    frame("nonsense"),
    frame("[]"),
    frame("{}"),
    frame('{"type":"step"}'),
    frame('{"type":"step","data":[]}'),
    frame('{"type":"step","data":{}} '),
    frame('{"type":"step","data":{}]'),
    frame('{"type":"step","data":{},"data":{"a":1}}'),
    frame('{"data":{},"type":"step"}'),
    frame('{"type":"step","data":'),
    frame('{"type":"step","data":}'),
    frame('{"type":"step","data":{},"timeout_s":1}'),
    frame('{"type":"reset","data":{}}'),
    frame('{"type":"step","data":{"x":NaN}}'),
    frame(b'{"type":"step","data":{"x":"\xff"}}'),
    frame('{"type":"step","data":{"x":"%s"}}' % ("y" * 200)),
    frame(PLAIN[0], Opcode.BINARY),
    frame(PLAIN[0], fin=False),
    frame(PLAIN[0], mask=False),
    frame(PLAIN[0])[:-1],
    frame(PLAIN[0]) + b"\x81",
    frame(PLAIN[0]) * 2,
    frame("", Opcode.PING),
    b"",
    b"\x81",
]


# Named by number: masks are random, and every process that runs tests has to give them the same names.
@pytest.mark.parametrize("data", OTHERS, ids=range(len(OTHERS)))
def test_anything_else_goes_the_long_way(data: bytes) -> None:
    """Nothing is refused here."""
    assert plain_step(data) is None


class Seen(Observation):
    text: str = ""
    number: int = 0


@pytest.mark.parametrize(
    "observation",
    [
        Seen(text="hi", reward=1.0),
        Seen(text="x" * 2000),
        Seen(text="x" * 70_000),
        Seen(metadata={"k": 1}),
        Seen(number=2**70),
        {"text": "a dict", "done": True},
    ],
)
def test_an_observation_frame_holds_what_serialize_observation_says(observation: Any) -> None:
    """The first time and when the class is known."""
    for _ in range(2):
        assert observation_frame(observation) == text_frame(serialize_observation(observation))
        json.loads(serialize_observation(observation))


def test_what_is_no_observation_is_the_same_type_error() -> None:
    """It is the author's to read."""
    with pytest.raises(TypeError, match="got NoneType"):
        observation_frame(None)


def test_a_connection_is_between_messages_only_there() -> None:
    """Inside a frame, a fragmented message or a closing handshake it is not."""
    ws = WebSocketServer(1000)
    whole = frame(PLAIN[0])
    assert ws.is_between
    ws.receive_data(whole[:3])
    assert not ws.is_between
    ws.receive_data(whole[3:])
    assert ws.is_between
    ws.receive_data(frame("ab", fin=False))
    assert not ws.is_between
    ws.receive_data(frame("", Opcode.PING))
    assert not ws.is_between
    ws.receive_data(frame("cd", Opcode.CONT))
    assert ws.is_between
    ws.receive_data(frame("", Opcode.PING))
    assert ws.is_between
    ws.send_close(1000)
    assert not ws.is_between
