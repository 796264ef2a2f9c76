from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)


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


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="routes")
app.title = "Numbers"
app.description = "With pages of its own"


class Order(BaseModel):
    name: str
    pieces: int = Field(default=1, ge=1)


@app.get("/")
async def root():
    return {"name": "numbers", "docs": "/docs"}


@app.get("/web", response_class=HTMLResponse)
def page():
    return "<h1>Mine</h1>"


@app.get("/health")
def never_reached():
    return {"status": "mine"}


@app.get("/tasks")
def tasks(limit: int = Query(default=2, ge=1)):
    return [{"id": index} for index in range(limit)]


@app.post("/grader", status_code=201)
async def grade(order: Order, request: Request):
    return {"name": order.name, "pieces": order.pieces, "path": request.url.path}


@app.put("/things/{thing_id}")
async def put(thing_id: int):
    if thing_id == 13:
        raise HTTPException(status_code=418, detail="unlucky", headers={"X-Why": "13"})
    return {"thing": thing_id}


@app.delete("/things/{thing_id}", status_code=204)
def delete(thing_id: int):
    return None


@app.get("/old")
def old():
    return RedirectResponse("/tasks")


@app.get("/stream")
def stream():
    return StreamingResponse((f"{index}\n" for index in range(50)), media_type="text/plain")


def answer() -> int:
    return 1


def other() -> int:
    return 42


router = APIRouter(prefix="/api", tags=["more"])


@router.get("/answer")
def get_answer(value: int = Depends(answer)):
    return {"answer": value}


@router.get("/broken")
def broken():
    raise RuntimeError("broken")


app.include_router(router)
app.dependency_overrides[answer] = other
