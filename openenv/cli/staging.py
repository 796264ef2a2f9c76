"""A copy of an environment's folder, as a Space is given it.

In: a folder. Out: another folder with the files that are to be uploaded, changed where a Space needs it, and
notes about what was left out. The author's folder is only read. It knows nothing about the Hub and Docker.

What is left out: what `.gitignore`, `.dockerignore` and the caller's patterns name, what tools leave behind,
and secrets. What is changed in the copy: `Dockerfile` (at the top, where a Space builds from; base image and
web interface on demand) and the front matter of `README.md`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openenv.cli.ignore import Rule, docker_rules, git_rules, is_left_out_by_docker, is_left_out_by_git
from openenv.errors import ConfigurationError
from openenv.manifest import MANIFEST_NAME, Manifest

__all__ = [
    "DEFAULT_PORT",
    "Staged",
    "copy_environment",
    "find_value",
    "prepare_dockerfile",
    "prepare_readme",
    "with_base_image",
    "with_front_matter",
    "with_interface",
]

DEFAULT_PORT = 8000
_LEFT_BEHIND = git_rules(
    """
.git
.hg/
.svn/
.venv
venv/
__pycache__/
*.py[co]
*.egg-info/
/build/
/dist/
.mypy_cache/
.pytest_cache/
.ruff_cache/
.hypothesis/
.tox/
.nox/
.ipynb_checkpoints/
.coverage
node_modules/
.DS_Store
.idea/
.vscode/
"""
)
_SECRETS = git_rules(
    """
.env
.env.*
!.env.example
!.env.sample
!.env.template
*.env
.netrc
.pypirc
.git-credentials
id_rsa
id_ecdsa
id_ed25519
"""
)
_KEY_ENDINGS = (".pem", ".key", ".p12", ".pfx")
_KEY_MARK = b"PRIVATE KEY-----"
_NEEDED = frozenset(
    {"README.md", "LICENSE", "Dockerfile", "server/Dockerfile", "pyproject.toml", MANIFEST_NAME}
    | {".dockerignore", ".gitignore", ".gitattributes", "uv.lock"}
)
"""What a Space, or an installation from it, needs although an image may not."""

_SHORT_DESCRIPTION = 60
# Control characters, and bytes that are no UTF-8, as Python has them in names of files.
_UNSAYABLE = re.compile("[\x00-\x1f\x7f\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Staged:
    """What was copied.

    Attributes:
        folder: The copy.
        secrets: Files left out because they look like secrets, relative to the author's folder.
        links: Links left out because they lead out of the folder, to folders, or to nothing.
    """

    folder: Path
    secrets: tuple[str, ...]
    links: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        """Every file of the copy, by its path with slashes, in order."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return dict(sorted((path.relative_to(self.folder).as_posix(), path) for path in found))


def copy_environment(folder: Path, into: Path, exclude: Sequence[Rule] = ()) -> Staged:
    """Copy what is to be uploaded.

    Args:
        folder: The environment's.
        into: An empty folder elsewhere.
        exclude: Further rules, after those of `.gitignore`.

    Raises:
        ConfigurationError: A file has a name that cannot be said, or a list of patterns is none.
        OSError: A file cannot be read or written.
    """
    docker = docker_rules(_text_of(folder / ".dockerignore"))
    secrets: list[str] = []
    links: list[str] = []
    for name, path in _walk(folder, "", (), (*_LEFT_BEHIND, *exclude), links):
        if is_left_out_by_git(_SECRETS, name, False) or _is_key(path):
            secrets.append(name)
        elif path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            links.append(name)
        elif name in _NEEDED or not is_left_out_by_docker(docker, name):
            if _UNSAYABLE.search(name):
                raise ConfigurationError(
                    f"expected names of files in UTF-8 and without line ends, got {name!a}; rename it, or "
                    "leave it out by .gitignore or --exclude"
                )
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return Staged(into, tuple(sorted(secrets)), tuple(sorted(links)))


