"""Half an hour and more of ordinary use: does anything grow?

    python -m tests.reliability.soak --seconds 1800

Sessions come, play some steps at an even rate, and go: most with a close message, some cut off. Beside them
somebody asks `/health`, `/metrics` and the stateless HTTP calls, and opens sessions over JSON-RPC. Every
answer is checked. The rate is half of what the same sessions reach just before without a pause.

A second server is idle but for one session, whose steps are timed by the same program at the same time: what
is late there is late because of the machine or of this program. Ends with an error where an answer was wrong,
where memory, descriptors or threads grew, or where the 99th percentile grew as a multiple of the idle one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.reliability.envs import next_total
from tests.reliability.watch import Reading, load, percentile, read, slope, table
from tests.reliability.wire import Client, GoneError, get
from tests.support.server import Server, serve

WARM_UP_SHARE = 0.15
"""Of the time, at the beginning: caches fill, the allocator finds its size."""

APP = "tests.reliability.envs:tally"
IDLE_PAUSE_S = 0.05
GROWN = 1.5
"""A 99th percentile has grown that at the end is so many times the multiple of the idle one that it was."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one look saw: the server's processes, and the steps since the last look in milliseconds."""

    reading: Reading
    p50_ms: float
    p99_ms: float
    idle_p99_ms: float
    n_steps: int


class Soak:
    """What the clients see."""

    def __init__(self, server: Server, pause_s: float, seed: int) -> None:
        self.server = server
        self.pause_s = pause_s
        self.random = random.Random(seed)
        self.n_steps = self.n_sessions = self.n_wrong = self.n_requests = 0
        self.took_ms: list[float] = []
        self.idle_took_ms: list[float] = []

    async def play(self, until: float) -> None:
        """One session after another."""
        while time.monotonic() < until:
            client = await Client.open(self.server.host, self.server.port)
            self.n_sessions += 1
            try:
                await self._episode(client, until)
                if self.random.random() < 0.8:
                    await client.leave()
            except GoneError as error:
                self.n_wrong += 1
                print(f"a session was lost: {error}", file=sys.stderr)
            finally:
                client.cut()

    async def _episode(self, client: Client, until: float) -> None:
        total = self.random.randrange(1000)
        reply = await client.ask("reset", {"seed": total})
        self._check(reply["data"]["observation"]["total"] == total)
        for _ in range(self.random.randrange(20, 400)):
            if time.monotonic() > until:
                return
            value = self.random.randrange(1000)
            begun_at = time.perf_counter()
            reply = await client.ask("step", {"value": value})
            self.took_ms.append(1e3 * (time.perf_counter() - begun_at))
            total = next_total(total, value)
            self._check(reply["data"].get("observation", {}).get("total") == total)
            self.n_steps += 1
            if self.random.random() < 0.01:
                reply = await client.ask("step", {"value": "no number"})
                self._check(reply["data"].get("code") == "VALIDATION_ERROR")
            await asyncio.sleep(self.pause_s * self.random.uniform(0.5, 1.5))

    async def look_beside(self, idle: Server, until: float) -> None:
        """Time the steps of the only session of a server that does nothing else."""
        client = await Client.open(idle.host, idle.port)
        try:
            await client.ask("reset", {"seed": 1})
            while time.monotonic() < until:
                begun_at = time.perf_counter()
                await client.ask("step", {"value": 1})
                self.idle_took_ms.append(1e3 * (time.perf_counter() - begun_at))
                await asyncio.sleep(IDLE_PAUSE_S)
        finally:
            client.cut()

    async def request(self, until: float) -> None:
        """HTTP beside the sessions."""
        while time.monotonic() < until:
            for path in ("/health", "/metrics", "/schema", "/state"):
                status, _ = await get(self.server.host, self.server.port, path)
                self._check(status == 200)
                self.n_requests += 1
            created = await self._rpc("openenv/session/create", {})
            self._check("session_id" in created)
            self._check((await self._rpc("openenv/session/close", created)).get("closed", False))
            await asyncio.sleep(1.0)

    async def _rpc(self, method: str, params: Mapping[str, object]) -> dict[str, bool]:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        fields = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"POST /mcp HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n{body}".encode())
        answer = await reader.read(-1)
        writer.close()
        self.n_requests += 1
        result: dict[str, bool] = json.loads(answer.partition(b"\r\n\r\n")[2]).get("result", {})
        return result

    def _check(self, right: bool) -> None:
        if not right:
            self.n_wrong += 1


async def most(server: Server, n_sessions: int, seconds: float, seed: int) -> float:
    """Steps per second of sessions that never pause."""
    soak = Soak(server, 0.0, seed)
    until = time.monotonic() + seconds
    begun_at = time.monotonic()
    await asyncio.gather(*(soak.play(until) for _ in range(n_sessions)))
    return soak.n_steps / (time.monotonic() - begun_at)


