"""Environments as authors write them, as text, for tests that serve files which they then change."""

from __future__ import annotations

from pathlib import Path

ENVIRONMENT = '''\
"""Talks back; can sleep, and die."""

import os
import signal
import time

from openenv import Action, Environment, Observation, State, create_app


class TalkAction(Action):
    message: str


class TalkObservation(Observation):
    text: str = ""
    pid: int = 0


class Talk(Environment[TalkAction, TalkObservation, State]):
    SUPPORTS_CONCURRENT_SESSIONS = {concurrent}

    def reset(self, seed=None, episode_id=None):
        return TalkObservation(text={greeting!r}, pid=os.getpid())

    def step(self, action):
        word, _, rest = action.message.partition(" ")
        if word == "sleep":
            time.sleep(float(rest))
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "raise":
            raise RuntimeError(rest)
        return TalkObservation(text=action.message, pid=os.getpid())

    @property
    def state(self):
        return State()


app = create_app(Talk)
'''


def write_environment(
    folder: Path, greeting: str = "hello", *, concurrent: bool = True, name: str = "talk"
) -> Path:
    """Write `name.py`, a module with the class `Talk` and an `app`; gives its path."""
    path = folder / f"{name}.py"
    path.write_text(ENVIRONMENT.format(greeting=greeting, concurrent=concurrent))
    return path
