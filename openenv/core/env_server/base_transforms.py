"""Transforms made of transforms, under the path that existing environments import them from."""

from collections.abc import Iterable
from typing import Any

from openenv.core.env_server.types import Observation
from openenv.environment import Transform

__all__ = ["CompositeTransform", "NullTransform", "Observation", "Transform"]


class CompositeTransform(Transform[Any]):
    """Several transforms, one after the other.

    Args:
        transforms: In the order in which they are applied.
    """

    def __init__(self, transforms: Iterable[Transform[Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, observation: Any) -> Any:
        for transform in self.transforms:
            observation = transform(observation)
        return observation


class NullTransform(Transform[Any]):
    """Changes nothing."""

    def __call__(self, observation: Any) -> Any:
        return observation
