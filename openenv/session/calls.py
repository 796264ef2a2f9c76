"""Calls that have an environment and a process of their own each: started, called once, closed, ended.

The methods are those of `runner.StatelessCalls`, whose place this takes where environments live in processes.
Limits: at most `MAX_CALLS` processes at once; further calls wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from openenv.errors import EnvironmentFactoryError, OpenEnvError, StepTimeoutError
from openenv.session.process import ProcessRunner
from openenv.session.runner import PENDING, Finish, OnDone
from openenv.session.session import Deadlines

__all__ = ["MAX_CALLS", "ProcessCalls"]

logger = logging.getLogger("openenv.session")

MAX_CALLS: Final = 32


class ProcessCalls:
    """Stateless calls of one worker.

    Args:
        make_runner: Makes a runner; given what to call when its process is lost.
        loop: The running loop.
        deadlines: Of the environments' methods; past them the process is killed.
    """

    def __init__(
        self,
        make_runner: Callable[[Callable[[], None]], ProcessRunner],
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
    ) -> None:
        self._make_runner = make_runner
        self._loop = loop
        self._deadlines = deadlines
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()

    def reset(self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `reset` with those of the keywords that it takes."""
        limit_s = self._deadlines.reset
        return self._run("reset", limit_s, lambda runner, done: runner.reset(kwargs, finish, done), on_done)

    def step(self, action: Any, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `step` with a loaded action and those of the keywords that it takes."""
        limit_s = self._deadlines.step
        return self._run(
            "step", limit_s, lambda runner, done: runner.step(_same, action, kwargs, finish, done), on_done
        )

    def state(self, finish: Finish, on_done: OnDone) -> Any:
        """Read `state`."""
        return self._run("state", None, lambda runner, done: runner.state(finish, done), on_done)

    def call(self, name: str, args: tuple[Any, ...], finish: Finish, on_done: OnDone) -> Any:
        """Call any other method."""
        return self._run(name, None, lambda runner, done: runner.call(name, args, finish, done), on_done)

    def apply(self, function: Callable[[Any], Any], finish: Finish, on_done: OnDone) -> Any:
        """Await what a coroutine function of the environment gives; see `session/tools.py`."""
        return self._run("tools", None, lambda runner, done: runner.apply(function, finish, done), on_done)

    def close(self) -> None:
        """End the processes; what was asked is not answered."""
        self._waiting.clear()
        for call in list(self._running):
            call.end()

    def _run(
        self, method: str, limit_s: float | None, ask: Callable[[ProcessRunner, OnDone], Any], on_done: OnDone
    ) -> Any:
        call = _Call(self, method, limit_s, ask, on_done)
        if len(self._running) >= MAX_CALLS:
            self._waiting.append(call)
        else:
            self._begin(call)
        return PENDING

    def _begin(self, call: _Call) -> None:
        self._running.add(call)
        try:
            runner = self._make_runner(_nothing)
        except RuntimeError as error:  # no descriptor is left
            self.ended(call)
            # Nobody is called back before he was told that it comes later.
            text = f"Server cannot start an environment: {error}"
            self._loop.call_soon(call.answer, None, EnvironmentFactoryError("factory", text))
        else:
            call.begin(runner, self._loop, self._deadlines)

    def ended(self, call: _Call) -> None:
        """A call is over and its process gone."""
        self._running.discard(call)
        if self._waiting and len(self._running) < MAX_CALLS:
            self._begin(self._waiting.popleft())


class _Call:
    """One call, from the start of its process to the end of it."""

    __slots__ = (
        "_ask",
        "_calls",
        "_deadlines",
        "_limit_s",
        "_loop",
        "_method",
        "_on_done",
        "_runner",
        "_timer",
    )

    def __init__(
        self,
        calls: ProcessCalls,
        method: str,
        limit_s: float | None,
        ask: Callable[[ProcessRunner, OnDone], Any],
        on_done: OnDone,
    ) -> None:
        self._calls = calls
        self._method = method
        self._limit_s = limit_s
        self._ask = ask
        self._on_done: OnDone | None = on_done
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, runner: ProcessRunner, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        """Make the environment, then make the call."""
        self._runner = runner
        self._loop = loop
        self._deadlines = deadlines
        self._limit(deadlines.factory, "factory")
        runner.open(self._opened)

    def end(self) -> None:
        """End its process; nobody is answered."""
        self._on_done = None
        self._limit(None, "")
        self._runner.kill()

    def _limit(self, seconds: float | None, method: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._overrun, method, seconds)

    def _overrun(self, method: str, seconds: float) -> None:
        self._timer = None
        if method == "factory":
            text = f"The environment was not made within {seconds:g} s"
            self.answer(None, EnvironmentFactoryError("factory", text))
        elif method != "close":
            text = f"{method} did not answer within {seconds:g} s"
            self.answer(None, StepTimeoutError(seconds, method, text))
        self._runner.kill()
        if method != "close":
            self._close()

    def answer(self, result: Any, error: BaseException | None) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result, error)

    def _opened(self, result: Any, error: BaseException | None) -> None:
        if error is not None:
            self._answered(None, error)
            return
        self._limit(self._limit_s, self._method)
        try:
            self._ask(self._runner, self._answered)
        except OpenEnvError as failure:
            self._answered(None, failure)

    def _answered(self, result: Any, error: BaseException | None) -> None:
        self._limit(self._deadlines.close, "close")
        self.answer(result, error)
        self._close()

    def _close(self) -> None:
        try:
            if self._runner.close(self._closed) is not PENDING:
                self._closed(None, None)
        except OpenEnvError as failure:
            self._closed(None, failure)

    def _closed(self, result: Any, error: BaseException | None) -> None:
        self._limit(None, "")
        if error is not None:
            logger.error("close() of a stateless call raised", exc_info=error.__cause__ or error)
        self._calls.ended(self)


def _same(value: Any) -> Any:
    return value


def _nothing() -> None:
    """Who waits for a call's answer hears of its process's end by that."""
