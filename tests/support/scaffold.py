"""What `openenv init` makes, and the ways in which people start it.

In: nothing but this checkout. Out: new environments, virtual environments with the runtime in them, and
servers started by any command, whose address is read from what they print.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from openenv.cli.init import make_environment, names_of
from openenv.cli.vendor import vendor_wheel
from tests.support.docker import uv
from tests.support.eventually import eventually
from tests.support.program import environment

INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


def new_environment(folder: Path, name: str = "my_env") -> Path:
    """A new environment in a folder, as `openenv init` makes it."""
    make_environment(folder / name, names_of(name))
    return folder / name


def shell(**variables: str) -> dict[str, str]:
    """The variables of somebody's shell: no checkout on the import path, our uv on the other one."""
    clean = environment(variables)
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        clean.pop(name, None)
    clean["PATH"] = f"{Path(uv()).parent}{os.pathsep}{clean['PATH']}"
    return {**clean, "PYTHONDONTWRITEBYTECODE": "1", **variables}


def run(
    *command: str, cwd: Path, timeout_s: float = INSTALL_TIMEOUT_S, env: Mapping[str, str] | None = None
) -> str:
    """Run a command that is to succeed, as in somebody's shell; its standard output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=shell(**(env or {})),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def virtual_environment(folder: Path, *packages: str) -> Path:
    """The `bin` of a virtual environment with the runtime and packages of an index; skips without one."""
    wheel = vendor_wheel(folder / "wheel")
    venv = folder / "venv"
    run(uv(), "venv", "-q", "--python", sys.executable, str(venv), cwd=folder)
    # `shell` keeps Python from compiling what it imports, since that would lie beside an environment's files.
    install = (uv(), "pip", "install", "-q", "--compile-bytecode", "--python", str(venv / "bin" / "python"))
    done = subprocess.run(
        [*install, str(wheel), *packages],
        env=shell(),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"packages cannot be installed here: {done.stderr.strip()[-300:]}")
    return venv / "bin"


@dataclass
class Started:
    """A server that somebody started.

    Attributes:
        url: What it printed.
        process: The command.
    """

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str) -> dict[str, object]:
        """What a GET gives."""
        with urlopen(f"{self.url}{path}", timeout=10) as response:
            return dict(json.load(response))

    def reset(self) -> object:
        """The message of a first observation."""
        request = Request(f"{self.url}/reset", b"{}", {"content-type": "application/json"})
        with urlopen(request, timeout=10) as response:
            return json.load(response)["observation"]["echoed_message"]


@contextmanager
def started(command: Sequence[str], cwd: Path, **variables: str) -> Iterator[Started]:
    """A command while the context is open, once it has printed its address; it and its group end with it."""
    variables = {"HOST": "127.0.0.1", "PORT": "0", **variables}
    log = cwd / f".log-{os.getpid()}"
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=shell(**variables),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def address() -> str | None:
        text = log.read_text()
        assert process.poll() is None, f"{' '.join(command)} ended: {text[-3000:]}"
        found = _ADDRESS.search(text)
        return found[0] if found else None

    try:
        yield Started(eventually(address, f"the address of {command[0]}", START_TIMEOUT_S) or "", process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.unlink()


def commit(folder: Path) -> str:
    """Make a folder a git repository; its `git+file://` URL."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), (*identity, "commit", "-q", "-m", "One")):
        run("git", *arguments, cwd=folder)
    return f"git+{folder.as_uri()}"
