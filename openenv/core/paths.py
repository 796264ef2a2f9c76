"""Import paths of the incumbent that are no files of ours: its old name, and what we do not have.

In: a dotted name on its way through the import system. Out: for ``openenv_core...`` the module of the same
path below ``openenv.core``, the very same object, so that a class is one class under both names; for a path
in `ABSENT` an ImportError that says so and why. Everything else is left to Python.

Limits: ``import openenv_core`` itself finds the file of that name that our wheel installs. From a checkout
that is on the path and not installed it works once ``openenv.core`` was imported, as ``openenv serve`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["ABSENT", "OLD_NAME", "install", "refusal"]

OLD_NAME = "openenv_core"
_CORE = "openenv.core"

ABSENT: dict[str, str] = {
    "containers.runtime.aca_provider": "cloud sandboxes are not part of this runtime",
    "containers.runtime.daytona_provider": "cloud sandboxes are not part of this runtime",
    "containers.runtime.hf_sandbox_provider": "cloud sandboxes are not part of this runtime",
    "containers.runtime.modal_provider": "cloud sandboxes are not part of this runtime",
    "containers.runtime.novita_provider": "cloud sandboxes are not part of this runtime",
    "evals": "evaluation harnesses are not part of this runtime",
    "harness": "agent harnesses are not part of this runtime",
}
"""Path below ``openenv.core`` -> why it is not here."""


_GONE: dict[str, str] = {
    **dict.fromkeys(
        ("DockerSwarmProvider", "KubernetesProvider"), "providers here are LocalDockerProvider and UVProvider"
    ),
    **{name: why for name, why in ABSENT.items() if "." not in name},
}


def refusal(module: str, name: str) -> Exception:
    """The error for a name that a module of the incumbent has and ours has not."""
    if name in _GONE:
        return ImportError(
            f"{module} has no {name} in openenv-runtime: {_GONE[name]}; see openenv/core/README.md"
        )
    return AttributeError(f"module {module!r} has no attribute {name!r}")


class _Finder(MetaPathFinder):
    """Asked before all others about names that begin with ours."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(f"{OLD_NAME}."):
            real = _CORE + fullname.removeprefix(OLD_NAME)
            return ModuleSpec(fullname, _Same(real), is_package=True)
        if fullname.startswith(f"{_CORE}."):
            name = fullname.removeprefix(f"{_CORE}.")
            if name in ABSENT:
                text = f"{fullname} is not in openenv-runtime: {ABSENT[name]}; see openenv/core/README.md"
                raise ModuleNotFoundError(text, name=fullname)
        return None


class _Same(Loader):
    """Gives a module that is there already under another name."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's own over it.
        module.__spec__ = self._spec


class _OldNameFinder(MetaPathFinder):
    """Asked after all others about the old name itself: only where no file has it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Same(_CORE), is_package=True) if fullname == OLD_NAME else None


def install() -> None:
    """Teach this process the paths. Doing it again changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        sys.meta_path.append(_OldNameFinder())
