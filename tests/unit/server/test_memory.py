"""Memory that was given back is given back to the kernel as well."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.peers import ROOT

_PROGRAM = """
import sys
from pathlib import Path
from openenv.server.memory import give_back_soon

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "soon":
    give_back_soon()
kept = []
begun = resident()
for _ in range(5):
    large = []
    for _ in range(10):
        large.append(bytearray(b"x") * (3 << 20))
        kept.append(bytearray(b"x") * 2000)
    del large
print(resident() - begun)
"""


def _kept(how: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_large_allocations_leave_nothing_behind() -> None:
    """30 MB are taken and freed again and again, among small ones that stay."""
    assert _kept("soon") < 4 * 2**20
