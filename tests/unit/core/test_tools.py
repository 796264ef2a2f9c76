"""`PyExecutor` over smolagents' interpreter, and `GitServerClient` over git: `openenv.core.tools`."""

from __future__ import annotations

import http.server
import importlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from openenv.core.tools.git_server_client import GitServerClient


class Interpreter:
    """In place of smolagents' interpreter: answers what the program's text says."""

    def __init__(self, additional_authorized_imports: list[str]) -> None:
        self.imports = additional_authorized_imports
        self.tools: dict[str, Any] = {}

    def send_tools(self, tools: dict[str, Any]) -> None:
        """Names for programs."""
        self.tools |= tools

    def __call__(self, code: str) -> Any:
        """The outcome that `code` describes."""
        if code == "raise":
            raise ValueError("no such name")
        return eval(code, {"out": SimpleNamespace})


@pytest.fixture
def py_executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class, over that interpreter."""
    smolagents = ModuleType("smolagents")
    smolagents.LocalPythonExecutor = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "smolagents", smolagents)
    name = "openenv.core.tools.local_python_executor"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name).PyExecutor
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "exit_code"),
    [
        ("out(output=None, logs='hi\\n')", "hi\n", "", 0),
        ("out(output=[1, 2], logs='')", "[1, 2]", "", 0),
        ("out(output={1, 2}, logs='hi')", "hi\n{1, 2}", "", 0),
        ("out(output=None, logs='', error='bad')", "", "bad", 1),
        ("out(output=None, logs='', success=False)", "", "", 1),
        ("out(output=None, logs='', exit_code=3)", "", "", 3),
    ],
)
def test_a_program_gives_what_it_printed_and_its_value(
    py_executor: Any, code: str, stdout: str, stderr: str, exit_code: int
) -> None:
    """Whichever of its forms the interpreter's outcome has."""
    result = py_executor().run(code)
    assert (result.stdout, result.stderr, result.exit_code) == (stdout, stderr, exit_code)


def test_what_a_program_raises_is_its_result(py_executor: Any) -> None:
    """With the traceback, and without ending the environment."""
    result = py_executor(["math"]).run("raise")
    assert result.exit_code == 1
    assert "ValueError: no such name" in result.stderr


def test_programs_find_two_helpers(py_executor: Any) -> None:
    """They are names of the interpreter's, beside the imports that were asked for."""
    interpreter = py_executor(["math"])._executor
    assert interpreter.imports == ["math"]
    assert interpreter.tools["safe_json_dumps"]({"a": {1}}) == '{"a": "{1}"}'
    assert "NoneType" in interpreter.tools["format_exc"]()


# -- git ----------------------------------------------------------------------------------------

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class _Gitea(http.server.BaseHTTPRequestHandler):
    """A server with one repository, for whoever knows the password."""

    def do_GET(self) -> None:
        """A page, or the repositories."""
        known = self.headers.get("Authorization") == "Basic bWU6cC93"  # me:p/w
        ok = self.path == "/" or (self.path == "/api/v1/user/repos" and known)
        rows = [{"name": "r", "full_name": "me/r", "clone_url": "u", "size": 1}]
        body = json.dumps(rows).encode() if ok else b""
        self.send_response(200 if ok else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def gitea() -> Iterator[str]:
    """The URL of such a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gitea) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitServerClient:
    """A client of a "server" that is a folder with one repository of two commits."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bare, made = tmp_path / "server" / "me" / "r.git", tmp_path / "made"
    made.mkdir()
    client = GitServerClient(f"file://{tmp_path}/server", "me", "p/w", str(tmp_path / "workspace"))

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=made, check=True, env=client._git_env, capture_output=True)

    git("init")
    for text in ("one", "two"):
        (made / "a.txt").write_text(text)
        git("add", "a.txt")
        git("commit", "-m", text)
        git("tag", text)
    git("clone", "--bare", ".", str(bare))
    client.is_ready = True
    return client


@needs_git
def test_a_working_copy_is_brought_back_to_its_commit(client: GitServerClient) -> None:
    """Whatever was done to it."""
    path = Path(client.clone_to_workspace("r", commit="one"))
    assert (path / "a.txt").read_text() == "one"
    first = client.get_current_commit("r")
    (path / "a.txt").write_text("spoilt")
    (path / "more.txt").write_text("more")
    assert client.reset_workspace("r", "one")
    assert (path / "a.txt").read_text() == "one"
    assert not (path / "more.txt").exists()
    assert client.reset_workspace("r")
    assert client.get_current_commit("r") != first
    assert client.workspace_exists("r")
    assert not client.workspace_exists("other")


@needs_git
def test_git_commands_run_in_the_workspace(client: GitServerClient) -> None:
    """They give their exit code and what they wrote; the user's own settings are not touched."""
    client.clone_to_workspace("r", "copy")
    assert client.execute_git_command("log --format='%an: %s' -1", "copy") == (0, "me: two\n", "")
    code, _, error = client.execute_git_command("checkout nowhere", "copy")
    assert code == 1
    assert "nowhere" in error
    assert client.execute_git_command("status", "missing")[0] == 1
    assert not (client.workspace_dir.parent / "home").exists()


@needs_git
def test_what_git_refuses_is_raised_in_its_words(client: GitServerClient) -> None:
    """So that an environment can show it."""
    with pytest.raises(RuntimeError, match=r"Clone failed: .*missing"):
        client.clone_to_workspace("missing")
    with pytest.raises(RuntimeError, match=r"Checkout failed: .*never"):
        client.clone_to_workspace("r", commit="never")
    with pytest.raises(RuntimeError, match="Repository not found in workspace: other"):
        client.reset_workspace("other")
    with pytest.raises(RuntimeError, match="Repository not found: other"):
        client.get_current_commit("other")


@needs_git
def test_a_server_is_waited_for_and_lists_its_repositories(gitea: str, tmp_path: Path) -> None:
    """With the account's password; without the right one there are none."""
    client = GitServerClient(gitea, "me", "p/w", str(tmp_path / "w"))
    with pytest.raises(RuntimeError, match="not ready"):
        client.list_repositories()
    assert client.wait_for_ready()
    assert client.list_repositories() == [
        {"name": "r", "full_name": "me/r", "clone_url": "u", "description": ""}
    ]
    stranger = GitServerClient(gitea, "me", "other", str(tmp_path / "w"))
    assert stranger.wait_for_ready()
    assert stranger.list_repositories() == []


@needs_git
def test_a_server_that_is_not_there_is_not_waited_for_longer_than_asked(tmp_path: Path) -> None:
    """False, and nothing raised."""
    client = GitServerClient("http://127.0.0.1:9", "me", "p", str(tmp_path / "w"))
    assert not client.wait_for_ready(timeout=0.01)
    assert not client.is_ready


@needs_git
def test_the_password_is_where_only_its_user_can_read_it(tmp_path: Path) -> None:
    """Not in the environment's variables, and escaped in the file that git reads."""
    client = GitServerClient("http://host:3000", "me", "p/w", str(tmp_path / "w"))
    config = Path(client._git_env["GIT_CONFIG_GLOBAL"])
    credentials = config.parent / "credentials"
    assert credentials.read_text() == "http://me:p%2Fw@host:3000\n"
    assert credentials.stat().st_mode & 0o077 == 0
    assert "p/w" not in "".join(client._git_env.values())
