"""One environment for our runtime and for the incumbent's, so that our client meets the same on both.

Served as ``tests.integration.client_peers.echo:app`` (a hundred sessions) or ``:single`` (one).
"""

import time
from typing import Any

try:
    from openenv import Action, Environment, Observation, State, create_app
    from openenv.models import Model  # only ours has it
except ImportError:
    from openenv.core.env_server import create_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, Observation, State

    Model = None


class EchoAction(Action):
    """What to do: echo, wait, fail."""

    message: str
    delay_s: float = 0.0
    fail: bool = False
    size: int = 0


class EchoObservation(Observation):
    """What was said."""

    echoed: str = ""
    length: int = 0
    blob: str = ""


class EchoState(State):
    """What was said last."""

    last: str = ""


class Echo(Environment):
    """Echoes."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = EchoState(episode_id="none", step_count=0)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> EchoObservation:
        self._state = EchoState(episode_id=episode_id or "fresh", step_count=0)
        return EchoObservation(echoed=f"seed {seed}", done=False, reward=None)

    def step(self, action: EchoAction, timeout_s: float | None = None, **kwargs: Any) -> EchoObservation:
        if action.delay_s:
            time.sleep(action.delay_s)
        if action.fail:
            raise ValueError(f"asked to fail: {action.message}")
        self._state.step_count += 1
        self._state.last = action.message
        return EchoObservation(
            echoed=action.message,
            length=len(action.message),
            blob="x" * action.size,
            reward=1.5,
            done=action.message == "end",
            metadata={"said": action.message} if action.message == "tagged" else {},
        )

    @property
    def state(self) -> EchoState:
        return self._state


class Broken(Environment):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no display")

    def reset(self, **kwargs: Any) -> EchoObservation:
        raise NotImplementedError

    def step(self, action: EchoAction, **kwargs: Any) -> EchoObservation:
        raise NotImplementedError

    @property
    def state(self) -> EchoState:
        raise NotImplementedError


app = create_app(Echo, EchoAction, EchoObservation, env_name="echo", max_concurrent_envs=1000)
single = create_app(Echo, EchoAction, EchoObservation, env_name="echo", max_concurrent_envs=1)
broken = create_app(Broken, EchoAction, EchoObservation, env_name="broken")
