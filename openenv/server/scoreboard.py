"""The meters of all workers of one server, in shared memory.

In: a row for each worker slot. Out: all rows. What a worker that is gone had counted is kept, and what it
showed as being true at the moment is not.

Limits: one family of processes. Each row is written by one process, and read by any without a lock: a sum may
be a moment old.
"""

from __future__ import annotations

import mmap

from openenv.session.meter import COUNTERS, GAUGES, N_CELLS

__all__ = ["Scoreboard"]

_CELL_BYTES = 8
_EXTRA = 1  # cells of a row behind those of the meter: how many workers of that slot are gone


class Scoreboard:
    """Rows of cells; made before the fork, used after it.

    Args:
        n_slots: Most worker processes alive at once, >= 1.
    """

    def __init__(self, n_slots: int) -> None:
        self._n_rows = n_slots + 1  # the last one holds what the gone had counted
        self._row_cells = N_CELLS + _EXTRA
        self._memory = mmap.mmap(-1, self._n_rows * self._row_cells * _CELL_BYTES)
        self._cells = memoryview(self._memory).cast("q")

    def row(self, slot: int) -> memoryview:
        """The cells of one worker."""
        first = slot * self._row_cells
        return self._cells[first : first + N_CELLS]

    @property
    def n_gone(self) -> int:
        """How many workers are gone."""
        return self._cells[len(self._cells) - 1]

    def keep(self, slot: int) -> None:
        """Move what a gone worker had counted out of its row; for the parent."""
        row, kept = self.row(slot), self.row(self._n_rows - 1)
        gauges = range(len(COUNTERS), len(COUNTERS) + len(GAUGES))
        for index in range(N_CELLS):
            if index not in gauges:
                kept[index] += row[index]
            row[index] = 0
        self._cells[len(self._cells) - 1] += 1

    def rows(self) -> list[memoryview]:
        """All rows, that of the gone included."""
        return [self.row(slot) for slot in range(self._n_rows)]

    def close(self) -> None:
        """Free this process's view."""
        self._cells.release()
        self._memory.close()
