"""`UVProvider`, under the path that existing clients import it from."""

from openenv.containers.uv import UVProvider

__all__ = ["UVProvider"]
