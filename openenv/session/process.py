"""A runner whose environment lives in a process of its own, that can be killed.

In and out: as of `runner.Runner`, whose methods these are. A call is sent to the child, its outcome comes
back as finished bytes; nothing of the author's runs in the worker. A child that ends by itself, or is ended
from outside, is an error of the call under way, and the runner is of no more use: see `ended`.

Limits: functions that a call is given are pickled, so they are functions of a module or `partial`s of such.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from openenv.errors import AuthorError, EnvironmentFactoryError
from openenv.session.nursery import Nursery, describe_end
from openenv.session.parcel import HEAD_BYTES, MAX_OUTCOME_BYTES, pack_call, unpack, unpack_head
from openenv.session.runner import PENDING, EnvironmentSpec, Finish, OnDone, Runner

__all__ = ["AnyRunner", "ProcessRunner"]

logger = logging.getLogger("openenv.session")

_READ_BYTES = 64 * 1024
_MAX_READ_BYTES = 1024 * 1024
_ENDED = "EnvironmentEnded"


class ProcessRunner:
    """One environment in a process of its own.

    Args:
        nursery: Starts and ends the process.
        spec: The environment.
        loop: The running loop.
        record: See `parcel.pack`.
        on_lost: Called on the loop when the process ended by itself while no call was under way.

    Attributes:
        ended: How the process ended, in words, once it has and nobody asked for it; else None.
        draws: As of `Runner`.

    Raises:
        RuntimeError: This process has no descriptor left.
    """

    __slots__ = (
        "_close_error",
        "_fault",
        "_is_deaf",
        "_is_gone",
        "_is_killed",
        "_key",
        "_loop",
        "_nursery",
        "_on_gone",
        "_on_lost",
        "_record",
        "_socket",
        "_spec",
        "_unread",
        "_unsent",
        "_waiting",
        "draws",
        "ended",
        "step_now",
    )

    def __init__(
        self,
        nursery: Nursery,
        spec: EnvironmentSpec,
        loop: asyncio.AbstractEventLoop,
        record: Callable[..., Any],
        on_lost: Callable[[], None],
    ) -> None:
        self._nursery = nursery
        self._spec = spec
        self._loop = loop
        self._record = record
        self._on_lost = on_lost
        self._waiting: deque[tuple[str, OnDone]] = deque()
        self._unread = bytearray()
        self._unsent = bytearray()
        self._is_deaf = False
        self._is_gone = False
        self._is_killed = False
        self._on_gone: OnDone | None = None
        self._close_error: BaseException | None = None
        self._fault: str | None = None
        self.draws = False
        self.ended: str | None = None
        self.step_now: None = None
        try:
            self._socket, theirs = socket.socketpair()
        except OSError as error:
            raise RuntimeError(str(error)) from error
        self._socket.setblocking(False)
        self._key = nursery.start(theirs, self._gone)
        loop.add_reader(self._socket.fileno(), self._hear)

    # -- the calls ----------------------------------------------------------------------------

    def open(self, on_done: OnDone) -> Any:
        """Make the environment. Errors as of `Runner.open`."""

        def opened(result: Any, error: BaseException | None) -> None:
            if error is None:
                self.draws = isinstance(result, dict) and result.get("draws") is True
            on_done(None, error)

        return self._ask("factory", opened, "open")

    def reset(self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `reset` with those of the keywords that it takes."""
        return self._ask("reset", on_done, "reset", kwargs, finish)

    def step(
        self,
        load: Callable[[Any], Any],
        data: Any,
        kwargs: dict[str, Any] | None,
        finish: Finish,
        on_done: OnDone,
    ) -> Any:
        """Call `step`; an action that is not loaded yet is loaded in the process."""
        return self._ask("step", on_done, "step", data, load is not self._spec.action.load, kwargs, finish)

    def state(self, finish: Finish, on_done: OnDone) -> Any:
        """Read `state`."""
        return self._ask("state", on_done, "state", finish)

    def draw(self, observation: dict[str, Any], finish: Callable[..., Any], on_done: OnDone) -> Any:
        """Call `render_web` and `web_actions`."""
        return self._ask("render_web", on_done, "draw", observation, finish)

    def call(self, name: str, args: tuple[Any, ...], finish: Finish, on_done: OnDone) -> Any:
        """Call any other method."""
        return self._ask(name, on_done, "call", name, args, finish)

    def apply(self, function: Callable[[Any], Any], finish: Finish, on_done: OnDone) -> Any:
        """Await what a coroutine function of the environment gives."""
        return self._ask("tools", on_done, "apply", function, finish)

    def close(self, on_done: OnDone) -> Any:
        """Call `close`, then end the process; `on_done` once it is gone. A call under way finishes first."""
        if self._is_deaf or self.ended is not None:
            self.kill()
            if self._is_gone:
                return None
            self._on_gone = on_done
            return PENDING
        self._on_gone = on_done

        def closed(result: Any, error: BaseException | None) -> None:
            self._close_error = error
            self.kill()

        return self._ask("close", closed, "close")

    def abandon(self, on_done: OnDone) -> None:
        """Give up on a call that does not return."""
        self.kill()
        on_done(None, None)

    def kill(self) -> None:
        """End the process and all that it started, now. Calls under way are never answered."""
        self._is_killed = True
        self._waiting.clear()
        self._nursery.kill(self._key)
        self._stop_hearing()

    # -- the socket ---------------------------------------------------------------------------

    def _ask(self, method: str, on_done: OnDone, *call: Any) -> Any:
        if self.ended is not None:
            raise self._lost_error(method)
        try:
            self._unsent += pack_call(call)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise AuthorError(f"cannot be sent to the environment's process: {error}", method) from error
        self._waiting.append((method, on_done))
        self._send()
        return PENDING

    def _send(self) -> None:
        if self._is_deaf:
            return
        number = self._socket.fileno()
        try:
            n_sent = self._socket.send(self._unsent)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            n_sent = len(self._unsent)  # it is gone: how, the nursery says
        del self._unsent[:n_sent]
        if self._unsent:
            self._loop.add_writer(number, self._send)
        else:
            self._loop.remove_writer(number)

    def _hear(self) -> bool:
        """Take what came; False if nothing did."""
        unread = self._unread
        n_bytes = _READ_BYTES
        if len(unread) >= HEAD_BYTES:
            n_bytes = min(_MAX_READ_BYTES, max(n_bytes, unpack_head(unread)[0] + HEAD_BYTES - len(unread)))
        try:
            data = self._socket.recv(n_bytes)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            # It ends, or has closed what is ours; either way the nursery says how it ended.
            self._nursery.kill(self._key)
            self._stop_hearing()
            return False
        unread += data
        while len(unread) >= HEAD_BYTES and not self._is_deaf:
            length, kind = unpack_head(unread)
            if length > MAX_OUTCOME_BYTES:
                self._distrust(f"an outcome of {length} bytes")
                break
            end = HEAD_BYTES + length
            if len(unread) < end:
                break
            payload = bytes(memoryview(unread)[HEAD_BYTES:end])
            del unread[:end]
            self._take(kind, payload)
        return True

    def _take(self, kind: int, payload: bytes) -> None:
        try:
            result, error = unpack(kind, payload, self._record)
        except ValueError as fault:
            self._distrust(str(fault))
            return
        if not self._waiting:
            self._distrust("an outcome that nobody asked for")
            return
        _, on_done = self._waiting.popleft()
        on_done(result, error)

    def _distrust(self, why: str) -> None:
        """Somebody in the process writes to what is ours."""
        logger.error("the process of an environment says what it cannot say (%s); it is ended", why)
        self._fault = f"was ended for what it wrote to the worker: {why}"
        self._nursery.kill(self._key)
        self._stop_hearing()

    def _stop_hearing(self) -> None:
        # The socket stays open until the process is gone: at the end of that it would end by itself, maybe
        # before it is killed with all that it started.
        if not self._is_deaf:
            self._is_deaf = True
            number = self._socket.fileno()
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)
            self._unread.clear()
            self._unsent.clear()

    def _gone(self, code: int | None, error: int) -> None:
        """The process is gone, and reaped."""
        # What it said before it ended was said. Something that it started may still hold its socket.
        while not self._is_deaf and self._hear():
            pass
        self._stop_hearing()
        self._socket.close()
        self._is_gone = True
        # One that was distrusted may have ended by itself before it was killed.
        self.ended = self._fault or _in_words(code, error)
        waiting, self._waiting = self._waiting, deque()
        on_gone, self._on_gone = self._on_gone, None
        failure = self._close_error
        for method, on_done in waiting:
            if method == "close":
                failure = self._lost_error(method)
            else:
                on_done(None, self._lost_error(method))
        if on_gone is not None:
            on_gone(None, failure)
        elif not waiting and not self._is_killed:
            self._on_lost()

    def _lost_error(self, method: str) -> AuthorError:
        text = f"the environment's process {self.ended}"
        if method == "factory":
            name = self._spec.factory_name
            return EnvironmentFactoryError(name, f"Environment factory '{name}' failed: {text}", _ENDED)
        return AuthorError(f"{text}; reset the session to go on", method, _ENDED)


AnyRunner = Runner | ProcessRunner


def _in_words(code: int | None, error: int) -> str:
    if code is None:
        return f"could not be started: {os.strerror(error)}"
    said = describe_end(code)
    if -code == signal.SIGXCPU:
        said += ", all its processor time is used up"
    return said
