"""From what a person names to an app: `module:attribute`, a file, a folder with `openenv.yaml`, or nothing.

In: the target's text. Out: a `Target`, which can load its app, load it anew, and say what to watch; or a
`ConfigurationError` that says what to do. It knows nothing about serving.

Existing environments say `app: server.app:app` and are written for one of three ways to be imported: from
their own folder (`from models import X`), as a package from the folder above it (`from ..models import X`),
or installed. All three are tried in that order. A try that fails is undone, so that a half-import does not
poison the next, and if all fail, the error of the one that came furthest is shown: an error inside the
author's files tells more than that there is no module named `server`.

Limits: what the author's code did while it was imported, outside `sys.modules` and `sys.path`, stays done.
Extension modules cannot be imported twice and are left alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from openenv.app.app import App, create_app
from openenv.app.foreign import is_asgi, to_app
from openenv.environment import Environment
from openenv.errors import ConfigurationError, ManifestError
from openenv.manifest import MANIFEST_NAME, Manifest, parse

__all__ = ["Target", "find_target", "read_manifest"]

_DEFAULT_ATTRIBUTE = "app"
_OWN_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class _Try:
    """One way to import the module: its name, with a folder in front of the import path or none."""

    module: str
    folder: Path | None


@dataclass(slots=True)
class Target:
    """Something that can be served.

    Attributes:
        text: As a person named it.
        folder: The environment's own folder, or the one that the module is looked for in.
        module: Dotted name, as importable from `folder`.
        attribute: Dotted name within the module.
        port: What the manifest says, or None.
    """

    text: str
    folder: Path
    module: str
    attribute: str
    port: int | None = None
    _package: str | None = None
    _is_environment_folder: bool = False
    _loaded_by: _Try | None = field(default=None)
    _roots: tuple[Path, ...] = field(default=())

    def load(self) -> App:
        """Import the app.

        Raises:
            ConfigurationError: It cannot be imported, or is nothing that can be served.
        """
        # So that `openenv_core`, the incumbent's old name, can be imported from a checkout too.
        importlib.import_module("openenv.core")
        failures: list[_Failure] = []
        for one in self._tries():
            with _undone_on_failure(self.folder, one):
                try:
                    module = importlib.import_module(one.module)
                except (Exception, SystemExit) as error:
                    failures.append(_Failure(one, error, _rank(error, one, self.folder)))
                    raise _Undo from error
            if any(failure.one is one for failure in failures):
                continue
            self._loaded_by = one
            self._roots = self._import_roots(module)
            return self._app_from(module)
        furthest = max(failures, key=lambda failure: failure.rank)
        if isinstance(furthest.error, ConfigurationError):
            # What `create_app` refused says itself what to do.
            raise furthest.error
        raise ConfigurationError(self._import_refusal(furthest)) from furthest.error

    def reload(self) -> App:
        """Import the app anew: its own modules are forgotten first, those it uses are not.

        Raises:
            ConfigurationError: As `load`.
        """
        for name, path in list(_modules_below(self._roots)):
            del sys.modules[name]
            # A compiled file counts as current if the source's time, in whole seconds, and size are the
            # same; an edit right after the first import is then not seen.
            with suppress(OSError, NotImplementedError):
                os.unlink(importlib.util.cache_from_source(path))
        importlib.invalidate_caches()
        return self.load()

    def watched_folders(self) -> list[Path]:
        """The folders whose files decide what is served; found without importing anything of the author's."""
        folders = [self.folder]
        if not self._is_environment_folder:
            sys.path.insert(0, str(self.folder))
            try:
                spec = importlib.util.find_spec(self.module.partition(".")[0])
            except (ImportError, ValueError):
                spec = None
            finally:
                sys.path.remove(str(self.folder))
            for place in (spec.submodule_search_locations or ()) if spec is not None else ():
                path = Path(place).resolve()
                if not path.is_relative_to(self.folder):
                    folders.append(path)
        return folders

    def _tries(self) -> list[_Try]:
        if self._loaded_by is not None:
            return [self._loaded_by]
        tries = [_Try(self.module, self.folder)]
        if self.folder.name.isidentifier():
            tries.append(_Try(f"{self.folder.name}.{self.module}", self.folder.parent))
        if self._package is not None:
            tries.append(_Try(f"{self._package}.{self.module}", None))
        return tries

    def _import_roots(self, module: ModuleType) -> tuple[Path, ...]:
        """The folders and files that hold the author's own code."""
        if self._is_environment_folder:
            return (self.folder, *_places(sys.modules[module.__name__.partition(".")[0]]))
        return _places(sys.modules[module.__name__.partition(".")[0]])

    def _app_from(self, module: ModuleType) -> App:
        value: Any = module
        for name in self.attribute.split("."):
            try:
                value = getattr(value, name)
            except AttributeError:
                raise ConfigurationError(self._missing_attribute(module, name)) from None
        return _to_app(value, f"{self.attribute!r} in {module.__name__}")

    def _missing_attribute(self, module: ModuleType, name: str) -> str:
        found = [key for key, value in vars(module).items() if _can_be_served(value, module)]
        hint = (
            f"it has {' and '.join(found)}: name one, as in {self.module}:{found[0]}"
            if found
            else "define app = create_app(...) there, or name what is to be served"
        )
        return f"{module.__name__} has no {name!r}; {hint}"

    def _import_refusal(self, failure: _Failure) -> str:
        error = failure.error
        named = _describe(error, self.folder)
        if failure.rank == _NOT_FOUND:
            advice = (
                f"check 'app:' in {self.folder / MANIFEST_NAME}"
                if self._is_environment_folder
                else f"name a module found from {self.folder}, or a folder with {MANIFEST_NAME}"
            )
        elif isinstance(error, ModuleNotFoundError) and error.name is not None:
            advice = f"install what {error.name.partition('.')[0]!r} comes from, or mend the import"
        else:
            advice = "mend it, or use --debug for the traceback"
        return f"cannot import {failure.one.module}: {named}; {advice}"


