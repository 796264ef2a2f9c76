"""Serve reinforcement-learning environments, and talk to them: the public names.

The two halves are loaded when one of their names is first used, so that a trainer does not load the
server, nor a server the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openenv.environment import Environment, TaskProvider, Transform
from openenv.models import Action, EnvironmentMetadata, Observation, State, StepResult, field
from openenv.version import __version__

if TYPE_CHECKING:
    from openenv.app.app import App, create_app
    from openenv.client import EnvClient, GenericAction, GenericEnvClient, SyncEnvClient
    from openenv.layout import in_place

__all__ = [
    "Action",
    "App",
    "EnvClient",
    "Environment",
    "EnvironmentMetadata",
    "GenericAction",
    "GenericEnvClient",
    "Observation",
    "State",
    "StepResult",
    "SyncEnvClient",
    "TaskProvider",
    "Transform",
    "__version__",
    "create_app",
    "field",
    "in_place",
]

_HOMES = {
    "App": "openenv.app.app",
    "EnvClient": "openenv.client",
    "GenericAction": "openenv.client",
    "GenericEnvClient": "openenv.client",
    "SyncEnvClient": "openenv.client",
    "create_app": "openenv.app.app",
    "in_place": "openenv.layout",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
