"""Makes the recordings: plays every case against the incumbent and writes down what it said.

``python -m tests.conformance.record [--only PATTERN]``. In: ``cases.py``. Out:
``transcripts/<group>.jsonl``, one file per first word of the case names; the first line names the
versions that were recorded, each further line is one case with its steps and replies. The incumbent
is installed into a virtual environment of its own (``tests/support/peers.py``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.cases import CASES, TARGETS, Case
from tests.conformance.player import TcpPipe, play
from tests.support.peers import install
from tests.support.server import Server, serve_incumbent

TRANSCRIPTS = Path(__file__).parent / "transcripts"
PEER = "openenv-0.10.0"
VERSIONED = ("openenv", "fastapi", "starlette", "pydantic", "pydantic_core", "uvicorn", "websockets")


def versions() -> dict[str, str]:
    """Versions of what is recorded, as the peer's own interpreter sees them."""
    program = (
        "import importlib.metadata as m, json, platform;"
        f"versions = {{name: m.version(name) for name in {VERSIONED!r}}};"
        "print(json.dumps({'python': platform.python_version(), **versions}))"
    )
    command = [str(install(PEER)), "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def record(cases: list[Case]) -> dict[str, dict[str, Any]]:
    """Play the cases against the incumbent; gives transcript lines by case name."""
    lines: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for case in cases:
            if case.app not in servers:
                target = TARGETS[case.app]
                name = f"tests.conformance.reference_incumbent:{target.attribute}"
                servers[case.app] = stack.enter_context(serve_incumbent(name, env=dict(target.env)))
            server = servers[case.app]
            replies = play(list(case.steps), partial(TcpPipe, server.host, server.port))
            lines[case.name] = {
                "name": case.name,
                "app": case.app,
                "steps": list(case.steps),
                "replies": replies,
            }
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Record what the incumbent says to every case.")
    parser.add_argument("--only", help="glob over case names; the other recordings stay as they are")
    arguments = parser.parse_args()
    wanted = [case for case in CASES if arguments.only is None or fnmatch(case.name, arguments.only)]
    kept = _read() if arguments.only is not None else {}
    lines = kept | record(wanted)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in CASES:
        groups[case.name.split("/")[0]].append(lines[case.name])
    header = {"recorded": versions()}
    TRANSCRIPTS.mkdir(exist_ok=True)
    for stale in TRANSCRIPTS.glob("*.jsonl"):
        stale.unlink()
    for name, entries in groups.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [header, *entries])
        (TRANSCRIPTS / f"{name}.jsonl").write_text(text, encoding="utf-8")
    n_replies = sum(reply is not None for case in wanted for reply in lines[case.name]["replies"])
    print(f"{len(wanted)} cases, {n_replies} replies", file=sys.stderr)


def _read() -> dict[str, dict[str, Any]]:
    """The recordings there are, by case name; they must be of the versions that are installed."""
    lines: dict[str, dict[str, Any]] = {}
    for path in TRANSCRIPTS.glob("*.jsonl"):
        header, *entries = map(json.loads, path.read_text(encoding="utf-8").strip().split("\n"))
        if header["recorded"] != versions():
            raise SystemExit(f"{path.name} is of other versions than are installed now: record everything")
        lines.update((line["name"], line) for line in entries)
    return lines


if __name__ == "__main__":
    main()
