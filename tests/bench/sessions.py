"""How many sessions at once a server carries: ours and the incumbent's, side by side, by `benchmark.load`.

    python tests/bench/sessions.py [--sessions 32,128,512,2048,4096] [--wait 1.0] [--only ours,incumbent]

One server process on the first core, the load generator on the second; the same generator and client for
both, since both speak the same protocol. Each batch opens its sessions, resets and steps each, and holds all
of them open until the last has its answer. Takes two minutes at the most: whoever is not done with his half
by then is cut off, and the batches that he finished count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, HOST, Contestant, started, wait_until_listening
from machine import RESULTS, ROOT, CpuTimes, cores, describe, foreign_load, pin

from tests.support.peers import install

FOREIGN_LIMIT = 0.03
"""Share of a core that others may use before a result is not to be cited."""

TARGET_SESSIONS, TARGET_P99_S = 4096, 1.5
EXAMPLES = ROOT / "examples"
OURS = CONTESTANTS["ours-loop"]
INCUMBENT = CONTESTANTS["incumbent"]


def _serve(name: str, port: str) -> tuple[Path, tuple[str, ...], dict[str, str]]:
    """Interpreter, arguments and variables of a server."""
    common = ("--host", HOST, "--port", port, "--log-level", "warning")
    if name == "incumbent":
        arguments = ("-m", "uvicorn", "incumbent_benchmark:app", *common, "--no-access-log")
        return install("openenv-0.10.0"), arguments, {}
    arguments = ("-m", "openenv", "serve", "benchmark.server.app:app", *common, "--workers", "1")
    return Path(sys.executable), arguments, {"PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}"}


def _versions(name: str) -> dict[str, str]:
    contestant: Contestant = INCUMBENT if name == "incumbent" else OURS
    return contestant.versions()


def measure(name: str, sessions: str, wait_s: float, limit_s: float) -> dict[str, Any]:
    """Load one server; gives what `benchmark.load` wrote, and how much others used of the machine."""
    both = cores()
    python, arguments, environ = _serve(name, "{port}")
    with started(python, arguments, both.server, environ) as server, tempfile.TemporaryDirectory() as folder:
        wait_until_listening(server)
        report = Path(folder) / "load.json"
        command = [sys.executable, "-m", "benchmark.load", "--url", f"ws://{HOST}:{server.port}"]
        command += ["--sessions", sessions, "--wait", str(wait_s), "--timeout", "20", "--json", str(report)]
        before = CpuTimes.read()
        process = subprocess.Popen(
            command,
            cwd=EXAMPLES,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: pin(both.load),
        )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"{name} was not done after {limit_s:g} s", file=sys.stderr)
        finally:
            after = CpuTimes.read()
            process.kill()  # what it finished is written
            process.wait()
        ours = (os.getsid(0), server.session, process.pid)
        foreign = foreign_load(before, after, ours)
        found: dict[str, Any] = {"batches": [], "largest_batch": None}
        if report.exists():
            found = json.loads(report.read_text())
    return {**found, "foreign_cpu": round(foreign, 3), "versions": _versions(name)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="bin/bench sessions", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sessions", default="32,128,512,2048,4096")
    parser.add_argument("--wait", type=float, default=1.0)
    parser.add_argument("--only", default="ours,incumbent", help="contestants")
    parser.add_argument("--limit-s", type=float, default=57, help="seconds for each contestant")
    parser.add_argument("--out", type=Path, default=RESULTS / "sessions.json")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    found = {name: measure(name, options.sessions, options.wait, options.limit_s) for name in names}
    heads = (
        "sessions",
        "server",
        "success",
        "connect p50",
        "reset p50",
        "step p50",
        "total p99",
        "batch p99",
    )
    print(f"| {' | '.join(heads)} | steps/s |\n| ---: | --- |{' ---: |' * 7}")
    for size in map(int, options.sessions.split(",")):
        for name in names:
            print(_line(size, name, found[name]["batches"]))
    for name in names:
        print(f"{name}: largest batch with at least 95 % success: {found[name]['largest_batch']}")
    for row in found.get("ours", {}).get("batches", []):
        if row["sessions"] == TARGET_SESSIONS:
            met = row["success"] == 1.0 and row["total_p99_s"] <= TARGET_P99_S
            verdict = "pass" if met else "FAIL"
            print(f"ours, {TARGET_SESSIONS:,}: 100 % success and total p99 <= {TARGET_P99_S} s: {verdict}")
    if any(result["foreign_cpu"] > FOREIGN_LIMIT for result in found.values()):
        print("others used the machine meanwhile: do not cite")
    results = {"name": "sessions", "machine": describe(), "wait_s": options.wait, "servers": found}
    options.out.write_text(json.dumps(results, indent=1) + "\n")


def _line(size: int, name: str, batches: Sequence[dict[str, Any]]) -> str:
    row = next((row for row in batches if row["sessions"] == size), None)
    if row is None:
        return f"| {size:,} | {name} | not done in time | | | | | | |"
    keys = ("connect_p50_s", "reset_p50_s", "step_p50_s", "total_p99_s", "batch_p99_s")
    times = " | ".join(_seconds(row[key]) for key in keys)
    return f"| {size:,} | {name} | {row['success']:.1%} | {times} | {row['steps_per_s']:,.0f} |"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


if __name__ == "__main__":
    main()
