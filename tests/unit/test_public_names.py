"""What `import openenv` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import openenv


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    """`__all__` is the contract."""
    assert openenv.__all__ == sorted(openenv.__all__)
    for name in openenv.__all__:
        assert getattr(openenv, name) is not None
        assert name in dir(openenv)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = openenv.nope


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_the_client_loads_no_server_and_the_server_no_client() -> None:
    """A trainer does not pay for the other half, nor does a worker."""
    client = loaded_by("from openenv import EnvClient")
    server = loaded_by("from openenv import create_app; create_app")
    assert not [
        name for name in client if name.startswith(("openenv.app", "openenv.server", "openenv.session"))
    ]
    assert not [name for name in server if name.startswith(("openenv.client", "openenv.server"))]


@pytest.mark.parametrize("name", ["pydantic", "numpy", "yaml", "huggingface_hub", "fastapi", "uvloop"])
def test_nothing_heavy_is_loaded(name: str) -> None:
    """Optional packages are recognised by shape, and uvloop is the shell's."""
    assert name not in loaded_by("import openenv; openenv.create_app; openenv.EnvClient")


def test_importing_everything_stays_within_its_budget_of_modules() -> None:
    """Modules are counted, since seconds are noise on a shared machine."""
    assert len(loaded_by("import openenv")) <= 300
    assert len(loaded_by("import openenv; openenv.create_app; openenv.EnvClient")) <= 340
