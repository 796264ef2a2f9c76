"""Starting servers for a client, and stopping them: Docker containers and ``uv`` projects."""

from openenv.containers.docker import LocalDockerProvider
from openenv.containers.provider import ContainerProvider, RuntimeProvider
from openenv.containers.uv import UVProvider

__all__ = ["ContainerProvider", "LocalDockerProvider", "RuntimeProvider", "UVProvider"]
