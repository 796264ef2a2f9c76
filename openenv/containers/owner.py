"""Which process something belongs to, as text that another process can judge later.

A process id alone is not enough: ids are used again, other machines and containers have the same ones, and a
reboot forgets them all. So the text says the host and the pid namespace, the boot, and when in it the process
began.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["is_gone", "this_process"]

_PROC = Path("/proc")
_BEGAN_FIELD = 22 - 3  # of proc(5) stat, counted after the name, which may have spaces and parentheses
_ENDED_STATES = ("Z", "X", "x")


def this_process() -> str:
    """This process: ``host/namespace/boot/pid/began``."""
    pid = os.getpid()
    return f"{_here()}/{_boot()}/{pid}/{_began(pid) or ''}"


def is_gone(owner: str) -> bool:
    """Whether a process of this host, as `this_process` described it, has ended.

    False for processes of other hosts and namespaces, about which nothing can be known from here, and for
    text that `this_process` did not write.
    """
    here, boot, pid_text, began = [*owner.rsplit("/", 3), "", "", ""][:4]
    if here != _here() or not pid_text.isdigit():
        return False
    if boot != _boot():
        return True
    pid = int(pid_text)
    if began:
        return _began(pid) != began
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _here() -> str:
    try:
        namespace = os.readlink(_PROC / "self/ns/pid").strip("pid:[]")
    except OSError:
        namespace = "0"
    return f"{platform.node().replace('/', '-')}/{namespace}"


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _began(pid: int) -> str | None:
    """When a running process began, in clock ticks since the boot; None if there is none, or no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED_STATES else fields[_BEGAN_FIELD]
