"""Who takes part, and how each of them is started.

In: the name of a contestant. Out: a running server on a port of its own, bound to one core, leader
of its own session of processes so that its processor time can be told from others'.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from machine import BENCH, ROOT, pin, versions

sys.path.insert(0, str(ROOT))

from tests.support.peers import REQUIREMENTS, install

ENVS = BENCH / "envs"
HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0


REQUIREMENTS["picows-2.3.1"] = ("picows==2.3.1", "uvloop", "orjson", "websockets")
"""A peer that only the bench needs."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One column of the table.

    Attributes:
        name: As on the command line and in the results.
        title: Head of its column.
        protocols: Which of "ws" and "http" it speaks.
        python: Gives the interpreter; installs it on demand.
        arguments: What the interpreter is given, ``{port}`` standing for the port.
        distributions: Those whose versions the results name.
        sees_repository: Whether it may import our package. Never the incumbent: they share a name.
    """

    name: str
    title: str
    protocols: frozenset[str]
    python: Callable[[], Path]
    arguments: tuple[str, ...]
    distributions: tuple[str, ...]
    sees_repository: bool = False

    def versions(self) -> dict[str, str]:
        """Interpreter and distributions, as installed."""
        return versions(self.python(), self.distributions)


def _ours() -> Path:
    return Path(sys.executable)


def _uvicorn(app: str) -> tuple[str, ...]:
    options = ("--host", HOST, "--port", "{port}", "--log-level", "warning", "--no-access-log")
    return ("-m", "uvicorn", app, *options)


def _serve(app: str) -> tuple[str, ...]:
    options = ("--host", HOST, "--port", "{port}", "--workers", "1", "--log-level", "warning")
    return ("-m", "openenv", "serve", app, *options)


_BOTH = frozenset({"ws", "http"})
_INCUMBENT = ("openenv", "fastapi", "pydantic", "uvicorn", "websockets", "httptools", "uvloop")
_OWN = ("websockets", "uvloop", "orjson")

CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        Contestant(
            "incumbent",
            "openenv 0.10.0",
            _BOTH,
            lambda: install("openenv-0.10.0"),
            _uvicorn("incumbent_echo:app"),
            _INCUMBENT,
        ),
        Contestant(
            "incumbent-standard",
            "+ uvicorn[standard]",
            _BOTH,
            lambda: install("openenv-0.10.0-standard"),
            _uvicorn("incumbent_echo:app"),
            _INCUMBENT,
        ),
        Contestant(
            "limit",
            "limit (picows)",
            frozenset({"ws"}),
            lambda: install("picows-2.3.1"),
            ("limit_picows.py", "{port}"),
            ("picows", "uvloop", "orjson"),
        ),
        Contestant(
            "limit-models",
            "limit + models",
            frozenset({"ws"}),
            lambda: install("picows-2.3.1"),
            ("limit_models.py", "{port}"),
            ("picows", "uvloop", "orjson"),
            sees_repository=True,
        ),
        Contestant(
            "bare-asgi",
            "bare ASGI (uvicorn)",
            frozenset({"http"}),
            lambda: install("openenv-0.10.0-standard"),
            _uvicorn("bare_asgi:app"),
            ("uvicorn", "httptools", "uvloop", "orjson"),
        ),
        Contestant("ours-loop", "ours, on the loop", _BOTH, _ours, _serve("ours_loop:app"), _OWN, True),
        Contestant("ours-threaded", "ours, threaded", _BOTH, _ours, _serve("ours_threaded:app"), _OWN, True),
        # The incumbent's own environment, file for file, with pydantic models and a thread per session.
        Contestant(
            "ours-pydantic",
            "ours, its environment",
            _BOTH,
            _ours,
            _serve("incumbent_echo:app"),
            (*_OWN, "pydantic"),
            True,
        ),
        Contestant(
            "ours-pydantic-loop",
            "the same, on the loop",
            _BOTH,
            _ours,
            _serve("ours_pydantic:app"),
            (*_OWN, "pydantic"),
            True,
        ),
    )
}


@dataclass(slots=True)
class Server:
    """A running contestant.

    Attributes:
        process: Leader of its session of processes; its id is the session's.
        port: TCP port on 127.0.0.1.
    """

    process: subprocess.Popen[bytes]
    port: int

    @property
    def session(self) -> int:
        """Id of its session of processes."""
        return self.process.pid


@contextmanager
def running(contestant: Contestant, core: int) -> Iterator[Server]:
    """Start a contestant on one core, wait until it listens, end it and its children afterwards."""
    environ = {"PYTHONPATH": str(ROOT)} if contestant.sees_repository else {}
    with started(contestant.python(), contestant.arguments, core, environ) as server:
        wait_until_listening(server)
        yield server


@contextmanager
def started(
    python: Path, arguments: tuple[str, ...], core: int, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a server process without waiting for it; end it and its children afterwards."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(python), *(argument.format(port=port) for argument in arguments)],
            cwd=ENVS,
            env={**keep, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: pin(core),
        )
        try:
            yield Server(process, port)
        except BaseException as error:
            error.add_note(os.pread(log.fileno(), 1 << 16, 0).decode("utf-8", "replace")[-4000:])
            raise
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_listening(server: Server) -> None:
    """Return once the port accepts connections.

    Raises:
        RuntimeError: The server ended, or does not listen after a minute.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection((HOST, server.port), 1).close()
            return
        except OSError:
            if server.process.poll() is not None:
                raise RuntimeError(f"the server ended with {server.process.returncode}") from None
            if time.monotonic() > deadline:
                raise RuntimeError("the server does not listen after 60 s") from None
            time.sleep(0.01)
