"""`openenv build [DIR]`: an image of an environment, built by `docker`.

In: a folder and flags. Out: an image on the local engine; the engine's output as it comes. What is sent to it
is a copy, in which the runtime's wheel is added and, if asked, the runtime that the environment was written
for is replaced; the author's folder is only read.

Limits: requirements are found in `pyproject.toml` and in `requirements*.txt`, at the top and in `server/`.
What is left out of the copy is what Docker would leave out. Reference: `docker build --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openenv.cli.engine import check_engine, check_image, image_name, registry_of, run_docker
from openenv.cli.ignore import Rule, docker_rules, is_left_out_by_docker
from openenv.cli.project import (
    REQUIREMENT,
    dependencies,
    normal,
    read_environment,
    read_project,
    required_names,
    runs_on_us,
)
from openenv.cli.vendor import DISTRIBUTION, VENDOR_FOLDER, vendor_runtime
from openenv.errors import ConfigurationError

__all__ = ["configure", "run", "stage", "swap_runtime"]

_EPILOG = """\
examples:
  openenv build                                    the folder you stand in, as openenv-NAME:latest
  openenv build my_env -t my-env:1.0 --push        a folder, under a name of your own, and push it there
  openenv build --build-arg BASE=python:3.13-slim  on another image
  openenv build --offline wheels                   without a package index: wheels/ has what is needed
  openenv build --swap-runtime                     an environment that was written for openenv-core

