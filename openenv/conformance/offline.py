"""A block of code without the network, to see whether an import needs it.

In: nothing. Out: the addresses that were asked for. Loopback and unix sockets stay open. The hook cannot be
taken out of an interpreter again, so this is for processes that end soon.

Reference: :pep:`578`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["offline"]

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})


class _Guard:
    """What the hook asks; there is one for each process that needs it."""

    def __init__(self) -> None:
        self.asked: list[str] | None = None
        self.installed = False

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuse what leaves the machine."""
        if self.asked is None or event not in _EVENTS:
            return
        address = args[-1] if event in ("socket.connect", "socket.sendto") else args[0]
        host = address[0] if isinstance(address, tuple) else address
        host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        # Another kind of socket, or none: nothing that leaves this machine.
        if not isinstance(host, str) or host.startswith(_LOCAL) or host.startswith(("/", "\0")) or not host:
            return
        self.asked.append(host)
        raise OSError(f"no network while an environment is imported: {host}")


_guard = _Guard()


@contextmanager
def offline() -> Iterator[list[str]]:
    """Refuse connections to other machines; the list fills with the hosts that were asked for."""
    if not _guard.installed:
        sys.addaudithook(_guard.hook)
        _guard.installed = True
    asked: list[str] = []
    _guard.asked = asked
    try:
        yield asked
    finally:
        _guard.asked = None
