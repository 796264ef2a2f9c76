"""Plays a script of exchanges over a pipe of bytes and notes what came back.

In: a case (``cases.py``) and a way to open connections. Out: one reply per step, as JSON values.
It is nobody's client: frames are made by websockets' sans-I/O ``ClientProtocol``, HTTP answers are
read by h11, and what is sent is exactly what the case says, however malformed. It knows nothing
about what a right answer is.

Limits: no compression is offered; a step waits at most ``TIMEOUT_S`` for its answer.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

import h11
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

TIMEOUT_S = 60.0
RECORDED_HEADERS = ("allow", "location", "openenv-session")
"""Response headers that are part of the contract, beside the content type."""


class Pipe(Protocol):
    """Two-way bytes to a server: a TCP connection or a stand-in for one."""

    def send(self, data: bytes) -> None:
        """Hand over bytes. Raises OSError when the other side is gone."""

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes, ``b""`` at the end. Raises TimeoutError after ``timeout_s``."""

    def close(self) -> None:
        """Hang up without a word."""


Dial = Callable[[], Pipe]


class TcpPipe:
    """A ``Pipe`` over TCP."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self._socket.close()


class Socket:
    """One WebSocket connection of a case."""

    def __init__(self, pipe: Pipe, path: str) -> None:
        self._pipe = pipe
        self._protocol = ClientProtocol(parse_uri(f"ws://neutral.test{path}"), max_size=None)
        self._frames: list[Frame] = []
        self._partial: Frame | None = None
        self._ended = False

    def connect(self) -> dict[str, Any]:
        """Shake hands; gives ``{"status": 101}``, or the refusal as an HTTP answer."""
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while True:
            events = self._pull()
            for place, event in enumerate(events):
                if isinstance(event, Response):
                    refusal = self._protocol.handshake_exc
                    if refusal is not None and not isinstance(refusal, InvalidStatus):
                        raise refusal
                    # Frames may come on the heels of the handshake.
                    self._collect(events[place + 1 :])
                    return {"status": event.status_code}

    def send(self, payload: bytes, opcode: Opcode) -> None:
        """Send one whole frame; nothing is sent once the server has begun to close."""
        if self._protocol.state is not State.OPEN:
            return
        if opcode is Opcode.TEXT:
            self._protocol.send_text(payload)
        else:
            self._protocol.send_binary(payload)
        self._flush()

    def receive(self) -> dict[str, Any]:
        """The next message as ``{"json": ...}`` (or text, or binary), or ``{"closed": [code, reason]}``."""
        while not self._frames:
            if self._ended:
                return {"closed": [self._protocol.close_code, self._protocol.close_reason]}
            self._collect(self._pull())
        frame = self._frames.pop(0)
        if frame.opcode is Opcode.BINARY:
            return {"binary": bytes(frame.data).hex()}
        text = bytes(frame.data).decode()
        try:
            return {"json": json.loads(text, parse_constant=_refuse_constant)}
        except ValueError:
            return {"text": text}

    def drop(self) -> None:
        """Hang up without a closing handshake."""
        self._pipe.close()

    def _pull(self) -> list[Any]:
        data = self._pipe.receive(TIMEOUT_S)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
            self._ended = True
        self._flush()
        return self._protocol.events_received()

    def _collect(self, events: list[Any]) -> None:
        for event in events:
            if not isinstance(event, Frame) or event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
                continue
            if event.opcode is Opcode.CONT and self._partial is not None:
                self._partial.data = bytes(self._partial.data) + bytes(event.data)
                self._partial.fin = event.fin
            else:
                self._partial = event
            if self._partial.fin:
                self._frames.append(self._partial)
                self._partial = None

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                try:
                    self._pipe.send(data)
                except OSError:
                    # Whatever the server said before it went is still to be read.
                    return


def play(steps: list[dict[str, Any]], dial: Dial) -> list[Any]:
    """Play the steps of one case in order; gives one entry per step, null where nothing is answered."""
    sockets: dict[str, Socket] = {}
    replies: list[Any] = []
    try:
        for step in steps:
            replies.append(_play_one(step, sockets, dial))
    finally:
        for open_socket in sockets.values():
            open_socket.drop()
    return replies


def _play_one(step: dict[str, Any], sockets: dict[str, Socket], dial: Dial) -> Any:
    action = step["do"]
    if action == "http":
        return exchange(step, dial)
    name = step.get("on", "a")
    if action == "connect":
        if name in sockets:
            sockets.pop(name).drop()
        sockets[name] = Socket(dial(), step.get("path", "/ws"))
        return sockets[name].connect()
    if action == "ask":
        sockets[name].send(_payload(step), Opcode.BINARY if "hex" in step else Opcode.TEXT)
        return sockets[name].receive()
    if action == "send":
        sockets[name].send(_payload(step), Opcode.BINARY if "hex" in step else Opcode.TEXT)
        return None
    if action == "receive":
        return sockets[name].receive()
    if action == "drop":
        sockets.pop(name).drop()
        return None
    raise ValueError(f"unknown step {action!r}")


def _payload(step: dict[str, Any]) -> bytes:
    return bytes.fromhex(step["hex"]) if "hex" in step else step["text"].encode("utf-8", "surrogatepass")


def exchange(step: dict[str, Any], dial: Dial) -> dict[str, Any]:
    """One HTTP request and its answer: status, content type, the headers that matter, the body."""
    pipe = dial()
    try:
        return _exchange(step, pipe)
    finally:
        pipe.close()


def _exchange(step: dict[str, Any], pipe: Pipe) -> dict[str, Any]:
    connection = h11.Connection(h11.CLIENT)
    body = step.get("body")
    headers = [("Host", "neutral.test"), *(tuple(header) for header in step.get("headers", []))]
    content = b"" if body is None else body.encode()
    if body is not None:
        headers.append(("Content-Length", str(len(content))))
    request = h11.Request(method=step["method"], target=step["path"], headers=headers)
    data = connection.send(request) or b""
    if content:
        data += connection.send(h11.Data(data=content)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    pipe.send(data)
    reply: dict[str, Any] = {}
    received = bytearray()
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(pipe.receive(max(0.01, deadline - time.monotonic())))
        elif isinstance(event, h11.Response):
            fields = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
            reply["status"] = event.status_code
            if "content-type" in fields:
                reply["content_type"] = fields["content-type"]
            reply.update({name: fields[name] for name in RECORDED_HEADERS if name in fields})
        elif isinstance(event, h11.Data):
            received += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the server hung up without an answer")
    if reply.get("content_type", "").startswith("application/json") and received:
        reply["json"] = json.loads(received.decode(), parse_constant=_refuse_constant)
    elif received:
        reply["text"] = received.decode()
    return reply


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
