"""Environments in the incumbent's style are the same under our server as under the incumbent's.

Each of `tests/dropin/envs` is served by both and asked the same; `bin/dropin` does the same for any folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.dropin.compare import Report, compare_all, find_environments
from tests.support.eventually import eventually
from tests.support.peers import ROOT, peer
from tests.support.server import answers, free_port, serve

ENVIRONMENTS = find_environments([Path(__file__).parents[1] / "dropin" / "envs"])


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """All of them, compared once: each stack is started once, and at most two servers run at a time."""
    peer("openenv-0.10.0")
    peer("dropin")
    return {report.name: report for report in compare_all(ENVIRONMENTS, n_steps=5, seed=7)}


@pytest.mark.peer
@pytest.mark.parametrize("name", [folder.name for folder in ENVIRONMENTS])
def test_an_environment_is_the_same_under_both(reports: dict[str, Report], name: str) -> None:
    """Rewards, done, metadata, states, schemas, errors and its own routes, by WebSocket and by HTTP."""
    report = reports[name]
    assert report.n_asked > 25
    assert report.differences == [], report.logs


CLIENT = """
import asyncio, sys
sys.path.insert(0, {folder!r})
from layout import CounterAction, CounterEnv

with CounterEnv(base_url={url!r}).sync() as env:
    assert env.reset(seed=3).observation.value == 3
    result = env.step(CounterAction(amount=2))
    assert (result.observation.value, result.reward, result.done) == (5, 0.2, False)
    assert env.state().step_count == 1

async def main():
    async with CounterEnv(base_url={url!r}) as env:
        await env.reset()
        assert (await env.step(CounterAction(amount=11))).done

asyncio.run(main())
"""


def test_a_client_of_the_incumbents_style_talks_to_its_environment() -> None:
    """The package of an environment, imported as its users do, against our server."""
    folder = Path(__file__).parents[1] / "dropin" / "envs"
    with serve(str(folder / "layout")) as server:
        program = CLIENT.format(folder=str(folder), url=server.url)
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_main_runs_uvicorn() -> None:
    """`python server/app.py --port N`, as nearly every environment can be started."""
    folder = Path(__file__).parents[1] / "dropin" / "envs" / "everything_given"
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "server/app.py", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "an answered /health", timeout_s=60)
    finally:
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)


def test_any_asgi_application_is_served(tmp_path: Path) -> None:
    """`openenv serve` needs no environment of ours."""
    source = (
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'http':\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        await send({'type': 'http.response.body', 'body': scope['path'].encode()})\n"
    )
    (tmp_path / "plain.py").write_text(source)
    with (
        serve(str(tmp_path / "plain.py"), workers=2) as server,
        urlopen(f"{server.url}/any/path", timeout=10) as response,
    ):
        assert response.read() == b"/any/path"
