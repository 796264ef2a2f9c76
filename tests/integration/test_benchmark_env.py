"""The benchmark environment as its users have it: installed alone, served, loaded, in a container."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from openenv import GenericEnvClient
from tests.support.docker import containers
from tests.support.example import (
    EXAMPLES,
    build_image,
    clean_environ,
    install_alone,
    run_own_tests,
    stock_play,
)
from tests.support.peers import ROOT
from tests.support.server import Server, serve, serve_uvicorn

TARGET = "benchmark.server.app:app"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has it, and of this repository nothing but the wheel."""
    return install_alone("benchmark", tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def server(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What is installed, served by two workers."""
    elsewhere = tmp_path_factory.mktemp("served")
    with serve(TARGET, python=python, cwd=elsewhere, env=clean_environ(), workers=2) as running:
        yield running


def test_its_own_tests_pass_where_it_is_installed_alone(python: Path, tmp_path: Path) -> None:
    """From a wheel of the runtime and its own folder."""
    assert "passed" in run_own_tests("benchmark", python, tmp_path)


@pytest.mark.peer
def test_the_stock_client_plays_it(server: Server) -> None:
    """Waits, computes and payloads as it asked for, and the state counts them."""
    actions = [{"wait_s": 0.05}, {"cpu_s": 0.02, "payload_bytes": 10}]
    reset, waited, computed, last = stock_play(server.url, actions, episode_id="mine")
    assert reset["done"] is False
    assert waited["observation"]["waited_s"] > 0.04
    assert computed["observation"]["cpu_used_s"] >= 0.02
    assert computed["observation"]["payload"] == "x" * 10
    assert waited["observation"]["session_id"] == reset["observation"]["session_id"]
    assert last["state"]["step_count"] == 2
    assert last["state"]["episode_id"] == "mine"


def test_uvicorn_serves_it_from_the_folder_above() -> None:
    """As the guide writes it: `uvicorn benchmark.server.app:app`."""
    path = f"{EXAMPLES}:{ROOT}"
    with (
        serve_uvicorn(TARGET, "--app-dir", str(EXAMPLES), env={"PYTHONPATH": path}) as running,
        GenericEnvClient(base_url=running.url).sync() as client,
    ):
        client.reset()
        assert client.step({"payload_bytes": 3}).observation["payload"] == "xxx"


def test_a_load_is_measured_printed_written_and_drawn(python: Path, server: Server, tmp_path: Path) -> None:
    """By the command of the README; every session succeeds, and both workers are seen."""
    report, drawing = tmp_path / "load.json", tmp_path / "load.svg"
    command = [str(python), "-m", "benchmark.load", "--url", f"{server.ws_url}", "--sessions", "16,100"]
    command += ["--wait", "0.2", "--steps", "2", "--json", str(report), "--plot", str(drawing)]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environ(), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "largest batch with at least 95% success: 100" in done.stdout
    written = json.loads(report.read_text())
    assert [(batch["sessions"], batch["success"]) for batch in written["batches"]] == [(16, 1.0), (100, 1.0)]
    assert written["batches"][1]["workers"] == 2
    assert 0.4 < written["batches"][1]["total_p50_s"] < 20  # one after the other they would take 40
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")


def test_a_load_on_nothing_says_what_failed(python: Path, tmp_path: Path) -> None:
    """With the reason and how often, and an exit code of its own."""
    command = [str(python), "-m", "benchmark.load", "--url", "ws://127.0.0.1:1", "--sessions", "3"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environ(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "3 sessions, failed 3 times: ConnectError: /ws: connection refused" in done.stdout
    assert "largest batch with at least 95% success: none" in done.stdout


def test_waits_of_others_do_not_wait_for_a_session_that_computes(python: Path, tmp_path: Path) -> None:
    """One worker; while four sessions compute, short waits stay short."""

    async def main(url: str) -> float:
        async def compute() -> None:
            async with GenericEnvClient(base_url=url) as client:
                await client.reset()
                await client.step({"cpu_s": 0.8})

        async with GenericEnvClient(base_url=url) as client:
            await client.reset()
            computing = asyncio.gather(*(compute() for _ in range(4)))
            took = []
            while not computing.done():
                begun_at = time.perf_counter()
                await client.step({"wait_s": 0.01})
                took.append(time.perf_counter() - begun_at)
            await computing
            return sorted(took)[len(took) // 2]

    with serve(TARGET, python=python, cwd=tmp_path, env=clean_environ()) as running:
        assert asyncio.run(main(running.url)) < 0.4


def test_it_is_valid(python: Path) -> None:
    """`openenv validate` has nothing to say against it."""
    command = [str(python), "-m", "openenv", "validate", str(EXAMPLES / "benchmark")]
    done = subprocess.run(
        command, env=clean_environ(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.docker
def test_a_container_of_it_serves() -> None:
    """Built by its own Dockerfile, and gone afterwards."""
    image = build_image("benchmark", "openenv-test-benchmark:latest")
    before = containers()
    with GenericEnvClient.from_docker_image(image).sync() as client:
        client.reset()
        observation = client.step({"wait_s": 0.01, "payload_bytes": 5}).observation
        assert observation["payload"] == "xxxxx"
        assert observation["worker"] == f"{observation['host']}:{observation['pid']}"
    assert containers() == before