def _walk(
    folder: Path, base: str, inherited: Sequence[Rule], always: Sequence[Rule], links: list[str]
) -> Iterator[tuple[str, Path]]:
    rules = (*inherited, *git_rules(_text_of(folder / ".gitignore"), base))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = f"{base}/{entry.name}" if base else entry.name
        is_folder = entry.is_dir()
        if any(is_left_out_by_git(each, name, is_folder) for each in (rules, always)):
            continue
        path = Path(entry.path)
        if not is_folder:
            if path.is_file():
                yield name, path
            elif entry.is_symlink():
                links.append(name)
        elif entry.is_symlink():
            links.append(name)
        elif not (path / "pyvenv.cfg").exists():
            yield from _walk(path, name, rules, always, links)


def _is_key(path: Path) -> bool:
    """Whether a file holds a private key; certificates have the same endings and are no secrets."""
    if path.suffix not in _KEY_ENDINGS:
        return False
    return path.suffix in (".p12", ".pfx") or _KEY_MARK in path.read_bytes()


def find_value(staged: Staged, values: Collection[str]) -> str | None:
    """The first file of the copy that holds one of some values, or None."""
    wanted = [value.encode() for value in values if value]
    for name, path in staged.files().items():
        content = path.read_bytes() if wanted else b""
        if any(value in content for value in wanted):
            return name
    return None


def prepare_dockerfile(folder: Path, base_image: str | None, interface: bool | None) -> None:
    """Put a `Dockerfile` at the top of the copy, and change it as asked.

    Args:
        folder: The copy.
        base_image: Image to build on, in place of the one it names; None leaves it.
        interface: Whether the web interface is on; None leaves it as the Dockerfile or the runtime has it.

    Raises:
        ConfigurationError: There is no Dockerfile, or it names no image.
    """
    top, below = folder / "Dockerfile", folder / "server" / "Dockerfile"
    source = top if top.is_file() else below
    if not source.is_file():
        raise ConfigurationError(
            "expected a Dockerfile in server/ or at the top of the folder, found none; a Space is built from "
            "it: 'openenv init' shows one"
        )
    text = source.read_text("utf-8")
    if base_image is not None:
        text = with_base_image(text, base_image)
    if interface is not None:
        text = with_interface(text, interface)
    for path in (top, below):
        if path == top or path.is_file():
            path.write_text(text, "utf-8")


def prepare_readme(folder: Path, manifest: Manifest, name: str, interface: bool) -> str | None:
    """Give the copy's `README.md` the front matter that a Space is configured by.

    Returns:
        What a person should know about it, or None.

    Raises:
        ConfigurationError: It says that the Space is of another kind.
    """
    path = folder / "README.md"
    text = _text_of(path)
    port = manifest.port or DEFAULT_PORT
    path.write_text(with_front_matter(text, name, manifest.description, port, interface), "utf-8")
    said = re.search(r"^app_port:[ \t]*(\d+)", text, re.MULTILINE)
    if said is not None and manifest.port is not None and int(said[1]) != manifest.port:
        return (
            f"README.md says app_port {said[1]} and openenv.yaml says port {manifest.port}; a Space goes by "
            f"README.md"
        )
    return None


