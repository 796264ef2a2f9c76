"""Everything that goes wrong, at once: who is not concerned must notice nothing, and nothing may be left.

    python -m tests.reliability.chaos --seconds 300 --clients 500

Six in ten clients play and check each answer. The others cut sockets off in the middle of a frame, do not
read, write a byte at a time, or have an environment that raises, hangs past the step deadline, leaves threads
behind or exits. Meanwhile workers are killed with SIGKILL, and now and then an environment ends its
worker by `os._exit` or a segmentation fault. A session may be lost only where a worker has just died; in the
first quarter of the time none does.

Afterwards: no session, thread, descriptor or process more than before, and all places can be taken again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from tests.reliability.envs import next_total
from tests.reliability.watch import Reading, family, load, read, table, zombies
from tests.reliability.wire import TEXT, Client, GoneError, frame, get
from tests.support.server import Server, serve

STEP_DEADLINE_S = 2.0
HANG_S = 6.0
LOSS_S = 5.0
"""How long after a worker's death the loss of its sessions may be noticed, on a machine that is busy."""

SLOW_LOSS_S = 20.0
"""The same for clients that look at their socket now and then only."""

CALM_SHARE = 0.25
"""Of the time, at the beginning, in which no worker dies, so that no loss at all is excused."""

ROLES = (
    *(("honest", 60), ("cut", 6), ("slow reader", 4), ("slow writer", 4)),
    *(("raises", 6), ("hangs", 6), ("leaks", 6), ("exits softly", 6), ("rude", 2)),
)


