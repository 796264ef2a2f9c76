"""Environments under two stacks: finds them, has each served, played and compared.

In: folders. Out: a `Report` for each. The incumbent's stack and ours have an interpreter each, with the same
libraries and whatever the environment's own `pyproject.toml` asks for; at most two servers run at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException

from openenv.manifest import MANIFEST_NAME, parse
from tests.dropin.play import Answers, differences, fetch, is_faulty, play
from tests.support import peers
from tests.support.server import answers, free_port

INCUMBENT, OURS = "openenv-0.10.0", "dropin"
_START_TIMEOUT_S = 60.0
# What the servers and the environments import on their way, so that it is done once for each stack.
_COMMON = (
    *("fastapi.staticfiles", "fastapi.openapi.utils", "fastapi.middleware.cors", "pydantic", "httpx"),
    *("fastmcp.server", "fastmcp.client", "uvicorn.lifespan.on", "uvicorn.protocols.http.auto"),
    *("uvicorn.protocols.http.h11_impl", "uvicorn.protocols.websockets.websockets_sansio_impl"),
    *("openenv.core.env_server.http_server", "openenv.core.env_server.mcp_environment"),
    *("openenv.core.rubrics", "openenv.core.env_server.types"),
)
_never = threading.Event()


@dataclass
class Report:
    """What came of one environment.

    Attributes:
        name: Its folder's.
        n_asked: Questions asked of each stack.
        differences: One line each; empty where the stacks are the same.
        logs: What the servers wrote.
    """

    name: str
    n_asked: int = 0
    differences: list[str] = field(default_factory=list)
    logs: str = ""


def find_environments(folders: Sequence[Path]) -> list[Path]:
    """The folders that are environments, and those one level below them that are."""
    found = []
    for folder in folders:
        if (folder / MANIFEST_NAME).exists():
            found.append(folder.resolve())
        else:
            found += sorted(path.parent.resolve() for path in folder.glob(f"*/{MANIFEST_NAME}"))
    return found


def requirements_of(folder: Path) -> tuple[str, ...]:
    """What an environment needs beside the stack itself."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
    except FileNotFoundError:
        return ()
    ours = re.compile(r"(openenv|fastapi|uvicorn|pydantic|fastmcp|mcp|httpx|requests|websockets)\b", re.I)
    return tuple(text for text in project.get("dependencies", ()) if not ours.match(text))


def interpreter(stack: str, extra: tuple[str, ...]) -> Path:
    """The Python of a stack with some more packages, installed now if need be."""
    name = base = INCUMBENT if stack == "incumbent" else OURS
    if extra:
        name = f"{base}-{hashlib.sha256(repr(extra).encode()).hexdigest()[:10]}"
        peers.REQUIREMENTS.setdefault(name, (*peers.REQUIREMENTS[base], *extra))
    return peers.install(name)


class Host:
    """A process of `host.py`: one stack, serving one environment at a time."""

    def __init__(self, stack: str, python: Path, folder: Path) -> None:
        env = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
        preload = [*_COMMON]
        if stack == "ours":
            env |= {"PYTHONPATH": str(peers.ROOT), "OPENENV_CAPACITY_WAIT_S": "0"}
            preload += ["openenv.cli.main", "openenv.cli.serve", "uvloop"]
        env |= {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        # An environment may show the order of a set.
        env["PYTHONHASHSEED"] = "0"
        self._log = folder / f"{stack}.log"
        # Not in the repository: a script's own folder is on its path.
        script = folder / "host.py"
        script.write_text((Path(__file__).parent / "host.py").read_text("utf-8"))
        self._process = subprocess.Popen(
            [str(python), str(script), *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
            cwd=folder,
            start_new_session=True,
        )
        self._heard = ""

    def wait(self) -> None:
        """Wait until it takes orders."""
        self._read("ready")

    def serve(self, way: str, folder: Path) -> int:
        """Serve an environment; gives the port, once it answers."""
        manifest = parse((folder / MANIFEST_NAME).read_text("utf-8"), MANIFEST_NAME)
        module, _, attribute = manifest.app.partition(":")
        port = free_port()
        order = {"do": "serve", "way": way, "folder": str(folder), "module": module, "attribute": attribute}
        self._order({**order, "manifest": True, "port": port, "log": str(self._log)})
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not answers("127.0.0.1", port):
            if time.monotonic() > deadline or "Traceback" in self.log or "error:" in self.log[:200]:
                raise TimeoutError(f"not served:\n{self.log[-3000:]}")
            _never.wait(0.02)
        return port

    def stop(self) -> None:
        """End what is served."""
        self._order({"do": "stop"})

    @property
    def log(self) -> str:
        """What the last server wrote."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._log.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._read("done")

    def _read(self, word: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"the host said {line!r}, not {word!r}")


def compare_all(
    folders: Sequence[Path], n_steps: int, seed: int, ways: Sequence[str] = ("openenv",)
) -> Iterator[Report]:
    """Compare environments, one after another; those that need the same packages share their hosts."""
    groups: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        groups.setdefault(requirements_of(folder), []).append(folder)
    for extra, members in groups.items():
        with ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openenv-dropin-")))
            hosts = {}
            for name in ("incumbent", "ours"):
                hosts[name] = Host(name, interpreter(name, extra), place)
                stack.callback(hosts[name].close)
            for host in hosts.values():
                host.wait()
            for folder in members:
                yield compare(folder, hosts, n_steps, seed, ways)


def compare(folder: Path, hosts: dict[str, Host], n_steps: int, seed: int, ways: Sequence[str]) -> Report:
    """Compare one environment."""
    report = Report(folder.name)
    path = folder / "dropin.json"
    script = json.loads(path.read_text("utf-8")) if path.exists() else {}
    try:
        with ThreadPoolExecutor(2) as pool:
            theirs_at = pool.submit(hosts["incumbent"].serve, "uvicorn", folder)
            ours_at = pool.submit(hosts["ours"].serve, ways[0], folder)
            ports = theirs_at.result(), ours_at.result()
            schema = fetch(ports[0], "GET", "/schema")[2]
            first = pool.submit(_play_twice, ports[0], schema, script, n_steps, seed)
            ours = pool.submit(play, ports[1], schema, script, n_steps, seed).result()
            theirs, again = first.result()
        _add(report, ways[0], theirs, again, ours)
        for way in ways[1:]:
            port = hosts["ours"].serve(way, folder)
            _add(report, way, theirs, again, play(port, schema, script, n_steps, seed))
    except (OSError, RuntimeError, ValueError, KeyError, WebSocketException) as error:
        report.differences.append(f"{type(error).__name__}: {error}")
    finally:
        report.logs = "\n".join(f"--- {name}\n{host.log[-6000:]}" for name, host in hosts.items())
        for host in hosts.values():
            host.stop()
    return report


def _play_twice(
    port: int, schema: dict[str, Any], script: dict[str, Any], n_steps: int, seed: int
) -> tuple[Answers, Answers]:
    return play(port, schema, script, n_steps, seed), play(port, schema, script, n_steps, seed)


def _add(report: Report, way: str, theirs: Answers, again: Answers, ours: Answers) -> None:
    report.n_asked += len(theirs)
    prefix = "" if way == "openenv" else f"({way}) "
    faulty = is_faulty(theirs)
    for index, (question, answer) in enumerate(theirs):
        if index >= len(ours):
            report.differences.append(f"{prefix}{question}: not answered by ours")
            continue
        second = again[index][1] if index < len(again) else None
        found = differences(question, answer, second, ours[index][1], faulty)
        report.differences += [f"{prefix}{question[:90]}: {text}" for text in found]
