from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from dataclasses import dataclass
from typing import Set, Tuple


class Point(BaseModel):
    x: int = 0
    y: int = 0


class Piece(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    at: Point
    colour: Optional[str] = None


class BoardAction(Action):
    piece: Piece
    path: List[Point] = Field(default_factory=list)
    notes: Dict[str, Point] = Field(default_factory=dict)
    pair: Tuple[int, str] = (0, "a")


class BoardObservation(Observation):
    pieces: List[Piece] = Field(default_factory=list)
    by_name: Dict[str, Piece] = Field(default_factory=dict)
    pair: Tuple[int, str] = (1, "b")
    seen: Set[int] = Field(default_factory=set)
    grid: List[List[int]] = Field(default_factory=lambda: [[0, 1], [1, 0]])
    last: Optional[Point] = None


class BoardState(State):
    board: Dict[str, Any] = Field(default_factory=dict)
    last: Optional[Piece] = None


class BoardEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = BoardState(episode_id="fixed")

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = BoardState(episode_id=episode_id or "fixed", extra_field=[1, 2])
        return BoardObservation()

    def step(self, action: BoardAction, timeout_s=None, **kwargs):
        self._state.step_count += 1
        self._state.last = action.piece
        self._state.board[action.piece.name] = action.piece.at.model_dump()
        return BoardObservation(
            pieces=[action.piece],
            by_name={action.piece.name: action.piece},
            pair=action.pair,
            seen={3},
            last=action.path[-1] if action.path else None,
            reward=0.5,
            metadata={"point": Point(x=9), "nested": {"deep": [Point(y=1)]}},
        )

    @property
    def state(self):
        return self._state


app = create_app(BoardEnvironment, BoardAction, BoardObservation, env_name="nested")
