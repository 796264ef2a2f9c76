"""Other people's programs, each in a place of its own, installed the first time a test asks.

In: the name of a peer (``"openenv-0.10.0"``, ``"node-ws"``). Out: the path of what runs it. Peers
live in ``$OPENENV_PEERS_DIR`` or ``<repository>/.peers`` and are kept between runs; a lock file
makes it safe for several test processes to ask at once. Where a peer cannot be had (no network, no
npm), the test is skipped with the installer's own words, except under ``CI=true``: there a missing
peer is a failure, since a skipped comparison proves nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 600

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "openenv-0.10.0": ("openenv==0.10.0",),
    "openenv-0.10.0-standard": ("openenv==0.10.0", "uvicorn[standard]"),
    "openenv-core-0.2.3": ("openenv-core==0.2.3",),
    "schemathesis": ("schemathesis",),
    # FastMCP and the MCP SDK as the incumbent 0.10.0 resolves them, with what our own server needs.
    "fastmcp": ("fastmcp==3.4.10", "mcp==1.30.0", "orjson", "uvloop", "websockets"),
    # What environments in the incumbent's style bring with them, and what our own server needs.
    "dropin": (
        *("fastapi", "fastmcp==3.4.10", "mcp==1.30.0", "uvicorn", "httpx"),
        *("orjson", "uvloop", "websockets"),
    ),
    # As `examples/textarena_env` takes it, with what our own server needs.
    "textarena": ("textarena==0.7.4", "orjson", "uvloop", "websockets"),
    # The oldest that `openenv-runtime[hub]` takes, with what our own command line needs.
    "huggingface-hub-0.34.0": ("huggingface_hub==0.34.0", "orjson", "uvloop", "websockets"),
}
"""Python peers: what is installed into the virtual environment of each."""

NODE_PACKAGES: dict[str, tuple[str, ...]] = {
    "node-ws": ("ws@8",),
    "node-browser": ("playwright-core@1", "axe-core@4"),
}
"""Node peers: what ``npm install`` puts into the folder of each."""


class PeerMissingError(Exception):
    """A peer could not be installed; the text is the installer's own last words."""


def peers_dir() -> Path:
    """The folder of all peers, ``$OPENENV_PEERS_DIR`` or ``<repository>/.peers``, made on demand."""
    folder = Path(os.environ.get("OPENENV_PEERS_DIR") or ROOT / ".peers").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def install(name: str) -> Path:
    """The Python interpreter of a peer, installed now if it is not there yet.

    Raises:
        KeyError: Nobody described a peer of that name.
        PeerMissingError: It cannot be installed.
    """
    requirements = REQUIREMENTS[name]
    folder = peers_dir() / name
    python = folder / "bin" / "python"
    with locked(name):
        if not _works(python, requirements[0]):
            shutil.rmtree(folder, ignore_errors=True)
            _create(folder, python, requirements)
            if not _works(python, requirements[0]):
                raise PeerMissingError(f"{name} was installed but {requirements[0]} is not in it")
    return python


def install_node(name: str) -> Path:
    """The folder from which Node finds the packages of a peer, installed now if need be.

    Raises:
        KeyError: Nobody described a peer of that name.
        PeerMissingError: There is no ``node`` or ``npm``, or the installation failed.
    """
    packages = NODE_PACKAGES[name]
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise PeerMissingError("node and npm are not installed on this machine")
    folder = peers_dir() / name
    with locked(name):
        wanted = folder / "node_modules" / packages[0].partition("@")[0] / "package.json"
        if not wanted.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"private": true}\n')
            _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages], cwd=folder)
    return folder


def peer(name: str) -> Path:
    """The Python interpreter of a peer; skips the test (fails it under CI) where it cannot be had."""
    try:
        return install(name)
    except PeerMissingError as error:
        _give_up(name, error)


def node_peer(name: str) -> Path:
    """The package folder of a Node peer; skips the test (fails it under CI) where it cannot be had."""
    try:
        return install_node(name)
    except PeerMissingError as error:
        _give_up(name, error)


def _give_up(name: str, error: PeerMissingError) -> NoReturn:
    text = f"peer {name} is not available: {error}"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _works(python: Path, requirement: str) -> bool:
    if not python.exists():
        return False
    distribution, _, version = requirement.partition("==")
    question = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    answer = subprocess.run(
        [str(python), "-I", "-c", question], capture_output=True, text=True, check=False, timeout=60
    )
    return answer.returncode == 0 and (not version or answer.stdout.strip() == version)


def _create(folder: Path, python: Path, requirements: Sequence[str]) -> None:
    # The `test` extra has it, beside the interpreter and not always on the path.
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv is not None:
        _run([uv, "venv", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--python", str(python), *requirements])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", *requirements])


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissingError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise PeerMissingError(f"{' '.join(command[:3])} ... failed: {done.stdout.strip()[-600:]}")


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of a name; the kernel lets go of it even if this process is killed."""
    with (peers_dir() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
