"""`openenv build`: what is sent to Docker, how it is asked, and what is said where it cannot be.

`docker` is a program of the test's own here, which keeps what it was sent; the real one is in
`tests/integration/test_images.py`.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from openenv.cli.build import stage, swap_runtime
from openenv.cli.init import make_environment, names_of
from openenv.cli.main import main
from openenv.errors import ConfigurationError
from tests.support.fake_program import FakeProgram, fake_program

SERVER_DOCKERFILE = "FROM python:3.11-slim\nARG PIP_NO_INDEX\nCOPY . /app\n"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A new environment."""
    make_environment(tmp_path / "pond_env", names_of("pond_env"), vendor=False)
    return tmp_path / "pond_env"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """A docker that keeps a copy of the context that it was sent."""
    program = fake_program("docker", tmp_path, monkeypatch)
    for command in ("build", "buildx"):
        program.says(command, script='for context; do :; done; cp -r "$context" "$here/context"')
    return program


def digest(folder: Path) -> str:
    """Of every name and byte below a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(f"{path.relative_to(folder)}\0".encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files by their names, with what is above them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def staged(folder: Path, into: Path, **options: object) -> set[str]:
    """Names of all that is sent of a folder that has a Dockerfile."""
    stage(folder, into, package="pond", dockerfile=folder / "Dockerfile", **options)  # type: ignore[arg-type]
    return {
        path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_symlink() or path.is_file()
    }


# -- the context ------------------------------------------------------------------------------


def test_what_dockerignore_names_is_not_sent(tmp_path: Path) -> None:
    """With `**` and `!`, in Docker's order; the Dockerfile is always sent, the list itself is not."""
    folder = write(
        tmp_path / "env",
        {
            ".dockerignore": (
                "# all but\n*\n!server\nserver/**/*.log\n!server/keep.log\n!README.md\nserver/secret\n"
            ),
            "Dockerfile": "FROM scratch\n",
            "README.md": "",
            "models.py": "",
            ".env": "KEY=1",
            "server/app.py": "",
            "server/a.log": "",
            "server/deep/er/b.log": "",
            "server/keep.log": "",
            "server/secret/key": "",
        },
    )
    assert staged(folder, tmp_path / "out") == {"Dockerfile", "README.md", "server/app.py", "server/keep.log"}


def test_without_dockerignore_secrets_and_caches_stay_here(tmp_path: Path) -> None:
    """As the template's has it."""
    folder = write(
        tmp_path / "env",
        {
            "Dockerfile": "FROM scratch\n",
            ".env": "KEY=1",
            ".git/config": "",
            ".venv/bin/python": "",
            "server/__pycache__/app.pyc": "",
            "server/app.py": "",
        },
    )
    assert staged(folder, tmp_path / "out") == {"Dockerfile", "server/app.py"}


def test_a_dockerfiles_own_ignore_file_comes_first(tmp_path: Path) -> None:
    """`Dockerfile.dockerignore`, as BuildKit has it."""
    folder = write(
        tmp_path / "env",
        {"Dockerfile": "", "Dockerfile.dockerignore": "a", ".dockerignore": "b", "a": "", "b": ""},
    )
    assert staged(folder, tmp_path / "out") == {"Dockerfile", "b"}


def test_links_and_modes_are_kept(tmp_path: Path) -> None:
    """A link is sent as a link, to a folder too; a program stays one."""
    folder = write(tmp_path / "env", {"Dockerfile": "", "data/x": "", "run.sh": "#!/bin/sh\n"})
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("data")
    assert staged(folder, tmp_path / "out") == {"Dockerfile", "data/x", "run.sh", "link"}
    assert (tmp_path / "out" / "link").is_symlink()
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o111


