"""Serve reinforcement-learning environments, and talk to them: the public names."""

from openenv.app.app import App, create_app
from openenv.environment import Environment, TaskProvider, Transform
from openenv.models import Action, EnvironmentMetadata, Observation, State, StepResult, field
from openenv.version import __version__

__all__ = [
    "Action",
    "App",
    "Environment",
    "EnvironmentMetadata",
    "Observation",
    "State",
    "StepResult",
    "TaskProvider",
    "Transform",
    "__version__",
    "create_app",
    "field",
]
