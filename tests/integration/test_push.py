"""`openenv push` through the real `huggingface_hub` client, over HTTP, to a stand-in for the Hub.

The command runs in this process, except where another version of the client, or a terminal, is the point.
"""

from __future__ import annotations

import hashlib
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from openenv.cli.main import main
from openenv.version import __version__
from tests.support.docker import dependency_wheels, docker, engine
from tests.support.fake_program import fake_program
from tests.support.hub import TOKEN, Asked, HubStandIn
from tests.support.peers import ROOT, peer
from tests.support.program import environment, run_openenv

WHEEL = f"vendor/openenv_runtime-{__version__}-py3-none-any.whl"
UNPACKED = "vendor/openenv-runtime/"
SECRET = "hunter2-and-more"

FILES = {
    "openenv.yaml": "name: my_env\nversion: 1.0.0\nport: 8000\ndescription: Mine\nvariables:\n  STEPS: 5\n",
    "pyproject.toml": '[project]\nname = "my-env"\nversion = "1.0.0"\ndependencies = ["openenv-runtime"]\n',
    "README.md": "# Mine\n",
    "server/Dockerfile": "FROM python:3.12-slim\nCOPY . /app/env\nCMD x\n",
    "server/app.py": "app = None\n",
    "client.py": "class MyEnv(\n    EnvClient[A, B, C]\n):\n    pass\n",
    "models.py": "",
    # What is ignored here is not uploaded, except what a push puts there itself.
    ".gitignore": "vendor/\n*.whl\nlocal.py\n",
    "local.py": "mine = 1\n",
    ".git/config": "",
}

Push = Callable[..., int]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    """The Hub, with a user who is logged in."""
    with HubStandIn(orgs=["acme"]) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An author's environment."""
    made = tmp_path / "author"
    for name, text in FILES.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return made


@pytest.fixture
def push(folder: Path) -> Push:
    """The command, on that environment and without the runtime, which most of this is not about."""
    return lambda *words: main(["push", str(folder), "--no-vendor", *words])


@pytest.fixture
def push_all(folder: Path) -> Push:
    """The command as it is, on that environment."""
    return lambda *words: main(["push", str(folder), *words])


def kinds(hub: HubStandIn) -> list[str]:
    """What the Hub was asked to change, in order: the last part of each path that counts."""
    changing = (asked for asked in hub.asked if asked.method in ("POST", "DELETE", "PUT"))
    words = (
        re.search(r"create|delete|preupload|commit|variables|secrets|hardware", each.path)
        for each in changing
    )
    return [word[0] for word in words if word is not None]


def one_line(text: str) -> str:
    """What was said on standard error, which is one line."""
    assert text.count("\n") == 1, text
    return text.strip()


# -- what arrives -------------------------------------------------------------------------------


