"""Asks servers whether they are well, again and again, from a process of its own; see `Probe`."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from tests.reliability.watch import percentile
from tests.support.peers import ROOT

__all__ = ["Probe"]

EVERY_S = 0.05
PATIENCE_S = 10.0
_REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Probe:
    """Asks `/health` of several servers in turn, on a new connection each time.

    Args:
        ports: Of the servers, on 127.0.0.1.

    Attributes:
        took_ms: Once it is over: for each server the time of each answer; infinite where there was none.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self.took_ms: list[list[float]] = []

    def __enter__(self) -> Probe:
        command = [sys.executable, "-m", "tests.reliability.probe", *map(str, self._ports)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *exc_info: type[BaseException] | BaseException | TracebackType | None) -> None:
        out, _ = self._process.communicate("")
        self.took_ms = json.loads(out)

    def said(self, index: int) -> str:
        """What one server's answers were like, for people."""
        taken = self.took_ms[index]
        lost = taken.count(float("inf"))
        late = sum(took_ms > 100 for took_ms in taken)
        p50, p99, worst = (percentile(taken, share) for share in (0.5, 0.99, 1.0))
        times = f"p50 {p50:.1f}, p99 {p99:.1f}, worst {worst:.1f} ms"
        return f"{len(taken)} asked, {lost} unanswered, {late} later than 100 ms; {times}"

    def is_kept(self, bound_ms: float) -> bool:
        """Whether the first server always answered, and in time or about as late as the idle second one."""
        first, second = self.took_ms[0], self.took_ms[1]
        bound_ms = max(bound_ms, 3 * percentile(second, 0.99))
        return bool(first) and max(first) < float("inf") and percentile(first, 0.99) <= bound_ms


def _ask(port: int) -> float:
    begun_at = time.perf_counter()
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(_REQUEST)
            while data := connection.recv(4096):
                answer += data
    except OSError:
        return float("inf")
    took_s = time.perf_counter() - begun_at
    return 1e3 * took_s if answer.startswith(b"HTTP/1.1 200 ") else float("inf")


def main() -> None:
    """Ask until standard input is closed."""
    ports = [int(word) for word in sys.argv[1:]]
    took_ms: list[list[float]] = [[] for _ in ports]
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        for port, taken in zip(ports, took_ms, strict=True):
            taken.append(_ask(port))
    print(json.dumps(took_ms))


if __name__ == "__main__":
    main()
