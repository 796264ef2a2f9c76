"""Which files a `.gitignore` or a `.dockerignore` leaves out.

In: the text of such a file; paths with slashes, relative to the folder it counts for. Out: left out or not.
No file is opened here. The two look alike and are not: a pattern of `.gitignore` without a slash counts at
every depth, one of `.dockerignore` only at the top; a folder that git leaves out cannot be opened again from
inside.

Reference: gitignore(5); Dockerfile reference, ".dockerignore file", whose patterns are Go's `filepath.Match`
with `**`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from openenv.errors import ConfigurationError

__all__ = ["Rule", "docker_rules", "git_rules", "is_left_out_by_docker", "is_left_out_by_git"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of such a file.

    Attributes:
        pattern: Matches whole paths.
        takes_back: Whether it started with `!`.
        only_folders: Whether it ended in a slash.
    """

    pattern: re.Pattern[str]
    takes_back: bool
    only_folders: bool


def git_rules(text: str, base: str = "") -> list[Rule]:
    """Read a `.gitignore`.

    Args:
        text: Of the file.
        base: The folder it is in, relative to the one that paths are relative to; "" for that one.
    """
    prefix = f"{re.escape(base)}/" if base else ""
    rules = []
    for line in text.removeprefix("\ufeff").splitlines():
        line = re.sub(r"(?<!\\)\s+$", "", line)
        if not line or line.startswith("#"):
            continue
        takes_back = line.startswith("!")
        glob = line[takes_back:]
        only_folders = glob.endswith("/")
        glob = glob.rstrip("/")
        if not glob:
            continue
        anywhere = "" if "/" in glob else "(?:.*/)?"
        try:
            pattern = re.compile(f"{prefix}{anywhere}{_expression(glob.removeprefix('/'), '!^')}", re.DOTALL)
        except re.error:
            # As `[b-a]`, by which git leaves nothing out either.
            continue
        rules.append(Rule(pattern, takes_back, only_folders))
    return rules


def docker_rules(text: str) -> list[Rule]:
    """Read a `.dockerignore`, which is in the folder that paths are relative to.

    Raises:
        ConfigurationError: A pattern is none, which Docker refuses, too.
    """
    rules = []
    for line in text.removeprefix("\ufeff").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        takes_back = line.startswith("!")
        named = line[takes_back:].strip()
        glob = posixpath.normpath(named).lstrip("/")
        if glob not in ("", "."):
            try:
                rules.append(Rule(re.compile(_expression(glob, "^"), re.DOTALL), takes_back, False))
            except re.error as error:
                raise ConfigurationError(
                    f"expected a pattern in .dockerignore, got {named!r}: {error.msg}; mend that line"
                ) from error
    return rules


def is_left_out_by_git(rules: Sequence[Rule], path: str, is_folder: bool) -> bool:
    """Whether a path is left out, given that the folder it is in is not."""
    for rule in reversed(rules):
        if (is_folder or not rule.only_folders) and rule.pattern.fullmatch(path):
            return not rule.takes_back
    return False


def is_left_out_by_docker(rules: Sequence[Rule], path: str) -> bool:
    """Whether a file is left out, by its own name or by that of a folder it is in."""
    parts = path.split("/")
    names = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for rule in reversed(rules):
        if any(rule.pattern.fullmatch(name) for name in names):
            return not rule.takes_back
    return False


def _expression(glob: str, negations: str) -> str:
    """A glob as a regular expression; `*` and `?` stop at slashes, `**` does not.

    Args:
        glob: The pattern.
        negations: What means "none of these" behind a `[`.
    """
    out = []
    position = 0
    while position < len(glob):
        char = glob[position]
        if glob.startswith("**/", position):
            out.append("(?:.*/)?")
            position += 3
        elif glob.startswith("**", position):
            out.append(".*")
            position += 2
        elif char == "*":
            out.append("[^/]*")
            position += 1
        elif char == "?":
            out.append("[^/]")
            position += 1
        elif char == "[" and (end := glob.find("]", position + 2)) > 0:
            inside = glob[position + 1 : end]
            negated = inside[0] in negations
            # Only ranges mean in both what they mean here.
            inside = re.sub(r"[][\\^&|~]", r"\\\g<0>", inside[negated:])
            inside = f"^{inside}" if negated else inside
            out.append(f"(?!/)[{inside}]")
            position = end + 1
        else:
            position += char == "\\" and position + 1 < len(glob)
            out.append(re.escape(glob[position]))
            position += 1
    return "".join(out)
