"""How many sessions all workers of one server hold together, and which worker gets the next one.

In: acquire, assign and release, from any worker. Out: yes or no, exactly: never more than the maximum, and
never less than the maximum because a worker was killed. It knows nothing about sessions or sockets.

Each worker process has a slot, one row of shared memory; the number of sessions is the sum over the rows.
Rows are written under a record lock (fcntl), which the kernel drops when its holder dies, however it
dies. A place can be taken for another worker, which is how new sessions go to the one that holds fewest.
When a worker is gone, the parent clears its row: what it held is free again, and the row's generation
tells whoever still comes with a place in the old one that it is gone.

Limits: one host, one family of processes. An acquire or a release costs two system calls, once per session.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SharedCapacity"]

_CELL_BYTES = 8
_CELLS = _HELD, _STATE, _GENERATION, _CONNECTIONS = range(4)
_GONE, _SERVING, _DRAINING = range(3)

_SLACK = 16
"""A worker keeps a new session unless it holds a sixteenth more than the one that holds fewest."""


class SharedCapacity:
    """Sessions of one server, over all its workers; made before the fork, used after it.

    Args:
        maximum: Most sessions at once, >= 1.
        n_slots: Most worker processes alive at once, >= 1.

    Attributes:
        maximum: As given.
        slot: The row that is this process's own; `enter` sets it.
        n_slots: As given.
    """

    __slots__ = ("_cells", "_lock_fd", "_memory", "maximum", "n_slots", "slot")

    def __init__(self, maximum: int, n_slots: int) -> None:
        self.maximum = maximum
        self.slot = 0
        self.n_slots = n_slots
        self._memory = mmap.mmap(-1, n_slots * len(_CELLS) * _CELL_BYTES)
        self._cells = memoryview(self._memory).cast("q", (n_slots, len(_CELLS)))
        descriptor, path = tempfile.mkstemp(prefix="openenv-capacity-")
        os.unlink(path)
        self._lock_fd = descriptor

    def enter(self, slot: int) -> None:
        """Say, in a worker after its fork, which slot is its own."""
        self.slot = slot

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits only while another process adds some numbers."""
        fcntl.lockf(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_UN)

    def serve(self, serving: bool) -> None:
        """Say whether this worker takes new sessions."""
        with self._locked():
            self._cells[self.slot, _STATE] = _SERVING if serving else _DRAINING

    def is_alive(self, slot: int) -> bool:
        """Whether a worker has that slot, one that serves or one that drains."""
        return 0 <= slot < self.n_slots and self._cells[slot, _STATE] != _GONE

    def least_loaded(self) -> int | None:
        """The slot of the worker that holds fewest sessions of those that take new ones, if any does."""
        serving = [slot for slot in range(self.n_slots) if self._cells[slot, _STATE] == _SERVING]
        return min(serving, key=lambda slot: self._cells[slot, _HELD], default=None)

    def generation(self, slot: int) -> int:
        """How many workers had that slot before the one that has it now."""
        return self._cells[slot, _GENERATION]

    def try_acquire(self) -> bool:
        """Take one place for this worker if there is one."""
        with self._locked():
            if self._sum() >= self.maximum:
                return False
            self._cells[self.slot, _HELD] += 1
            return True

    def assign(self) -> int | None:
        """Take one place for the worker that should have the next session, if there is one.

        Returns:
            Its slot: this worker's own as long as no other that serves holds noticeably fewer. None: the
            server is full.
        """
        with self._locked():
            if self._sum() >= self.maximum:
                return None
            chosen = self.least_loaded()
            if chosen is None:
                chosen = self.slot
            if self._cells[self.slot, _STATE] == _SERVING and self.is_near(self.slot, chosen):
                chosen = self.slot
            self._cells[chosen, _HELD] += 1
            return chosen

    def is_near(self, slot: int, least: int) -> bool:
        """Whether a worker holds hardly more than another one."""
        return self._is_near(_HELD, slot, least)

    def _is_near(self, cell: int, slot: int, least: int) -> bool:
        n_least = self._cells[least, cell]
        return self._cells[slot, cell] <= n_least + n_least // _SLACK

    def count_connections(self, n_connections: int) -> None:
        """Say how many connections this worker has; until it says so again others add what they give."""
        with self._locked():
            self._cells[self.slot, _CONNECTIONS] = n_connections

    def assign_connection(self, n_connections: int) -> int:
        """Choose the worker for a connection that cannot move later, and count it there.

        Args:
            n_connections: How many this worker has.

        Returns:
            Its slot: this worker's own as long as no other that serves has noticeably fewer.
        """
        with self._locked():
            self._cells[self.slot, _CONNECTIONS] = n_connections
            serving = [slot for slot in range(self.n_slots) if self._cells[slot, _STATE] == _SERVING]
            chosen = min(serving, key=lambda slot: self._cells[slot, _CONNECTIONS], default=self.slot)
            if self._is_near(_CONNECTIONS, self.slot, chosen):
                chosen = self.slot
            self._cells[chosen, _CONNECTIONS] += 1
            return chosen

    def _sum(self) -> int:
        return sum(self._cells[slot, _HELD] for slot in range(self.n_slots))

    def move(self, source: int, target: int) -> None:
        """Let a place that was taken for one worker count for another."""
        with self._locked():
            if self._cells[source, _HELD] > 0:
                self._cells[source, _HELD] -= 1
                self._cells[target, _HELD] += 1

    def release(self) -> None:
        """Give one place of this worker back.

        Raises:
            ValueError: This worker holds none.
        """
        with self._locked():
            if self._cells[self.slot, _HELD] <= 0:
                raise ValueError("release without an acquire before it")
            self._cells[self.slot, _HELD] -= 1

    @property
    def active(self) -> int:
        """Places taken now, by all workers."""
        return self._sum()

    def held_by(self, slot: int) -> int:
        """Places that one worker holds now."""
        return self._cells[slot, _HELD]

    def clear(self, slot: int) -> None:
        """Give back all that a worker held; for the parent, once that worker is gone."""
        with self._locked():
            self._cells[slot, _HELD] = 0
            self._cells[slot, _CONNECTIONS] = 0
            self._cells[slot, _STATE] = _GONE
            self._cells[slot, _GENERATION] += 1

    def close(self) -> None:
        """Free the memory and the lock of this process; the counts of other processes stand."""
        self._cells.release()
        self._memory.close()
        os.close(self._lock_fd)