class Chaos:
    """All clients, and what they saw."""

    def __init__(self, server: Server, options: argparse.Namespace) -> None:
        self.server = server
        self.options = options
        self.random = random.Random(options.seed)
        self.until = time.monotonic() + options.seconds
        self.deaths: list[float] = []
        self.losses: list[tuple[bool, str]] = []
        self.wrong: list[str] = []
        self.seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Have all of them do their worst, until the time is up."""
        names = [name for name, weight in ROLES for _ in range(weight)]
        roles = [names[index * 37 % len(names)] for index in range(self.options.clients)]
        tasks = [
            asyncio.create_task(self._live(role, random.Random(index))) for index, role in enumerate(roles)
        ]
        tasks += [asyncio.create_task(self._kill()), asyncio.create_task(self._look())]
        tasks += [asyncio.create_task(self._end_a_worker())]
        await asyncio.gather(*tasks)

    async def _live(self, role: str, rng: random.Random) -> None:
        act = getattr(self, f"_{role.replace(' ', '_')}")
        await asyncio.sleep(rng.uniform(0, min(2.0, self.options.seconds / 4)))
        while time.monotonic() < self.until:
            client = None
            try:
                small = 65536 if role == "slow reader" else None
                client = await Client.open(self.server.host, self.server.port, receive_buffer_bytes=small)
                await act(client, rng)
                self.seen[role] += 1
            except GoneError as error:
                late_s = SLOW_LOSS_S if role.startswith("slow") else LOSS_S
                self.losses.append((self._is_excused(time.monotonic(), late_s), f"{role}: {error}"))
                await asyncio.sleep(rng.uniform(0.1, 0.5))
            except TimeoutError:
                self.wrong.append(f"{role}: no answer in time")
            finally:
                if client is not None:
                    client.cut()

    # -- what clients do, each over one session -------------------------------------------------

    async def _episode(self, client: Client, rng: random.Random, n_steps: int) -> None:
        """Play, and check everything."""
        total = rng.randrange(1000)
        reply = await client.ask("reset", {"seed": total})
        self._expect(reply, total=total, n_steps=0)
        for index in range(n_steps):
            value = rng.randrange(1000)
            reply = await client.ask("step", {"value": value})
            total = next_total(total, value)
            self._expect(reply, total=total, n_steps=index + 1)
            self.seen["checked steps"] += 1
            await asyncio.sleep(rng.uniform(0.1, 0.5))

    def _expect(self, reply: dict[str, Any], **fields: Any) -> None:
        data = reply["data"].get("observation", reply["data"])
        if any(data.get(name) != value for name, value in fields.items()):
            self.wrong.append(f"expected {fields}, got {str(reply)[:200]}")

    async def _honest(self, client: Client, rng: random.Random) -> None:
        for _ in range(2):
            await self._episode(client, rng, rng.randrange(5, 20))
        await client.leave()

    async def _cut(self, client: Client, rng: random.Random) -> None:
        await self._episode(client, rng, 1)
        whole = frame(b'{"type":"step","data":{"value":1,"n_bytes":100000}}')
        client.send(whole * rng.randrange(3) + whole[: rng.randrange(1, len(whole))])
        await asyncio.sleep(rng.uniform(0, 0.3))

    async def _slow_reader(self, client: Client, rng: random.Random) -> None:
        total = 0
        await client.ask("reset", {"seed": 0})
        for value in range(24):
            client.tell("step", {"value": value, "n_bytes": 300_000})
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        for value in range(24):
            reply = await client.hear()
            total = next_total(total, value)
            self._expect(reply, total=total, n_steps=value + 1, pad="x" * 300_000)
            await asyncio.sleep(0.1)

    async def _slow_writer(self, client: Client, rng: random.Random) -> None:
        await client.ask("reset", {"seed": 7})
        data = frame(b'{"type":"step","data":{"value":1}}', TEXT)
        for index in range(len(data)):
            client.send(data[index : index + 1])
            await asyncio.sleep(0.03)
        self._expect(await client.hear(), total=next_total(7, 1))

    async def _raises(self, client: Client, rng: random.Random) -> None:
        await self._after(client, {"do": "raise"}, "RuntimeError")

    async def _exits_softly(self, client: Client, rng: random.Random) -> None:
        await self._after(client, {"do": "system exit"}, "SystemExit")

    async def _after(self, client: Client, action: dict[str, Any], exception: str) -> None:
        """The session goes on where it was after what the environment raised."""
        await client.ask("reset", {"seed": 5})
        for _ in range(5):
            self._expect(await client.ask("step", action), code="EXECUTION_ERROR", exception=exception)
            await asyncio.sleep(0.2)
        self._expect(await client.ask("step", {"value": 1}), total=next_total(5, 1), n_steps=1)
        await client.leave()

    async def _hangs(self, client: Client, rng: random.Random) -> None:
        await client.ask("reset", {"seed": 5})
        reply = await client.ask("step", {"seconds": HANG_S})
        self._expect(reply, code="EXECUTION_ERROR", exception="StepTimeoutError")
        if rng.random() < 0.5:
            self._expect(await client.ask("step", {"value": 1}), code="SESSION_ERROR")
            self._expect(await client.ask("reset", {"seed": 6}), total=6)
            self._expect(await client.ask("step", {"value": 1}), total=next_total(6, 1), n_steps=1)

    async def _leaks(self, client: Client, rng: random.Random) -> None:
        await client.ask("reset", {"seed": 5})
        total = 5
        for _ in range(2):
            total = next_total(total, 0)
            self._expect(await client.ask("step", {"do": "leak"}), total=total)
            await asyncio.sleep(0.5)

    async def _rude(self, client: Client, rng: random.Random) -> None:
        """Many requests at once, and gone before they are answered."""
        await client.ask("reset", {"seed": 5})
        client.send(frame(b'{"type":"step","data":{"value":1,"n_bytes":50000}}') * 200)
        await asyncio.sleep(rng.uniform(0, 0.2))

    # -- what happens to workers ----------------------------------------------------------------

    async def _kill(self) -> None:
        await asyncio.sleep(CALM_SHARE * self.options.seconds)
        while time.monotonic() + self.options.kill_every < self.until:
            await asyncio.sleep(self.options.kill_every * self.random.uniform(0.7, 1.3))
            workers = family(self.server.process.pid)[1:]
            if workers:
                self.deaths.append(time.monotonic())
                with suppress(ProcessLookupError):
                    os.kill(self.random.choice(workers), signal.SIGKILL)
                    self.seen["workers killed"] += 1

    async def _end_a_worker(self) -> None:
        await asyncio.sleep(CALM_SHARE * self.options.seconds)
        while time.monotonic() + self.options.exit_every < self.until:
            await asyncio.sleep(self.options.exit_every)
            how = self.random.choice(("exit", "segfault"))
            with suppress(GoneError):
                client = await Client.open(self.server.host, self.server.port)
                await client.ask("reset", {})
                self.deaths.append(time.monotonic())
                self.seen[f"workers ended by an environment ({how})"] += 1
                try:
                    await client.ask("step", {"do": how})
                    self.wrong.append(f"an environment that did {how} answered")
                finally:
                    self.deaths.append(time.monotonic())

    async def _look(self) -> None:
        """The server answers throughout."""
        took_ms = []
        while time.monotonic() < self.until:
            begun_at = time.monotonic()
            status, _ = await get(self.server.host, self.server.port)
            now = time.monotonic()
            if status != 200 and not self._is_excused(now):
                self.wrong.append(f"/health gave {status}")
            if status == 200:
                took_ms.append(1e3 * (now - begun_at))
            await asyncio.sleep(0.1)
        self.seen["/health answered"] = len(took_ms)

    def _is_excused(self, at: float, late_s: float = LOSS_S) -> bool:
        return any(death - 0.1 <= at <= death + late_s for death in self.deaths)

    def unexplained(self) -> list[str]:
        """Losses that no worker's death explains."""
        return [text for is_excused, text in self.losses if not is_excused]