def find_target(text: str | None) -> Target:
    """Understand what a person named. Nothing of the author's is imported yet.

    Args:
        text: `module:attribute`, a module (its `app`), a path to a .py file (with or without
            `:attribute`), a folder with `openenv.yaml`, or None for the folder we stand in.

    Raises:
        ConfigurationError: There is no such file or folder, or its manifest cannot be read.
    """
    if text is None or os.path.isdir(text):
        return _folder_target(Path(text or ".").resolve(), text)
    path, _, attribute = text.rpartition(":") if ":" in text else (text, "", "")
    if path.endswith(".py"):
        return _file_target(Path(path).resolve(), attribute or None, text)
    if os.sep in text:
        raise ConfigurationError(
            f"there is no folder {text!r}; name one with {MANIFEST_NAME}, a .py file, or module:attribute"
        )
    module, attribute = (path, attribute) if ":" in text else (text, _DEFAULT_ATTRIBUTE)
    dotted = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
    if not re.fullmatch(dotted, module) or not re.fullmatch(dotted, attribute):
        raise ConfigurationError(f"expected module:attribute, a .py file or a folder, got {text!r}")
    return Target(text, Path.cwd(), module, attribute)


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's `openenv.yaml`.

    Raises:
        ManifestError: There is none, or it cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ManifestError(
            f"there is no {MANIFEST_NAME} in {folder}; name a folder that has one, or module:attribute"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read {path}: {error}") from error
    return parse(text, str(path))


def _folder_target(folder: Path, text: str | None) -> Target:
    manifest = read_manifest(folder)
    module, _, attribute = manifest.app.partition(":")
    package = re.sub(r"\W", "_", manifest.name) if manifest.name else None
    return Target(text or ".", folder, module, attribute, manifest.port, package, True)


def _file_target(path: Path, attribute: str | None, text: str) -> Target:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r}; name a .py file that exists")
    if not path.stem.isidentifier():
        raise ConfigurationError(f"{path.name!r} cannot be imported: its name is no identifier; rename it")
    return Target(text, path.parent, path.stem, attribute or _DEFAULT_ATTRIBUTE)


# -- importing ------------------------------------------------------------------------------

