"""What the benches know about the machine: which cores, who used the processor, which versions.

In: /proc. Out: seconds of processor time, split into ours and others', and a description for the
results. Linux only. It knows nothing about servers or what is measured.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results"

NICE = int(os.environ.get("OPENENV_BENCH_NICE", "0"))
"""Priority of all that is measured; with anything but 0 the results are not to be cited."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """The two cores of a measurement: one for the server, one for whatever puts load on it."""

    server: int
    load: int


def cores() -> Cores:
    """The first two cores that this process may use.

    Raises:
        SystemExit: There is only one, and a generator beside the server would measure itself.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("the bench needs two cores: one for the server, one for the load generator")
    return Cores(allowed[0], allowed[1])


def pin(core: int) -> None:
    """Bind the calling process (and what it starts) to one core; it dies with its parent.

    ``OPENENV_BENCH_NICE=-15`` raises its priority, for a look while the machine is busy.
    """
    os.sched_setaffinity(0, {core})
    if NICE:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        with suppress(OSError):  # among sessions of processes only the priority of their groups counts
            Path("/proc/self/autogroup").write_text(str(NICE))
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: a killed bench leaves no server behind


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Processor seconds since boot.

    Attributes:
        by_session: Seconds of living processes by session id, children that have ended included.
        stolen: Seconds that the hypervisor gave to other guests, all cores together.
        at: Monotonic seconds.
    """

    by_session: dict[int, float]
    stolen: float
    at: float

    @classmethod
    def read(cls) -> CpuTimes:
        """The times of now; takes a few milliseconds."""
        by_session: dict[int, float] = {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            session = int(fields[3])
            # utime, stime and those of the reaped children: short-lived processes are seen as well
            ticks = sum(int(field) for field in fields[11:15])
            by_session[session] = by_session.get(session, 0.0) + ticks / _TICKS_PER_S
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return cls(by_session, int(first[8]) / _TICKS_PER_S, time.monotonic())

    def of(self, session: int) -> float:
        """Seconds of one session of processes, 0 if it is gone."""
        return self.by_session.get(session, 0.0)

    def foreign(self, ours: Iterable[int]) -> float:
        """Seconds of every process that belongs to none of our sessions."""
        mine = set(ours)
        return sum(seconds for session, seconds in self.by_session.items() if session not in mine)


def foreign_load(before: CpuTimes, after: CpuTimes, ours: Iterable[int]) -> float:
    """Share of one core, 0.0 and up, that others used between two readings, stolen time included."""
    mine = set(ours)
    seconds = max(0.0, after.foreign(mine) - before.foreign(mine)) + after.stolen - before.stolen
    return seconds / (after.at - before.at)


def wait_until_quiet(ours: Iterable[int], limit: float, patience_s: float) -> bool:
    """Wait for a quarter of a second with less foreign load than ``limit``; False if none comes."""
    deadline = time.monotonic() + patience_s
    mine = set(ours)
    while True:
        before = CpuTimes.read()
        time.sleep(0.25)
        # A quarter of a second is 25 ticks: one tick of somebody's housekeeping is not a load.
        if foreign_load(before, CpuTimes.read(), mine) <= max(limit, 0.05):
            return True
        if time.monotonic() > deadline:
            return False


def describe() -> dict[str, object]:
    """Machine and kernel, for the results."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 1024**2, 1),
        "kernel": platform.release(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "nice": NICE,
        "commit": _commit(),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def versions(python: str | Path, distributions: Iterable[str]) -> dict[str, str]:
    """Version of an interpreter and of those distributions that it has."""
    script = (
        "import sys, platform, importlib.metadata as m\n"
        "print('python', platform.python_version())\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    done = subprocess.run(
        [str(python), "-I", "-c", script, *distributions], capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())  # type: ignore[misc]
