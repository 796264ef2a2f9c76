"""Images that `openenv build` and the repository's Dockerfile make, on a real engine: size, start, signals.

One build for all tests, from wheels, since there is no package index inside a container here. The figures
that the tests measure are printed. `python:3.11-slim` is the one base image that can be had here; alpine's
part is tested as what it consists of: its shell and tools, which are busybox's, in an image made of them; its
wheels, in `test_scaffold.py`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from openenv import GenericEnvClient
from openenv.cli.main import main
from tests.support.docker import (
    BASE_IMAGE,
    BUILD_TIMEOUT_S,
    CORE_EXTRA,
    LABEL,
    dependency_wheels,
    docker,
    engine,
)
from tests.support.eventually import eventually
from tests.support.peers import ROOT
from tests.support.scaffold import new_environment

pytestmark = pytest.mark.docker

LIMIT_MB = 25
PATIENT_S = 60.0
TAG = "openenv-test-scaffold:latest"

SLOW = """\
import time

from openenv import Environment, State

from ..models import MyAction, MyObservation


class MyEnvironment(Environment[MyAction, MyObservation, State]):
    def reset(self) -> MyObservation:
        return MyObservation()

    def step(self, action: MyAction) -> MyObservation:
        print("the step has begun", flush=True)
        time.sleep(2)
        return MyObservation(echoed_message="finished")

    @property
    def state(self) -> State:
        return State()
"""
INCUMBENT = {
    "openenv.yaml": "spec_version: 1\nname: old_env\napp: server.app:app\nport: 8000\n",
    "pyproject.toml": (
        '[project]\nname = "openenv-old"\nversion = "0.1.0"\ndependencies = ["openenv-core[core]>=0.2.1"]\n'
    ),
    "__init__.py": "",
    "models.py": """\
from openenv.core.env_server.types import Action, Observation


class OldAction(Action):
    message: str


class OldObservation(Observation):
    echoed: str = ""
""",
    "server/__init__.py": "",
    "server/app.py": """\
from openenv.core.env_server.http_server import create_app

try:
    from ..models import OldAction, OldObservation
    from .old_environment import OldEnvironment
except ImportError:
    from models import OldAction, OldObservation
    from server.old_environment import OldEnvironment

app = create_app(OldEnvironment, OldAction, OldObservation, env_name="old_env")
""",
    "server/old_environment.py": """\
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import State

try:
    from ..models import OldObservation
except ImportError:
    from models import OldObservation


class OldEnvironment(Environment):
    def reset(self, seed=None, episode_id=None, **kwargs):
        return OldObservation(echoed="ready", done=False, reward=0.0)

    def step(self, action, timeout_s=None, **kwargs):
        return OldObservation(echoed=action.message, done=False, reward=1.0)

    @property
    def state(self):
        return State(episode_id="one", step_count=0)
""",
    "server/Dockerfile": (
        "ARG BASE_IMAGE=ghcr.io/meta-pytorch/openenv-base:latest\nFROM ${BASE_IMAGE}\nRUN uv sync\n"
    ),
}
"""An environment as it is written for the incumbent, imports tried in two ways included."""
START = """\
import subprocess, time
begun = time.monotonic()
server = subprocess.Popen(["openenv", "serve", "/app/my_env", "--port", "0"], stdout=subprocess.PIPE)
server.stdout.readline()
print(time.monotonic() - begun)
server.terminate()
server.wait()
"""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print a figure, whatever is captured."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end=" ", flush=True)

    return write


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a new environment."""
    engine()
    folder = new_environment(tmp_path_factory.mktemp("image"))
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["build", str(folder), "-t", TAG, "--offline", str(dependency_wheels())]) == 0
    # What earlier runs had under these names is nobody's now.
    docker("image", "prune", "-f", "--filter", f"label={LABEL}")
    return TAG


@contextlib.contextmanager
def container(image: str, *options: str) -> Iterator[str]:
    """A container while the context is open; its id. Its port is published."""
    name = docker("run", "-d", "--label", f"{LABEL}=1", "-p", "127.0.0.1::8000", *options, image).strip()
    try:
        yield name
    finally:
        docker("rm", "-f", "-v", name)


def url_of(name: str, port: int = 8000) -> str:
    """Where a container's port is published."""
    return f"http://{docker('port', name, f'{port}/tcp').split()[0]}"


