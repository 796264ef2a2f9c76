"""Rubrics over whole episodes, under the path that existing environments import them from."""

from openenv.rubrics import ExponentialDiscountingTrajectoryRubric, TrajectoryRubric

__all__ = ["ExponentialDiscountingTrajectoryRubric", "TrajectoryRubric"]
