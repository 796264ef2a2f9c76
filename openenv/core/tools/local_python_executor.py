"""`PyExecutor`: runs an agent's Python with smolagents' interpreter, and says what came of it.

In: source text. Out: a `CodeExecResult`; what the program raises is a result too. Names live on from one run
to the next.

Limits: smolagents is the environment's own dependency. Its interpreter allows few imports and no files, but
it is no sandbox: `openenv serve --isolate` puts a whole environment into a process of its own.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from typing import Any

from smolagents import LocalPythonExecutor  # type: ignore[import-not-found,unused-ignore]

from openenv.core.env_server.types import CodeExecResult

__all__ = ["LocalPythonExecutor", "PyExecutor"]


class PyExecutor:
    """A Python interpreter that remembers its names.

    Programs find `format_exc()` and `safe_json_dumps(value)` among their names.

    Args:
        additional_imports: Modules that programs may import beside those that smolagents allows; ``"*"``
            allows all.
    """

    def __init__(self, additional_imports: Sequence[str] | None = None) -> None:
        self._executor = LocalPythonExecutor(additional_authorized_imports=list(additional_imports or ()))
        self._executor.send_tools({"format_exc": traceback.format_exc, "safe_json_dumps": _safe_json_dumps})

    def run(self, code: str) -> CodeExecResult:
        """Run a program.

        Returns:
            stdout: What it printed, and on a line of its own the value of its last expression (as JSON
                where that is possible) unless that is None.
            stderr: The traceback of what it raised.
            exit_code: 0, or 1 if it raised.
        """
        try:
            outcome = self._executor(code)
        except Exception:
            return CodeExecResult(stdout="", stderr=traceback.format_exc(), exit_code=1)
        value = getattr(outcome, "output", None)
        shown = [str(getattr(outcome, "logs", None) or ""), "" if value is None else _text(value)]
        # Not all versions of smolagents raise: some say it in the outcome.
        faults = [str(fault) for name in ("error", "exception") if (fault := getattr(outcome, name, None))]
        return CodeExecResult(
            stdout="\n".join(filter(None, shown)),
            stderr="\n".join(faults),
            exit_code=_exit_code(outcome, bool(faults)),
        )


def _exit_code(outcome: Any, failed: bool) -> int:
    if hasattr(outcome, "exit_code"):
        return int(outcome.exit_code or 0)
    return int(not outcome.success if hasattr(outcome, "success") else failed)


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _safe_json_dumps(value: Any) -> str:
    """JSON in which what has no JSON is its ``repr()``."""
    return json.dumps(value, default=repr)
