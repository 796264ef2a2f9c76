"""`GitServerClient`: working copies of a Gitea server's repositories, for environments about git.

In: the server's URL and an account. Out: clones in a folder, brought back to a commit between episodes, and
git commands run in them. It needs the `git` program; the server is asked over HTTP by Python alone.

Limits: blocking; one account; working copies are told apart by their folder's name.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

__all__ = ["GitServerClient", "RepoInfo"]

_REQUEST_TIMEOUT_S = 5.0
_RETRY_S = 1.0


@dataclass
class RepoInfo:
    """One repository.

    Attributes:
        name: Its name.
        url: Where people look at it.
        commit: The commit meant.
        clone_url: Where git gets it.
    """

    name: str
    url: str
    commit: str
    clone_url: str


class GitServerClient:
    """One account on a Gitea server, and a folder of working copies.

    The user's own git settings are neither read nor written.

    Args:
        gitea_url: The server, such as ``http://gitea:3000``.
        username: The account, which also owns the repositories.
        password: Its password. It is kept in a file that only this user can read, until the process ends.
        workspace_dir: The folder, made if it is not there.

    Attributes:
        is_ready: Whether the server has answered, see `wait_for_ready`.
    """

    def __init__(
        self, gitea_url: str, username: str, password: str, workspace_dir: str = "/workspace"
    ) -> None:
        self.gitea_url = gitea_url.rstrip("/")
        self.username = username
        self.password = password
        self.workspace_dir = Path(workspace_dir)
        self.is_ready = False
        server = urlsplit(self.gitea_url)
        self.domain = server.hostname or "localhost"
        self.port = server.port or 3000
        self.workspace_dir.mkdir(parents=True, exist_ok=True)
        self._git_env = self._settings(server.scheme or "http", server.netloc or self.domain)

    def wait_for_ready(self, timeout: float = 30) -> bool:
        """Wait until the server answers; False if it did not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._fetch("/", min(_REQUEST_TIMEOUT_S, left)) is not None:
                self.is_ready = True
                return True
            time.sleep(max(0.0, min(_RETRY_S, deadline - time.monotonic())))

    def list_repositories(self) -> list[dict[str, str]]:
        """Name, full_name, clone_url and description of each of the account's; empty if it does not say.

        Raises:
            RuntimeError: The server is not ready.
        """
        self._check_ready()
        try:
            listed = json.loads(self._fetch("/api/v1/user/repos", _REQUEST_TIMEOUT_S) or b"[]")
            return [
                {
                    **{name: row[name] for name in ("name", "full_name", "clone_url")},
                    "description": row.get("description", ""),
                }
                for row in listed
            ]
        except (ValueError, TypeError, KeyError):
            return []

    def clone_to_workspace(self, repo_name: str, target_dir: str | None = None, commit: str = "main") -> str:
        """Clone a repository afresh.

        Args:
            repo_name: One of the account's.
            target_dir: Folder in the workspace, the repository's name by default. What was there goes.
            commit: Commit, tag or branch to check out; ``main`` leaves what the server says.

        Returns:
            The path of the clone.

        Raises:
            RuntimeError: The server is not ready, or git failed; with git's own words.
        """
        self._check_ready()
        path = self.workspace_dir / (target_dir or repo_name)
        if path.exists():
            shutil.rmtree(path)
        url = f"{self.gitea_url}/{self.username}/{repo_name}.git"
        self._must("Clone", self.workspace_dir, "clone", url, str(path.absolute()))
        if commit != "main":
            self._must("Checkout", path, "checkout", commit)
        return str(path)

    def reset_workspace(self, repo_name: str, commit: str = "main") -> bool:
        """Bring a working copy to a commit or branch as the server has it, without a trace of what was done.

        Returns:
            True.

        Raises:
            RuntimeError: There is no such working copy, or git failed; with git's own words.
        """
        path = self.workspace_dir / repo_name
        if not path.exists():
            raise RuntimeError(f"Repository not found in workspace: {repo_name}")
        # It may fail: without a server, what is here already still serves.
        self._git(path, "fetch", "--all")
        self._must("Checkout", path, "checkout", commit)
        if commit == "main" or self._git(path, "reset", "--hard", f"origin/{commit}").returncode:
            self._must("Reset", path, "reset", "--hard", commit)
        self._git(path, "clean", "-fdx")
        return True

    def execute_git_command(self, command: str, working_dir: str = "") -> tuple[int, str, str]:
        """Run ``git COMMAND``, split as a shell would, in a folder of the workspace.

        Returns:
            Exit code, standard output and standard error.
        """
        path = self.workspace_dir / working_dir
        if not path.exists():
            return 1, "", f"Working directory does not exist: {path}"
        done = self._git(path, *shlex.split(command))
        return done.returncode, done.stdout, done.stderr

    def get_current_commit(self, repo_name: str) -> str:
        """The hash of the commit that a working copy is at.

        Raises:
            RuntimeError: There is no such working copy, or it has no commit.
        """
        path = self.workspace_dir / repo_name
        if not path.exists():
            raise RuntimeError(f"Repository not found: {repo_name}")
        return self._must("Commit lookup", path, "rev-parse", "HEAD").strip()

    def workspace_exists(self, repo_name: str) -> bool:
        """Whether there is a working copy of that name."""
        return (self.workspace_dir / repo_name).exists()

    def _settings(self, scheme: str, server: str) -> dict[str, str]:
        """The variables under which git has an identity and the password, from a folder of our own."""
        folder = Path(tempfile.mkdtemp(prefix="openenv-git-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        credentials, config = folder / "credentials", folder / "config"
        credentials.touch(mode=0o600)
        credentials.write_text(f"{scheme}://{login}@{server}\n", "utf-8")
        values = {
            "user.name": self.username,
            "user.email": f"{self.username}@local.env",
            "init.defaultBranch": "main",
            "credential.helper": f"store --file {shlex.quote(str(credentials))}",
        }
        for name, value in values.items():
            subprocess.run(["git", "config", "--file", str(config), name, value], check=True)
        # No question to a terminal: there is nobody to answer.
        return {**os.environ, "GIT_CONFIG_GLOBAL": str(config), "GIT_TERMINAL_PROMPT": "0"}

    def _check_ready(self) -> None:
        if not self.is_ready:
            raise RuntimeError("Gitea server is not ready")

    def _fetch(self, path: str, timeout_s: float) -> bytes | None:
        """What the server answers, None where it does not or refuses."""
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"} if path != "/" else {}
        request = urllib.request.Request(self.gitea_url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                body: bytes = response.read()
        except OSError:
            return None
        return body

    def _git(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=self._git_env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _must(self, what: str, folder: Path, *arguments: str) -> str:
        done = self._git(folder, *arguments)
        if done.returncode:
            raise RuntimeError(f"{what} failed: {done.stderr.strip()}")
        return done.stdout
