"""Servers for tests: started as the programs they are, ready when given out, gone afterwards.

In: what to serve. Out: a ``Server`` with its address and its log. Three kinds: ours (``serve``),
the incumbent in its own virtual environment (``serve_incumbent``) and ours as an ASGI application
under uvicorn (``serve_uvicorn``). Readiness is an answered ``/health``, polled within a bound;
every process is its own session, so that leaving the context ends its workers too.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.peers import ROOT, peer

# The incumbent's imports take their time on a busy machine.
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_AS_UPSTREAM = {"OPENENV_CAPACITY_WAIT_S": "0"}
"""What is full refuses at once, as existing servers do; tests about waiting say otherwise."""
_ADDRESS = re.compile(r"\bhttps?://([\w.\-\[\]:]+?):(\d+)\b")


class StartFailedError(Exception):
    """The server ended, or was not ready in time; the text holds its log."""


@dataclass
class Server:
    """A running server.

    Attributes:
        process: The process that was started; the leader of its own process group.
        host: Address it listens on.
        port: TCP port it listens on.
    """

    process: subprocess.Popen[bytes]
    host: str
    port: int
    _log: IO[bytes]

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """``ws://host:port/ws``."""
        return f"ws://{self.host}:{self.port}/ws"

    @property
    def log(self) -> str:
        """All that the server wrote to its standard output and error so far."""
        return _read(self._log)


@contextmanager
def serve(
    target: str,
    *args: str,
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    cwd: Path | None = None,
    python: Path | None = None,
) -> Iterator[Server]:
    """Serve ``target`` with ``python -m openenv serve`` on a port of the kernel's choosing.

    Args:
        target: As on the command line: ``module:attribute`` or a folder.
        args: Further flags.
        env: Environment variables beside those of this process.
        workers: Number of worker processes, >= 1.
        cwd: Working directory, the repository by default.
        python: Another interpreter than this one; it finds our package in the repository.

    Raises:
        StartFailedError: It is not ready within `START_TIMEOUT_S`.
    """
    command = [
        str(python or sys.executable),
        "-m",
        "openenv",
        "serve",
        target,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    command += ["--workers", str(workers), *args]
    # The variables of the shell that runs the tests must not reach into them.
    clean = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    clean |= _AS_UPSTREAM
    with _running(command, {**clean, **(env or {})}, cwd or ROOT) as (process, log):
        host, port = _announced_address(process, log)
        yield _ready(process, host, port, log)


@contextmanager
def serve_incumbent(
    app: str, *, env: Mapping[str, str] | None = None, name: str = "openenv-0.10.0"
) -> Iterator[Server]:
    """Serve ``module:attribute`` with the incumbent, as ``uvicorn`` in the peer's environment does."""
    with _serve_with_uvicorn(peer(name), app, (), env, shadow=True) as server:
        yield server


@contextmanager
def serve_uvicorn(app: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve one of our applications with uvicorn, as any ASGI application."""
    with _serve_with_uvicorn(Path(sys.executable), app, args, env, shadow=False) as server:
        yield server


_SERVER_VARIABLES = frozenset(
    {
        "HOST",
        "PORT",
        "WORKERS",
        "MAX_CONCURRENT_ENVS",
        "ENABLE_WEB_INTERFACE",
        "LOG_LEVEL",
        "OPENENV_MODE",
        "OPENENV_DEBUG",
    }
)


@contextmanager
def _serve_with_uvicorn(
    python: Path, app: str, args: Sequence[str], env: Mapping[str, str] | None, *, shadow: bool
) -> Iterator[Server]:
    clean = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    clean |= _AS_UPSTREAM
    clean.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="openenv-peer-") as folder:
        cwd = ROOT
        if shadow:
            # Our package has the incumbent's name: its server must see the tests but not the repository.
            cwd = Path(folder)
            (cwd / "tests").symlink_to(ROOT / "tests")
        command = [str(python), "-m", "uvicorn", app, "--host", "127.0.0.1", "--log-level", "warning", *args]
        for attempt in range(3):
            port = free_port()
            with _running([*command, "--port", str(port)], {**clean, **(env or {})}, cwd) as (process, log):
                try:
                    server = _ready(process, "127.0.0.1", port, log)
                except StartFailedError as error:
                    # Somebody else may have taken the port between our look and uvicorn's bind.
                    if "address already in use" not in str(error).lower() or attempt == 2:
                        raise
                    continue
                yield server
                return


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def answers(host: str, port: int, path: str = "/health", timeout_s: float = 2.0) -> bool:
    """Whether ``GET path`` is answered with 200 now."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return response.status == 200


@contextmanager
def _running(
    command: Sequence[str], env: Mapping[str, str], cwd: Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile(prefix="openenv-log-") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            yield process, log
        except BaseException as error:
            error.add_note(f"--- log of {' '.join(command[1:5])} ---\n{_read(log)[-8000:]}")
            raise
        finally:
            _stop(process)


def _end_with_parent() -> None:
    """Linux: have the kernel end this process when the tests are killed before they can."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S / 2)
        except subprocess.TimeoutExpired:
            # A second signal ends at once a server that drains.
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S / 2)
            except subprocess.TimeoutExpired:
                process.kill()
    # Whatever its end was, nothing of its group may outlive the test.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _announced_address(process: subprocess.Popen[bytes], log: IO[bytes]) -> tuple[str, int]:
    """The address in the banner: with ``--port 0`` only the server knows it."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        for host, port in _ADDRESS.findall(_read(log)):
            if int(port) != 0:
                return host.strip("[]"), int(port)
        _check_alive(process, log, deadline, "announced no address")


def _ready(process: subprocess.Popen[bytes], host: str, port: int, log: IO[bytes]) -> Server:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(host, port):
        _check_alive(process, log, deadline, "did not answer /health")
    return Server(process, host, port, log)


_never = threading.Event()


def _check_alive(process: subprocess.Popen[bytes], log: IO[bytes], deadline: float, complaint: str) -> None:
    if process.poll() is not None:
        raise StartFailedError(f"the server ended with {process.returncode}:\n{_read(log)}")
    if time.monotonic() > deadline:
        raise StartFailedError(f"the server {complaint} within {START_TIMEOUT_S:g} s:\n{_read(log)}")
    _never.wait(_POLL_S)


def _read(log: IO[bytes]) -> str:
    # pread leaves the file position alone: the server's own writes depend on it.
    return os.pread(log.fileno(), 1 << 20, 0).decode("utf-8", "replace")
