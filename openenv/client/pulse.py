"""One clock for all sessions of a loop that want to be looked at now and then.

A timer for each of a thousand sessions costs as much as their handshakes' bytes, and an idle session
would hold one. What has to be exact is not done here.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakValueDictionary

__all__ = ["Pulse"]

# Of the interval that somebody asks for; a beat is late by so much at most.
_SHARE = 1 / 8

# Keyed by the loop's id, which is its own for as long as a pulse holds it, and the interval.
_pulses: WeakValueDictionary[tuple[int, float], Pulse] = WeakValueDictionary()


class Beating(Protocol):
    """Who is looked at."""

    beat_at: float

    def beat(self, now: float) -> None:
        """It is ``beat_at``, or a little later; says by ``beat_at`` when it wants to be looked at again."""


class Pulse:
    """Looks at everybody of one loop who wants that at the same interval.

    Args:
        loop: The running loop.
        interval_s: Seconds between two beats of one.

    Attributes:
        tick_s: Seconds by which a beat is late at most, on a loop that is not.
    """

    __slots__ = ("__weakref__", "_beating", "_loop", "_timer", "tick_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float) -> None:
        self._loop = loop
        self.tick_s = interval_s * _SHARE
        self._beating: set[Beating] = set()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, interval_s: float) -> Pulse:
        """The one of this loop and interval, for as long as anybody holds it."""
        pulse = _pulses.get((id(loop), interval_s))
        if pulse is None:
            pulse = _pulses[id(loop), interval_s] = cls(loop, interval_s)
        return pulse

    def add(self, beating: Beating) -> None:
        """Look at one from now on."""
        self._beating.add(beating)
        if self._timer is None:
            self._timer = self._loop.call_later(self.tick_s, self._tick)

    def remove(self, beating: Beating) -> None:
        """Look at it no longer; the last one takes the timer with it."""
        self._beating.discard(beating)
        if not self._beating and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.tick_s, self._tick)
        now = self._loop.time()
        for beating in [one for one in self._beating if one.beat_at <= now]:
            beating.beat(now)
