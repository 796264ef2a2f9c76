"""The clients without classes of their own, under the path that existing code imports them from."""

from openenv.client.client import EnvClient
from openenv.client.generic import GenericAction, GenericEnvClient
from openenv.models import StepResult

__all__ = ["EnvClient", "GenericAction", "GenericEnvClient", "StepResult"]
