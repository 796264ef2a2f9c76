"""`LocalDockerProvider`: what it asks of Docker, and what it makes of the answers; Docker is a script."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from openenv.containers import LocalDockerProvider, provider, running
from openenv.containers.owner import this_process
from openenv.errors import ProviderError, ProviderMissingError, ReadyTimeoutError, StartError
from tests.support.eventually import eventually
from tests.support.fake_program import FakeProgram, fake_program

CONTAINER = "c0ffee"
FOREVER = "exec sleep 60"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProgram]:
    """A Docker that starts `CONTAINER` on port 32768, which never ends by itself."""
    program = fake_program("docker", tmp_path, monkeypatch)
    program.says("run", f"{CONTAINER}\n")
    program.says("port", "127.0.0.1:32768\n")
    program.says("wait", script=FOREVER)
    before = dict(running._held)
    yield program
    left = {key: value for key, value in running._held.items() if key not in before}
    for key in left:
        del running._held[key]
    assert not left, "a provider that was not stopped"


class Health:
    """Answers to `/health`, the last of which is repeated."""

    def __init__(self, *answers: tuple[bool, str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, timeout_s: float) -> tuple[bool, str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> Health:
    """A server that answers at once, unless the test says otherwise."""
    answers = Health((True, "200 OK"))
    monkeypatch.setattr(provider, "answers_health", answers)
    return answers


def options_of(call: list[str], flag: str) -> list[str]:
    """What follows a flag, for each time that it is there."""
    return [value for name, value in pairwise(call) if name == flag]


def test_docker_chooses_the_port_and_is_asked_for_it(docker: FakeProgram) -> None:
    """No port is guessed here: what Docker published is what the URL says."""
    local = LocalDockerProvider()
    assert local.start_container("echo-env:latest") == "http://127.0.0.1:32768"
    (run,) = docker.commands("run")
    assert options_of(run, "-p") == ["127.0.0.1::8000"]
    assert run[-1] == "echo-env:latest"
    assert docker.commands("port") == [["port", CONTAINER, "8000/tcp"]]
    assert local.container_id == CONTAINER
    local.stop_container()


def test_options_become_arguments(docker: FakeProgram) -> None:
    """Everything that can be asked for reaches `docker run`, before the image."""
    local = LocalDockerProvider()
    url = local.start_container(
        "echo-env",
        port=9001,
        env_vars={"KEY": "a value=with signs"},
        workers=2,
        name="mine",
        cpus=1.5,
        memory="512m",
        container_port=7860,
        run_args=["--gpus", "all"],
    )
    assert url == "http://127.0.0.1:9001"
    (run,) = docker.commands("run")
    assert options_of(run, "-p") == ["127.0.0.1:9001:7860"]
    assert options_of(run, "-e") == ["KEY=a value=with signs", "WORKERS=2"]
    assert options_of(run, "--name") == ["mine"]
    assert options_of(run, "--cpus") == ["1.5"]
    assert options_of(run, "--memory") == ["512m"]
    assert run[-3:] == ["--gpus", "all", "echo-env"]
    assert docker.commands("port") == [], "a port that was given need not be asked for"
    local.stop_container()


def test_the_port_variable_says_where_the_server_listens_inside(docker: FakeProgram) -> None:
    """An image that is told another PORT is reached there."""
    local = LocalDockerProvider()
    local.start_container("echo-env", env_vars={"PORT": "7860"})
    assert options_of(docker.commands("run")[0], "-p") == ["127.0.0.1::7860"]
    local.stop_container()


def test_a_port_variable_that_is_no_port_is_refused(docker: FakeProgram) -> None:
    """The container would not start either, with less to say about it."""
    with pytest.raises(ValueError, match="PORT"):
        LocalDockerProvider().start_container("echo-env", env_vars={"PORT": "here"})
    assert docker.commands("run") == []


def test_an_unknown_option_is_refused(docker: FakeProgram) -> None:
    """A typing mistake is not silently ignored."""
    with pytest.raises(TypeError, match="memroy"):
        LocalDockerProvider().start_container("echo-env", memroy="1g")
    assert docker.calls == []


def test_containers_say_whose_they_are(docker: FakeProgram) -> None:
    """The labels by which `sweep` finds orphans, and a name that people recognise."""
    local = LocalDockerProvider()
    local.start_container("registry.hf.space/openenv-echo-env:latest")
    (run,) = docker.commands("run")
    labels = dict(label.split("=", 1) for label in options_of(run, "--label"))
    assert labels["org.openenv.client"].split("-")[0] == this_process().split("/")[-2]
    assert labels["org.openenv.owner"] == this_process()
    assert "T" in labels["org.openenv.started"]
    assert options_of(run, "--name")[0].startswith("openenv-openenv-echo-env-")
    local.stop_container()


def test_an_image_that_is_missing_is_pulled(docker: FakeProgram) -> None:
    """Once, and then started."""
    docker.says("run", err="docker: Error response from daemon: No such image: x:1.", code=125, at=1)
    local = LocalDockerProvider()
    local.start_container("x:1", platform="linux/amd64")
    assert [call[0] for call in docker.calls] == ["run", "pull", "run", "port"]
    assert docker.commands("pull") == [["pull", "-q", "--platform", "linux/amd64", "x:1"]]
    assert options_of(docker.commands("run")[1], "--platform") == ["linux/amd64"]
    local.stop_container()


def test_an_image_that_cannot_be_pulled_has_its_own_error(docker: FakeProgram) -> None:
    """It says what Docker said, and what to check."""
    docker.says("run", err="Unable to find image 'x:1' locally", code=125)
    docker.says("pull", err="Error response from daemon: pull access denied for x", code=1)
    with pytest.raises(StartError, match=r"'x:1'.*could not be pulled.*pull access denied.*check its name"):
        LocalDockerProvider().start_container("x:1")


@pytest.mark.parametrize(
    ("said", "kind", "advice"),
    [
        (
            "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
            "Is the docker daemon running?",
            ProviderMissingError,
            "daemon does not answer",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            ProviderMissingError,
            "group docker",
        ),
        ("Bind for 127.0.0.1:9001 failed: port is already allocated.", StartError, "the port is taken"),
        ("listen tcp4 127.0.0.1:9001: bind: address already in use", StartError, "the port is taken"),
        ('The container name "/mine" is already in use by container', StartError, "another name"),
        ("docker: invalid reference format.", StartError, "not the name of an image"),
        ("OCI runtime create failed: executable file not found in $PATH", StartError, "OCI runtime"),
    ],
)
def test_what_docker_refuses_is_said_in_our_words_and_its(
    docker: FakeProgram, said: str, kind: type[ProviderError], advice: str
) -> None:
    """One class per decision that a caller can take; the message has Docker's line and what to do."""
    docker.says("run", err=f"docker: {said}\nSee 'docker run --help'.", code=125)
    with pytest.raises(ProviderError, match=advice) as caught:
        LocalDockerProvider().start_container("echo-env", port=9001)
    assert type(caught.value) is kind
    assert said.removeprefix("docker: ") in str(caught.value)
    assert "--help" not in str(caught.value)


