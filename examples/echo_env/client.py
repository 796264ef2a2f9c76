"""The client: its type parameters are all it needs."""

from openenv import EnvClient, State

from .models import EchoAction, EchoObservation


class EchoEnv(EnvClient[EchoAction, EchoObservation, State]):
    """One session with an echo environment's server.

    async with EchoEnv(base_url="http://localhost:8000") as client: ...
    with EchoEnv(base_url="http://localhost:8000").sync() as client: ...
    """
