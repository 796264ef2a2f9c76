"""What a server takes of the machine, from /proc: memory, descriptors, threads and processes, and the load.

In: the id of a server's first process. Out: numbers, and their slopes over time. Linux only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Reading", "family", "load", "percentile", "read", "slope", "table", "zombies"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a server's processes.

    Attributes:
        anon_bytes: Memory of all processes together that is no file, pages shared by several in proportion
            (Pss_Anon). Pages of files count for less where somebody else runs the same Python.
        n_fds: Open descriptors of all.
        n_threads: Threads of all.
        pids: The processes, the first one first.
        at: Monotonic seconds.
    """

    anon_bytes: int
    n_fds: int
    n_threads: int
    pids: tuple[int, ...]
    at: float


def family(pid: int) -> tuple[int, ...]:
    """A process and its descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(sorted(children.get(parent, ())))
    return tuple(found)


def zombies(pid: int) -> list[int]:
    """Children of a process that are dead and not reaped."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z" and int(fields[1]) == pid:
                    found.append(int(entry.name))
    return found


def read(pid: int) -> Reading:
    """Look at a server; processes that end meanwhile count for nothing."""
    pids = family(pid)
    memory = n_fds = n_threads = 0
    for each in pids:
        with suppress(OSError):
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
            memory += 1024 * next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:")
            )
            n_fds += len(os.listdir(f"/proc/{each}/fd"))
            n_threads += len(os.listdir(f"/proc/{each}/task"))
    return Reading(memory, n_fds, n_threads, pids, time.monotonic())


def load() -> str:
    """How busy the machine is, for the results: it is shared."""
    one, five, _ = os.getloadavg()
    return f"load average {one:.1f} (1 min) {five:.1f} (5 min) on {os.cpu_count()} cores"


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Least squares: by how much a value grows in an hour."""
    n_values = len(values)
    mean_time, mean_value = sum(times_s) / n_values, sum(values) / n_values
    spread = sum((at - mean_time) ** 2 for at in times_s)
    if spread == 0:
        return 0.0
    pairs = zip(times_s, values, strict=True)
    return 3600 * sum((at - mean_time) * (value - mean_value) for at, value in pairs) / spread


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of all do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def table(rows: Sequence[tuple[str, object]]) -> str:
    """Two columns, for people."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
