"""A real browser for tests: Debian's Chromium, driven by Node scripts with playwright-core and axe-core.

In: a script and its arguments. Out: the JSON object that it prints. A test that asks for a browser where
there is none is skipped with the reason.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import node_peer

SCRIPTS = Path(__file__).resolve().parents[1] / "integration" / "browser"
TIMEOUT_S = 600.0


def chromium() -> str:
    """The path of a Chromium; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        program = shutil.which(name)
        if program is not None:
            return program
    pytest.skip("no chromium on this machine: apt-get install chromium")


def run_script(name: str, *arguments: str | Path) -> Any:
    """Run ``tests/integration/browser/NAME`` with the packages' folder, Chromium and the arguments.

    Returns:
        What it printed last, decoded.
    """
    program = chromium()
    packages = node_peer("node-browser")
    done = subprocess.run(
        ["node", str(SCRIPTS / name), str(packages), program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout.strip().splitlines()[-1])
