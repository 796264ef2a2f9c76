"""`Rubric`, under the path that existing environments import it from."""

from openenv.rubrics import Rubric

__all__ = ["Rubric"]
