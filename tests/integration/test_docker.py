"""Clients on a real Docker engine: containers start, serve and are gone afterwards, whatever happened.

Every test looks at the containers that carry our label before and after.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from openenv import EnvClient, GenericEnvClient
from openenv.containers import LocalDockerProvider
from openenv.errors import ProviderMissingError, ReadyTimeoutError, StartError
from tests.support.docker import BASE_IMAGE, containers, docker, echo_image, engine, mute_image
from tests.support.eventually import eventually
from tests.support.peers import ROOT

pytestmark = pytest.mark.docker

# A third of the time that a container has to become ready: whoever waits that out is found.
PROMPT_S = 20.0
# A machine that does ten other things besides takes its time for a container.
PATIENT_S = 60.0


@pytest.fixture
def image() -> str:
    """The echo environment."""
    return echo_image()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No container of ours is there after a test that was not there before."""
    engine()
    before = containers()
    yield
    left = containers() - before
    if left:
        docker("rm", "-f", "-v", *left)
    assert not left, "containers were left behind"


@contextmanager
def promptly(limit_s: float = PROMPT_S) -> Iterator[None]:
    """A block that takes no longer than this."""
    begun = monotonic()
    yield
    assert monotonic() - begun < limit_s


def test_a_container_serves_and_is_gone_after_close(image: str) -> None:
    """As in the guide, asynchronously."""

    async def main() -> None:
        before = containers()
        client = await GenericEnvClient.from_docker_image(image)
        async with client:
            assert len(containers() - before) == 1
            await client.reset()
            result = await client.step({"message": "Hello"})
            assert result.observation["echoed_message"] == "Hello"
        assert containers() == before

    asyncio.run(main())


def test_a_container_serves_synchronously_with_limits(image: str) -> None:
    """As in the guide, with `.sync()`; workers, a name and limits reach the engine."""
    with GenericEnvClient.from_docker_image(
        image,
        env_vars={"MAX_CONCURRENT_ENVS": "3"},
        workers=2,
        name="openenv-test-mine",
        cpus=0.5,
        memory="256m",
    ).sync() as client:
        client.reset()
        assert client.step({"message": "Hi"}).observation["message_length"] == 2
        shown = docker(
            *("inspect", "openenv-test-mine", "--format"),
            "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.Config.Env}}",
        )
        assert shown.startswith(f"500000000 {256 * 1024 * 1024} ")
        assert "WORKERS=2" in shown
        assert "MAX_CONCURRENT_ENVS=3" in shown


def test_several_containers_have_a_port_each(image: str) -> None:
    """Started at once, none of them guesses a port."""

    async def main() -> None:
        clients = await asyncio.gather(*(GenericEnvClient.from_docker_image(image) for _ in range(3)))
        try:
            assert len({client.base_url for client in clients}) == 3
            await asyncio.gather(*(client.reset() for client in clients))
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    asyncio.run(main())


def test_a_container_is_gone_after_an_exception(image: str) -> None:
    """Raised in the block of its client."""
    before = containers()
    with pytest.raises(ZeroDivisionError), GenericEnvClient.from_docker_image(image).sync():
        raise ZeroDivisionError
    assert containers() == before


def test_a_container_is_gone_after_a_cancellation(image: str) -> None:
    """In the block of its client."""
    before = containers()

    async def work(stepping: asyncio.Event) -> None:
        async with await GenericEnvClient.from_docker_image(image) as client:
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
        assert containers() == before

    asyncio.run(main())


def test_a_container_is_gone_after_a_cancellation_while_it_starts() -> None:
    """It runs, and is not yet ready: no client is there to close."""
    image = mute_image()
    before = containers()

    async def main() -> None:
        task = asyncio.ensure_future(GenericEnvClient.from_docker_image(image))
        await asyncio.to_thread(eventually, lambda: containers() - before, "a container", PATIENT_S)
        task.cancel()
        with promptly(PROMPT_S * 2), pytest.raises(asyncio.CancelledError):
            await task
        assert containers() == before

    asyncio.run(main())


TRAINER = """
    import sys
    from openenv import GenericEnvClient
    launch = GenericEnvClient.from_docker_image(sys.argv[1])
    {use}
"""
STEPS = "client.reset(); sys.stdout.write('stepped\\n'); sys.stdout.flush(); sys.stdin.read()"
IN_A_BLOCK = f"with launch.sync() as client:\n        {STEPS}"
WITHOUT_A_BLOCK = f"client = launch.sync(); {STEPS}"
ON_A_LOOP = (
    "import asyncio\n    async def main():\n        async with await launch as client:\n            "
    "await client.reset(); sys.stdout.write('stepped\\n'); sys.stdout.flush(); await asyncio.Event().wait()\n"
    "    asyncio.run(main())"
)


@contextmanager
def trainer(image: str, use: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has a container and waits; ended at the latest when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TRAINER.format(use=use)), image],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stepped\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("use", [IN_A_BLOCK, WITHOUT_A_BLOCK, ON_A_LOOP], ids=["block", "no block", "loop"])
def test_a_container_is_gone_after_ctrl_c(image: str, use: str) -> None:
    """With a block, with none, and on an event loop."""
    before = containers()
    with trainer(image, use) as process:
        assert len(containers() - before) == 1
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=PATIENT_S)
        assert "KeyboardInterrupt" in complaint
        assert containers() == before


