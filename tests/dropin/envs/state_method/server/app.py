from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class TickAction(Action):
    pass


class TickObservation(Observation):
    ticks: int = 0


class TickEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State(episode_id="t")

    def reset(self, seed=None, episode_id=None, **kwargs):
        return TickObservation()

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        return TickObservation(ticks=self._state.step_count)

    def state(self):
        return self._state


app = create_app(TickEnvironment, TickAction, TickObservation, env_name="state_method")
