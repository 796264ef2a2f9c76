"""Environments over a data set, written as the incumbent's users write them; served by it and by us."""

import asyncio
import os
from enum import Enum
from typing import Any

from pydantic import BaseModel

if os.environ.get("TEST_NATIVE"):
    from openenv import Action, Environment, Observation, State, create_app
else:
    from openenv.core.env_server.http_server import create_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, Observation, State


class Level(Enum):
    """How hard."""

    EASY = "easy"


class Task(BaseModel):
    """One task."""

    id: str
    index: int
    level: Level = Level.EASY


class Split(BaseModel):
    """A split in words of its own."""

    name: str
    size: int


class Plain:
    """A split that is only an object."""

    def __str__(self) -> str:
        return "plain"


class TaskedEnvironment(Environment):
    """Three tasks; every kind of split."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed: Any = None, episode_id: Any = None, **kwargs: Any) -> Observation:
        return Observation(metadata=kwargs)

    def step(self, action: Action, timeout_s: Any = None, **kwargs: Any) -> Observation:
        return Observation()

    @property
    def state(self) -> State:
        return State()

    def list_splits(self) -> list[Any]:
        return [
            "train",
            "test",
            "odd",
            {"name": "mine", "type": "train"},
            Split(name="own", size=2),
            Plain(),
            3,
        ]

    def list_tasks(self, split: str) -> list[Any]:
        if split == "missing":
            raise NotImplementedError("not here")
        if split == "broken":
            raise ValueError("broken")
        return [Task(id=f"{split}-{n}", index=n) for n in range(3)]

    async def num_tasks(self, split: str) -> int:
        await asyncio.sleep(0)
        return 3

    def get_task(self, split: str, index: int) -> Any:
        tasks = [{"id": n, "nested": [(1, 2), {"a": None}]} for n in range(3)]
        return tasks[index]

    async def get_task_range(self, split: str, start: Any = None, stop: Any = None) -> list[Any]:
        return list(range(10))[start:stop]


class FewTasks(TaskedEnvironment):
    """Lists splits, and nothing else of the protocol."""

    list_tasks = None
    num_tasks = None
    get_task = None
    get_task_range = None


app = create_app(TaskedEnvironment, Action, Observation, env_name="tasked")
few = create_app(FewTasks, Action, Observation, env_name="few")
