"""An environment's folder as a subject: its files, read once. Nothing of the author's is imported.

In: a path. Out: a `Folder`, whose parts are None where there is no such file, and whose `faults` say of files
that cannot be read why. This module judges nothing.

Limits: a Dockerfile is read as far as checks look at it: instructions, lines, stages, `ARG` defaults.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from openenv.errors import ManifestError
from openenv.manifest import MANIFEST_NAME, Manifest, parse

__all__ = ["Dockerfile", "Folder", "Instruction"]

_DOCKERFILES = ("server/Dockerfile", "Dockerfile")
_NOT_THE_AUTHORS = frozenset({"vendor", "build", "dist", "node_modules", "__pycache__", "site-packages"})
_MAX_SOURCES = 500


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile.

    Attributes:
        line: Where it starts, from 1.
        name: Upper case.
        value: The rest, continued lines joined by spaces.
    """

    line: int
    name: str
    value: str

    @property
    def words(self) -> list[str] | None:
        """The exec form's words, or None for the shell form."""
        try:
            words = json.loads(self.value)
        except ValueError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


@dataclass(slots=True)
class Dockerfile:
    """A Dockerfile.

    Attributes:
        name: Its path within the folder.
        instructions: All of them, in order.
        effective: Those that decide about the image: of the last stage and the stages it is made from.
        base: The image that the last stage starts from in the end, or None.
    """

    name: str
    instructions: list[Instruction] = field(default_factory=list)
    effective: list[Instruction] = field(default_factory=list)
    base: str | None = None

    def where(self, instruction: Instruction) -> str:
        """`server/Dockerfile:12`."""
        return f"{self.name}:{instruction.line}"

    def last(self, name: str) -> Instruction | None:
        """The instruction of that name that counts."""
        found = [one for one in self.effective if one.name == name]
        return found[-1] if found else None

    def variables(self) -> Iterator[tuple[Instruction, str, str]]:
        """Every `ENV` of the image: instruction, name, value."""
        for one in self.effective:
            if one.name == "ENV":
                pairs = re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S*)""", one.value)
                if not pairs and " " in one.value:
                    name, _, value = one.value.partition(" ")
                    pairs = [(name, value.strip())]
                for name, value in pairs:
                    yield one, name, value.strip("\"'")


class Folder:
    """The files of one environment.

    Args:
        path: The folder; it exists.

    Attributes:
        path: Resolved.
        faults: File name -> why it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.faults: dict[str, str] = {}

    def text(self, name: str) -> str | None:
        """A file's text; None where there is none, or where `faults` says why it cannot be read."""
        try:
            return (self.path / name).read_text("utf-8")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            self.faults[name] = str(error)
            return None

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file()

    @cached_property
    def manifest(self) -> Manifest | None:
        """`openenv.yaml`."""
        text = self.text(MANIFEST_NAME)
        if text is None:
            return None
        try:
            return parse(text)
        except ManifestError as error:
            self.faults[MANIFEST_NAME] = str(error)
            return None

    @cached_property
    def pyproject(self) -> dict[str, Any] | None:
        """`pyproject.toml`."""
        text = self.text("pyproject.toml")
        if text is None:
            return None
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.faults["pyproject.toml"] = str(error)
            return None

    @cached_property
    def dockerfile(self) -> Dockerfile | None:
        """`server/Dockerfile`, else `Dockerfile`."""
        for name in _DOCKERFILES:
            text = self.text(name)
            if text is not None:
                return _read_dockerfile(name, text)
        return None

    @cached_property
    def front_matter(self) -> dict[str, Any] | None:
        """What stands between `---` lines at the top of `README.md`."""
        text = self.text("README.md")
        if text is None:
            return None
        match = re.match(r"\ufeff?---[ \t]*\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
        if match is None:
            return None
        try:
            # Read as values only: a Space's `version` may be a number, a manifest's may not.
            return dict(parse(_indented(match[1]), "README.md").extra.get("front") or {})
        except ManifestError as error:
            self.faults["README.md"] = str(error)
            return None

    @cached_property
    def port(self) -> int | None:
        """The port that the manifest, else the image serves on; None where neither says."""
        if self.manifest is not None and self.manifest.port:
            return self.manifest.port
        return next((port for _, port in self.image_ports()), None)

    def image_ports(self) -> Iterator[tuple[Instruction, int]]:
        """Every port that the Dockerfile serves on or exposes, with the instruction that says so."""
        if self.dockerfile is None:
            return
        for one, name, value in self.dockerfile.variables():
            if name == "PORT" and value.isdigit():
                yield one, int(value)
        for command in (self.dockerfile.last("ENTRYPOINT"), self.dockerfile.last("CMD")):
            match = command and re.search(r"--port[\"', =]+(\d+)", command.value)
            if command and match:
                yield command, int(match[1])
        for one in self.dockerfile.effective:
            if one.name == "EXPOSE":
                for port in re.findall(r"(?<![\w$])(\d+)(?:/tcp)?(?!\S)", one.value):
                    yield one, int(port)

    @cached_property
    def sources(self) -> list[Path]:
        """The author's Python files, a virtual environment's and built ones left out."""
        found: list[Path] = []
        waiting = [self.path]
        while waiting and len(found) < _MAX_SOURCES:
            for entry in sorted(waiting.pop().iterdir()):
                if entry.name.startswith(".") or entry.name in _NOT_THE_AUTHORS or entry.is_symlink():
                    continue
                if entry.is_dir() and not (entry / "pyvenv.cfg").exists():
                    waiting.append(entry)
                elif entry.suffix == ".py":
                    found.append(entry)
        return sorted(found)

    def find_module(self, dotted: str) -> Path | None:
        """The file of a module as it is found in this folder or once it is installed; None if in neither."""
        parts = dotted.split(".")
        for n in range(len(parts), 0, -1):
            mapped = self.package_folders.get(".".join(parts[:n]))
            if mapped is not None:
                found = _module_file(mapped, parts[n:])
                if found is not None:
                    return found
        roots = [self.path, self.path / "src"]
        if parts[0] in (self.path.name, self._package_name) and len(parts) > 1:
            roots.append(self.path)
            found = _module_file(self.path, parts[1:])
            if found is not None:
                return found
        return next((found for root in roots if (found := _module_file(root, parts)) is not None), None)

    @cached_property
    def package_folders(self) -> dict[str, Path]:
        """`[tool.setuptools] package-dir`: package -> folder."""
        setuptools = self.table("tool", "setuptools")
        mapping = setuptools.get("package-dir")
        if not isinstance(mapping, dict):
            return {}
        return {str(name): self.path / str(place) for name, place in mapping.items() if name}

    @property
    def _package_name(self) -> str:
        name = (self.manifest.name if self.manifest else None) or self.table("project").get("name") or ""
        return re.sub(r"\W", "_", str(name))

    def table(self, *keys: str) -> dict[str, Any]:
        """A table of `pyproject.toml`; empty where there is none."""
        at: Any = self.pyproject or {}
        for key in keys:
            at = at.get(key) if isinstance(at, dict) else None
        return at if isinstance(at, dict) else {}


def top_level_names(path: Path) -> set[str] | None:
    """The names that a module defines, imports or assigns at its top; None if its source cannot be read."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
        return None
    names: set[str] = set()
    # Also within `if`, `try` and `with` at the top level, which define as well.
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(child.name)
            elif isinstance(child, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in child.names}
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                names.add(child.id)
            else:
                waiting.append(child)
    return names


def _module_file(root: Path, parts: list[str]) -> Path | None:
    path = root.joinpath(*parts)
    for candidate in (path.with_name(f"{path.name}.py") if parts else None, path / "__init__.py"):
        if candidate is not None and candidate.is_file():
            return candidate
    return None


def _indented(front: str) -> str:
    return "front:\n" + "\n".join(f"  {line}" if line.strip() else "" for line in front.splitlines()) + "\n"


# -- Dockerfile -----------------------------------------------------------------------------


def _read_dockerfile(name: str, text: str) -> Dockerfile:
    made = Dockerfile(name, list(_instructions(text)))
    arguments: dict[str, str] = {}
    stages: dict[str, list[Instruction]] = {}
    bases: dict[str, str] = {}
    current: list[Instruction] = []
    for one in made.instructions:
        if one.name == "ARG" and not stages:
            key, _, value = one.value.partition("=")
            arguments[key.strip()] = value.strip().strip("\"'")
        elif one.name == "FROM":
            words = [word for word in one.value.split() if not word.startswith("--")]
            image = _substituted(words[0], arguments) if words else ""
            # A stage made from another has what that one has.
            current = list(stages.get(image.lower(), ()))
            made.base = bases.get(image.lower(), image)
            alias = words[2].lower() if len(words) == 3 and words[1].upper() == "AS" else f"#{len(stages)}"
            stages[alias], bases[alias] = current, made.base
        else:
            current.append(one)
    made.effective = current
    return made


def _instructions(text: str) -> Iterator[Instruction]:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        start = at
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        parts = [line]
        while parts[-1].endswith("\\") and at < len(lines):
            parts[-1] = parts[-1][:-1].strip()
            following = lines[at].strip()
            at += 1
            # A comment within a continued line is left out, and the line goes on after it.
            parts.append("\\" if following.startswith("#") else following)
        name, _, value = " ".join(part for part in parts if part not in ("", "\\")).partition(" ")
        for end in re.findall(r"<<-?[\"']?(\w+)", value) if name.upper() in ("RUN", "COPY", "ADD") else ():
            while at < len(lines) and lines[at].strip() != end:
                at += 1
            at += 1
        yield Instruction(start + 1, name.upper(), value.strip())


def _substituted(text: str, arguments: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        return arguments.get(name) or match[2] or ""

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)", value, text)
