"""An application whose startup makes a server of its own class, with routes of its own and one environment."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any, Dict, List, Optional

from fastapi import Body, FastAPI, Query, Request
from openenv.core.env_server.http_server import HTTPEnvServer
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class BookAction(Action):
    page: int = 0


class BookObservation(Observation):
    text: str = ""
    reader: str = ""


class BookEnvironment(Environment):
    def __init__(self, reader: str = "nobody"):
        self.reader = reader
        self._state = State(episode_id="book", step_count=0)

    def reset(self) -> BookObservation:
        self._state = State(episode_id="book", step_count=0)
        return BookObservation(text="cover", reader=self.reader, reward=0.0)

    def step(self, action: BookAction) -> BookObservation:
        self._state.step_count += 1
        return BookObservation(text=f"page {action.page}", reader=self.reader, reward=0.5)

    @property
    def state(self) -> State:
        return self._state


class BookServer(HTTPEnvServer):
    def __init__(self, env, action_cls, observation_cls):
        self.action_cls = action_cls
        super().__init__(env=env, action_cls=action_cls, observation_cls=observation_cls)
        self.env = self._env_factory() if callable(self._env_factory) else self._env_factory

    def register_routes(self, app: Any) -> None:
        @app.post("/reset")
        async def reset(
            request: Request, body: Optional[Dict[str, Any]] = Body(default=None)
        ) -> Dict[str, Any]:
            self.env.reader = request.headers.get("x-reader", "somebody")
            observation = await asyncio.get_event_loop().run_in_executor(None, self.env.reset)
            return {"observation": observation.model_dump(), "done": observation.done}

        @app.post("/step")
        async def step(body: Dict[str, Any] = Body(...)) -> Dict[str, Any]:
            try:
                action = self.action_cls(**body.get("action", body))
            except ValueError:
                return {"observation": {}, "reward": -1.0}
            return {"observation": self.env.step(action).model_dump()}

        @app.get("/state")
        async def state(q: List[str] = Query(default=[])) -> Dict[str, Any]:
            return {"steps": self.env.state.step_count, "asked": q}


@asynccontextmanager
async def lifespan(app: FastAPI):
    BookServer(
        env=lambda: BookEnvironment("me"), action_cls=BookAction, observation_cls=BookObservation
    ).register_routes(app)
    yield


app = FastAPI(lifespan=lifespan, title="Books", version="3")


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.get("/schema")
def schema():
    return {"action": BookAction.model_json_schema()}


@app.post("/mcp")
def mcp(body: dict):
    return {"asked": body["method"]}
