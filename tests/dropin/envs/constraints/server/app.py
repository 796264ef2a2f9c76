from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


from enum import Enum


class Direction(str, Enum):
    NORTH = "north"
    SOUTH = "south"


class Level(int, Enum):
    LOW = 1
    HIGH = 2


class MoveAction(Action):
    """Go somewhere."""

    direction: Direction = Field(..., description="Where to")
    steps: int = Field(default=1, ge=1, le=5)
    speed: float = Field(default=1.0, gt=0, lt=10)
    note: Optional[str] = Field(default=None, max_length=5, pattern=r"^[a-z]*$")
    mode: Literal["walk", "run"] = "walk"
    tags: List[str] = Field(default_factory=list, max_length=2)
    even: int = Field(default=2, multiple_of=2)
    level: Level = Level.LOW


class MoveObservation(Observation):
    x: int = 0
    direction: Direction = Direction.NORTH
    level: Level = Level.HIGH
    tags: List[str] = Field(default_factory=list)


class MoveState(State):
    x: int = Field(default=0, description="Where it is")
    visited: List[int] = Field(default_factory=list)


class MoveEnvironment(Environment[MoveAction, MoveObservation, MoveState]):
    def __init__(self):
        super().__init__()
        self._state = MoveState()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = MoveState(episode_id=episode_id, x=(seed or 0) % 3)
        return MoveObservation(x=self._state.x)

    def step(self, action, timeout_s=None, **kwargs):
        sign = 1 if action.direction is Direction.NORTH else -1
        self._state.x += sign * action.steps
        self._state.step_count += 1
        self._state.visited.append(self._state.x)
        return MoveObservation(
            x=self._state.x,
            direction=action.direction,
            tags=action.tags,
            reward=action.speed,
            level=action.level,
        )

    @property
    def state(self) -> MoveState:
        return self._state


app = create_app(MoveEnvironment, MoveAction, MoveObservation, env_name="constraints", state_cls=MoveState)
