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
    from openenv.client.mcp import MCPToolClient
    from openenv.layout import in_place
    from openenv.mcp import CallToolAction, CallToolObservation, ListToolsAction, MCPEnvironment, tool
    from openenv.rubrics import Rubric

__all__ = [
    "Action",
    "App",
    "CallToolAction",
    "CallToolObservation",
    "EnvClient",
    "Environment",
    "EnvironmentMetadata",
    "GenericAction",
    "GenericEnvClient",
    "ListToolsAction",
    "MCPEnvironment",
    "MCPToolClient",
    "Observation",
    "Rubric",
    "State",
    "StepResult",
    "SyncEnvClient",
    "TaskProvider",
    "Transform",
    "__version__",
    "create_app",
    "field",
    "in_place",
    "tool",
]

_HOMES = {
    "App": "openenv.app.app",
    "CallToolAction": "openenv.mcp",
    "CallToolObservation": "openenv.mcp",
    "EnvClient": "openenv.client",
    "GenericAction": "openenv.client",
    "GenericEnvClient": "openenv.client",
    "ListToolsAction": "openenv.mcp",
    "MCPEnvironment": "openenv.mcp",
    "MCPToolClient": "openenv.client.mcp",
    "Rubric": "openenv.rubrics",
    "SyncEnvClient": "openenv.client",
    "create_app": "openenv.app.app",
    "tool": "openenv.mcp",
    "in_place": "openenv.layout",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if name in ("AutoAction", "AutoEnv"):
        raise ImportError(
            f"openenv-runtime has no {name}: import the environment's own client, or use "
            "GenericEnvClient.from_env(name); see openenv/core/README.md"
        )
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
