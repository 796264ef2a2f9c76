"""Waiting for something to become true, within a bound and without a bare sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_never = threading.Event()


def eventually(look: Callable[[], T], what: str, timeout_s: float = 30.0, poll_s: float = 0.02) -> T:
    """Call `look` until it gives something true, and give that.

    Raises:
        AssertionError: It did not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        _never.wait(poll_s)
