from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

import time

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.middleware.base import BaseHTTPMiddleware


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


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="middleware")
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["X-Stamp"] = request.url.path
        return response


app.add_middleware(Stamp)


@app.middleware("http")
async def keyed(request: Request, call_next):
    if request.url.path == "/secret":
        return JSONResponse({"detail": "no"}, status_code=403)
    response = await call_next(request)
    response.headers["X-Method"] = request.method
    return response


@app.exception_handler(KeyError)
async def on_key_error(request: Request, error: KeyError):
    return JSONResponse({"handled": str(error)}, status_code=409)


@app.get("/raises")
def raises():
    raise KeyError("mine")
