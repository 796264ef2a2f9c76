"""The runtime as a wheel that travels with an environment, until it is on a package index.

In: nothing but the runtime that runs this. Out: `openenv_runtime-VERSION-py3-none-any.whl` in a folder, and a
`pyproject.toml` that refers to it. No build tool and no network is used: the wheel is written from the files
of the checkout, or from those that the installed distribution's RECORD lists. The same files give the same
bytes, whenever and wherever they are packed.

Limits: a checkout's metadata is what this project's own `pyproject.toml` says, not everything that one could
say. Compiled and hidden files are left out. Reference: the binary distribution format
(https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from openenv.errors import ConfigurationError
from openenv.version import __version__

__all__ = ["DISTRIBUTION", "VENDOR_FOLDER", "package_files", "refer", "vendor_runtime", "vendor_wheel"]

DISTRIBUTION = "openenv-runtime"
VENDOR_FOLDER = "vendor"
_MODULE = "openenv"
_OLD_NAME = "openenv_core.py"
_STEM = "openenv_runtime"
_OWN_PACKAGE = Path(__file__).resolve().parent.parent
# The earliest that a zip archive can say; a wheel's files have no times of their own.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644
_WHEEL = "Wheel-Version: 1.0\nGenerator: openenv {version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TABLE = "[tool.uv.sources]"
_TABLE_LINE = re.compile(r"^\[tool\.uv\.sources\][ \t]*(#.*)?$", re.MULTILINE)
_SOURCE_LINE = re.compile(r"""^["']?openenv[-_.]runtime["']?[ \t]*=.*$""", re.MULTILINE | re.IGNORECASE)
_NEXT_TABLE = re.compile(r"^\[", re.MULTILINE)


def vendor_wheel(folder: Path) -> Path:
    """Write this runtime as a wheel.

    Wheels of other versions of it are removed from the folder. A wheel that already has the same bytes is
    left as it is, so that tools that look at its time see no change.

    Args:
        folder: Where to; made if there is none.

    Returns:
        The wheel's path.

    Raises:
        ConfigurationError: There is neither a checkout nor an installed distribution around this package.
    """
    content = _wheel()
    path = folder / f"{_STEM}-{__version__}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob(f"{_STEM}-*.whl"):
        if other != path:
            other.unlink()
    if not path.is_file() or path.read_bytes() != content:
        _replace(path, content)
    return path


def vendor_runtime(folder: Path) -> Path:
    """Put the wheel into an environment's `vendor/`, and have its `pyproject.toml` refer to it.

    Args:
        folder: The environment's, with a `pyproject.toml` or without.

    Returns:
        The wheel's path.

    Raises:
        ConfigurationError: There is no wheel to be had, or `pyproject.toml` cannot be read or added to.
    """
    pyproject = folder / "pyproject.toml"
    text = None
    if pyproject.is_file():
        try:
            before = pyproject.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read {pyproject}: {error}") from error
        wheel = f"{VENDOR_FOLDER}/{_STEM}-{__version__}-py3-none-any.whl"
        # By its name alone, since the folder is mostly a copy, which is gone when this is read.
        text = refer(before, wheel)
        text = None if text == before else text
    path = vendor_wheel(folder / VENDOR_FOLDER)
    if text is not None:
        _replace(pyproject, text.encode())
    return path


def package_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder with its path from there, hidden and compiled ones left out."""
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if _is_packed(name)]
        for name in names:
            if _is_packed(name):
                path = Path(parent, name)
                yield path.relative_to(root).as_posix(), path


def refer(text: str, wheel: str, where: str = "pyproject.toml") -> str:
    """The text of a `pyproject.toml` with a line by which uv takes the runtime from a wheel.

    pip knows no such line: it is told `--find-links vendor`.

    Args:
        text: As it is.
        wheel: The wheel's path, relative to the file.
        where: The file's name, for messages.

    Raises:
        ConfigurationError: It is not TOML, or says where sources are in a way that cannot be added to.
    """
    line = f'{DISTRIBUTION} = {{ path = "{wheel}" }}'
    before = _parsed(text, where)
    if _source(before) == {"path": wheel}:
        return text
    heading = _TABLE_LINE.search(text)
    if heading is None:
        changed = f"{text.rstrip()}\n\n{_TABLE}\n{line}\n"
    else:
        following = _NEXT_TABLE.search(text, heading.end())
        end = following.start() if following else len(text)
        body = text[heading.end() : end]
        body = _SOURCE_LINE.sub(line, body, 1) if _SOURCE_LINE.search(body) else f"\n{line}{body}"
        changed = text[: heading.end()] + body + text[end:]
    try:
        after = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        after = {}
    if _source(after) != {"path": wheel}:
        raise ConfigurationError(f"cannot add to {where}; write this below {_TABLE} there yourself: {line}")
    return changed


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is not TOML: {error}") from None


def _source(pyproject: dict[str, Any]) -> object:
    try:
        return pyproject["tool"]["uv"]["sources"][DISTRIBUTION]
    except (KeyError, TypeError):
        return None


# -- the wheel ------------------------------------------------------------------------------


def _wheel() -> bytes:
    """All of it: files in order of their names, the list of them last."""
    files = _files()
    info = f"{_STEM}-{__version__}.dist-info"
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "".join(f"{line}\n" for line in [*record, f"{info}/RECORD,,"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = (0o100000 | _MODE) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            # What zipfile would fill in depends on the system that packs.
            entry.create_system = 3
            archive.writestr(entry, content)
    return buffer.getvalue()


def _files() -> dict[str, bytes]:
    """Content by name within the wheel, without RECORD."""
    checkout = _checkout()
    found = _own_files() if checkout else None
    described = _described_by_checkout(*checkout) if checkout else None
    if found is None or described is None:
        distribution = _distribution()
        found = _recorded_files(distribution)
        described = _described_by_distribution(distribution)
    info = f"{_STEM}-{__version__}.dist-info"
    described["WHEEL"] = _WHEEL.format(version=__version__).encode()
    named = {f"{info}/{name}": content for name, content in described.items()}
    return {**dict(sorted(found.items())), **dict(sorted(named.items()))}


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _replace(path: Path, content: bytes) -> None:
    """Write a file such that nobody ever sees half of it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else _MODE
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


# -- where this runtime comes from -------------------------------------------------------------


def _checkout() -> tuple[Path, dict[str, Any]] | None:
    """The folder above this package and its `[project]`, if it is our repository."""
    folder = _OWN_PACKAGE.parent
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError):
        return None
    return (folder, project) if project.get("name") == DISTRIBUTION else None


