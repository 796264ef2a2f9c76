"""The incumbent's own client, from its own virtual environment, against our server.

The scenarios are in ``stock/drive.py``, which runs there. One server serves them all, so that each
also starts where another client has been.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import peer
from tests.support.server import Server, serve

pytestmark = pytest.mark.peer

MODULE = "tests.conformance.reference_native"
DRIVE = Path(__file__).parent / "stock" / "drive.py"
N_STEPS = 1000
TIMEOUT_S = 300

Seen = dict[str, dict[str, Any]]


def drive(server: Server, *scenarios: str) -> Seen:
    """Run scenarios one after another in one process; gives what each saw."""
    python = peer("openenv-0.10.0")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(python), str(DRIVE), server.url, *scenarios],
            cwd=elsewhere,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, f"{done.stderr}\n--- server ---\n{server.log}"
    seen: Seen = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def wide(request: pytest.FixtureRequest) -> Seen:
    """What the scenarios saw of a server that takes many sessions."""
    with serve(f"{MODULE}:app", workers=request.param) as running:
        return drive(running, "typed_async", "typed_sync", "generic_async", "generic_sync", "large")


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def narrow(request: pytest.FixtureRequest) -> Seen:
    """What the scenarios saw of a server that takes one session at a time."""
    with serve(f"{MODULE}:narrow", workers=request.param) as running:
        return drive(running, "reconnect_async", "reconnect_sync", "refused")


def test_typed_async_client_plays_a_thousand_steps(wide: Seen) -> None:
    """Reset, 1,000 steps, state, an invalid action, an author's error, and the session goes on."""
    assert wide["typed_async"] == {"steps": N_STEPS + 2, "episodes": 1, "last_op": "finish"}


def test_typed_sync_client_plays_a_thousand_steps(wide: Seen) -> None:
    """The same through ``.sync()``."""
    assert wide["typed_sync"] == {"steps": N_STEPS, "episodes": 2, "last_op": "echo"}


@pytest.mark.parametrize("scenario", ["generic_async", "generic_sync"])
def test_generic_client_plays_a_thousand_steps(wide: Seen, scenario: str) -> None:
    """Without the environment's classes: dicts both ways."""
    assert wide[scenario] == {"steps": N_STEPS, "episodes": 1, "last_op": "echo"}


def test_client_receives_and_sends_large_messages(wide: Seen) -> None:
    """20 MB observations, larger than what most servers let through by default."""
    assert wide["large"] == {"received": 20_000_000}


@pytest.mark.parametrize(("scenario", "sessions"), [("reconnect_async", 75), ("reconnect_sync", 50)])
def test_client_reconnects_at_once_where_one_session_is_allowed(
    narrow: Seen, scenario: str, sessions: int
) -> None:
    """The slot is free by the time that the closing handshake is over."""
    assert narrow[scenario] == {"sessions": sessions}


def test_refused_client_reads_why(narrow: Seen) -> None:
    """The error frame arrives before the close."""
    assert narrow["refused"] == {
        "refusal": "Server error: Server at capacity: 1/1 sessions active. Cannot accept new connections. "
        "(code: CAPACITY_REACHED)"
    }
