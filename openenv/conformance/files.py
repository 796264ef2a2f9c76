"""What can be told from an environment's files: manifest, sources, package, image, Space.

In: a `Folder`. Out: findings, through the group `FILES`. Nothing of the author's is imported or run.

Reference: ``deploying-an-environment.md``; Dockerfiles (https://docs.docker.com/reference/dockerfile/); the
configuration of Spaces (https://huggingface.co/docs/hub/spaces-config-reference).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openenv.conformance.finding import ERROR, WARNING, Group, Problem, SkippedCheck, shown
from openenv.conformance.folder import Dockerfile, Folder, top_level_names
from openenv.manifest import MANIFEST_NAME, Manifest

__all__ = ["FILES"]

FILES: Group[Folder] = Group()

_RUNTIMES = ("openenv-runtime", "openenv", "openenv-core")
_OURS = "openenv-runtime"
_LOWEST_PYTHON = 11
_SPACE_PORT = 7860
"""Where a Space looks for a server if its front matter says nothing."""
_PLAIN_IMAGES = frozenset(
    {"python", "debian", "ubuntu", "alpine", "node", "fedora", "busybox", "scratch", "uv", "miniconda3"}
)
"""Images that start nothing, check nothing and run as root."""


# -- manifest -------------------------------------------------------------------------------


@FILES.check("manifest", ERROR, f"an {MANIFEST_NAME} that can be read")
def the_manifest_can_be_read(folder: Folder) -> Iterator[Problem]:
    """Everything else starts from it."""
    if folder.manifest is not None:
        return
    fault = folder.faults.get(MANIFEST_NAME)
    if fault is None:
        do = f"write one: name: {re.sub(r'[^a-z0-9_]', '_', folder.path.name.lower()) or 'my_env'}"
        yield Problem(MANIFEST_NAME, "no such file", do)
    else:
        yield Problem(MANIFEST_NAME, fault, "mend that line")


@FILES.check("manifest-name", ERROR, "a name that is an identifier")
def the_manifest_names_the_environment(folder: Folder) -> Iterator[Problem]:
    """It becomes a package, an image and a Space."""
    name = _manifest(folder).name
    if not name:
        yield Problem(f"{MANIFEST_NAME}, name", "none", f"write name: {folder.path.name}")
    elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        yield Problem(f"{MANIFEST_NAME}, name", shown(name), "use letters, digits and underscores")


@FILES.check("manifest-version", WARNING, "one version in the manifest and in pyproject.toml")
def the_versions_agree(folder: Folder) -> Iterator[Problem]:
    """Clients see the one, installers the other."""
    said, packaged = _manifest(folder).version, folder.table("project").get("version")
    if said and packaged and said != packaged:
        yield Problem(f"{MANIFEST_NAME}, version", f"{said} and {packaged}", "write the same in both")


@FILES.check("manifest-spec", WARNING, "spec_version 1 of type space")
def the_manifest_is_of_a_known_kind(folder: Folder) -> Iterator[Problem]:
    """Others may be read in another way one day."""
    manifest = _manifest(folder)
    if manifest.spec_version != 1:
        yield Problem(f"{MANIFEST_NAME}, spec_version", str(manifest.spec_version), "write spec_version: 1")
    if manifest.type != "space":
        yield Problem(f"{MANIFEST_NAME}, type", shown(manifest.type), "write type: space")


@FILES.check("manifest-app", ERROR, "an app that is there")
def the_app_of_the_manifest_is_there(folder: Folder) -> Iterator[Problem]:
    """It is what `openenv serve` and the image serve."""
    app = _manifest(folder).app
    module, _, attribute = app.partition(":")
    where = f"{MANIFEST_NAME}, app: {app}"
    path = folder.find_module(module)
    if path is None:
        yield Problem(where, f"no file {module.replace('.', '/')}.py", "name the module that makes the app")
        return
    names = top_level_names(path)
    first = attribute.partition(".")[0]
    if names is not None and first not in names and "*" not in names:
        yield Problem(
            where,
            f"no {first!r} in {_relative(folder, path)}",
            f"write {first} = create_app(...) there, or name what there is",
        )


@FILES.check("manifest-port", ERROR, "a port that a server can be reached on")
def the_port_of_the_manifest_is_one(folder: Folder) -> Iterator[Problem]:
    """0 takes another one each time."""
    if _manifest(folder).port == 0:
        yield Problem(f"{MANIFEST_NAME}, port", "0", "write port: 8000, or leave it out")


def _manifest(folder: Folder) -> Manifest:
    if folder.manifest is None:
        raise SkippedCheck(f"{MANIFEST_NAME} cannot be read")
    return folder.manifest


# -- sources --------------------------------------------------------------------------------


@FILES.check("sources", ERROR, "Python that can be read")
def every_source_can_be_parsed(folder: Folder) -> Iterator[Problem]:
    """Those that only a client imports as well."""
    for path in folder.sources:
        try:
            ast.parse(path.read_bytes(), str(path))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            where = _relative(folder, path) + (f":{line}" if line else "")
            yield Problem(where, str(getattr(error, "msg", error)), "mend that line")


# -- pyproject.toml -------------------------------------------------------------------------


@FILES.check("package", ERROR, "a pyproject.toml that can be read, with a project's name")
def the_package_can_be_read(folder: Folder) -> Iterator[Problem]:
    """`uv run server`, `pip install` and the image need it."""
    if folder.pyproject is None:
        fault = folder.faults.get("pyproject.toml")
        do = "mend that line" if fault else "write one with [project], name, version and dependencies"
        yield Problem("pyproject.toml", fault or "no such file", do)
        return
    project = folder.table("project")
    if not project:
        yield Problem("pyproject.toml", "no [project]", "add it, with name, version and dependencies")
        return
    for key in ("name", "version"):
        if key not in project and key not in project.get("dynamic", ()):
            yield Problem(f"pyproject.toml, project.{key}", "none", f"add {key} = ...")


@FILES.check("package-runtime", ERROR, f"a dependency on {_OURS}, or on openenv")
def the_package_depends_on_a_runtime(folder: Folder) -> Iterator[Problem]:
    """What it is installed with on a clean machine."""
    if not _dependencies(folder) & set(_RUNTIMES):
        project = _project(folder)
        if "dependencies" in project.get("dynamic", ()):
            raise SkippedCheck("the dependencies are found out when the package is built")
        yield Problem(
            "pyproject.toml, project.dependencies",
            shown(project.get("dependencies", [])),
            f'add "{_OURS}"',
        )


@FILES.check("package-python", ERROR, "a requires-python that the runtime goes with")
def the_package_says_which_python_it_needs(folder: Folder) -> Iterator[Problem]:
    """uv resolves for every version that it allows, and finds no runtime for those before 3.11."""
    said = _project(folder).get("requires-python")
    where = "pyproject.toml, project.requires-python"
    if said is None:
        yield Problem(where, "none", 'add requires-python = ">=3.11"', severity=WARNING)
    elif _OURS in _dependencies(folder):
        lowest = re.search(r"(?:>=?|~=|==)\s*3\.(\d+)", str(said))
        if lowest is None or int(lowest[1]) < _LOWEST_PYTHON:
            yield Problem(
                where,
                shown(said),
                f'write requires-python = ">=3.{_LOWEST_PYTHON}"',
                expected=f"Python 3.{_LOWEST_PYTHON} or newer, as {_OURS} needs",
            )


@FILES.check("package-server", ERROR, "a script `server` that starts the server")
def the_server_script_points_at_something(folder: Folder) -> Iterator[Problem]:
    """It is what `uv run server` runs."""
    scripts = _project(folder).get("scripts", {})
    where = "pyproject.toml, project.scripts"
    target = scripts.get("server") if isinstance(scripts, dict) else None
    if target is None:
        yield Problem(where, "none", 'add server = "my_env.server.app:main"')
        return
    module, _, function = str(target).partition(":")
    path = folder.find_module(module)
    if path is None:
        yield Problem(
            f"{where}.server", f"{target}, a module that is not there", "name the module with main()"
        )
        return
    names = top_level_names(path)
    if not function or (names is not None and function.partition(".")[0] not in names and "*" not in names):
        yield Problem(
            f"{where}.server",
            f"{target}, and no {function or 'function'!r} in {_relative(folder, path)}",
            "define main() there, or name what there is",
        )


@FILES.check("package-covers", ERROR, "every package that it names, and server among them")
def the_package_covers_the_server(folder: Folder) -> Iterator[Problem]:
    """What is not in the wheel is not in the image."""
    backend = str(folder.table("build-system").get("build-backend", "setuptools.build_meta"))
    _project(folder)
    if not backend.startswith("setuptools"):
        raise SkippedCheck(f"{backend} decides by itself what belongs to the package")
    setuptools = folder.table("tool", "setuptools")
    where = "pyproject.toml, tool.setuptools"
    for name, place in folder.package_folders.items():
        if not place.is_dir():
            yield Problem(
                f"{where}.package-dir",
                f"{name} = {shown(place.name)}, no folder",
                "name a folder that is there",
            )
    packages = setuptools.get("packages")
    if isinstance(packages, list):
        names = [str(name) for name in packages]
        for name in names:
            if not _package_folder(folder, name).is_dir():
                yield Problem(f"{where}.packages", f"{name}, no folder", "map it with package-dir")
        has_server = (folder.path / "server").is_dir()
        if has_server and not any(name.split(".")[-1] == "server" for name in names):
            yield Problem(
                f"{where}.packages", shown(names), f'add "{names[0] if names else "my_env"}.server"'
            )
    elif packages is None and (folder.path / "server").is_dir() and (folder.path / "models.py").is_file():
        yield Problem(
            f"{where}.packages",
            "none, and setuptools refuses to guess between server and the modules beside it",
            'write packages = ["my_env", "my_env.server"] and package-dir',
        )


def _package_folder(folder: Folder, name: str) -> Path:
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        mapped = folder.package_folders.get(".".join(parts[:n]))
        if mapped is not None:
            return mapped.joinpath(*parts[n:])
    mapping = folder.table("tool", "setuptools").get("package-dir")
    root = str(mapping.get("", ".")) if isinstance(mapping, dict) else "."
    return folder.path.joinpath(root, *parts)


def _project(folder: Folder) -> dict[str, Any]:
    project = folder.table("project")
    if not project:
        raise SkippedCheck("pyproject.toml has no [project] that can be read")
    return project


def _dependencies(folder: Folder) -> set[str]:
    listed = _project(folder).get("dependencies", [])
    names = (re.match(r"\s*([A-Za-z0-9][\w.-]*)", str(one)) for one in listed)
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in names if match is not None}


# -- image ----------------------------------------------------------------------------------


@FILES.check("image", ERROR, "a server/Dockerfile or Dockerfile that starts from an image")
def there_is_a_dockerfile(folder: Folder) -> Iterator[Problem]:
    """`openenv build` and a Space build it."""
    dockerfile = folder.dockerfile
    if dockerfile is None:
        yield Problem("server/Dockerfile", "no such file", "write one, see examples/echo_env")
        return
    names = [one.name for one in dockerfile.instructions if one.name != "ARG"]
    if not names or names[0] != "FROM" or not dockerfile.base:
        yield Problem(dockerfile.name, names[0] if names else "nothing", "begin with FROM and an image")


@FILES.check("image-tag", WARNING, "a base image with a tag")
def the_base_image_has_a_tag(folder: Folder) -> Iterator[Problem]:
    """Without one, another image is meant tomorrow."""
    dockerfile = _dockerfile(folder)
    base = dockerfile.base or ""
    if (
        base
        and base != "scratch"
        and ":" not in base.rpartition("/")[2]
        and "@" not in base
        and "$" not in base
    ):
        yield Problem(f"{dockerfile.name}, FROM", base, f"name a version, as in FROM {base}:3.12-slim")


@FILES.check("image-command", ERROR, "CMD in exec form, so that SIGTERM reaches the server")
def the_server_gets_the_signals(folder: Folder) -> Iterator[Problem]:
    """A shell in between keeps docker stop's SIGTERM: running steps are then killed after ten seconds."""
    dockerfile = _dockerfile(folder)
    command = dockerfile.last("ENTRYPOINT") or dockerfile.last("CMD")
    if command is None:
        if _is_plain(dockerfile):
            yield Problem(
                dockerfile.name, "no CMD", 'write CMD ["server"]', expected="a CMD that starts the server"
            )
        return
    words = command.words
    if words is None:
        if not command.value.startswith("exec "):
            yield Problem(
                dockerfile.where(command),
                f"{command.name} {command.value}",
                f"write {command.name} {_as_exec(command.value)}",
            )
    elif [word.rpartition("/")[2] for word in words[:2]] in (["sh", "-c"], ["bash", "-c"]) and not re.search(
        r"(^|[;&|]\s*)exec\s", " ".join(words[2:3])
    ):
        yield Problem(
            dockerfile.where(command),
            f"a shell, {shown(' '.join(words))}",
            "write exec before the server's command, or leave the shell out",
            severity=WARNING,
        )


