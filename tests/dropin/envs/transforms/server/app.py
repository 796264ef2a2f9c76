from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from openenv.core.env_server.base_transforms import CompositeTransform, NullTransform
from openenv.core.env_server.interfaces import Transform


class CodeAction(Action):
    code: str


class CodeObservation(Observation):
    code: str = ""


class Length(Transform):
    def __call__(self, observation):
        observation.reward = -0.01 * len(observation.code)
        return observation


class Marked(Transform[CodeObservation]):
    def __call__(self, observation: CodeObservation) -> CodeObservation:
        observation.metadata["marked"] = True
        return observation


class CodeEnvironment(Environment):
    def __init__(self, transform: Optional[Transform] = None):
        super().__init__(transform=transform)
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return self._apply_transform(CodeObservation())

    def step(self, action, timeout_s=None, **kwargs):
        return self._apply_transform(CodeObservation(code=action.code))

    @property
    def state(self):
        return self._state


def make():
    return CodeEnvironment(transform=CompositeTransform([Length(), NullTransform(), Marked()]))


app = create_app(make, CodeAction, CodeObservation, env_name="transforms")
