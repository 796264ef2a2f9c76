"""What a worker counts: sessions, calls, errors and how long things took, as numbers in a row of cells.

In: what happened. Out: cells of 64 bits, which may lie in memory that several processes share: each
worker writes its own row and anybody adds up the rows. It knows nothing about Prometheus, sockets or
processes.

Times are histograms: for each bound, the number of values up to it and above the one before. Calls that run
on the loop take microseconds, so of those every `SAMPLED`-th is timed, and counts for all of them.

Limits: counters wrap after 2**63.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

__all__ = ["BOUNDS_S", "COUNTERS", "GAUGES", "HISTOGRAMS", "N_CELLS", "SAMPLED", "Meter"]

BOUNDS_S: Final = (
    *(1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of a histogram's buckets, in seconds; the last bucket has none."""

SAMPLED: Final = 64

_CODES = (
    *("INVALID_JSON", "UNKNOWN_TYPE", "VALIDATION_ERROR", "EXECUTION_ERROR", "SESSION_ERROR"),
    *("CAPACITY_REACHED", "FACTORY_ERROR", "OTHER"),
)

COUNTERS: Final = {
    name: index
    for index, name in enumerate(
        (
            "sessions_opened",
            "sessions_closed",
            "sessions_expired",
            "steps",
            "resets",
            "received_bytes",
            "sent_bytes",
            "overruns",
            *(f"errors.{code}" for code in _CODES),
            *(f"responses.{hundreds}xx" for hundreds in range(1, 6)),
        )
    )
}
"""Name of each counter, and its cell."""

_FIRST_RESPONSE: Final = COUNTERS["responses.1xx"] - 1

GAUGES: Final = {
    name: len(COUNTERS) + index
    for index, name in enumerate(
        (
            *("sessions.starting", "sessions.ready", "sessions.running", "sessions.broken"),
            *("waiting", "connections", "threads", "loop_lag_us", "stuck", "looked_at_ms"),
        )
    )
}
"""Name of each gauge, and its cell: what is true now, and nothing once the worker is gone."""

_HISTOGRAM_CELLS = len(BOUNDS_S) + 2  # the last bucket, and the sum in microseconds
HISTOGRAMS: Final = {
    name: len(COUNTERS) + len(GAUGES) + index * _HISTOGRAM_CELLS
    for index, name in enumerate(("step", "reset", "factory", "wait"))
}
"""Name of each histogram, and its first cell: the buckets, then the sum in microseconds."""

N_CELLS: Final = len(COUNTERS) + len(GAUGES) + len(HISTOGRAMS) * _HISTOGRAM_CELLS


class Meter:
    """Counts for one worker.

    Args:
        cells: `N_CELLS` integers of 64 bits to write to; None for some of its own.

    Attributes:
        cells: As given.
        n_steps: Steps on the loop, a plain number because a cell costs three times as much; `settle`
            adds them to the cells.
    """

    __slots__ = ("_n_settled", "cells", "n_steps")

    def __init__(self, cells: memoryview | None = None) -> None:
        self.cells = memoryview(array("q", bytes(8 * N_CELLS))) if cells is None else cells
        self.n_steps = 0
        self._n_settled = 0

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        self.cells[COUNTERS[name]] += n

    def count_error(self, code: str) -> None:
        """Count an error reply by its code."""
        self.cells[COUNTERS.get(f"errors.{code}", COUNTERS["errors.OTHER"])] += 1

    def count_response(self, status: int) -> None:
        """Count an HTTP response by its status, 100..599."""
        self.cells[_FIRST_RESPONSE + status // 100] += 1

    def show(self, name: str, value: int) -> None:
        """Set a gauge."""
        self.cells[GAUGES[name]] = value

    def observe(self, name: str, seconds: float, weight: int = 1) -> None:
        """Add a time to a histogram, `weight` times."""
        first = HISTOGRAMS[name]
        self.cells[first + bisect_left(BOUNDS_S, seconds)] += weight
        self.cells[first + _HISTOGRAM_CELLS - 1] += int(seconds * 1e6) * weight

    def settle(self) -> None:
        """Have the cells say what the plain numbers say."""
        n_steps = self.n_steps
        self.cells[COUNTERS["steps"]] += n_steps - self._n_settled
        self._n_settled = n_steps
