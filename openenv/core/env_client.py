"""`EnvClient`, under the path that existing clients import it from."""

from openenv.client.client import EnvClient

__all__ = ["EnvClient"]
