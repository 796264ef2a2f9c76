"""Balance, queue, lease and deadline, of our server and of the incumbent's, on the same machine.

    python -m tests.reliability.figures --n 256

Each question is put to both, to the same environment over the same protocol: how evenly workers are loaded,
what somebody hears who comes a second too early, when the place of an abandoned session is free again, and
what becomes of a step that hangs. Ends with an error where ours does not keep what it promises.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.reliability.watch import load, table
from tests.reliability.wire import Client, GoneError
from tests.support.server import Server, serve, serve_incumbent

APP = "tests.reliability.both:app"
WORKERS = 4
WATCH_S = 8.0
"""How long something is looked at that may never happen."""

Serve = Callable[..., AbstractContextManager[Server]]


@contextmanager
def ours(capacity: int, workers: int = 1, *flags: str) -> Iterator[Server]:
    """Our server."""
    with serve(
        APP,
        "--max-concurrent-envs",
        str(capacity),
        *flags,
        workers=workers,
        env={"OPENENV_CAPACITY_WAIT_S": "5"},
    ) as server:
        yield server


@contextmanager
def incumbent(capacity: int, workers: int = 1, *flags: str) -> Iterator[Server]:
    """The incumbent's, which has none of the flags; its capacity is that of each worker."""
    env = {"WEB_CONCURRENCY": str(workers), "BOTH_CAPACITY": str(capacity)}
    with serve_incumbent(APP, env=env) as server:
        yield server


async def balance(server: Server, n_sessions: int) -> float:
    """Sessions of the most loaded worker, as a multiple of the mean over all workers."""
    held: list[Client] = []
    pids: Counter[int] = Counter()
    try:
        for first in range(0, n_sessions, 32):
            opening = (
                Client.open(server.host, server.port) for _ in range(first, min(first + 32, n_sessions))
            )
            held += await asyncio.gather(*opening)
        for client in held:
            reply = await client.ask("reset", {})
            pids[reply["data"]["observation"]["pid"]] += 1
    finally:
        for client in held:
            client.cut()
    return max(pids.values()) / (n_sessions / WORKERS)


async def early(server: Server, capacity: int) -> str:
    """Somebody comes while all places are taken; one is free a second later."""
    held = [await Client.open(server.host, server.port) for _ in range(capacity)]
    for client in held:
        await client.ask("reset", {})
    late = await Client.open(server.host, server.port)
    try:
        begun_at = time.monotonic()
        late.tell("reset", {})
        leaving = asyncio.create_task(_leave_later(held[0], 1.0))
        try:
            reply = await late.hear()
        except GoneError as error:
            reply = {"type": str(error), "data": {}}
        took_s = time.monotonic() - begun_at
        await leaving
        said = reply["data"].get("code", reply["type"])
        return f"{'a session' if said == 'observation' else said} after {took_s:.2f} s"
    finally:
        for client in (*held, late):
            client.cut()


async def _leave_later(client: Client, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await client.leave()


async def _free_after(server: Server) -> float | None:
    """Seconds until a session can be had; None if not while we look."""
    begun_at = time.monotonic()
    while time.monotonic() - begun_at < WATCH_S:
        client = None
        try:
            client = await Client.open(server.host, server.port)
            if (await client.ask("reset", {}))["type"] == "observation":
                return time.monotonic() - begun_at
        except GoneError:
            pass
        finally:
            if client is not None:
                client.cut()
        await asyncio.sleep(0.1)
    return None


def _said(seconds: float | None) -> str:
    return f"not within {WATCH_S:g} s" if seconds is None else f"after {seconds:.1f} s"


async def abandoned(server: Server) -> str:
    """A client keeps its connection, answers pings and never asks again; there is no other place."""
    client = await Client.open(server.host, server.port)
    try:
        await client.ask("reset", {})
        answering = asyncio.create_task(_answer_pings(client))
        free = await _free_after(server)
        answering.cancel()
        return _said(free)
    finally:
        client.cut()


async def _answer_pings(client: Client) -> None:
    try:
        while True:
            await client.hear()
    except (GoneError, TimeoutError):
        pass


async def hanging(server: Server) -> tuple[str, str]:
    """A step hangs: what its client hears, and when the only place is free after the client has left."""
    client = await Client.open(server.host, server.port)
    try:
        await client.ask("reset", {})
        begun_at = time.monotonic()
        try:
            async with asyncio.timeout(WATCH_S):
                reply = await client.ask("step", {"seconds": 60})
            heard = (
                f"{reply['data'].get('exception', reply['type'])} after {time.monotonic() - begun_at:.1f} s"
            )
        except TimeoutError:
            heard = f"nothing within {WATCH_S:g} s"
    finally:
        client.cut()
    return heard, _said(await _free_after(server))


def ask(serve: Serve, n_sessions: int) -> dict[str, object]:
    """Put all questions to one server."""
    with serve(n_sessions, WORKERS) as server:
        skew = asyncio.run(balance(server, n_sessions))
    with serve(4, 1) as server:
        waited = asyncio.run(early(server, 4))
    with serve(1, 1, "--lease-s", "2") as server:
        lease = asyncio.run(abandoned(server))
    with serve(1, 1, "--step-deadline-s", "1") as server:
        heard, free = asyncio.run(hanging(server))
    return {
        f"{n_sessions} sessions over {WORKERS} workers: most loaded / mean": f"{skew:.2f}",
        "full, and a place is free 1 s later": waited,
        "place of an abandoned session (lease 2 s) is free": lease,
        "a step that hangs (deadline 1 s): its client hears": heard,
        "and once that client has left, its place is free": free,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=256, help="sessions to balance")
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args(arguments)
    here = ask(ours, options.n)
    there = {} if options.only_ours else ask(incumbent, options.n)
    print(table([(name, f"{value!s:<34} {there.get(name, '')}") for name, value in here.items()]))
    print(table([("machine", load())]))
    skew, waited, lease, heard, free = map(str, here.values())
    kept = (
        float(skew) <= 1.1
        and waited.startswith("a session")
        and heard.startswith("StepTimeoutError")
        and not any("not within" in said for said in (lease, free))
    )
    print("promises kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
