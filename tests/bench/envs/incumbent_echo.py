"""The echo environment of the bench in the incumbent's own style, as `openenv init` lays one out.

It is served by uvicorn from the incumbent's virtual environment (`incumbent_echo:app`). Only the
number of sessions differs from the template, and the copy of the message in ``metadata``, which it
leaves out so that all contestants send the same four values.
"""

from typing import Any
from uuid import uuid4

from pydantic import Field

from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class EchoAction(Action):
    """A message to echo."""

    message: str = Field(..., description="Message to echo back")


class EchoObservation(Observation):
    """The echoed message."""

    echoed_message: str = Field(default="", description="The echoed message")
    message_length: int = Field(default=0, description="Length of the echoed message")


class EchoEnvironment(Environment):
    """Gives back each message that it is sent."""

    SUPPORTS_CONCURRENT_SESSIONS: bool = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id=str(uuid4()), step_count=0)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> EchoObservation:
        """Begin a new episode."""
        self._state = State(episode_id=episode_id or str(uuid4()), step_count=0)
        return EchoObservation(echoed_message="Echo is ready!", message_length=0, done=False, reward=0.0)

    def step(self, action: EchoAction) -> EchoObservation:  # type: ignore[override]
        """Echo one message; the longer it is the higher the reward, up to 1."""
        self._state.step_count += 1
        length = len(action.message)
        return EchoObservation(
            echoed_message=action.message, message_length=length, done=False, reward=min(length * 0.1, 1.0)
        )

    @property
    def state(self) -> State:
        """The episode and how many steps it has had."""
        return self._state


app = create_app(
    EchoEnvironment, EchoAction, EchoObservation, env_name="bench_echo", max_concurrent_envs=100_000
)
