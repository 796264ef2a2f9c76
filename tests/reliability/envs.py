"""Environments for these tests: one that anybody can check, and one that does what environments should not.

`tally` keeps a sum that a client can keep as well, so that an answer meant for somebody else, an old one or
one of another episode is seen. `naughty` is the same, and does as each action says: raise, hang, leave a
thread behind, exit, or die of a signal.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from typing import Any

from openenv.app.app import create_app
from openenv.environment import Environment
from openenv.models import Action, Observation, State, field

__all__ = ["NaughtyEnv", "TallyAction", "TallyEnv", "TallyObservation", "naughty", "next_total", "tally"]

LEAK_S = 3.0
"""How long a thread that was left behind lives. Nobody can end one that lives for ever, but its process."""


def next_total(total: int, value: int) -> int:
    """What the total becomes; the order of the values matters."""
    return (total * 31 + value) % 1_000_003


class TallyAction(Action):
    """A number to add, and what else to do."""

    value: int = 0
    do: str = "add"
    seconds: float = field(default=0.0, ge=0, le=600)
    n_bytes: int = field(default=0, ge=0, le=8 * 1024 * 1024)


class TallyObservation(Observation):
    """The total so far."""

    total: int = 0
    n_steps: int = 0
    pad: str = ""


class TallyEnv(Environment[TallyAction, TallyObservation, State]):
    """Adds up; runs on its session's thread, as plain environments do."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.n_steps = 0

    def reset(self, seed: int | None = None, **kwargs: Any) -> TallyObservation:
        """Begin with the seed as the total."""
        self.total = seed or 0
        self.n_steps = 0
        return TallyObservation(total=self.total)

    def step(self, action: TallyAction) -> TallyObservation:
        """Add."""
        if action.seconds:
            time.sleep(action.seconds)
        self.total = next_total(self.total, action.value)
        self.n_steps += 1
        return TallyObservation(total=self.total, n_steps=self.n_steps, pad="x" * action.n_bytes, reward=1.0)

    @property
    def state(self) -> State:
        """How far it is."""
        return State(step_count=self.n_steps)


class QuickTallyEnv(TallyEnv):
    """The same on the event loop."""

    NEVER_BLOCKS = True


class NaughtyEnv(TallyEnv):
    """Does harm as it is told."""

    def step(self, action: TallyAction) -> TallyObservation:
        """Add, or do what `do` says."""
        if action.do == "raise":
            raise RuntimeError("as told\r\n2026-01-01 00:00:00 INFO openenv.server: forged")
        if action.do == "system exit":
            sys.exit(3)
        if action.do == "exit":
            os._exit(3)
        if action.do == "segfault":
            ctypes.string_at(0)
        if action.do == "leak":
            threading.Thread(target=time.sleep, args=(LEAK_S,), daemon=True).start()
        return super().step(action)


tally = create_app(TallyEnv, TallyAction, TallyObservation)
quick = create_app(QuickTallyEnv, TallyAction, TallyObservation)
naughty = create_app(NaughtyEnv, TallyAction, TallyObservation)


class MarkEnv(TallyEnv):
    """Leaves a line in the file `OPENENV_TEST_MARKS` whenever it is made: whoever got through is seen."""

    def __init__(self) -> None:
        super().__init__()
        with open(os.environ["OPENENV_TEST_MARKS"], "a") as file:
            file.write("made\n")


marked = create_app(MarkEnv, TallyAction, TallyObservation)