@FILES.check("image-port", ERROR, "one port in the manifest and in the image")
def the_ports_agree(folder: Folder) -> Iterator[Problem]:
    """Whoever asks at the one finds nobody at the other."""
    dockerfile = _dockerfile(folder)
    port = folder.port
    exposed: list[int] = []
    for instruction, said in folder.image_ports():
        if instruction.name == "EXPOSE":
            exposed.append(said)
        elif said != port:
            yield Problem(dockerfile.where(instruction), str(said), f"write {port}", expected=f"port {port}")
    instruction_of = {said: instruction for instruction, said in folder.image_ports()}
    if exposed and port not in exposed:
        yield Problem(
            dockerfile.where(instruction_of[exposed[0]]),
            f"EXPOSE {' '.join(map(str, exposed))}",
            f"write EXPOSE {port}",
            expected=f"port {port}",
        )


@FILES.check("image-copies", ERROR, "files that are there to be copied")
def what_the_image_copies_is_there(folder: Folder) -> Iterator[Problem]:
    """The build context is the environment's folder."""
    dockerfile = _dockerfile(folder)
    for one in dockerfile.instructions:
        if one.name not in ("COPY", "ADD") or "--from" in one.value or "<<" in one.value:
            continue
        words = one.words or [word for word in one.value.split() if not word.startswith("--")]
        names = [name for name in map(_local_name, words[:-1]) if name is not None]
        there = [name for name in names if _is_there(folder, name)]
        for name in names:
            # A pattern may match nothing, as long as something else is copied.
            if name not in there and not (there and re.search(r"[*?\[]", name)):
                yield Problem(
                    dockerfile.where(one),
                    f"no {name!r} in the environment's folder",
                    "name what there is; paths are relative to that folder",
                )


