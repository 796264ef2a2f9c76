from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from fastapi import WebSocket


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


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="events")
started = []


@app.on_event("startup")
async def start():
    started.append("async")
    app.state.since = 1


@app.on_event("startup")
def start_plainly():
    started.append("plain")


@app.on_event("shutdown")
def stop():
    print("stopped")


@app.get("/started")
def get_started():
    return {"started": started, "since": app.state.since}


@app.websocket("/shout")
async def shout(socket: WebSocket):
    await socket.accept()
    text = await socket.receive_text()
    await socket.send_text(text.upper())
    await socket.close()
