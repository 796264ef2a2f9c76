"""What somebody who means harm sends to a port, and whether the server lives on as if nothing had happened.

    python -m tests.reliability.malice --n 200000 --slow-seconds 20

Requests on which two programs may disagree, WebSocket conformance cases, what is too big or too deep,
attempts at forging heads and log lines, slowhttptest's four attacks, and fuzzed connections. Throughout,
another process asks `/health`, of this server and at the same moments of an idle one beside it, so that the
machine's own load is seen. Attackers would have machines of their own: here they are the least urgent
processes (nice 19).
No worker may die, no connection hang, memory stays bounded and is given back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.reliability import bombs, conformance, fuzzing, smuggling
from tests.reliability.probe import Probe
from tests.reliability.watch import load, read, table
from tests.support.server import Server, serve

BOUND_BYTES = 200 * 1024 * 1024
"""What the server may take beyond what it takes idle, with every bomb in its hands at once."""

SLOW = {
    "slow headers (slowloris)": ("-H", "/health"),
    "slow body": ("-B", "/reset"),
    "ranges": ("-R", "/openapi.json"),
    "slow reading": ("-X", "/openapi.json", "-w", "10", "-y", "20", "-n", "2", "-z", "5", "-k", "3"),
}


# What the environment raised, as it was told to, is no error of the server's.
_OWN_ERROR = re.compile(
    r"\S+ \S+ (?:ERROR|CRITICAL) (?!openenv\.session|openenv\.app: (?:\S+ \S+: )?AuthorError)"
).match


class Peak:
    """The most memory that a server took, looked at five times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.n_bytes = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(0.2):
            self.n_bytes = max(self.n_bytes, read(self._pid).anon_bytes)

    def stop(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()


async def play_all(server: Server, times: int) -> dict[str, list[str]]:
    """All cases that are not left to chance; what was wrong, by kind."""
    host, port = server.host, server.port
    found: dict[str, list[str]] = {}
    at_once = asyncio.Semaphore(32)

    async def play(kind: str, name: str, case: Awaitable[str | None]) -> None:
        async with at_once:
            try:
                fault = await case
            except (OSError, TimeoutError) as error:
                fault = f"lost: {error!r}"
        if fault is not None:
            found[kind].append(f"{name}: {fault}")

    kinds: dict[str, list[tuple[str, Awaitable[str | None]]]] = {
        "smuggling": [(case.name, smuggling.play(host, port, case)) for case in smuggling.CASES],
        "conformance": [
            (f"{case.section} {case.name}", conformance.play(host, port, case))
            for case in conformance.cases()
        ],
        "too much": [(name, bomb(host, port)) for name, bomb in bombs.BOMBS.items() for _ in range(times)],
        "injection": [(repr(data[:60]), bombs.inject(host, port, data)) for data in bombs.INJECTIONS],
    }
    for kind, cases in kinds.items():
        found[kind] = []
        begun_at = time.monotonic()
        await asyncio.gather(*(play(kind, name, case) for name, case in cases))
        took_s = time.monotonic() - begun_at
        found[kind].insert(0, f"{len(cases)} cases in {took_s:.0f} s, {len(found[kind])} wrong")
        print(kind, found[kind], file=sys.stderr, flush=True)
    return found


def slow(server: Server, options: argparse.Namespace) -> list[str]:
    """slowhttptest's attacks, one after the other; what it says of each."""
    said = []
    seconds = options.slow_seconds
    for name, (mode, path, *more) in SLOW.items():
        command = [
            "slowhttptest",
            mode,
            "-u",
            f"{server.url}{path}",
            "-c",
            str(options.slow_connections),
        ]
        command += ["-r", "400", "-l", str(int(seconds)), "-i", "1", "-p", "3", "-s", "65536", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        available = re.findall(r"service available:\s*(\w+)", plain)
        connected = [int(number) for number in re.findall(r"connected:\s*(\d+)", plain)]
        no = available.count("NO")
        said.append(
            f"{name}: at most {max(connected, default=0)} held, unavailable in {no} of {len(available)} looks"
        )
    return said


def fuzz(server: Server, options: argparse.Namespace) -> tuple[str, list[str]]:
    """Fuzzed connections from several processes; what to say of them, and what was wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_seeds = fuzzing.gather(folder, max(20, options.n // 200), options.atheris_seconds, options.seed)
        begun_at = time.monotonic()
        fuzzers = [
            fuzzing.start(
                server.port, options.n // options.fuzzers, options.seed + index, options.fuzz_seconds, folder
            )
            for index in range(options.fuzzers)
        ]
        n_fuzzed = 0
        faults: list[str] = []
        for fuzzer in fuzzers:
            out, _ = fuzzer.communicate()
            n_done, found = json.loads(out)
            n_fuzzed += n_done
            faults += found
    took_s = time.monotonic() - begun_at
    seeds = ", ".join(f"{number} {origin}" for origin, number in n_seeds.items())
    return f"{n_fuzzed} in {took_s:.0f} s ({n_fuzzed / took_s:.0f}/s), from seeds: {seeds}", faults


def forged(log: str) -> list[str]:
    """Lines of a log that somebody else than the server began."""
    lines = re.split(r"[\r\n\x0b\x0c\x85\u2028\u2029]", log)
    return [line for line in lines if line.startswith(("2026-01-01", "X-Injected")) or "\x1b" in line]


def run(server: Server, idle_server: Server, options: argparse.Namespace) -> bool:
    """Everything, one after the other; gives whether every promise was kept."""
    time.sleep(0.5)
    idle = read(server.process.pid)
    peak = Peak(server.process.pid)
    kept = True
    rows: list[tuple[str, object]] = []
    faults: list[str] = []

    def cases() -> None:
        for kind, (said, *wrong) in asyncio.run(play_all(server, options.times)).items():
            rows.append((kind, said))
            faults.extend(wrong)

    def slow_clients() -> None:
        rows.extend(("slowhttptest", said) for said in slow(server, options))

    def fuzzers() -> None:
        said, wrong = fuzz(server, options)
        rows.append(("fuzzed connections", said))
        faults.extend(wrong)

    # Each on a thread that is the least urgent one, as are the processes that it starts (nice(2) on Linux is
    # of threads); what looks at the server is not.
    parts = [cases]
    if options.slow_seconds and shutil.which("slowhttptest"):
        parts.append(slow_clients)
    for part in [*parts, fuzzers]:
        with (
            Probe((server.port, idle_server.port)) as probe,
            ThreadPoolExecutor(1, initializer=os.nice, initargs=(options.nice,)) as thread,
        ):
            thread.submit(part).result()
        rows += probe.said(options.health_ms)
        rows.append(("memory then", _mib(read(server.process.pid).anon_bytes)))
        kept = kept and probe.is_kept(options.health_ms)
    peak.stop()
    after = read(server.process.pid)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (after.n_fds > idle.n_fds or after.n_threads > idle.n_threads + 64):
        time.sleep(0.2)
        after = read(server.process.pid)
    lines = forged(server.log)
    tracebacks = [line for line in server.log.splitlines() if _OWN_ERROR(line)]
    rows += [
        ("workers that died", len(set(idle.pids) - set(after.pids))),
        (
            "memory idle, most, after",
            ", ".join(map(_mib, (idle.anon_bytes, peak.n_bytes, after.anon_bytes))),
        ),
        ("descriptors before, after", f"{idle.n_fds}, {after.n_fds}"),
        (
            "threads before, after",
            f"{idle.n_threads}, {after.n_threads} (stateless calls keep up to 32 a worker)",
        ),
        ("forged lines in the log", len(lines)),
        ("errors of the server's own in the log", len(tracebacks)),
        ("machine", load()),
    ]
    print(table(rows))
    for fault in [*faults, *lines, *tracebacks][:20]:
        print(f"  {fault[:600]}", file=sys.stderr)
    same = set(idle.pids) == set(after.pids) and after.n_fds <= idle.n_fds
    bounded = peak.n_bytes < idle.anon_bytes + BOUND_BYTES and after.n_threads <= idle.n_threads + 64
    return kept and same and bounded and not faults and not lines and not tracebacks


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=200_000, help="fuzzed connections")
    parser.add_argument("--times", type=int, default=3, help="that each bomb goes off at once")
    parser.add_argument(
        "--health-ms", type=float, default=100.0, help="in which /health answers; see probe.py"
    )
    parser.add_argument("--fuzz-seconds", type=float, default=1800.0, help="after which fuzzing ends")
    parser.add_argument("--fuzzers", type=int, default=2, help="processes that fuzz")
    parser.add_argument(
        "--atheris-seconds",
        type=float,
        default=20.0,
        help="that atheris looks for seeds of each kind; 0: not",
    )
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--nice", type=int, default=19, help="how little urgent the attackers are")
    parser.add_argument(
        "--slow-seconds", type=float, default=20.0, help="of each of slowhttptest's attacks; 0: none"
    )
    parser.add_argument("--slow-connections", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    limits = {
        name: str(bombs.LIMIT_BYTES) for name in ("OPENENV_MAX_MESSAGE_BYTES", "OPENENV_MAX_BODY_BYTES")
    }
    target = "tests.reliability.envs:naughty"
    flags = ("--max-concurrent-envs", "1000")
    with serve(target) as idle_server, serve(target, *flags, env=limits, workers=options.workers) as server:
        kept = run(server, idle_server, options)
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
