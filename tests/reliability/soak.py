"""Half an hour and more of ordinary use: does anything grow?

    python -m tests.reliability.soak --seconds 1800

Sessions come, play some steps at an even rate, and go: most with a close message, some cut off. Beside them
somebody asks `/health`, `/metrics` and the stateless HTTP calls, and opens sessions over JSON-RPC. Every
answer is checked. Ends with an error where one was wrong, or where memory, descriptors or threads grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from tests.reliability.envs import next_total
from tests.reliability.watch import Reading, load, percentile, read, slope, table
from tests.reliability.wire import Client, GoneError, get
from tests.support.server import Server, serve

WARM_UP_SHARE = 0.15
"""Of the time, at the beginning: caches fill, the allocator finds its size."""


class Soak:
    """What the clients see."""

    def __init__(self, server: Server, rate: float, n_sessions: int, seed: int) -> None:
        self.server = server
        self.pause_s = n_sessions / rate
        self.random = random.Random(seed)
        self.n_steps = self.n_sessions = self.n_wrong = self.n_requests = 0
        self.took_ms: list[float] = []

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


async def watch(soak: Soak, pid: int, until: float, every_s: float) -> list[tuple[Reading, float, int]]:
    """Readings, with the 99th percentile of the steps since the last one, in milliseconds."""
    rows = []
    while time.monotonic() < until:
        await asyncio.sleep(min(every_s, max(0.0, until - time.monotonic())))
        taken, soak.took_ms = soak.took_ms, []
        reading = read(pid)
        rows.append((reading, percentile(taken, 0.99), len(taken)))
        print(
            f"{time.strftime('%H:%M:%S')} memory {reading.anon_bytes / 2**20:7.2f} MiB  fds {reading.n_fds}  "
            f"threads {reading.n_threads}  p50 {percentile(taken, 0.5):.2f} ms  p99 {rows[-1][1]:.2f} ms  "
            f"steps {len(taken)}  wrong {soak.n_wrong}  {load()}",
            flush=True,
        )
    return rows


async def run(server: Server, options: argparse.Namespace) -> bool:
    """Soak a server; gives whether every promise was kept."""
    soak = Soak(server, options.rate, options.sessions, options.seed)
    await asyncio.sleep(0.5)
    idle = read(server.process.pid)
    until = time.monotonic() + options.seconds
    players = [asyncio.create_task(soak.play(until)) for _ in range(options.sessions)]
    players.append(asyncio.create_task(soak.request(until)))
    rows = await watch(soak, server.process.pid, until, options.every)
    await asyncio.wait_for(asyncio.gather(*players), 60)
    after = read(server.process.pid)
    for _ in range(100):
        if after.n_fds <= idle.n_fds and after.n_threads <= idle.n_threads + options.workers:
            break
        await asyncio.sleep(0.1)
        after = read(server.process.pid)
    skip = int(len(rows) * WARM_UP_SHARE)
    settled = rows[skip:] or rows
    times = [reading.at for reading, _, _ in settled]
    hours = options.seconds / 3600
    memory = slope(times, [reading.anon_bytes for reading, _, _ in settled])
    fds = slope(times, [reading.n_fds for reading, _, _ in settled])
    threads = slope(times, [reading.n_threads for reading, _, _ in settled])
    p99 = slope(times, [value for _, value, _ in settled])
    mean_memory = sum(reading.anon_bytes for reading, _, _ in settled) / len(settled)
    print(
        table(
            [
                ("seconds", options.seconds),
                ("workers, sessions", f"{options.workers}, {options.sessions}"),
                ("steps", f"{soak.n_steps} ({soak.n_steps / options.seconds:.0f}/s)"),
                ("sessions opened, HTTP requests", f"{soak.n_sessions}, {soak.n_requests}"),
                ("wrong or lost answers", soak.n_wrong),
                (
                    "memory of all processes",
                    f"{mean_memory / 2**20:.2f} MiB (idle {idle.anon_bytes / 2**20:.2f})",
                ),
                ("memory slope", f"{memory / 2**20:+.3f} MiB/h ({100 * memory / mean_memory:+.2f} %/h)"),
                ("descriptor slope", f"{fds:+.2f}/h"),
                ("thread slope", f"{threads:+.2f}/h"),
                (
                    "p99 slope",
                    f"{p99:+.3f} ms/h, median p99 {percentile([v for _, v, _ in settled], 0.5):.2f} ms",
                ),
                ("descriptors idle before, after", f"{idle.n_fds}, {after.n_fds}"),
                ("threads idle before, after", f"{idle.n_threads}, {after.n_threads}"),
                ("machine", load()),
            ]
        )
    )
    # Sessions come and go by chance: what stays within a few of them in all this time does not grow.
    grows = memory * hours > 0.05 * mean_memory or fds * hours > 5 or threads * hours > 5
    # The stateless calls of each worker keep the thread that they were given.
    left = after.n_fds > idle.n_fds or after.n_threads > idle.n_threads + options.workers
    return not (soak.n_wrong or left or (grows and options.seconds >= 300))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--rate", type=float, default=200.0, help="steps per second, all sessions together")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two readings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with serve(
        "tests.reliability.envs:tally", "--max-concurrent-envs", "200", workers=options.workers
    ) as server:
        kept = asyncio.run(run(server, options))
        if "Traceback" in server.log:
            kept = False
            print(server.log[-4000:], file=sys.stderr)
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
