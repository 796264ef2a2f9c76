"""A model that does not fit, made by author code that let the error out.

In: what was raised. Out: what the model said of its fields, as replies carry it. pydantic is never imported:
its error is recognised by its name.
"""

from __future__ import annotations

from typing import Any

from openenv.errors import SchemaError
from openenv.kinds import fault_of

__all__ = ["faults_in"]


def faults_in(error: BaseException | None) -> list[dict[str, Any]] | None:
    """The faults as `SchemaError.errors` has them; None of any other error."""
    if isinstance(error, SchemaError):
        return error.errors
    cls = type(error)
    is_foreign = cls.__name__ == "ValidationError" and cls.__module__.startswith("pydantic")
    if is_foreign and isinstance(error, ValueError):
        return fault_of(error, None).lines
    return None
