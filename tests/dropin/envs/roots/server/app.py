from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from pydantic import RootModel


class Names(RootModel[List[str]]):
    def __len__(self):
        return len(self.root)


class Table(RootModel[Dict[str, int]]):
    pass


class ListAction(Action):
    names: Names
    table: Table = Field(default_factory=lambda: Table({"a": 1}))


class ListObservation(Observation):
    names: Names = Field(default_factory=lambda: Names([]))
    table: Optional[Table] = None
    n: int = 0


class ListEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return ListObservation(names=Names(["start"]))

    def step(self, action, timeout_s=None, **kwargs):
        return ListObservation(names=action.names, table=action.table, n=len(action.names), reward=1.0)

    @property
    def state(self):
        return self._state


app = create_app(ListEnvironment, ListAction, ListObservation, env_name="roots")
