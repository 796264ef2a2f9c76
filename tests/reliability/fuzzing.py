"""Connections whose bytes were made by chance, over real sockets: each has to end, whatever it was.

In: a port, a number, a seed and a folder of seeds. Out: what did not end as it should. Half of the
connections speak HTTP, the other half shake hands first and then send frames. `gather` collects the seeds
once: the corpora of `tests/fuzz`, what hypothesis puts together from their words, and what atheris finds to
lead somewhere new in the parsers, where it is installed. `run` mutates them and keeps many connections in
flight, since a process that waits for one at a time makes a few hundred in a second.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.engine import CORPUS, corpus, mutate
from tests.fuzz.tokens import TOKENS
from tests.reliability.wire import frame, head
from tests.support.peers import ROOT

__all__ = ["gather", "run", "start"]

KINDS = ("http11", "websocket", "messages")
PATIENCE_S = 30.0
IN_FLIGHT = 48
_ABORT = struct.pack("ii", 1, 0)
_FIRST_LINE = re.compile(rb"HTTP/1\.1 [1-5]\d\d [ -~]*\r\n")
_JSON = b"Host: localhost\r\nContent-Type: application/json\r\n"
_REQUESTS = (
    *(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"/health", b"/state", b"/metrics")),
    *(
        b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, _JSON, len(body), body)
        for path, body in (
            (b"/reset", b'{"seed":3}'),
            (b"/step", b'{"action":{"value":3}}'),
            (b"/mcp", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'),
        )
    ),
    b"POST /reset HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % _JSON
    + b'5;a=b\r\n{"see\r\n5\r\nd":3}\r\n0\r\nX: y\r\n\r\n',
)


class _Attack:
    """One connection: sends a part, then the rest, then waits for the end; or is cut off before.

    Args:
        port: Whom to attack.
        data: What to send.
        source: Picks an address of this machine's, so that the ports of none run out.
        cut: Where to pause for the server to see the first part alone.
        is_cut_off: Whether to reset the connection in place of waiting.
    """

    def __init__(self, port: int, data: bytes, source: int, cut: int, is_cut_off: bool) -> None:
        self.data = data
        self.began_at = time.monotonic()
        self.fault: str | None = None
        self._parts = [data[:cut], data[cut:]]
        self._is_cut_off = is_cut_off
        self._answer = b""
        self.connection = socket.socket()
        self.connection.setblocking(False)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.connection.bind((f"127.0.{1 + source % 250}.{1 + source // 250 % 250}", 0))
        self.connection.connect_ex(("127.0.0.1", port))

    @property
    def waits_for(self) -> int:
        """What `advance` needs of the socket."""
        return select.EPOLLOUT if self._parts else select.EPOLLIN

    def advance(self) -> bool:
        """Do what can be done now; True once it is over."""
        try:
            if not self._parts:
                return self._read()
            self.connection.send(self._parts.pop(0))  # a few KiB, which a new socket always takes
            if self._parts:
                return False
            if self._is_cut_off:
                return True
            self.connection.shutdown(socket.SHUT_WR)
        except ConnectionRefusedError:
            self.fault = "refused"
        except OSError:
            return True  # cut off by the server: an end
        return self.fault is not None

    def _read(self) -> bool:
        piece = self.connection.recv(262144)
        self._answer = self._answer or piece
        if not piece and self._answer and not _FIRST_LINE.match(self._answer):
            self.fault = f"answered {self._answer[:60]!r}"
        return not piece


def _wrapped(kind: str, data: bytes) -> bytes:
    if kind == "websocket":
        return head() + data
    return head() + frame(data) if kind == "messages" else data


def _made(n_connections: int, seed: int, folder: Path) -> Iterator[tuple[bytes, int, bool]]:
    """For each connection its bytes, where they are cut, and whether it waits for no end."""
    rng = random.Random(seed)
    seeds = {kind: [path.read_bytes() for path in sorted((folder / kind).iterdir())] for kind in KINDS}
    kinds = ("http11", "http11", "websocket", "messages")
    for _ in range(n_connections):
        kind = rng.choice(kinds)
        data = rng.choice(seeds[kind])
        for _ in range(rng.randrange(5)):
            data = mutate(data, rng.choice(seeds[kind]), TOKENS[kind], rng)
        data = _wrapped(kind, data)
        yield data, rng.randrange(len(data) + 1), rng.random() < 0.1


def run(port: int, n_connections: int, seed: int, seconds: float, folder: Path) -> tuple[int, list[str]]:
    """Attack so many times, or until the time is up; gives how often, and at most ten findings."""
    until = time.monotonic() + seconds
    made = _made(n_connections, seed, folder)
    poll = select.epoll()
    flying: dict[int, _Attack] = {}
    found: list[str] = []
    n_begun = n_done = 0
    next_look_at = 0.0
    while True:
        now = time.monotonic()
        while len(flying) < IN_FLIGHT and now < until and len(found) < 10 and n_begun < n_connections:
            data, cut, is_cut_off = next(made)
            attack = _Attack(port, data, n_begun, cut, is_cut_off)
            n_begun += 1
            flying[attack.connection.fileno()] = attack
            poll.register(attack.connection.fileno(), attack.waits_for)
        if not flying:
            return n_done, found
        ready = [descriptor for descriptor, _ in poll.poll(1.0)]
        if now > next_look_at:
            next_look_at = now + 1.0
            for descriptor, attack in flying.items():
                if now - attack.began_at > PATIENCE_S and descriptor not in ready:
                    attack.fault = "hangs"
                    ready.append(descriptor)
        for descriptor in ready:
            attack = flying[descriptor]
            if attack.fault is not None or attack.advance():
                n_done += 1
                del flying[descriptor]
                attack.connection.close()
                if attack.fault is not None:
                    found.append(f"{attack.fault}: {attack.data!r}")
            else:
                poll.modify(descriptor, attack.waits_for)


def gather(folder: Path, n_built: int, atheris_s: float, seed: int) -> dict[str, int]:
    """Put seeds into `folder`, by kind, and give how many come from where.

    Args:
        folder: Exists, and is empty.
        n_built: How many hypothesis puts together for each kind.
        atheris_s: Seconds that atheris has for each kind; 0 leaves it out.
        seed: For hypothesis and atheris.
    """
    counted = {"kept": 0, "hypothesis": 0, "atheris": 0}
    for kind in KINDS:
        (folder / kind).mkdir()
        kept = [data.replace(b"Host: a\r\n", b"Host: localhost\r\n") for data in corpus(kind)]
        if kind == "http11":
            kept += _REQUESTS
        groups = {"kept": kept, "hypothesis": _built(kind, n_built, seed)}
        if atheris_s and importlib.util.find_spec("atheris") is not None:
            groups["atheris"] = _discovered(kind, atheris_s, seed, folder)
        for name, inputs in groups.items():
            counted[name] += len(inputs)
            for index, data in enumerate(inputs):
                (folder / kind / f"{name}-{index}").write_bytes(data)
    return counted


def _built(kind: str, n_built: int, seed: int) -> list[bytes]:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    built: list[bytes] = []
    part = st.one_of(st.sampled_from(corpus(kind)), st.sampled_from(TOKENS[kind]), st.binary(max_size=8))

    @seeded(seed)
    @settings(
        max_examples=max(1, n_built),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.lists(part, max_size=12).map(b"".join))
    def build(data: bytes) -> None:
        built.append(data)

    build()
    return built


def _discovered(kind: str, seconds: float, seed: int, folder: Path) -> list[bytes]:
    """What atheris keeps because it reaches something new in the parser of that kind."""
    found = folder / f"atheris-{kind}"
    found.mkdir()
    program = (
        "import atheris, sys\n"
        "with atheris.instrument_imports(include=['openenv.protocol', 'openenv.codec']):\n"
        "    from tests.fuzz.targets import TARGETS\n"
        "target = TARGETS[sys.argv[1]]\n"
        "atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: target(data) and None)\n"
        "atheris.Fuzz()\n"
    )
    options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", "-max_len=2000", "-verbosity=0"]
    command = [sys.executable, "-c", program, kind, *options, str(found), str(CORPUS / kind)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds + 120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"atheris on {kind}: {done.stderr.decode(errors='replace')[-2000:]}")
    return [path.read_bytes() for path in sorted(found.iterdir())]


def start(port: int, n_connections: int, seed: int, seconds: float, folder: Path) -> subprocess.Popen[str]:
    """Attack from a process of its own; it prints what `run` gives as JSON."""
    arguments = map(str, (port, n_connections, seed, seconds, folder))
    command = [sys.executable, "-m", "tests.reliability.fuzzing", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("n_connections", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    print(json.dumps(run(options.port, options.n_connections, options.seed, options.seconds, options.folder)))


if __name__ == "__main__":
    main()
