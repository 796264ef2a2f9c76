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

EVERY_S = 0.02
PATIENCE_S = 10.0
_REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_NEVER = float("inf")


class Probe:
    """Asks `/health` of several servers at the same moments, on new connections each time.

    What delays all of them is the machine, which others use as well; what delays one is that one's own.

    Args:
        ports: Of the servers, on 127.0.0.1: one that is attacked, and an idle one.

    Attributes:
        took_ms: Once it is over: for each server the time of each answer; infinite where there was none.
    """

    def __init__(self, ports: tuple[int, int]) -> None:
        self._ports = ports
        self.took_ms: list[list[float]] = []

    def __enter__(self) -> Probe:
        command = [sys.executable, "-m", "tests.reliability.probe", *map(str, self._ports)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *exc_info: type[BaseException] | BaseException | TracebackType | None) -> None:
        out, _ = self._process.communicate("")
        self.took_ms = json.loads(out)

    def said(self, bound_ms: float) -> list[tuple[str, str]]:
        """What the answers were like, as rows of a table for people."""
        rows = []
        for name, taken in zip(("/health meanwhile", "of an idle server"), self.took_ms, strict=True):
            n_late = sum(took_ms > bound_ms for took_ms in taken)
            late = f"{taken.count(_NEVER)} unanswered, {n_late} later than {bound_ms:g} ms"
            p50, p99, worst = (percentile(taken, share) for share in (0.5, 0.99, 1.0))
            times = f"p50 {p50:.1f}, p99 {p99:.1f}, worst {worst:.1f} ms"
            rows.append((name, f"{len(taken)} asked, {late}; {times}"))
        return rows

    def is_kept(self, bound_ms: float) -> bool:
        """Whether the first server always answered, 99 times in 100 in time, and of the others no more than
        one in a thousand came late while the idle server, asked at the same moment, answered in time."""
        first, second = self.took_ms
        alone = sum(mine > bound_ms >= its for mine, its in zip(first, second, strict=True))
        p99 = percentile(first, 0.99)
        in_time = p99 <= max(bound_ms, 2 * percentile(second, 0.99))
        return bool(first) and max(first) < _NEVER and in_time and alone <= 1 + len(first) // 1000


def _ask(ports: Sequence[int]) -> list[float]:
    """Ask all at once; gives milliseconds until each answer was complete."""
    begun_at = time.perf_counter()
    took_ms = [_NEVER] * len(ports)
    answers = [b""] * len(ports)
    connections = [socket.socket() for _ in ports]
    poll = select.poll()
    waiting: dict[int, int] = {}
    for index, (connection, port) in enumerate(zip(connections, ports, strict=True)):
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(_REQUEST)
        except OSError:
            continue
        waiting[connection.fileno()] = index
        poll.register(connection, select.POLLIN)
    while waiting and (left_s := PATIENCE_S + begun_at - time.perf_counter()) > 0:
        for descriptor, _ in poll.poll(1e3 * left_s):
            index = waiting[descriptor]
            try:
                piece = connections[index].recv(4096)
            except OSError:
                piece = b""
            answers[index] += piece
            if not piece:
                poll.unregister(descriptor)
                del waiting[descriptor]
                if answers[index].startswith(b"HTTP/1.1 200 "):
                    took_ms[index] = 1e3 * (time.perf_counter() - begun_at)
    for connection in connections:
        connection.close()
    return took_ms


def main() -> None:
    """Ask until standard input is closed."""
    ports = [int(word) for word in sys.argv[1:]]
    took_ms: list[list[float]] = [[] for _ in ports]
    print(flush=True)
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        for taken, one_ms in zip(took_ms, _ask(ports), strict=True):
            taken.append(one_ms)
    print(json.dumps(took_ms))


if __name__ == "__main__":
    main()
