"""What a step that sleeps in one session costs the others: nothing that can be measured.

    python tests/bench/isolation.py [--sleepers N] [--samples N] [--seconds S]

Two servers of each kind run side by side, one of them with sessions whose step sleeps for 30 s or
more all the while. Samples of both are interleaved; the issue asks for a p99 within 2x.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from contestants import CONTESTANTS, Server, running
from load import Sample, compiled, sample
from machine import RESULTS, cores, describe, pin, wait_until_quiet
from speed import FOREIGN_LIMIT, Row
from ws import Session, answer_pings

ROWS = (
    Row("ws1", "step, 1 session", "ws", "ws", 1),
    Row("ws16", "step, 16 sessions", "ws", "ws", 16),
    Row("health1", "GET /health, 1 connection", "http", "health", 1),
    Row("step1", "POST /step, 1 connection", "http", "step", 1),
)
BOUND = 2.0
SLEEP_S = 600
"""Longer than the bench; the servers are ended when it is over."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="bin/bench isolation", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sleepers", type=int, default=8, help="sessions whose step sleeps")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="incumbent,ours-threaded", help="contestants")
    parser.add_argument("--patience-s", type=float, default=300, help="how long to wait for a quiet machine")
    parser.add_argument("--out", type=Path, default=RESULTS / "isolation.json")
    options = parser.parse_args(arguments)
    both = cores()
    pin(both.load)
    deadline = time.monotonic() + options.patience_s
    taken: dict[tuple[str, str, bool], list[Sample]] = {}
    with ExitStack() as stack:
        program = stack.enter_context(compiled())
        servers: dict[tuple[str, bool], Server] = {}
        held: list[Session] = []
        for name in options.only.split(","):
            contestant = CONTESTANTS[name]
            app = next(argument for argument in contestant.arguments if argument.endswith(":app"))
            sleepy_app = f"{app.partition('_')[0]}_sleepy:app"
            sleepy = replace(
                contestant, arguments=tuple(sleepy_app if a == app else a for a in contestant.arguments)
            )
            for asleep in (False, True):
                server = servers[name, asleep] = stack.enter_context(running(sleepy, both.server))
                for _ in range(options.sleepers):
                    session = Session(server.port)
                    session.reset()
                    held.append(session)
                    if asleep:
                        session.send({"type": "step", "data": {"message": f"sleep {SLEEP_S}"}})
        ours = {os.getsid(0), *(server.session for server in servers.values())}
        for number in range(options.samples):
            for row in ROWS:
                for (name, asleep), server in servers.items():
                    answer_pings(held)
                    wait_until_quiet(ours, FOREIGN_LIMIT, max(0.0, deadline - time.monotonic()))
                    one = sample(
                        program,
                        server,
                        row.kind,
                        row.connections,
                        core=both.load,
                        warmup_s=0.3,
                        seconds=options.seconds,
                        ours=ours,
                    )
                    taken.setdefault((row.name, name, asleep), []).append(one)
            print(f"round {number + 1} of {options.samples}", file=sys.stderr, flush=True)
    lines = []
    heads = f"nobody sleeps | {options.sleepers} sessions sleep"
    print(f"| p99 in us | contestant | {heads} | ratio | |\n| --- | --- | ---: | ---: | ---: | --- |")
    for row in ROWS:
        for name in options.only.split(","):
            awake, asleep = (
                median(s.p99_us for s in taken[row.name, name, state]) for state in (False, True)
            )
            ratio = asleep / awake
            verdict = "pass" if ratio <= BOUND else "FAIL"
            print(f"| {row.title} | {name} | {awake:,.0f} | {asleep:,.0f} | {ratio:.2f}x | {verdict} |")
            lines.append(
                {
                    "row": row.name,
                    "contestant": name,
                    "p99_us": awake,
                    "p99_us_beside_sleepers": asleep,
                    "ratio": round(ratio, 3),
                    "bound": BOUND,
                    "pass": ratio <= BOUND,
                }
            )
    noisy = sum(s.foreign_cpu > FOREIGN_LIMIT for samples in taken.values() for s in samples)
    if noisy:
        print(f"{noisy} samples had foreign load on the machine: do not cite")
    results = {
        "name": "isolation",
        "machine": describe(),
        "method": {"samples": options.samples, "seconds": options.seconds, "sleepers": options.sleepers},
        "noisy": noisy,
        "rows": lines,
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
