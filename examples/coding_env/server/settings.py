"""What an operator can set: environment variables, read once and checked.

In: variables. Out: a frozen `Settings`, or a `ConfigurationError` that names the variable. An empty variable
counts as unset.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from openenv.errors import ConfigurationError

__all__ = ["SANDBOXES", "Settings", "read_settings"]

SANDBOXES = ("auto", "bwrap", "landlock", "none")

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The limits of one session.

    Attributes:
        sandbox: One of `SANDBOXES`.
        timeout_s: Seconds of wall-clock time that one step may take, > 0.
        max_output: Characters kept of each of stdout, stderr and result, >= 1.
        memory_bytes: Address space of each process, and resident memory of all of a session's together.
        max_processes: Processes and threads of a session, >= 1. Without namespaces there is one process.
        disk_bytes: Size of the private temporary folder, and of the largest file.
        python: The interpreter that runs the code; None takes the one that runs the server.
        packages: A folder of packages that the code may import, or None.
    """

    sandbox: str = "auto"
    timeout_s: float = 30.0
    max_output: int = 10_000
    memory_bytes: int = 512 * _MIB
    max_processes: int = 64
    disk_bytes: int = 64 * _MIB
    python: str | None = None
    packages: str | None = None


def read_settings(variables: Mapping[str, str] = os.environ) -> Settings:
    """Settle every setting.

    Raises:
        ConfigurationError: A variable holds something that cannot be used.
    """
    given = {name: text.strip() for name, text in variables.items() if text.strip()}
    sandbox = given.get("SANDBOX", "auto").lower()
    if sandbox not in SANDBOXES:
        raise ConfigurationError(f"expected one of {', '.join(SANDBOXES)}, got {sandbox!r} in SANDBOX")
    return Settings(
        sandbox=sandbox,
        timeout_s=_number(given, "SANDBOX_TIMEOUT", 30, "seconds", 0.1, 86_400),
        max_output=int(_number(given, "MAX_OUTPUT_LENGTH", 10_000, "characters", 1, 10_000_000)),
        memory_bytes=int(_number(given, "SANDBOX_MEMORY_MB", 512, "MiB", 64, 1_048_576) * _MIB),
        max_processes=int(_number(given, "SANDBOX_PROCESSES", 64, "processes", 1, 4096)),
        disk_bytes=int(_number(given, "SANDBOX_DISK_MB", 64, "MiB", 1, 1_048_576) * _MIB),
        python=_path(given, "SANDBOX_PYTHON", os.path.isfile, "a Python interpreter"),
        packages=_path(given, "SANDBOX_PACKAGES", os.path.isdir, "a folder of packages"),
    )


def _number(given: Mapping[str, str], name: str, default: float, unit: str, low: float, high: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:  # NaN is in no range
        raise ConfigurationError(f"expected {low:g} to {high:g} {unit}, got {text!r} in {name}")
    return number


def _path(given: Mapping[str, str], name: str, exists: object, what: str) -> str | None:
    text = given.get(name)
    if text is None:
        return None
    path = os.path.abspath(text)
    if not callable(exists) or not exists(path):
        raise ConfigurationError(f"expected the path of {what}, got {text!r} in {name}")
    return path
