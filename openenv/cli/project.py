"""What an environment's folder says of itself, as `build` and `push` read it.

In: a folder. Out: its manifest, and what its `pyproject.toml` requires. Nothing is changed, and no code of
the author's runs.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openenv.cli.vendor import DISTRIBUTION
from openenv.errors import ConfigurationError, ManifestError
from openenv.manifest import MANIFEST_NAME, Manifest, parse

__all__ = [
    "REQUIREMENT",
    "dependencies",
    "normal",
    "read_environment",
    "read_project",
    "required_names",
    "runs_on_us",
]

REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?(?P<rest>[^;#]*)(?P<marker>;[^#]*)?"
)
"""A requirement as a package index knows it; not a URL."""


def read_environment(directory: str, advice: str = "name the environment's") -> tuple[Path, Manifest]:
    """The folder that was named, and its manifest.

    Args:
        directory: As it was typed.
        advice: What to do where there is none of that name.

    Raises:
        ConfigurationError: There is no such folder.
        ManifestError: It cannot be entered, or has no manifest, or none that can be read.
    """
    folder = Path(directory).expanduser().resolve()
    # What stands before '=' and no more: it may be a secret that lost its flag.
    shown = directory.partition("=")[0]
    path = folder / MANIFEST_NAME
    try:
        text = path.read_text("utf-8") if folder.is_dir() else None
    except FileNotFoundError:
        raise ManifestError(
            f"there is no {MANIFEST_NAME} in {folder}; go to the environment's folder, or name it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read {path}: {error}") from error
    if text is None:
        raise ConfigurationError(f"there is no folder {shown!r}; {advice}")
    return folder, parse(text, str(path))


def read_project(folder: Path) -> dict[str, Any]:
    """A folder's `pyproject.toml`, whose `project` is a table; empty where there is no file.

    Raises:
        ConfigurationError: It cannot be read, or is no TOML, or its `project` is something else.
    """
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"pyproject.toml is not TOML: {error}") from None
    project = found.get("project", {})
    if not isinstance(project, dict):
        raise ConfigurationError(f"expected [project] in pyproject.toml to be a table, got {project!r}")
    if not isinstance(project.get("dependencies", []), list):
        raise ConfigurationError(
            f"expected a list of dependencies in pyproject.toml, got {project['dependencies']!r}"
        )
    return found


def dependencies(pyproject: dict[str, Any]) -> list[str]:
    """What the project requires without any extra."""
    return [str(word) for word in pyproject.get("project", {}).get("dependencies", ())]


def required_names(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that are required."""
    matches = (REQUIREMENT.match(requirement) for requirement in requirements)
    return {normal(match["name"]) for match in matches if match is not None}


def normal(name: str) -> str:
    """A distribution's name in the form in which equal ones are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def runs_on_us(folder: Path) -> bool:
    """Whether the folder's project requires this runtime.

    Raises:
        ConfigurationError: Its `pyproject.toml` cannot be read.
    """
    return DISTRIBUTION in required_names(dependencies(read_project(folder)))
