"""`UVProvider`: what it asks of uv and git, which are scripts here."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openenv.containers import UVProvider, provider, running, uv
from openenv.errors import ProviderMissingError, ReadyTimeoutError, StartError
from tests.support.eventually import eventually
from tests.support.fake_program import FakeProgram, fake_program

FOREVER = "exec sleep 60"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a project in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    return folder


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProgram]:
    """A uv whose server says one line and runs until it is ended."""
    program = fake_program("uv", tmp_path, monkeypatch)
    program.says("run", script=f"echo listening; {FOREVER}")
    before = set(running._held)
    yield program
    left = set(running._held) - before
    for key in left:
        del running._held[key]
    assert not left, "a provider that was not stopped"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """A git whose checkout makes a project in its folder."""
    program = fake_program("git", tmp_path, monkeypatch)
    program.says("checkout", script="echo >pyproject.toml; mkdir -p deep; echo >deep/pyproject.toml")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return program


def started(fake: FakeProgram) -> list[str]:
    """The arguments of the one server that was started."""
    (run,) = eventually(lambda: fake.commands("run"), "a call of uv")
    return run


def test_a_folder_is_run_as_it_is(fake_uv: FakeProgram, project: Path) -> None:
    """The project's own `server` command, isolated, told the port in both ways."""
    server = UVProvider(project_path=project)
    assert server.start(port=9001, env_vars={"KEY": "value"}, workers=2) == "http://127.0.0.1:9001"
    assert started(fake_uv) == [
        *("run", "--isolated", "--project", str(project)),
        *("--", "server", "--host", "127.0.0.1", "--port", "9001"),
    ]
    variables = fake_uv.environment("run")
    assert {name: variables[name] for name in ("HOST", "PORT", "WORKERS", "KEY", "PWD")} == {
        "HOST": "127.0.0.1",
        "PORT": "9001",
        "WORKERS": "2",
        "KEY": "value",
        "PWD": str(project),
    }
    server.stop()