def is_healthy(url: str) -> bool:
    """Whether `/health` answers."""
    try:
        with urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def ready(name: str, port: int = 8000) -> str:
    """Wait until a container serves; its URL."""
    url = url_of(name, port)
    eventually(lambda: is_healthy(url), f"health of {name}", PATIENT_S)
    return url


def size_mb(image: str) -> float:
    """Size in millions of bytes, as Docker counts."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def in_image(image: str, script: str) -> str:
    """What a shell in a container of the image prints."""
    return docker("run", "--rm", "--label", f"{LABEL}=1", image, "sh", "-c", script).strip()


def test_the_runtime_adds_little_to_its_base_image(image: str, say: Say) -> None:
    """Environment, runtime and its three dependencies, compiled."""
    added = size_mb(image) - size_mb(BASE_IMAGE)
    say(f"image: {size_mb(image):.1f} MB, {added:.1f} MB over {BASE_IMAGE}")
    assert added <= LIMIT_MB


def test_the_server_is_nobody_and_has_no_tools(image: str) -> None:
    """User 1000 with a home of its own; no pip, cache or wheel in what was added, nothing it may write."""
    assert in_image(image, "id -u; id -un; echo $HOME; test -w $HOME && echo writable").split() == [
        *("1000", "openenv", "/home/openenv", "writable")
    ]
    assert in_image(image, "find /opt/venv /app -name pip -o -name '*.whl' -o -name vendor") == ""
    assert in_image(image, "ls -A /home/openenv; ls /root/.cache /build 2>/dev/null || true") == ""
    assert in_image(image, "command -v gcc cc make || true") == ""
    assert in_image(image, "find /opt/venv /app -writable ! -type l") == ""
    assert (
        in_image(image, "cd /; python -c 'from my_env import MyEnv; print(MyEnv.__module__)'")
        == "my_env.client"
    )


def test_a_container_starts_at_once(image: str, say: Say) -> None:
    """Inside, from the command until all four workers serve; outside, with Docker's share."""
    inside = float(docker("run", "--rm", "--label", f"{LABEL}=1", image, "python", "-c", START))
    begun = monotonic()
    with container(image) as name:
        ready(name)
        outside = monotonic() - begun
    say(f"cold start: {inside:.2f} s in the container, {outside:.2f} s with Docker")
    # A machine that does other things besides is several times slower.
    assert inside < 10


def test_variables_are_honoured(image: str) -> None:
    """HOST, PORT, WORKERS and MAX_CONCURRENT_ENVS; four workers and 100 sessions by default."""
    with container(image) as name:
        ready(name)
        eventually(lambda: "(4 workers, 100 sessions at once)" in docker("logs", name), "the banner")
    own = ("PORT=9001", "HOST=::", "WORKERS=2", "MAX_CONCURRENT_ENVS=7")
    flags = [word for variable in own for word in ("-e", variable)]
    with container(image, *flags, "-p", "127.0.0.1::9001") as name:
        ready(name, 9001)
        eventually(lambda: "(2 workers, 7 sessions at once)" in docker("logs", name), "the banner")


def test_docker_knows_whether_it_is_healthy(image: str) -> None:
    """By the image's own check, which needs no curl."""
    with container(image, "--health-interval", "1s", "--health-start-period", "0s") as name:
        state = ("inspect", "--format", "{{.State.Health.Status}}", name)
        eventually(lambda: docker(*state).strip() == "healthy", "healthy", PATIENT_S)


def test_a_stopped_container_finishes_its_step(image: str, tmp_path: Path, say: Say) -> None:
    """`docker stop` reaches the server, which answers what it has begun and ends with 0."""
    slow = tmp_path / "environment.py"
    slow.write_text(SLOW)
    tmp_path.chmod(0o755)
    answers = []
    with container(image, "-v", f"{slow}:/app/my_env/server/environment.py:ro") as name:
        with GenericEnvClient(base_url=ready(name)).sync() as client:
            client.reset()
            step = threading.Thread(target=lambda: answers.append(client.step({"message": ""})))
            step.start()
            eventually(lambda: "the step has begun" in docker("logs", name), "the step")
            begun = monotonic()
            docker("stop", "-t", "30", name)
            took = monotonic() - begun
            step.join(10)
        assert [answer.observation["echoed_message"] for answer in answers] == ["finished"]
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    say(f"docker stop: {took:.2f} s with a step of 2 s in flight, exit code 0")
    assert took < 10