def test_a_container_that_was_made_and_refused_is_removed(docker: FakeProgram) -> None:
    """`docker run` leaves one behind where only its port was taken; it is found by its label."""
    docker.says("run", err="port is already allocated", code=125)
    docker.says("ps", "0dd\n")
    with pytest.raises(StartError):
        LocalDockerProvider().start_container("echo-env")
    (run,), (ps,) = docker.commands("run"), docker.commands("ps")
    assert f"label={options_of(run, '--label')[0]}" in ps
    assert docker.commands("rm") == [["rm", "-f", "-v", "0dd"]]


def test_without_docker_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Making a provider asks nothing; starting does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    local = LocalDockerProvider()
    with pytest.raises(ProviderMissingError, match=r"'docker' on PATH.*install"):
        local.start_container("echo-env")
    local.stop_container()


def test_a_container_is_ready_when_health_answers(docker: FakeProgram, health: Health) -> None:
    """However often it refused before."""
    health.answers = [(False, "Connection refused"), (False, "503 Service Unavailable"), (True, "200 OK")]
    local = LocalDockerProvider()
    url = local.start_container("echo-env")
    local.wait_for_ready(url, timeout_s=5)
    assert health.asked == 3
    local.stop_container()
    assert docker.commands("stop") == [["stop", "-t", "5", CONTAINER]]
    assert docker.commands("rm") == [["rm", "-f", "-v", CONTAINER]]
    assert local.container_id is None


