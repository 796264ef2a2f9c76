"""How many sessions all workers of one server hold together, counted in shared memory.

In: acquire and release, from any worker. Out: yes or no, exactly: never more than the maximum, and never
less than the maximum because a worker was killed. It knows nothing about sessions or sockets.

Each worker process has a slot, one 64-bit counter that only it writes; the number of sessions is the sum.
Checking the sum and adding to it must not be interleaved with another worker's, so that happens under a
record lock (fcntl), which the kernel drops when its holder dies, however it dies. Giving back needs no lock:
a sum that another worker reads a moment too high only refuses what was full a moment ago. When a worker is
gone, the parent zeroes its slot, and what it held is free again.

Limits: one host, one family of processes. An acquire costs two system calls, once per session.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile

__all__ = ["SharedCapacity"]

_SLOT_BYTES = 8


class SharedCapacity:
    """Sessions of one server, over all its workers; made before the fork, used after it.

    Args:
        maximum: Most sessions at once, >= 1.
        n_slots: Most worker processes alive at once, >= 1.

    Attributes:
        maximum: As given.
        slot: The counter that this process writes; `enter` sets it.
    """

    __slots__ = ("_counters", "_lock_fd", "_memory", "maximum", "slot")

    def __init__(self, maximum: int, n_slots: int) -> None:
        self.maximum = maximum
        self.slot = 0
        self._memory = mmap.mmap(-1, n_slots * _SLOT_BYTES)
        self._counters = memoryview(self._memory).cast("q")
        descriptor, path = tempfile.mkstemp(prefix="openenv-capacity-")
        os.unlink(path)
        self._lock_fd = descriptor

    def enter(self, slot: int) -> None:
        """Say, in a worker after its fork, which slot is its own."""
        self.slot = slot

    def try_acquire(self) -> bool:
        """Take one place if there is one. Waits only while another worker adds two numbers."""
        fcntl.lockf(self._lock_fd, fcntl.LOCK_EX)
        try:
            if sum(self._counters) >= self.maximum:
                return False
            self._counters[self.slot] += 1
            return True
        finally:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_UN)

    def release(self) -> None:
        """Give one place back.

        Raises:
            ValueError: This worker holds none.
        """
        if self._counters[self.slot] <= 0:
            raise ValueError("release without an acquire before it")
        self._counters[self.slot] -= 1

    @property
    def active(self) -> int:
        """Places taken now, by all workers."""
        return sum(self._counters)

    def held_by(self, slot: int) -> int:
        """Places that one worker holds now."""
        return self._counters[slot]

    def clear(self, slot: int) -> None:
        """Give back all that a worker held; for the parent, once that worker is gone."""
        self._counters[slot] = 0

    def close(self) -> None:
        """Free the memory and the lock of this process; the counts of other processes stand."""
        self._counters.release()
        self._memory.close()
        os.close(self._lock_fd)
