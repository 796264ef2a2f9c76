"""One sample: the load generator against one running server, and who used the processor meanwhile.

In: a server, a kind of request, a number of connections. Out: rate and latency as the generator saw
them, processor shares of the server, of the generator and of everybody else. The generator itself is
``load.c``, compiled with ``cc`` when the bench starts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contestants import HOST, Server
from machine import BENCH, CpuTimes, foreign_load, pin

GENERATOR_FULL = 0.95
"""Share of its core above which the generator, and not the server, may be what was measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of the generator gave.

    Attributes:
        per_s: Replies per second.
        p50_us, p99_us, max_us: Latency in microseconds.
        server_cpu, generator_cpu, foreign_cpu: Shares of one core.
    """

    per_s: float
    p50_us: float
    p99_us: float
    max_us: float
    server_cpu: float
    generator_cpu: float
    foreign_cpu: float


class WrongReplyError(Exception):
    """The server answered something else than what was asked, or nothing."""


@contextmanager
def compiled() -> Iterator[Path]:
    """The generator's executable, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="openenv-bench-") as folder:
        program = Path(folder, "load")
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(BENCH / "load.c")], check=True)
        yield program


def sample(
    program: Path,
    server: Server,
    kind: str,
    connections: int,
    *,
    core: int,
    warmup_s: float,
    seconds: float,
    ours: Iterable[int],
) -> Sample:
    """Put load on a server for some seconds.

    Args:
        program: The compiled generator.
        server: Whom to ask.
        kind: "ws", "health" or "step".
        connections: How many, each with one request in flight, >= 1.
        core: Where the generator runs.
        warmup_s: Seconds before the clock starts.
        seconds: Seconds that count.
        ours: Sessions of processes that are part of the bench, idle contestants included.

    Raises:
        WrongReplyError: A reply was not what had to come.
    """
    command = [str(program), kind, HOST, str(server.port), str(connections), str(warmup_s), str(seconds)]
    generator = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: pin(core),
    )
    assert generator.stdout is not None
    assert generator.stderr is not None
    mine = {*ours, server.session, generator.pid}
    try:
        if generator.stdout.readline() != "begin\n":
            raise WrongReplyError(generator.stderr.read())
        before = CpuTimes.read()
        if generator.stdout.readline() != "end\n":
            raise WrongReplyError(generator.stderr.read())
        after = CpuTimes.read()
        text = generator.stdout.read()
        if generator.wait(30) != 0:
            raise WrongReplyError(generator.stderr.read())
    finally:
        generator.kill()
        generator.wait()
        generator.stdout.close()
        generator.stderr.close()
    said = json.loads(text)
    wall_s = after.at - before.at
    return Sample(
        per_s=said["per_s"],
        p50_us=said["p50_us"],
        p99_us=said["p99_us"],
        max_us=said["max_us"],
        server_cpu=(after.of(server.session) - before.of(server.session)) / wall_s,
        generator_cpu=said["cpu_s"] / said["wall_s"],
        foreign_cpu=foreign_load(before, after, mine),
    )