def test_the_dockerfile_needs_no_more_than_alpine_has(image: str, tmp_path: Path) -> None:
    """Shell and tools are busybox's, there is no bash and no useradd; the image serves all the same."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox on this machine (apt-get install busybox-static)")
    shutil.copy(busybox, tmp_path / "busybox")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY busybox /opt/busybox\n"
        'RUN ["/opt/busybox", "sh", "-c", "for tool in $(/opt/busybox --list); do '
        "for dir in /bin /sbin /usr/bin /usr/sbin; do if [ -e $dir/$tool ]; then "
        "/opt/busybox ln -sf /opt/busybox $dir/$tool; fi; done; done; "
        '/opt/busybox rm -f /bin/bash /usr/sbin/useradd /usr/sbin/adduser"]\n'
    )
    base, tag = "openenv-test-busybox-base:latest", "openenv-test-busybox:latest"
    docker("build", "-q", "--label", f"{LABEL}=1", "-t", base, str(tmp_path), timeout_s=BUILD_TIMEOUT_S)
    folder = new_environment(tmp_path / "env")
    flags = ["--build-arg", f"BASE={base}", "--offline", str(dependency_wheels())]
    assert main(["build", str(folder), "-t", tag, *flags]) == 0
    assert in_image(tag, "readlink /bin/sh; ls /bin/bash /usr/sbin/useradd 2>&- || true") == "/opt/busybox"
    with container(tag) as name:
        ready(name)


def test_the_repositorys_own_image_serves_the_example(tmp_path: Path, say: Say) -> None:
    """Stage `base` is the runtime alone, stage `example` has the echo environment; no index is asked."""
    engine()
    context = tmp_path / "context"
    context.mkdir()
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, context)
    skipped = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "openenv", context / "openenv", ignore=skipped)
    shutil.copytree(ROOT / "examples" / "echo_env", context / "examples" / "echo_env", ignore=skipped)
    shutil.copytree(dependency_wheels(), context / "wheels")
    base, example = "openenv-test-base:latest", "openenv-test-example:latest"
    flags = ("-q", "--label", f"{LABEL}=1", "--build-arg", "PIP_NO_INDEX=1")
    docker("build", *flags, "--target", "base", "-t", base, str(context), timeout_s=BUILD_TIMEOUT_S)
    docker("build", *flags, "-t", example, str(context), timeout_s=BUILD_TIMEOUT_S)
    added = size_mb(base) - size_mb(BASE_IMAGE)
    say(f"base: {added:.1f} MB over {BASE_IMAGE}")
    assert added <= LIMIT_MB
    assert in_image(base, "openenv --version").startswith("openenv ")
    with container(example) as name, GenericEnvClient(base_url=ready(name)).sync() as client:
        client.reset()
        assert client.step({"message": "Hello"}).observation["message_length"] == 5
        assert docker("exec", name, "id", "-u").strip() == "1000"


def test_a_build_that_fails_says_so_after_dockers_own_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the real engine: its output is live, and the last line is ours."""
    engine()
    folder = new_environment(tmp_path)
    (folder / "server" / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN echo about to fail && exit 3\n")
    assert main(["build", str(folder), "-t", "openenv-test-fails:latest"]) == 1
    out, err = capfd.readouterr()
    assert "about to fail" in out + err
    assert re.search(r"openenv: 'docker build' ended with exit code \d+; see what it says above\n$", err)


def test_an_environment_of_the_incumbents_runs_on_our_runtime(tmp_path: Path) -> None:
    """With `--swap-runtime`, and without a change to any of its files."""
    pytest.importorskip("openenv.core.env_server.http_server")
    engine()
    folder = tmp_path / "old_env"
    for name, text in INCUMBENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    tag = "openenv-test-swapped:latest"
    flags = ["--swap-runtime", "--offline", str(dependency_wheels(*CORE_EXTRA))]
    assert main(["build", str(folder), "-t", tag, *flags]) == 0
    assert {name: (folder / name).read_text() for name in INCUMBENT} == INCUMBENT
    with container(tag) as name, GenericEnvClient(base_url=ready(name)).sync() as client:
        client.reset()
        assert client.step({"message": "Hello"}).observation["echoed"] == "Hello"
