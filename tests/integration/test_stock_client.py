"""The incumbent's own client, from its own virtual environment, against our server.

The scenarios are in ``stock/drive.py``, which runs there. One server serves them all, so that each
also starts where another client has been.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import peer
from tests.support.server import Server, serve

pytestmark = pytest.mark.peer

MODULE = "tests.conformance.reference_native"
DRIVE = Path(__file__).parent / "stock" / "drive.py"
N_STEPS = 1000


def drive(scenario: str, server: Server) -> dict[str, Any]:
    """Run one scenario against the server; gives what it saw."""
    python = peer("openenv-0.10.0")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(python), str(DRIVE), scenario, server.url],
            cwd=elsewhere,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, f"{done.stderr}\n--- server ---\n{server.log}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(f"{MODULE}:app", workers=request.param) as running:
        yield running


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def narrow(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(f"{MODULE}:narrow", workers=request.param) as running:
        yield running


def test_typed_async_client_plays_a_thousand_steps(server: Server) -> None:
    """Reset, 1,000 steps, state, an invalid action, an author's error, and the session goes on."""
    assert drive("typed_async", server) == {"steps": N_STEPS + 2, "episodes": 1, "last_op": "finish"}


def test_typed_sync_client_plays_a_thousand_steps(server: Server) -> None:
    """The same through ``.sync()``."""
    assert drive("typed_sync", server) == {"steps": N_STEPS, "episodes": 2, "last_op": "echo"}


@pytest.mark.parametrize("scenario", ["generic_async", "generic_sync"])
def test_generic_client_plays_a_thousand_steps(server: Server, scenario: str) -> None:
    """Without the environment's classes: dicts both ways."""
    assert drive(scenario, server) == {"steps": N_STEPS, "episodes": 1, "last_op": "echo"}


def test_client_receives_and_sends_large_messages(server: Server) -> None:
    """20 MB observations, larger than what most servers let through by default."""
    assert drive("large", server) == {"received": 20_000_000}


@pytest.mark.parametrize(("scenario", "sessions"), [("reconnect_async", 75), ("reconnect_sync", 50)])
def test_client_reconnects_at_once_where_one_session_is_allowed(
    narrow: Server, scenario: str, sessions: int
) -> None:
    """The slot is free by the time that the closing handshake is over."""
    assert drive(scenario, narrow) == {"sessions": sessions}


def test_refused_client_reads_why(narrow: Server) -> None:
    """The error frame arrives before the close."""
    seen = drive("refused", narrow)
    assert seen["refusal"] == (
        "Server error: Server at capacity: 1/1 sessions active. Cannot accept new connections. "
        "(code: CAPACITY_REACHED)"
    )
