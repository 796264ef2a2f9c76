"""`EnvClient`, under the path that existing clients import it from."""

from openenv.client.client import EnvClient
from openenv.models import StepResult

__all__ = ["EnvClient", "StepResult"]
