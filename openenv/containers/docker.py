"""Containers on this machine's Docker engine, by way of the ``docker`` command.

In: the name of an image. Out: a base URL. Docker chooses the port, ``/health`` says when the server is ready,
and a ``docker wait`` beside the polling says at once when the container ended instead.

Every container is labelled with the process that it belongs to, so that one whose trainer was killed can be
found: `LocalDockerProvider.sweep`. Reference: docker-run(1); the exit codes of ``docker run``.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from openenv.containers import running
from openenv.containers.command import CommandTimeoutError, Finished, run, tail
from openenv.containers.owner import is_gone, this_process
from openenv.containers.provider import ContainerProvider, wait_for_health
from openenv.errors import ProviderError, ProviderMissingError, StartError

__all__ = ["LocalDockerProvider"]

LABEL = "org.openenv.client"
OWNER_LABEL = "org.openenv.owner"
STARTED_LABEL = "org.openenv.started"

_SERVER_PORT = 8000
_CALL_TIMEOUT_S = 60.0
_PULL_TIMEOUT_S = 3600.0
_LOG_LINES = 20
_OPTIONS = ("workers", "name", "cpus", "memory", "container_port", "platform", "run_args")

_HINT = re.compile(r"\n(See|Run) 'docker")
_GONE = re.compile(r"no such container|is already in progress", re.I)
_NO_IMAGE = re.compile(r"no such image|unable to find image|image not known", re.I)
_FAULTS: tuple[tuple[re.Pattern[str], type[ProviderError], str], ...] = (
    (
        re.compile(r"permission denied.*docker", re.I | re.DOTALL),
        ProviderMissingError,
        "this user may not talk to the Docker daemon; add it to the group docker, or run as root",
    ),
    (
        re.compile(
            r"cannot connect to the docker daemon|is the docker daemon running|error during connect", re.I
        ),
        ProviderMissingError,
        "the Docker daemon does not answer; start it, and check it with `docker info`",
    ),
    (
        re.compile(r"port is already allocated|address already in use|ports are not available", re.I),
        StartError,
        "the port is taken; give another port, or none and Docker chooses a free one",
    ),
    (
        re.compile(r"container name .* is already in use", re.I | re.DOTALL),
        StartError,
        "a container of that name exists; give another name, or none, or remove it with `docker rm -f`",
    ),
    (
        re.compile(r"invalid reference format", re.I),
        StartError,
        "this is not the name of an image; expected something like registry/name:tag",
    ),
)
"""What Docker says, the error that it is here, and what to do."""


class LocalDockerProvider(ContainerProvider):
    """Runs one container of an image on this machine.

    Args:
        command: The program to call, by name or path; one that takes Docker's arguments.
        stop_grace_s: Seconds between SIGTERM and SIGKILL on `stop_container`, >= 0.

    Making one calls nothing: that Docker is missing is said when a container is to be started.
    """

    def __init__(self, *, command: str = "docker", stop_grace_s: float = 5.0) -> None:
        self._command = command
        self._stop_grace_s = stop_grace_s
        # Between these, all there is to know: what the container is labelled with, from before it exists
        # until it is gone, and its id, once Docker has said it.
        self._label: str | None = None
        self._container: str | None = None
        self._ready = False
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @property
    def container_id(self) -> str | None:
        """Id of the container that runs, in full; None without one."""
        return self._container

    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Start a container; the image is pulled if it is not on this machine.

        Args:
            image: Name of the image.
            port: Port on 127.0.0.1; None lets Docker choose a free one.
            env_vars: Environment variables of the container.
            **kwargs: ``workers`` (processes that serve, the variable ``WORKERS``), ``name`` of the container,
                ``cpus`` (number, may be fractional), ``memory`` (bytes, or text like ``512m``),
                ``container_port`` (where the server listens inside: the variable ``PORT`` if given, else
                8000), ``platform`` (like ``linux/amd64``), ``run_args`` (further arguments of
                ``docker run``, before the image).

        Returns:
            ``http://127.0.0.1:<port>``.

        Raises:
            ProviderMissingError: There is no ``docker``, or no daemon behind it.
            StartError: No such image, port or name taken, or the daemon refused otherwise.
            TypeError: An option that this provider does not have.
            ValueError: A variable ``PORT`` that is no port.
        """
        unknown = sorted(set(kwargs) - set(_OPTIONS))
        if unknown:
            raise TypeError(f"LocalDockerProvider takes {', '.join(_OPTIONS)}; got {', '.join(unknown)}")
        with self._lock:
            if self._label is not None:
                raise StartError(f"this provider already runs container {self._container}; make another one")
            self._stopped.clear()
            self._label = f"{this_process().split('/')[-2]}-{secrets.token_hex(8)}"
            self._ready = False
            running.hold(self)
            try:
                return self._run(image, port, env_vars or {}, **kwargs)
            except BaseException:
                # Its own failure says more than what removing may raise; what is left is held until exit.
                with suppress(ProviderError):
                    self._remove_or_forget()
                raise

    def wait_for_ready(self, base_url: str, timeout_s: float = 60.0) -> None:
        """Return once ``/health`` answers 200.

        Raises:
            StartError: The container ended; the message has its last log lines. Or it was stopped.
            ReadyTimeoutError: It runs, and did not answer within ``timeout_s`` seconds.
        """
        container = self._container
        if container is None:
            raise StartError(f"expected a container that was started, got none for {base_url}")
        watcher = subprocess.Popen(
            [self._command, "wait", container],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        with watcher:
            try:
                wait_for_health(base_url, timeout_s, self._stopped, _Watched(self, container, watcher))
            finally:
                watcher.kill()
        self._ready = True

    def stop_container(self) -> None:
        """Stop the container and remove it, from any thread, even while it is being started.

        Raises:
            ProviderError: Docker could not remove it.
        """
        self._stop(self._stop_grace_s)

    def stop_at_once(self) -> None:
        """The same without waiting for the server, for the exit of the interpreter."""
        self._stop(0)

    def _stop(self, grace_s: float) -> None:
        self._stopped.set()
        with self._lock:
            # A server that never was ready has nothing to put in order.
            if self._container is not None and self._ready and grace_s > 0:
                grace = f"{self._stop_grace_s:.0f}"
                with suppress(ProviderError):
                    self._call(
                        "stop", "-t", grace, self._container, timeout_s=_CALL_TIMEOUT_S + self._stop_grace_s
                    )
            self._remove()

    @staticmethod
    def sweep(command: str = "docker") -> list[str]:
        """Remove the containers whose trainer ended without stopping them (SIGKILL, out of memory, a reboot).

        Only those that this kind of provider started on this host, and whose process is gone.

        Returns:
            Ids of those removed.

        Raises:
            ProviderMissingError: There is no ``docker``, or no daemon behind it.
            ProviderError: Docker could not remove one.
        """
        docker = LocalDockerProvider(command=command)
        fields = f'{{{{.ID}}}}\t{{{{.Label "{OWNER_LABEL}"}}}}'
        rows = docker._call("ps", "-a", "--no-trunc", "--filter", f"label={LABEL}", "--format", fields).out
        orphans = [
            container
            for container, _, owner in (row.partition("\t") for row in rows.splitlines())
            if is_gone(owner)
        ]
        docker._force_remove(orphans)
        return orphans

    def _run(
        self,
        image: str,
        port: int | None,
        env_vars: dict[str, str],
        *,
        workers: int | None = None,
        name: str | None = None,
        cpus: float | None = None,
        memory: str | int | None = None,
        container_port: int | None = None,
        platform: str | None = None,
        run_args: Sequence[str] = (),
    ) -> str:
        if workers is not None:
            env_vars = {**env_vars, "WORKERS": str(workers)}
        inside = container_port or _port_in(env_vars)
        assert self._label is not None
        arguments = ["run", "-d", "--pull", "never", "-p", f"127.0.0.1:{port or ''}:{inside}"]
        arguments += ["--name", name or _name_for(image, self._label)]
        arguments += ["--label", f"{LABEL}={self._label}", "--label", f"{OWNER_LABEL}={this_process()}"]
        arguments += ["--label", f"{STARTED_LABEL}={datetime.now(UTC).isoformat(timespec='seconds')}"]
        if cpus is not None:
            arguments += ["--cpus", f"{cpus:g}"]
        if memory is not None:
            arguments += ["--memory", str(memory)]
        on_platform = () if platform is None else ("--platform", platform)
        arguments += on_platform
        for key, value in env_vars.items():
            arguments += ["-e", f"{key}={value}"]
        arguments += [*run_args, image]
        done = self._attempt(*arguments)
        if done.code != 0 and _NO_IMAGE.search(done.err):
            self._pull(image, on_platform)
            done = self._attempt(*arguments)
        if done.code != 0:
            asked = f"port {port}" if port else "a port of Docker's choosing"
            raise _fault(done, f"expected `{self._command} run` to start {image!r} on {asked}")
        self._container = done.out.split()[-1]
        chosen = port or self._published_port(inside)
        if self._stopped.is_set():
            raise StartError(f"the container of {image!r} was stopped while it was started")
        return f"http://127.0.0.1:{chosen}"

    def _pull(self, image: str, options: Sequence[str]) -> None:
        done = self._attempt("pull", "-q", *options, image, timeout_s=_PULL_TIMEOUT_S, stopped=self._stopped)
        if done.code == 0:
            return
        if self._stopped.is_set():
            raise StartError(f"the container of {image!r} was stopped while its image was pulled")
        error = _fault(
            done, f"expected image {image!r}, which is not on this machine and could not be pulled"
        )
        if isinstance(error, ProviderMissingError):
            raise error
        raise StartError(f"{error}; check its name, build it, or `{self._command} login` if it is private")

    def _published_port(self, inside: int) -> int:
        assert self._container is not None
        done = self._attempt("port", self._container, f"{inside}/tcp")
        found = re.search(r":(\d+)\s*$", done.out, re.MULTILINE)
        if done.code == 0 and found is not None:
            return int(found.group(1))
        # A container that has ended has no ports any more.
        raise StartError(
            f"expected the container to publish port {inside}, but it does not run; see what it wrote, or "
            f"run the image by hand. {self.last_words(self._container)}"
        )

    def last_words(self, container: str) -> str:
        """The end of a container's log, as a sentence for a message."""
        try:
            done = self._attempt("logs", "--tail", str(_LOG_LINES), container)
        except ProviderError as error:
            return f"Its log could not be read: {error}"
        # What was written last mostly says why, and that is mostly on the standard error.
        lines = tail(f"{done.out}\n{done.err}", _LOG_LINES)
        return f"Its last log lines:\n{lines}" if lines else "It wrote nothing."

    def _remove(self) -> None:
        """Remove whatever carries the label, known by its id or not."""
        if self._label is None:
            return
        found = [self._container] if self._container is not None else []
        if not found:
            found = self._call(
                "ps", "-aq", "--no-trunc", "--filter", f"label={LABEL}={self._label}"
            ).out.split()
        self._force_remove(found)
        self._forget()

    def _remove_or_forget(self) -> None:
        """The same after a failed start: a Docker that is not there holds nothing."""
        try:
            self._remove()
        except ProviderMissingError:
            self._forget()

    def _forget(self) -> None:
        self._label = self._container = None
        running.release(self)

    def _force_remove(self, containers: Sequence[str]) -> None:
        if not containers:
            return
        done = self._attempt("rm", "-f", "-v", *containers)
        left = [line for line in done.err.splitlines() if line.strip() and not _GONE.search(line)]
        if done.code != 0 and left:
            raise _fault(
                Finished(done.code, "", "\n".join(left)),
                f"expected {', '.join(containers)} to be removed; try `{self._command} rm -f`",
            )

    def _call(self, *arguments: str, timeout_s: float = _CALL_TIMEOUT_S) -> Finished:
        """Run one command that is to succeed."""
        done = self._attempt(*arguments, timeout_s=timeout_s)
        if done.code != 0:
            raise _fault(done, f"expected `{self._command} {arguments[0]}` to succeed")
        return done

    def _attempt(
        self, *arguments: str, timeout_s: float = _CALL_TIMEOUT_S, stopped: threading.Event | None = None
    ) -> Finished:
        try:
            return run([self._command, *arguments], timeout_s=timeout_s, stopped=stopped)
        except CommandTimeoutError as error:
            raise ProviderMissingError(
                f"{error}; the Docker daemon does not answer, check it with `{self._command} info`"
            ) from None
        except OSError as error:
            raise ProviderMissingError(
                f"expected the program {self._command!r} on PATH, got: {error.strerror or error}; install "
                "Docker (docs.docker.com/engine/install), or do without: from_hub(use_docker=False)"
            ) from None


class _Watched:
    """A container that is waited for, and the ``docker wait`` that ends when it does."""

    def __init__(self, provider: LocalDockerProvider, container: str, watcher: subprocess.Popen[str]) -> None:
        self._provider = provider
        self._container = container
        self._watcher = watcher

    def check_alive(self) -> None:
        """See `Watched.check_alive`."""
        if self._watcher.poll() is None:
            return
        assert self._watcher.stdout is not None
        code = self._watcher.stdout.read().strip() or "unknown"
        raise StartError(
            f"expected the container to become ready, but it ended (exit code {code}); see what it wrote, or "
            f"run the image by hand. {self.last_words()}"
        )

    def last_words(self) -> str:
        """See `Watched.last_words`."""
        return self._provider.last_words(self._container)


def _fault(done: Finished, expected: str) -> ProviderError:
    """What a failed command is, by what it wrote."""
    said = tail(done.err or done.out, 4).removeprefix("docker: ") or "no message"
    said = _HINT.split(said)[0]
    for pattern, kind, advice in _FAULTS:
        if pattern.search(done.err):
            return kind(f"{expected}, got: {said} (exit code {done.code}); {advice}")
    return StartError(f"{expected}, got: {said} (exit code {done.code})")


def _port_in(env_vars: dict[str, str]) -> int:
    """Where a server with these variables listens."""
    text = env_vars.get("PORT") or str(_SERVER_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"expected a number from 1 to 65535, got {text!r} as the variable PORT")
    return int(text)


def _name_for(image: str, label: str) -> str:
    """A name that people recognise in ``docker ps`` and that nobody else has."""
    base = image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", base)[:40]
    return f"openenv-{plain}-{label}"
