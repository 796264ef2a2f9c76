"""Memory of processes, from /proc/*/smaps_rollup. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "of_process", "of_session"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes.

    Attributes:
        rss: Resident, shared pages counted whole.
        pss: Resident, shared pages divided among those that share them.
        private: Resident and shared with nobody: what ending the process would free.
    """

    pid: int
    rss: int
    pss: int
    private: int


def of_process(pid: int) -> Memory:
    """Memory of one process now."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return Memory(pid, kib["Rss"] * 1024, kib["Pss"] * 1024, private * 1024)


def of_session(session: int) -> list[Memory]:
    """Memory of every process of a session, the leader first."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(of_process(int(entry.name)))
            except (OSError, KeyError):  # it ended while we looked
                continue
    return sorted(found, key=lambda one: one.pid)