def test_a_push_is_one_commit_with_every_file(
    hub: HubStandIn, folder: Path, push_all: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """File by file: what is here, what a Space needs, nothing else; and nothing here is changed."""
    before = fingerprint(folder)
    assert push_all() == 0
    space = hub.spaces["author/my_env"]
    assert [commit.title for commit in space.commits] == ["initial commit", "Push my_env 1.0.0"]
    files = dict(space.files)
    dockerfile = b"FROM python:3.12-slim\nENV ENABLE_WEB_INTERFACE=true\nCOPY . /app/env\nCMD x\n"
    assert files.pop("Dockerfile") == files.pop("server/Dockerfile") == dockerfile
    front, _, text = files.pop("README.md").decode().rpartition("---\n")
    assert {"sdk: docker", "app_port: 8000", "base_path: /web"} <= set(front.splitlines())
    assert text == "\n# Mine\n"
    project = files.pop("pyproject.toml").decode()
    assert project.startswith(FILES["pyproject.toml"])
    assert 'openenv-runtime = { path = "vendor/openenv-runtime" }' in project
    with zipfile.ZipFile(io.BytesIO(files.pop(WHEEL))) as wheel:
        runtime = {f"{UNPACKED}{name}": wheel.read(name) for name in wheel.namelist()}
    added = {f"{UNPACKED}{name}" for name in ("pyproject.toml", "rebuild.py", "conftest.py")}
    assert {name for name in files if name.startswith(UNPACKED)} == {*runtime, *added}
    untouched = ("openenv.yaml", "server/app.py", "client.py", "models.py", ".gitignore")
    theirs = {name: content for name, content in files.items() if name not in {*added, ".gitattributes"}}
    assert theirs == runtime | {name: FILES[name].encode() for name in untouched}
    assert space.head.lfs == {WHEEL}
    assert fingerprint(folder) == before
    assert capsys.readouterr().err == ""


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_where_it_lives_and_how_it_is_used_is_printed(
    hub: HubStandIn, push_all: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three addresses of the guide, the page, and server, package and image."""
    assert push_all("--repo-id", "acme/My.Env") == 0
    said = capsys.readouterr().out
    page = f"{hub.url}/spaces/acme/My.Env"
    assert page in said
    for path in ("web", "docs", "health"):
        assert f"https://acme-my-env.hf.space/{path}\n" in said
    assert 'MyEnv(base_url="https://acme-my-env.hf.space")    from my_env import MyEnv' in said
    assert f"uv pip install git+{page}\n" in said
    assert f'pip install "git+{page}#subdirectory=vendor/openenv-runtime" git+{page}\n' in said
    assert "docker run -p 8000:8000 registry.hf.space/acme-my-env:latest" in said


def test_a_new_space_has_its_settings_from_the_start(hub: HubStandIn, push: Push) -> None:
    """Kind, privacy, hardware, variables (the manifest's and the command line's), secrets: one request."""
    assert push("-r", "my-env", "--private", "-H", "t4-medium", "-e", "A=x=y", "--secret", f"B={SECRET}") == 0
    space = hub.spaces["author/my-env"]
    assert (space.sdk, space.private, space.hardware) == ("docker", True, "t4-medium")
    assert space.variables == {"STEPS": "5", "A": "x=y"}
    assert space.secrets == {"B": SECRET}
    assert kinds(hub) == ["create", "preupload", "commit"]


def test_a_space_that_exists_gets_its_settings_after_the_files(hub: HubStandIn, push: Push) -> None:
    """Those that are not named stay, and so do files that are not here."""
    space = hub.make("author/my_env", {"data.txt": b"x"}, variables={"OLD": "1"}, secrets={"KEPT": "1"})
    assert push("-e", "STEPS=9", "--secret", f"B={SECRET}", "--hardware", "cpu-upgrade") == 0
    assert space.variables == {"OLD": "1", "STEPS": "9"}
    assert space.secrets == {"KEPT": "1", "B": SECRET}
    assert space.hardware == "cpu-upgrade"
    assert space.files["data.txt"] == b"x"
    assert kinds(hub) == ["preupload", "commit", "variables", "secrets", "hardware"]


def test_pushing_the_same_again_makes_no_commit(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice is harmless, which is what every failure advises."""
    assert push() == 0
    assert push() == 0
    assert len(hub.spaces["author/my_env"].commits) == 2
    assert "nothing was pushed" in capsys.readouterr().out


def test_files_are_deleted_in_the_same_commit(hub: HubStandIn, push: Push) -> None:
    """What matches and is not uploaded goes; `.gitattributes` stays."""
    space = hub.make(
        "author/my_env", {"old/a.txt": b"x", "old/b/c.txt": b"x", "data.csv": b"x", "models.py": b"x"}
    )
    assert push("--delete", "old/", "--delete", "*.py") == 0
    assert len(space.commits) == 2
    assert {"data.csv", ".gitattributes", "models.py"} <= set(space.files)
    assert not [name for name in space.files if name.startswith("old/")]
    assert push("--delete", "*") == 0
    assert "data.csv" not in space.files
    assert ".gitattributes" in space.files


def test_a_pull_request_changes_neither_the_space_nor_its_settings(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commit is proposed, and the manifest's variables are left out with a remark."""
    space = hub.make("somebody/their-env", {"models.py": b"x"})
    assert push("-r", "somebody/their-env", "--create-pr") == 0
    assert len(space.commits) == 1
    assert space.pull_requests[0].files["server/app.py"] == b"app = None\n"
    assert space.variables == {}
    said = capsys.readouterr()
    assert f"{hub.url}/spaces/somebody/their-env/discussions/1" in said.out
    assert "variables of openenv.yaml" in one_line(said.err)


def test_several_spaces_get_the_same(hub: HubStandIn, push: Push) -> None:
    """`--count` numbers them from 1."""
    assert push("--repo-id", "acme/many", "-n", "3") == 0
    assert sorted(hub.spaces) == ["acme/many-1", "acme/many-2", "acme/many-3"]
    assert len({tuple(sorted(space.files.items())) for space in hub.spaces.values()}) == 1


def test_base_image_and_interface_are_changed_in_what_is_sent(hub: HubStandIn, push: Push) -> None:
    """The author's Dockerfile stays as it is; without the interface the Space does not open at it."""
    assert push("--base-image", "ghcr.io/me/base:2", "--no-interface") == 0
    files = hub.spaces["author/my_env"].files
    assert files["Dockerfile"].decode().startswith("FROM ghcr.io/me/base:2\nENV ENABLE_WEB_INTERFACE=false\n")
    assert b"base_path" not in files["README.md"]
    assert WHEEL not in files
    assert files["pyproject.toml"] == FILES["pyproject.toml"].encode()


def test_an_environment_on_another_runtime_takes_no_wheel_along(
    hub: HubStandIn, folder: Path, push_all: Push
) -> None:
    """What does not depend on this runtime has no use for it."""
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["openenv-core>=0.2"]\n'
    (folder / "pyproject.toml").write_text(project)
    assert push_all() == 0
    assert WHEEL not in hub.spaces["author/my_env"].files


def test_further_patterns_are_left_out(hub: HubStandIn, folder: Path, push: Push) -> None:
    """`--exclude` names a file in the environment's folder or anywhere."""
    (folder / "unwanted").write_text("client.py\n/server/*.py\nunwanted\n")
    assert push("--exclude", "unwanted") == 0
    files = hub.spaces["author/my_env"].files
    assert not {"client.py", "server/app.py", "unwanted"} & set(files)
    assert "models.py" in files


@pytest.mark.parametrize("part_bytes", [None, 50_000], ids=["basic", "multipart"])
def test_binary_files_arrive_without_xet(
    hub: HubStandIn, push_all: Push, part_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Xet is turned off or not installed, the client falls back to LFS, whole or in parts."""
    monkeypatch.setattr(import_module("huggingface_hub.constants"), "HF_HUB_DISABLE_XET", True)
    hub.part_bytes = part_bytes
    assert push_all() == 0
    held = hub.spaces["author/my_env"].files[WHEEL]
    assert hub.spaces["author/my_env"].objects == {hashlib.sha256(held).hexdigest(): held}
    assert any(asked.path.endswith("/complete") for asked in hub.asked) is (part_bytes is not None)


@pytest.mark.peer
def test_the_oldest_client_that_is_allowed_does_the_same(
    hub: HubStandIn, folder: Path, tmp_path: Path
) -> None:
    """What `openenv-runtime[hub]` names as the lower bound pushes, and copies, as the newest does."""
    python = peer("huggingface-hub-0.34.0")
    command = [str(python), "-m", "openenv"]
    for words in (["push", str(folder), "--secret", f"B={SECRET}"], ["fork", "author/my_env", "-r", "copy"]):
        done = subprocess.run(
            [*command, *words], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done
    assert {"Dockerfile", WHEEL} <= set(hub.spaces["author/my_env"].files)
    assert hub.spaces["author/my_env"].secrets == {"B": SECRET}
    assert hub.spaces["author/copy"].files == hub.spaces["author/my_env"].files
    assert all("hf_hub/0.34.0" in asked.user_agent for asked in hub.asked if asked.path == "/api/whoami-v2")


def test_an_exported_space_is_a_repository_with_its_files(
    hub: HubStandIn, push_all: Push, tmp_path: Path
) -> None:
    """What a clone holds: every commit, files as they are, or pointers in place of those that LFS holds."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    assert push_all() == 0
    space = hub.spaces["author/my_env"]
    for pointers in (False, True):
        folder = tmp_path / f"clone-{pointers}"
        assert hub.export(folder, "author/my_env", pointers=pointers) == f"git+file://{folder}"
        log = ["git", "log", "--reverse", "--format=%s"]
        titles = subprocess.run(log, cwd=folder, check=True, capture_output=True, text=True).stdout
        assert titles.splitlines() == ["initial commit", "Push my_env 1.0.0"]
        paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
        held = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        assert held.pop(WHEEL).startswith(b"version https://git-lfs" if pointers else b"PK")
        assert held == {name: content for name, content in space.files.items() if name != WHEEL}


@pytest.mark.peer
@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_what_was_pushed_can_be_installed_without_git_lfs(
    hub: HubStandIn, tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the very commands that a push prints, from a clone in which the wheel is a pointer to itself."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv is None or shutil.which("git") is None:
        pytest.skip("uv or git is not installed")
    assert main(["push", str(ROOT / "examples" / "echo_env")]) == 0
    url = hub.export(tmp_path / "space", "author/echo_env", pointers=True)
    shown = capsys.readouterr().out.replace(f"git+{hub.url}/spaces/author/echo_env", url)
    line = re.search(
        rf"^ +(?:package +)?({'uv ' if tool == 'uv' else ''}pip install .*)$", shown, re.MULTILINE
    )
    assert line is not None, shown
    subprocess.run([uv, "venv", "-q", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = shlex.split(line[1])
    # uv is fast, and installs as pip does where it does not look at its own table of sources.
    own = [] if tool == "uv" else ["--no-sources"]
    wanted = words[words.index("install") + 1 :]
    subprocess.run(
        [uv, "pip", "install", "-q", *own, "--python", str(python), *wanted], check=True, timeout=120
    )
    question = (
        "from echo_env import EchoAction, EchoEnv as E; print(EchoAction(message='Hi').message, E.__name__)"
    )
    answer = subprocess.run(
        [str(python), "-c", question], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["Hi", "EchoEnv"]


@pytest.mark.docker
def test_a_space_builds_from_what_was_pushed(hub: HubStandIn, tmp_path: Path) -> None:
    """From its root, as the Hub does; without an index, so that it is the runtime that came along."""
    engine()
    assert main(["push", str(ROOT / "examples" / "echo_env")]) == 0
    hub.export(tmp_path / "space", "author/echo_env")
    shutil.copytree(dependency_wheels(), tmp_path / "space" / "vendor", dirs_exist_ok=True)
    image = "openenv-test-space:latest"
    docker(
        "build", "-q", "-t", image, "--build-arg", "PIP_NO_INDEX=1", str(tmp_path / "space"), timeout_s=300
    )
    try:
        question = "import echo_env, openenv, os; print(openenv.__file__, os.environ['ENABLE_WEB_INTERFACE'])"
        said = docker("run", "--rm", image, "python", "-c", question).split()
    finally:
        docker("rmi", "-f", image)
    assert "site-packages" in said[0]
    assert said[1] == "true"


# -- secrets --------------------------------------------------------------------------------------


def test_the_value_of_a_secret_is_said_nowhere(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in what is printed, nor in an error, nor in its traceback, even if the Hub itself repeats it."""
    assert push("--secret", f"B={SECRET}", "-r", "one") == 0
    hub.make("author/two")
    hub.fail("POST", "/secrets", 400, f"{SECRET} is no good value, {TOKEN}")
    assert push("--secret", f"B={SECRET}", "-r", "two", "--debug") == 1
    hub.fail("POST", "/create", 400, f"{SECRET} is no good value, {TOKEN}")
    assert push("--secret", f"B={SECRET}", "-r", "three", "--debug") == 1
    said = "".join(capsys.readouterr())
    assert "setting secret B of author/two" in said
    assert "*** is no good value, ***" in said
    assert "Traceback" in said
    assert SECRET not in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    "words",
    [
        ("--secert", f"B={SECRET}"),
        ("--secret", f"={SECRET}"),
        ("--secret", f"a b={SECRET}"),
        ("more", f"B={SECRET}"),
    ],
)
def test_a_misspelt_command_line_does_not_repeat_a_secret(
    hub: HubStandIn, push: Push, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A message says which flag or name, and nothing of what stands behind the '='."""
    assert push(*words) == 2
    assert SECRET not in one_line(capsys.readouterr().err)
    assert main(["push", f"B={SECRET}"]) == 2
    assert SECRET not in one_line(capsys.readouterr().err)
    assert hub.asked == []


def test_a_value_is_taken_from_a_variable_here(
    hub: HubStandIn, push: Push, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--secret NAME` keeps the value out of the shell's history; a variable that is missing is an error."""
    monkeypatch.setenv("API_KEY", SECRET)
    assert push("--secret", "API_KEY") == 0
    assert hub.spaces["author/my_env"].secrets == {"API_KEY": SECRET}
    assert push("--secret", "NO_SUCH_KEY") == 2
    assert "there is no variable NO_SUCH_KEY here" in one_line(capsys.readouterr().err)


def test_files_with_secrets_are_left_out_and_named(
    hub: HubStandIn, folder: Path, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """`.env` stays here, and its owner knows."""
    (folder / ".env").write_text(f"B={SECRET}\n")
    assert push() == 0
    assert ".env" not in hub.spaces["author/my_env"].files
    assert "left out, because they hold secrets: .env" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("value", [TOKEN, SECRET], ids=["token", "secret"])
def test_a_file_that_holds_a_secret_stops_the_push(
    hub: HubStandIn, folder: Path, push: Push, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's token, or a value that goes with `--secret`, was written into the code: nothing is sent."""
    (folder / "server" / "app.py").write_text(f"key = '{value}'\n")
    assert push("--secret", f"B={SECRET}") == 2
    said = one_line(capsys.readouterr().err)
    assert "server/app.py holds the value of" in said
    assert value not in said
    assert hub.asked == []


def test_a_variable_that_sounds_secret_is_remarked_upon(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """Variables can be read by everybody, which their author may not know."""
    assert push("-e", "API_KEY=x") == 0
    assert "API_KEY is a variable, which everybody can read" in one_line(capsys.readouterr().err)


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "pattern", "status", "message", "expected"),
    [
        ("GET", "whoami", 401, "Invalid credentials in Authorization header", "hf auth login"),
        ("GET", "whoami", 503, "maintenance", "try again later"),
        ("POST", "/create", 402, "Subscribe to PRO", "billing"),
        ("POST", "/create", 403, "no rights", "write access"),
        ("POST", "/create", 409, "exists", "--repo-id"),
        ("POST", "/create", 429, "20 Spaces a day", "wait for an hour"),
        ("POST", "/preupload/", 403, "Storage limit reached", "Storage limit reached"),
        ("POST", "/commit/", 413, "too large", "a limit of the Hub"),
        ("POST", "/commit/", 412, "A commit has happened since", "run the same command again"),
        ("POST", "/commit/", 500, "trouble", "try again later"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    hub: HubStandIn,
    push: Push,
    method: str,
    pattern: str,
    status: int,
    message: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, the Hub's own words, advice, and no Space that was not there before."""
    hub.fail(method, pattern, status, message)
    assert push() == 1
    said = capsys.readouterr()
    assert expected in one_line(said.err)
    assert message in said.err or status == 401
    assert said.out == ""
    assert hub.spaces == {}


def test_a_namespace_of_somebody_else_is_refused(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Hub decides, and its words are passed on."""
    assert push("-r", "stranger/env") == 1
    assert 'under the namespace "stranger"' in one_line(capsys.readouterr().err)


def test_nobody_is_logged_in(
    hub: HubStandIn, push: Push, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No token: nothing is asked, and the message says how to get one."""
    monkeypatch.setenv("HF_TOKEN", "")
    assert push() == 1
    assert "not logged in to the Hugging Face Hub; run 'hf auth login'" in one_line(capsys.readouterr().err)
    assert hub.asked == []


@pytest.mark.parametrize("after_bytes", [0, 500])
def test_a_connection_lost_half_way_leaves_no_new_space(
    hub: HubStandIn, push: Push, after_bytes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Space that was made for it is removed again."""
    hub.cut("POST", "/commit/", after_bytes=after_bytes)
    assert push() == 1
    said = one_line(capsys.readouterr().err)
    assert "check the network" in said
    assert said.endswith("nothing was pushed; the new Space is removed again")
    assert hub.spaces == {}
    hub.heal()
    assert push() == 0
    assert len(hub.spaces["author/my_env"].commits) == 2


def test_a_connection_lost_half_way_leaves_an_old_space_as_it_was(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither files nor settings are changed."""
    space = hub.make("author/my_env", {"data.txt": b"x"})
    hub.cut("POST", "/commit/", after_bytes=500)
    assert push("--secret", f"B={SECRET}") == 1
    assert one_line(capsys.readouterr().err).endswith("nothing was pushed")
    assert (len(space.commits), space.secrets, space.variables) == (1, {}, {})


@pytest.mark.parametrize("exists", [True, False])
def test_a_lost_answer_is_no_lost_commit(hub: HubStandIn, push: Push, exists: bool) -> None:
    """The Hub is asked whether the commit arrived; it did, so all is well, and nothing is removed."""
    if exists:
        hub.make("author/my_env")
    hub.cut("POST", "/commit/", after_bytes=None)
    assert push("--secret", f"B={SECRET}") == 0
    space = hub.spaces["author/my_env"]
    assert len(space.commits) == 2
    assert space.secrets == {"B": SECRET}


def test_it_is_said_if_nobody_knows(hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]) -> None:
    """The network stays away: neither the commit nor the new Space can be looked at."""
    hub.cut("POST", "/commit/", after_bytes=500, for_good=True)
    assert push() == 1
    said = one_line(capsys.readouterr().err)
    assert "whether the commit arrived could not be seen" in said
    assert f"the new Space at {hub.url}/spaces/author/my_env could not be removed" in said


def test_a_setting_that_is_refused_is_named(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are there, and the message says so."""
    space = hub.make("author/my_env")
    hub.fail("POST", "/secrets", 403, "no")
    assert push("--secret", f"B={SECRET}") == 1
    said = one_line(capsys.readouterr().err)
    assert "the files are pushed, but not all settings are set: setting secret B" in said
    assert len(space.commits) == 2


def test_nothing_is_published_that_should_be_private(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--private` cannot make an old Space private, so nothing is sent to it."""
    space = hub.make("author/my_env")
    assert push("--private") == 2
    assert "everybody can see it; make it private at" in one_line(capsys.readouterr().err)
    assert len(space.commits) == 1


def test_a_pull_request_needs_a_space(
    hub: HubStandIn, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to propose a change to."""
    assert push("--create-pr") == 1
    assert "push without --create-pr first" in capsys.readouterr().err
    assert kinds(hub) == []


def test_front_matter_that_the_hub_refuses_is_quoted(
    hub: HubStandIn, folder: Path, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Hub's own words say which key it is."""
    (folder / "README.md").write_text("---\ncolorFrom: octarine\n---\n# Mine\n")
    assert push() == 1
    assert '"colorFrom" must be one of' in one_line(capsys.readouterr().err)
    assert hub.spaces == {}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("openenv.yaml", "name: [", "openenv.yaml"),
        ("openenv.yaml", "name: my env\n", "name in openenv.yaml"),
        ("openenv.yaml", "name: x\nvariables: 5\n", "under 'variables'"),
        ("openenv.yaml", "name: x\nvariables: {a b: 5}\n", "under 'variables'"),
        ("README.md", "---\nsdk: gradio\n---\n", "expected sdk: docker"),
        ("pyproject.toml", "[project", "pyproject.toml"),
        ("server/Dockerfile", "", ""),
    ],
)
def test_what_is_wrong_here_is_found_before_anything_is_sent(
    hub: HubStandIn,
    folder: Path,
    push: Push,
    file: str,
    text: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line, and the Hub has heard nothing."""
    if text:
        (folder / file).write_text(text)
    else:
        (folder / file).unlink()
    assert push() == 2
    assert expected in one_line(capsys.readouterr().err)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-r", "a/b/c"), "expected namespace/name as --repo-id"),
        (("-r", "no--dashes"), "got 'no--dashes'"),
        (("-r", "x" * 97), "at most 96"),
        (("-n", "0"), "--count from 1"),
        (("--create-pr", "--secret", "A=b"), "--secret cannot be used with --create-pr"),
        (
            ("--registry", "ghcr.io/x", "-e", "A=b", "-n", "2"),
            "--count, --env-var cannot be used with --registry",
        ),
        (("-e", "A=b", "--secret", "A=c"), "got A as a variable and as a secret"),
        (("--exclude", "missing"), "expected a file with patterns as --exclude"),
    ],
)
def test_a_wrong_command_line_is_refused(
    hub: HubStandIn, push: Push, words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, and the Hub has heard nothing."""
    assert push(*words) == 2
    assert expected in one_line(capsys.readouterr().err)
    assert hub.asked == []


def test_a_folder_that_is_no_environment_is_refused(
    hub: HubStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without a manifest, and a Space's name in the place of a folder."""
    assert main(["push", str(tmp_path)]) == 2
    assert "there is no openenv.yaml in" in one_line(capsys.readouterr().err)
    assert main(["push", "acme/env"]) == 2
    assert "--repo-id acme/env" in one_line(capsys.readouterr().err)


# -- without the Hub ------------------------------------------------------------------------------


def test_a_dry_run_needs_neither_network_nor_package_nor_token(
    folder: Path, push_all: Push, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lists every file with its size, and the names of settings."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("HF_TOKEN", "")
    assert push_all("--dry-run", "--secret", f"B={SECRET}") == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert re.fullmatch(r"would push \d{3} files, \d+\.\d [kM]B, to YOU/my_env:", lines[0])
    listed = {line.split()[-1]: " ".join(line.split()[:-1]) for line in lines[1:11]}
    assert listed["client.py"] == f"{len(FILES['client.py'])} B"
    assert {"Dockerfile", "server/Dockerfile", WHEEL, ".gitignore"} < set(listed)
    assert re.fullmatch(r" +\d+\.\d [kM]B  vendor/openenv-runtime/: \d+ files of the runtime", lines[11])
    assert lines[12:] == ["variables: STEPS", "secrets: B"]
    assert SECRET not in said.out


def test_an_image_is_built_and_pushed_to_a_registry(
    folder: Path,
    push_all: Push,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Docker builds from the copy, with the base image and the interface that were asked for."""
    fake = fake_program("docker", tmp_path, monkeypatch)
    fake.says("build", script='cp Dockerfile "$here/Dockerfile"; ls -A >"$here/listing"')
    assert push_all("--registry", "https://ghcr.io/me/", "-b", "other:1", "--interface") == 0
    tag = "ghcr.io/me/my_env:1.0.0"
    version, *calls = fake.calls
    assert version[0] == "version"
    assert calls == [["build", "-t", tag, "-f", "Dockerfile", "."], ["push", tag]]
    assert (
        (fake.folder / "Dockerfile").read_text().startswith("FROM other:1\nENV ENABLE_WEB_INTERFACE=true\n")
    )
    assert {"vendor", "server", "openenv.yaml"} <= set((fake.folder / "listing").read_text().split())
    assert f"pushed {tag}" in capsys.readouterr().out


def test_an_image_that_cannot_be_pushed_is_one_line(
    push: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker's own words were shown above it; ours say what to do."""
    fake = fake_program("docker", tmp_path, monkeypatch)
    fake.says("push", code=1)
    assert push("--registry", "ghcr.io/me") == 1
    assert "docker login ghcr.io" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert push("--registry", "ghcr.io/me") == 1
    assert "'docker' on PATH, got none" in capsys.readouterr().err


def test_a_registry_without_an_engine_is_one_line(
    push: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker's own way of saying it is several, behind a context that was sent to nobody."""
    fake_program("docker", tmp_path, monkeypatch).says("version", err="Cannot connect to it", code=1)
    assert push("--registry", "ghcr.io/me") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("openenv: the Docker daemon does not answer; start it")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--registry", "ghcr.io/ME"), "expected a registry as ghcr.io/name, in lower-case letters"),
        (("--registry", ""), "expected a registry as ghcr.io/name"),
        (("--base-image", ""), "expected the name of an image as --base-image, got ''"),
        (("--base-image", "a b"), "expected the name of an image as --base-image, got 'a b'"),
        (("--delete", ""), "expected a pattern as --delete, got ''"),
    ],
)
def test_words_that_name_nothing_are_refused(
    words: tuple[str, str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent, in one line, with exit code 2."""
    assert main(["push", str(folder), *words, "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_a_project_that_is_none_and_a_file_that_cannot_be_read_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are the author's to mend, and no fault of the command."""
    project = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("project = 3\n")
    assert main(["push", str(folder), "--dry-run"]) == 2
    assert "expected [project] in pyproject.toml to be a table, got 3" in capsys.readouterr().err
    (folder / "pyproject.toml").write_text(project)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "models.py")

    monkeypatch.setattr("openenv.cli.staging.shutil.copy", refuse)
    assert main(["push", str(folder), "--dry-run"]) == 2
    assert "openenv: cannot copy" in capsys.readouterr().err


# -- as a program ---------------------------------------------------------------------------------


def test_bars_are_drawn_on_a_terminal_and_nowhere_else(hub: HubStandIn, folder: Path, tmp_path: Path) -> None:
    """A log has no use for them."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "openenv", "push", str(folder), "-r", "another"]
    with subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=terminal
    ) as process:
        os.close(terminal)
        drawn = b"".join(iter(lambda: read(controller), b""))
    os.close(controller)
    assert process.returncode == 0
    assert b"100%" in drawn


def read(controller: int) -> bytes:
    """What a terminal shows next; nothing once its programs have ended, which Linux calls an error."""
    try:
        return os.read(controller, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize("command", ["push", "fork"])
def test_help_has_examples(command: str, tmp_path: Path) -> None:
    """And says how to log in."""
    done = run_openenv(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  openenv {command} " in done.stdout.partition("examples:")[2]
    assert str(ROOT) not in done.stdout


def test_the_token_goes_to_the_hub_alone(
    hub: HubStandIn, push_all: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither signed addresses nor the Xet store are told who is pushing."""
    monkeypatch.setattr(import_module("huggingface_hub.constants"), "HF_HUB_DISABLE_XET", True)
    assert push_all() == 0
    signed = [asked for asked in hub.asked if asked.method == "PUT"]
    assert signed
    assert not [asked for asked in signed if asked.authorization]
    assert {asked.authorization for asked in hub.asked if not is_signed(asked)} == {f"Bearer {TOKEN}"}


def is_signed(asked: Asked) -> bool:
    """Whether a request goes to an address that needs no token."""
    return asked.path.startswith("/lfs/")
