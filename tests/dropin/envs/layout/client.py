"""The client."""

from typing import Any, Dict

from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.types import State

from .models import CounterAction, CounterObservation


class CounterEnv(EnvClient[CounterAction, CounterObservation, State]):
    """A session with a counter."""

    def _step_payload(self, action: CounterAction) -> Dict[str, Any]:
        return {"amount": action.amount}

    def _parse_result(self, payload: Dict[str, Any]) -> StepResult[CounterObservation]:
        shown = payload.get("observation", {})
        observation = CounterObservation(
            value=shown.get("value", 0), done=payload.get("done", False), reward=payload.get("reward")
        )
        return StepResult(observation=observation, reward=payload.get("reward"), done=observation.done)

    def _parse_state(self, payload: Dict[str, Any]) -> State:
        return State(episode_id=payload.get("episode_id"), step_count=payload.get("step_count", 0))
