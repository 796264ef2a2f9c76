from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class NumberAction(Action):
    n: int = 0


class NumberObservation(Observation):
    total: int = 0


class NumberEnvironment(Environment):
    def list_splits(self):
        return ["train", {"name": "test", "type": "test"}]

    def list_tasks(self, split):
        return [{"id": f"{split}-{index}"} for index in range(self.num_tasks(split))]

    def num_tasks(self, split):
        return {"train": 3, "test": 1}[split]

    async def get_task(self, split, index):
        if index > 2:
            raise IndexError(index)
        return {"id": f"{split}-{index}", "index": index}

    def get_task_range(self, split, start=None, stop=None):
        return [{"index": index} for index in range(3)][start:stop]

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._state = State(episode_id="n")
        self._total = 0

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._total = seed or 0
        self._state = State(episode_id=episode_id or "n", step_count=0)
        return NumberObservation(total=self._total)

    def step(self, action, timeout_s=None, **kwargs):
        if action.n == 99:
            raise KeyError("lost")
        self._state.step_count += 1
        self._total += action.n
        return NumberObservation(total=self._total, reward=action.n, done=self._total > 20)

    @property
    def state(self):
        return self._state


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="tasks")
