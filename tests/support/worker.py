"""A worker without sockets: an app, its context and its connections on the running loop."""

from __future__ import annotations

import asyncio
from typing import Any

from openenv.app.app import App, create_app
from openenv.app.context import Context
from openenv.config import resolve
from openenv.server.connection import Connections
from openenv.session.pool import LocalCapacity


class Worker:
    """What one process of a server holds; use it inside `async with`."""

    def __init__(self, env: Any, capacity: int = 8, **knobs: Any) -> None:
        self.app: App = create_app(env)
        self.config = resolve({"capacity_wait_s": 0.0, **knobs}, {}, {})
        self.capacity = LocalCapacity(capacity)

    async def __aenter__(self) -> Worker:
        loop = asyncio.get_running_loop()
        self.context: Context = self.app.start(self.config, self.capacity, loop)
        self.connections = Connections(self.app, self.context, self.config, loop, lambda: "a date")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.connections.close()
        closed = asyncio.Event()
        self.context.close(closed.set)
        await asyncio.wait_for(closed.wait(), 10)

    async def until_empty(self) -> None:
        """Return once no session holds a slot."""
        for _ in range(1000):
            if not self.capacity.active:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.capacity.active} sessions still hold their slots")

    def connect(self) -> Transport:
        """A connection whose other end is the test."""
        transport = Transport()
        transport.protocol = self.connections.make()
        transport.protocol.connection_made(transport)
        return transport


class Transport:
    """The kernel, as far as a connection sees it."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.written = bytearray()
        self.n_writes = 0
        self.closed = False
        self.half_closed = False
        self.reading = True
        self._grown = asyncio.Event()

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("192.0.2.7", 5), "sockname": ("192.0.2.1", 80)}.get(name)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after close"
        self.written += data
        self.n_writes += 1
        self._grown.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._grown.set()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self.written)
        self.written.clear()
        return taken

    async def until(self, text: bytes) -> bytes:
        """Everything written so far, once it holds `text`."""
        while text not in self.written and not self.closed:
            self._grown.clear()
            await asyncio.wait_for(self._grown.wait(), 10)
        return self.take()

    async def until_closed(self) -> bytes:
        """Everything written, once the connection is closed."""
        while not self.closed:
            self._grown.clear()
            await asyncio.wait_for(self._grown.wait(), 10)
        return self.take()
