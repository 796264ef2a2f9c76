"""The benchmark environment: the client and the types that it speaks."""

from .client import BenchmarkEnv
from .models import BenchmarkAction, BenchmarkObservation, BenchmarkState

__all__ = ["BenchmarkAction", "BenchmarkEnv", "BenchmarkObservation", "BenchmarkState"]
