"""The environment."""

from typing import Any, Optional
from uuid import uuid4

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import EnvironmentMetadata, State

try:
    from ..models import CounterAction, CounterObservation
except ImportError:
    from models import CounterAction, CounterObservation


class CounterEnvironment(Environment):
    """Counts up to ten."""

    SUPPORTS_CONCURRENT_SESSIONS: bool = True

    def __init__(self):
        super().__init__()
        self._state = State(episode_id=str(uuid4()), step_count=0)
        self._value = 0

    def reset(self, seed: Optional[int] = None, episode_id: Optional[str] = None, **kwargs: Any):
        self._value = seed or 0
        self._state = State(episode_id=episode_id or str(uuid4()), step_count=0)
        return CounterObservation(value=self._value, label="start", done=False, reward=0.0)

    def step(self, action: CounterAction, timeout_s: Optional[float] = None, **kwargs: Any):
        self._state.step_count += 1
        self._value += action.amount
        done = self._value > 10
        return CounterObservation(
            value=self._value,
            label=f"{self._value}!",
            done=done,
            reward=float(action.amount) / 10,
            metadata={"step": self._state.step_count, "timeout": timeout_s},
        )

    @property
    def state(self) -> State:
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        return EnvironmentMetadata(
            name="Counter", description="Counts", version="2.1", author="somebody", readme_content="# Counter"
        )
