"""The process of one environment, seen from inside: calls come in over a socket, outcomes go back.

In: messages of `parcel.pack_call`. Out: their outcomes, in order. How author code is called is
`runner.Runner`'s business here as in a worker; this module gives it a place: plain code runs on the main
thread, with no event loop in sight. Environments that have something to be awaited, and those of which that
is not known, get a loop on a second thread, so that a close is heard while something is awaited.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from socket import socket
from typing import Any, NoReturn

from openenv.errors import OpenEnvError
from openenv.session.parcel import HEAD_BYTES, Packed, pack, pack_error, unpack_call, unpack_head
from openenv.session.runner import (
    PENDING,
    EnvironmentSpec,
    Mailbox,
    OnDone,
    Runner,
    WorkThread,
    environment_class,
    is_awaited,
    work,
)

__all__ = ["run"]


def run(spec: EnvironmentSpec, record: type[tuple[Any, ...]], connection: socket) -> NoReturn:
    """Answer calls until the other end is closed, and end the process.

    Args:
        spec: The environment.
        record: See `parcel.pack`.
        connection: Where calls come from.
    """
    _Child(spec, record, connection).run()


class _MainThread(WorkThread):
    """The main thread as the place of plain code: at once, or in turn once a loop runs beside it."""

    __slots__ = ("_is_beside_loop",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._jobs = SimpleQueue()
        self._mailbox = mailbox
        self._is_beside_loop = False

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], on_done: OnDone) -> None:
        if self._is_beside_loop:
            super().submit(call, args, on_done)
            return
        try:
            result = call(*args)
        except BaseException as error:
            on_done(None, error)
        else:
            on_done(result, None)

    def expect(self) -> None:
        """From now on jobs are for `work`."""
        self._is_beside_loop = True

    def work(self) -> NoReturn:
        """Do what the loop's thread submits."""
        while True:
            work(self._jobs, self._mailbox)


class _Child:
    def __init__(self, spec: EnvironmentSpec, record: type[tuple[Any, ...]], connection: socket) -> None:
        self._spec = spec
        self._record = record
        self._connection = connection
        self._loop = asyncio.new_event_loop()
        self._mailbox = Mailbox(self._loop)
        self._main = _MainThread(self._mailbox)
        self._runner = Runner(spec, self._mailbox, self._loop, "environment", self._main)

    def run(self) -> NoReturn:
        cls = environment_class(self._spec.factory)
        if cls is None or callable(getattr(cls, "mcp_session", None)) or _awaits(cls):
            self._run_with_loop(None)
        while True:
            call = self._receive()
            if self._is_awaited(call):
                self._run_with_loop(call)
            self._handle(call)

    def _is_awaited(self, call: tuple[Any, ...]) -> bool:
        if call[0] == "call":
            return inspect.iscoroutinefunction(getattr(type(self._runner.env), call[1], None))
        return bool(call[0] == "apply")

    def _run_with_loop(self, first: tuple[Any, ...] | None) -> NoReturn:
        self._main.expect()
        thread = threading.Thread(target=self._run_loop, args=(first,), name="openenv-loop", daemon=True)
        thread.start()
        self._main.work()

    def _run_loop(self, first: tuple[Any, ...] | None) -> None:
        asyncio.set_event_loop(self._loop)
        if first is not None:
            self._loop.call_soon(self._handle, first)
        self._loop.add_reader(self._connection.fileno(), lambda: self._handle(self._receive()))
        self._loop.run_forever()

    def _receive(self) -> tuple[Any, ...]:
        length, _ = unpack_head(self._read(HEAD_BYTES))
        return unpack_call(self._read(length))

    def _read(self, n_bytes: int) -> bytes:
        data = self._connection.recv(n_bytes)
        if len(data) == n_bytes:
            return data
        parts = bytearray(data)
        while len(parts) < n_bytes:
            data = self._connection.recv(n_bytes - len(parts))
            if not data:
                _end()
            parts += data
        return bytes(parts)

    def _handle(self, call: tuple[Any, ...]) -> None:
        method, *args = call
        try:
            result = getattr(self, f"_{method}")(*args)
        except OpenEnvError as error:
            self._reply(None, error)
        else:
            if result is not PENDING:
                self._reply(result, None)

    def _reply(self, result: Any, error: BaseException | None) -> None:
        message = pack_error(error) if error is not None else result
        if not isinstance(message, Packed):
            message = pack(message, self._record)
        try:
            self._connection.sendall(message)
        except OSError:
            _end()

    def _packing(self, finish: Callable[..., Any]) -> Callable[..., Packed]:
        """`finish`, and its result as a message, in the author's place: his types may have no JSON form."""
        record = self._record
        return lambda *given: pack(finish(*given), record)

    def _open(self) -> Any:
        def opened(result: Any, error: BaseException | None) -> None:
            self._reply({"draws": self._runner.draws}, error)

        result = self._runner.open(opened)
        if result is not PENDING:
            opened(None, None)
        return PENDING

    def _reset(self, kwargs: dict[str, Any], finish: Callable[[Any], Any]) -> Any:
        return self._runner.reset(kwargs, self._packing(finish), self._reply)

    def _step(
        self, data: Any, is_loaded: bool, kwargs: dict[str, Any] | None, finish: Callable[[Any], Any]
    ) -> Any:
        load = _same if is_loaded else self._spec.action.load
        return self._runner.step(load, data, kwargs, self._packing(finish), self._reply)

    def _state(self, finish: Callable[[Any], Any]) -> Any:
        return self._runner.state(self._packing(finish), self._reply)

    def _draw(self, observation: dict[str, Any], finish: Callable[..., Any]) -> Any:
        return self._runner.draw(observation, self._packing(finish), self._reply)

    def _call(self, name: str, args: tuple[Any, ...], finish: Callable[[Any], Any]) -> Any:
        return self._runner.call(name, args, self._packing(finish), self._reply)

    def _apply(self, function: Callable[[Any], Any], finish: Callable[[Any], Any]) -> Any:
        return self._runner.apply(function, self._packing(finish), self._reply)

    def _close(self) -> Any:
        return self._runner.close(self._closed)

    def _closed(self, result: Any, error: BaseException | None) -> None:
        _flush()
        self._reply(result, error)


def _awaits(cls: type) -> bool:
    return any(is_awaited(cls, name) for name in ("reset", "step", "close"))


def _same(value: Any) -> Any:
    return value


def _end() -> NoReturn:
    """Nobody asks any more. What runs at the end of a program was registered by the worker, for itself."""
    _flush()
    os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
