from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class TryAction(Action):
    what: str = "nothing"


class TryObservation(Observation):
    what: str = ""


class TryEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, fail: bool = False, **kwargs):
        if fail:
            raise RuntimeError("cannot reset")
        return TryObservation(what="start")

    def step(self, action, timeout_s=None, **kwargs):
        if action.what == "raise":
            raise KeyError("lost")
        if action.what == "none":
            return None
        if action.what == "dict":
            return {"what": "dict"}
        if action.what == "exotic":
            return TryObservation(what="x", metadata={"object": object()})
        if action.what == "bad":
            return TryObservation(unknown=1)
        return TryObservation(what=action.what)

    @property
    def state(self):
        if self._state.step_count > 100:
            raise RuntimeError("never")
        return self._state


app = create_app(TryEnvironment, TryAction, TryObservation, env_name="failing")
