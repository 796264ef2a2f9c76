"""Providers, under the path that existing clients import them from."""

from typing import Any

from openenv.containers import ContainerProvider, LocalDockerProvider, RuntimeProvider, UVProvider
from openenv.core.paths import refusal

__all__ = ["ContainerProvider", "LocalDockerProvider", "RuntimeProvider", "UVProvider"]


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
