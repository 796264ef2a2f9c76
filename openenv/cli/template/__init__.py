"""The client of my_env, and the types that it speaks."""

from .client import MyEnv
from .models import MyAction, MyObservation

__all__ = ["MyAction", "MyEnv", "MyObservation"]
