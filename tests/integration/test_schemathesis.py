"""schemathesis against a running server: what the OpenAPI document allows, and much that it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.peers import peer
from tests.support.server import serve

TIMEOUT_S = 120
SEED = "5"  # the same cases each time: what it finds can be found again


@pytest.mark.peer
@pytest.mark.parametrize(
    ("target", "n_operations", "flags"),
    [
        ("examples/echo_env", 9, ()),
        # Has tasks. Its step raises when it is told to, which is a 500 as it should be.
        ("tests.support.typed_envs:TasksEnv", 10, ("--exclude-path", "/step")),
    ],
)
def test_schemathesis_finds_nothing(
    target: str, n_operations: int, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Statuses, types, headers and bodies are as described; wrong data is refused, right data taken."""
    python = peer("schemathesis")
    with serve(target) as server:
        done = subprocess.run(
            [
                *(str(python.parent / "schemathesis"), "run", f"{server.url}/openapi.json"),
                *("--checks", "all", "--max-examples", "10", "--seed", SEED, "--no-color"),
                *("--generation-database", "none"),
                *flags,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"Tested: {n_operations}" in done.stdout
