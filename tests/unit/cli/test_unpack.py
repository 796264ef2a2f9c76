"""The runtime as plain files: they build the wheel that they come from, and uv is told of them."""

from __future__ import annotations

import runpy
import tomllib
import zipfile
from pathlib import Path

import pytest

from openenv.cli.unpack import UNPACKED, unpack_runtime
from openenv.cli.vendor import vendor_runtime


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An environment whose runtime is vendored and unpacked, over remains of an earlier one."""
    (tmp_path / UNPACKED).mkdir(parents=True)
    (tmp_path / UNPACKED / "old.py").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    unpack_runtime(tmp_path, vendor_runtime(tmp_path))
    return tmp_path


def contents(wheel: Path) -> dict[str, bytes]:
    """A wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_files_build_the_same_wheel(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Name for name and byte for byte, by a backend that needs nothing, and without what is beside them."""
    where = tmp_path_factory.mktemp("built")
    (original,) = (folder / "vendor").glob("*.whl")
    backend = runpy.run_path(str(folder / UNPACKED / "rebuild.py"))
    name = backend["build_wheel"](str(where))
    assert name == original.name
    assert contents(where / name) == contents(original)


def test_uv_is_told_where_they_are(folder: Path) -> None:
    """In place of the wheel, which a clone may not have."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["sources"]["openenv-runtime"] == {"path": UNPACKED}


def test_building_needs_no_index(folder: Path) -> None:
    """Nothing is required, and the backend is in the folder itself."""
    build = tomllib.loads((folder / UNPACKED / "pyproject.toml").read_text())["build-system"]
    assert build == {"requires": [], "build-backend": "rebuild", "backend-path": ["."]}


def test_nothing_binary_and_nothing_old_is_among_them(folder: Path) -> None:
    """The Hub would keep a binary file outside of git, and what was there before is another version."""
    paths = [path for path in (folder / UNPACKED).rglob("*") if path.is_file()]
    assert [path.name for path in paths if b"\0" in path.read_bytes() or path.name == "old.py"] == []
