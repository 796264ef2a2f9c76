"""One session: one client's exclusive hold on one environment, over many episodes.

In: calls (`reset`, `step`, `state`, `close`) one at a time. Out: their results at once, or later
through a callback. The session knows nothing about sockets, messages or replies; it is not a
connection, which merely holds one.

Limits: calls are serialised by whoever holds the session; a second one before the first has been
answered is refused. A session that several may call, one `shared` by its id, is called through `in_turn`,
which makes them wait for one another.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import uuid
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, NamedTuple, NoReturn

from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    OpenEnvError,
    SessionBrokenError,
    SessionError,
    SessionNotFoundError,
    StepTimeoutError,
)
from openenv.schema import Schema
from openenv.session.meter import Meter
from openenv.session.process import AnyRunner
from openenv.session.runner import PENDING, Finish, OnDone, StepNow

__all__ = ["TRANSITIONS", "Deadlines", "Session", "SessionState"]

logger = logging.getLogger("openenv.session")


class SessionState(enum.Enum):
    """Where a session is in its life."""

    STARTING = "starting"  # the factory runs
    READY = "ready"  # waits for a call
    RUNNING = "running"  # a call is under way elsewhere than on the loop
    BROKEN = "broken"  # a call overran its time and may still run; only reset helps
    CLOSED = "closed"


TRANSITIONS: Final[dict[SessionState, frozenset[SessionState]]] = {
    SessionState.STARTING: frozenset({SessionState.READY, SessionState.CLOSED}),
    SessionState.READY: frozenset({SessionState.RUNNING, SessionState.BROKEN, SessionState.CLOSED}),
    SessionState.RUNNING: frozenset({SessionState.READY, SessionState.BROKEN, SessionState.CLOSED}),
    SessionState.BROKEN: frozenset({SessionState.STARTING, SessionState.CLOSED}),
    SessionState.CLOSED: frozenset(),
}

_READY, _RUNNING = SessionState.READY, SessionState.RUNNING
_TURN_S: Final = 0.002  # longer than the millisecond in which uvloop counts, so that a turn lies between


class Deadlines(NamedTuple):
    """Seconds that calls of an environment may take; None: as long as they take."""

    step: float | None = None
    reset: float | None = None
    factory: float | None = None
    close: float | None = None


_NONE = Deadlines()


class Session:
    """One environment and who may call it when. Made by `SessionPool.open`.

    Attributes:
        id: Random UUID, for logs and for attaching to the session.
        state: See `SessionState`. A call that runs on the loop itself leaves it READY, since
            nothing else can look meanwhile.
        step_now: `step` without a timeout where it runs on the loop and the session can take it, else
            None. Called with (data, finish); its result is always there at once.
        shared: Whether somebody was told its id, so that calls may come from elsewhere than its socket.
        used_at: Loop time at which somebody last asked for it by its id.
    """

    __slots__ = (
        "_action",
        "_asked_at",
        "_deadlines",
        "_loop",
        "_make_runner",
        "_meter",
        "_method",
        "_on_closed",
        "_on_done",
        "_runner",
        "_timer",
        "_turn",
        "_waiting",
        "id",
        "shared",
        "state",
        "step_now",
        "used_at",
    )

    def __init__(
        self,
        make_runner: Callable[[str, Callable[[], None]], AnyRunner],
        action: Schema,
        loop: asyncio.AbstractEventLoop,
        on_closed: Callable[[Session], None],
        session_id: str | None = None,
        meter: Meter | None = None,
        deadlines: Deadlines = _NONE,
    ) -> None:
        self._meter = meter or Meter()
        self._deadlines = deadlines
        # The call under way, for the meter: `step` or `reset` and when it was made, else an empty name.
        # Not by the clock of the loop: uvloop's counts milliseconds and stands still for a turn.
        self._method = ""
        self._asked_at = perf_counter()
        self.id = session_id or str(uuid.uuid4())
        self.used_at = loop.time()
        self.state = SessionState.STARTING
        self._make_runner = make_runner
        self._action = action
        self._loop = loop
        self._on_closed = on_closed
        self._on_done: OnDone | None = None
        self._timer: asyncio.Handle | None = None
        self._runner = make_runner(self.id, self._lost)
        self.step_now: StepNow | None = None
        self.shared = False
        # Calls that wait for their turn, and who waits for the one under way: both only of `in_turn`.
        self._waiting: deque[tuple[Callable[[OnDone], Any], OnDone]] | None = None
        self._turn: OnDone | None = None

    def _move(self, state: SessionState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise SessionError(f"session {self.id} is {self.state.value} and cannot become {state.value}")
        self.state = state
        self.step_now = self._runner.step_now if state is _READY else None

    def open(self, on_done: OnDone) -> Any:
        """Make the environment; the session is READY after it.

        Raises:
            EnvironmentFactoryError: The factory raised. The session is CLOSED.
        """
        self._on_done = on_done
        try:
            result = self._runner.open(self._opened)
        except AuthorError:
            self._fail_open()
            raise
        if result is not PENDING:
            self._ready()
            self._on_done = None
        elif self._deadlines.factory is not None:
            self._timer = self._loop.call_later(self._deadlines.factory, self._overrun_factory)
        return result

    def _ready(self) -> None:
        self._move(SessionState.READY)
        self._meter.observe("factory", perf_counter() - self._asked_at)

    def _lost(self) -> None:
        """The environment's process ended while nobody asked anything of it."""
        if self.state is not _READY:
            return
        logger.warning(
            "session %s: its process %s", self.id, self._runner.ended, extra={"session_id": self.id}
        )
        self._move(SessionState.BROKEN)

    def _overrun_factory(self) -> None:
        """Whoever waits is refused and the place is free; what the factory makes at last is closed."""
        self._timer = None
        if self.state is not SessionState.STARTING:
            return
        self._runner.kill()
        on_done, self._on_done = self._on_done, None
        self._meter.count("overruns")
        self._move(SessionState.CLOSED)
        self._refuse_turns()
        self._on_closed(self)
        assert on_done is not None
        limit_s = self._deadlines.factory
        on_done(
            None, EnvironmentFactoryError("factory", f"The environment was not made within {limit_s:g} s")
        )

    def _opened(self, result: Any, error: BaseException | None) -> None:
        on_done, self._on_done = self._on_done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state is SessionState.CLOSED:  # whoever waited has gone; close() left this to us
            self._close_runner()
            return
        if error is not None:
            self._fail_open()
        else:
            self._ready()
        assert on_done is not None
        on_done(result, error)
        if self._waiting:
            self._go_on()

    def _fail_open(self) -> None:
        self._move(SessionState.CLOSED)
        self._refuse_turns()
        self._runner.close(_ignore)
        self._on_closed(self)

    def reset(
        self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone, timeout_s: float | None = None
    ) -> Any:
        """Start an episode.

        A BROKEN session gets a new environment first; the call that broke it is left behind with
        the old one, which is closed if that call ever returns.

        Args:
            kwargs: Keywords for `reset`; those that its signature lacks are dropped.
            finish: Called with what `reset` gave; its result is the result.
            on_done: Called with (result, None) or (None, error) if the result is `PENDING`.
            timeout_s: Seconds, > 0. None waits as long as it takes.

        Returns:
            What `finish` gave, or `PENDING`.

        Raises:
            AuthorError: The author's `reset` raised. The session stays open.
            StepTimeoutError: It took longer. The session is BROKEN if it may still be running.
        """
        if self.state is SessionState.BROKEN:
            return self._reset_anew(kwargs, finish, on_done, timeout_s)
        if self.state is not _READY:
            self._refuse()
        self._meter.count("resets")
        limit_s = _sooner(timeout_s, self._deadlines.reset)
        if limit_s is not None:
            return self._ask_in_time(
                lambda done: self._runner.reset(kwargs, finish, done), "reset", limit_s, on_done
            )
        asked_at = perf_counter()
        result = self._runner.reset(kwargs, finish, self._finished)
        if result is PENDING:
            self._wait_for("reset", on_done)
        else:
            self._meter.observe("reset", perf_counter() - asked_at)
        return result

    def step(self, data: Any, finish: Finish, on_done: OnDone, timeout_s: float | None = None) -> Any:
        """Apply one action, given as JSON values. Arguments, result and errors as of `reset`.

        Raises:
            SchemaError: The action does not fit. Nothing ran; the episode stands.
            SessionBrokenError: An earlier call overran its time.
        """
        if self.state is not _READY:
            self._refuse()
        if timeout_s is None and self.step_now is not None:
            return self.step_now(data, finish)
        self._meter.n_steps += 1
        limit_s = _sooner(timeout_s, self._deadlines.step)
        if limit_s is not None:
            kwargs = None if timeout_s is None else {"timeout_s": timeout_s}
            return self._ask_in_time(
                lambda done: self._runner.step(self._action.load, data, kwargs, finish, done),
                "step",
                limit_s,
                on_done,
            )
        result = self._runner.step(self._action.load, data, None, finish, self._finished)
        if result is PENDING:
            self._wait_for("step", on_done)
        return result

    def _wait_for(self, method: str, on_done: OnDone) -> None:
        self.state = _RUNNING
        self._on_done = on_done
        self._method = method
        self._asked_at = perf_counter()

    def read_state(self, finish: Finish, on_done: OnDone) -> Any:
        """Read the environment's state. Arguments, result and errors as of `reset`."""
        if self.state is not _READY:
            self._refuse()
        result = self._runner.state(finish, self._finished)
        if result is PENDING:
            self.state = _RUNNING
            self._on_done = on_done
        return result

    @property
    def draws(self) -> bool:
        """Whether the environment draws its observations for `/web`, or offers actions there."""
        return self._runner.draws

    def draw(self, observation: dict[str, Any], finish: Callable[..., Any], on_done: OnDone) -> Any:
        """Have an observation drawn; `finish` gets the HTML and the actions. Otherwise as `read_state`."""
        if self.state is not _READY:
            self._refuse()
        result = self._runner.draw(observation, finish, self._finished)
        if result is PENDING:
            self.state = _RUNNING
            self._on_done = on_done
        return result

    def apply(self, function: Callable[[Any], Any], finish: Finish, on_done: OnDone) -> Any:
        """Await a coroutine function of the environment. Arguments, result and errors as of `reset`."""
        if self.state is not _READY:
            self._refuse()
        self.state = _RUNNING
        self._on_done = on_done
        return self._runner.apply(function, finish, self._finished)

    def in_turn(self, ask: Callable[[OnDone], Any], on_done: OnDone) -> Any:
        """Make a call of a shared session once those before it are answered.

        Args:
            ask: Makes the call with the callback that it is given: ``session.step(data, finish, done)``.
            on_done: Called with (result, None) or (None, error) if the result is `PENDING`; also where
                the session is closed before the call was answered.

        Raises:
            SessionNotFoundError: The session is closed.
        """
        if self.state is SessionState.CLOSED:
            raise SessionNotFoundError(self.id)
        if self._waiting or self.state in (_RUNNING, SessionState.STARTING):
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append((ask, on_done))
            return PENDING
        return self._take_turn(ask, on_done)

    def _take_turn(self, ask: Callable[[OnDone], Any], on_done: OnDone) -> Any:
        def done(result: Any, error: BaseException | None) -> None:
            self._turn = None
            on_done(result, error)

        result = ask(done)
        if result is PENDING:
            self._turn = on_done
        return result

    def _go_on(self) -> None:
        """Make the calls that wait, as far as none of them takes its time."""
        while self._waiting and self.state in (_READY, SessionState.BROKEN):
            ask, on_done = self._waiting.popleft()
            try:
                result = self._take_turn(ask, on_done)
            except OpenEnvError as error:
                on_done(None, error)
            else:
                if result is not PENDING:
                    on_done(result, None)

    def _refuse_turns(self) -> None:
        """Tell those who wait that the session is closed."""
        waiting, self._waiting = self._waiting or (), None
        turn, self._turn = self._turn, None
        for on_done in (*([] if turn is None else [turn]), *(on_done for _, on_done in waiting)):
            self._loop.call_soon(on_done, None, SessionNotFoundError(self.id))

    def _refuse(self) -> NoReturn:
        if self.state is SessionState.BROKEN:
            if self._runner.ended is not None:
                raise SessionBrokenError(
                    f"the environment's process {self._runner.ended}; reset the session to go on"
                )
            raise SessionBrokenError("an earlier call overran its time; reset the session to go on")
        raise SessionError(f"session {self.id} is {self.state.value}, expected it to be ready")

    def _finished(self, result: Any, error: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state is not _RUNNING:  # answered by its deadline, or closed meanwhile
            return
        if self._method:
            self._meter.observe(self._method, perf_counter() - self._asked_at)
            self._method = ""
        self.state = _READY if self._runner.ended is None else SessionState.BROKEN
        on_done, self._on_done = self._on_done, None
        assert on_done is not None
        on_done(result, error)
        if self._waiting:
            self._go_on()

    def _ask_in_time(
        self, ask: Callable[[OnDone], Any], method: str, timeout_s: float, on_done: OnDone
    ) -> Any:
        started_at = self._loop.time()
        runner = self._runner

        def finished(result: Any, error: BaseException | None) -> None:
            if runner is self._runner:  # else it is the late answer of one that was replaced
                self._finished(result, error)

        result = ask(finished)
        if result is PENDING:
            self._wait_for(method, on_done)
            # Its time begins with the call itself: threads get theirs when this turn of the loop is over.
            self._timer = self._loop.call_soon(self._begin_time, method, timeout_s)
        elif self._loop.time() - started_at > timeout_s:
            # It ran on the loop and is over: late, but nothing is left running.
            raise StepTimeoutError(timeout_s, method, f"{method} took longer than {timeout_s:g} s")
        return result

    def _begin_time(self, method: str, timeout_s: float) -> None:
        self._timer = self._loop.call_later(timeout_s, self._come_due, method, timeout_s)

    def _come_due(self, method: str, timeout_s: float) -> None:
        """Let a loop that is late see the result first, if it is there: uvloop runs timers before that."""
        self._timer = self._loop.call_later(_TURN_S, self._overrun, method, timeout_s)

    def _overrun(self, method: str, timeout_s: float) -> None:
        self._timer = None
        if self.state is not _RUNNING:
            return
        self._move(SessionState.BROKEN)
        self._runner.kill()
        self._meter.count("overruns")
        self._method = ""
        on_done, self._on_done = self._on_done, None
        logger.warning(
            "session %s: %s did not answer within %g s",
            self.id,
            method,
            timeout_s,
            extra={"session_id": self.id},
        )
        assert on_done is not None
        on_done(None, StepTimeoutError(timeout_s, method))
        self._go_on()

    def _reset_anew(
        self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone, timeout_s: float | None
    ) -> Any:
        self._runner.abandon(self._log_close)
        self._move(SessionState.STARTING)
        self._runner = self._make_runner(self.id, self._lost)

        def opened(result: Any, error: BaseException | None) -> None:
            if error is not None:
                on_done(None, error)
                return
            try:
                result = self.reset(kwargs, finish, on_done, timeout_s)
            except (AuthorError, SessionError) as failure:
                on_done(None, failure)
                return
            if result is not PENDING:
                on_done(result, None)

        if self.open(opened) is PENDING:
            return PENDING
        return self.reset(kwargs, finish, on_done, timeout_s)

    def close(self) -> None:
        """Close the environment in its own place, then tell the pool. A second call does nothing.

        A call that is under way finishes first; its result is dropped.
        """
        was = self.state
        if was is SessionState.CLOSED:
            return
        self._move(SessionState.CLOSED)
        self._on_done = None
        self._refuse_turns()
        if self._timer is not None:
            self._timer.cancel()
        if was is SessionState.STARTING:
            # _opened comes and finds it closed, unless the factory hangs.
            if self._deadlines.close is not None:
                self._timer = self._loop.call_later(self._deadlines.close, self._overrun_close)
            return
        if was is SessionState.BROKEN:
            # Its environment may hang for ever: the slot must not.
            self._runner.abandon(self._log_close)
            self._on_closed(self)
            return
        self._close_runner()

    def _close_runner(self) -> None:
        try:
            if self._runner.close(self._runner_closed) is PENDING:
                if self._deadlines.close is not None:
                    self._timer = self._loop.call_later(self._deadlines.close, self._overrun_close)
                return
        except AuthorError as error:
            self._runner_closed(None, error)
            return
        self._runner_closed(None, None)

    def _overrun_close(self) -> None:
        """An environment that does not end must not hold its place for ever."""
        self._timer = None
        self._runner.kill()
        self._meter.count("overruns")
        logger.warning(
            "session %s: close() did not return within %g s; its place is free all the same",
            self.id,
            self._deadlines.close,
            extra={"session_id": self.id},
        )
        self._on_closed(self)

    def _runner_closed(self, result: Any, error: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._log_close(result, error)
        self._on_closed(self)

    def _log_close(self, result: Any, error: BaseException | None) -> None:
        if error is not None:
            logger.error(
                "session %s: close() raised",
                self.id,
                exc_info=error.__cause__ or error,
                extra={"session_id": self.id},
            )


def _sooner(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _ignore(result: Any, error: BaseException | None) -> None:
    """For a runner whose environment was never made."""
