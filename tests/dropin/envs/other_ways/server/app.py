"""`create_fastapi_app` with its own order of arguments, and names from the packages' tops."""

from openenv.core import Action, Environment, Observation, State
from openenv.core.env_server import ConcurrencyConfig, create_fastapi_app
from openenv.core.env_server.types import CodeExecResult
from openenv.core.env_server.interfaces import Message, ModelTokenizer
from openenv.core.client_types import StepResult


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


app = create_fastapi_app(NumberEnvironment, NumberAction, NumberObservation, 2, None, "other_ways")


@app.get("/result")
def result():
    return CodeExecResult(stdout="a", stderr="", exit_code=0)
