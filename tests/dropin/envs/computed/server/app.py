from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from pydantic import PrivateAttr, computed_field, field_serializer, model_serializer


class ScoreAction(Action):
    points: int = 0
    _secret: int = PrivateAttr(default=1)


class Hand(BaseModel):
    cards: List[int] = Field(default_factory=list)

    @computed_field
    @property
    def total(self) -> int:
        return sum(self.cards)


class ScoreObservation(Observation):
    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    points: int = 0
    hidden: int = Field(default=3, exclude=True)
    hand: Hand = Field(default_factory=Hand)
    shout: str = "a"

    @computed_field
    @property
    def doubled(self) -> int:
        return self.points * 2

    @field_serializer("shout")
    def shouted(self, value: str) -> str:
        return value.upper()


class ScoreState(State):
    points: int = 0

    @computed_field
    @property
    def is_rich(self) -> bool:
        return self.points > 5


class ScoreEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = ScoreState()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = ScoreState(episode_id=episode_id)
        return ScoreObservation(hand=Hand(cards=[1, seed or 0]))

    def step(self, action, timeout_s=None, **kwargs):
        self._state = self._state.model_copy(
            update={"points": self._state.points + action.points, "step_count": self._state.step_count + 1}
        )
        return ScoreObservation(
            points=self._state.points, hand=Hand(cards=[action.points] * 2), reward=action._secret
        )

    @property
    def state(self):
        return self._state


app = create_app(ScoreEnvironment, ScoreAction, ScoreObservation, env_name="computed", state_cls=ScoreState)
