"""Docker, as the commands use it: one that is there, and names of images that it takes.

In: words for `docker`. Out: its own streams, as they come, and an error of one line where it fails.

Reference: `docker build --help`; the grammar of image names
(https://pkg.go.dev/github.com/distribution/reference).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from openenv.errors import ConfigurationError, ProviderError, ProviderMissingError

__all__ = ["check_engine", "check_image", "image_name", "registry_of", "run_docker"]

_ENGINE_TIMEOUT_S = 60
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:localhost|[\w-]+(?:\.[\w-]+)+|\[[0-9A-Fa-f:]+\]|[\w-]+(?=:\d))(?::\d+)?"
_TAG = r"(?::\w[\w.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*{_TAG}", re.ASCII)


def check_engine() -> None:
    """Refuse at once where there is no engine, rather than after a context was sent.

    Raises:
        ProviderMissingError: There is no docker, or its daemon does not answer.
    """
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ENGINE_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ProviderMissingError(
            "expected the program 'docker' on PATH, got none; install it: https://docs.docker.com/get-docker"
        ) from None
    except OSError as error:
        raise ProviderMissingError(f"cannot start the program 'docker': {error}; see PATH") from error
    except subprocess.TimeoutExpired:
        raise ProviderMissingError(
            f"the Docker daemon did not answer within {_ENGINE_TIMEOUT_S} s; restart it and see 'docker info'"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        advice = (
            "add yourself to the group 'docker', or use sudo"
            if "permission denied" in done.stderr.lower()
            else "start it: 'sudo systemctl start docker', or Docker Desktop"
        )
        raise ProviderMissingError(f"the Docker daemon does not answer; {advice}. {said[-1] if said else ''}")


def run_docker(command: Sequence[str], advice: str, folder: Path | None = None) -> None:
    """Run docker to its end, with our own streams, so that its output is seen as it comes.

    Args:
        command: `docker` and its words.
        advice: What to do when it fails.
        folder: Where to run it; None for here.

    Raises:
        ProviderError: It failed.
    """
    print(f"openenv: {shlex.join(command)}", file=sys.stderr, flush=True)
    code = subprocess.run(command, cwd=folder, check=False).returncode
    if code:
        raise ProviderError(f"'docker {command[1]}' ended with exit code {code}; {advice}")


def check_image(name: str, where: str) -> str:
    """Give a name back if Docker takes it for an image.

    Args:
        name: As `ghcr.io/me/my-env:1.0`.
        where: What it comes from, for the message.

    Raises:
        ConfigurationError: It does not.
    """
    if not _IMAGE.fullmatch(name):
        raise ConfigurationError(
            f"expected the name of an image as {where}, got {name!r}; it has lower-case letters and digits, "
            "as in ghcr.io/me/my-env:1.0"
        )
    return name


def image_name(name: str) -> str:
    """What Docker takes as a part of an image's name, as near as possible; "" where there is nothing."""
    allowed = (".", "_", "__", "-")
    parted = re.sub(r"[^a-z0-9]+", lambda match: match[0] if match[0] in allowed else "-", name.lower())
    return parted.strip("._-")


def registry_of(tag: str) -> str:
    """The registry that an image's name says, or "" for Docker's own."""
    first, slash, _ = tag.partition("/")
    return first if slash and ("." in first or ":" in first) else ""
