"""Servers of ``uv`` projects: a local folder, or a git repository that is fetched first.

In: a folder or ``git+URL``. Out: a base URL. The server is the project's own ``server`` command, run by
``uv run --isolated`` with what the project depends on, in a session of its own, so that all of it can be
ended; a guard beside it does so when the trainer is killed.

Limits: `_TAIL_LINES` of what the server writes are kept, for the message if it dies; a port is chosen here,
because not every server can say which one it took. Reference: ``uv run --help``; git-fetch(1).
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from openenv.config import environ, huggingface_token
from openenv.containers import running
from openenv.containers.command import CommandTimeoutError, run, tail
from openenv.containers.provider import RuntimeProvider, free_port, wait_for_health
from openenv.errors import ProviderMissingError, StartError

__all__ = ["UVProvider"]

GIT_PREFIX = "git+"
_FETCH_TIMEOUT_S = 600.0
_GRACE_S = 5.0
# A server that drains takes a second SIGTERM to mean now, and two at a time for one.
_LAST_GRACES_S = (0.2, 0.5, 3.0)
_TAIL_LINES = 20
_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
# What would make a server use the trainer's packages instead of its own.
_OF_THE_TRAINER = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")

# What git sets for its hooks, and what would have it work on that repository instead of the checkout.
_OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")

_GUARD = """\
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
trap 'kill -TERM $server' TERM
(
    trap '' TERM
    read -r _ <&3
    kill -TERM 0; sleep 0.3
    kill -TERM 0; sleep 4
    kill -KILL 0
) >/dev/null 2>&1 &
exec 3<&-
while wait $server; code=$?; kill -0 $server 2>/dev/null; do :; done
exit $code
"""
"""Runs its arguments, and ends them when its standard input ends: that is a pipe from the trainer, which the
kernel closes whatever the trainer dies of. SIGTERM is passed on; the exit code is that of what it runs."""


class UVProvider(RuntimeProvider):
    """Runs the server of one project with ``uv``.

    Args:
        project_path: Folder with a ``pyproject.toml``, or ``git+URL``, perhaps with ``@revision`` (branch,
            tag or commit) and ``#subdirectory=folder``; that is fetched anew with each start.
        app: ``module:attribute`` to serve with uvicorn; None runs the project's ``server`` command.
        host: Address to listen on.
        reload: Have uvicorn restart the server when a file changes; needs ``app``.
        env_vars: Environment variables of the server, beside those of this process.
        context_timeout_s: Seconds for `wait_for_ready` where it is given none, > 0. The first start may
            download what the project depends on.

    Making one calls nothing: that ``uv`` is missing is said when the server is to be started.
    """

    def __init__(
        self,
        *,
        project_path: str | os.PathLike[str],
        app: str | None = None,
        host: str = "127.0.0.1",
        reload: bool = False,
        env_vars: dict[str, str] | None = None,
        context_timeout_s: float = 300.0,
    ) -> None:
        if reload and app is None:
            raise ValueError("reload is uvicorn's: give app='module:attribute' with it")
        self.project_path = os.fspath(project_path)
        self.app = app
        self.host = host
        self.reload = reload
        self.env_vars = env_vars
        self.context_timeout_s = context_timeout_s
        self._server: _Server | None = None
        self._checkout: Path | None = None
        self._base_url: str | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        """Where the server is.

        Raises:
            StartError: It was not started.
        """
        if self._base_url is None:
            raise StartError("expected a server that was started; call start() first")
        return self._base_url

    def start(
        self, port: int | None = None, env_vars: dict[str, str] | None = None, workers: int = 1, **kwargs: Any
    ) -> str:
        """Start the server.

        ``HOST``, ``PORT`` and ``WORKERS`` tell it where and how; address and port are arguments, too, for
        servers that read those.

        Args:
            port: Port to listen on; None takes a free one.
            env_vars: Environment variables of the server, before those given to the constructor.
            workers: Processes that serve, >= 1.
            **kwargs: Nothing; there for callers of other providers.

        Returns:
            ``http://<host>:<port>``.

        Raises:
            ProviderMissingError: There is no ``uv``, or no ``git`` for a repository.
            StartError: No such folder, or the repository could not be fetched.
        """
        with self._lock:
            if self._server is not None:
                raise StartError(f"this provider already runs a server at {self._base_url}; make another one")
            self._stopped.clear()
            running.hold(self)
            try:
                return self._start(port, env_vars or {}, workers)
            except BaseException:
                self._end(0)
                raise

    def wait_for_ready(self, timeout_s: float | None = None) -> None:
        """Return once ``/health`` answers 200.

        Raises:
            StartError: The server ended; the message has what it wrote last. Or it was stopped.
            ReadyTimeoutError: It runs, and did not answer within ``timeout_s`` seconds.
        """
        server = self._server
        if server is None:
            raise StartError("expected a server that was started; call start() first")
        limit_s = self.context_timeout_s if timeout_s is None else timeout_s
        wait_for_health(self.base_url, limit_s, self._stopped, server)

    def stop(self) -> None:
        """End the server and all its processes, from any thread, even while it is being started."""
        self._stop(_GRACE_S)

    def stop_at_once(self) -> None:
        """The same without waiting for what the server has to finish, for the exit of the interpreter."""
        self._stop(0)

    def _stop(self, grace_s: float) -> None:
        self._stopped.set()
        with self._lock:
            self._end(grace_s)

    def _start(self, port: int | None, env_vars: dict[str, str], workers: int) -> str:
        if shutil.which("uv") is None:
            raise ProviderMissingError(
                "expected the program 'uv' on PATH, got none; install it (`pip install uv`), or use Docker"
            )
        project = self._project()
        number = port or free_port(self.host)
        command = ["uv", "run", "--isolated", "--project", str(project)]
        listen = ["--host", self.host, "--port", str(number)]
        if self.app is None:
            command += ["--", "server", *listen]
        else:
            command += ["--with", "uvicorn", "--", "uvicorn", self.app, *listen, "--workers", str(workers)]
            command += ["--reload"] if self.reload else []
        env = {name: value for name, value in environ().items() if name not in _OF_THE_TRAINER}
        env |= {"HOST": self.host, "WORKERS": str(workers), "PYTHONUNBUFFERED": "1"}
        env |= {**(self.env_vars or {}), **env_vars, "PORT": str(number)}
        self._server = _Server(command, project, env)
        host = _ANY_HOSTS.get(self.host, self.host)
        self._base_url = f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
        return self._base_url

    def _project(self) -> Path:
        if self.project_path.startswith(GIT_PREFIX):
            return self._fetch()
        project = Path(self.project_path).expanduser().resolve()
        if not (project / "pyproject.toml").is_file():
            raise StartError(
                f"expected a folder with a pyproject.toml at {project}, got none; give project_path such a "
                "folder, or git+URL"
            )
        return project

    def _fetch(self) -> Path:
        """Get a repository's files, and nothing of its history.

        Without the Hugging Face token first: one that is out of date would close what is open to all.
        """
        url, revision, folder = _parse_git(self.project_path)
        checkout = self._checkout = Path(tempfile.mkdtemp(prefix="openenv-uv-"))
        fetch = ("fetch", "-q", "--depth", "1", "--", url, revision)
        for arguments in (("init", "-q"), fetch, ("checkout", "-q", "FETCH_HEAD")):
            said = self._git(arguments, {})
            token = huggingface_token() if arguments is fetch and _is_of_the_hub(url) else None
            if said is not None and token is not None:
                said = self._git(arguments, _git_credentials(url, token))
            if said is not None:
                raise StartError(
                    f"expected to fetch {revision} of {url}, got: {said}; check the address, the revision "
                    "and, for a private repository, the token (`hf auth login`)"
                )
        if not (checkout / folder / "pyproject.toml").is_file():
            raise StartError(f"expected a pyproject.toml in {url}, folder {folder or '.'!r}, got none")
        return checkout / folder

    def _git(self, arguments: tuple[str, ...], env: Mapping[str, str]) -> str | None:
        """Run git in the checkout; what it complained of, or None."""
        own = {name: value for name, value in environ().items() if name not in _OF_ANOTHER_REPOSITORY}
        try:
            done = run(
                ["git", *arguments],
                timeout_s=_FETCH_TIMEOUT_S,
                stopped=self._stopped,
                cwd=self._checkout,
                env={**own, "GIT_TERMINAL_PROMPT": "0", **env},
            )
        except CommandTimeoutError as error:
            return str(error)
        except OSError as error:
            raise ProviderMissingError(
                f"expected the program 'git' on PATH, got: {error.strerror or error}; install it, or give "
                "project_path a local folder"
            ) from None
        if self._stopped.is_set():
            raise StartError(f"stopped while {self.project_path} was fetched")
        return None if done.code == 0 else tail(done.err, 5) or f"exit code {done.code}"

    def _end(self, grace_s: float) -> None:
        server, self._server = self._server, None
        checkout, self._checkout = self._checkout, None
        self._base_url = None
        try:
            if server is not None:
                server.end(grace_s)
        finally:
            if checkout is not None:
                shutil.rmtree(checkout, ignore_errors=True)
            running.release(self)


class _Server:
    """One running ``uv``, and whatever it started; what it writes is read all the time."""

    def __init__(self, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "openenv-uv", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=folder,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"expected to run {command[0]!r}, got: {error}") from None
        assert self._process.stdout is not None
        # A pipe that nobody reads would stop the server once it is full.
        self._reader = threading.Thread(
            target=_keep_lines, args=(self._process.stdout, self._lines), name="openenv-uv-log", daemon=True
        )
        self._reader.start()

    def check_alive(self) -> None:
        """See `Watched.check_alive`."""
        code = self._process.poll()
        if code is None:
            return
        # What it wrote last may still be in the pipe, which stays open if it left somebody behind.
        self._reader.join(1.0)
        raise StartError(
            f"expected `uv run` to serve the project, but it ended (exit code {code}); see what it wrote, or "
            f"run it by hand. {self.last_words()}"
        )

    def last_words(self) -> str:
        """See `Watched.last_words`."""
        lines = tail("\n".join(list(self._lines)))
        return f"Its last lines:\n{lines}" if lines else "It wrote nothing."

    def end(self, grace_s: float) -> None:
        """End it: SIGTERM for uv, which passes it on; then SIGTERM for all, some times, so that servers drop
        what they still do and uv removes its environment; then SIGKILL for what is left."""
        process = self._process
        try:
            if grace_s > 0:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(grace_s)
            for wait_s in _LAST_GRACES_S:
                if process.poll() is None:
                    with suppress(subprocess.TimeoutExpired, ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGTERM)
                        process.wait(wait_s)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
            self._reader.join(1.0)
            if not self._reader.is_alive() and process.stdout is not None:
                process.stdout.close()


def _keep_lines(stream: IO[str], lines: deque[str]) -> None:
    with suppress(ValueError, OSError):
        lines.extend(stream)


def _parse_git(spec: str) -> tuple[str, str, str]:
    """``git+URL[@revision][#subdirectory=folder]`` as URL, revision (``HEAD`` by default) and folder."""
    text, _, fragment = spec.removeprefix(GIT_PREFIX).partition("#")
    fields = {name: value for name, _, value in (part.partition("=") for part in fragment.split("&"))}
    # An @ before the path is a user's; ssh://git@host/x has one.
    start = text.find("/", text.find("://") + 3)
    at = text.rfind("@")
    revision = "HEAD"
    if at > start >= 0:
        text, revision = text[:at], text[at + 1 :]
    return text, revision or "HEAD", fields.get("subdirectory", "")


def _is_of_the_hub(url: str) -> bool:
    endpoint = environ().get("HF_ENDPOINT") or "https://huggingface.co"
    return url.startswith("https://") and url.startswith(endpoint.rstrip("/") + "/")


def _git_credentials(url: str, token: str) -> dict[str, str]:
    """Variables that have git send a token to that host and to no other, unseen by `ps`."""
    host = "/".join(url.split("/")[:3])
    basic = base64.b64encode(f"user:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{host}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }
