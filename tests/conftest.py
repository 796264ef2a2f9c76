"""What every test of this repository can rely on: the repository itself is importable.

Tests import each other's helpers as ``tests.support...``, and the servers they start import their
environments as ``tests.conformance...``; both need the repository's root on the path, wherever
pytest was started from.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n 2 --dist loadfile` what uses Docker stays together."""
    from tests.support.side_by_side import scheduler

    return scheduler(config, log) if config.getoption("dist") == "loadfile" else None


class OneOfSeveral:
    """What a process does that runs tests beside others: it waits for those that are to run alone."""

    def __init__(self) -> None:
        from tests.support.side_by_side import Turns

        self._turns = Turns()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fixtures included, which may be where the time goes."""
        with self._turns.taken(alone=item.get_closest_marker("alone") is not None):
            return (yield)

    def pytest_unconfigure(self) -> None:
        """The locks are files."""
        self._turns.close()


def pytest_configure(config: pytest.Config) -> None:
    """Only the processes that pytest-xdist starts have others beside them."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(OneOfSeveral(), "one-of-several")