def test_a_container_is_gone_after_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    """Before there is a client."""
    image = mute_image()
    before = containers()
    program = "import sys; from openenv import GenericEnvClient as C; C.from_docker_image(sys.argv[1]).sync()"
    with subprocess.Popen(
        [sys.executable, "-c", program, image], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually(lambda: containers() - before, "a container", PATIENT_S)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=PATIENT_S)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in complaint
    assert containers() == before


def test_a_container_is_gone_when_the_program_ends_without_closing(image: str) -> None:
    """The interpreter's exit closes what nobody closed."""
    before = containers()
    with trainer(image, WITHOUT_A_BLOCK) as process:
        with promptly():
            process.communicate("", timeout=PATIENT_S)
        assert process.returncode == 0
        assert containers() == before


def test_the_containers_of_a_killed_trainer_are_swept(image: str) -> None:
    """And those of trainers that live are not."""
    before = containers()
    with GenericEnvClient.from_docker_image(image).sync() as client, trainer(image, IN_A_BLOCK) as process:
        assert len(containers() - before) == 2
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENT_S)
        assert len(containers() - before) == 2, "nobody could stop it"
        swept = LocalDockerProvider.sweep()
        assert len(swept) == 1
        assert set(swept).isdisjoint(containers())
        client.reset()
        assert LocalDockerProvider.sweep() == []


def test_a_wrong_image_is_refused() -> None:
    """By a registry that is not there; its name and the reason are in the message."""
    name = "127.0.0.1:1/no/such-image:1"
    with (
        promptly(),
        pytest.raises(StartError, match=rf"{name}.*could not be pulled.*refused.*check its name"),
    ):
        GenericEnvClient.from_docker_image(name).sync()
    with promptly(), pytest.raises(StartError, match="not the name of an image"):
        GenericEnvClient.from_docker_image("Not A Name").sync()


def test_a_container_that_crashes_says_its_last_words(image: str) -> None:
    """At once, not when the time for becoming ready is over."""
    with (
        promptly(PROMPT_S * 2),
        pytest.raises(StartError, match=r"(?s)(ended|does not run).*MAX_CONCURRENT_ENVS") as caught,
    ):
        GenericEnvClient.from_docker_image(image, env_vars={"MAX_CONCURRENT_ENVS": "many"}).sync()
    assert "'many'" in str(caught.value)


def test_a_container_that_ends_by_itself_is_told_from_one_that_hangs() -> None:
    """The base image does nothing and ends; the mute one does nothing and stays."""
    with promptly(), pytest.raises(StartError, match=r"ended|does not run"):
        GenericEnvClient.from_docker_image(BASE_IMAGE).sync()
    with pytest.raises(ReadyTimeoutError, match=r"within 0\.5 s"):
        GenericEnvClient.from_docker_image(mute_image(), wait_timeout_s=0.5).sync()


def test_a_taken_port_is_refused(image: str) -> None:
    """The message says which."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with promptly(), pytest.raises(StartError, match=rf"(?s)port {port}.*the port is taken"):
            GenericEnvClient.from_docker_image(image, port=port).sync()


def test_a_taken_name_is_refused_and_its_container_left_alone(image: str) -> None:
    """Cleaning up after the failure must not remove somebody else's container."""
    with GenericEnvClient.from_docker_image(image, name="openenv-test-taken").sync() as client:
        with promptly(), pytest.raises(StartError, match="another name"):
            GenericEnvClient.from_docker_image(image, name="openenv-test-taken").sync()
        client.reset()


def test_a_missing_docker_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not installed, and installed with no daemon behind it."""
    launch = GenericEnvClient.from_docker_image("any")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with promptly(), pytest.raises(ProviderMissingError, match="daemon does not answer"):
        launch.sync()
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    launch = GenericEnvClient.from_docker_image("any")
    with promptly(), pytest.raises(ProviderMissingError, match="on PATH"):
        launch.sync()
    # For what is looked up after the test.
    monkeypatch.setenv("PATH", path)
    monkeypatch.delenv("DOCKER_HOST")


def test_the_guides_lines_run_as_written(image: str) -> None:
    """From Docker image, with the image's name put in."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from echo_env import EchoAction, EchoEnv  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(ROOT / "examples"))
    assert issubclass(EchoEnv, EnvClient)

    async def main() -> None:
        client = await EchoEnv.from_docker_image(image)
        async with client:
            result = await client.reset()
            result = await client.step(EchoAction(message="Hello"))
            assert result.observation.echoed_message == "Hello"

    asyncio.run(main())


def test_nothing_is_opened_that_is_not_closed(image: str) -> None:
    """File descriptors and threads are where they were after a container came and went."""
    GenericEnvClient.from_docker_image(image).sync().close()
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc here")
    before = len(os.listdir(folder))
    GenericEnvClient.from_docker_image(image).sync().close()
    assert len(os.listdir(folder)) == before
