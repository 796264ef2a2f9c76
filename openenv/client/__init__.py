"""The trainer's side: connect to an environment, reset it, step it."""

from openenv.client.client import EnvClient
from openenv.client.generic import GenericAction, GenericEnvClient
from openenv.client.sync import SyncEnvClient

__all__ = ["EnvClient", "GenericAction", "GenericEnvClient", "SyncEnvClient"]
