"""Put load on a server of the benchmark environment and print what became of it.

    python -m benchmark.load --url ws://localhost:8000 --sessions 32,128,512,2048 --wait 1.0

For each number of sessions one batch: that many sessions are opened, reset and stepped, each as soon as it
can, and all are held open until the last of them has its answer. What the columns mean:

    connect     from the session's own dialling to the end of its WebSocket handshake
    reset       from sending `reset` to its observation
    step        from sending `step` to its observation; the wait that was asked for is in it
    total       from the session's own dialling to its last observation: connect + reset + steps
    batch p99   the same end, from the beginning of the batch: waiting for its turn to dial is in it
    steps/s     steps that were answered, over the time from the batch's beginning to its last answer
    success     sessions whose every call was answered, by the session that they belong to

At most `--dialling` sessions dial at a time: those that wait for their turn are in `batch p99` and not in
`connect`. The client library itself lets 64 dial at once, so that with a larger number all that wait is
counted as `connect`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from openenv.errors import OpenEnvError

from .chart import draw
from .client import BenchmarkEnv
from .models import BenchmarkAction

SPARE_FILES = 64
"""Open files of a load generator beside its sessions."""

EARLY_S = 0.01
"""How much too early a timer may be: event loops count whole milliseconds."""

GOOD = 0.95
"""Share of sessions that must succeed for a batch to count as carried."""

DEFINITIONS = {
    "connect": "dialling to end of handshake, of each session",
    "reset": "sending reset to its observation",
    "step": "sending step to its observation, the wait included",
    "total": "dialling to last observation, of each session",
    "batch_p99_s": "beginning of the batch to a session's last observation",
    "steps_per_s": "answered steps / time from the beginning of the batch to its last answer",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of each session.

    Attributes:
        url: Base URL of the server.
        action: Every step's action.
        n_steps: Steps of each session, >= 1.
        n_dialling: Sessions that may be dialling at a time, >= 1.
        timeout_s: Seconds that dialling or an answer may take beyond the wait, > 0.
    """

    url: str
    action: BenchmarkAction
    n_steps: int
    n_dialling: int
    timeout_s: float


