"""The client: its type parameters are all it needs."""

from openenv import EnvClient

from .models import BenchmarkAction, BenchmarkObservation, BenchmarkState


class BenchmarkEnv(EnvClient[BenchmarkAction, BenchmarkObservation, BenchmarkState]):
    """One session with a benchmark environment's server.

    async with BenchmarkEnv(base_url="http://localhost:8000") as client: ...
    with BenchmarkEnv(base_url="http://localhost:8000").sync() as client: ...
    """