def test_the_runtime_is_in_the_copy_and_the_folder_stays_as_it_is(made: Path, tmp_path: Path) -> None:
    """Unless it is to be left out, or the environment runs on something else."""
    before = digest(made)
    dockerfile = made / "server" / "Dockerfile"
    used = stage(made, tmp_path / "out", package="pond_env", dockerfile=dockerfile)
    assert used == tmp_path / "out" / "server" / "Dockerfile"
    sources = tomllib.loads((tmp_path / "out" / "pyproject.toml").read_text())["tool"]["uv"]["sources"]
    assert (tmp_path / "out" / sources["openenv-runtime"]["path"]).is_file()
    stage(made, tmp_path / "without", package="pond_env", dockerfile=dockerfile, vendor=False)
    assert not (tmp_path / "without" / "vendor").exists()
    assert digest(made) == before
    text = (made / "pyproject.toml").read_text().replace("openenv-runtime>=0.1.0", "openenv-core>=0.2")
    (made / "pyproject.toml").write_text(text)
    stage(made, tmp_path / "other", package="pond_env", dockerfile=dockerfile)
    assert not (tmp_path / "other" / "vendor").exists()


# -- another runtime ---------------------------------------------------------------------------


def test_the_incumbents_runtime_is_replaced_in_the_copy(tmp_path: Path) -> None:
    """However it is written; what pins it goes, and what only looks like it stays."""
    folder = write(
        tmp_path / "env",
        {
            "pyproject.toml": (
                '[project]\nname = "x"\ndependencies = [\n    "openenv-core[core]>=0.2.1", # the runtime\n'
                '    \'openenv_core ; python_version >= "3.11"\', "openenvy>=1", "numpy",\n]\n'
                '[project.optional-dependencies]\ndev = ["openenv[cli]", "pytest"]\n'
            ),
            "requirements.txt": "openenv-core>=0.2 # runtime\nnumpy\n",
            "server/requirements.txt": (
                "git+https://github.com/meta-pytorch/OpenEnv.git@main#egg=openenv\nopenenv\n-r other.txt\n"
            ),
            "uv.lock": "pinned",
        },
    )
    remarks = swap_runtime(folder)
    text = (folder / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    assert project["dependencies"] == [
        "openenv-runtime[core]",
        'openenv-runtime[core]; python_version >= "3.11"',
        "openenvy>=1",
        "numpy",
    ]
    assert project["optional-dependencies"]["dev"] == ["openenv-runtime[core]", "pytest"]
    assert "# the runtime" in text
    assert (folder / "requirements.txt").read_text() == "openenv-runtime[core]\nnumpy\n"
    assert (folder / "server" / "requirements.txt").read_text() == (
        "openenv-runtime[core]\nopenenv-runtime[core]\n-r other.txt\n"
    )
    assert not (folder / "uv.lock").exists()
    assert len(remarks) == 5


def test_requirements_alone_make_a_project(tmp_path: Path) -> None:
    """An environment of the first days has no pyproject.toml."""
    folder = write(tmp_path / "env", {"server/requirements.txt": "openenv-core\nnumpy>=2 # arrays\n"})
    swap_runtime(folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["openenv-runtime[core]", "numpy>=2"]


def test_nothing_to_swap_is_a_mistake(tmp_path: Path) -> None:
    """The flag would otherwise seem to have worked."""
    folder = write(tmp_path / "env", {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["numpy"]\n'})
    with pytest.raises(ConfigurationError, match="found none; there is no runtime to swap"):
        swap_runtime(folder)


@pytest.mark.parametrize(
    ("dockerfile", "is_replaced"),
    [
        ("ARG BASE_IMAGE=ghcr.io/meta-pytorch/openenv-base:latest\nFROM ${BASE_IMAGE} AS builder\n", True),
        ("FROM openenv-base\n", True),
        ("FROM --platform=linux/amd64 envtorch-base:latest\n", True),
        ("FROM python:3.11-slim\nRUN pip install .\n", False),
        ("FROM my-openenv-base-image\n", False),
        (None, True),
    ],
)
def test_a_dockerfile_on_the_incumbents_image_is_replaced(
    tmp_path: Path, dockerfile: str | None, is_replaced: bool
) -> None:
    """By that of `init`, under the environment's name; one on another image is the author's business."""
    folder = write(
        tmp_path / "env", {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["openenv-core"]\n'}
    )
    path = None
    if dockerfile is not None:
        path = write(folder, {"server/Dockerfile": dockerfile}) / "server" / "Dockerfile"
    before = digest(folder)
    used = stage(folder, tmp_path / "out", package="pond", dockerfile=path, swap=True)
    text = used.read_text()
    assert ('CMD ["openenv", "serve", "/app/pond"]' in text) == is_replaced
    assert (text == dockerfile) == (not is_replaced)
    assert list((tmp_path / "out" / "vendor").glob("openenv_runtime-*.whl"))
    assert digest(folder) == before


# -- the command ------------------------------------------------------------------------------


def test_docker_is_given_a_context_and_what_was_asked(
    made: Path, docker: FakeProgram, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every flag in its place; Docker's own output comes through."""
    docker.says(
        "build",
        out="Step 1/1\n",
        err="progress\n",
        script='for context; do :; done; cp -r "$context" "$here/context"',
    )
    flags = ["-t", "pond:1", "--build-arg", "BASE=python:3.13-slim", "--build-arg", "TOKEN", "--no-cache"]
    assert main(["build", str(made), *flags, "--platform", "linux/arm64"]) == 0
    (call,) = docker.commands("build")
    context = call[-1]
    assert call[1:-1] == [
        *("-t", "pond:1", "-f", f"{context}/server/Dockerfile", "--platform", "linux/arm64", "--no-cache"),
        *("--build-arg", "BASE=python:3.13-slim", "--build-arg", "TOKEN"),
    ]
    assert not Path(context).exists()
    assert (docker.folder / "context" / "server" / "app.py").is_file()
    out, err = capfd.readouterr()
    assert out == "Step 1/1\npond:1 is built\n  docker run -p 8000:8000 pond:1\n"
    assert "progress\n" in err


def test_the_image_has_a_name_by_itself(
    made: Path, docker: FakeProgram, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said at the end; the folder we stand in is the one that is built."""
    monkeypatch.chdir(made)
    assert main(["build"]) == 0
    assert docker.commands("build")[0][1:3] == ["-t", "openenv-pond_env:latest"]
    assert "openenv-pond_env:latest is built" in capsys.readouterr().out


def test_an_image_is_pushed_once_it_is_built(made: Path, docker: FakeProgram) -> None:
    """Under its name; for several platforms by the build itself."""
    assert main(["build", str(made), "-t", "ghcr.io/me/pond:1", "--push"]) == 0
    assert [call[0] for call in docker.calls] == ["version", "build", "push"]
    assert docker.commands("push") == [["push", "ghcr.io/me/pond:1"]]
    several = ["--platform", "linux/amd64,linux/arm64", "--push"]
    assert main(["build", str(made), "-t", "ghcr.io/me/pond:1", *several]) == 0
    (call,) = docker.commands("buildx")
    assert call[1] == "build"
    assert "--push" in call
    assert len(docker.commands("push")) == 1


def test_another_dockerfile_can_be_named(made: Path, docker: FakeProgram, tmp_path: Path) -> None:
    """In the folder, or anywhere else."""
    write(tmp_path, {"elsewhere/Containerfile": "FROM elsewhere\n"})
    write(made, {"docker/gpu": "FROM gpu\n"})
    assert main(["build", str(made), "-f", "docker/gpu"]) == 0
    call = docker.commands("build")[0]
    assert call[call.index("-f") + 1] == f"{call[-1]}/docker/gpu"
    assert main(["build", str(made), "-f", str(tmp_path / "elsewhere" / "Containerfile")]) == 0
    call = docker.commands("build")[1]
    placed = Path(call[call.index("-f") + 1])
    assert placed.parent == Path(call[-1])


def test_wheels_replace_the_index(made: Path, docker: FakeProgram, tmp_path: Path) -> None:
    """They are in the context, and pip is told to ask nobody."""
    names = ("websockets-17-py3-none-any.whl", "uvloop-1-cp311-x.whl", "orjson-3-cp311-x.whl")
    wheels = write(tmp_path / "wheels", dict.fromkeys(names, "wheel"))
    assert main(["build", str(made), "--offline", str(wheels)]) == 0
    assert docker.commands("build")[0][-3:-1] == ["--build-arg", "PIP_NO_INDEX=1"]
    sent = {path.name for path in (docker.folder / "context" / "vendor").iterdir()}
    assert set(names) < sent
    assert len(sent) == 4


# -- mistakes ---------------------------------------------------------------------------------


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on standard error, and nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("openenv: ")
    assert err.count("\n") == 1
    return err


def test_mistakes_are_one_line_and_docker_is_not_asked(
    made: Path, docker: FakeProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says what to do; the exit code is 2."""
    empty = write(tmp_path / "empty", {"openenv.yaml": "name: empty\n"})
    index = write(
        tmp_path / "index",
        {"openenv.yaml": "name: x\n", "Dockerfile": "FROM a\n", "pyproject.toml": "[project]\n"},
    )
    wheels = write(tmp_path / "wheels", {"orjson-3-cp311-x.whl": ""})
    basis = {"openenv.yaml": "name: x\n", "Dockerfile": "FROM a\n"}
    project = write(tmp_path / "project", basis | {"pyproject.toml": "project = 3\n"})
    listed = write(tmp_path / "listed", basis | {"pyproject.toml": "[project]\ndependencies = 'x'\n"})
    for arguments, text in (
        (["nowhere"], "there is no folder 'nowhere'"),
        ([str(tmp_path)], "there is no openenv.yaml in"),
        ([str(empty)], "there is no server/Dockerfile and no Dockerfile in"),
        ([str(made), "--file", "nope"], "there is no file 'nope'; name a Dockerfile"),
        ([str(made), "--tag", ""], "expected the name of an image as --tag, got ''"),
        ([str(made), "--tag", "A b"], "expected the name of an image as --tag, got 'A b'"),
        ([str(made), "--platform", ""], "expected a platform as linux/arm64, got ''"),
        ([str(project)], "expected [project] in pyproject.toml to be a table, got 3"),
        ([str(listed)], "expected a list of dependencies in pyproject.toml, got 'x'"),
        ([str(made), "--build-arg", "=x"], "expected K=V as --build-arg, got '=x'"),
        ([str(made), "--offline", "nope"], "no such folder; fill it"),
        ([str(made), "--offline", str(made)], "no wheels in it; fill it"),
        ([str(made), "--offline", str(wheels)], "there is no wheel of uvloop, websockets in"),
        ([str(index), "--offline", str(wheels)], "does not say 'ARG PIP_NO_INDEX'"),
    ):
        assert main(["build", *arguments]) == 2, arguments
        assert text in one_line(capsys)
    assert docker.calls == []


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n", "start it: "),
        ("permission denied while trying to connect to the Docker daemon socket\n", "the group 'docker'"),
    ],
)
def test_a_daemon_that_is_down_is_one_line(
    made: Path, docker: FakeProgram, capsys: pytest.CaptureFixture[str], said: str, advice: str
) -> None:
    """With what to do about it, and Docker's own word for it; nothing is built."""
    docker.says("version", err=said, code=1)
    assert main(["build", str(made)]) == 1
    line = one_line(capsys)
    assert advice in line
    assert said.strip() in line
    assert docker.commands("build") == []


def test_a_missing_docker_is_one_line(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With where to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["build", str(made)]) == 1
    assert "expected the program 'docker' on PATH, got none; install it" in one_line(capsys)


def test_a_failed_build_is_not_pushed(
    made: Path, docker: FakeProgram, capfd: pytest.CaptureFixture[str]
) -> None:
    """Docker has said why; we say that it did."""
    docker.says("build", err="pip: no space left on device\n", code=17)
    assert main(["build", str(made), "--push"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith(
        "pip: no space left on device\n"
        "openenv: 'docker build' ended with exit code 17; see what it says above\n"
    )
    assert docker.commands("push") == []


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    assert "openenv build my_env -t my-env:1.0 --push" in capsys.readouterr().out
