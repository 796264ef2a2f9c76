"""Environments of `examples/` as their users have them: installed alone, played by others, in a container.

In: the name of a folder of `examples/`. Out: an interpreter that has it and our wheel and nothing else of
this repository; what the incumbent's client saw of a server; a container image, built by the example's own
Dockerfile from wheels, since nothing can be downloaded inside a container here.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import BASE_IMAGE, BUILD_TIMEOUT_S, LABEL, build_wheel, docker, engine, uv
from tests.support.peers import ROOT, peer, peers_dir

EXAMPLES = ROOT / "examples"
STOCK_PLAY = ROOT / "tests" / "integration" / "stock" / "play.py"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", ".venv", "build", ".pytest_cache", "tests")


def install_alone(name: str, folder: Path) -> Path:
    """The interpreter of a new virtual environment with one example, its dependencies and pytest.

    Args:
        name: The example.
        folder: A folder for the environment, empty or not there.
    """
    source = folder / "source" / name
    shutil.copytree(EXAMPLES / name, source, ignore=_LEFT_OUT)
    wheel = build_wheel(folder)
    python = folder / "venv" / "bin" / "python"
    _run(uv(), "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    _run(uv(), "pip", "install", "--quiet", "--python", str(python), str(wheel), str(source), "pytest")
    return python


def run_own_tests(name: str, python: Path, folder: Path, timeout_s: float = 180.0) -> str:
    """Run an example's own tests against what is installed; gives pytest's summary.

    Args:
        name: The example.
        python: Where it is installed, see `install_alone`.
        folder: An empty folder, from which they run.
    """
    tests = folder / "tests"
    # Without the claim on the folder around them, which would have them test the sources.
    shutil.copytree(EXAMPLES / name / "tests", tests, ignore=shutil.ignore_patterns("__pycache__"))
    conftest = tests / "conftest.py"
    lines = conftest.read_text().splitlines(keepends=True)
    conftest.write_text("".join(line for line in lines if not line.startswith("in_place(")))
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(tests)],
        cwd=folder,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def clean_environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for an installed example: nothing that points at this repository."""
    left_out = {"PYTHONPATH", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | dict(more or {})


def stock_play(url: str, actions: Iterable[Mapping[str, Any]], **reset: Any) -> list[dict[str, Any]]:
    """Play one episode with the incumbent's own generic client.

    Args:
        url: Base URL of the server.
        actions: What to step with, until the episode is over.
        **reset: Keywords of its `reset`.

    Returns:
        ``{"observation", "reward", "done"}`` of the reset and of each step; last, ``{"state"}``.
    """
    plan = json.dumps({"reset": reset, "actions": list(actions)})
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(peer("openenv-0.10.0")), str(STOCK_PLAY), url, plan],
            cwd=elsewhere,
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    seen: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return seen


def build_image(name: str, image: str, more: Mapping[str, Path] | None = None) -> str:
    """An image of an example, by its own Dockerfile; skips the test where there is no engine.

    Args:
        name: The example.
        image: Name for it.
        more: Further folders for the build context, by their name there.
    """
    engine()
    if sys.version_info[:2] != (3, 11):
        pytest.skip(f"wheels for {BASE_IMAGE} are made by Python 3.11, and this is another")
    with tempfile.TemporaryDirectory(prefix="openenv-image-") as folder:
        context = Path(folder) / name
        shutil.copytree(EXAMPLES / name, context, ignore=_LEFT_OUT)
        for place, source in (more or {}).items():
            shutil.copytree(source, context / place)
        shutil.copytree(dependency_wheels_of(name), context / "vendor")
        build_wheel(context / "vendor")
        docker(
            *(
                "build",
                "-q",
                "--label",
                f"{LABEL}=1",
                "-t",
                image,
                "-f",
                str(context / "server" / "Dockerfile"),
            ),
            *("--build-arg", f"BASE={BASE_IMAGE}", "--build-arg", "PIP_NO_INDEX=1", str(context)),
            timeout_s=BUILD_TIMEOUT_S,
        )
    docker("image", "prune", "-f", "--filter", f"label={LABEL}")
    return image


def dependency_wheels_of(name: str) -> Path:
    """What an example and our package need, as wheels; kept, because it is the longest part of an image."""
    wanted = set()
    for project in (ROOT, EXAMPLES / name):
        dependencies = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
        wanted |= {one for one in dependencies if not one.startswith("openenv-runtime")}
    digest = sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:12]
    folder = peers_dir() / f"wheels-{name}-{platform.machine()}-{digest}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=peers_dir()) as fresh:
            _run(sys.executable, "-m", "pip", "wheel", "-q", "-w", f"{fresh}/wheels", *sorted(wanted))
            with suppress(OSError):  # another test process was quicker
                Path(fresh, "wheels").rename(folder)
    return folder


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise AssertionError(f"{' '.join(command[:4])} ...: {said}")
