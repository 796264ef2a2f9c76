"""The client: its type parameters are all it needs."""

from openenv import EnvClient

from .models import CodeAction, CodeObservation, CodeState


class CodingEnv(EnvClient[CodeAction, CodeObservation, CodeState]):
    """One session with a coding environment's server: one Python interpreter.

    async with CodingEnv(base_url="http://localhost:8000") as client: ...
    with CodingEnv(base_url="http://localhost:8000").sync() as client: ...
    """
