"""The benchmark environment in the incumbent's own style: a step that awaits, and the same observation.

It is served by uvicorn from the incumbent's virtual environment (`incumbent_benchmark:app`). The step is
`async`, the best that an author can do there: a thousand sessions that wait cost no thread.
"""

import asyncio
import os
import socket
import time
from typing import Any
from uuid import uuid4

from pydantic import Field

from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class BenchmarkAction(Action):
    """How long to wait."""

    wait_s: float = Field(default=0.0, ge=0, le=3600)
    cpu_s: float = Field(default=0.0, ge=0, le=0)
    payload_bytes: int = Field(default=0, ge=0, le=1024 * 1024)


class BenchmarkObservation(Observation):
    """Who answered, and how long it took."""

    host: str = ""
    pid: int = 0
    worker: str = ""
    session_id: str = ""
    waited_s: float = 0.0
    cpu_used_s: float = 0.0
    took_s: float = 0.0
    payload: str = ""


class BenchmarkEnvironment(Environment):
    """Waits as each action says."""

    SUPPORTS_CONCURRENT_SESSIONS: bool = True

    def __init__(self) -> None:
        super().__init__()
        self._session_id = str(uuid4())
        self._state = State(episode_id=str(uuid4()), step_count=0)

    def reset(self, **kwargs: Any) -> BenchmarkObservation:
        """Begin a new episode."""
        self._state = State(episode_id=str(uuid4()), step_count=0)
        return self._observation(0.0, "")

    async def reset_async(self, **kwargs: Any) -> BenchmarkObservation:
        """Begin a new episode, on the loop."""
        return self.reset()

    def step(self, action: BenchmarkAction) -> BenchmarkObservation:  # type: ignore[override]
        """Is not called: `step_async` is."""
        raise NotImplementedError

    async def step_async(self, action: BenchmarkAction, **kwargs: Any) -> BenchmarkObservation:  # type: ignore[override]
        """Wait and answer."""
        begun_at = time.perf_counter()
        if action.wait_s:
            await asyncio.sleep(action.wait_s)
        self._state.step_count += 1
        return self._observation(time.perf_counter() - begun_at, "x" * action.payload_bytes)

    @property
    def state(self) -> State:
        """The episode and how many steps it has had."""
        return self._state

    def _observation(self, waited_s: float, payload: str) -> BenchmarkObservation:
        return BenchmarkObservation(
            host=_HOST,
            pid=os.getpid(),
            worker=f"{_HOST}:{os.getpid()}",
            session_id=self._session_id,
            waited_s=waited_s,
            took_s=waited_s,
            payload=payload,
            reward=waited_s,
        )


_HOST = socket.gethostname()

app = create_app(
    BenchmarkEnvironment,
    BenchmarkAction,
    BenchmarkObservation,
    env_name="benchmark",
    max_concurrent_envs=100_000,
)
