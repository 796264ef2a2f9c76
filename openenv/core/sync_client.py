"""`SyncEnvClient`, under the path that existing code imports it from."""

from openenv.client.sync import SyncEnvClient
from openenv.models import StepResult

__all__ = ["StepResult", "SyncEnvClient"]
