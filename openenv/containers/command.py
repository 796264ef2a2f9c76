"""Running another program to its end, without it outliving what it was run for.

In: arguments. Out: its exit code and what it wrote. Every program is its own session: Ctrl-C at the terminal
reaches the trainer alone, which then decides what is to be finished and what to be stopped.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

__all__ = ["CommandTimeoutError", "Finished", "run", "tail"]

_POLL_S = 0.1
_GRACE_S = 10.0
_TAIL_LINES = 20


class CommandTimeoutError(Exception):
    """A program did not end within its time, and was ended."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Attributes:
        code: Exit code; negative for the signal that ended it.
        out: What it wrote to its standard output.
        err: What it wrote to its standard error.
    """

    code: int
    out: str
    err: str


def run(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    stopped: threading.Event | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        arguments: The program and its arguments.
        timeout_s: Seconds after which it is killed, > 0.
        stopped: Once set, the program is killed. Without it, and when this thread is interrupted, the
            program gets `_GRACE_S` to finish: what it was doing is then at least known.
        cwd: Folder to run in.
        env: All its environment variables; None inherits those of this process.

    Raises:
        OSError: It cannot be started.
        CommandTimeoutError: It did not end in time.
    """
    deadline = monotonic() + timeout_s
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=env,
        start_new_session=True,
    ) as process:
        try:
            while True:
                left = deadline - monotonic()
                if left <= 0:
                    raise CommandTimeoutError(f"{' '.join(arguments[:2])} did not end within {timeout_s:g} s")
                if stopped is not None and stopped.is_set():
                    process.kill()
                with suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=left if stopped is None else min(left, _POLL_S))
                    return Finished(process.returncode, out, err)
        except BaseException as error:
            if stopped is None and not isinstance(error, CommandTimeoutError):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_S)
            process.kill()
            raise


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines that are not blank, for a message."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])
