"""What an installation costs: disk, start-up and memory, ours and the incumbent's side by side.

    python tests/bench/footprint.py [--runs N] [--sessions N] [--many N]

Both are installed by pip into fresh virtual environments, ours from a wheel built now; both serve the
echo environment of ``envs/``. Budgets are those of issue 2, item 5. See README.md for the method.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contestants import CONTESTANTS, ENVS, HOST, Server, started
from machine import RESULTS, ROOT, CpuTimes, cores, describe, pin
from memory import Memory, of_session
from ws import Session, answer_pings

CORES = cores()
MB = 1_000_000
INSTALLER = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "distutils-precedence")
"""What a virtual environment holds before anything is installed into it; not counted."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        name: Key in the results.
        title: What it is, with its unit.
        budget: Ours must not be above it; None where the issue says nothing.
        digits: How many digits after the point are shown.
    """

    name: str
    title: str
    budget: float | None
    digits: int = 0


FIGURES = (
    Figure("site_packages_mb", "installed site-packages, MB", 20, 1),
    Figure("distributions", "installed distributions", 4),
    Figure("import_s", "import openenv, s (best)", 0.25, 3),
    Figure("import_median_s", "import openenv, s (median)", None, 3),
    Figure("import_modules", "modules loaded by it", 300),
    Figure("app_import_s", "import of the echo app, s (best)", None, 3),
    Figure("app_import_modules", "modules loaded by it", None),
    Figure("start_s", "process start to /health 200, s (best)", 0.30, 3),
    Figure("start_median_s", "process start to /health 200, s (median)", None, 3),
    Figure("idle_rss_mb", "idle RSS of one worker, MB", 36, 1),
    Figure("idle_pss_mb", "idle PSS of all processes, 1 worker, MB", None, 1),
    Figure("worker_private_mb", "private memory of a worker of 4, MB", 12, 1),
    Figure("further_worker_pss_mb", "PSS of all processes per further worker, MB", None, 1),
    Figure("loop_session_kb", "idle session on the loop, KB", 6, 2),
    Figure("threaded_session_kb", "idle session with a thread, KB", 45, 2),
    Figure("loop_open", "open sessions that answer, on the loop", None),
    Figure("loop_open_failures", "failures among those asked for", 0),
    Figure("threaded_open", "open sessions that answer, a thread each", None),
    Figure("threaded_open_failures", "failures among those asked for", None),
)

Values = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="bin/bench footprint", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=7, help="starts and imports to take the best of")
    parser.add_argument("--sessions", type=int, default=2000, help="idle sessions for the slope of memory")
    parser.add_argument("--many", type=int, default=8000, help="sessions that must open without failure")
    parser.add_argument("--out", type=Path, default=RESULTS / "footprint.json")
    options = parser.parse_args(arguments)
    pin(CORES.load)
    _allow_many_files()
    with tempfile.TemporaryDirectory(prefix="openenv-footprint-") as folder:
        wheel = _build_wheel(Path(folder))
        incumbent = _install(Path(folder, "incumbent"), "openenv==0.10.0")
        ours = _install(Path(folder, "ours"), str(wheel))
        table = {
            "incumbent": {
                **_disk(incumbent),
                **_imports(incumbent, "incumbent_echo", options.runs),
                **_serving(incumbent, "incumbent", "incumbent_echo:app", options.runs),
                **_sessions(incumbent, "incumbent", "threaded", options.sessions, options.many),
            },
            "ours": {
                **_disk(ours),
                **_imports(ours, "ours_loop", options.runs),
                **_serving(ours, "ours-loop", "ours_loop:app", options.runs),
                **_sessions(ours, "ours-loop", "loop", options.sessions, options.many),
                **_sessions(ours, "ours-threaded", "threaded", options.sessions, options.many),
            },
        }
    verdicts = _print(table)
    results = {
        "name": "footprint",
        "machine": describe(),
        "method": {"runs": options.runs, "sessions": options.sessions, "many": options.many},
        "figures": table,
        "budgets": verdicts,
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    _say(f"written to {options.out}")


def _allow_many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _build_wheel(folder: Path) -> Path:
    _say("building our wheel")
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


def _install(folder: Path, requirement: str) -> Path:
    """The interpreter of a fresh virtual environment with one requirement in it."""
    _say(f"installing {Path(requirement).name}")
    _run(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    _run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement)
    return python


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _disk(python: Path) -> Values:
    """Bytes of all files that pip installed, compiled modules included, and how many distributions."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    total = n_distributions = 0
    for entry in packages.iterdir():
        if re.split(r"[-.]", entry.name, maxsplit=1)[0] in INSTALLER or entry.name.startswith(INSTALLER[-1]):
            continue
        n_distributions += entry.name.endswith(".dist-info")
        files = entry.rglob("*") if entry.is_dir() else [entry]
        total += sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
    return {"site_packages_mb": total / MB, "distributions": n_distributions}


_IMPORT = """
import sys, time
before = len(sys.modules)
begin = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - begin, len(sys.modules))
"""


