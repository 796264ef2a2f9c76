"""What a person may name, and how a failed import is told; nothing is served."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openenv.cli.targets import find_target
from openenv.errors import ConfigurationError, ManifestError
from tests.support.authored import write_environment


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts `sys.path` and `sys.modules` back, which loading a target changes for good."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "module", "attribute"),
    [
        ("my_env.server.app:app", "my_env.server.app", "app"),
        ("my_env", "my_env", "app"),
        ("a.b:C.D", "a.b", "C.D"),
    ],
)
def test_module_and_attribute_are_taken_apart(text: str, module: str, attribute: str) -> None:
    """Without an attribute it is `app`."""
    target = find_target(text)
    assert (target.module, target.attribute, target.port) == (module, attribute, None)


@pytest.mark.parametrize("text", ["", ":", "a:", ":b", "a b:c", "a..b:c", "1a:b", "a:b:c", "a-b:c"])
def test_what_is_no_target_is_refused(text: str) -> None:
    """One line that says what a target looks like."""
    with pytest.raises(ConfigurationError, match=r"expected module:attribute, a \.py file or a folder, got"):
        find_target(text)


def test_a_folder_needs_a_manifest(tmp_path: Path) -> None:
    """Its `app` and `port` are what is served."""
    with pytest.raises(ManifestError, match=r"there is no openenv.yaml in"):
        find_target(str(tmp_path))
    (tmp_path / "openenv.yaml").write_text("name: x\napp: here:app\nport: 9\n")
    target = find_target(str(tmp_path))
    assert (target.module, target.attribute, target.port) == ("here", "app", 9)


def test_a_failed_try_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the own-folder try failed halfway, its half-imported modules are gone."""
    folder = tmp_path / "half_env"
    (folder / "server").mkdir(parents=True)
    write_environment(folder, name="models")
    for name in ("__init__.py", "server/__init__.py"):
        (folder / name).write_text("")
    (folder / "server" / "app.py").write_text("from ..models import app\n")
    (folder / "openenv.yaml").write_text("name: half_env\n")
    app = find_target(str(folder)).load()
    assert app.environment_name == "Talk"
    assert "half_env.server.app" in sys.modules
    assert "server" not in sys.modules
    assert str(folder) not in sys.path


def test_reload_imports_the_authors_modules_anew_and_no_others(tmp_path: Path) -> None:
    """Same size, same second: the change is seen all the same."""
    path = write_environment(tmp_path, "one", name="talk_again")
    target = find_target(f"{path}:app")
    first = target.load()
    json_before = sys.modules["json"]
    write_environment(tmp_path, "two", name="talk_again")
    second = target.reload()
    assert first is not second
    assert sys.modules["json"] is json_before
    factory = second.definition.environment.factory
    assert factory().reset().text == "two"


def test_a_module_is_watched_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder one stands in, and the package's if that is elsewhere."""
    package = tmp_path / "elsewhere" / "far_env"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('must not be imported')")
    monkeypatch.syspath_prepend(str(package.parent))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert find_target("far_env:app").watched_folders() == [here, package]
    assert "far_env" not in sys.modules


def test_an_error_inside_the_authors_file_names_file_and_line(tmp_path: Path) -> None:
    """The innermost line of the author's, not one of the library it called."""
    (tmp_path / "breaking.py").write_text("import json\n\nvalue = json.loads('{')\n")
    with pytest.raises(ConfigurationError, match=r"JSONDecodeError: .*\(breaking\.py, line 3\); mend it"):
        find_target(str(tmp_path / "breaking.py")).load()


def test_what_create_app_refuses_is_shown_as_it_says_it(tmp_path: Path) -> None:
    """Its own message tells what to do; nothing is put around it."""
    path = write_environment(tmp_path, concurrent=False, name="greedy")
    path.write_text(path.read_text().replace("create_app(Talk)", "create_app(Talk, max_concurrent_envs=9)"))
    with pytest.raises(ConfigurationError, match=r"^Environment 'Talk' is not marked"):
        find_target(str(path)).load()


def test_a_factory_must_give_an_app(tmp_path: Path) -> None:
    """A function without arguments is called; what it gives must be an app."""
    (tmp_path / "odd_factory.py").write_text("def make():\n    return 1\n")
    with pytest.raises(ConfigurationError, match="to give an app, got int; return create_app"):
        find_target(f"{tmp_path / 'odd_factory.py'}:make").load()
