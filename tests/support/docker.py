"""A Docker engine for tests: is there one, and images to start on it.

In: nothing. Out: names of images on the local engine, built once per session from wheels, since nothing
can be downloaded inside a container here. Where there is no engine, the test is skipped with the reason.
Images keep their names between runs, so that their layers are a cache.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.support.peers import ROOT, locked, peers_dir

BASE_IMAGE = "python:3.11-slim"
BUILD_TIMEOUT_S = 900
LABEL = "org.openenv.test"

_ECHO = f"""\
FROM {BASE_IMAGE}
COPY wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels openenv-runtime
COPY env /app/env
ENV HOST=0.0.0.0 PORT=8000 WORKERS=1 PYTHONUNBUFFERED=1
CMD ["openenv", "serve", "/app/env"]
"""
_MUTE = f"""\
FROM {BASE_IMAGE}
CMD ["sleep", "1000"]
"""


def docker(*arguments: str, timeout_s: float = 60.0) -> str:
    """Run one Docker command that is to succeed; its standard output."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments[:3])}: {done.stderr[-2000:]}"
    return done.stdout


@cache
def engine() -> None:
    """Skip the test where no Docker engine answers."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker on this machine")
    done = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"there is no Docker engine: {done.stderr.strip()[-300:]}")


@cache
def echo_image() -> str:
    """An image that serves the echo environment on port 8000."""
    engine()
    with tempfile.TemporaryDirectory(prefix="openenv-image-") as folder:
        context = Path(folder)
        shutil.copytree(dependency_wheels(), context / "wheels")
        build_wheel(context / "wheels")
        shutil.copytree(ROOT / "examples" / "echo_env", context / "env")
        return _build("openenv-test-echo:latest", _ECHO, context)


@cache
def mute_image() -> str:
    """An image that runs and never answers."""
    engine()
    with tempfile.TemporaryDirectory(prefix="openenv-image-") as folder:
        return _build("openenv-test-mute:latest", _MUTE, Path(folder))


@cache
def example_image(name: str) -> str:
    """An image of one of the examples, made by its own Dockerfile from wheels, as without a network."""
    engine()
    with tempfile.TemporaryDirectory(prefix="openenv-image-") as folder:
        context = Path(folder) / name
        shutil.copytree(
            ROOT / "examples" / name, context, ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
        )
        shutil.copytree(dependency_wheels(), context / "vendor", dirs_exist_ok=True)
        build_wheel(context / "vendor")
        arguments = ["--build-arg", "PIP_NO_INDEX=1", "-f", str(context / "server" / "Dockerfile")]
        return _build(f"openenv-test-{name.replace('_', '-')}:latest", None, context, *arguments)


def derived_image(image: str, dockerfile: str, context: Path) -> str:
    """An image from a Dockerfile of the test's own, with the files of a folder."""
    engine()
    return _build(image, dockerfile, context)


def containers(label: str = "org.openenv.client") -> set[str]:
    """Ids of all containers, running or not, that carry a label."""
    return set(docker("ps", "-aq", "--no-trunc", "--filter", f"label={label}").split())


def build_wheel(folder: Path) -> Path:
    """A wheel of this repository, as it stands, in a folder."""
    subprocess.run(
        [uv(), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)],
        capture_output=True,
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )
    return next(folder.glob("openenv_runtime-*.whl"))


def uv() -> str:
    """The ``uv`` of the test environment, else any; skips the test where there is none."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("there is no uv on this machine")
    return found


def _build(image: str, dockerfile: str | None, context: Path, *arguments: str) -> str:
    if dockerfile is not None:
        (context / "Dockerfile").write_text(dockerfile)
    command = ["build", "-q", "--label", f"{LABEL}=1", "-t", image, *arguments, str(context)]
    docker(*command, timeout_s=BUILD_TIMEOUT_S)
    # What an earlier run had under this name is nobody's now.
    docker("image", "prune", "-f", "--filter", f"label={LABEL}")
    return image


CORE_EXTRA = ("pydantic", "fastapi", "uvicorn", "requests")
"""What the extra `core` brings, which a build with `--swap-runtime` installs."""


def dependency_wheels(*further: str) -> Path:
    """What our package needs, and further packages, for the Python of the image rather than for ours."""
    folder = peers_dir() / "-".join(["wheels-cp311", platform.machine(), *further])
    with locked(folder.name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=peers_dir()) as fresh:
                _download(Path(fresh) / "wheels", further)
                (Path(fresh) / "wheels").rename(folder)
    return folder


def _download(folder: Path, further: Sequence[str]) -> None:
    platforms = [f"manylinux{version}_{platform.machine()}" for version in ("2014", "_2_17", "_2_28")]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]
    for name in platforms:
        command += ["--platform", name]
    done = subprocess.run(
        [*command, "-d", str(folder), "websockets", "uvloop", "orjson", *further],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"the wheels for the image cannot be downloaded: {done.stderr.strip()[-300:]}")
