"""What is fuzzed: one function per grammar, and the one sentence that must hold for any bytes.

A target takes bytes and gives a label for what they came to, so that a driver can tell new behaviour
from old. It raises where the sentence does not hold, and an exception that nobody documented is one
of the ways in which it does not.
"""

# ruff: noqa: PT017 - no test, where pytest.raises would do; any outcome is allowed here, if it is right

from __future__ import annotations

import datetime
import enum
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypedDict

from openenv import codec
from openenv.errors import HttpError, InvalidJsonError, SchemaError, SessionError, UnknownTypeError
from openenv.models import Action, field
from openenv.protocol.http11 import ExpectContinue, Phase, Request, RequestParser
from openenv.protocol.messages import parse_message, serialize_error
from openenv.protocol.websocket import BinaryMessage, CloseReceived, Event, WebSocketServer
from openenv.schema import jsonable, schema_of

__all__ = ["TARGETS", "http11", "messages", "schema", "websocket"]


def _pieces(data: bytes) -> list[bytes]:
    """Cut the bytes in a way that depends on nothing but them."""
    size = 1 + (data[-1] if data else 0) % 13
    return [data[start : start + size] for start in range(0, len(data), size)]


# ---- HTTP ----

_STATUSES = frozenset((400, 413, 414, 417, 431, 501, 505))


def http11(data: bytes) -> str:
    """However cut, the same bytes give the same whole requests, then silence or one documented refusal."""
    whole = _parse([data])
    assert _parse(_pieces(data)) == whole
    requests, refusal, _ = whole
    for request in requests:
        assert request.path
        assert "\x00" not in request.path
        assert len(request.body) <= 4096
        assert request.http_version == "1.0" or request.header("host") is not None
        assert not (request.upgrade and request.method != "GET")
        for name, value in request.headers:
            assert name
            assert name == name.lower()
            assert not set(value) & {"\r", "\n", "\x00"}
    shape = ",".join(f"{r.method[:4]}{r.http_version}{len(r.headers)}{bool(r.body)}" for r in requests[:4])
    return f"{shape} {refusal}"


def _parse(pieces: list[bytes]) -> tuple[list[Request], tuple[int, str] | None, bytes]:
    parser = RequestParser(max_head_bytes=2048, max_headers=20, max_body_bytes=4096, max_line_bytes=512)
    requests: list[Request] = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            _drain(parser, requests)
        parser.receive_eof()
        _drain(parser, requests)
    except HttpError as error:
        assert error.status in _STATUSES
        assert parser.phase is Phase.DEAD
        assert parser.next_event() is None
        return requests, (error.status, str(error)), b""
    assert parser.phase is Phase.DONE
    return requests, None, parser.take_rest()


def _drain(parser: RequestParser, requests: list[Request]) -> None:
    while (event := parser.next_event()) is not None:
        if not isinstance(event, ExpectContinue):
            requests.append(event)


# ---- WebSocket ----

_LIMIT = 2000


def websocket(data: bytes) -> str:
    """However cut, the same bytes give the same messages within the limit, pongs, and at most one close."""
    whole = _converse([data])
    assert _converse(_pieces(data)) == whole
    events, sent, last = whole
    for index, event in enumerate(events):
        if isinstance(event, CloseReceived):
            assert index == len(events) - 1
            assert last
        else:
            message = event.data if isinstance(event, BinaryMessage) else event
            assert len(message) <= _LIMIT
            if isinstance(event, bytes):
                event.decode()
    opcodes = _opcodes_of(sent)
    assert set(opcodes[:-1]) <= {0xA}
    assert set(opcodes[-1:]) <= {0xA, 0x8}
    assert last == bool(events and isinstance(events[-1], CloseReceived))
    end = events[-1] if last else None
    return f"{[type(event).__name__ for event in events[:5]]} {len(opcodes)} {end!r}"


def _converse(pieces: list[bytes]) -> tuple[list[Event], bytes, bool]:
    server = WebSocketServer(_LIMIT)
    events: list[Event] = []
    sent, last = b"", False
    for piece in pieces:
        events += server.receive_data(piece)
        if server.has_data_to_send:
            data, ended = server.data_to_send()
            sent += data
            last = last or ended
    assert server.is_open is not last
    return events, sent, last


