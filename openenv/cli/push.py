"""`openenv push [DIR]`: put an environment on a Hugging Face Space, or its image into a registry.

In: a folder and flags. Out: one commit on the Hub with the settings it needs, and on standard output where it
lives now and how it is used; or an image that `docker` built and pushed. Remarks go to standard error.

Promised: what can be found wrong here is found before anything is sent; the author's folder is only read;
either all files are pushed or none, and a Space that was made for a push that failed is removed again; the
values of secrets are neither printed nor logged.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openenv.cli.engine import check_engine, check_image, image_name, run_docker
from openenv.cli.ignore import Rule, git_rules
from openenv.cli.project import read_environment, runs_on_us
from openenv.cli.settings import add_settings, is_name, parse_settings
from openenv.cli.staging import (
    DEFAULT_PORT,
    Staged,
    copy_environment,
    find_value,
    prepare_dockerfile,
    prepare_readme,
)
from openenv.cli.unpack import UNPACKED, unpack_runtime
from openenv.cli.vendor import vendor_runtime
from openenv.config import huggingface_token
from openenv.errors import ConfigurationError, HubError, ManifestError
from openenv.hub import Hub, Pushed, RemoteSpace, check_repo_id
from openenv.manifest import MANIFEST_NAME, Manifest

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  openenv push                                      the folder you stand in, to YOU/NAME
  openenv push my_env --repo-id username/my-env     a folder, to a Space of that name
  openenv push --private --hardware t4-medium       seen by you alone, on a GPU
  openenv push -e GAME=chess --secret API_KEY       the secret's value is that of the variable API_KEY here
  openenv push --dry-run                            what would be sent, without a network
  openenv push --registry ghcr.io/me                build the image and push it there, with docker

Log in with 'hf auth login', or set HF_TOKEN. HF_ENDPOINT names another Hub.
"""

