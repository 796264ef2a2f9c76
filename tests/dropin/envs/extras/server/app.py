from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class OpenAction(Action):
    model_config = ConfigDict(extra="allow")

    name: str = "none"


class OpenObservation(Observation):
    model_config = ConfigDict(extra="allow")

    name: str = ""


class LooseState(State):
    model_config = ConfigDict(extra="ignore")

    name: str = ""


class OpenEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = LooseState(name="start", dropped=1)

    def reset(self, seed=None, episode_id=None, **kwargs):
        return OpenObservation(name="start", given=sorted(kwargs), level=seed)

    def step(self, action, timeout_s=None, **kwargs):
        self._state.name = action.name
        extra = action.model_extra or {}
        return OpenObservation(
            name=action.name, n_extra=len(extra), **{f"x_{k}": v for k, v in extra.items()}
        )

    @property
    def state(self):
        return self._state


app = create_app(OpenEnvironment, OpenAction, OpenObservation, env_name="extras")
