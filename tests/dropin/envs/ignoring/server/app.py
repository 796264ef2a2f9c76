from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class IgnoringAction(BaseModel):
    """Not an Action at all: a plain model, which ignores what it does not know."""

    text: str = Field(..., alias="message", min_length=1)


class EchoObservation(Observation):
    text: str = ""
    length: int = 0


class EchoEnvironment(Environment):
    def __init__(self):
        self._state = State(episode_id="e", step_count=0)

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = State(episode_id=episode_id or "e", step_count=0)
        return EchoObservation(text="ready")

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        return EchoObservation(text=action.text, length=len(action.text), reward=len(action.text) * 0.1)

    @property
    def state(self):
        return self._state


app = create_app(EchoEnvironment, IgnoringAction, EchoObservation, env_name="ignoring")
