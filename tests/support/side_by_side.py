"""Two pytest processes side by side: which tests stay together, and which want the machine to themselves.

In: the hooks of pytest-xdist, which `bin/test` uses where it runs everything. Out: the tests of a file stay
in one process, with their servers; so do all files that use Docker, whose tests count containers and prune
images. A test marked ``alone`` judges times: while it runs, the other process waits between two tests.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.peers import peers_dir

DOCKER = "docker"
_MARK = "mark.docker"


@cache
def group_of(path: Path) -> str:
    """The name of what a file of tests stays together with: mostly itself."""
    return DOCKER if _MARK in path.read_text("utf-8") else str(path)


def scheduler(config: Any, log: Any) -> Any:
    """What hands out files one after the other, and those with Docker as if they were one."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped, unused-ignore]

    class ByGroup(LoadFileScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(Path(config.rootpath, nodeid.partition("::")[0]))

    return ByGroup(config, log)


class Turns:
    """The right to run a test: shared with other processes of this machine, or not."""

    def __init__(self) -> None:
        self._door = (peers_dir() / "tests-door.lock").open("w")
        self._room = (peers_dir() / "tests-room.lock").open("w")

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Hold it while the context is open."""
        # Who waits for the room keeps the door shut: else one who wants it alone might never find it empty.
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give it up for good."""
        self._door.close()
        self._room.close()
