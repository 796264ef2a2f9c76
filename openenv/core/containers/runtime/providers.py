"""Providers, under the path that existing clients import them from."""

from typing import Any

from openenv.containers import ContainerProvider, LocalDockerProvider, RuntimeProvider
from openenv.core.paths import refusal

__all__ = ["ContainerProvider", "LocalDockerProvider", "RuntimeProvider"]


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
