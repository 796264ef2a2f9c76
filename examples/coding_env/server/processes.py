"""The processes of a session, seen from outside: who they are, what they hold, stopping and ending them.

In: the id of the process that was started. Out: ids, bytes, signals sent. It reads Linux's /proc; where
there is none, a session is the one process that was started.
"""

import os
import signal
from contextlib import suppress

__all__ = ["descendants", "freeze", "memory_bytes", "thaw"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PASSES = 20


def descendants(pid: int) -> list[int]:
    """Everything that `pid` started and that they started. Orphans are their new parent's."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def memory_bytes(pids: list[int], limit: int) -> int:
    """The memory that these processes have in use, exactly only where it may be more than `limit`.

    Copies of one process share most of theirs. Counting each share once is a hundred times slower than
    counting it for everybody, so it is done when the quick count is over the limit, and where the kernel
    allows it.
    """
    quick = sum(_resident_bytes(pid) for pid in pids)
    return quick if quick <= limit else sum(_proportional_bytes(pid) for pid in pids)


def freeze(pids: list[int], of: int) -> None:
    """Stop these processes and what they start meanwhile, until nothing new appears below `of`."""
    stopped: set[int] = set()
    for _ in range(_PASSES):
        fresh = set(pids) - stopped
        if not fresh:
            return
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
        pids = descendants(of)


def thaw(pids: list[int]) -> None:
    """Let stopped processes go on."""
    for pid in pids:
        _signal(pid, signal.SIGCONT)


def _resident_bytes(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
    return 0


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    return _resident_bytes(pid)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    """A process's children, of whichever of its threads."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
