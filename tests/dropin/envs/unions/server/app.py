from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from typing import Annotated


class Say(BaseModel):
    kind: Literal["say"] = "say"
    text: str


class Go(BaseModel):
    kind: Literal["go"] = "go"
    to: Union[int, str]


Command = Annotated[Union[Say, Go], Field(discriminator="kind")]


class AgentAction(Action):
    command: Command
    also: List[Command] = Field(default_factory=list)
    value: Union[int, float, str, None] = None


class AgentObservation(Observation):
    heard: Optional[str] = None
    where: Union[int, str, None] = None
    command: Optional[Command] = None
    value: Any = None


class AgentEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return AgentObservation(where=seed)

    def step(self, action: AgentAction, timeout_s=None, **kwargs):
        match action.command:
            case Say(text=text):
                return AgentObservation(
                    heard=text, command=action.command, reward=len(action.also), value=action.value
                )
            case Go(to=to):
                return AgentObservation(where=to, command=action.command, done=True, value=action.value)

    @property
    def state(self):
        return self._state


app = create_app(AgentEnvironment, AgentAction, AgentObservation, env_name="unions")
