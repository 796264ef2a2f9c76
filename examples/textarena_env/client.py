"""The client: its type parameters are all it needs."""

from openenv import EnvClient

from .models import TextArenaAction, TextArenaObservation, TextArenaState


class TextArenaEnv(EnvClient[TextArenaAction, TextArenaObservation, TextArenaState]):
    """One session with a TextArena environment's server: it plays all the players of one game.

    async with TextArenaEnv(base_url="http://localhost:8000") as client: ...
    with TextArenaEnv(base_url="http://localhost:8000").sync() as client: ...
    """
