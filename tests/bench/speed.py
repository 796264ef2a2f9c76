"""Steps per second and latency of all contestants, side by side in one run.

    python tests/bench/speed.py [--full] [--only NAMES] [--rows NAMES]

Method, opponents and results are described in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from contestants import CONTESTANTS, Server, running
from load import GENERATOR_FULL, Sample, compiled, sample
from machine import RESULTS, cores, describe, pin, wait_until_quiet

FOREIGN_LIMIT = 0.03
"""Share of one core that others may use during a sample that counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is asked, over how many connections."""

    name: str
    title: str
    protocol: str
    kind: str
    connections: int


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("ws1", "step, 1 session", "ws", "ws", 1),
        Row("ws64", "step, 64 sessions", "ws", "ws", 64),
        Row("ws256", "step, 256 sessions", "ws", "ws", 256),
        Row("health", "GET /health, 16 connections", "http", "health", 16),
        Row("step", "POST /step, 16 connections", "http", "step", 16),
    )
}

Cell = tuple[str, str]
"""Name of a row, name of a contestant."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of the samples of one cell; ``max_us`` is the largest of all."""

    per_s: float
    per_s_low: float
    per_s_high: float
    p50_us: float
    p99_us: float
    max_us: float
    server_cpu: float
    generator_cpu: float
    samples: int
    noisy: int
    generator_full: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that issue 2 asks for: a ratio of two cells, and the bound it must keep."""

    text: str
    row: str
    ours: str
    theirs: str
    figure: str
    bound: float
    at_least: bool


CLAIMS = (
    Claim("on the loop, 64 sessions: steps/s", "ws64", "ours-loop", "incumbent", "per_s", 10, True),
    Claim("on the loop, 256 sessions: steps/s", "ws256", "ours-loop", "incumbent", "per_s", 12, True),
    Claim("on the loop, 1 session: p50", "ws1", "ours-loop", "incumbent", "p50_us", 0.5, False),
    Claim("on the loop, 256 sessions: p99", "ws256", "ours-loop", "incumbent", "p99_us", 0.05, False),
    Claim("on the loop, 1 session: of the limit", "ws1", "ours-loop", "limit", "per_s", 0.85, True),
    Claim("on the loop, 64 sessions: of the limit", "ws64", "ours-loop", "limit", "per_s", 0.85, True),
    Claim("on the loop, 256 sessions: of the limit", "ws256", "ours-loop", "limit", "per_s", 0.85, True),
    Claim("a thread each, 64 sessions: steps/s", "ws64", "ours-threaded", "incumbent", "per_s", 4.5, True),
    Claim("a thread each, 256 sessions: steps/s", "ws256", "ours-threaded", "incumbent", "per_s", 5, True),
    Claim("its environment, 64 sessions: steps/s", "ws64", "ours-pydantic", "incumbent", "per_s", 5, True),
    Claim("the same on the loop: steps/s", "ws64", "ours-pydantic-loop", "incumbent", "per_s", 5, True),
    Claim("GET /health: requests/s", "health", "ours-loop", "incumbent", "per_s", 5, True),
    Claim("POST /step, on the loop: requests/s", "step", "ours-loop", "incumbent", "per_s", 10, True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and the claims, write the results."""
    options = _options(arguments)
    chosen = [CONTESTANTS[name] for name in options.only]
    rows = [ROWS[name] for name in options.rows]
    both = cores()
    pin(both.load)
    samples: dict[Cell, list[Sample]] = {}
    deadline = time.monotonic() + options.patience_s
    with ExitStack() as stack:
        program = stack.enter_context(compiled())
        servers = {c.name: stack.enter_context(running(c, both.server)) for c in chosen}
        ours = {os.getsid(0), *(server.session for server in servers.values())}
        cells = [
            (row, contestant.name)
            for row in rows
            for contestant in chosen
            if row.protocol in contestant.protocols
        ]

        def take(row: Row, server: Server) -> Sample:
            return sample(
                program,
                server,
                row.kind,
                row.connections,
                core=both.load,
                warmup_s=options.warmup_s,
                seconds=options.seconds,
                ours=ours,
            )

        for number in range(options.samples):
            for row, name in cells:
                taken = _quiet_sample(lambda r=row, n=name: take(r, servers[n]), ours, deadline)
                samples.setdefault((row.name, name), []).append(taken)
            _say(f"round {number + 1} of {options.samples}")
    summaries = {cell: _summary(taken) for cell, taken in samples.items()}
    titles = {c.name: c.title for c in chosen}
    print(_tables(summaries, rows, titles))
    claims = _judge(summaries)
    print(_claims_text(claims))
    results = {
        "name": "speed",
        "machine": describe(),
        "method": {
            "samples": options.samples,
            "seconds": options.seconds,
            "warmup_s": options.warmup_s,
            "foreign_limit": FOREIGN_LIMIT,
            "server_core": both.server,
            "generator_core": both.load,
        },
        "versions": {c.name: c.versions() for c in chosen},
        "cells": [
            {"row": row, "contestant": name, **asdict(summary)} for (row, name), summary in summaries.items()
        ],
        "claims": claims,
    }
    if options.out:
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
        _say(f"written to {options.out}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def names(known: dict[str, object]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            unknown = set(text.split(",")) - set(known)
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
            return text.split(",")

        return parse

    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="7 samples of 2 s instead of 3 of 1 s")
    parser.add_argument("--only", type=names(dict(CONTESTANTS)), default=list(CONTESTANTS), metavar="NAMES")
    parser.add_argument("--rows", type=names(dict(ROWS)), default=list(ROWS), metavar="NAMES")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument(
        "--patience-s", type=float, default=900, help="how long to wait for a quiet machine, all in all"
    )
    parser.add_argument("--out", type=Path, help="results file; by default tests/bench/results/")
    options = parser.parse_args(arguments)
    options.samples = options.samples or (7 if options.full else 3)
    options.seconds = options.seconds or (2.0 if options.full else 1.0)
    options.warmup_s = 0.5 if options.full else 0.3
    complete = options.only == list(CONTESTANTS) and options.rows == list(ROWS)
    if options.out is None and complete:
        options.out = RESULTS / ("speed.json" if options.full else "speed-quick.json")
    return options


