from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

import functools

from openenv.core.env_server.types import ConcurrencyConfig, ServerMode


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


def build(web_manager, action_fields, metadata, is_chat_env, title, quick_start_md):
    raise AssertionError("not built without Gradio")


class FirstObservation(NumberObservation):
    hello: str = "hello"


app = create_app(
    functools.partial(NumberEnvironment),
    NumberAction,
    NumberObservation,
    env_name="everything_given",
    concurrency_config=ConcurrencyConfig(max_concurrent_envs=3, session_timeout=60.0),
    gradio_builder=build,
    custom_tab_name="Mine",
    custom_tab_primary=True,
    show_default_tab=False,
    title_override="Title",
    state_cls=State,
    mode=ServerMode.SIMULATION,
    reset_observation_cls=FirstObservation,
)


def main():
    import argparse

    import uvicorn

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="0.0.0.0", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