def test_a_container_that_ends_says_its_last_words_at_once(docker: FakeProgram, health: Health) -> None:
    """Nobody waits for the time limit to learn of a crash."""
    health.answers = [(False, "Connection refused")]
    docker.says("wait", "3\n")
    docker.says("logs", out="starting\n", err="ModuleNotFoundError: No module named 'x'\n")
    local = LocalDockerProvider()
    url = local.start_container("echo-env")
    with pytest.raises(StartError, match=r"(?s)exit code 3.*No module named 'x'"):
        local.wait_for_ready(url, timeout_s=50)
    local.stop_container()
    assert docker.commands("stop") == [], "what is not ready has nothing to put in order"


def test_a_container_that_ended_before_its_port_was_asked_says_its_last_words(docker: FakeProgram) -> None:
    """A container that is gone has no ports."""
    docker.says("port", err="Error: No public port '8000/tcp' published for c0ffee", code=1)
    docker.says("logs", err="cannot start\n")
    with pytest.raises(StartError, match=r"(?s)does not run.*cannot start"):
        LocalDockerProvider().start_container("echo-env")
    assert docker.commands("rm") == [["rm", "-f", "-v", CONTAINER]]


def test_a_container_that_never_answers_runs_out_of_time(docker: FakeProgram, health: Health) -> None:
    """The message says what was seen last, and what the container wrote."""
    health.answers = [(False, "503 Service Unavailable")]
    docker.says("logs", out="still loading\n")
    local = LocalDockerProvider()
    url = local.start_container("echo-env")
    with pytest.raises(ReadyTimeoutError, match=r"(?s)within 0\.05 s, got 503.*still loading") as caught:
        local.wait_for_ready(url, timeout_s=0.05)
    assert isinstance(caught.value, TimeoutError)
    local.stop_container()


def test_a_container_can_be_stopped_while_it_is_waited_for(docker: FakeProgram, health: Health) -> None:
    """From another thread; the waiting ends at once."""
    health.answers = [(False, "Connection refused")]
    local = LocalDockerProvider()
    url = local.start_container("echo-env")
    stopper = threading.Thread(
        target=lambda: (eventually(lambda: health.asked > 1, "a look"), local.stop_container())
    )
    stopper.start()
    with pytest.raises(StartError, match="stopped before it was ready"):
        local.wait_for_ready(url, timeout_s=50)
    stopper.join()
    assert docker.commands("rm") == [["rm", "-f", "-v", CONTAINER]]


def test_a_pull_ends_when_the_container_is_stopped(docker: FakeProgram) -> None:
    """A large image is not loaded to its end for nobody."""
    docker.says("run", err="No such image: x", code=125)
    docker.says("pull", script=FOREVER)
    local = LocalDockerProvider()
    stopper = threading.Thread(
        target=lambda: (eventually(lambda: docker.commands("pull"), "a pull"), local.stop_container())
    )
    stopper.start()
    with pytest.raises(StartError, match="stopped while its image was pulled"):
        local.start_container("x")
    stopper.join()