_SOUNDS_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SEARCHED = 8
_MAX_COUNT = 100


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is pushed to each Space."""

    files: Mapping[str, Path]
    message: str
    delete: Sequence[str]
    create_pr: bool
    private: bool
    hardware: str | None
    variables: Mapping[str, str]
    secrets: Mapping[str, str]


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
        help="folder with openenv.yaml (default: this one)",
    )
    add("--repo-id", "-r", metavar="ID", help="namespace/name or name (default: YOU/name of openenv.yaml)")
    add("--private", action="store_true", help="make a Space that only you see")
    add("--create-pr", action="store_true", help="propose the commit as a pull request")
    add(
        "--exclude",
        metavar="FILE",
        help="file with further patterns of what to leave out, as .gitignore has them",
    )
    add(
        "--delete",
        metavar="PATTERN",
        action="append",
        default=[],
        help="remove such files of the Space in the same commit; '*': all that is not uploaded (repeatable)",
    )
    add("--hardware", "-H", metavar="NAME", help="what the Space runs on, as cpu-basic or t4-medium")
    add("--count", "-n", metavar="N", type=int, default=1, help="push to N Spaces: NAME-1 to NAME-N")
    add_settings(parser)
    add("--registry", metavar="URL", help="push an image to this registry instead of files to the Hub")
    add(
        "--interface",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="have the web interface at /web (default: yes on a Space, as the Dockerfile says in a registry)",
    )
    add("--base-image", "-b", metavar="IMAGE", help="build on this image instead of the Dockerfile's")
    add("--dry-run", action="store_true", help="say what would be pushed, and push nothing")
    add("--no-vendor", action="store_true", help="leave the runtime's wheel out: a package index has it")
    add("--debug", action="store_true", help="tracebacks of mistakes")


def run(options: argparse.Namespace) -> int:
    """Push; gives the exit code."""
    shown = options.directory.partition("=")[0]
    folder, manifest = read_environment(
        options.directory,
        f"for a Space of that name: --repo-id {shown}" if shown.count("/") == 1 else "name the environment's",
    )
    name = manifest.name or folder.name
    variables, secrets = _settings(options, manifest)
    _check_flags(options, variables)
    repo_id = None
    if options.registry is None:
        repo_id = _wanted_id(options.repo_id, name)
    with tempfile.TemporaryDirectory(prefix="openenv-push-") as temporary:
        try:
            staged = _stage(options, folder, Path(temporary), manifest, name)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot copy {folder}: {error}") from error
        _refuse_secrets(staged, secrets)
        if options.registry is not None:
            return _push_image(options, staged, name, manifest)
        assert repo_id is not None
        plan = _Plan(
            files=staged.files(),
            message=" ".join(filter(None, ("Push", name, manifest.version))),
            delete=options.delete,
            create_pr=options.create_pr,
            private=options.private,
            hardware=options.hardware,
            variables=variables,
            secrets=secrets,
        )
        if options.dry_run:
            _list(plan, repo_id if "/" in repo_id else f"YOU/{repo_id}", options.count)
            return 0
        hub = Hub(progress=sys.stderr.isatty(), secrets=list(secrets.values()))
        repo_id = repo_id if "/" in repo_id else f"{hub.account().name}/{repo_id}"
        for target in _targets(repo_id, options.count):
            space, pushed = _deploy(hub, target, plan)
            _report(space, pushed, plan, folder, manifest, name)
    return 0


# -- what was asked ---------------------------------------------------------------------------


def _settings(options: argparse.Namespace, manifest: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    declared = manifest.extra.get("variables") or {}
    if not isinstance(declared, Mapping):
        raise ManifestError(
            f"{MANIFEST_NAME}: expected 'NAME: value' lines under 'variables', got {declared!r}"
        )
    said = parse_settings(options.env_var, "--env-var")
    secrets = parse_settings(options.secret, "--secret")
    both = sorted(said.keys() & secrets.keys())
    if both:
        raise ConfigurationError(
            f"got {', '.join(both)} as a variable and as a secret; a Space can have one of them"
        )
    variables = {key: _text(value) for key, value in declared.items() if key not in secrets}
    variables |= said
    for key in variables:
        if not is_name(key):
            raise ManifestError(
                f"{MANIFEST_NAME}: expected letters, digits and '_' under 'variables', got {key!r}"
            )
        if _SOUNDS_SECRET.search(key):
            _note(f"{key} is a variable, which everybody can read; --secret {key} keeps it to yourself")
    return variables, secrets


def _text(value: object) -> str:
    """A YAML value as an environment variable has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _check_flags(options: argparse.Namespace, variables: Mapping[str, str]) -> None:
    if options.registry is not None:
        _registry(options.registry)
    if options.base_image is not None:
        check_image(options.base_image, "--base-image")
    if "" in options.delete:
        raise ConfigurationError("expected a pattern as --delete, got ''; '*' is all that is not uploaded")
    if not 1 <= options.count <= _MAX_COUNT:
        raise ConfigurationError(f"expected --count from 1 to {_MAX_COUNT}, got {options.count}")
    given = {
        "--repo-id": options.repo_id,
        "--private": options.private,
        "--create-pr": options.create_pr,
        "--delete": options.delete,
        "--hardware": options.hardware,
        "--count": options.count > 1,
        "--env-var": options.env_var,
        "--secret": options.secret,
    }
    if options.registry is not None:
        strangers = [flag for flag in given if given[flag]]
        reason = "only a Space has these"
    else:
        live = ("--private", "--hardware", "--count", "--env-var", "--secret")
        strangers = [flag for flag in live if given[flag]] if options.create_pr else []
        reason = "a pull request changes no settings"
    if strangers:
        with_flag = "--registry" if options.registry is not None else "--create-pr"
        raise ConfigurationError(f"{', '.join(strangers)} cannot be used with {with_flag}: {reason}")
    if variables and (options.registry is not None or options.create_pr):
        _note(f"variables of {MANIFEST_NAME} are settings of a live Space and are left out here")


def _registry(said: str) -> str:
    """What stands before an image's own name."""
    registry = said.removeprefix("https://").rstrip("/")
    try:
        check_image(f"{registry}/env", "--registry")
    except ConfigurationError:
        raise ConfigurationError(
            f"expected a registry as ghcr.io/name, in lower-case letters, got {said!r}"
        ) from None
    return registry


def _wanted_id(said: str | None, name: str) -> str:
    if said is not None:
        return check_repo_id(said)
    try:
        return check_repo_id(name, f"name in {MANIFEST_NAME}")
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or name the Space with --repo-id") from error


def _targets(repo_id: str, count: int) -> list[str]:
    if count == 1:
        return [repo_id]
    return [check_repo_id(f"{repo_id}-{number}") for number in range(1, count + 1)]


# -- what is sent -----------------------------------------------------------------------------


