"""The command line as a program: run to its end, or started and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.peers import ROOT

TIMEOUT_S = 120.0

_OF_THE_SHELL = ("HOST", "PORT", "WORKERS", "MAX_CONCURRENT_ENVS", "ENABLE_WEB_INTERFACE", "LOG_LEVEL")


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this process without those that configure a server, and some of one's own."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in _OF_THE_SHELL and not name.startswith("OPENENV_")
    }
    return {**clean, "PYTHONPATH": str(ROOT), **(variables or {})}


def run_openenv(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m openenv` to its end; its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "openenv", *arguments],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@contextmanager
def started(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`python -m openenv` while the context is open, its streams as pipes; it and its group end with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openenv", *arguments],
        cwd=cwd,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_uds(path: Path) -> None:
    """Return once something accepts connections on a unix socket."""

    def accepts() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                return False
        return True

    eventually(accepts, f"a server on {path}")