def test_a_container_that_is_being_made_during_ctrl_c_is_removed(docker: FakeProgram) -> None:
    """Docker gets to finish, because what it made is then known."""
    docker.says("run", f"{CONTAINER}\n", script="sleep 0.2")
    docker.says("ps", f"{CONTAINER}\n")
    interrupter = threading.Thread(
        target=lambda: (
            eventually(lambda: docker.commands("run"), "a start"),
            os.kill(os.getpid(), signal.SIGINT),
        )
    )
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        LocalDockerProvider().start_container("echo-env")
    interrupter.join()
    assert docker.commands("rm") == [["rm", "-f", "-v", CONTAINER]]


def test_stopping_nothing_does_nothing(docker: FakeProgram) -> None:
    """And stopping twice is stopping once."""
    local = LocalDockerProvider()
    local.stop_container()
    local.start_container("echo-env")
    local.stop_container()
    calls = len(docker.calls)
    local.stop_container()
    assert len(docker.calls) == calls


def test_a_container_that_somebody_else_removed_is_stopped(docker: FakeProgram) -> None:
    """Gone is what was wanted."""
    docker.says("rm", err="Error: No such container: c0ffee", code=1)
    local = LocalDockerProvider()
    local.start_container("echo-env")
    local.stop_container()
    assert local.container_id is None


def test_a_container_that_cannot_be_removed_is_said_and_tried_again(docker: FakeProgram) -> None:
    """The provider keeps its id until Docker has let go of it."""
    docker.says("rm", err="Error response from daemon: device or resource busy", code=1, at=1)
    local = LocalDockerProvider()
    local.start_container("echo-env")
    with pytest.raises(ProviderError, match=r"c0ffee to be removed.*busy"):
        local.stop_container()
    local.stop_container()
    assert local.container_id is None


def test_a_provider_can_be_used_once_the_daemon_is_back(docker: FakeProgram) -> None:
    """A daemon that was down holds nothing that would have to be stopped first."""
    down = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    for command in ("run", "ps"):
        docker.says(command, err=down, code=1, at=1)
    local = LocalDockerProvider()
    with pytest.raises(ProviderMissingError):
        local.start_container("echo-env")
    assert local.start_container("echo-env") == "http://127.0.0.1:32768"
    local.stop_container()


def test_one_provider_runs_one_container(docker: FakeProgram) -> None:
    """A second start is refused and leaves the first one running."""
    local = LocalDockerProvider()
    local.start_container("echo-env")
    with pytest.raises(StartError, match="already runs"):
        local.start_container("echo-env")
    assert docker.commands("rm") == []
    local.stop_container()
    local.start_container("echo-env")
    local.stop_container()


def test_a_provider_reused_while_it_runs_keeps_what_it_runs(docker: FakeProgram, health: Health) -> None:
    """Also by way of a client, which cleans up after its own failures only."""
    local = LocalDockerProvider()
    running.start(local, "echo-env")
    with pytest.raises(StartError, match="already runs"):
        running.start(local, "echo-env")
    assert docker.commands("rm") == []
    running.stop(local)


def test_the_sweep_removes_what_nobody_owns_any_more(docker: FakeProgram) -> None:
    """And neither what lives, nor what other hosts own, nor what it cannot read."""
    mine = this_process()
    host, namespace, boot, pid, began = mine.split("/")
    rows = {
        "lives": mine,
        "reused": f"{host}/{namespace}/{boot}/{pid}/1",
        "rebooted": f"{host}/{namespace}/another-boot/{pid}/{began}",
        "elsewhere": f"other-{host}/{namespace}/{boot}/999999999/1",
        "dead": f"{host}/{namespace}/{boot}/999999999/1",
        "unreadable": "nobody knows",
        "unlabelled": "",
    }
    docker.says("ps", "".join(f"{name}\t{owner}\n" for name, owner in rows.items()))
    assert LocalDockerProvider.sweep() == ["reused", "rebooted", "dead"]
    assert docker.commands("rm") == [["rm", "-f", "-v", "reused", "rebooted", "dead"]]


def test_a_sweep_that_finds_nothing_removes_nothing(docker: FakeProgram) -> None:
    """`docker rm` without a name would be an error."""
    assert LocalDockerProvider.sweep() == []
    assert docker.commands("rm") == []
