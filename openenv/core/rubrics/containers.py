"""Rubrics made of rubrics, under the path that existing environments import them from."""

from openenv.rubrics import Gate, RubricDict, RubricList, Sequential, WeightedSum

__all__ = ["Gate", "RubricDict", "RubricList", "Sequential", "WeightedSum"]