def _local_name(source: str) -> str | None:
    name = source.strip("\"'").lstrip("/")
    return None if not name or "$" in name or "://" in name or name.startswith("git@") else name


def _is_there(folder: Folder, name: str) -> bool:
    return (folder.path / name).exists() or any(folder.path.glob(name))


@FILES.check("image-health", WARNING, "a HEALTHCHECK")
def the_image_checks_its_health(folder: Folder) -> Iterator[Problem]:
    """Without one a server that hangs counts as running."""
    dockerfile = _dockerfile(folder)
    if dockerfile.last("HEALTHCHECK") is None and _is_plain(dockerfile):
        yield Problem(dockerfile.name, "none", "add one that asks /health")


@FILES.check("image-user", WARNING, "a user other than root")
def the_image_does_not_run_as_root(folder: Folder) -> Iterator[Problem]:
    """Spaces run as user 1000 anyway, and what only root can write fails there."""
    dockerfile = _dockerfile(folder)
    user = dockerfile.last("USER")
    if user is None and _is_plain(dockerfile):
        yield Problem(dockerfile.name, "no USER", "add RUN useradd --uid 1000 user and USER user")
    elif user is not None and user.value.partition(":")[0] in ("root", "0"):
        yield Problem(dockerfile.where(user), f"USER {user.value}", "name another user at the end")


