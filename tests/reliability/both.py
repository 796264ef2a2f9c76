"""One environment for our server and for the incumbent's, written in the incumbent's way.

Served by either as ``tests.reliability.both:app``; `BOTH_CAPACITY` is the number of sessions, for each
worker of the incumbent and for all of ours.
"""

import os
import time
from typing import Any

from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class BothAction(Action):
    """How long to take."""

    seconds: float = 0.0


class BothObservation(Observation):
    """Which process answers."""

    pid: int = 0


class BothEnvironment(Environment):  # type: ignore[type-arg, unused-ignore]
    """Says where it runs."""

    SUPPORTS_CONCURRENT_SESSIONS: bool = True

    def reset(self, **kwargs: Any) -> BothObservation:
        """Begin."""
        return BothObservation(pid=os.getpid())

    def step(self, action: BothAction, **kwargs: Any) -> BothObservation:  # type: ignore[override, unused-ignore]
        """Sleep."""
        time.sleep(action.seconds)
        return BothObservation(pid=os.getpid())

    @property
    def state(self) -> State:
        """Nothing in particular."""
        return State()


app = create_app(
    BothEnvironment,
    BothAction,
    BothObservation,
    env_name="both",
    max_concurrent_envs=int(os.environ.get("BOTH_CAPACITY", "100")),
)