def _stage(options: argparse.Namespace, folder: Path, into: Path, manifest: Manifest, name: str) -> Staged:
    staged = copy_environment(folder, into, _excluded(options.exclude, folder))
    if staged.secrets:
        _note(f"left out, because they hold secrets: {', '.join(staged.secrets)}; set them with --secret")
    if staged.links:
        _note(f"left out, because they are links that lead elsewhere: {', '.join(staged.links)}")
    interface = options.interface
    if options.registry is None:
        on = interface is not False
        remark = prepare_readme(into, manifest, name, on)
        if remark is not None:
            _note(remark)
        if interface is None and "ENABLE_WEB_INTERFACE" not in _dockerfile(into):
            # Also for environments on another runtime, whose default is off.
            interface = True
    prepare_dockerfile(into, options.base_image, interface)
    # Asked in any case, since a pyproject.toml that cannot be read is of no use on a Space either.
    if runs_on_us(into) and not options.no_vendor:
        unpack_runtime(into, vendor_runtime(into))
    return staged


def _dockerfile(folder: Path) -> str:
    for path in (folder / "Dockerfile", folder / "server" / "Dockerfile"):
        if path.is_file():
            return path.read_text("utf-8")
    return ""


def _excluded(file: str | None, folder: Path) -> list[Rule]:
    if file is None:
        return []
    path = Path(file).expanduser()
    if not path.is_file() and not path.is_absolute():
        path = folder / file
    try:
        return git_rules(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"expected a file with patterns as --exclude, got {file!r}: {error}"
        ) from error


def _refuse_secrets(staged: Staged, secrets: Mapping[str, str]) -> None:
    values = {key: value for key, value in secrets.items() if len(value) >= _SHORTEST_SEARCHED}
    token = huggingface_token()
    if token is not None and len(token) >= _SHORTEST_SEARCHED:
        values["your Hugging Face token"] = token
    for key, value in values.items():
        found = find_value(staged, [value])
        if found is not None:
            raise ConfigurationError(
                f"{found} holds the value of {key}; take it out, or leave the file out by .gitignore or "
                f"--exclude"
            )


def _deploy(hub: Hub, repo_id: str, plan: _Plan) -> tuple[RemoteSpace, Pushed]:
    space = hub.find(repo_id)
    is_new = space is None
    if is_new:
        if plan.create_pr:
            raise HubError(
                f"there is no Space {repo_id} to propose changes to; push without --create-pr first"
            )
        hub.create(
            repo_id,
            private=plan.private,
            hardware=plan.hardware,
            variables=plan.variables,
            secrets=plan.secrets,
        )
    elif plan.private and space is not None and not space.private:
        raise ConfigurationError(
            f"{repo_id} exists and everybody can see it; make it private at {space.page}/settings, or push "
            f"without --private"
        )
    try:
        space = space or hub.find(repo_id)
        if space is None:
            raise HubError(f"{repo_id} was created and cannot be found; look at {hub.page(repo_id)}")
        pushed = hub.commit(space, plan.files, plan.message, delete=plan.delete, create_pr=plan.create_pr)
    except BaseException as error:
        if is_new:
            remark = _removed(hub, repo_id)
            if isinstance(error, HubError):
                raise HubError(f"{error}; {remark}") from error
            _note(remark)
        raise
    if not is_new and not plan.create_pr:
        try:
            hub.configure(repo_id, hardware=plan.hardware, variables=plan.variables, secrets=plan.secrets)
        except HubError as error:
            raise HubError(f"the files are pushed, but not all settings are set: {error}") from error
    return space, pushed


def _removed(hub: Hub, repo_id: str) -> str:
    """Remove a Space that was made in vain, and say so."""
    try:
        hub.remove(repo_id)
    except HubError:
        return (
            f"the new Space at {hub.page(repo_id)} could not be removed: push again to fill it, or delete it "
            f"in its settings"
        )
    return "the new Space is removed again"


# -- images -------------------------------------------------------------------------------------