def _opcodes_of(sent: bytes) -> list[int]:
    """Take apart what a server sent: whole, short, unmasked control frames and nothing else."""
    opcodes = []
    while sent:
        assert sent[0] & 0xF0 == 0x80
        assert sent[1] <= 125
        assert len(sent) >= 2 + sent[1]
        opcodes.append(sent[0] & 0x0F)
        sent = sent[2 + sent[1] :]
    return opcodes


# ---- messages ----

_KINDS = frozenset(("reset", "step", "state", "close", "mcp"))


def messages(data: bytes) -> str:
    """Any payload is one of five messages or one of four errors, and each error makes a JSON reply."""
    try:
        kind, content, timeout_s = parse_message(data)
    except (InvalidJsonError, UnknownTypeError, SchemaError, SessionError) as error:
        reply = json.loads(serialize_error(error))
        assert reply["type"] == "error"
        assert reply["data"]["code"] == error.code
        faults = (
            [(fault["type"], fault["loc"]) for fault in error.errors] if type(error) is SchemaError else ()
        )
        return f"{type(error).__name__} {faults or str(error)[:40]}"
    assert kind in _KINDS
    assert type(content) is dict or (content is None and kind in ("state", "close"))
    assert timeout_s is None or 0 < timeout_s < float("inf")
    return f"{kind} {content is None or len(content)} {timeout_s is None}"


# ---- schema ----


class Colour(enum.Enum):
    """Of values of two types."""

    RED = "red"
    ONE = 1


class Point(Action):
    """Nested, bounded."""

    x: int = field(ge=-10, le=10)
    y: float = 0.0


class Move(Action):
    """Tagged by its kind."""

    kind: Literal["move"]
    to: Point


class Say(Action):
    """Tagged by its kind."""

    kind: Literal["say"]
    words: list[str] = field(default_factory=list, max_length=3)


class Options(TypedDict, total=False):
    """A dictionary with known keys."""

    depth: int
    name: str


class Everything(Action):
    """A field of nearly every type there is."""

    integer: int = 0
    number: float = 0.0
    flag: bool = False
    text: str = field(default="", max_length=5, pattern="^[a-z]*$")
    maybe: int | None = None
    either: int | str = 0
    colour: Colour = Colour.RED
    choice: Literal["a", 1, None] = None
    pair: tuple[int, str] = (0, "")
    row: tuple[float, ...] = ()
    bag: set[int] = field(default_factory=set)
    table: dict[str, list[int]] = field(default_factory=dict)
    numbered: dict[int, bool] = field(default_factory=dict)
    raw: bytes = b""
    when: datetime.datetime | None = None
    day: datetime.date | None = None
    hour: datetime.time | None = None
    span: datetime.timedelta | None = None
    name: uuid.UUID | None = None
    amount: Decimal | None = None
    options: Options = field(default_factory=dict)
    part: Move | Say | None = None
    anything: Any = None


_SCHEMAS = [schema_of(cls) for cls in (Everything, Point, Move, Say)]


def schema(data: bytes) -> str:
    """Any JSON value is an object of the class, which can be written as JSON, or a SchemaError that can."""
    if not data:
        return "empty"
    chosen = _SCHEMAS[data[0] % len(_SCHEMAS)]
    try:
        value = codec.decode(data[1:])
    except InvalidJsonError:
        return "no JSON"
    try:
        loaded = chosen.load(value)
    except SchemaError as error:
        assert error.errors
        for fault in error.errors:
            assert {"type", "loc", "msg", "input"} <= set(fault)
        json.loads(serialize_error(error))
        kinds = sorted({(fault["type"], str(fault["loc"][:1])) for fault in error.errors})
        return f"{chosen.cls.__name__} {kinds}"
    assert type(loaded) is chosen.cls
    json.loads(codec.encode(chosen.dump(loaded), jsonable))
    return f"{chosen.cls.__name__} {sorted(value)[:6]}"


TARGETS: dict[str, Callable[[bytes], str]] = {
    "http11": http11,
    "websocket": websocket,
    "messages": messages,
    "schema": schema,
}
