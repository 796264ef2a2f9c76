from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from fastapi import Body


class NumberAction(Action):
    n: int = 0


class NumberObservation(Observation):
    total: int = 0


class NumberEnvironment(Environment):
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


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="replaced")
shared = NumberEnvironment()

app.router.routes = [
    route
    for route in app.router.routes
    if getattr(route, "path", None) not in {"/reset", "/step", "/state", "/health"}
]


class ResetBody(BaseModel):
    task: Optional[str] = None
    seed: Optional[int] = None


@app.post("/reset")
def reset(body: Optional[ResetBody] = Body(default=None)):
    observation = shared.reset(seed=body.seed if body else None)
    return {"observation": observation.model_dump(), "task": body.task if body else None}


@app.post("/step")
def step(action: NumberAction):
    observation = shared.step(action)
    return {"observation": observation.model_dump(), "reward": observation.reward, "done": observation.done}


@app.get("/state")
def state():
    return shared.state.model_dump()


@app.get("/health")
def health():
    return {"status": "healthy", "env": "replaced"}
