"""What the C library does with memory that was given back to it.

glibc takes allocations beyond a threshold from the kernel one by one, and gives them back at once. With each
large one that is freed it raises that threshold, up to 32 MiB, and twice as much stays with the process for
ever: after a few messages of megabytes a server of 20 MiB holds 100 MiB. A threshold that is set stays.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back_soon"]

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 1024 * 1024


def give_back_soon() -> None:
    """Have allocations of a mebibyte or more given back to the kernel once they are freed.

    Does nothing where the C library is not glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
