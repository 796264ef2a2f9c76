"""The runtime as plain files, beside its wheel, for those who clone a Space.

In: a folder with the wheel in `vendor/`. Out: the wheel's files in `vendor/openenv-runtime/`, which can be
built again without a package index, and a `pyproject.toml` by which uv takes the runtime from there.

The Hub keeps binary files outside of git: where git-lfs is not installed, a clone has a few lines of text in
place of the wheel. A Space's own build has the wheel itself, and uses it.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from openenv.cli.vendor import DISTRIBUTION, VENDOR_FOLDER, refer

__all__ = ["UNPACKED", "unpack_runtime"]

UNPACKED = f"{VENDOR_FOLDER}/{DISTRIBUTION}"
_BACKEND = "rebuild"
_PYPROJECT = f"""\
# The runtime's wheel, unpacked; {_BACKEND}.py packs it again.
[build-system]
requires = []
build-backend = "{_BACKEND}"
backend-path = ["."]
"""
_CONFTEST = """\
\"\"\"Nothing here is a test of the environment's.\"\"\"

collect_ignore_glob = ["*"]
"""


def unpack_runtime(folder: Path, wheel: Path) -> None:
    """Unpack the wheel, and have the folder's `pyproject.toml` refer to what was unpacked.

    Args:
        folder: The environment's, with a `pyproject.toml`.
        wheel: In its `vendor/`.

    Raises:
        ConfigurationError: `pyproject.toml` cannot be added to.
    """
    target = folder / UNPACKED
    shutil.rmtree(target, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (target / "pyproject.toml").write_text(_PYPROJECT, "utf-8")
    (target / "conftest.py").write_text(_CONFTEST, "utf-8")
    shutil.copyfile(Path(__file__).with_name(f"{_BACKEND}.py"), target / f"{_BACKEND}.py")
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(refer(pyproject.read_text("utf-8"), UNPACKED, "pyproject.toml"), "utf-8")
