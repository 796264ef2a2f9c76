"""An application of its own, to which the environment's routes are added; with a lifespan."""

from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from openenv.core.env_server.http_server import HTTPEnvServer
from openenv.core.env_server import Action, Environment, Observation, State


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


@asynccontextmanager
async def lifespan(app):
    app.state.words = ["ready"]
    yield {"answer": 42}


app = FastAPI(title="Mine", lifespan=lifespan)


@app.get("/first")
def first(request: Request):
    return {"words": app.state.words, "answer": request.state.answer}


server = HTTPEnvServer(
    env=NumberEnvironment, action_cls=NumberAction, observation_cls=NumberObservation, max_concurrent_envs=3
)
server.register_routes(app)


@app.get("/numbers")
def numbers():
    return {"max": server.max_concurrent_envs, "safe": server.is_concurrency_safe, "name": server.env_name}


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    while True:
        await socket.send_text("echo " + await socket.receive_text())