def test_a_port_is_found_where_none_is_given(
    fake_uv: FakeProgram, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL and the server are told the same one."""
    monkeypatch.setattr(uv, "free_port", lambda host: 12345)
    server = UVProvider(project_path=project, host="0.0.0.0")
    assert server.start() == "http://127.0.0.1:12345" == server.base_url
    assert started(fake_uv)[-4:] == ["--host", "0.0.0.0", "--port", "12345"]
    server.stop()


def test_an_app_is_served_with_uvicorn(fake_uv: FakeProgram, project: Path) -> None:
    """For projects that have no `server` command."""
    server = UVProvider(project_path=project, app="server.app:app", reload=True, env_vars={"A": "1"})
    server.start(port=9001, workers=3, env_vars={"B": "2"})
    run = started(fake_uv)
    assert run[run.index("--with") :] == [
        *("--with", "uvicorn", "--", "uvicorn", "server.app:app"),
        *("--host", "127.0.0.1", "--port", "9001", "--workers", "3", "--reload"),
    ]
    variables = fake_uv.environment("run")
    assert (variables["A"], variables["B"]) == ("1", "2")
    server.stop()


def test_reload_without_an_app_is_refused() -> None:
    """The project's own command cannot be told to."""
    with pytest.raises(ValueError, match="reload"):
        UVProvider(project_path=".", reload=True)


def test_the_trainers_packages_do_not_reach_the_server(
    fake_uv: FakeProgram, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its virtual environment and its path are its own; the server has what its project says."""
    monkeypatch.setenv("PYTHONPATH", "/trainer")
    monkeypatch.setenv("VIRTUAL_ENV", "/trainer/.venv")
    server = UVProvider(project_path=project)
    server.start(port=9001)
    started(fake_uv)
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(fake_uv.environment("run"))
    server.stop()


def test_a_folder_without_a_project_is_refused(fake_uv: FakeProgram, tmp_path: Path) -> None:
    """uv would look for one in the folders above."""
    with pytest.raises(StartError, match=r"pyproject\.toml at .*nowhere"):
        UVProvider(project_path=tmp_path / "nowhere").start()
    assert fake_uv.calls == []


def test_without_uv_the_error_says_what_to_install(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a provider asks nothing; starting does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProviderMissingError, match=r"'uv' on PATH.*install"):
        UVProvider(project_path=project).start()


def test_without_git_the_error_says_what_to_install(
    fake_uv: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a repository needs it."""
    monkeypatch.setenv("PATH", str(fake_uv.folder))
    with pytest.raises(ProviderMissingError, match=r"'git' on PATH.*install"):
        UVProvider(project_path="git+https://example.org/x").start()


def test_a_repository_is_fetched_run_and_forgotten(
    fake_uv: FakeProgram, git: FakeProgram, tmp_path: Path
) -> None:
    """One commit of it, into a folder that is gone after the stop."""
    server = UVProvider(project_path="git+https://user@example.org/a/b@v1.2#subdirectory=deep")
    server.start(port=9001)
    assert git.calls == [
        ["init", "-q"],
        ["fetch", "-q", "--depth", "1", "--", "https://user@example.org/a/b", "v1.2"],
        ["checkout", "-q", "FETCH_HEAD"],
    ]
    folder = Path(started(fake_uv)[3])
    assert folder.name == "deep"
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
    server.stop()
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("git+https://huggingface.co/spaces/o/n", ("https://huggingface.co/spaces/o/n", "HEAD", "")),
        ("git+ssh://git@host/x.git", ("ssh://git@host/x.git", "HEAD", "")),
        ("git+ssh://git@host/x.git@main", ("ssh://git@host/x.git", "main", "")),
        ("git+file:///a/b@0123abc", ("file:///a/b", "0123abc", "")),
        ("git+https://h/x#egg=x&subdirectory=d", ("https://h/x", "HEAD", "d")),
    ],
)
def test_a_git_address_has_a_revision_and_a_folder(spec: str, expected: tuple[str, str, str]) -> None:
    """As pip and uv write them."""
    assert uv._parse_git(spec) == expected


def test_a_repository_that_cannot_be_fetched_says_why(
    fake_uv: FakeProgram, git: FakeProgram, tmp_path: Path
) -> None:
    """With git's words, and with no folder left."""
    git.says("fetch", err="fatal: repository 'https://example.org/x/' not found\n", code=128)
    before = set(tmp_path.iterdir())
    with pytest.raises(StartError, match=r"HEAD of https://example.org/x, got: fatal: repository"):
        UVProvider(project_path="git+https://example.org/x").start()
    assert set(tmp_path.iterdir()) == before
    assert fake_uv.calls == []


def test_a_repository_without_a_project_is_refused(fake_uv: FakeProgram, git: FakeProgram) -> None:
    """Not every repository of the Hub is an environment."""
    git.says("checkout")
    with pytest.raises(StartError, match=r"pyproject\.toml in https://example.org/x"):
        UVProvider(project_path="git+https://example.org/x").start()


