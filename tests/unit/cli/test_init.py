"""`openenv init`: a whole environment under its own names, or a refusal that says what to do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from openenv.cli.init import make_environment, names_of
from openenv.cli.main import main
from openenv.cli.vendor import vendor_wheel
from openenv.errors import ConfigurationError
from openenv.manifest import parse
from tests.support.peers import ROOT

FILES = """\
.dockerignore .gitignore README.md __init__.py client.py models.py openenv.yaml pyproject.toml
server/Dockerfile server/__init__.py server/app.py server/environment.py
tests/conftest.py tests/test_environment.py
"""


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A new environment, `chess_env`."""
    make_environment(tmp_path / "chess_env", names_of("chess_env"))
    return tmp_path / "chess_env"


@pytest.mark.parametrize(
    ("name", "stem", "distribution"),
    [
        ("my_env", "My", "my-env"),
        ("chess", "Chess", "chess"),
        ("tic_tac_toe_env", "TicTacToe", "tic-tac-toe-env"),
        ("grid_environment", "Grid", "grid-environment"),
        ("env2048", "Env2048", "env2048"),
        ("env", "Env", "env"),
    ],
)
def test_names_come_from_the_environments(name: str, stem: str, distribution: str) -> None:
    """The suffix that says what it is anyway is not said twice."""
    names = names_of(name)
    assert (names.package, names.stem, names.distribution) == (name, stem, distribution)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("1env", "env_1env"),
        ("class", "class_env"),
        ("my-env", "my_env"),
        ("MyEnv", "my_env"),
        ("my env", "my_env"),
        ("my__env", "my_env"),
        ("_env", "my_env"),
        ("envs/chess", "chess"),
        ("umgebung_ü", "umgebung"),
        ("", "env"),
        ("json", "json_env"),
        ("openenv", "openenv_env"),
        ("server", "server_env"),
        ("websockets", "websockets_env"),
        ("x" * 65, "x" * 64),
    ],
)
def test_a_name_that_cannot_be_a_package_is_refused(name: str, suggestion: str, tmp_path: Path) -> None:
    """With one that can be, in one line and with exit code 2."""
    with pytest.raises(ConfigurationError) as caught:
        names_of(name)
    if name:
        assert str(caught.value).endswith(f"try '{suggestion}'")
        assert names_of(suggestion).package == suggestion
    assert main(["init", name, "--output-dir", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_structure_is_the_guides(made: Path) -> None:
    """And what an environment of today has besides."""
    wheel = vendor_wheel(made / "vendor")
    assert files(made) == {*FILES.split(), f"vendor/{wheel.name}"}


def test_no_name_of_the_template_is_left(made: Path) -> None:
    """In no file, as no part of a word."""
    for path in made.rglob("*"):
        if path.is_file() and path.suffix != ".whl":
            text = path.read_text("utf-8")
            assert not re.search(r"my_env|my-env|MyEnv|My(Action|Observation)|My Env", text), path
    assert (
        "class ChessEnv(EnvClient[ChessAction, ChessObservation, State]):" in (made / "client.py").read_text()
    )


def test_server_and_client_are_short_and_import_in_one_way(made: Path) -> None:
    """15 and 10 lines; no import is tried and then tried otherwise."""
    assert len((made / "server" / "app.py").read_text().splitlines()) <= 15
    assert len((made / "client.py").read_text().splitlines()) <= 10
    for path in made.rglob("*.py"):
        assert "ImportError" not in path.read_text()
        assert "sys.path" not in path.read_text()


def test_manifest_project_and_readme_say_the_same(made: Path) -> None:
    """The manifest can be read, the project has a server command, and a Space finds its front matter."""
    manifest = parse((made / "openenv.yaml").read_text())
    assert (manifest.name, manifest.app, manifest.port) == ("chess_env", "server.app:app", 8000)
    project = tomllib.loads((made / "pyproject.toml").read_text())
    assert project["project"]["name"] == "chess-env"
    assert project["project"]["scripts"] == {"server": "chess_env.server.app:main"}
    source = project["tool"]["uv"]["sources"]["openenv-runtime"]["path"]
    assert (made / source).is_file()
    front = (made / "README.md").read_text().split("---\n")[1].splitlines()
    assert {"title: Chess Env", "sdk: docker", "app_port: 8000", "base_path: /web", "  - openenv"} <= set(
        front
    )


def test_the_wheel_can_be_left_out(tmp_path: Path) -> None:
    """Then nothing refers to it."""
    assert main(["init", "chess_env", "--no-vendor", "-o", str(tmp_path)]) == 0
    made = tmp_path / "chess_env"
    assert files(made) == set(FILES.split())
    assert "tool.uv" not in (made / "pyproject.toml").read_text()
    assert "vendor" not in (made / "README.md").read_text()


def test_only_an_empty_folder_is_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else is there stays as it is."""
    (tmp_path / "empty_env").mkdir()
    assert main(["init", "empty_env", "--output-dir", str(tmp_path)]) == 0
    assert "server/app.py" in files(tmp_path / "empty_env")
    (tmp_path / "full_env").mkdir()
    (tmp_path / "full_env" / "mine.txt").write_text("mine")
    (tmp_path / "file_env").write_text("mine")
    capsys.readouterr()
    for name in ("empty_env", "full_env", "file_env"):
        before = files(tmp_path)
        assert main(["init", name, "--output-dir", str(tmp_path)]) == 2
        assert files(tmp_path) == before
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"openenv: {tmp_path / name} is there already and not an empty folder; choose another name, or "
            "another --output-dir\n"
        )


def test_what_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing half-made is left."""
    (tmp_path / "file").touch()
    assert main(["init", "chess_env", "--output-dir", str(tmp_path / "file" / "below")]) == 2
    assert "cannot make" in capsys.readouterr().err
    assert files(tmp_path) == {"file"}


def test_it_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the commands of the guide."""
    assert main(["init", "chess_env", "--output-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for command in (
        "uv run server",
        "openenv build -t chess-env:latest",
        "openenv push --repo-id username/chess-env",
    ):
        assert command in shown
    assert main(["init", "pond_env", "--output-dir", str(tmp_path / "my envs")]) == 0
    assert f"cd '{tmp_path}/my envs/pond_env'" in capsys.readouterr().out


def test_the_example_is_laid_out_as_init_lays_out() -> None:
    """File by file; what is in them is the example's own, but for what no environment changes."""
    example = ROOT / "examples" / "echo_env"
    names = names_of("echo_env")
    made = {path for path in files(example) if "_cache/" not in path and "__pycache__" not in path}
    assert set(FILES.split()) <= made
    template = ROOT / "openenv" / "cli" / "template"
    for ours, theirs in (
        ("server/Dockerfile", "server/Dockerfile"),
        ("server/__init__.py", "server/__init__.py"),
        ("server/app.py", "server/app.py"),
        ("tests/conftest.py", "tests/conftest.py"),
        ("dot_dockerignore", ".dockerignore"),
        ("dot_gitignore", ".gitignore"),
    ):
        text = (template / ours).read_text()
        text = text.replace("my_env", names.package).replace("my-env", names.distribution)
        assert (example / theirs).read_text() == text.replace("MyEnv", f"{names.stem}Env"), theirs
