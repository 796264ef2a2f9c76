"""Our client against the incumbent's, in one run; ratios beside what issue 3 asks for.

    python bench_client.py [--seconds 2] [--rounds 5] [--server limit] [--only sync async-64 ...]
    python bench_client.py --cycles 10000

Two kinds of rows. In most, both clients step the same fast server (``ours-loop`` by default, or
``limit``: see ``contestants.py``); in those called ``both-...`` each steps the server of its own
project, as shipped. Servers are bound to one core, one client process at a time to the other, both
clients in turn within each round. Each client runs from its own virtual environment
(``client_load.py``), which checks every reply and ends the bench at a wrong one.

A sample during which others used more than 3 % of a core is thrown away and repeated until
``--patience-s`` is used up; what was taken after that is marked ``*``. Shown are the medians over the
rounds and their ratio, with the lowest and the highest ratio of a single round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, HOST, Contestant, Server, started, wait_until_listening
from machine import BENCH, ROOT, CpuTimes, cores, describe, foreign_load, pin, versions, wait_until_quiet

from tests.support.peers import install

FOREIGN_LIMIT = 0.03
CLIENT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: As on the command line.
        task: Task of ``client_load.py``.
        sessions: Sessions, or cycles.
        loop: Our event loop; theirs is always asyncio's, which is what `asyncio.run` gives.
        figure: Key of the outcome that is compared.
        wanted: The ratio that issue 3 asks for, or None.
        limit: What our own figure must not exceed, or None.
        rates: Whether more is better.
        both: Whether each client steps the server of its own project.
    """

    name: str
    task: str
    sessions: int
    loop: str = "asyncio"
    figure: str = "steps_per_s"
    wanted: float | None = None
    limit: float | None = None
    rates: bool = True
    both: bool = False


ROWS = (
    Row("sync", "sync", 1, wanted=2.2),
    Row("async", "async", 1, wanted=1.35),
    Row("async-64", "async", 64, wanted=2.0),
    Row("async-64-uvloop", "async", 64, "uvloop", wanted=4.5),
    Row("both-sync", "sync", 1, wanted=3.5, both=True),
    Row("both-async", "async", 1, wanted=3.5, both=True),
    Row("both-64", "async", 64, wanted=10.0, both=True),
    Row("both-64-uvloop", "async", 64, "uvloop", wanted=10.0, both=True),
    Row("connect-1000", "connect", 1000, figure="connect_s", wanted=3.0, rates=False),
    Row("import", "import", 1, figure="import_s", limit=0.2, rates=False),
)


class Bench:
    """The servers of a run, and how a client is let loose on them.

    Args:
        patience_s: Seconds to wait for a quiet machine, all in all.
    """

    def __init__(self, stack: ExitStack, seconds: float, patience_s: float) -> None:
        self.seconds = seconds
        self._stack = stack
        self._servers: dict[str, Server] = {}
        self._cores = cores()
        self._deadline = time.monotonic() + patience_s

    def server(self, contestant: Contestant) -> Server:
        """A running server, started the first time that it is asked for."""
        server = self._servers.get(contestant.name)
        if server is None:
            environ = {"MAX_CONCURRENT_ENVS": "100000"}
            if contestant.sees_repository:
                environ["PYTHONPATH"] = str(ROOT)
            context = started(contestant.python(), contestant.arguments, self._cores.server, environ)
            server = self._servers[contestant.name] = self._stack.enter_context(context)
            wait_until_listening(server)
        return server

    def quiet_sample(self, python: Path, row: Row, contestant: Contestant, loop: str) -> dict[str, Any]:
        """What a client process printed, with the share of a core that others used meanwhile."""
        url = f"http://{HOST}:{self.server(contestant).port}"
        while True:
            ours = {os.getsid(0), *(server.session for server in self._servers.values())}
            wait_until_quiet(ours, FOREIGN_LIMIT, max(0.0, self._deadline - time.monotonic()))
            before = CpuTimes.read()
            taken = self._run(python, row, url, loop)
            # The client has ended: its time is that of its parent's children, and this is its parent.
            taken["foreign"] = foreign_load(before, CpuTimes.read(), ours)
            if taken["foreign"] <= FOREIGN_LIMIT or time.monotonic() > self._deadline:
                return taken
            note(f"{row.name}: thrown away, others used {taken['foreign']:.0%} of a core")

    def _run(self, python: Path, row: Row, url: str, loop: str) -> dict[str, Any]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {"PYTHONPATH": str(ROOT)} if python == Path(sys.executable) else {}
        load = [str(BENCH / "client_load.py"), row.task, url, str(row.sessions), str(self.seconds), loop]
        done = subprocess.run(
            [str(python), *load],
            cwd="/",
            env={**keep, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_TIMEOUT_S,
            preexec_fn=lambda: pin(self._cores.load),
        )
        if done.returncode != 0:
            raise SystemExit(f"{python} {' '.join(load)} failed:\n{done.stderr[-3000:]}")
        outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return outcome


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show, and write the results if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", default="ours-loop", choices=sorted(CONTESTANTS))
    parser.add_argument("--own", default="ours-loop", choices=sorted(CONTESTANTS), help="ours, of both-...")
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="ROW")
    parser.add_argument("--patience-s", type=float, default=300.0, help="to wait for a quiet machine")
    parser.add_argument("--cycles", type=int, default=0, help="instead: so many sessions, one after another")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    options = parser.parse_args(arguments)
    ours, theirs = Path(sys.executable), install("openenv-0.10.0")
    with ExitStack() as stack:
        bench = Bench(stack, options.seconds, options.patience_s)
        fast = CONTESTANTS[options.server]
        if options.cycles:
            for task in ("cycles", "cycles-async"):
                row = Row(task, task, options.cycles)
                say(f"{task}: {json.dumps(bench.quiet_sample(ours, row, fast, 'asyncio'))}")
            return
        shown = []
        for row in ROWS:
            if row.name in options.only:
                servers = (CONTESTANTS["incumbent"], CONTESTANTS[options.own]) if row.both else (fast, fast)
                shown.append(compare(bench, row, options.rounds, (theirs, ours), servers))
    if options.out is not None:
        document = {
            "machine": describe(),
            "versions": {
                "ours": versions(ours, ("websockets", "uvloop", "orjson")),
                "theirs": versions(theirs, ("openenv", "websockets", "pydantic", "uvicorn", "fastapi")),
            },
            "server": options.server,
            "own": options.own,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "rows": shown,
        }
        options.out.write_text(json.dumps(document, indent=1, default=str) + "\n")