def _push_image(options: argparse.Namespace, staged: Staged, name: str, manifest: Manifest) -> int:
    registry = _registry(options.registry)
    image = f"{registry}/{image_name(name) or 'env'}"
    # A version may have a part that a tag cannot: 1.0+local.
    tag = f"{image}:{re.sub(r'[^A-Za-z0-9_.-]', '-', manifest.version or '') or 'latest'}"
    build = ["docker", "build", "-t", tag, "-f", "Dockerfile", "."]
    push = ["docker", "push", tag]
    if options.dry_run:
        files = staged.files()
        _say(f"would build {len(files)} files, {_size(sum(_sizes(files).values()))}, and push them:")
        _say(f"  {shlex.join(build)}\n  {shlex.join(push)}")
        return 0
    check_engine()
    run_docker(build, "see what it says above", staged.folder)
    run_docker(push, f"log in with 'docker login {registry.partition('/')[0]}'")
    _say(f"pushed {tag}\n  docker run -p {_port(manifest)}:{_port(manifest)} {tag}")
    return 0


# -- what is said -------------------------------------------------------------------------------


def _list(plan: _Plan, repo_id: str, count: int) -> None:
    sizes = _sizes(plan.files)
    kind = " (private)" if plan.private else ""
    target = repo_id if count == 1 else f"{repo_id}-1 to {repo_id}-{count}"
    what = "propose" if plan.create_pr else "push"
    _say(f"would {what} {len(sizes)} files, {_size(sum(sizes.values()))}, to {target}{kind}:")
    runtime = {name for name in sizes if name.startswith(f"{UNPACKED}/")}
    for name, size in sizes.items():
        if name not in runtime:
            _say(f"  {_size(size):>9}  {name}")
    if runtime:
        total = _size(sum(sizes[name] for name in runtime))
        _say(f"  {total:>9}  {UNPACKED}/: {len(runtime)} files of the runtime")
    if plan.delete:
        _say(f"and delete there: {' '.join(plan.delete)}")
    for word, keys in (("variables", plan.variables), ("secrets", plan.secrets)):
        if keys and not plan.create_pr:
            _say(f"{word}: {', '.join(sorted(keys))}")


def _report(
    space: RemoteSpace, pushed: Pushed, plan: _Plan, folder: Path, manifest: Manifest, name: str
) -> None:
    sizes = _sizes(plan.files)
    if pushed.pull_request_url is not None:
        _say(f"proposed {len(sizes)} files to {space.repo_id}: {pushed.pull_request_url}")
        return
    if pushed.is_new:
        total = _size(sum(sizes.values()))
        _say(f"pushed {len(sizes)} files, {total}, to {space.repo_id}: {pushed.commit_url}")
    else:
        _say(f"{space.repo_id} holds these {len(sizes)} files already; nothing was pushed")
    registry = space.url.removeprefix("https://").removesuffix(".hf.space")
    package, client = _client(folder, name)
    port = _port(manifest)
    _say(
        f"""
  Space     {space.page}
  Web UI    {space.url}/web
  API docs  {space.url}/docs
  Health    {space.url}/health

It is live when the Space has built it, in a minute or two. Three ways to use it:
  server    {client}(base_url="{space.url}")    from {package} import {client}
  package   {_installation(plan.files, space.page)}
  image     docker run -p {port}:{port} registry.hf.space/{registry}:latest"""
    )
    if space.private or plan.private:
        _say("\nIt is private: each of them needs your Hugging Face token.")


def _installation(files: Mapping[str, Path], page: str) -> str:
    if not any(name.startswith(f"{UNPACKED}/") for name in files):
        return f"pip install git+{page}"
    # uv reads that the runtime travels along; pip would ask a package index, and is told.
    return f"""uv pip install git+{page}
            pip install "git+{page}#subdirectory={UNPACKED}" git+{page}"""


def _client(folder: Path, name: str) -> tuple[str, str]:
    """Where the environment's own client class is imported from, and its name."""
    try:
        match = re.search(
            r"^class (\w+)\([^)]*\bEnvClient\b", (folder / "client.py").read_text("utf-8"), re.MULTILINE
        )
    except (OSError, UnicodeDecodeError):
        match = None
    return ("openenv", "GenericEnvClient") if match is None else (re.sub(r"\W", "_", name), match[1])


def _port(manifest: Manifest) -> int:
    return manifest.port or DEFAULT_PORT


def _sizes(files: Mapping[str, Path]) -> dict[str, int]:
    return {name: path.stat().st_size for name, path in files.items()}


def _size(n_bytes: int) -> str:
    """Bytes for people, in powers of ten as the Hub has them."""
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{n_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _say(text: str) -> None:
    print(text, flush=True)


def _note(text: str) -> None:
    print(f"openenv: {text}", file=sys.stderr)
