"""Whether a server still works as it should: looked at once a second, by each worker for all of them.

In: the clock, and the rows of all workers' meters. Out: gauges in this worker's row, and what is wrong, in
words. A loop that is blocked cannot say so itself: its row shows when it last looked, and another worker sees
that this is long ago.
"""

from __future__ import annotations

import threading

from openenv.app.context import Context
from openenv.session.meter import GAUGES

__all__ = ["LATE_S", "Health"]

LATE_S = 1.0
"""A loop that runs so much later than it should is in trouble, in seconds."""


class Health:
    """Looks after one worker.

    Args:
        context: The worker's; its `trouble` is kept up to date.
        every_s: Seconds between two looks.
    """

    def __init__(self, context: Context, every_s: float) -> None:
        self._context = context
        self._every_s = every_s
        self._due_at = context.loop.time() + every_s

    def look(self, n_connections: int) -> None:
        """Look now; call it every `every_s` seconds."""
        context, meter = self._context, self._context.meter
        now = context.loop.time()
        lag_s = max(0.0, now - self._due_at)
        self._due_at = now + self._every_s
        context.pool.show()
        meter.show("connections", n_connections)
        meter.show("threads", threading.active_count())
        meter.show("loop_lag_us", int(lag_s * 1e6))
        meter.show("looked_at_ms", int(now * 1e3))
        # What broke a session with a process of its own was killed with it.
        is_thread = context.config.isolation == "thread"
        meter.show("stuck", int(is_thread and _is_stuck(meter.cells)))
        context.trouble = self._trouble(now)

    def _trouble(self, now: float) -> str | None:
        rows = [row for row in self._context.rows() if row[_LOOKED_AT]]
        late_s = max(max(row[_LAG] / 1e6, now - row[_LOOKED_AT] / 1e3 - self._every_s) for row in rows)
        if late_s > LATE_S:
            return f"an event loop ran {late_s:.1f} s late: something blocks it, or the machine is overloaded"
        n_stuck = sum(row[GAUGES["stuck"]] for row in rows)
        if n_stuck:
            return f"{n_stuck} of {len(rows)} workers hold broken sessions only: their steps never returned"
        return None


_LAG = GAUGES["loop_lag_us"]
_LOOKED_AT = GAUGES["looked_at_ms"]


def _is_stuck(cells: memoryview) -> bool:
    n_broken = cells[GAUGES["sessions.broken"]]
    n_others = sum(cells[GAUGES[f"sessions.{state}"]] for state in ("starting", "ready", "running"))
    return n_broken > 0 and n_others == 0
