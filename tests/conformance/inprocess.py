"""Our server without sockets: its connections, driven through a transport that is two queues.

In: the name of an application. Out: a ``Dial`` for the player. The loop, the environments' threads
and everything from ``server/connection.py`` inwards are real; only the kernel is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from openenv.config import effective_capacity, resolve
from openenv.server.connection import Connections
from openenv.session.pool import LocalCapacity
from tests.support.peers import ROOT

STOP_TIMEOUT_S = 10.0
T = TypeVar("T")
_numbers = itertools.count()


class InProcessServer:
    """One application on a loop of its own, in a thread of this process.

    Args:
        target: ``module:attribute``.
        variables: The environment variables that its configuration sees.
    """

    def __init__(self, target: str, variables: Mapping[str, str]) -> None:
        module, _, attribute = target.partition(":")
        self._app = getattr(_import_afresh(module), attribute)
        self._config = resolve({}, variables, self._app.settings())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="in-process server")

    def __enter__(self) -> InProcessServer:
        self._thread.start()
        self._connections = self._call(self._start)
        return self

    def __exit__(self, *exc_info: object) -> None:
        closed = threading.Event()
        self._call(lambda: self._connections.context.close(closed.set))
        closed.wait(STOP_TIMEOUT_S)
        self._call(self._connections.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def dial(self) -> QueuePipe:
        """A new connection."""
        return self._call(lambda: QueuePipe(self._loop, self._connections.make()))

    def _start(self) -> Connections:
        app = self._app
        most = effective_capacity(self._config.max_concurrent_envs, app.concurrent, app.environment_name)
        context = app.start(self._config, LocalCapacity(most), self._loop)
        return Connections(app, context, self._config, self._loop, lambda: "Sun, 22 Nov 2026 12:00:00 GMT")

    def _call(self, function: Callable[[], T]) -> T:
        """Run on the loop's thread and give the result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return result.result(STOP_TIMEOUT_S)


class QueuePipe(asyncio.Transport):
    """The client's end and, as an asyncio transport, the server's end of one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: asyncio.BaseProtocol = protocol
        self._to_client: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._unread: list[bytes] = []
        self._paused = False
        self._closing = False
        protocol.connection_made(self)

    # The client's end, called on any thread but the loop's.

    def send(self, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self._feed, data)

    def receive(self, timeout_s: float) -> bytes:
        try:
            return self._to_client.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"nothing came within {timeout_s} s") from None

    # close() belongs to both ends, and both mean the same: no more bytes either way.

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._lose)

    # The server's end, called on the loop.

    def _feed(self, data: bytes) -> None:
        if self._closing:
            return
        if self._paused:
            self._unread.append(data)
        else:
            self._protocol.data_received(data)  # type: ignore[attr-defined]

    def _lose(self) -> None:
        if not self._closing:
            self._closing = True
            self._to_client.put(b"")
            self._protocol.connection_lost(None)

    def write(self, data: Any) -> None:
        if not self._closing:
            self._to_client.put(bytes(data))

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self._loop.call_soon(self._feed, data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer that could fill up."""

    def get_write_buffer_size(self) -> int:
        return 0


def _import_afresh(name: str) -> ModuleType:
    """The module, executed once more: an application is started once in a process."""
    path = ROOT / Path(*name.split(".")).with_suffix(".py")
    fresh_name = f"{name}_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(fresh_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    # Annotations are looked up through sys.modules.
    sys.modules[fresh_name] = module
    spec.loader.exec_module(module)
    return module
