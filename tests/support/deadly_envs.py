"""An environment that does to its process whatever it is told to."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import time
from typing import Any

from openenv.app.app import create_app
from openenv.environment import Environment
from openenv.models import Action, Observation, State, field


class DeedAction(Action):
    """What to do, and with which number."""

    message: str
    number: float = 0


class DeedObservation(Observation):
    """Who did it."""

    pid: int = 0
    pids: list[int] = field(default_factory=list)
    descriptors: list[str] = field(default_factory=list)
    echoed: str = ""


class DeadlyEnv(Environment[DeedAction, DeedObservation, State]):
    """Says its pid, and ends its process in many ways."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        if os.environ.get("DEADLY_FACTORY"):
            os._exit(4)
        self._hang_in_close = False

    def reset(self, seed: int | None = None) -> DeedObservation:
        return DeedObservation(pid=os.getpid())

    def step(self, action: DeedAction) -> DeedObservation:
        observation = DeedObservation(pid=os.getpid(), echoed=action.message)
        deed = getattr(self, f"do_{action.message}", None)
        if deed is not None:
            deed(action.number, observation)
        return observation

    @property
    def state(self) -> State:
        return State()

    def close(self) -> None:
        while self._hang_in_close:
            time.sleep(1)

    def do_segfault(self, _number: float, _observation: DeedObservation) -> None:
        ctypes.string_at(0)

    def do_exit(self, number: float, _observation: DeedObservation) -> None:
        os._exit(int(number))

    def do_kill(self, _number: float, _observation: DeedObservation) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_die_later(self, number: float, observation: DeedObservation) -> None:
        """Die of a signal once the answer is out."""
        signal.setitimer(signal.ITIMER_REAL, number)

    def do_spin(self, _number: float, _observation: DeedObservation) -> None:
        """One call into C that never gives the interpreter back, and never ends."""
        re.match(r"(a+)+$", "a" * 64 + "b")

    def do_sleep(self, number: float, _observation: DeedObservation) -> None:
        time.sleep(number)

    def do_hog(self, number: float, _observation: DeedObservation) -> None:
        self._hoard = bytearray(int(number))

    def do_hang_in_close(self, _number: float, _observation: DeedObservation) -> None:
        self._hang_in_close = True

    def do_breed(self, number: float, observation: DeedObservation) -> None:
        """Children in the group, a child that is a session of its own, and grandchildren."""
        code = "sleep 600 & echo $$ $!; sleep 600"
        for own_session in (False, True):
            child = subprocess.Popen(
                ["sh", "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=own_session
            )
            assert child.stdout is not None
            observation.pids += map(int, child.stdout.readline().split())
        if number:
            os._exit(int(number))

    def do_bomb(self, _number: float, _observation: DeedObservation) -> None:
        """Processes that fork for as long as there are fewer than some, and never end by themselves."""
        until = time.monotonic() + 60
        if os.fork() == 0:
            n_forks = 0
            while time.monotonic() < until:
                if n_forks < 5 and os.fork() != 0:
                    n_forks += 1
                time.sleep(0.01 if n_forks < 5 else 1)
            os._exit(0)

    def do_look(self, _number: float, observation: DeedObservation) -> None:
        """What is open here."""
        for name in os.listdir("/proc/self/fd"):
            try:
                observation.descriptors.append(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:
                continue

    def do_close_all(self, _number: float, _observation: DeedObservation) -> None:
        os.closerange(3, 256)

    def do_lie(self, _number: float, _observation: DeedObservation) -> None:
        """Write nonsense to the worker."""
        for name in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                if name > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    os.write(name, b"\xff" * 64)
            except OSError:
                continue

    def do_big(self, number: float, observation: DeedObservation) -> None:
        observation.echoed = "x" * int(number)


class AsyncDeadlyEnv(DeadlyEnv):
    """The same, awaited."""

    async def step(self, action: DeedAction) -> DeedObservation:  # type: ignore[override]
        return super().step(action)


app: Any = create_app(DeadlyEnv, max_concurrent_envs=4)
async_app: Any = create_app(AsyncDeadlyEnv, max_concurrent_envs=4)