def _quiet_sample(take: Callable[[], Sample], ours: set[int], deadline: float) -> Sample:
    """A sample without foreign load; once the patience is used up, whatever comes."""
    while True:
        wait_until_quiet(ours, FOREIGN_LIMIT, max(0.0, deadline - time.monotonic()))
        taken = take()
        if taken.foreign_cpu <= FOREIGN_LIMIT or time.monotonic() > deadline:
            return taken
        _say(f"thrown away: others used {taken.foreign_cpu:.0%} of a core")


def _summary(taken: list[Sample]) -> Summary:
    rates = [one.per_s for one in taken]
    return Summary(
        per_s=median(rates),
        per_s_low=min(rates),
        per_s_high=max(rates),
        p50_us=median(one.p50_us for one in taken),
        p99_us=median(one.p99_us for one in taken),
        max_us=max(one.max_us for one in taken),
        server_cpu=median(one.server_cpu for one in taken),
        generator_cpu=median(one.generator_cpu for one in taken),
        samples=len(taken),
        noisy=sum(one.foreign_cpu > FOREIGN_LIMIT for one in taken),
        generator_full=sum(one.generator_cpu > GENERATOR_FULL for one in taken),
    )


def _tables(summaries: dict[Cell, Summary], rows: list[Row], titles: dict[str, str]) -> str:
    def rate(one: Summary) -> str:
        marks = ("*" if one.noisy else "") + ("!" if one.generator_full else "")
        return f"{one.per_s:,.0f}{marks}"

    views: tuple[tuple[str, Callable[[Summary], str]], ...] = (
        ("per second (median)", rate),
        ("lowest .. highest sample", lambda s: f"{s.per_s_low / 1e3:.1f}k .. {s.per_s_high / 1e3:.1f}k"),
        ("latency in us: p50 / p99 / max", lambda s: f"{s.p50_us:,.0f} / {s.p99_us:,.0f} / {s.max_us:,.0f}"),
        ("server's CPU per reply, us", lambda s: f"{s.server_cpu / s.per_s * 1e6:.1f}"),
        ("core used: server / generator", lambda s: f"{s.server_cpu:.0%} / {s.generator_cpu:.0%}"),
    )
    blocks = []
    for title, show in views:
        lines = [[title, *titles.values()]]
        for row in rows:
            cells = [summaries.get((row.name, name)) for name in titles]
            lines.append([row.title, *(show(cell) if cell else "-" for cell in cells)])
        blocks.append(_aligned(lines))
    notes = []
    if any(one.noisy for one in summaries.values()):
        notes.append("* some samples had foreign load on the machine: do not cite")
    if any(one.generator_full for one in summaries.values()):
        notes.append("! the generator was full in some samples: the server may be faster than shown")
    return "\n\n".join([*blocks, *notes])


def _aligned(lines: list[list[str]]) -> str:
    """The lines as a Markdown table whose columns are as wide as they must be."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    out = []
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        out.append("| " + " | ".join(cells) + " |")
        if number == 0:
            rules = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
            out.append("| " + " | ".join(rules) + " |")
    return "\n".join(out)


def _judge(summaries: dict[Cell, Summary]) -> list[dict[str, object]]:
    judged: list[dict[str, object]] = []
    for claim in CLAIMS:
        ours, theirs = summaries.get((claim.row, claim.ours)), summaries.get((claim.row, claim.theirs))
        if ours is None or theirs is None:
            continue
        ratio = getattr(ours, claim.figure) / getattr(theirs, claim.figure)
        kept = ratio >= claim.bound if claim.at_least else ratio <= claim.bound
        judged.append(
            {
                "claim": claim.text,
                "against": claim.theirs,
                "ratio": round(ratio, 4),
                "bound": claim.bound,
                "at_least": claim.at_least,
                "pass": kept,
            }
        )
    return judged


def _claims_text(judged: list[dict[str, object]]) -> str:
    lines = [["claim (issue 2)", "against", "measured", "asked for", ""]]
    for one in judged:
        sign = ">=" if one["at_least"] else "<="
        verdict = "pass" if one["pass"] else "FAIL"
        measured = f"{one['ratio']:.3f}x"
        lines.append([str(one["claim"]), str(one["against"]), measured, f"{sign} {one['bound']:g}x", verdict])
    return "\n" + _aligned(lines) if judged else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
