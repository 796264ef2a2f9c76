"""What SIGTERM and SIGHUP do to those who are in the middle of something.

    python -m tests.reliability.drain --sessions 200 --seconds 30

First part: every session is in the middle of a step when SIGTERM comes; each must get its reply, and then the
close frame that says that the server goes away. Second part: sessions step without a pause while SIGHUP
replaces all workers, again and again; a session that ends with 1001 is opened anew and plays on. No step may
be answered with an error, no connection may end in any other way, none may be refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter

from tests.reliability.envs import next_total
from tests.reliability.watch import family, load, table
from tests.reliability.wire import Client, GoneError
from tests.support.server import Server, serve

GOING_AWAY = 1001  # RFC 6455 section 7.4.1
STEP_S = 3.0


async def interrupt(server: Server, n_sessions: int) -> Counter[str]:
    """SIGTERM while every session is in the middle of a step; what came of each."""
    clients = await asyncio.gather(*(Client.open(server.host, server.port) for _ in range(n_sessions)))
    seen: Counter[str] = Counter()
    for client in clients:
        await client.ask("reset", {"seed": 1})
    for client in clients:
        client.tell("step", {"value": 2, "seconds": STEP_S})
    await asyncio.sleep(STEP_S / 3)

    async def wait(client: Client) -> None:
        try:
            reply = await client.hear()
            right = reply["data"].get("observation", {}).get("total") == next_total(1, 2)
            seen["replies"] += right
            seen["wrong replies"] += not right
            await client.hear()
        except GoneError as error:
            seen[f"closed with {error.code}"] += 1
        finally:
            client.cut()

    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*map(wait, clients))
    return seen


class Reload:
    """Sessions that play on whatever happens."""

    def __init__(self, server: Server, until: float) -> None:
        self.server = server
        self.until = until
        self.seen: Counter[str] = Counter()
        self.longest_gap_s = 0.0

    async def play(self, seed: int) -> None:
        """One session after another until the time is up."""
        rng = random.Random(seed)
        while time.monotonic() < self.until:
            gap_from = time.monotonic()
            try:
                client = await Client.open(self.server.host, self.server.port)
            except GoneError as error:
                self.seen[f"refused: {error}"] += 1
                await asyncio.sleep(0.1)
                continue
            asked = False
            try:
                total = rng.randrange(1000)
                await client.ask("reset", {"seed": total})
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - gap_from)
                while time.monotonic() < self.until:
                    total = next_total(total, 1)
                    asked = True
                    reply = await client.ask("step", {"value": 1})
                    asked = False
                    if reply["data"].get("observation", {}).get("total") == total:
                        self.seen["steps"] += 1
                    else:
                        self.seen[f"failed: {str(reply)[:80]}"] += 1
                    await asyncio.sleep(rng.uniform(0, 0.2))
                await client.leave()
            except GoneError as error:
                if error.code == GOING_AWAY:
                    self.seen["sessions that were told to reconnect"] += 1
                    self.seen["steps that crossed the word to reconnect"] += asked
                else:
                    self.seen[f"lost: {error}"] += 1
            finally:
                client.cut()


async def reload(
    server: Server, n_sessions: int, seconds: float, every_s: float
) -> tuple[Counter[str], float]:
    """SIGHUP again and again under load; what the sessions saw, and the longest wait for a new one."""
    playing = Reload(server, time.monotonic() + seconds)
    tasks = [asyncio.create_task(playing.play(index)) for index in range(n_sessions)]
    before = set(family(server.process.pid)[1:])
    while time.monotonic() + every_s < playing.until:
        await asyncio.sleep(every_s)
        server.process.send_signal(signal.SIGHUP)
        playing.seen["SIGHUPs"] += 1
    await asyncio.gather(*tasks)
    playing.seen["workers replaced"] = len(before - set(family(server.process.pid)[1:]))
    return playing.seen, playing.longest_gap_s


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the second part")
    parser.add_argument("--every", type=float, default=8.0, help="seconds between two SIGHUPs")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args(arguments)
    flags = ("--max-concurrent-envs", str(2 * options.sessions))
    with serve("tests.reliability.envs:tally", *flags, workers=options.workers) as server:
        pids = family(server.process.pid)
        replies = asyncio.run(interrupt(server, options.sessions))
        code = server.process.wait(60)
        n_left = sum(os.path.exists(f"/proc/{pid}") for pid in pids)
    with serve("tests.reliability.envs:tally", *flags, workers=options.workers) as server:
        steps, gap_s = asyncio.run(reload(server, options.sessions, options.seconds, options.every))
    print(
        table(
            [
                ("sessions in the middle of a step at SIGTERM", options.sessions),
                *replies.items(),
                ("exit code, processes left", f"{code}, {n_left}"),
                ("", ""),
                *sorted(steps.items()),
                ("longest wait for a new session", f"{gap_s:.2f} s"),
                ("machine", load()),
            ]
        )
    )
    drained = replies["replies"] == replies[f"closed with {GOING_AWAY}"] == options.sessions
    failed = [name for name in steps if name.startswith(("refused", "failed", "lost"))]
    replaced = steps["workers replaced"] == options.workers and steps["steps"] > 0
    kept = drained and code == 0 and not n_left and not failed and replaced
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
