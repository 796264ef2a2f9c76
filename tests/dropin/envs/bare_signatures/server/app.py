from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field


class KeyAction(Action):
    key: str = "a"


class KeyObservation(Observation):
    keys: str = ""


class KeyEnvironment(Environment):
    """Nothing but what it needs: no keywords, no super().__init__(), a dict as state."""

    def __init__(self):
        self.keys = ""

    def reset(self):
        self.keys = ""
        return KeyObservation(keys="", reward=None)

    def step(self, action):
        self.keys += action.key
        return KeyObservation(keys=self.keys, reward=True, done=len(self.keys) > 3)

    @property
    def state(self):
        return {"keys": self.keys, "n": len(self.keys)}


app = create_app(KeyEnvironment, KeyAction, KeyObservation)