def _imports(python: Path, app: str, runs: int) -> Values:
    values: Values = {}
    for key, module in (("import", "openenv"), ("app_import", app)):
        _say(f"importing {module}")
        seconds, modules = [], 0
        for _ in range(runs + 1):
            # -I would hide the environments; nothing of the repository is on the path this way either.
            script = f"import sys; sys.path.insert(0, {str(ENVS)!r})\n{_IMPORT}"
            done = _run("taskset", "-c", str(CORES.server), str(python), "-I", "-c", script, module)
            seconds.append(float(done.split()[0]))
            modules = int(done.split()[1])
        values[f"{key}_s"] = min(seconds[1:])
        values[f"{key}_median_s"] = median(seconds[1:])
        values[f"{key}_modules"] = modules
    return values


def _serving(python: Path, name: str, app: str, runs: int) -> Values:
    """Start-up time and idle memory; the first start warms the disk cache and is not counted."""
    _say(f"starting {name}")
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        with started(python, _arguments(name, app, 1), CORES.server) as server:
            _wait_until_healthy(server)
            times.append(time.perf_counter() - began)
    one = _idle(python, name, app, 1)
    four = _idle(python, name, app, 4)
    return {
        "start_s": min(times[1:]),
        "start_median_s": median(times[1:]),
        # Where a supervisor stands beside it, the worker is the larger of the two.
        "idle_rss_mb": max(process.rss for process in one) / MB,
        "idle_pss_mb": sum(process.pss for process in one) / MB,
        "worker_private_mb": median(sorted(process.private for process in four)[-4:]) / MB,
        "further_worker_pss_mb": (sum(p.pss for p in four) - sum(p.pss for p in one)) / 3 / MB,
    }


def _arguments(name: str, app: str, workers: int) -> tuple[str, ...]:
    command = ("-m", "uvicorn") if name == "incumbent" else ("-m", "openenv", "serve")
    options = ("--host", HOST, "--port", "{port}", "--log-level", "warning", "--workers", str(workers))
    return (*command, app, *options)


def _idle(python: Path, name: str, app: str, workers: int) -> list[Memory]:
    with started(python, _arguments(name, app, workers), CORES.server) as server:
        _wait_until_healthy(server)
        for _ in range(8):
            _health(server.port)
        _wait_until_idle(server)
        return of_session(server.session)


def _wait_until_idle(server: Server) -> None:
    """Return after a second in which the server used next to no processor: every worker is up."""
    while True:
        before = CpuTimes.read().of(server.session)
        time.sleep(1.0)
        if CpuTimes.read().of(server.session) - before < 0.03:
            return


def _wait_until_healthy(server: Server) -> None:
    deadline = time.monotonic() + 60
    while not _health(server.port):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server ended or never became healthy")
        time.sleep(0.002)


def _health(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _sessions(python: Path, name: str, kind: str, n_sessions: int, n_many: int) -> Values:
    """Memory per idle session, and how many of ``n_many`` open sessions still answer a step."""
    _say(f"opening sessions on {name}")
    app = next(argument for argument in CONTESTANTS[name].arguments if argument.endswith(":app"))
    with started(python, _arguments(name, app, 1), CORES.server) as server:
        _wait_until_healthy(server)

        def resident() -> int:
            time.sleep(0.5)
            return max(process.rss for process in of_session(server.session))

        sessions: list[Session] = []

        def open_one() -> None:
            session = Session(server.port)
            session.reset()
            session.step("hello")
            sessions.append(session)
            if len(sessions) % 250 == 0:
                answer_pings(sessions)

        # The first hundred pay for what all of them share.
        for _ in range(100):
            open_one()
        before = resident()
        for _ in range(n_sessions):
            open_one()
        per_session = (resident() - before) / n_sessions
        refused = 0
        while len(sessions) + refused < n_many and refused < 100:
            try:
                open_one()
            except (OSError, AssertionError) as error:
                refused += 1
                _say(f"session {len(sessions) + 1}: {error}")
        answering = 0
        for number, session in enumerate(sessions):
            if number % 1000 == 0:
                answer_pings(sessions)
            try:
                session.step(f"still here {number}")
                answering += 1
            except (OSError, AssertionError) as error:
                _say(f"session {number}: {error}")
    return {
        f"{kind}_session_kb": per_session / 1000,
        f"{kind}_open": answering,
        f"{kind}_open_failures": n_many - answering,
    }


def _print(table: dict[str, Values]) -> list[dict[str, object]]:
    verdicts: list[dict[str, object]] = []
    print("| figure | openenv 0.10.0 | ours | budget | |\n| --- | ---: | ---: | ---: | --- |")
    for figure in FIGURES:
        shown = [
            f"{values[figure.name]:,.{figure.digits}f}" if figure.name in values else "-"
            for values in table.values()
        ]
        verdict = ""
        if figure.budget is not None and figure.name in table["ours"]:
            kept = table["ours"][figure.name] <= figure.budget
            verdict = "pass" if kept else "FAIL"
            verdicts.append(
                {
                    "figure": figure.name,
                    "measured": table["ours"][figure.name],
                    "budget": figure.budget,
                    "pass": kept,
                }
            )
        budget = "-" if figure.budget is None else f"<= {figure.budget:g}"
        print(f"| {figure.title} | {shown[0]} | {shown[1]} | {budget} | {verdict} |")
    return verdicts


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
