"""How long one turn of the event loop takes at most while somebody means harm, in processor time.

    python -m tests.reliability.turns

Everybody else waits for that long, and nobody's use of the machine changes it: where `/health` is late and
the turns are short, the machine is busy, and not the server. Each bomb goes off three times at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openenv.server import connection
from tests.reliability import bombs
from tests.reliability.envs import naughty
from tests.reliability.watch import load, table
from tests.support.server import serve

__all__ = ["naughty"]

_LOG = "OPENENV_TEST_TURNS"
_EVERY_S = 0.001


class _Watched(connection.Connections):
    """Leaves the milliseconds of each long turn in the file that the variable names."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._log = os.open(os.environ[_LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._began_at = time.thread_time()
        self._tick()

    def _tick(self) -> None:
        took_ms = 1e3 * (time.thread_time() - self._began_at)
        if took_ms > 1:
            os.write(self._log, f"{took_ms:.1f}\n".encode())
        self._began_at = time.thread_time()
        self.loop.call_later(_EVERY_S, self._tick)


if _LOG in os.environ:
    import openenv.server.serve

    openenv.server.serve.Connections = _Watched  # type: ignore[misc]


async def _play(name: str, port: int) -> None:
    await asyncio.gather(*(bombs.BOMBS[name]("127.0.0.1", port) for _ in range(3)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of bombs; all by default")
    parser.add_argument("--bound-ms", type=float, default=100.0, help="that no turn may exceed")
    options = parser.parse_args(arguments)
    rows: list[tuple[str, object]] = []
    longest: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "turns")
        limits = {
            name: str(bombs.LIMIT_BYTES) for name in ("OPENENV_MAX_MESSAGE_BYTES", "OPENENV_MAX_BODY_BYTES")
        }
        target, flags = "tests.reliability.turns:naughty", ("--max-concurrent-envs", "1000")
        with serve(target, *flags, env={**limits, _LOG: str(log)}) as server:
            for name in options.names or bombs.BOMBS:
                n_before = log.stat().st_size
                asyncio.run(_play(name, server.port))
                turns_ms = [float(line) for line in log.read_text()[n_before:].splitlines()]
                longest.append(max(turns_ms, default=0.0))
                rows.append((name, f"{longest[-1]:.1f} ms"))
    print(table([*rows, ("longest of all", f"{max(longest):.1f} ms"), ("machine", load())]))
    return 0 if max(longest) <= options.bound_ms else 1


if __name__ == "__main__":
    sys.exit(main())
