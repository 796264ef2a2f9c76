"""`StepResult`, under the path that existing clients import it from."""

from openenv.models import StepResult

__all__ = ["StepResult"]
