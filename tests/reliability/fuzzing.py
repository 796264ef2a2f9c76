"""Connections whose bytes were made by chance, over real sockets: each has to end, whatever it was.

In: a port, a number and a seed. Out: what did not end as it should. Half of the connections speak HTTP, the
other half shake hands first and then send frames; the grammars' corpora and words are those of `tests/fuzz`.
Nine in ten are mutations, one in ten is put together by hypothesis, which then also finds the
shortest that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time

from tests.fuzz.engine import corpus, mutate
from tests.fuzz.tokens import TOKENS
from tests.reliability.wire import frame, head
from tests.support.peers import ROOT

__all__ = ["attack", "run", "start"]

PATIENCE_S = 30.0
_ABORT = struct.pack("ii", 1, 0)
_FIRST_LINE = re.compile(rb"HTTP/1\.1 [1-5]\d\d [ -~]*\r\n")


def attack(port: int, data: bytes, source: int, cut: int) -> str | None:
    """Send bytes and wait for the end; gives what was wrong with it, or None.

    Args:
        source: Picks an address of this machine's, so that the ports of none run out.
        cut: Where to pause for the server to see the first part alone.
    """
    with socket.socket() as connection:
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        connection.bind((f"127.0.{1 + source % 250}.{1 + source // 250 % 250}", 0))
        answer = b""
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(data[:cut])
            if cut < len(data):
                connection.sendall(data[cut:])
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "hangs"
        except OSError:
            pass  # cut off by the server: an end
    if answer and not _FIRST_LINE.match(answer):
        return f"answered {answer[:60]!r}"
    return None


def _bytes(rng: random.Random, seeds: dict[str, list[bytes]]) -> bytes:
    kind = rng.choice(("http11", "http11", "websocket", "messages"))
    data = rng.choice(seeds[kind])
    for _ in range(rng.randrange(1, 5)):
        data = mutate(data, rng.choice(seeds[kind]), TOKENS[kind], rng)
    return _wrapped(kind, data)


def _wrapped(kind: str, data: bytes) -> bytes:
    if kind == "websocket":
        return head() + data
    return head() + frame(data) if kind == "messages" else data


def run(port: int, n_connections: int, seed: int, seconds: float) -> tuple[int, list[str]]:
    """Attack so many times, or until the time is up; gives how often, and at most ten findings."""
    until = time.monotonic() + seconds
    rng = random.Random(seed)
    seeds = {kind: corpus(kind) for kind in ("http11", "websocket", "messages")}
    found: list[str] = []
    n_done = n_connections // 10
    try:
        _run_hypothesis(port, n_done, seed)
    except AssertionError as error:
        found.append(f"hypothesis: {error}")
    for index in range(n_connections - n_done):
        if time.monotonic() > until:
            break
        n_done += 1
        data = _bytes(rng, seeds)
        fault = attack(port, data, index, rng.randrange(len(data) + 1))
        if fault is not None:
            found.append(f"{fault}: {data!r}")
            if len(found) >= 10:
                break
    return n_done, found


def _run_hypothesis(port: int, n_connections: int, seed: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    def parts(kind: str) -> st.SearchStrategy[bytes]:
        part = st.one_of(st.sampled_from(corpus(kind)), st.sampled_from(TOKENS[kind]), st.binary(max_size=8))
        return st.lists(part, max_size=12).map(b"".join).map(lambda data: _wrapped(kind, data))

    @seeded(seed)
    @settings(
        max_examples=max(1, n_connections),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.one_of(parts("http11"), parts("websocket"), parts("messages")), st.integers(0, 4000))
    def check(data: bytes, cut: int) -> None:
        fault = attack(port, data, cut, cut)
        assert fault is None, f"{fault}: {data!r}"

    check()


def start(port: int, n_connections: int, seed: int, seconds: float) -> subprocess.Popen[str]:
    """Attack from a process of its own; it prints what `run` gives as JSON."""
    numbers = map(str, (port, n_connections, seed, seconds))
    command = [sys.executable, "-m", "tests.reliability.fuzzing", *numbers]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("n_connections", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    print(json.dumps(run(options.port, options.n_connections, options.seed, options.seconds)))


if __name__ == "__main__":
    main()
