"""The guide's demo from an empty folder, with the real tools: make, serve, check, build, deploy, install.

One test, because each step takes what the one before left. The Hub is a stand-in over HTTP, spoken to by the
real `huggingface_hub`; images are built from wheels, since a container here has no package index to ask.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.support.docker import LABEL, dependency_wheels, docker, engine, uv
from tests.support.eventually import eventually
from tests.support.hub import HubStandIn
from tests.support.program import environment
from tests.support.scaffold import run, started

pytestmark = pytest.mark.docker

IMAGE = "openenv-test-demo:latest"
PLAY = """\
import asyncio, sys
from my_env import MyAction, MyEnv

async def main():
    async with MyEnv(base_url=sys.argv[1]) as env:
        result = await env.reset()
        result = await env.step(MyAction(message="Hello"))
        print(result.observation.echoed_message, result.reward)

asyncio.run(main())
with MyEnv(base_url=sys.argv[1]).sync() as env:
    env.reset()
    print(env.step(MyAction(message="Hello")).observation.message_length)
"""


def openenv(*arguments: str, cwd: Path, **variables: str) -> str:
    """Run the command line of this checkout, which is to succeed; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "openenv", *arguments],
        cwd=cwd,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"openenv {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def curl(url: str) -> str:
    """What the guide's curl prints."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    return run("curl", "-fsS", "--noproxy", "*", url, cwd=Path("/"), timeout_s=30)


@contextmanager
def container(*options: str) -> Iterator[str]:
    """`docker run -d` while the context is open; the container's id."""
    name = docker("run", "-d", "--label", f"{LABEL}=1", "-p", "127.0.0.1::8000", *options, IMAGE).strip()
    try:
        yield name
    finally:
        docker("rm", "-f", "-v", name)


def test_from_an_empty_folder_to_a_deployed_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps of "DEMO: Deploying to Hugging Face Spaces", with "Docker Deployment" between them."""
    engine()
    begun = monotonic()
    times: list[str] = []

    def note(step: str) -> None:
        nonlocal begun
        times.append(f"{step} {monotonic() - begun:.1f} s")
        begun = monotonic()

    # Step 1: a new environment.
    openenv("init", "my_env", cwd=tmp_path)
    folder = tmp_path / "my_env"
    made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_of(folder)}
    note("init")

    # Step 2: run it locally.
    with started(["uv", "run", "server"], folder) as server:
        assert curl(f"{server.url}/health") == '{"status":"healthy"}'
        python = str(folder / ".venv" / "bin" / "python")
        assert run(python, "-c", PLAY, server.url, cwd=tmp_path) == "Hello 0.5\n5\n"
    note("uv run server")
    assert "0 errors, 0 warnings" in openenv("validate", cwd=folder)
    note("validate")

    # Docker deployment.
    shown = openenv("build", "-t", IMAGE, "--offline", str(dependency_wheels()), cwd=folder)
    assert f"{IMAGE} is built" in shown
    note("build")
    with container("-e", "WORKERS=4", "-e", "MAX_CONCURRENT_ENVS=100") as name:
        eventually(lambda: "(4 workers, 100 sessions at once)" in docker("logs", name), "the banner", 60)
        url = f"http://{docker('port', name, '8000/tcp').split()[0]}"
        assert curl(f"{url}/health") == '{"status":"healthy"}'
        assert run(python, "-c", PLAY, url, cwd=tmp_path) == "Hello 0.5\n5\n"
    note("docker run")

    # Step 3: deploy it to a Space.
    with HubStandIn("author") as hub:
        variables = {**hub.environment, "HF_HOME": str(tmp_path / "hf")}
        shown = openenv("push", "--repo-id", "author/my-env", cwd=folder, **variables)
        for page in ("web", "docs", "health"):
            assert f"https://author-my-env.hf.space/{page}" in shown
        assert "#subdirectory=vendor/openenv-runtime" in shown
        pushed = dict(hub.spaces["author/my-env"].files)
        repository = hub.export(tmp_path / "space", "author/my-env", pointers=True)
    check_files(pushed, made)
    note("push")

    # Step 4: install it from the Space, where nothing else is installed.
    clean = tmp_path / "clean"
    run(uv(), "venv", "-q", "--seed", "--python", sys.executable, str(clean), cwd=tmp_path)
    # With the two words that `push` printed for pip; a clone has no git-lfs, so the wheel is a pointer there.
    runtime = f"{repository}#subdirectory=vendor/openenv-runtime"
    run(str(clean / "bin" / "pip"), "install", "-q", runtime, repository, cwd=tmp_path)
    imported = "from my_env import MyAction, MyEnv, MyObservation; print(MyEnv.__module__)"
    assert run(str(clean / "bin" / "python"), "-c", imported, cwd=Path("/")) == "my_env.client\n"
    note("pip install git+file://")
    with capsys.disabled():
        print(f"\n  demo: {', '.join(times)}", end=" ", flush=True)


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_files(pushed: dict[str, bytes], made: dict[str, bytes]) -> None:
    """What was made is what was pushed, file by file, with what a Space needs besides."""
    for name, content in made.items():
        assert name in pushed, f"{name} is missing on the Space"
        # A Space has the first two in words of its own, and the wheel is packed anew.
        if name not in ("pyproject.toml", "server/Dockerfile") and not name.endswith(".whl"):
            assert pushed[name] == content, f"{name} is another on the Space"
    assert pushed["Dockerfile"] == pushed["server/Dockerfile"]
    assert b'CMD ["openenv", "serve", "/app/my_env"]' in pushed["Dockerfile"]
    front = pushed["README.md"].decode().split("---\n")[1]
    assert "sdk: docker\n" in front
    assert "app_port: 8000\n" in front
    # Besides: what `uv run` leaves and belongs there, what the Hub makes, and the runtime as plain files.
    further = {name for name in pushed if name not in made and not name.startswith("vendor/")}
    assert further <= {"Dockerfile", "uv.lock", ".gitattributes"}