async def sessions_held(server: Server) -> float:
    """Sessions in any state, as `/metrics` says, looked at by all workers."""
    _, body = await get(server.host, server.port, "/metrics")
    values = re.findall(rb"^openenv_sessions\{[^}]*\} (\S+)$", body, re.MULTILINE)
    return sum(map(float, values)) if values else float("nan")


async def settled(server: Server, idle: Reading, timeout_s: float) -> tuple[Reading, float]:
    """What the server takes once nothing is left, or when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        now, held = read(server.process.pid), await sessions_held(server)
        clean = (
            held == 0
            and len(now.pids) == len(idle.pids)
            and now.n_fds <= idle.n_fds
            and now.n_threads <= idle.n_threads
        )
        if clean or time.monotonic() > deadline:
            return now, held
        await asyncio.sleep(0.2)


async def fill(server: Server, capacity: int) -> tuple[int, str]:
    """How many sessions can be opened at once, and what the next one is told."""
    clients: list[Client] = []
    try:
        n_reset = 0
        for _ in range(capacity):
            clients.append(await Client.open(server.host, server.port))
            n_reset += (await clients[-1].ask("reset", {"seed": 1}))["type"] == "observation"
        clients.append(await Client.open(server.host, server.port))
        return n_reset, str((await clients[-1].hear())["data"].get("code"))
    finally:
        for client in clients:
            client.cut()


async def run(server: Server, options: argparse.Namespace) -> bool:
    """Chaos, and the look at what is left; gives whether every promise was kept."""
    await asyncio.sleep(0.5)
    idle = read(server.process.pid)
    chaos = Chaos(server, options)
    await chaos.run()
    after, held = await settled(server, idle, HANG_S + 20)
    n_opened, refused = await fill(server, options.capacity)
    last, still_held = await settled(server, idle, 20)
    dead = zombies(server.process.pid)
    unexplained = chaos.unexplained()
    rows: list[tuple[str, object]] = [
        ("seconds, clients, workers", f"{options.seconds:g}, {options.clients}, {options.workers}"),
        *sorted(chaos.seen.items()),
        ("sessions lost with a worker", len(chaos.losses) - len(unexplained)),
        ("sessions lost without a worker's death", len(unexplained)),
        ("wrong answers", len(chaos.wrong)),
        ("sessions left", f"{held:g}"),
        ("processes before, after", f"{len(idle.pids)}, {len(after.pids)} (zombies {len(dead)})"),
        ("descriptors before, after", f"{idle.n_fds}, {after.n_fds}"),
        ("threads before, after", f"{idle.n_threads}, {after.n_threads}"),
        ("memory before, after", f"{idle.anon_bytes / 2**20:.1f} MiB, {after.anon_bytes / 2**20:.1f} MiB"),
        ("places taken again; the next one is told", f"{n_opened} of {options.capacity}; {refused}"),
        ("machine", load()),
    ]
    print(table(rows))
    for text in [*chaos.wrong[:10], *unexplained[:10]]:
        print(f"  {text}", file=sys.stderr)
    is_clean = all(
        (
            held == still_held == 0,
            len(after.pids) == len(last.pids) == options.workers + 1,
            after.n_fds <= idle.n_fds,
            after.n_threads <= idle.n_threads,
            not dead,
        )
    )
    served = (
        chaos.seen["checked steps"] > 0 and n_opened == options.capacity and refused == "CAPACITY_REACHED"
    )
    return is_clean and served and not chaos.wrong and not unexplained


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=5.0, help="seconds between two SIGKILLs")
    parser.add_argument("--exit-every", type=float, default=12.0, help="seconds between two exits")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what it says of sockets that we cut ourselves
    options.capacity = options.clients + 50
    flags = ("--max-concurrent-envs", str(options.capacity), "--step-deadline-s", str(STEP_DEADLINE_S))
    with serve("tests.reliability.envs:naughty", *flags, workers=options.workers) as server:
        kept = asyncio.run(run(server, options))
        pids = family(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
        left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        print(table([("exit code after SIGTERM, processes left", f"{code}, {len(left)}")]))
        kept = kept and code == 0 and not left
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
