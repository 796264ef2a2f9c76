from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from pydantic import field_validator, model_validator


class SpanAction(Action):
    low: int = 0
    high: int = 10
    text: str = ""

    @field_validator("text", mode="before")
    @classmethod
    def stripped(cls, value):
        return value.strip() if isinstance(value, str) else value

    @field_validator("low")
    @classmethod
    def clamped(cls, value: int) -> int:
        return max(value, 0)

    @model_validator(mode="before")
    @classmethod
    def from_span(cls, data: Any) -> Any:
        if isinstance(data, dict) and "span" in data:
            low, high = data["span"]
            return {"low": low, "high": high}
        return data

    @model_validator(mode="after")
    def ordered(self):
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class SpanObservation(Observation):
    width: int = 0
    text: str = ""

    @field_validator("width")
    @classmethod
    def positive(cls, value):
        assert value >= 0, "negative"
        return value


class SpanEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return SpanObservation(width=seed or 0)

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        observation = SpanObservation(width=action.high - action.low, text=action.text)
        observation.reward = 1
        if action.text == "bad":
            observation.width = "no number"
        return observation

    @property
    def state(self):
        return self._state


app = create_app(SpanEnvironment, SpanAction, SpanObservation, env_name="validators")
