"""The runtime as a wheel: the same bytes from the same files, installable, and referred to."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from openenv.cli.vendor import refer, vendor_runtime, vendor_wheel
from openenv.errors import ConfigurationError
from openenv.version import __version__
from tests.support.peers import ROOT

WHEEL = f"openenv_runtime-{__version__}-py3-none-any.whl"
PACK = "import sys, pathlib, openenv.cli.vendor as v; v.vendor_wheel(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One wheel of this checkout."""
    return vendor_wheel(tmp_path_factory.mktemp("wheel"))


def pack(code_in: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """Have another process pack the runtime that it finds in a folder."""
    return subprocess.run(
        [
            sys.executable,
            "-I",
            "-B",
            "-c",
            f"import sys; sys.path.insert(0, {str(code_in)!r}); {PACK}",
            str(into),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_lists_every_file_with_its_digest(wheel: Path) -> None:
    """An installer refuses or warns about anything else."""
    assert wheel.name == WHEEL
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = archive.read(f"openenv_runtime-{__version__}.dist-info/RECORD").decode()
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(record))}
        assert list(rows) == names
        for name in names[:-1]:
            content = archive.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert rows[name] == (f"sha256={digest}", str(len(content)))


def test_the_wheel_holds_the_package_and_nothing_compiled(wheel: Path) -> None:
    """Every source file of the package, its template and its marker for type checkers."""
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "openenv").rglob("*.py")}
    assert sources <= names
    assert "openenv/py.typed" in names
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_every_requirement_can_be_read(wheel: Path) -> None:
    """Those of extras that have a marker of their own, too (PEP 508)."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
    found = [Requirement(line.split(": ", 1)[1]) for line in lines if line.startswith("Requires-Dist: ")]
    atheris = next(one for one in found if one.name == "atheris")
    assert atheris.marker is not None
    assert not atheris.marker.evaluate({"extra": "hub", "sys_platform": "linux"})
    assert not atheris.marker.evaluate({"extra": "test", "sys_platform": "win32"})
    assert {one.name for one in found if one.marker is None} == {"websockets", "uvloop", "orjson"}


def test_the_same_files_give_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """Neither the time, nor the order of files on the disk, nor permissions are in it."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "openenv", copy / "openenv", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
        (copy / name).chmod(0o600)
    assert pack(copy, tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / WHEEL).read_bytes() == wheel.read_bytes()


def test_an_installed_copy_packs_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """From its RECORD, without the checkout."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "openenv" / "stranger.py").write_text("# not listed in RECORD\n")
    assert pack(site, tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / WHEEL).read_bytes() == wheel.read_bytes()


def test_a_copy_without_its_distribution_is_refused(tmp_path: Path) -> None:
    """A folder that somebody copied says neither what it needs nor under which licence."""
    shutil.copytree(ROOT / "openenv", tmp_path / "openenv", ignore=shutil.ignore_patterns("__pycache__"))
    done = pack(tmp_path, tmp_path / "out")
    assert "expected a checkout of openenv-runtime or its installed distribution" in done.stderr


def test_a_wheel_that_is_there_is_left_alone_and_other_versions_go(tmp_path: Path) -> None:
    """uv looks at a wheel's time to see whether it changed."""
    (tmp_path / "openenv_runtime-0.0.1-py3-none-any.whl").write_bytes(b"old")
    (tmp_path / "numpy-2.0.0-py3-none-any.whl").write_bytes(b"not ours")
    first = vendor_wheel(tmp_path)
    before = first.stat()
    assert vendor_wheel(tmp_path) == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["numpy-2.0.0-py3-none-any.whl", WHEEL]


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "x"\n',
        '[project]\nname = "x"',
        '[tool.uv.sources]\n\n[project]\nname = "x"\n',
        '[tool.uv.sources] # mine\nother = { path = "o" }\n[project]\nname = "x"\n',
        '[tool.uv.sources]\nopenenv-runtime = { git = "https://example.invalid/r" }\n',
        '[tool.uv.sources]\n"openenv-runtime" = { path = "vendor/old.whl" } # old\nother = { path = "o" }\n',
        "[tool.uv.sources]",
    ],
)
def test_a_pyproject_refers_to_the_wheel(text: str) -> None:
    """Whatever it said before; everything else in it stays, and a second time changes nothing."""
    changed = refer(text, "vendor/new.whl")
    values = tomllib.loads(changed)
    sources = values["tool"]["uv"]["sources"]
    assert sources.pop("openenv-runtime") == {"path": "vendor/new.whl"}
    assert ("other" in text) == ("other" in sources)
    assert ("project" in text) == ("project" in values)
    assert refer(changed, "vendor/new.whl") == changed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tool.uv]\nsources = { a = 1 }\n", "write this below"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_pyproject_that_cannot_be_added_to_is_refused(text: str, complaint: str) -> None:
    """With the line to write, or what is wrong."""
    with pytest.raises(ConfigurationError, match=complaint):
        refer(text, "vendor/new.whl")


def test_an_environment_gets_the_wheel_and_refers_to_it(tmp_path: Path) -> None:
    """Both, or with a pyproject.toml that cannot be added to, neither."""
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "x"\n')
    pyproject.chmod(0o640)
    assert vendor_runtime(tmp_path) == tmp_path / "vendor" / WHEEL
    sources = tomllib.loads(pyproject.read_text())["tool"]["uv"]["sources"]
    assert sources == {"openenv-runtime": {"path": f"vendor/{WHEEL}"}}
    assert pyproject.stat().st_mode & 0o777 == 0o640

    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text("[tool.uv]\nsources = {}\n")
    with pytest.raises(ConfigurationError):
        vendor_runtime(broken)
    assert not (broken / "vendor").exists()
