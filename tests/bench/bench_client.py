"""Our client against the incumbent's, on the same fast server, in one run; ratios.

    python bench_client.py [--seconds 3] [--rounds 5] [--server limit] [--only sync async-64 ...]

One server on one core (``ours-loop`` by default, or ``limit``: see ``contestants.py``), one client
process at a time on the other, both clients in turn within each round. Each client runs from its own
virtual environment (``client_load.py``). What is shown is the median over the rounds of each, of all
steps per second and of those in the best tenth of a second, and the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, HOST, running
from machine import BENCH, ROOT, cores, describe, pin

from tests.support.peers import install


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: As on the command line.
        task: Task of ``client_load.py``.
        sessions: Sessions, or cycles.
        loop: Our event loop; theirs is always asyncio's, which is what `asyncio.run` gives.
        figure: Key of the outcome that is compared.
        target: The ratio that issue 3 asks for, or None.
        rates: Whether more is better.
    """

    name: str
    task: str
    sessions: int
    loop: str = "asyncio"
    figure: str = "steps_per_s"
    target: float | None = None
    rates: bool = True


ROWS = (
    Row("sync", "sync", 1, target=2.2),
    Row("async", "async", 1, target=1.35),
    Row("async-64", "async", 64, target=2.0),
    Row("async-64-uvloop", "async", 64, "uvloop", target=4.5),
    Row("connect-1000", "connect", 1000, figure="connect_s", target=3.0, rates=False),
    Row("import", "import", 1, figure="import_s", rates=False),
)


def run(python: Path, row: Row, url: str, seconds: float, core: int, loop: str) -> dict[str, Any]:
    """One client process; what it printed."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"PYTHONPATH": str(ROOT)} if python == Path(sys.executable) else {}
    command = [
        str(python),
        str(BENCH / "client_load.py"),
        row.task,
        url,
        str(row.sessions),
        str(seconds),
        loop,
    ]
    done = subprocess.run(
        command,
        cwd="/",
        env={**keep, **own},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: pin(core),
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show, and write the results if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", default="ours-loop", choices=sorted(CONTESTANTS))
    parser.add_argument("--only", nargs="*", default=[row.name for row in ROWS])
    parser.add_argument("--cycles", type=int, default=0, help="instead: so many sessions, one after another")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    options = parser.parse_args(arguments)
    both = cores()
    ours, theirs = Path(sys.executable), install("openenv-0.10.0")
    with running(CONTESTANTS[options.server], both.server, {"MAX_CONCURRENT_ENVS": "100000"}) as server:
        url = f"http://{HOST}:{server.port}"
        if options.cycles:
            row = Row("cycles", "cycles", options.cycles)
            say(json.dumps(run(ours, row, url, 0, both.load, "asyncio"), indent=1))
            return
        shown = []
        for row in ROWS:
            if row.name in options.only:
                shown.append(compare(row, url, options, both.load, ours, theirs))
    if options.out is not None:
        document = {"machine": describe(), "server": options.server, "rows": shown}
        options.out.write_text(json.dumps(document, indent=1, default=str) + "\n")


def compare(
    row: Row, url: str, options: argparse.Namespace, core: int, ours: Path, theirs: Path
) -> dict[str, Any]:
    """All rounds of one row."""
    taken: dict[str, list[dict[str, Any]]] = {"theirs": [], "ours": []}
    for _ in range(options.rounds):
        taken["theirs"].append(run(theirs, row, url, options.seconds, core, "asyncio"))
        taken["ours"].append(run(ours, row, url, options.seconds, core, row.loop))
    line: dict[str, Any] = {"name": row.name, "target": row.target}
    figures = [row.figure] + (["best_per_s", "cpu_us_per_step"] if row.figure == "steps_per_s" else [])
    text = [f"{row.name:16}"]
    for figure in figures:
        medians = {who: statistics.median(one[figure] for one in ones) for who, ones in taken.items()}
        more_is_better = figure.endswith("per_s")
        ratio = medians["ours"] / medians["theirs"] if more_is_better else medians["theirs"] / medians["ours"]
        line[figure] = {**medians, "ratio": ratio}
        text.append(f"{figure} {medians['theirs']:.4g} -> {medians['ours']:.4g} ({ratio:.2f}x)")
    failures = {who: [one["failures"] for one in ones if "failures" in one] for who, ones in taken.items()}
    if any(failures.values()):
        line["failures"] = failures
        text.append(f"failures {failures}")
    if row.target is not None:
        text.append(f"wanted {row.target}x")
    say("  ".join(text))
    return line


def say(text: str) -> None:
    """Show a line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
