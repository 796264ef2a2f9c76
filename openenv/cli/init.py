"""`openenv init NAME`: a new environment, which runs at once.

In: a name. Out: a folder of that name, which is the package of that name: models, client, server, manifest,
tests, Dockerfile, and the runtime's wheel. It is made beside its place and moved there when it is complete.

`template/` is the environment `my_env`, whole; making another one is a matter of names.
"""

from __future__ import annotations

import argparse
import keyword
import os
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from openenv.cli.vendor import package_files, vendor_runtime
from openenv.errors import ConfigurationError

__all__ = ["Names", "configure", "make_environment", "names_of", "run"]

_EPILOG = """\
examples:
  openenv init my_env                       ./my_env, with MyEnv, MyAction, MyObservation, MyEnvironment
  openenv init chess_env --output-dir envs  envs/chess_env
  openenv init my_env --no-vendor           without the runtime's wheel: a package index has it

Then, in the folder: uv sync && uv run server
"""

_TEMPLATE = Path(__file__).resolve().parent / "template"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_CHARACTERS = 64
_SUFFIX = re.compile(r"_env(ironment)?$")
# A package of such a name would hide what an environment itself is made of, runs on or is tested with.
_RUNTIME = ("openenv", "openenv_core", "openenv_runtime", "orjson", "uvloop", "websockets", "pydantic")
_TOOLS = ("pip", "pytest", "setuptools", "uvicorn")
_PARTS = ("client", "models", "server", "tests", "vendor")
_TAKEN = frozenset((*_RUNTIME, *_TOOLS, *_PARTS))
_PLACEHOLDER = re.compile(r"my_env|my-env|My Env|\bMy(?=(?:Env|Action|Observation|Environment)\b)")
_VENDOR_MARK = re.compile(r"^<!-- /?vendor -->\n", re.MULTILINE)
_VENDOR_PART = re.compile(r"^<!-- vendor -->\n.*?^<!-- /vendor -->\n\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Names:
    """The names in a new environment, by those of the template.

    Attributes:
        package: `my_env`; also the folder and the manifest's name.
        distribution: `my-env`; also the image and the Space.
        title: `My Env`.
        stem: `My`, before `Env`, `Action`, `Observation` and `Environment`.
    """

    package: str
    distribution: str
    title: str
    stem: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("name", metavar="NAME", help="lower-case letters, digits and '_', as in my_env")
    parser.add_argument(
        "--output-dir", "-o", metavar="DIR", default=".", help="where to make the folder (default: here)"
    )
    parser.add_argument(
        "--no-vendor", action="store_true", help="leave the runtime's wheel out: a package index has it"
    )
    parser.add_argument("--debug", action="store_true", help="tracebacks of mistakes")


def run(options: argparse.Namespace) -> int:
    """Make it, and say what to do next; gives the exit code."""
    names = names_of(options.name)
    folder = Path(options.output_dir).expanduser() / names.package
    make_environment(folder, names, vendor=not options.no_vendor)
    classes = ", ".join(f"{names.stem}{kind}" for kind in ("Env", "Action", "Observation", "Environment"))
    print(f"{folder} is a new environment: {classes}")
    for command, purpose in (
        (f"cd {shlex.quote(str(folder))}", ""),
        ("uv sync && uv run server", "serve it on http://localhost:8000; or: openenv serve"),
        ("uv run pytest", "run its tests"),
        ("openenv validate", "check it against the contract"),
        (f"openenv build -t {names.distribution}:latest", "make an image of it"),
        (f"openenv push --repo-id username/{names.distribution}", "deploy it as a Hugging Face Space"),
    ):
        print(f"  {command:<48}{purpose}".rstrip())
    print("Its logic is in server/environment.py, its types are in models.py.")
    return 0


def names_of(name: str) -> Names:
    """What an environment of this name calls its parts.

    Raises:
        ConfigurationError: It cannot be the name of one; the message has one that can.
    """
    suggestion = f"try '{_similar(name)}'"
    if not _NAME.fullmatch(name) or len(name) > _MAX_CHARACTERS:
        raise ConfigurationError(
            f"expected lower-case letters, digits and single '_', starting with a letter, at most "
            f"{_MAX_CHARACTERS} of them, got {name!r} as the name of a package; {suggestion}"
        )
    if keyword.iskeyword(name):
        raise ConfigurationError(
            f"{name!r} is a word of the Python language and cannot be imported; {suggestion}"
        )
    if name in sys.stdlib_module_names:
        raise ConfigurationError(f"{name!r} would hide a module of Python's own; {suggestion}")
    if name in _TAKEN:
        raise ConfigurationError(f"{name!r} would hide what environments are made with; {suggestion}")
    words = (_SUFFIX.sub("", name) or name).split("_")
    return Names(
        package=name,
        distribution=name.replace("_", "-"),
        title=" ".join(word.capitalize() for word in name.split("_")),
        stem="".join(word.capitalize() for word in words),
    )


def _similar(name: str) -> str:
    """A name that can be used, as near as possible."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rstrip("/").rpartition("/")[2])
    similar = re.sub(r"[^a-z0-9]+", "_", separated.lower()).strip("_")[:_MAX_CHARACTERS].strip("_")
    if not similar or not similar[0].isalpha():
        similar = f"env_{similar}".rstrip("_")
    taken = keyword.iskeyword(similar) or similar in sys.stdlib_module_names or similar in _TAKEN
    if taken or similar == "env":
        similar = f"{similar}_env" if similar != "env" else "my_env"
    return similar


def make_environment(folder: Path, names: Names, *, vendor: bool = True) -> None:
    """Make an environment in a folder, all of it or nothing.

    Args:
        folder: Where; must not exist, or be empty. What is above it is made if need be.
        names: What its parts are called.
        vendor: Whether it takes the runtime's wheel along.

    Raises:
        ConfigurationError: There is something in the folder, it cannot be written, or there is no wheel to
            be had.
    """
    if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigurationError(
            f"{folder} is there already and not an empty folder; choose another name, or another --output-dir"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            # One below, because a temporary folder is closed to others, and moving keeps that.
            made = Path(temporary, folder.name)
            _write(made, names, vendor)
            if vendor:
                vendor_runtime(made)
            os.rename(made, folder)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror or error}; choose another --output-dir"
        ) from error


def _write(folder: Path, names: Names, vendor: bool) -> None:
    words = {
        "my_env": names.package,
        "my-env": names.distribution,
        "My Env": names.title,
        "My": names.stem,
    }
    for path, source in package_files(_TEMPLATE):
        text = _PLACEHOLDER.sub(lambda match: words[match[0]], source.read_text("utf-8"))
        text = (_VENDOR_MARK if vendor else _VENDOR_PART).sub("", text)
        # Under their real names git and build tools would take them for this repository's own.
        target = folder / path.replace("dot_", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
