"""What `openenv init` makes runs at once, in each of the ways that people start it, with the real tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.docker import uv
from tests.support.eventually import eventually
from tests.support.peers import ROOT
from tests.support.program import environment
from tests.support.scaffold import Started, commit, new_environment, run, started, virtual_environment

PLAY = """\
import sys
from my_env import MyAction, MyEnv
with MyEnv(base_url=sys.argv[1]).sync() as client:
    client.reset()
    result = client.step(MyAction(message="Hello"))
    print(type(result.observation).__module__, result.observation.echoed_message, result.reward)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment; no test changes it."""
    return new_environment(tmp_path_factory.mktemp("init"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment with the runtime and uvicorn, and not the environment."""
    return virtual_environment(tmp_path_factory.mktemp("bare"), "uvicorn")


@pytest.fixture(scope="module")
def installed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of one in which `pip install .` has put it, from a copy that is no longer there."""
    home = tmp_path_factory.mktemp("installed")
    bin_folder = virtual_environment(home, "pip")
    copy = shutil.copytree(made, home / "copy")
    run(str(bin_folder / "pip"), "install", "-q", "--find-links", "vendor", ".", cwd=copy)
    shutil.rmtree(copy)
    return bin_folder


def copied(made: Path, into: Path, name: str = "my-env") -> Path:
    """The environment under another folder's name, as a clone has it, and with another first message."""
    folder = shutil.copytree(made, into / name)
    edit(folder, "Ready!", "Changed!")
    return folder


def edit(folder: Path, before: str, after: str) -> None:
    """Change the environment's code."""
    path = folder / "server" / "environment.py"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_uv_runs_its_server_and_its_tests(made: Path, tmp_path: Path) -> None:
    """`uv sync`, `uv run server`, `uv run pytest`; and its own client plays with it."""
    folder = shutil.copytree(made, tmp_path / "my_env")
    run("uv", "sync", "-q", cwd=folder)
    with started(["uv", "run", "server"], folder) as server:
        assert server.get("/health") == {"status": "healthy"}
        played = run(str(folder / ".venv" / "bin" / "python"), "-c", PLAY, server.url, cwd=tmp_path)
        assert played == "my_env.models Hello 0.5\n"
    assert "2 passed" in run("uv", "run", "pytest", "-q", cwd=folder)


def test_uvx_runs_it_from_a_git_repository(made: Path, tmp_path: Path) -> None:
    """Of which nothing was cloned by hand; the runtime comes out of it as well."""
    url = commit(shutil.copytree(made, tmp_path / "repository"))
    with started(["uvx", "--from", url, "server"], tmp_path) as server:
        assert server.reset() == "Ready!"


@pytest.mark.parametrize(
    "command",
    [
        ["{bin}/uvicorn", "server.app:app", "--port", "0"],
        ["{bin}/python", "-m", "server.app"],
        ["{bin}/openenv", "serve"],
    ],
)
def test_it_is_served_in_place_from_a_clone_of_another_name(
    made: Path, bare: Path, tmp_path: Path, command: list[str]
) -> None:
    """With the runtime alone installed, standing in the folder."""
    folder = copied(made, tmp_path)
    with started([word.format(bin=bare) for word in command], folder) as server:
        assert server.reset() == "Changed!"


@pytest.mark.parametrize(
    "command",
    [
        ["{bin}/openenv", "serve", "my_env"],
        ["{bin}/openenv", "serve", "my_env.server.app:app"],
        ["{bin}/uvicorn", "my_env.server.app:app", "--port", "0"],
    ],
)
def test_it_is_served_from_outside(made: Path, bare: Path, command: list[str]) -> None:
    """By its folder, and by its package, from the folder above."""
    with started([word.format(bin=bare) for word in command], made.parent) as server:
        assert server.reset() == "Ready!"


def test_pip_installs_it(installed: Path, tmp_path: Path) -> None:
    """The types can be imported, the module and the command serve."""
    for command in ([str(installed / "python"), "-m", "my_env.server.app"], [str(installed / "server")]):
        with started(command, tmp_path) as server:
            played = run(str(installed / "python"), "-c", PLAY, server.url, cwd=tmp_path)
            assert played == "my_env.models Hello 0.5\n"


def test_an_installed_copy_does_not_win_over_the_folder(made: Path, installed: Path, tmp_path: Path) -> None:
    """In which one stands, or which one names; whichever way it is served."""
    folder = copied(made, tmp_path)
    for command, cwd in (
        ([str(installed / "openenv"), "serve"], folder),
        ([str(installed / "openenv"), "serve", str(folder)], tmp_path),
        ([str(installed / "python"), "-m", "server.app"], folder),
    ):
        with started(command, cwd) as server:
            assert server.reset() == "Changed!"


def test_reload_sees_what_is_edited(made: Path, installed: Path, tmp_path: Path) -> None:
    """Again and again, although another copy is installed."""
    folder = copied(made, tmp_path)
    with started([str(installed / "openenv"), "serve", "--reload"], folder) as server:
        assert server.reset() == "Changed!"
        for before, after in (("Changed!", "Second"), ("Second", "Third")):
            edit(folder, before, after)
            eventually(lambda text=after: shown(server) == text, f"{after} is served")  # type: ignore[misc]


def shown(server: Started) -> object:
    """What a reset shows; None while the server starts again."""
    try:
        return server.reset()
    except (OSError, HTTPException):
        return None


def test_its_own_tests_pass_where_it_is_not_installed(made: Path, tmp_path: Path) -> None:
    """Standing in its folder, and from outside with a folder of another name."""
    clone = shutil.copytree(made, tmp_path / "my-env")
    for folder, cwd in ((made, made), (clone, tmp_path)):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
            cwd=cwd,
            env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "2 passed" in done.stdout, done.stdout


def test_linters_and_type_checkers_have_nothing_to_say(tmp_path: Path) -> None:
    """ruff with its defaults and with sorted imports, its formatter, and mypy --strict."""
    folder = new_environment(tmp_path, "tic_tac_toe_env")
    for command in (
        ["ruff", "check", "--isolated", "--extend-select", "I,B,UP,RUF", "."],
        ["ruff", "format", "--isolated", "--check", "."],
        ["mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "."],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "platform", ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "aarch64-manylinux_2_28"]
)
def test_what_it_needs_is_there_as_wheels_for_other_machines(platform: str, tmp_path: Path) -> None:
    """On alpine, and on arm64, nothing has to be compiled."""
    (tmp_path / "in.txt").write_text("websockets\nuvloop\norjson\n")
    done = subprocess.run(
        [
            *(uv(), "pip", "compile", "-q", "--python-version", "3.11", "--python-platform", platform),
            *("--only-binary", ":all:", "--no-header", "--no-annotate", "in.txt"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "Failed to fetch" in done.stderr or "dns error" in done.stderr:
        pytest.skip(f"no package index can be reached: {done.stderr.strip()[-200:]}")
    assert [line.partition("==")[0] for line in done.stdout.split()] == ["orjson", "uvloop", "websockets"]


def test_the_wheel_of_a_build_tool_has_the_template(tmp_path: Path) -> None:
    """hatch leaves none of it out, so that `init` works in an installed runtime."""
    run(uv(), "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(ROOT), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    template = ROOT / "openenv" / "cli" / "template"
    expected = {
        f"openenv/cli/template/{path.relative_to(template).as_posix()}"
        for path in template.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert expected
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