@FILES.check("image-secrets", ERROR, "no secret in the image")
def there_is_no_secret_in_the_image(folder: Folder) -> Iterator[Problem]:
    """Whoever pulls it can read it."""
    dockerfile = _dockerfile(folder)
    for one in dockerfile.instructions:
        if one.name not in ("ENV", "ARG"):
            continue
        for name, value in re.findall(r"""(\w+)[= ]("[^"]*"|'[^']*'|\S+)""", one.value):
            bare = value.strip("\"'")
            if re.search(r"(TOKEN|SECRET|PASSWORD|API_?KEY)$", name.upper()) and bare and "$" not in bare:
                yield Problem(
                    dockerfile.where(one),
                    f"a value for {name}",
                    "give it when the container is run: openenv push --secret, docker run -e",
                )


def _dockerfile(folder: Folder) -> Dockerfile:
    if folder.dockerfile is None:
        raise SkippedCheck("there is no Dockerfile")
    return folder.dockerfile


def _is_plain(dockerfile: Dockerfile) -> bool:
    """Whether the base image is one of those that bring neither command, health check nor user."""
    base = (dockerfile.base or "").partition("@")[0].rpartition("/")[2]
    return base.partition(":")[0] in _PLAIN_IMAGES


def _as_exec(command: str) -> str:
    words = ", ".join(f'"{word}"' for word in command.split())
    return f"[{words}]"


