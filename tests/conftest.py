"""What every test of this repository can rely on: the repository itself is importable.

Tests import each other's helpers as ``tests.support...``, and the servers they start import their
environments as ``tests.conformance...``; both need the repository's root on the path, wherever
pytest was started from.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from hypothesis import settings

# The suite says the same every time; whoever explores does so with `bin/fuzz`, or another profile.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# A shell starts what it runs in the background with SIGINT ignored, and what ignores it hands that on: the
# programs whose Ctrl-C is tested would never hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
