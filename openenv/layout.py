"""An environment's folder as a package, whichever way it is started.

In: the package's name and a file of one of its subfolders. Out: an import system in which `my_env` is the
folder around that file, and `server` is its `my_env.server`. It knows nothing about what they hold.

An environment's folder is the package itself: `my_env/models.py` is `my_env.models` once installed. But
people also start it from within, `uvicorn server.app:app` or `python -m server.app`, or clone it into a
folder of another name. Then `server` is a package of its own, beyond which `from ..models import MyAction`
cannot reach, and there is no `my_env`, or only one that was installed some other day. With this, relative
imports are right in all of these, and each module exists once, however many names lead to it.

Limits: per process, and by name: the last folder that claims a name has it. Reference: the import system
(https://docs.python.org/3/reference/import.html#finders-and-loaders).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import cast

__all__ = ["in_place"]


def in_place(package: str, file: str) -> None:
    """Have `import PACKAGE` mean the folder that holds this file's folder, wherever else there is one.

    The one line of `server/__init__.py` and of `tests/conftest.py`: `in_place("my_env", __file__)`. Once
    installed, the package was imported from that folder already, and nothing is done. If it was imported from
    elsewhere, those modules are forgotten, and imported from here when they are next asked for.

    In a `server/__init__.py` that was imported as `server`, what is imported from `server` from now on is
    what the package has: `server.app` is `my_env.server.app`.

    Args:
        package: Name of the package, without a dot.
        file: `__file__` of a module in a subfolder of the package's folder.

    Raises:
        ImportError: There is no `__init__.py` in that folder, so it is no package.
    """
    path = Path(file).resolve()
    folder = path.parent.parent
    if not (folder / "__init__.py").is_file():
        raise ImportError(f"expected {folder} to be the package {package!r}, but it has no __init__.py")
    loaded = sys.modules.get(package)
    if loaded is None or folder not in _places(loaded):
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        _claim(_FolderFinder(package, folder))
    short = path.parent.name
    if path.name == "__init__.py" and path.parent in _places(sys.modules.get(short)):
        _claim(_AliasFinder(short, f"{package}.{short}", path.parent))


class _Finder(MetaPathFinder):
    """Something that finds modules by one name."""

    def __init__(self, name: str) -> None:
        self.name = name


class _FolderFinder(_Finder):
    """Finds one package, in one folder; what is in it, the import system finds by itself."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.name:
            init = self._folder / "__init__.py"
            return spec_from_file_location(fullname, init, submodule_search_locations=[str(self._folder)])
        # So pytest imports the __init__.py above a test if the folder's name is none of Python's: `my-env`.
        if fullname == "__init__" and str(self._folder) in (sys.path if path is None else path):
            return _alias(fullname, self.name)
        return None


class _AliasFinder(_Finder):
    """Finds what is below one package below another one."""

    def __init__(self, name: str, original: str, folder: Path) -> None:
        super().__init__(name)
        self._original = original
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{self.name}."):
            return None
        if self._folder not in _places(sys.modules.get(self.name)):
            # Another environment's `server` has been imported since.
            return None
        return _alias(fullname, self._original + fullname.removeprefix(self.name))


def _alias(name: str, original_name: str) -> ModuleSpec | None:
    """What finds a module by another name than its own."""
    original = find_spec(original_name)
    if original is None:
        return None
    alias = spec_from_loader(name, _AliasLoader(original), origin=original.origin)
    assert alias is not None
    alias.has_location = original.has_location
    return alias


class _AliasLoader(InspectLoader):
    """Gives a module that is imported by its own name."""

    def __init__(self, original: ModuleSpec) -> None:
        self._original = original

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(self._original.name)

    def exec_module(self, module: ModuleType) -> None:
        # It ran when it was imported. The import system has just told it that it has another name.
        module.__spec__ = self._original

    # `python -m server.app` runs the code under a name of its own.

    def get_code(self, fullname: str) -> CodeType | None:
        return cast(InspectLoader, self._original.loader).get_code(self._original.name)

    def get_source(self, fullname: str) -> str | None:
        return cast(InspectLoader, self._original.loader).get_source(self._original.name)

    def is_package(self, fullname: str) -> bool:
        return self._original.submodule_search_locations is not None


def _places(module: ModuleType | None) -> list[Path]:
    return [Path(place).resolve() for place in getattr(module, "__path__", ())]


def _claim(finder: _Finder) -> None:
    """Put a finder in front of everything, installed copies and links included, in place of its like."""
    sys.meta_path[:] = [
        other
        for other in sys.meta_path
        if not (type(other) is type(finder) and getattr(other, "name", None) == finder.name)
    ]
    sys.meta_path.insert(0, finder)