The Dockerfile is --file, else server/Dockerfile, else Dockerfile.
"""

_TEMPLATE = Path(__file__).resolve().parent / "template"
_DOCKERFILES = ("server/Dockerfile", "Dockerfile")
_OF_ANOTHER_FOLDER = "Dockerfile.openenv"
_NO_INDEX = "PIP_NO_INDEX"
_RUNTIME_NEEDS = ("websockets", "uvloop", "orjson")

_INCUMBENT = frozenset({"openenv", "openenv-core"})
# With what the incumbent's extra of that name brings: such environments import it and do not ask for it.
_REPLACEMENT = f"{DISTRIBUTION}[core]"
_REPOSITORY = re.compile(r"\s*(?:-e\s+)?git\+\S+/openenv(?:\.git)?(?:[@#]\S*)?\s*", re.IGNORECASE)
_BASE_OF_INCUMBENT = re.compile(r"(?:^|/)(?:openenv|envtorch)-base(?:[:@]|$)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "directory",
        metavar="DIR",
        nargs="?",
        default=".",
        help="the environment's folder (default: this one)",
    )
    add("--tag", "-t", metavar="TAG", help="name of the image (default: openenv-NAME:latest)")
    add(
        "--build-arg",
        metavar="K=V",
        action="append",
        default=[],
        help="for an ARG of the Dockerfile (repeatable)",
    )
    add("--no-cache", action="store_true", help="build every layer anew")
    add("--platform", metavar="NAME", help="as linux/amd64 or linux/arm64; several, with commas, need --push")
    add("--file", "-f", metavar="FILE", help="the Dockerfile (default: server/Dockerfile, or Dockerfile)")
    add("--push", action="store_true", help="push the image to the registry that its name says")
    add(
        "--offline", metavar="WHEELS", help="ask no package index; this folder has the wheels that are needed"
    )
    add(
        "--swap-runtime",
        action="store_true",
        help="build on this runtime what depends on openenv or openenv-core; your files stay as they are",
    )
    add("--no-vendor", action="store_true", help="leave the runtime's wheel out: a package index has it")
    add("--debug", action="store_true", help="tracebacks of mistakes")


def run(options: argparse.Namespace) -> int:
    """Build; gives the exit code."""
    folder, manifest = read_environment(options.directory)
    name = manifest.name or folder.name
    tag = f"openenv-{image_name(name) or 'env'}:latest" if options.tag is None else options.tag
    check_image(tag, "--tag")
    if options.platform == "":
        raise ConfigurationError("expected a platform as linux/arm64, got ''; leave --platform out")
    for word in options.build_arg:
        if not re.match(r"\w+(=|$)", word):
            raise ConfigurationError(f"expected K=V as --build-arg, got {word!r}")
    with tempfile.TemporaryDirectory(prefix="openenv-build-") as temporary:
        context = Path(temporary, "context")
        dockerfile = stage(
            folder,
            context,
            package=re.sub(r"\W", "_", name),
            dockerfile=_dockerfile(folder, options.file),
            swap=options.swap_runtime,
            vendor=not options.no_vendor,
            wheels=None if options.offline is None else _wheels(options.offline),
        )
        build_args = [*options.build_arg, *([f"{_NO_INDEX}=1"] if options.offline is not None else [])]
        several = options.platform is not None and "," in options.platform
        command = ["docker", *(["buildx"] if several else []), "build", "-t", tag, "-f", str(dockerfile)]
        command += ["--platform", options.platform] if options.platform else []
        command += ["--no-cache"] if options.no_cache else []
        command += [word for argument in build_args for word in ("--build-arg", argument)]
        # An image for several platforms is in no local store from which it could be pushed later.
        command += ["--push"] if several and options.push else []
        check_engine()
        run_docker([*command, str(context)], "see what it says above")
    if options.push and not several:
        run_docker(["docker", "push", tag], f"log in with 'docker login {registry_of(tag)}'".rstrip())
    port = manifest.port or 8000
    print(f"{tag} is {'built and pushed' if options.push else 'built'}\n  docker run -p {port}:{port} {tag}")
    return 0


# -- what was asked ---------------------------------------------------------------------------


def _dockerfile(folder: Path, said: str | None) -> Path | None:
    try:
        if said is None:
            return next((folder / name for name in _DOCKERFILES if (folder / name).is_file()), None)
        for path in (Path(said).expanduser().resolve(), folder / said):
            if path.is_file():
                return path
    except OSError as error:
        raise ConfigurationError(f"cannot look for a Dockerfile: {error}") from error
    raise ConfigurationError(f"there is no file {said!r}; name a Dockerfile")


def _wheels(said: str) -> list[Path]:
    folder = Path(said).expanduser()
    found = sorted(folder.glob("*.whl"))
    if not found:
        what = "no wheels in it" if folder.is_dir() else "no such folder"
        raise ConfigurationError(
            f"expected a folder with wheels as --offline, got {said!r}: {what}; "
            f"{_how_to_fill(said, _RUNTIME_NEEDS)}"
        )
    return found


def _how_to_fill(folder: Path | str, names: Iterable[str]) -> str:
    return f"fill it, for the image's Python: pip download -d {folder} --only-binary=:all: {' '.join(names)}"


# -- what is sent -----------------------------------------------------------------------------


def stage(
    folder: Path,
    into: Path,
    *,
    package: str,
    dockerfile: Path | None,
    swap: bool = False,
    vendor: bool = True,
    wheels: Sequence[Path] | None = None,
) -> Path:
    """Copy what `docker build` is to be given, and change the copy as asked.

    Args:
        folder: The environment's; only read.
        into: A folder that does not exist yet.
        package: The environment's package, for a Dockerfile of ours.
        dockerfile: The one to use, or None where there is none.
        swap: Whether another runtime is replaced by this one.
        vendor: Whether this runtime's wheel is put into `vendor/`, where the environment depends on it.
        wheels: All that is needed, where no index is to be asked; else None.

    Returns:
        The Dockerfile to build with, in `into`.

    Raises:
        ConfigurationError: There is no Dockerfile, it needs an index, wheels are missing, or a file cannot be
            read or changed.
    """
    try:
        _copy(folder, into, dockerfile)
        remarks = swap_runtime(into) if swap else []
        used = _place_dockerfile(folder, into, dockerfile, package, swap, remarks)
        if vendor and runs_on_us(into):
            vendor_runtime(into)
        if wheels is not None:
            _add_wheels(into, wheels, used)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot copy {folder}: {error}") from error
    for remark in remarks:
        print(f"openenv: {remark}", file=sys.stderr)
    return used


def _copy(folder: Path, into: Path, dockerfile: Path | None) -> None:
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore") if dockerfile else folder / ".dockerignore"
    ignore = next((path for path in (own, folder / ".dockerignore") if path.is_file()), None)
    # Who wrote none means no secrets and caches all the same.
    rules = docker_rules((ignore or _TEMPLATE / "dot_dockerignore").read_text("utf-8"))
    # What is left out is gone from the copy; Docker must not leave out what is added to it.
    ignores = {own, folder / ".dockerignore"}

    def give_up(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=give_up):
        here = Path(parent)
        target = into / here.relative_to(folder)
        target.mkdir(parents=True, exist_ok=True)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [
            name for name in folders if name not in links and _is_entered(rules, here / name, folder)
        ]
        for name in [*names, *links]:
            path = here / name
            left_out = is_left_out_by_docker(rules, path.relative_to(folder).as_posix())
            if path in ignores or (left_out and path != dockerfile):
                continue
            if path.is_symlink() or stat.S_ISREG(path.stat().st_mode):
                shutil.copy2(path, target / name, follow_symlinks=False)


def _is_entered(rules: Sequence[Rule], path: Path, folder: Path) -> bool:
    """Whether there may be something in a folder that is not left out."""
    if any(rule.takes_back for rule in rules):
        return True
    return not is_left_out_by_docker(rules, path.relative_to(folder).as_posix())


def _place_dockerfile(
    folder: Path, into: Path, dockerfile: Path | None, package: str, swap: bool, remarks: list[str]
) -> Path:
    """Have the Dockerfile in the copy, the author's or ours; gives its path."""
    base = None if dockerfile is None else _base_of_incumbent(dockerfile.read_text("utf-8"))
    if dockerfile is None or (swap and base is not None):
        if not swap:
            raise ConfigurationError(
                f"there is no {' and no '.join(_DOCKERFILES)} in {folder}; name one with --file, or take "
                "that of 'openenv init'"
            )
        why = f"{dockerfile.name} builds on {base}" if dockerfile else "there is no Dockerfile"
        remarks.append(f"{why}: built with that of 'openenv init', which installs what pyproject.toml needs")
        text = (_TEMPLATE / "server" / "Dockerfile").read_text("utf-8")
        placed = into / _OF_ANOTHER_FOLDER
        placed.write_text(text.replace("my_env", package).replace("my-env", package), "utf-8")
        return placed
    if dockerfile.is_relative_to(folder):
        return into / dockerfile.relative_to(folder)
    placed = into / _OF_ANOTHER_FOLDER
    shutil.copy(dockerfile, placed)
    return placed