def _distribution() -> metadata.Distribution:
    for distribution in metadata.distributions(name=DISTRIBUTION):
        if Path(str(distribution.locate_file(_MODULE))).resolve() == _OWN_PACKAGE:
            return distribution
    raise ConfigurationError(
        f"cannot pack the runtime in {_OWN_PACKAGE}: expected a checkout of {DISTRIBUTION} or its installed "
        "distribution around it, got neither; install it, or use --no-vendor"
    )


def _own_files() -> dict[str, bytes]:
    files = {f"{_MODULE}/{name}": path.read_bytes() for name, path in package_files(_OWN_PACKAGE)}
    # As in `pyproject.toml`: the incumbent's old name is a file at the wheel's top.
    files[_OLD_NAME] = files[f"{_MODULE}/core/{_OLD_NAME}"]
    return files


def _is_packed(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__" and not name.endswith((".pyc", "~"))


def _recorded_files(distribution: metadata.Distribution) -> dict[str, bytes]:
    recorded = distribution.files or []
    return {
        file.as_posix(): Path(str(file.locate())).read_bytes()
        for file in recorded
        if file.parts[0] in (_MODULE, _OLD_NAME) and all(_is_packed(part) for part in file.parts)
    }


def _described_by_distribution(distribution: metadata.Distribution) -> dict[str, bytes]:
    found = {}
    for file in distribution.files or []:
        if file.parts[0].endswith(".dist-info"):
            name = "/".join(file.parts[1:])
            if name in ("METADATA", "entry_points.txt") or name.startswith("licenses/"):
                found[name] = Path(str(file.locate())).read_bytes()
    return found


def _for_extra(requirement: str, extra: str) -> str:
    """A requirement of an extra; it may have a marker of its own (PEP 508)."""
    name, _, marker = requirement.partition(";")
    condition = f"extra == '{extra}'"
    return f"{name.strip()}; ({marker.strip()}) and {condition}" if marker else f"{requirement}; {condition}"


def _described_by_checkout(folder: Path, project: dict[str, Any]) -> dict[str, bytes]:
    """METADATA, entry points and licences, as a build tool would make them of `pyproject.toml`."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {__version__}",
        f"Summary: {project['description']}",
        *(f"Project-URL: {label}, {url}" for label, url in project.get("urls", {}).items()),
        f"License-Expression: {project['license']}",
        *(f"License-File: {name}" for name in project.get("license-files", [])),
        f"Keywords: {','.join(project.get('keywords', []))}",
        *(f"Classifier: {classifier}" for classifier in project.get("classifiers", [])),
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project.get("dependencies", [])),
    ]
    for extra, requirements in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_for_extra(requirement, extra)}" for requirement in requirements]
    readme = (folder / project["readme"]).read_text("utf-8")
    text = "\n".join([*lines, "Description-Content-Type: text/markdown"]) + "\n\n" + readme
    scripts = [f"{name} = {target}" for name, target in project.get("scripts", {}).items()]
    return {
        "METADATA": text.encode(),
        "entry_points.txt": "\n".join(["[console_scripts]", *scripts, ""]).encode(),
        **{f"licenses/{name}": (folder / name).read_bytes() for name in project.get("license-files", [])},
    }