async def watch(soak: Soak, pid: int, until: float, every_s: float) -> list[Row]:
    """Readings, with what the steps took meanwhile."""
    rows = []
    while time.monotonic() < until:
        await asyncio.sleep(min(every_s, max(0.0, until - time.monotonic())))
        taken, soak.took_ms = soak.took_ms, []
        beside, soak.idle_took_ms = soak.idle_took_ms, []
        p50_ms, p99_ms = percentile(taken, 0.5), percentile(taken, 0.99)
        row = Row(read(pid), p50_ms, p99_ms, percentile(beside, 0.99), len(taken))
        rows.append(row)
        reading = row.reading
        print(
            f"{time.strftime('%H:%M:%S')} memory {reading.anon_bytes / 2**20:7.2f} MiB  fds {reading.n_fds}  "
            f"threads {reading.n_threads}  p50 {row.p50_ms:.2f} ms  p99 {row.p99_ms:.2f} ms  "
            f"idle p99 {row.idle_p99_ms:.2f} ms  steps {row.n_steps}  wrong {soak.n_wrong}  {load()}",
            flush=True,
        )
    return rows


def _of_idle(rows: Sequence[Row]) -> float:
    """The 99th percentile as a multiple of the idle server's at the same time: the median of some looks."""
    return percentile([row.p99_ms / row.idle_p99_ms for row in rows if row.idle_p99_ms and row.n_steps], 0.5)


async def run(server: Server, idle: Server, options: argparse.Namespace) -> bool:
    """Soak a server; gives whether every promise was kept."""
    rate = options.rate
    said = "as asked for"
    if not rate:
        best = await most(server, options.sessions, options.measure, options.seed)
        rate = best / 2
        said = f"half of {best:.0f}/s, which the same sessions reached in {options.measure:g} s before"
    soak = Soak(server, options.sessions / rate, options.seed)
    await asyncio.sleep(0.5)
    before = read(server.process.pid)
    until = time.monotonic() + options.seconds
    players = [asyncio.create_task(soak.play(until)) for _ in range(options.sessions)]
    players.append(asyncio.create_task(soak.request(until)))
    players.append(asyncio.create_task(soak.look_beside(idle, until)))
    rows = await watch(soak, server.process.pid, until, options.every)
    await asyncio.wait_for(asyncio.gather(*players), 60)
    after = read(server.process.pid)
    for _ in range(100):
        if after.n_fds <= before.n_fds and after.n_threads <= before.n_threads + options.workers:
            break
        await asyncio.sleep(0.1)
        after = read(server.process.pid)
    skip = int(len(rows) * WARM_UP_SHARE)
    settled = rows[skip:] or rows
    third = max(1, len(settled) // 3)
    early, late = _of_idle(settled[:third]), _of_idle(settled[-third:])
    times = [row.reading.at for row in settled]
    hours = options.seconds / 3600
    memory = slope(times, [row.reading.anon_bytes for row in settled])
    fds = slope(times, [row.reading.n_fds for row in settled])
    threads = slope(times, [row.reading.n_threads for row in settled])
    p99 = slope(times, [row.p99_ms for row in settled])
    idle_p99 = slope(times, [row.idle_p99_ms for row in settled])
    mean_memory = sum(row.reading.anon_bytes for row in settled) / len(settled)
    print(
        table(
            [
                ("seconds", options.seconds),
                ("workers, sessions", f"{options.workers}, {options.sessions}"),
                ("rate", f"{rate:.0f}/s: {said}"),
                ("steps", f"{soak.n_steps} ({soak.n_steps / options.seconds:.0f}/s)"),
                ("sessions opened, HTTP requests", f"{soak.n_sessions}, {soak.n_requests}"),
                ("wrong or lost answers", soak.n_wrong),
                (
                    "memory of all processes",
                    f"{mean_memory / 2**20:.2f} MiB (before {before.anon_bytes / 2**20:.2f})",
                ),
                ("memory slope", f"{memory / 2**20:+.3f} MiB/h ({100 * memory / mean_memory:+.2f} %/h)"),
                ("descriptor slope", f"{fds:+.2f}/h"),
                ("thread slope", f"{threads:+.2f}/h"),
                ("p99", f"median {percentile([row.p99_ms for row in settled], 0.5):.2f} ms, {p99:+.2f} ms/h"),
                (
                    "p99 of the idle server",
                    f"median {percentile([row.idle_p99_ms for row in settled], 0.5):.2f} ms, "
                    f"{idle_p99:+.2f} ms/h",
                ),
                (
                    "p99 as a multiple of the idle one",
                    f"{early:.2f} in the first third, {late:.2f} in the last",
                ),
                ("descriptors idle before, after", f"{before.n_fds}, {after.n_fds}"),
                ("threads idle before, after", f"{before.n_threads}, {after.n_threads}"),
                ("machine", load()),
            ]
        )
    )
    # Sessions come and go by chance: what stays within a few of them in all this time does not grow.
    grows = (
        memory * hours > 0.05 * mean_memory or fds * hours > 5 or threads * hours > 5 or late > GROWN * early
    )
    # The stateless calls of each worker keep the thread that they were given.
    left = after.n_fds > before.n_fds or after.n_threads > before.n_threads + options.workers
    return not (soak.n_wrong or left or (grows and options.seconds >= 300))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="steps per second, all sessions together; 0 finds half load"
    )
    parser.add_argument("--measure", type=float, default=20.0, help="seconds for finding it")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two readings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with serve(APP) as idle, serve(APP, "--max-concurrent-envs", "200", workers=options.workers) as server:
        kept = asyncio.run(run(server, idle, options))
        if "Traceback" in server.log:
            kept = False
            print(server.log[-4000:], file=sys.stderr)
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
