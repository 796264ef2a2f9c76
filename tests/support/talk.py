"""A few words with a server over `/ws`, through websockets' own client."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect, unix_connect

TIMEOUT_S = 60.0


class Talk:
    """One session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, data: dict[str, Any] | None = None) -> None:
        """Send a message without waiting for its reply."""
        message: dict[str, Any] = {"type": kind}
        if data is not None:
            message["data"] = data
        self.socket.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """The next reply."""
        reply = json.loads(self.socket.recv(timeout=TIMEOUT_S))
        assert isinstance(reply, dict)
        return reply

    def reset(self) -> dict[str, Any]:
        """The observation of a reset, or the error's data."""
        self.send("reset", {})
        return self._content()

    def step(self, message: str) -> dict[str, Any]:
        """The observation of a step, or the error's data."""
        self.send("step", {"message": message})
        return self._content()

    def _content(self) -> dict[str, Any]:
        data = self.receive()["data"]
        content = data.get("observation", data)
        assert isinstance(content, dict)
        return content


@contextmanager
def talk(ws_url: str, *, uds: str | None = None, ssl_context: ssl.SSLContext | None = None) -> Iterator[Talk]:
    """A session that is closed afterwards."""
    options: dict[str, Any] = {"open_timeout": TIMEOUT_S, "close_timeout": TIMEOUT_S, "compression": None}
    if uds is not None:
        opening = unix_connect(uds, uri="ws://localhost/ws", **options)
    else:
        opening = connect(ws_url, ssl=ssl_context, proxy=None, **options)
    with opening as socket:
        yield Talk(socket)
