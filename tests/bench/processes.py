"""What `--isolation process` costs: steps per second, memory and opening time of a session, beside threads.

In: how many sessions at once. Out: one line for each round, both servers measured in turns in one run, and
the ratio of their rates. Memory is the proportional set size of the server's whole tree of processes, so that
pages which children share with it count once.

    python tests/bench/processes.py [SESSIONS] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server import Server, serve  # noqa: E402

TARGET = f"{ROOT}/tests/bench/envs/ours_threaded.py:app"
N_STEPS = 3000
STEP = '{"type":"step","data":{"message":"hi"}}'


def kib_of(pid: int) -> int:
    """Proportional set size of a process and of all below it."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total = int(line.split()[1])
    for thread in os.listdir(f"/proc/{pid}/task"):
        children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        total += sum(kib_of(int(child)) for child in children)
    return total


async def play(socket: ClientConnection, n_steps: int) -> None:
    """So many steps, one after the other."""
    for _ in range(n_steps):
        await socket.send(STEP)
        await socket.recv()


async def measure(server: Server, n_sessions: int) -> tuple[float, float, float]:
    """Steps per second, KiB for each session, milliseconds to open one."""
    before = kib_of(server.process.pid)
    begun_at = time.perf_counter()
    sockets = [await connect(server.ws_url, compression=None, proxy=None) for _ in range(n_sessions)]
    for socket in sockets:
        await socket.send('{"type":"reset"}')
        await socket.recv()
    open_ms = (time.perf_counter() - begun_at) / n_sessions * 1e3
    n_kib = (kib_of(server.process.pid) - before) / n_sessions
    await asyncio.gather(*(play(socket, 20) for socket in sockets))
    n_steps = N_STEPS // n_sessions
    begun_at = time.perf_counter()
    await asyncio.gather(*(play(socket, n_steps) for socket in sockets))
    rate = n_sessions * n_steps / (time.perf_counter() - begun_at)
    await asyncio.gather(*(socket.close() for socket in sockets))
    return rate, n_kib, open_ms


def main() -> None:
    """Measure and print."""
    n_sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    n_rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with ExitStack() as stack:
        threads, processes = (
            stack.enter_context(serve(TARGET, "--isolation", kind, "--max-concurrent-envs", "1000"))
            for kind in ("thread", "process")
        )
        for _ in range(n_rounds):
            rate, n_kib, open_ms = asyncio.run(measure(threads, n_sessions))
            print(f"thread {rate:6.0f} steps/s {n_kib:6.0f} KiB {open_ms:6.2f} ms", end="   ")
            other, n_kib, open_ms = asyncio.run(measure(processes, n_sessions))
            print(
                f"process {other:6.0f} steps/s {n_kib:6.0f} KiB {open_ms:6.2f} ms   {other / rate:.2f} of it"
            )


if __name__ == "__main__":
    main()
