"""A program of one's own making on PATH: it writes down its arguments and says what it was told to say."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_SCRIPT = """\
#!/bin/sh
here={folder}
count=$(($(cat "$here/$1.count" 2>/dev/null || echo 0) + 1))
echo $count >"$here/$1.count"
# Who sees the call finds its variables.
env >"$here/$1.env"
{{ for argument in "$@"; do printf '%s\\037' "$argument"; done; printf '\\036'; }} >>"$here/calls"
reply="$here/$1.$count"
[ -d "$reply" ] || reply="$here/$1.any"
[ -d "$reply" ] || exit 0
. "$reply/script"
cat "$reply/err" >&2
cat "$reply/out"
exit "$(cat "$reply/code")"
"""


@dataclass
class FakeProgram:
    """A program that is found on PATH, before any other of its name.

    Attributes:
        folder: Where it lives, with all that it was told and all that it wrote down.
    """

    folder: Path
    _paths: dict[str, str] = field(default_factory=dict)

    def says(
        self,
        command: str,
        out: str = "",
        err: str = "",
        code: int = 0,
        *,
        at: int | None = None,
        script: str = "",
    ) -> None:
        """Settle what its first argument ``command`` gives, from now on or the ``at``-th time.

        Args:
            command: First argument.
            out: For the standard output.
            err: For the standard error.
            code: Exit code.
            at: Which call, counted from 1; None for all that have no answer of their own.
            script: Shell code to run before.
        """
        reply = self.folder / f"{command}.{at if at is not None else 'any'}"
        reply.mkdir(exist_ok=True)
        for name, text in (("out", out), ("err", err), ("code", str(code))):
            (reply / name).write_text(text)
        (reply / "script").write_text(f"{script}\n")

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every call so far, in order."""
        try:
            text = (self.folder / "calls").read_text()
        except FileNotFoundError:
            return []
        return [call.split("\x1f")[:-1] for call in text.split("\x1e")[:-1]]

    def commands(self, name: str) -> list[list[str]]:
        """The arguments of the calls with this first argument."""
        return [call for call in self.calls if call[0] == name]

    def environment(self, command: str) -> dict[str, str]:
        """The environment variables of the last call with this first argument."""
        lines = (self.folder / f"{command}.env").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines if "=" in line)


def fake_program(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """Put a program on PATH until the test ends; without instructions it succeeds and says nothing."""
    home = folder / f"fake-{name}"
    home.mkdir()
    program = home / name
    program.write_text(_SCRIPT.format(folder=shlex.quote(str(home))))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    return FakeProgram(home)
