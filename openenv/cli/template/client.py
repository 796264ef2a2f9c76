"""The client: its types are all that it needs."""

from openenv import EnvClient, State

from .models import MyAction, MyObservation


class MyEnv(EnvClient[MyAction, MyObservation, State]):
    """One session with a server of my_env."""