def test_the_token_is_tried_where_the_hub_refuses_and_nowhere_else(
    fake_uv: FakeProgram, git: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at first, because one that is out of date closes what is open to all; never among the arguments."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    git.says("fetch", err="fatal: Authentication failed", code=128)
    with pytest.raises(StartError, match="Authentication failed"):
        UVProvider(project_path="git+https://elsewhere.org/x").start()
    assert len(git.commands("fetch")) == 1
    assert "hf_secret" not in str(git.environment("fetch").get("GIT_CONFIG_VALUE_0"))
    with pytest.raises(StartError, match="Authentication failed"):
        UVProvider(project_path="git+https://huggingface.co/spaces/o/n").start()
    assert len(git.commands("fetch")) == 3
    variables = git.environment("fetch")
    assert variables["GIT_CONFIG_KEY_0"] == "http.https://huggingface.co/.extraHeader"
    assert variables["GIT_CONFIG_VALUE_0"].startswith("Authorization: Basic ")
    assert "hf_secret" not in str(git.calls)


def test_a_fetch_ends_when_the_server_is_stopped(fake_uv: FakeProgram, git: FakeProgram) -> None:
    """A large repository is not loaded to its end for nobody."""
    git.says("fetch", script=FOREVER)
    server = UVProvider(project_path="git+https://example.org/x")
    stopper = threading.Thread(
        target=lambda: (eventually(lambda: git.commands("fetch"), "a fetch"), server.stop())
    )
    stopper.start()
    with pytest.raises(StartError, match="stopped while"):
        server.start()
    stopper.join()


def test_a_server_that_ends_says_its_last_lines_at_once(
    fake_uv: FakeProgram, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the time limit to learn of a crash."""
    monkeypatch.setattr(provider, "answers_health", lambda *_: (False, "Connection refused"))
    fake_uv.says("run", err="error: Failed to spawn: `server`\n", code=2)
    server = UVProvider(project_path=project)
    server.start(port=9001)
    with pytest.raises(StartError, match=r"(?s)exit code 2.*Failed to spawn"):
        server.wait_for_ready(timeout_s=50)
    server.stop()


def test_a_server_that_never_answers_runs_out_of_time(
    fake_uv: FakeProgram, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's own limit, where none is given; and what the server wrote."""
    monkeypatch.setattr(provider, "answers_health", lambda *_: (False, "Connection refused"))
    server = UVProvider(project_path=project, context_timeout_s=0.3)
    server.start(port=9001)
    with pytest.raises(ReadyTimeoutError, match=r"within 0\.3 s, got Connection refused"):
        server.wait_for_ready()
    server.stop()


def test_stopping_ends_everything_that_was_started(
    fake_uv: FakeProgram, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also a grandchild that does not heed SIGTERM."""
    monkeypatch.setattr(uv, "_GRACE_S", 0.2)
    monkeypatch.setattr(uv, "_LAST_GRACES_S", (0.05, 0.05))
    deaf = f"(trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done)"
    fake_uv.says("run", script=f"trap '' TERM; {deaf} & wait; wait")
    server = UVProvider(project_path=project)
    server.start(port=9001)
    pid = eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "a pid")
    server.stop()
    if sys.platform == "linux":
        eventually(lambda: not Path(f"/proc/{pid}").exists(), "its end")
    eventually(
        lambda: all(thread.name != "openenv-uv-log" for thread in threading.enumerate()), "its log's end"
    )


def test_a_server_ends_with_a_trainer_that_is_killed(
    fake_uv: FakeProgram, project: Path, tmp_path: Path
) -> None:
    """What the kernel does then is to close the pipe; nobody calls `stop`."""
    fake_uv.says("run", script=f"echo $$ >{tmp_path}/pid; exec sleep 60")
    server = UVProvider(project_path=project)
    server.start(port=9001)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "a pid")
    assert server._server is not None
    process = server._server._process
    assert process.stdin is not None
    process.stdin.close()
    eventually(lambda: process.poll() is not None, "its end")
    server.stop()


def test_one_provider_runs_one_server(fake_uv: FakeProgram, project: Path) -> None:
    """A second start is refused and leaves the first one running; after a stop, it may start again."""
    server = UVProvider(project_path=project)
    server.start(port=9001)
    with pytest.raises(StartError, match="already runs"):
        server.start(port=9001)
    server.stop()
    server.stop()
    server.start(port=9001)
    server.stop()


def test_a_server_that_was_not_started_has_no_url(project: Path) -> None:
    """Neither to give nor to wait for."""
    server = UVProvider(project_path=project)
    with pytest.raises(StartError, match="call start"):
        _ = server.base_url
    with pytest.raises(StartError, match="call start"):
        server.wait_for_ready()
    server.stop()
