"""Clients whose server is a project run by the real ``uv``: a folder, and a git repository.

The project is the echo environment with a wheel of this repository beside it, because our package is on no
index; what that needs comes from wherever uv gets packages, and its cache.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from openenv import GenericEnvClient
from openenv.containers import UVProvider
from openenv.errors import ReadyTimeoutError, StartError
from tests.support.docker import build_wheel, uv
from tests.support.eventually import eventually
from tests.support.peers import ROOT

PATIENT_S = 120.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The echo environment as somebody would publish it, with the runtime it needs."""
    folder = tmp_path_factory.mktemp("uv") / "echo_env"
    shutil.copytree(ROOT / "examples" / "echo_env", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "wheels").mkdir()
    wheel = build_wheel(folder / "wheels")
    with (folder / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.uv.sources]\nopenenv-runtime = {{ path = "wheels/{wheel.name}" }}\n')
    return folder


@pytest.fixture(scope="module")
def hub(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub with one Space, as folders: `spaces/openenv/echo-env` is its repository."""
    home = tmp_path_factory.mktemp("hub")
    repository = home / "spaces" / "openenv" / "echo-env"
    shutil.copytree(project, repository)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("add", "-f", "."),
        (*identity, "commit", "-q", "-m", "One"),
        ("tag", "v1"),
    ):
        subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True)
    return home


@pytest.fixture(autouse=True)
def uv_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The uv of the test environment; checkouts go to a folder of the test's own, empty again at the end."""
    monkeypatch.setenv("PATH", f"{Path(uv()).parent}{os.pathsep}{os.environ['PATH']}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    yield scratch
    # What uv itself locks stays.
    assert list(scratch.glob("openenv-*")) == []


def serving(folder: str) -> set[str]:
    """Ids of the processes that run a server out of a folder, uv among them."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            at = os.readlink(process / "cwd")
        except OSError:
            continue
        if at.startswith(folder) and "server" in command:
            found.add(process.name)
    return found


def test_a_folder_is_served_and_its_server_is_gone_after_close(project: Path) -> None:
    """Asynchronously."""

    async def main() -> None:
        client = await GenericEnvClient.from_hub("any/name", use_docker=False, project_path=str(project))
        async with client:
            await client.reset()
            result = await client.step({"message": "Hello"})
            assert result.observation["echoed_message"] == "Hello"
            assert serving(str(project))

    asyncio.run(main())
    eventually(lambda: not serving(str(project)), "the end of the server")


@pytest.mark.parametrize("tag", ["latest", "v1"])
def test_a_space_is_fetched_and_served(
    hub: Path, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path, tag: str
) -> None:
    """From the Hub that `HF_ENDPOINT` names, here `git+file`; the checkout is gone after the block."""
    monkeypatch.setenv("HF_ENDPOINT", f"file://{hub}")
    with GenericEnvClient.from_env(
        "openenv/echo-env", use_docker=False, tag=tag, env_vars={"MAX_CONCURRENT_ENVS": "1"}
    ).sync() as client:
        client.reset()
        assert client.step({"message": "Hi"}).observation["message_length"] == 2
        assert serving(str(uv_on_path))
    eventually(lambda: not serving(str(uv_on_path)), "the end of the server")


def test_a_space_that_is_not_there_says_so(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With git's own words, soon."""
    monkeypatch.setenv("HF_ENDPOINT", f"file://{hub}")
    begun = monotonic()
    with pytest.raises(
        StartError, match=r"(?s)spaces/openenv/nothing, got: .*does not appear to be a git repo"
    ):
        GenericEnvClient.from_hub("openenv/nothing", use_docker=False).sync()
    with pytest.raises(StartError, match=r"v9 of .*couldn't find remote ref"):
        GenericEnvClient.from_hub("openenv/echo-env", use_docker=False, tag="v9").sync()
    assert monotonic() - begun < 60  # a checkout may take 300


def test_a_server_that_crashes_says_its_last_lines(project: Path) -> None:
    """At once, not when the time for becoming ready is over."""
    variables = {"MAX_CONCURRENT_ENVS": "many"}
    with pytest.raises(StartError, match=r"(?s)it ended.*MAX_CONCURRENT_ENVS"):
        GenericEnvClient.from_hub(
            "any/name", use_docker=False, project_path=str(project), env_vars=variables
        ).sync()
    eventually(lambda: not serving(str(project)), "the end of the server")


def test_a_server_that_is_not_ready_in_time_is_ended(project: Path) -> None:
    """However far it has come."""
    with UVProvider(project_path=project) as server:
        with pytest.raises(ReadyTimeoutError):
            server.wait_for_ready(timeout_s=0.0)
        eventually(lambda: serving(str(project)), "the start of the server")
    eventually(lambda: not serving(str(project)), "the end of the server")


def test_a_server_is_gone_after_a_cancellation(project: Path) -> None:
    """In the block of its client."""

    async def work(stepping: asyncio.Event) -> None:
        async with await GenericEnvClient.from_hub(
            "any/name", use_docker=False, project_path=str(project)
        ) as client:
            await client.reset()
            stepping.set()
            await asyncio.Event().wait()

    async def main() -> None:
        stepping = asyncio.Event()
        task = asyncio.create_task(work(stepping))
        await asyncio.wait_for(stepping.wait(), PATIENT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert serving(str(project)) == set()

    asyncio.run(main())


TRAINER = """
    import sys
    from openenv import GenericEnvClient
    client = GenericEnvClient.from_hub("any/name", use_docker=False, project_path=sys.argv[1]).sync()
    client.reset()
    sys.stdout.write("stepped\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["ctrl-c", "exit", "kill"])
def test_a_server_is_gone_with_its_trainer(project: Path, end: str) -> None:
    """Which never closed its client."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TRAINER), str(project)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stepped\n", process.communicate()
            assert serving(str(project))
            if end != "exit":
                process.send_signal(signal.SIGINT if end == "ctrl-c" else signal.SIGKILL)
            process.communicate("" if end == "exit" else None, timeout=PATIENT_S)
        finally:
            process.kill()
    eventually(lambda: not serving(str(project)), "the end of its server")
