"""Speaks while it is imported, and uses the incumbent's old name."""

import logging
import sys

print("importing old_names")
print("to standard error", file=sys.stderr)
logging.basicConfig(level=logging.INFO)
logging.getLogger(__name__).info("logging while importing")

try:
    from openenv_core.env_server import Environment, create_app
    from openenv_core.env_server.types import Action, Observation, State
except ImportError:
    from openenv.core.env_server import Environment, create_app
    from openenv.core.env_server.types import Action, Observation, State

import openenv.core.env_server.types as new

assert Action is new.Action and State is new.State


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


app = create_app(NumberEnvironment, NumberAction, NumberObservation, env_name="old_names")