def with_front_matter(text: str, name: str, description: str | None, port: int, interface: bool) -> str:
    """A README with the keys that a Space needs, in front; those that are there stay.

    Args:
        text: The README, or "".
        name: The environment's.
        description: One sentence, or None.
        port: That the server listens on in its container.
        interface: Whether the Space opens at /web.

    Raises:
        ConfigurationError: It says that the Space is of another kind.
    """
    match = re.match(r"---[ \t]*\r?\n(?P<front>.*?)^---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL | re.MULTILINE)
    front = match["front"] if match is not None else ""
    body = text[match.end() :] if match is not None else text
    there = dict(re.findall(r"^([A-Za-z_]\w*)[ \t]*:[ \t]*(.*?)[ \t]*\r?$", front, re.MULTILINE))
    kind = there.get("sdk", "docker").strip("\"'")
    if kind != "docker":
        raise ConfigurationError(
            f"expected sdk: docker in the front matter of README.md, got {kind!r}; an environment's Space is "
            f"built from its Dockerfile"
        )
    title = re.sub(r"[\W_]+", " ", name).strip().title()
    needed = {
        "title": title,
        "emoji": "🎮",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "docker",
        "pinned": "false",
        "app_port": str(port),
        "base_path": "/web",
        "tags": "\n  - openenv",
    }
    if not interface:
        front = re.sub(r"^base_path:.*\n?", "", front, flags=re.MULTILINE)
        del needed["base_path"]
    if match is not None:
        needed = {key: needed[key] for key in ("sdk", "app_port", "base_path") if key in needed}
    lines = [f"{key}: {value}".replace(": \n", ":\n") for key, value in needed.items() if key not in there]
    added = "".join(f"{line}\n" for line in lines)
    if match is None:
        about = " ".join((description or "").split())
        if 0 < len(about) <= _SHORT_DESCRIPTION:
            quoted = about.replace("'", "''")
            added += f"short_description: '{quoted}'\n"
        sentence = about.rstrip(".") or "An environment for reinforcement learning, served by OpenEnv"
        body = f"\n{body}" if body.strip() else f"\n# {title}\n\n{sentence}.\n"
    return f"---\n{front}{added}---\n{body}"


def with_base_image(text: str, image: str) -> str:
    """A Dockerfile that builds on another image.

    The image of its first stage is replaced, and wherever else the same one is named; if an `ARG` before the
    first stage names it, that is where it is replaced.

    Raises:
        ConfigurationError: No image is named.
    """
    lines = text.splitlines(keepends=True)
    stages = [number for number in _instructions(lines) if _FROM.match(lines[number])]
    first = _FROM.match(lines[stages[0]]) if stages else None
    if first is None:
        raise ConfigurationError(
            "expected a FROM in the Dockerfile, found none; --base-image has no place to go"
        )
    named = re.fullmatch(r"\$\{?(\w+)(?::?-[^}]*)?\}?", first["image"])
    if named is not None:
        argument = re.compile(rf"(\s*ARG\s+{named[1]})(=\S*)?", re.IGNORECASE)
        for number in range(stages[0]):
            if argument.match(lines[number]):
                lines[number] = argument.sub(lambda match: f"{match[1]}={image}", lines[number], count=1)
                return "".join(lines)
    for number in stages:
        match = _FROM.match(lines[number])
        if match is not None and match["image"] == first["image"]:
            start, end = match.span("image")
            lines[number] = f"{lines[number][:start]}{image}{lines[number][end:]}"
    return "".join(lines)


def with_interface(text: str, on: bool) -> str:
    """A Dockerfile whose last stage says whether the web interface is on."""
    value = "true" if on else "false"
    lines = text.splitlines(keepends=True)
    stages = [number for number in _instructions(lines) if _FROM.match(lines[number])]
    if not stages:
        return text
    head, last = "".join(lines[: stages[-1] + 1]), "".join(lines[stages[-1] + 1 :])
    changed, count = re.subn(r"\b(ENABLE_WEB_INTERFACE)([= ])\S+", rf"\g<1>\g<2>{value}", last)
    if count:
        return head + changed
    ending = "" if head.endswith("\n") else "\n"
    return f"{head}{ending}ENV ENABLE_WEB_INTERFACE={value}\n{last}"


_FROM = re.compile(r"\s*FROM(?:\s+--\w+=\S+)*\s+(?P<image>\S+)", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"<<-?[\"']?(\w+)[\"']?")


def _instructions(lines: Sequence[str]) -> Iterator[int]:
    """The lines at which instructions start, which are not those in the middle of one."""
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        if not line or line.startswith("#"):
            number += 1
            continue
        yield number
        endings = _HERE_DOCUMENT.findall(line)
        while number < len(lines) and _goes_on(lines[number]):
            number += 1
        number += 1
        for ending in endings:
            while number < len(lines) and lines[number].strip() != ending:
                number += 1
            number += 1


def _goes_on(line: str) -> bool:
    # A comment between continued lines is no end of them.
    return line.rstrip().endswith("\\") or line.lstrip().startswith("#")


def _text_of(path: Path) -> str:
    """A file's text, or "" where there is none."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"expected text in UTF-8 in {path.name}, got {error.reason}") from error
