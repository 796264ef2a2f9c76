"""Everything that the guide shows a user type in Python works as written.

Its blocks run as they stand in ``deploying-an-environment.md``: only URLs, the image and the repository are
others, because nothing here is reached over the internet. What starts a container needs a Docker engine; all
else runs without one, against our server and against those of the incumbent.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openenv.containers import docker as docker_provider
from openenv.models import StepResult
from tests.support.docker import containers, docker, echo_image, engine
from tests.support.guide import (
    COPIES,
    GUIDE,
    guide_blocks,
    python_blocks,
    run,
    starts_a_container,
    substituted,
    without,
)
from tests.support.peers import ROOT
from tests.support.server import Server, serve, serve_incumbent

BLOCKS = dict(zip(COPIES, guide_blocks(), strict=False)) if GUIDE.exists() else COPIES
CLIENTS_ONLY = {name: without(block, starts_a_container) for name, block in BLOCKS.items()}
WITH_A_CONTAINER = [name for name in BLOCKS if BLOCKS[name] != CLIENTS_ONLY[name]]

# What the blocks print: "ready" stands for whatever an environment says on reset.
PRINTED: dict[str, list[str]] = {
    "server": [],
    "repository": [],
    "workflow": [],
    "connect": ["Hello", "Hello"],
    "demo": ["ready", "Hello", "ready", "Hello"],
}
PRINTED_WITH_A_CONTAINER = {"workflow": [], "connect": ["Hello", "ready", "Hello"]}

THEIRS = [pytest.param(name, marks=pytest.mark.peer) for name in ("openenv-0.10.0", "openenv-core-0.2.3")]


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    """Our server with the echo environment."""
    with serve(str(ROOT / "examples" / "echo_env")) as running:
        yield running


@pytest.fixture(scope="module", params=["ours", *THEIRS])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Servers of echo environments that the same client can speak to."""
    if request.param == "ours":
        yield request.getfixturevalue("ours")
        return
    with serve_incumbent("tests.bench.envs.incumbent_echo:app", name=request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's package, as after installing it, under both names by which the guide imports it."""
    example = ROOT / "examples" / "echo_env"
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "echo_env").symlink_to(example)
    (tmp_path / "echo_env").symlink_to(example)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("echo_env", "envs"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def space() -> Iterator[tuple[str, str]]:
    """An image, and the id of a Space whose image it is as well; no container of ours is left."""
    engine()
    image = echo_image()
    of_the_space = "registry.hf.space/openenv-test-echo:latest"
    docker("tag", image, of_the_space)
    before = containers(docker_provider.LABEL)
    try:
        yield image, "openenv/test-echo"
    finally:
        docker("rmi", "--no-prune", of_the_space)
    assert containers(docker_provider.LABEL) == before


def printed(text: str) -> list[str]:
    """Of each observation that was printed, one to a line, what was echoed in it."""
    echoed = [re.findall(r"echoed_message='([^']*)'", line) for line in text.splitlines()]
    assert all(len(found) == 1 for found in echoed), text
    return ["Hello" if found == ["Hello"] else "ready" for found in echoed]


def check_typed(names: dict[str, Any]) -> None:
    """The last result of a block is one of the client's own types."""
    if "result" in names:
        assert type(names["result"]) is StepResult
        assert type(names["result"].observation) is sys.modules["echo_env"].EchoObservation


def test_the_copies_are_the_guides_blocks() -> None:
    """All of them, letter by letter; where there is no guide, the copies are what is run."""
    if not GUIDE.exists():
        pytest.skip(f"{GUIDE} is not on this machine")
    assert guide_blocks() == list(COPIES.values())


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_runs_as_written(name: str, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """With every server, as a whole, but for the statements that start a container."""
    names = run(substituted(CLIENTS_ONLY[name], server.url))
    assert printed(capsys.readouterr().out) == PRINTED[name]
    check_typed(names)


def test_the_synchronous_half_runs_without_a_loop(ours: Server) -> None:
    """The block that awaits outside a function has both in it; a script would have the latter alone."""
    block = without(BLOCKS["server"], lambda statement: isinstance(statement, ast.AsyncWith))
    assert "async with" not in block
    assert "await" not in block
    names = run(substituted(block, ours.url))
    assert names["result"].observation.echoed_message == "Hello"
    check_typed(names)


def test_the_asynchronous_half_runs_alone(ours: Server) -> None:
    """Nothing of it depends on the synchronous client that follows it."""
    block = without(BLOCKS["server"], lambda statement: isinstance(statement, ast.With))
    assert ".sync() as" not in block
    names = run(substituted(block, ours.url))
    assert names["result"].observation.echoed_message == "Hello"
    check_typed(names)


def test_classes_come_from_both_places(ours: Server) -> None:
    """`envs.echo_env` and `echo_env`: an action made after installation is one that the client takes."""
    action = run(BLOCKS["repository"])["action"]
    assert action.message == "Hello"
    assert type(action).__module__ == "envs.echo_env.models"
    with sys.modules["envs.echo_env"].EchoEnv(base_url=ours.url).sync() as client:
        client.reset()
        assert client.step(action).observation.echoed_message == "Hello"


def test_the_examples_own_lines_run_as_written(ours: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """What the echo environment's README shows, against the server that it describes."""
    readme = (ROOT / "examples" / "echo_env" / "README.md").read_text("utf-8")
    (block,) = python_blocks(readme)
    check_typed(run(substituted(block, ours.url)))
    assert capsys.readouterr().out == "Hello 0.5\n"


def test_only_two_blocks_start_containers() -> None:
    """So that what runs without an engine is known, and is nearly everything."""
    assert list(PRINTED_WITH_A_CONTAINER) == WITH_A_CONTAINER
    for name in WITH_A_CONTAINER:
        whole, rest = BLOCKS[name].splitlines(), CLIENTS_ONLY[name].splitlines()
        assert {line.strip() for line in whole} - {line.strip() for line in rest} <= {
            'client = await EchoEnv.from_env("openenv/echo-env")  # Auto-pulls and runs',
            'client = await EchoEnv.from_docker_image("<local_docker_image>")',
            "async with client:",
        }


@pytest.mark.docker
@pytest.mark.parametrize("name", PRINTED_WITH_A_CONTAINER)
def test_a_block_that_starts_a_container_runs_as_written(
    name: str, ours: Server, space: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`from_docker_image`, and `from_env` with the Space's image where a pull would have put it."""
    names = run(substituted(BLOCKS[name], ours.url, *space))
    assert printed(capsys.readouterr().out) == PRINTED_WITH_A_CONTAINER[name]
    check_typed(names)