def _base_of_incumbent(dockerfile: str) -> str | None:
    """The incumbent's own base image, if a stage is built on it."""
    defaults = dict(
        re.findall(r"^\s*ARG\s+(\w+)=[\"']?([^\s\"']*)", dockerfile, re.MULTILINE | re.IGNORECASE)
    )
    for image in re.findall(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", dockerfile, re.MULTILINE | re.IGNORECASE):
        named = re.sub(r"\$\{?(\w+)(?::?-[^}]*)?\}?", lambda match: defaults.get(match[1], ""), image)
        if _BASE_OF_INCUMBENT.search(named):
            return named
    return None


def _add_wheels(into: Path, wheels: Sequence[Path], dockerfile: Path) -> None:
    if _NO_INDEX not in dockerfile.read_text("utf-8"):
        raise ConfigurationError(
            f"the Dockerfile does not say 'ARG {_NO_INDEX}', so it would ask an index; take the one that "
            "'openenv init' makes, or leave --offline out"
        )
    needed = required_names(dependencies(read_project(into)))
    needed |= set(_RUNTIME_NEEDS) if DISTRIBUTION in needed else set()
    there = {normal(path.name.partition("-")[0]) for path in (*wheels, *(into / VENDOR_FOLDER).glob("*.whl"))}
    missing = sorted(needed - there)
    if missing:
        raise ConfigurationError(
            f"there is no wheel of {', '.join(missing)} in {wheels[0].parent}; "
            f"{_how_to_fill(wheels[0].parent, missing)}"
        )
    (into / VENDOR_FOLDER).mkdir(exist_ok=True)
    for wheel in wheels:
        if not (into / VENDOR_FOLDER / wheel.name).exists():
            shutil.copy(wheel, into / VENDOR_FOLDER)


# -- requirements ------------------------------------------------------------------------------


def swap_runtime(folder: Path) -> list[str]:
    """Replace what a folder requires of the incumbent's runtime by this one, in the folder itself.

    Args:
        folder: A copy of an environment's. Without a `pyproject.toml` it gets one that requires what
            `requirements.txt` does.

    Returns:
        What a person should know about it.

    Raises:
        ConfigurationError: `pyproject.toml` is not TOML, or a requirement in it cannot be found in its text.
    """
    remarks = []
    listed: list[str] = []
    for path in sorted({*folder.glob("requirements*.txt"), *folder.glob("server/requirements*.txt")}):
        lines = path.read_text("utf-8").splitlines()
        swapped = [_swapped(line) for line in lines]
        bare = [line.partition(" #")[0].strip() for line in swapped]
        listed += [line for line in bare if REQUIREMENT.fullmatch(line)]
        if swapped != lines:
            path.write_text("\n".join(swapped) + "\n", "utf-8")
            remarks.append(f"{path.relative_to(folder)}: {_REPLACEMENT} in place of the other runtime")
    pyproject = folder / "pyproject.toml"
    if not pyproject.is_file():
        requirements = dict.fromkeys([_REPLACEMENT, *listed])
        name = json.dumps(folder.name)
        pyproject.write_text(
            f'[project]\nname = {name}\nversion = "0"\ndependencies = {json.dumps(list(requirements))}\n',
            "utf-8",
        )
        return [
            *remarks,
            f"there is no pyproject.toml: {_REPLACEMENT} and what requirements.txt says are used",
        ]
    text = pyproject.read_text("utf-8")
    project = read_project(folder)
    for requirement in _all_requirements(project):
        replacement = _swapped(requirement)
        if replacement == requirement:
            continue
        changed = text
        for quote in ('"', "'"):
            changed = changed.replace(f"{quote}{requirement}{quote}", f"{quote}{replacement}{quote}")
        if changed == text:
            raise ConfigurationError(
                f"cannot find {requirement!r} in the text of pyproject.toml; write it in one piece, in quotes"
            )
        text = changed
        remarks.append(f"pyproject.toml: {replacement!r} in place of {requirement!r}")
    if DISTRIBUTION not in {normal(name) for name in required_names(_all_requirements(tomllib.loads(text)))}:
        raise ConfigurationError(
            "expected openenv, openenv-core or openenv-runtime among the dependencies in pyproject.toml, "
            "found none; there is no runtime to swap"
        )
    pyproject.write_text(text, "utf-8")
    # It pins the runtime that was there before.
    (folder / "uv.lock").unlink(missing_ok=True)
    return remarks


def _swapped(requirement: str) -> str:
    """A requirement, or a line of requirements.txt, with the runtime replaced if that is what it is."""
    if _REPOSITORY.fullmatch(requirement):
        return _REPLACEMENT
    match = REQUIREMENT.match(requirement)
    if match is None or normal(match["name"]) not in _INCUMBENT:
        return requirement
    marker = (match["marker"] or "").strip()
    return f"{_REPLACEMENT}{marker}"


def _all_requirements(pyproject: dict[str, Any]) -> list[str]:
    extras = pyproject.get("project", {}).get("optional-dependencies", {})
    return [*dependencies(pyproject), *(str(word) for words in extras.values() for word in words)]
