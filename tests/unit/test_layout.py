"""A folder as a package: by its name and from within, wherever else the name is to be found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openenv import in_place
from tests.support.peers import ROOT

INIT = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from openenv import in_place
in_place("pond", __file__)
"""


def write(folder: Path, depth: str) -> Path:
    """A package `pond` in a folder, whose server says how deep it is."""
    for name, text in {
        "__init__.py": "from .models import DEPTH\n",
        "models.py": f"DEPTH = {depth!r}\n",
        "server/__init__.py": INIT,
        "server/app.py": "from .environment import depth\n\nif __name__ == '__main__':\n    print(depth())\n",
        "server/environment.py": "from ..models import DEPTH\n\n\ndef depth():\n    return DEPTH\n",
        "server/deeper/__init__.py": "from ...models import DEPTH\n",
        "tests/conftest.py": INIT,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(params=["pond", "my-pond"])
def pond(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The package in a folder of its own name, and in one that no package can have."""
    return write(tmp_path / "clones" / request.param, "here")


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """What a Python prints that knows of no installed openenv."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(path or ""), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_server_is_imported_from_within(pond: Path) -> None:
    """As `uvicorn server.app:app` does; the package's other modules are reached relatively."""
    code = "import importlib; print(importlib.import_module('server.app').depth())"
    assert python("-c", code, cwd=pond) == "here"


def test_the_server_is_run_from_within(pond: Path) -> None:
    """`python -m server.app` runs the module's own main block, once."""
    assert python("-m", "server.app", cwd=pond) == "here"


def test_each_module_exists_once(pond: Path) -> None:
    """By whichever name it is imported, so that classes are the same and `isinstance` holds."""
    code = (
        "import server.app, server.environment, server.deeper, pond.server.app, pond.server.deeper\n"
        "from server import environment\n"
        "print(server.app is pond.server.app, environment is pond.server.environment,\n"
        "      server.deeper is pond.server.deeper, server.app.__spec__.name, environment.__name__)"
    )
    assert python("-c", code, cwd=pond) == "True True True pond.server.app pond.server.environment"


def test_the_folder_wins_over_an_installed_copy(pond: Path, tmp_path: Path) -> None:
    """Whether or not that was imported first."""
    installed = write(tmp_path / "site" / "pond", "installed").parent
    assert python("-m", "server.app", cwd=pond, path=installed) == "here"
    code = "import pond, pond.models; import server.app as app; import pond; print(app.depth(), pond.DEPTH)"
    assert python("-c", code, cwd=pond, path=installed) == "here here"


def test_an_installed_package_is_left_alone(tmp_path: Path) -> None:
    """Nothing is found otherwise than by the import system itself."""
    installed = write(tmp_path / "site" / "pond", "installed").parent
    code = "import sys; before = list(sys.meta_path); import pond.server.app; print(before == sys.meta_path)"
    assert python("-c", code, cwd=tmp_path, path=installed) == "True"
    assert python("-m", "pond.server.app", cwd=tmp_path, path=installed) == "installed"


def test_another_folders_server_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A later environment that knows nothing of this is imported as it always was."""
    write(tmp_path / "first", "first")
    other = tmp_path / "second" / "server"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "app.py").write_text("WHO = 'second'\n")
    code = (
        "import sys; sys.path.insert(0, 'first'); import server.app\n"
        "for name in [name for name in sys.modules if name.startswith('server')]: del sys.modules[name]\n"
        "sys.path[0] = 'second'; import server.app; print(server.app.WHO)"
    )
    assert python("-c", code, cwd=tmp_path) == "second"


def test_the_code_is_imported_anew_after_it_was_forgotten(pond: Path) -> None:
    """As a reload does: what was edited in between is seen."""
    code = (
        "import sys, pathlib, importlib, server.app\n"
        "pathlib.Path('models.py').write_text('DEPTH = \"edited\"')\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] in ('server', 'pond')]:\n"
        "    del sys.modules[name]\n"
        "importlib.invalidate_caches(); print(importlib.import_module('server.app').depth())"
    )
    assert python("-c", code, cwd=pond) == "edited"


def test_a_missing_module_is_said_to_be_missing(pond: Path) -> None:
    """Under the name by which it was asked for."""
    code = "try:\n    import server.nope\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert python("-c", code, cwd=pond) == "No module named 'server.nope'"


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_pytest_finds_the_package_without_an_installation(pond: Path, mode: str) -> None:
    """In either of its ways of importing; it imports the `__init__.py` above the tests, too."""
    (pond / "tests" / "test_depth.py").write_text(
        "from pond.server.app import depth\n\n\ndef test_depth():\n    assert depth() == 'here'\n"
    )
    (pond / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    shown = python("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--import-mode={mode}", cwd=pond)
    assert "1 passed" in shown


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    """With the folder's name, rather than by a failing import later."""
    (tmp_path / "server").mkdir()
    with pytest.raises(ImportError, match=r"but it has no __init__\.py"):
        in_place("pond", str(tmp_path / "server" / "__init__.py"))
