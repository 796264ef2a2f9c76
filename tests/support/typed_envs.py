"""Environments whose types are of every kind that an author can declare.

They are described, and never run.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
from pydantic import BaseModel, Field

from openenv.environment import Environment
from openenv.models import Action, Model, Observation, State, field
from tests.conformance import reference_native
from tests.support import envs


class Color(Enum):
    """Red or blue."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Circle:
    kind: Literal["circle"]
    radius: float


@dataclass
class Square:
    kind: Literal["square"]
    side: Annotated[int, field(ge=1)]


class Node(Model):
    """A tree."""

    name: str = ""
    children: list[Node] = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: str = ""


class Row(TypedDict, total=False):
    cell: int


class Foreign(BaseModel):
    """Somebody else's model."""

    depth: Annotated[int, Field(gt=0, multiple_of=5)] = 5
    shape: Annotated[Circle | Square, Field(discriminator="kind")] | None = None


class Größe(Model):
    """A name that OpenAPI does not allow."""

    höhe: float = 0.0


class EverythingAction(Action):
    """One field of each kind. <script>alert(1)</script>"""

    must: str = field(min_length=2, max_length=9, pattern="^[a-z]+$", examples=["abc"])
    move: str = field(pattern="^[a-h][1-8][a-h][1-8]$")
    share: float = field(gt=0.0, lt=1.0)
    seven: int = field(ge=10)
    choice: Literal["x", 2, None]
    badly: int = None  # type: ignore[assignment]
    color: Color = Color.RED
    shape: Circle | Square | None = None
    tree: Node | None = None
    pair: Pair = Pair(1)
    row: Row = field(default_factory=dict)
    foreign: Foreign | None = None
    size: Größe | None = None
    data: bytes = b"\x00\xff"
    when: datetime | None = None
    day: date | None = None
    clock: time | None = None
    pause: timedelta = timedelta(seconds=90)
    price: Decimal = Decimal("1.5")
    place: Path = Path("a/b")
    uid: uuid.UUID | None = None
    unique: frozenset[int] = frozenset()
    fixed: tuple[int, str, bool] = (0, "", False)
    table: dict[Color, list[int]] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict, max_length=3)
    anything: Any = None
    either: int | str | list[float] = 0


class EverythingObservation(Observation):
    """Pictures and more."""

    image: np.ndarray | None = None
    tree: Node = field(default_factory=Node)
    seen: list[Circle | Square] = field(default_factory=list)
    truncated: bool = False


class EverythingState(State):
    """Where it stands."""

    trees: dict[str, Node] = field(default_factory=dict)


class EverythingEnv(Environment[EverythingAction, EverythingObservation, EverythingState]):
    def reset(self) -> EverythingObservation:
        return EverythingObservation()


class TreeEnv(Environment[Node, Node, dict]):
    """Its action contains itself, so its schema is nothing but a reference."""


class ForeignEnv(Environment[Foreign, Foreign, Foreign]):
    """All types are pydantic's."""


class DictEnv(Environment[dict, dict, dict]):
    """Nothing is declared."""


def make_clash() -> type:
    """An environment whose action and observation each have a class `Node`, and one named as ours."""

    class Node(Model):
        """No tree at all."""

        weight: int = 0

    class Holder(Model):
        inner: Node = field(default_factory=Node)

    class Fault(Model):
        depth: int = 0

    class ClashObservation(Observation):
        node: Node = field(default_factory=Node)
        holder: Holder = field(default_factory=Holder)
        fault: Fault | None = None

    Holder.__annotations__["inner"] = Node
    ClashObservation.__annotations__.update(node=Node, holder=Holder, fault=Fault | None)

    class ClashAction(Action):
        tree: Any = None

    ClashAction.__annotations__["tree"] = globals()["Node"]

    class ClashEnv(Environment):  # type: ignore[type-arg]
        action, observation = ClashAction, ClashObservation

    return ClashEnv


class TasksEnv(envs.LoopEnv):
    """Has tasks."""

    def list_splits(self) -> list[str]:
        return ["train"]

    def num_tasks(self, split: str) -> int:
        return 1


ENVIRONMENTS = [
    envs.LoopEnv,
    TasksEnv,
    EverythingEnv,
    TreeEnv,
    ForeignEnv,
    DictEnv,
    reference_native.app.definition.environment.factory,
]
"""One environment for each way in which types are declared."""
