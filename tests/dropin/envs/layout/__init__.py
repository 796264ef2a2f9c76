"""A counter."""

from .client import CounterEnv
from .models import CounterAction, CounterObservation

__all__ = ["CounterAction", "CounterEnv", "CounterObservation"]
