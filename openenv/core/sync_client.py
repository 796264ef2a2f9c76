"""`SyncEnvClient`, under the path that existing code imports it from."""

from openenv.client.sync import SyncEnvClient

__all__ = ["SyncEnvClient"]