@dataclass(slots=True)
class Batch:
    """What became of one batch; times in seconds, one entry for each session (`steps`: each step)."""

    n_sessions: int
    begun_at: float = field(default_factory=time.perf_counter)
    n_open: int = 0
    connects: list[float] = field(default_factory=list)
    resets: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    workers: set[str] = field(default_factory=set)

    def summary(self) -> Summary:
        """The batch as one row."""
        return Summary(
            sessions=self.n_sessions,
            success=len(self.totals) / self.n_sessions,
            connect_p50_s=quantile(self.connects, 0.5),
            reset_p50_s=quantile(self.resets, 0.5),
            step_p50_s=quantile(self.steps, 0.5),
            total_p50_s=quantile(self.totals, 0.5),
            total_p99_s=quantile(self.totals, 0.99),
            batch_p99_s=quantile(self.ends, 0.99),
            steps_per_s=len(self.steps) / max(self.ends) if self.ends else 0.0,
            workers=len(self.workers),
            failures=dict(self.failures.most_common()),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the table; None where no session got so far."""

    sessions: int
    success: float
    connect_p50_s: float | None
    reset_p50_s: float | None
    step_p50_s: float | None
    total_p50_s: float | None
    total_p99_s: float | None
    batch_p99_s: float | None
    steps_per_s: float
    workers: int
    failures: dict[str, int]


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that is not exceeded by that share (0 to 1) of the values; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


async def run_batch(load: Load, n_sessions: int, watch: bool = False) -> Batch:
    """Open so many sessions, reset and step each, and close them when the last is answered.

    Args:
        load: What is asked of each.
        n_sessions: How many, >= 1.
        watch: Whether to show on standard error how far it is.
    """
    wait_s = load.action.wait_s + load.action.cpu_s
    clients = [
        BenchmarkEnv(load.url, connect_timeout_s=load.timeout_s, message_timeout_s=wait_s + load.timeout_s)
        for _ in range(n_sessions)
    ]
    gate = asyncio.Semaphore(load.n_dialling)
    batch = Batch(n_sessions)
    watcher = asyncio.create_task(_watch(batch)) if watch else None
    try:
        await asyncio.gather(*(_play(load, client, gate, batch) for client in clients))
    finally:
        if watcher is not None:
            watcher.cancel()
    # Also those that failed: a server must be idle again before the next batch.
    await asyncio.gather(*(client.close() for client in clients))
    return batch


async def _play(load: Load, client: BenchmarkEnv, gate: asyncio.Semaphore, batch: Batch) -> None:
    steps = []
    try:
        async with gate:
            dialled_at = time.perf_counter()
            await client.connect()
            connected_at = time.perf_counter()
        batch.n_open += 1
        mine = (await client.reset()).observation.session_id
        reset_at = stepped_at = time.perf_counter()
        for _ in range(load.n_steps):
            asked_at = stepped_at
            answer = (await client.step(load.action)).observation
            stepped_at = time.perf_counter()
            if answer.session_id != mine:
                raise OpenEnvError("a step was answered by another session")
            if answer.waited_s < load.action.wait_s - EARLY_S:
                raise OpenEnvError("a step did not wait as long as it was asked to")
            if len(answer.payload) != load.action.payload_bytes:
                raise OpenEnvError("a step's payload is not of the size that was asked for")
            steps.append(stepped_at - asked_at)
    except OpenEnvError as error:
        # Without the URL, which is the same for all.
        batch.failures[f"{type(error).__name__}: {error}".replace(load.url, "")[:200]] += 1
        return
    batch.connects.append(connected_at - dialled_at)
    batch.resets.append(reset_at - connected_at)
    batch.steps += steps
    batch.totals.append(stepped_at - dialled_at)
    batch.ends.append(stepped_at - batch.begun_at)
    batch.workers.add(answer.worker)


async def _watch(batch: Batch) -> None:
    try:
        while True:
            n_failed = batch.failures.total()
            elapsed_s = time.perf_counter() - batch.begun_at
            sys.stderr.write(
                f"\r{batch.n_sessions:,} sessions, {elapsed_s:.1f} s: {batch.n_open:,} opened, "
                f"{len(batch.totals):,} answered, {n_failed:,} failed\033[K"
            )
            sys.stderr.flush()
            await asyncio.sleep(0.1)
    finally:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def largest_carried(summaries: Sequence[Summary]) -> int | None:
    """Most sessions of a batch of which 95 % succeeded; None if no batch did."""
    return max((row.sessions for row in summaries if row.success >= GOOD), default=None)


def table(summaries: Sequence[Summary]) -> str:
    """The rows as a Markdown table, and below it what it comes to."""
    heads = ("sessions", "success", "connect p50", "reset p50", "step p50", "total p50", "total p99")
    rows = [(*heads, "batch p99", "steps/s")]
    rows += [
        (
            f"{row.sessions:,}",
            f"{row.success:.1%}",
            _time(row.connect_p50_s),
            _time(row.reset_p50_s),
            _time(row.step_p50_s),
            _time(row.total_p50_s),
            _time(row.total_p99_s),
            _time(row.batch_p99_s),
            f"{row.steps_per_s:,.0f}",
        )
        for row in summaries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * (width - 1) + ":" for width in widths) + " |")
    carried = largest_carried(summaries)
    lines += [
        "",
        f"largest batch with at least {GOOD:.0%} success: {'none' if carried is None else f'{carried:,}'}",
    ]
    lines += [f"serving processes seen: {max((row.workers for row in summaries), default=0)}"]
    for row in summaries:
        lines += [f"{row.sessions:,} sessions, failed {n:,} times: {why}" for why, n in row.failures.items()]
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3f} s" if seconds >= 0.9995 else f"{seconds * 1000:.1f} ms"


def raise_open_files(n_sessions: int) -> None:
    """Let this process hold so many sessions.

    Raises:
        SystemExit: The hard limit on open files is too low.
    """
    needed = n_sessions + SPARE_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{n_sessions:,} sessions need {needed:,} open files, and this process may have {hard:,}; raise "
            f"the hard limit (`ulimit -Hn {needed}` as root, `docker run --ulimit nofile={needed}`, or "
            f"LimitNOFILE= of the service) or ask for at most {max(hard - SPARE_FILES, 0):,} sessions. "
            "The server needs as many."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(load: Load, sizes: Sequence[int], keep: Callable[[Summary], None], watch: bool) -> None:
    """Run one batch of each size; `keep` is given each summary as soon as it is there."""
    for size in sizes:
        # What is measured is the server: no pause of ours may look like one of its own.
        gc.collect()
        gc.disable()
        try:
            batch = await run_batch(load, size, watch)
        finally:
            gc.enable()
        keep(batch.summary())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    Returns:
        0 if some batch was carried, 1 if none was. Ctrl-C prints what is there by then and gives 130.
    """
    options = _parser().parse_args(arguments)
    if options.plot is not None and options.plot.suffix.lower() != ".svg":
        raise SystemExit(f"--plot {options.plot}: curves are drawn as SVG; name a file that ends in .svg")
    action = BenchmarkAction(wait_s=options.wait, cpu_s=options.cpu, payload_bytes=options.payload)
    url = options.url.rstrip("/").removesuffix("/ws")
    load = Load(url, action, options.steps, options.dialling, options.timeout)
    raise_open_files(max(options.sessions))
    summaries: list[Summary] = []

    def keep(summary: Summary) -> None:
        # Written each time: whoever gives up on a long run has what was measured by then.
        summaries.append(summary)
        if options.json is not None:
            options.json.write_text(json.dumps(_report(load, summaries), indent=1) + "\n")

    interrupted = False
    try:
        uvloop.run(run(load, options.sessions, keep, sys.stderr.isatty()))
    except KeyboardInterrupt:
        interrupted = True
    print(table(summaries))
    if options.plot is not None and summaries:
        options.plot.write_text(draw([asdict(row) for row in summaries], f"{url}, wait {options.wait:g} s"))
    if interrupted:
        return 130
    return 0 if largest_carried(summaries) is not None else 1


def _report(load: Load, summaries: Sequence[Summary]) -> dict[str, Any]:
    return {
        "url": load.url,
        "action": asdict(load.action),
        "steps": load.n_steps,
        "dialling": load.n_dialling,
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "definitions": DEFINITIONS,
        "batches": [asdict(row) for row in summaries],
        "largest_batch": largest_carried(summaries),
    }


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.load",
        description=summary,
        epilog=rest.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", default="ws://localhost:8000", help="server to load (%(default)s)")
    parser.add_argument("--sessions", type=_sizes, default="32,128,512,2048", help="batches (%(default)s)")
    parser.add_argument(
        "--wait", type=_seconds, default=1.0, help="seconds that each step waits (%(default)s)"
    )
    parser.add_argument(
        "--cpu", type=_seconds, default=0.0, help="seconds of processor of each step (%(default)s)"
    )
    parser.add_argument("--payload", type=int, default=0, help="bytes in each answer (%(default)s)")
    parser.add_argument("--steps", type=_count, default=1, help="steps of each session (%(default)s)")
    parser.add_argument(
        "--dialling", type=_count, default=64, help="sessions that dial at a time (%(default)s)"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=60.0, help="seconds to give an answer up (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the curves")
    return parser


def _sizes(text: str) -> list[int]:
    return sorted({_count(part) for part in text.split(",")})


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 3600, got {text!r}")
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