def compare(
    bench: Bench, row: Row, rounds: int, pythons: tuple[Path, Path], servers: tuple[Contestant, Contestant]
) -> dict[str, Any]:
    """All rounds of one row; shows it."""
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(bench.quiet_sample(pythons[0], row, servers[0], "asyncio"))
        ours.append(bench.quiet_sample(pythons[1], row, servers[1], row.loop))
    line: dict[str, Any] = {"name": row.name, "wanted": row.wanted, "limit": row.limit}
    for figure in (row.figure, "cpu_us_per_step"):
        if figure in ours[0]:
            line[figure] = ratio_of(
                [one[figure] for one in theirs],
                [one[figure] for one in ours],
                more_is_better=row.rates and figure == row.figure,
            )
    line["failures"] = [sum(one.get("failures", 0) for one in side) for side in (theirs, ours)]
    line["noisy"] = sum(one["foreign"] > FOREIGN_LIMIT for one in theirs + ours)
    main_figure = line[row.figure]
    met = [main_figure["ratio"] >= row.wanted] if row.wanted is not None else []
    if row.limit is not None:
        met.append(main_figure["ours"] <= row.limit)
    line["met"] = all(met) and line["failures"][1] == 0
    say(text_of(row, line))
    return line


def ratio_of(theirs: list[float], ours: list[float], *, more_is_better: bool) -> dict[str, Any]:
    """Medians, their ratio (above 1: ours is better), and the lowest and highest of a single round."""

    def ratio(their: float, our: float) -> float:
        return our / their if more_is_better else their / our

    rounds = [ratio(their, our) for their, our in zip(theirs, ours, strict=True)]
    medians = (statistics.median(theirs), statistics.median(ours))
    return {
        "theirs": medians[0],
        "ours": medians[1],
        "ratio": ratio(*medians),
        "low": min(rounds),
        "high": max(rounds),
    }


def text_of(row: Row, line: dict[str, Any]) -> str:
    """One row of the table."""
    one = line[row.figure]
    parts = [
        f"{row.name:16}",
        f"{one['theirs']:9.4g} -> {one['ours']:9.4g} {row.figure:11}",
        f"{one['ratio']:5.2f}x ({one['low']:.2f} .. {one['high']:.2f})",
    ]
    wanted = [f">= {row.wanted}x"] if row.wanted is not None else []
    wanted += [f"<= {row.limit}"] if row.limit is not None else []
    parts.append(f"wanted {' and '.join(wanted)}: {'pass' if line['met'] else 'FAIL'}")
    if "cpu_us_per_step" in line:
        cpu = line["cpu_us_per_step"]
        parts.append(f"cpu {cpu['theirs']:.1f} -> {cpu['ours']:.1f} us")
    if any(line["failures"]):
        parts.append(f"failures: theirs {line['failures'][0]}, ours {line['failures'][1]}")
    if line["noisy"]:
        parts.append(f"* {line['noisy']} samples with foreign load")
    return "  ".join(parts)


def say(text: str) -> None:
    """Show a line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
