"""The clients without classes of their own, under the path that existing code imports them from."""

from openenv.client.generic import GenericAction, GenericEnvClient

__all__ = ["GenericAction", "GenericEnvClient"]
