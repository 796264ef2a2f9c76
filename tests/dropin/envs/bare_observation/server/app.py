from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class PlainAction(BaseModel):
    text: str


class PlainObservation(BaseModel):
    text: str = ""
    reward: float = 0.0
    done: bool = False


class PlainState(BaseModel):
    n: int = 0


class PlainEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = PlainState()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return PlainObservation(text="start")

    def step(self, action, timeout_s=None, **kwargs):
        self._state.n += 1
        return PlainObservation(text=action.text, reward=0.5, done=self._state.n > 2)

    @property
    def state(self):
        return self._state


app = create_app(PlainEnvironment, PlainAction, PlainObservation, env_name="bare_observation")