# -- Space ----------------------------------------------------------------------------------


@FILES.check("space", WARNING, "a README.md with a Space's front matter")
def the_readme_has_front_matter(folder: Folder) -> Iterator[Problem]:
    """It is a Space's configuration."""
    if folder.front_matter is not None:
        return
    fault = folder.faults.get("README.md")
    if fault is not None:
        yield Problem("README.md", fault, "mend that line", severity=ERROR)
    elif not folder.has("README.md"):
        yield Problem("README.md", "no such file", "write one that starts with ---, sdk: docker and ---")
    else:
        yield Problem("README.md", "none", "start it with ---, title: ..., sdk: docker and ---")


@FILES.check("space-sdk", ERROR, "sdk: docker")
def the_space_is_built_from_the_dockerfile(folder: Folder) -> Iterator[Problem]:
    """Any other SDK does not look at it."""
    sdk = _front_matter(folder).get("sdk")
    if sdk != "docker":
        yield Problem("README.md, sdk", shown(sdk), "write sdk: docker")


@FILES.check("space-port", ERROR, "the app_port that the image serves on")
def the_space_looks_at_the_right_port(folder: Folder) -> Iterator[Problem]:
    """A Space starts for ever if nobody answers there."""
    front = _front_matter(folder)
    said = front.get("app_port", _SPACE_PORT)
    port = folder.port
    if port is not None and said != port:
        got = str(said) if "app_port" in front else f"none, which means {_SPACE_PORT}"
        yield Problem("README.md, app_port", got, f"write app_port: {port}", expected=f"app_port {port}")


@FILES.check("space-title", WARNING, "a title")
def the_space_has_a_title(folder: Folder) -> Iterator[Problem]:
    """It is what the Hub shows."""
    if not _front_matter(folder).get("title"):
        yield Problem("README.md, title", "none", "write title: ...")


@FILES.check("space-tag", WARNING, "the tag openenv")
def the_space_can_be_found(folder: Folder) -> Iterator[Problem]:
    """The Hub lists environments by it."""
    tags = _front_matter(folder).get("tags")
    if not isinstance(tags, list) or "openenv" not in tags:
        yield Problem("README.md, tags", shown(tags), "write tags: and - openenv below it")


def _front_matter(folder: Folder) -> dict[str, Any]:
    if folder.front_matter is None:
        raise SkippedCheck("README.md has no front matter that can be read")
    return folder.front_matter


def _relative(folder: Folder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix() if path.is_relative_to(folder.path) else str(path)