_NOT_FOUND, _WRONG_WAY, _AUTHORS_ERROR = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that failed, and how far it came."""

    one: _Try
    error: BaseException
    rank: int


class _Undo(Exception):
    """Takes a failed try out of the context that undoes it."""


@contextmanager
def _undone_on_failure(folder: Path, one: _Try) -> Iterator[None]:
    """Import with the try's folder in front; on failure nothing of the author's stays imported."""
    path_before = list(sys.path)
    modules_before = set(sys.modules)
    if one.folder is not None and sys.path[:1] != [str(one.folder)]:
        sys.path.insert(0, str(one.folder))
    importlib.invalidate_caches()
    try:
        yield
    except _Undo:
        sys.path[:] = path_before
        top = one.module.partition(".")[0]
        own = {name for name, _ in _modules_below((folder,))}
        for name in set(sys.modules) - modules_before:
            if name in own or name == top or name.startswith(f"{top}."):
                del sys.modules[name]


def _modules_below(roots: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Name and file of every imported Python module that lies in one of the folders, ours left out."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py") or name == "__main__":
            continue
        resolved = Path(path).resolve()
        if resolved.is_relative_to(_OWN_PACKAGE):
            continue
        for root in roots:
            # Another package's code may lie in a virtual environment inside the folder.
            if resolved.is_relative_to(root) and "site-packages" not in resolved.relative_to(root).parts:
                yield name, path
                break


def _places(package: ModuleType) -> tuple[Path, ...]:
    locations = getattr(package, "__path__", None)
    if locations is not None:
        return tuple(Path(place).resolve() for place in locations)
    return (Path(package.__file__).resolve(),) if package.__file__ else ()


def _rank(error: BaseException, one: _Try, folder: Path) -> int:
    """How far an import came before it failed."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        if one.module == error.name or one.module.startswith(f"{error.name}."):
            return _NOT_FOUND
        top = error.name.partition(".")[0]
        if (folder / f"{top}.py").exists() or (folder / top).is_dir() or top == folder.name:
            # It is there, but not to be found under this name in this try.
            return _WRONG_WAY
    if isinstance(error, ImportError) and "relative import" in str(error):
        return _WRONG_WAY
    return _AUTHORS_ERROR


def _describe(error: BaseException, folder: Path) -> str:
    """`ModuleNotFoundError: No module named 'numpy' (server/app.py, line 3)`."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError):
        # Its own text names the file, without the folder.
        return text
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not Path(frame.filename).is_relative_to(_OWN_PACKAGE)
    ]
    inside = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(folder)]
    if not inside:
        return text
    path = Path(inside[-1].filename).resolve().relative_to(folder)
    return f"{text} ({path}, line {inside[-1].lineno})"


# -- what can be served ---------------------------------------------------------------------


def _can_be_served(value: object, module: ModuleType) -> bool:
    if isinstance(value, App) or is_asgi(value):
        return True
    return _is_environment_class(value) and getattr(value, "__module__", None) == module.__name__


def _is_environment_class(value: object) -> bool:
    if not isinstance(value, type) or value is Environment:
        return False
    return issubclass(value, Environment) or (hasattr(value, "reset") and hasattr(value, "step"))


def _to_app(value: Any, what: str) -> App:
    """The app that a value is, makes, or can be made into."""
    if isinstance(value, App):
        return value
    if _is_environment_class(value):
        return create_app(value)
    if is_asgi(value):
        return to_app(value)
    if inspect.isfunction(value) and not _required_parameters(value):
        made = value()
        if isinstance(made, App):
            return made
        if is_asgi(made):
            return to_app(made)
        raise ConfigurationError(
            f"expected {what} to give an app, got {type(made).__name__}; return create_app(...)"
        )
    if hasattr(value, "reset") and hasattr(value, "step"):
        name = type(value).__name__
        raise ConfigurationError(
            f"expected {what} to be an app or an environment class, got an instance of {name}; "
            f"every session needs its own, so name the class, or write app = create_app({name})"
        )
    got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    raise ConfigurationError(
        f"expected {what} to be an app or an environment class, got {got}; "
        "write app = create_app(YourEnvironment)"
    )


def _required_parameters(function: Any) -> list[str]:
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
