"""Through which some tasks of a loop at a time may open connections, each for some seconds.

Opening thousands of sessions at once would overflow a server's accept queue, and what the system drops
there is tried again a second later. The deadlines of all that are in have one timer.

It knows nothing about connections, except that those who are in it at the same time share what they
look up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["MAX_OPENING", "Gate", "Limit"]

MAX_OPENING = 64

# Keyed by the loop's id, which is its own for as long as a gate holds it.
_gates: WeakValueDictionary[int, Gate] = WeakValueDictionary()


class Gate:
    """The gate of one loop; whoever is in it, or before it, holds it.

    Args:
        loop: The running loop.

    Attributes:
        lookups: Of names that are being, or were, looked up while anybody was in.
    """

    __slots__ = (
        "__weakref__",
        "_in",
        "_loop",
        "_n_free",
        "_timer",
        "_timer_at",
        "_waiting",
        "lookups",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lookups: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._loop = loop
        self._n_free = MAX_OPENING
        self._in: set[Limit] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Gate:
        """The one of this loop, for as long as anybody holds it."""
        gate = _gates.get(id(loop))
        if gate is None:
            gate = _gates[id(loop)] = cls(loop)
        return gate

    def limit(self, timeout_s: float) -> Limit:
        """A block to be in; its time starts when it is entered, not while that is waited for."""
        return Limit(self, self._loop, timeout_s)

    def turn(self) -> asyncio.Future[None] | None:
        """A place for the caller, if None; else what says that it has one, in order of arrival."""
        if self._n_free:
            self._n_free -= 1
            return None
        turn = self._loop.create_future()
        self._waiting.append(turn)
        return turn

    def give_place(self) -> None:
        """Give a place to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1

    def add(self, limit: Limit) -> None:
        """Watch the deadline of one that is in."""
        self._in.add(limit)
        if limit.deadline < self._timer_at:
            self._set_timer(limit.deadline)

    def remove(self, limit: Limit) -> None:
        """The opposite of `add`; the last one takes the timer, and what was looked up, with it."""
        self._in.discard(limit)
        if not self._in:
            self.lookups.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                self._timer_at = inf

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        self._timer_at = inf
        now = self._loop.time()
        for limit in [limit for limit in self._in if limit.deadline <= now]:
            self._in.discard(limit)
            limit.expire()
        if self._in:
            self._set_timer(min(limit.deadline for limit in self._in))


class Limit:
    """A block of one task, as of `asyncio.timeout`, behind the gate."""

    __slots__ = ("_cancels", "_expired", "_gate", "_loop", "_task", "_timeout_s", "deadline")

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._gate = gate
        self._loop = loop
        self._timeout_s = timeout_s
        self._expired = False

    async def __aenter__(self) -> None:
        turn = self._gate.turn()
        if turn is not None:
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._gate.give_place()
                raise
        task = asyncio.current_task(self._loop)
        assert task is not None  # a coroutine of a client is run by one
        self._task = task
        self._cancels = task.cancelling()
        self.deadline = self._loop.time() + self._timeout_s
        self._gate.add(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.remove(self)
        self._gate.give_place()
        # Who was cancelled by somebody else as well stays cancelled.
        if self._expired and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Called by the gate, once, when the time is over."""
        self._expired = True
        self._task.cancel()
