from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

import asyncio

from openenv.core.rubrics import Rubric


class WaitAction(Action):
    text: str = ""


class WaitObservation(Observation):
    text: str = ""


class Slowly(Rubric):
    async def forward(self, action, observation) -> float:
        await asyncio.sleep(0)
        return float(len(action.text))


class WaitEnvironment(Environment):
    def __init__(self):
        super().__init__(rubric=Slowly())
        self._state = State(episode_id="w")

    def reset(self, seed=None, episode_id=None, **kwargs):
        raise NotImplementedError("await reset_async")

    def step(self, action, timeout_s=None, **kwargs):
        raise NotImplementedError("await step_async")

    async def reset_async(self, seed: Optional[int] = None, episode_id: Optional[str] = None, **kwargs):
        await asyncio.sleep(0)
        await self._reset_rubric_async()
        self._state = State(episode_id=episode_id or "w", step_count=0)
        return WaitObservation(text=f"seed {seed} {sorted(kwargs)}")

    async def step_async(self, action: WaitAction, timeout_s: Optional[float] = None, **kwargs):
        await asyncio.sleep(0.001)
        self._state.step_count += 1
        observation = WaitObservation(text=action.text.upper())
        if action.text == "raise":
            raise ValueError("raised while awaiting")
        observation.reward = await self._apply_rubric_async(action, observation)
        return observation

    @property
    def state(self):
        return self._state


app = create_app(WaitEnvironment, WaitAction, WaitObservation, env_name="awaiting")
